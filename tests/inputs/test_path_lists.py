from __future__ import annotations

import io
import os
import queue
import threading
import time

import pytest

from authorid.errors import AuthoridError
from authorid.inputs.path_lists import listed_paths


def test_lists_of_paths_are_separated_by_lines_or_nuls(tmp_path):
    def listed(data):
        (tmp_path / "list").write_bytes(data)
        with (tmp_path / "list").open("rb") as stream:
            return list(listed_paths(stream))

    assert listed(b"a\nb c\n\n\xff\nlast") == ["a", "b c", "\udcff", "last"]
    assert listed(b"a\nb\0c\0") == ["a\nb", "c"]
    assert listed(b"".join(b"%06d\n" % n for n in range(50_000)))[::10_000] == [
        f"{n:06}" for n in range(0, 50_000, 10_000)
    ]
    assert listed(b"") == []
    with pytest.raises(AuthoridError, match="not a list of paths"):
        listed(b"x" * 3_000_000)


def test_a_list_of_paths_is_read_as_it_arrives():
    inbox, outbox = os.pipe()
    with io.FileIO(inbox) as stream, io.FileIO(outbox, "w") as writer:
        writer.write(b"".join(b"%04d\n" % n for n in range(2000)))
        paths = listed_paths(stream)
        assert next(paths) == "0000"


@pytest.mark.promise("prompt-rows")
@pytest.mark.parametrize(("parts", "paths"), [([b"a\n", b"b c\n"], ["a", "b c"]), ([b"a\nb", b"\0c\0"], ["a\nb", "c"])])
def test_a_path_in_a_list_does_not_wait_for_the_next_one(parts, paths):
    inbox, outbox = os.pipe()
    left = list(paths)
    listed: queue.SimpleQueue[str] = queue.SimpleQueue()
    with io.FileIO(inbox) as stream, io.FileIO(outbox, "w") as writer:
        reader = threading.Thread(target=lambda: [listed.put(path) for path in listed_paths(stream)], daemon=True)
        reader.start()
        for part in parts:
            writer.write(part)
            time.sleep(0.05)
            if part.endswith(b"\n"):
                assert listed.get(timeout=20) == left.pop(0)
        writer.close()
        reader.join(timeout=20)
        assert [listed.get(timeout=20) for _ in left] == left
