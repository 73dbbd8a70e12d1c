"""`score --shard`, `merge` and `list`: the bytes of one run, or one clear line."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny import AUTHORS, make_bundle, prose

from authorid.cli.app import main

FORMS = ("csv", "tsv", "jsonl", "parquet")


@pytest.fixture
def call(bundle, capfd, monkeypatch, tmp_path):
    """Runs `authorid ...` in an empty directory; `score` gets the tiny model. Returns (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)

    def called(command, *arguments, model=bundle.path):
        given_model = ["--model", str(model)] if command == "score" else []
        monkeypatch.setattr(sys, "argv", ["authorid", command, *map(str, arguments), *given_model])
        with pytest.raises(SystemExit) as exit_info:
            main()
        return int(exit_info.value.code or 0), *capfd.readouterr()

    return called


def write_documents(root, number=30):
    """Documents of different sizes, some of which fail, and names that are no text."""
    root.mkdir()
    for index in range(number):
        path = root / f"{index % 3}" / f"{index:03}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text("" if index % 10 == 9 else prose(AUTHORS[index % 3], 5 + 7 * (index % 13), index))
    (root / "0" / os.fsdecode(b"=1+1\xff\n.txt")).write_text(prose("Ada", 20))
    (root / "link").symlink_to("nowhere")


def write_tables(root, rows=40):
    root.mkdir(exist_ok=True)
    texts = [None if row % 9 == 8 else prose(AUTHORS[row % 3], 5 + row, row) for row in range(rows)]
    (root / "t.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.table({"text": texts}), root / "t.parquet", row_group_size=7)


def score_shards(call, count, *arguments, out="parts"):
    codes = [call("score", *arguments, "--shard", f"{k}/{count}", "--out", out, "-q")[0] for k in range(1, count + 1)]
    assert set(codes) <= {0, 3}
    return codes


def merged(call, form, parts="parts"):
    out = Path(f"merged.{form}")
    code, _, err = call("merge", parts, "--out", out, "--force", "-q", "--format", form)
    assert code in (0, 3), err
    return out.read_bytes()


def undivided(call, form, *arguments):
    out = Path(f"whole.{form}")
    code, _, err = call("score", *arguments, "--out", out, "--force", "-q", "--format", form)
    assert code in (0, 3), err
    return out.read_bytes()


@pytest.mark.promise("merge-same-bytes")
@pytest.mark.parametrize("count", [1, 4, 50])
def test_the_merged_parts_are_the_bytes_of_one_run(call, count):
    write_documents(Path("docs"))
    write_tables(Path("docs/0"))
    evidence = ["docs", "--evidence"]
    score_shards(call, count, *evidence)
    assert len(list(Path("parts").iterdir())) == count
    for form in FORMS:
        arguments = evidence if form in ("jsonl", "parquet") else ["docs"]
        assert merged(call, form) == undivided(call, form, *arguments)


@pytest.mark.promise("merge-same-bytes")
def test_a_table_is_divided_between_row_groups(call):
    write_tables(Path("docs"))
    Path("docs/t.jsonl").unlink()
    score_shards(call, 3, "docs")
    rows = [len(part.read_bytes().splitlines()) - 2 for part in sorted(Path("parts").iterdir())]
    assert sum(rows) == 40
    assert min(rows) >= 5
    assert merged(call, "csv") == undivided(call, "csv", "docs")


@pytest.mark.promise("merge-same-bytes")
@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    st.lists(st.integers(0, 400), max_size=7),
    st.lists(st.tuples(st.integers(0, 30), st.integers(1, 12)), max_size=2),
    st.integers(1, 6),
    st.sampled_from(FORMS),
)
def test_any_documents_and_tables_in_any_number_of_shards(call, texts, tables, count, form):
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    for name in ("docs", "parts"):
        shutil.rmtree(name, ignore_errors=True)
    Path("docs").mkdir()
    for number, words in enumerate(texts):
        Path(f"docs/{number}.txt").write_text(prose(AUTHORS[number % 3], words, number))
    for number, (rows, group) in enumerate(tables):
        column = pyarrow.array([prose(AUTHORS[row % 3], 5 * row, row) for row in range(rows)], pyarrow.string())
        parquet.write_table(pyarrow.table({"text": column}), f"docs/{number}t.parquet", row_group_size=group)
    score_shards(call, count, "docs")
    assert merged(call, form) == undivided(call, form, "docs")


@pytest.mark.promise("merge-same-bytes")
@pytest.mark.parametrize("form", ["parquet", "jsonl", "csv"])
def test_shards_of_a_listing(call, form):
    write_documents(Path("docs"))
    listing = f"files.{form}"
    code, _, err = call("list", "docs", "--include", "*.txt", "--out", listing)
    assert (code, err.count("\n")) == (0, 1), err
    score_shards(call, 3, "--listing", listing)
    expected = undivided(call, "jsonl", "docs", "--include", "*.txt")
    assert merged(call, "jsonl") == expected == undivided(call, "jsonl", "--listing", listing)


def test_a_listing_leaves_out_itself(call):
    write_documents(Path("docs"), 3)
    assert call("list", ".", "--out", "files.csv", "--force")[0] == 0
    assert call("list", ".", "--out", "files.csv", "--force")[0] == 0
    assert "files.csv" not in Path("files.csv").read_text()
    code, _, err = call("list", ".", "--out", "files.csv")
    assert (code, "already exists" in err) == (1, True)
    assert sorted(path.name for path in Path().iterdir()) == ["docs", "files.csv"]


def test_a_run_of_another_listing_is_not_resumed(call):
    write_documents(Path("docs"), 20)
    call("list", "docs", "--out", "files.csv")
    code, _, err = call("score", "--listing", "files.csv", "--out", "rows.csv", "--fail-fast")
    assert (code, Path("rows.csv.journal").exists()) == (1, True), err
    Path("docs/0/000.txt").unlink()
    call("list", "docs", "--out", "files.csv", "--force")
    code, _, err = call("score", "--listing", "files.csv", "--out", "rows.csv", "--resume")
    assert code == 1
    assert "cannot resume, this is not the run that was interrupted: listing was" in err


@pytest.mark.promise("merge-statistics")
def test_statistics_of_all_parts(call):
    write_documents(Path("docs"))
    score_shards(call, 3, "docs")
    code, _, err = call("merge", "parts", "--out", "all.csv", "--stats", "stats.json")
    assert code == 3
    assert "4 of 32 documents failed" in err
    stats = json.loads(Path("stats.json").read_text())
    undivided(call, "csv", "docs", "--stats", "whole.json")
    whole = json.loads(Path("whole.json").read_text())
    assert stats.keys() == whole.keys()
    for key in ("documents", "scored", "unknown", "failed", "windows", "tokens", "model", "model_sha256", "versions"):
        assert stats[key] == whole[key]
    assert stats["latency_ms"]["service"]["max"] > 0


def test_an_empty_shard_is_a_part(call):
    write_documents(Path("docs"), 2)
    code, _, err = call("score", "docs", "--shard", "1/64", "--out", "parts")
    assert (code, "no documents in shard 1/64" in err) == (0, True), err
    assert Path("parts/00001-of-00064.part").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["docs", "--shard", "0/3", "--out", "parts"], "shards are numbered from 1 to 3"),
        (["docs", "--shard", "4/3", "--out", "parts"], "shards are numbered from 1 to 3"),
        (["docs", "--shard", "3", "--out", "parts"], "'3' is not K/N, such as 3/64"),
        (["docs", "--shard", "1/3"], "name a directory for the parts: --out DIR"),
        (["docs", "--shard", "1/3", "--out", "-"], "name a directory for the parts: --out DIR"),
        (["docs", "--shard", "1/3", "--out", "docs/0/000.txt"], "name a directory for the parts: --out DIR"),
        (["docs", "--shard", "1/3", "--out", "docs"], "docs holds 0: name a directory of its own"),
        (["docs", "--shard", "1/3", "--out", "docs/0"], "name a directory of its own for the parts"),
        (["docs", "--shard", "1/3", "--out", "parts", "--format", "csv"], "pass this to authorid merge"),
        (["docs", "--shard", "1/3", "--out", "parts", "--top", "3"], "pass this to authorid merge"),
        (["docs", "--shard", "1/3", "--out", "parts", "--adapt"], "would depend on the other documents"),
        (["-", "--shard", "1/3", "--out", "parts"], "list the files first, with authorid list"),
        (["--stdin-text", "--shard", "1/3", "--out", "parts"], "list the files first, with authorid list"),
        (["docs", "--listing", "l.csv"], "leave out PATH and --stdin-text"),
        (["--listing", "l.csv", "--hidden"], "pass this to authorid list"),
        (["--listing", "l.csv"], "l.csv: no such file or directory"),
    ],
)
def test_wrong_usage(call, arguments, message):
    write_documents(Path("docs"), 3)
    code, _, err = call("score", *arguments)
    assert code == 2
    assert message in " ".join(err.replace("│", "").split())
    assert not list(Path().glob("parts/*"))


@pytest.mark.promise("merge-refuses")
class TestMergeRefuses:
    @pytest.fixture(autouse=True)
    def parts(self, call):
        write_documents(Path("docs"))
        score_shards(call, 3, "docs")

    def refused(self, call, *parts):
        code, out, err = call("merge", *(parts or ["parts"]), "--out", "all.csv")
        assert (code, out) == (1, "")
        assert not Path("all.csv").exists()
        assert len(list(Path().glob("all*"))) == 0
        lines = err.strip().splitlines()
        assert len(lines) == 1, err
        return lines[0]

    def test_missing(self, call):
        Path("parts/00002-of-00003.part").unlink()
        assert "parts: of 3 parts, 1 are missing: 2" in self.refused(call)

    def test_interrupted(self, call):
        Path("parts/00002-of-00003.part").unlink()
        code, _, _ = call("score", "docs", "--shard", "2/3", "--out", "parts", "--fail-fast")
        assert code == 1
        assert "number 2 was interrupted: repeat its command with --resume" in self.refused(call)
        assert call("score", "docs", "--shard", "2/3", "--out", "parts", "--resume")[0] == 3
        assert merged(call, "csv") == undivided(call, "csv", "docs")

    def test_doubled(self, call):
        shutil.copy("parts/00002-of-00003.part", "copy.part")
        assert "copy.part: is part 2/3, and so is parts/00002-of-00003.part" in self.refused(call, "parts", "copy.part")

    def test_of_another_number_of_shards(self, call):
        score_shards(call, 2, "docs", out="others")
        assert "others/00001-of-00002.part: is part 1/2, but" in self.refused(call, "parts", "others")

    @pytest.mark.parametrize("change", ["added", "removed", "larger"])
    def test_of_documents_that_changed(self, call, change):
        if change == "added":
            Path("docs/0/new.txt").write_text("new")
        elif change == "removed":
            Path("docs/2/002.txt").unlink()
        else:
            Path("docs/2/002.txt").write_text(prose("Ada", 500))
        assert call("score", "docs", "--shard", "3/3", "--out", "parts", "--force")[0] in (0, 3)
        assert "parts/00003-of-00003.part: not of the same documents as parts/00001-of-00003.part" in self.refused(call)

    def test_of_another_model(self, call, tmp_path):
        other = make_bundle(tmp_path / "other", rest=0.5)
        call("score", "docs", "--shard", "2/3", "--out", "parts", "--force", model=other.path)
        assert "parts/00002-of-00003.part: not of the same model as" in self.refused(call)

    def test_of_other_options(self, call):
        call("score", "docs", "--shard", "2/3", "--out", "parts", "--force", "--any-text", "--max-bytes", "1M")
        message = self.refused(call)
        assert "parts/00002-of-00003.part: not of the same run as" in message
        assert "max_bytes was 16777216, now 1048576" in message

    @pytest.mark.parametrize("name", ["none.part", "docs/0/000.txt", "docs"])
    def test_what_is_no_part(self, call, name):
        assert name in self.refused(call, name)

    def test_a_fifo(self, call):
        os.mkfifo("parts/x.part")
        assert "parts/x.part: cannot be read: x.part is not a regular file" in self.refused(call)

    def test_a_part_as_results(self, call):
        code, _, err = call("merge", "parts", "--out", "parts/00001-of-00003.part", "--format", "csv", "--force")
        assert (code, "is one of the parts" in err) == (2, True)


def test_a_finished_shard_is_not_scored_again(call):
    write_documents(Path("docs"), 9)
    score_shards(call, 2, "docs")
    code, _, err = call("score", "docs", "--shard", "1/2", "--out", "parts", "--resume")
    assert (code, "is complete: there is nothing to resume" in err) == (0, True)
    code, _, err = call("score", "docs", "--shard", "1/2", "--out", "parts")
    assert (code, "already exists; pass --force" in err) == (1, True)


def test_parts_below_the_documents_are_no_documents(call):
    write_documents(Path("docs"), 9)
    expected = undivided(call, "csv", "docs")
    score_shards(call, 3, "docs", out="docs/parts")
    assert merged(call, "csv", "docs/parts") == expected


@pytest.mark.corpus
@pytest.mark.promise("merge-same-bytes")
def test_64_shards_of_c50_are_the_bytes_of_one_run(call, c50, capfd):
    from authorid.models import default_bundle

    model = default_bundle()
    arguments = (c50 / "C50test", "--effort", "fast")
    for number in range(1, 65):
        assert call("score", *arguments, "--shard", f"{number}/64", "--out", "parts", "-q", model=model)[0] == 0
    for form in FORMS:
        code, _, err = call("score", *arguments, "--out", f"whole.{form}", "-q", model=model)
        assert code == 0, err
        assert merged(call, form) == Path(f"whole.{form}").read_bytes()


@pytest.mark.promise("signals")
def test_a_signal_between_the_plan_and_the_run_scores_nothing(tmp_path):
    from authorid.cli.console import Terminal
    from authorid.cli.interrupts import Interrupts
    from authorid.cli.shard_option import ShardOptions
    from authorid.inputs.documents import ReadOptions
    from authorid.inputs.shards import Shard

    write_documents(tmp_path / "docs", 3)
    for shard in (Shard(1, 1), Shard(2, 2)):
        for code, found in ((None, True), (130, False)):
            interrupts = Interrupts()
            out = str(tmp_path / "parts" / "x.part")
            planned = ShardOptions(shard, None).plan(
                (str(tmp_path / "docs"),), ReadOptions(), out, interrupts, Terminal(quiet=True)
            )
            interrupts.exit_code = code
            assert bool(list(planned.files)) is found
