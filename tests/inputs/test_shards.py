"""Shards are contiguous, balanced and the same everywhere; together they are all files, each once."""

from __future__ import annotations

from itertools import chain, pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from authorid.inputs.discovery import DiscoveredFile
from authorid.inputs.documents import ReadOptions
from authorid.inputs.reading import read_file, row_group_sizes
from authorid.inputs.shards import Shard, ShardFiles, measure_extent

FILE = 1024
"""Bytes that count for a file, whatever its size."""


def found(sizes):
    return [DiscoveredFile(f"d/{number:04}", None, 0, f"{number:04}", size=size) for number, size in enumerate(sizes)]


def divided(files, count, group_sizes=lambda _: []):
    """The files of each shard, and where it begins and ends."""
    extent = measure_extent(files)
    shards = []
    for number in range(1, count + 1):
        chosen = ShardFiles(iter(files), Shard(number, count), extent, group_sizes)
        shards.append((list(chosen), chosen.begin, chosen.end))
    return shards


def fit(shards, files):
    """Whether each shard begins where the one before it ends, the first at the beginning, the last at the end."""
    inner = all(before[2] == after[1] for before, after in pairwise(shards))
    return inner and shards[0][1].startswith("0.0 ") and shards[-1][2].endswith(measure_extent(files).digest)


SIZES = st.lists(st.none() | st.integers(0, 20_000), max_size=40)


@given(SIZES, st.integers(1, 50))
@example([], 3)
@example([5], 64)
@example([0] * 9, 4)
@example([10**6, 0, 0], 2)
def test_shards_are_all_files_in_order_and_balanced(sizes, count):
    files = found(sizes)
    shards = divided(files, count)
    assert [file for shard, _, _ in shards for file in shard] == files
    assert fit(shards, files)
    weights = [sum(FILE + (file.size or 0) for file in shard) for shard, _, _ in shards]
    largest = max((FILE + (size or 0) for size in sizes), default=0)
    assert max(weights) <= sum(weights) / count + largest


@given(st.lists(st.integers(0, 20_000) | st.lists(st.integers(0, 9000), min_size=2, max_size=9), max_size=9), st.data())
def test_tables_are_split_between_row_groups(tables, data):
    count = data.draw(st.integers(1, 20))
    files = found([sum(table) if isinstance(table, list) else table for table in tables])
    groups = {file.path: table for file, table in zip(files, tables, strict=True) if isinstance(table, list)}
    shards = divided(files, count, lambda file: groups.get(file.path, []))
    assert fit(shards, files)
    pieces = [piece for shard, _, _ in shards for piece in shard]
    for file in files:
        parts = [piece.groups for piece in pieces if piece.path == file.path]
        if parts != [None]:
            assert [group for first, last in parts for group in range(first, last)] == list(
                range(len(groups[file.path]))
            )
    weights = [sum(_weight(piece, groups) for piece in shard) for shard, _, _ in shards]
    whole = [FILE + file.size for file in files if file.path not in groups]
    split = [max(_weight(file._replace(groups=(i, i + 1)), groups) for i in range(9)) for file in files]
    assert max(weights) <= sum(weights) / count + max([*whole, *split], default=0) + 1


def _weight(piece, groups):
    weight = FILE + piece.size
    if piece.groups is None:
        return weight
    sizes = [max(size, 1) for size in groups.get(piece.path, [])]
    return weight * sum(sizes[slice(*piece.groups)]) / sum(sizes) if sizes else 0


@pytest.mark.parametrize("change", ["added", "removed", "renamed", "larger"])
def test_shards_of_other_files_do_not_fit(change):
    files = found([3000] * 20)
    now = {
        "added": [*files[:5], DiscoveredFile("d/0004b", size=3000), *files[5:]],
        "removed": files[:5] + files[6:],
        "renamed": [*files[:5], files[5]._replace(path="d/0005b"), *files[6:]],
        "larger": [*files[:5], files[5]._replace(size=3001), *files[6:]],
    }[change]
    assert measure_extent(files).digest != measure_extent(now).digest
    # The listing changed between the two looks of one shard.
    extent = measure_extent(files)
    shards = [ShardFiles(now if number == 2 else files, Shard(number, 3), extent) for number in (1, 2, 3)]
    assert not fit([(list(chosen), chosen.begin, chosen.end) for chosen in shards], files)


@pytest.mark.parametrize(
    "text", ["", "3", "0/4", "5/4", "1/0", "-1/4", "1/-4", "1.5/4", "a/b", "1/2/3", " 1/2", "1/100000"]
)
def test_a_shard_that_is_none(text):
    with pytest.raises(ValueError, match=r"\w"):
        Shard.parse(text)
    assert str(Shard.parse("03/64")) == "3/64"


@pytest.fixture
def table(tmp_path):
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "table.parquet"
    rows = pyarrow.table({"id": [f"r{n}" for n in range(10)], "text": [f"text number {n}" for n in range(10)]})
    parquet.write_table(rows, path, row_group_size=3)
    return path


def documents(file, **options):
    return [
        (item.ref.member, getattr(item, "text", None) or item.reason)
        for item in read_file(file, ReadOptions(**options))
    ]


def test_row_groups_of_a_table_are_read_as_in_the_whole_table(table):
    file = DiscoveredFile(str(table), size=table.stat().st_size)
    assert len(row_group_sizes(file)) == 4
    for options in ({}, {"id_column": "id"}):
        whole = documents(file, **options)
        assert len(whole) == 10
        parts = [documents(file._replace(groups=groups), **options) for groups in ((0, 1), (1, 3), (3, 4))]
        assert [len(part) for part in parts] == [3, 6, 1]
        assert list(chain.from_iterable(parts)) == whole


def test_a_table_that_gives_one_failure_is_not_split(table, tmp_path):
    file = DiscoveredFile(str(table))
    assert row_group_sizes(file, ReadOptions(text_column="none")) == []
    assert row_group_sizes(file._replace(problem="no")) == []
    assert row_group_sizes(DiscoveredFile(str(tmp_path / "none.parquet"))) == []
    (tmp_path / "other.parquet").write_bytes(b"PAR1 this is none PAR1")
    assert row_group_sizes(DiscoveredFile(str(tmp_path / "other.parquet"))) == []
    (tmp_path / "plain.txt").write_text("a text")
    assert row_group_sizes(DiscoveredFile(str(tmp_path / "plain.txt"))) == []


def test_a_table_that_changed_since_it_was_split_is_a_failure(table):
    file = DiscoveredFile(str(table), groups=(2, 5))
    assert documents(file) == [(None, "changed since it was listed: there are fewer row groups")]
    table.write_text("no table any more")
    assert len(documents(file)) == 1
    named = DiscoveredFile(str(table.rename(table.with_suffix(".jsonl"))), groups=(0, 1))
    assert documents(named) == [(None, "changed since it was listed: no longer a Parquet table")]


def test_a_damaged_row_group_is_one_failure_and_the_next_is_read(table):
    parquet = pytest.importorskip("pyarrow.parquet")
    group = parquet.ParquetFile(table).metadata.row_group(1).column(1)
    start = group.dictionary_page_offset or group.data_page_offset
    raw = bytearray(table.read_bytes())
    raw[start : start + 12] = b"\xff" * 12
    table.write_bytes(raw)
    file = DiscoveredFile(str(table))
    whole = documents(file)
    assert [member for member, _ in whole] == ["1", "2", "3", None, "7", "8", "9", "10"]
    assert whole[3][1].startswith("damaged Parquet file (row group 2: ")
    assert [row for group in range(4) for row in documents(file._replace(groups=(group, group + 1)))] == whole
