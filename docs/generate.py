"""Write the generated parts of ``docs/reference``: run ``python docs/generate.py`` after a change that users can see.

Pages mark a generated part with ``<!-- generated: NAME -->`` and ``<!-- end -->``; the rest is written by hand. With
``--check``, nothing is written, and the exit code is 1 when a page is not current.

The options come from the command line's own objects. Columns, keys and statistics come from a run over ``examples/``:
what is documented is what a run writes, and a key without a description here is an error. (mkdocs-click is not used:
with Click 8.3 and later it prints ``Sentinel.UNSET`` as the default of every option that has none.)
"""

from __future__ import annotations

import csv
import importlib
import inspect
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

ROOT = Path(__file__).resolve().parents[1]
PAGES = ROOT / "docs" / "reference"
PUBLIC = {
    "authorid": None,
    "authorid.ray": None,
    "authorid.sklearn": None,
    "authorid.training": ("TrainingOptions", "CorpusSpec", "train", "prepare_batched", "plot_history"),
    "authorid.export": ("ExportOptions", "export_model"),
}
"""The public API: modules with their names that are public; None: all of ``__all__``."""

COLUMNS = {
    "path": "The file as it was found; `stdin` for `--stdin-text`. "
    "In a CSV, characters that cannot be seen are escaped.",
    "member": "The part of the file, such as the row of a table (its number, or its value in `--id-column`); "
    "empty for a whole file.",
    "status": "`scored`, `unknown` or `failed`.",
    "author": "The most probable author; empty unless `scored`.",
    "candidate": "The most probable author when `unknown`.",
    "probability": "Probability of that author.",
    "runner_up": "The second most probable author.",
    "runner_up_probability": "Probability of the runner-up.",
    "margin": "Difference between the two probabilities.",
    "expert": "Which model answered: `ngrams`, `encoder` or `both`.",
    "windows": "Windows that the encoder read; 0 when the n-grams answered alone.",
    "tokens": "Tokens that the encoder read, special tokens included.",
    "reader": "The format that was read, and what was left out of it.",
    "encoding": "Encoding in which the file was read, and how many wrong bytes were replaced.",
    "sha256": "SHA-256 of the bytes of the file; for a row of a table, of its text in UTF-8.",
    "error": "Why the document failed; empty otherwise.",
    "known_author_score": "How much the document looks as if a known author wrote it, between 0 and 1.",
    "coverage": "Share of its n-grams that occur in training; low in other languages and in what is no prose.",
    "reason": "Why the document is `unknown`; empty otherwise.",
    "adapted": "Whether `--adapt` adapted the model to the run.",
}
JSONL_ONLY = {
    "top": "The most probable authors with their probabilities; `--top` sets how many.",
    "explanation": "With `--explain`: `author`, and the `ngrams` and `passages` with the highest and lowest "
    "contributions; text that holds JSON in Parquet.",
    "evidence": "With `--evidence`: probability of the chosen author in each window alone.",
    "path_b64": "Exact bytes of the name in Base64, when it is not UTF-8.",
}
OPTIONAL = {"path_b64"}
"""Keys that a run over the examples does not write."""

STATISTICS = {
    "documents": "Rows of the results.",
    "scored": "Rows with the status `scored`.",
    "unknown": "Rows with the status `unknown`.",
    "failed": "Rows with the status `failed`.",
    "windows": "Windows that the encoder read.",
    "tokens": "Tokens that the encoder read, special tokens included.",
    "wall_seconds": "Duration of the run, without loading the model.",
    "documents_per_second": "Rate of this run; rows kept by `--resume` are left out.",
    "tokens_per_second": "Rate of this run, in tokens of the encoder.",
    "padding_ratio": "Share of the encoder's token slots that were padding.",
    "latency_ms.service": "Work for a document, without waiting: reading it, and its part of what was done for several "
    "at once. `p50`, `p90`, `p95`, `p99`, `max`; percentiles are within 1 %.",
    "latency_ms.document": "From opening a file until its answer is known, waiting in queues included; the same five "
    "figures.",
    "latency_ms.batch": "Time of a batch in the encoder; the same five figures.",
    "stage_seconds.read": "Seconds spent reading, summed over threads.",
    "stage_seconds.tokenize": "Seconds spent tokenizing, summed over threads.",
    "stage_seconds.infer": "Seconds spent in the encoder, summed over threads.",
    "stage_seconds.write": "Seconds spent writing rows.",
    "provider": "Inference backend that ran.",
    "precision": "Precision of the graph that ran.",
    "workers": "Batches in flight at once.",
    "threads": "Threads for each batch.",
    "batch_tokens": "Size of a batch in tokens.",
    "effort": "The `--effort` of the run.",
    "max_windows": "The most windows of a document that the encoder reads; 0: all; null when it is not used.",
    "unknown_below": "Thresholds of the probability, the known-author score and the coverage. A document below any of "
    "them is `unknown`.",
    "ngrams": "`compiled`; `numpy`, at half the speed, without a C compiler at installation; null for a model "
    "without n-grams.",
    "adaptation": "After `--adapt`: documents in the sample, how many were certain, and the digest of what changed; "
    "null otherwise.",
    "model": "Name of the model.",
    "model_sha256": "SHA-256 of the model that ran.",
    "versions": "Versions of Python and of the packages that decide an answer.",
    "cpu": "Name of the processor.",
    "peak_rss_mb": "Peak memory of the process in MB; null on Windows.",
    "resumed.kept": "After `--resume`: rows of the earlier run that were kept.",
    "resumed.changed": "After `--resume`: documents that changed and were scored again.",
    "resumed.vanished": "After `--resume`: documents that are no longer there.",
}
OPTIONAL_STATISTICS = {"resumed.kept", "resumed.changed", "resumed.vanished"}
WHOLE = {"latency_ms.service", "latency_ms.document", "latency_ms.batch", "versions"}
"""Objects that are described as one key."""


def bullets(rows: Iterable[Sequence[str]]) -> str:
    """A Markdown list of ``(term, description)``."""
    return "\n".join(f"- {term}: {description}" for term, description in rows)


def described(keys: Iterable[str], descriptions: Mapping[str, str], optional: Iterable[str] = ()) -> list[list[str]]:
    """One row a key, in the order of `descriptions`. Raises `SystemExit` when keys and descriptions differ."""
    difference = set(keys) ^ (set(descriptions) - set(optional))
    if difference:
        raise SystemExit(f"docs/generate.py: described or written, but not both: {', '.join(sorted(difference))}")
    return [[f"`{key}`", text] for key, text in descriptions.items()]


def run(*arguments: str) -> bytes:
    """Standard output of ``authorid`` with these `arguments`, run in the root of the checkout."""
    command = [sys.executable, "-m", "authorid", *arguments]
    return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout


def flat(record: Mapping[str, Any], prefix: str = "") -> Iterable[str]:
    """The keys of a JSON object, those of objects in it behind a dot."""
    for key, value in record.items():
        name = prefix + key
        if isinstance(value, dict) and name not in WHOLE:
            yield from flat(value, f"{name}.")
        else:
            yield name


def columns() -> str:
    """The columns of a CSV."""
    header = next(csv.reader(run("score", "examples", "--out", "-", "--quiet").decode("utf-8").splitlines()))
    return bullets(described(header, COLUMNS))


def jsonl_keys() -> str:
    """What a JSONL row has beside the columns."""
    line = run("score", "examples", "-o", "-", "-f", "jsonl", "--evidence", "--explain", "--effort", "full", "--quiet")
    line = line.splitlines()[0]
    return bullets(described(set(json.loads(line)) - set(COLUMNS), JSONL_ONLY, OPTIONAL))


def statistics() -> str:
    """The keys of the statistics."""
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory, "stats.json")
        run("score", "examples", "--out", "-", "--stats", str(file), "--quiet")
        keys = list(flat(json.loads(file.read_text("utf-8"))))
    return bullets(described(keys, STATISTICS, OPTIONAL_STATISTICS))


def commands() -> str:
    """Every command with its options."""
    from authorid.cli.app import app

    described_groups: dict[str, str] = {}
    parts = []
    for name, command in app.commands.items():
        if isinstance(command, click.Group):
            subcommands = command.commands.items()
            parts += [_command(f"{name} {below}", subcommand, described_groups) for below, subcommand in subcommands]
        elif not command.hidden:
            parts.append(_command(name, command, described_groups))
    return "\n\n".join(parts)


def _command(name: str, command: click.Command, described_groups: dict[str, str]) -> str:
    """One command; a group of options that an earlier command has too is only named. Adds to `described_groups`."""
    from authorid.cli.help_examples import EXAMPLES
    from authorid.cli.sectioned_command import SectionedCommand

    assert isinstance(command, SectionedCommand)
    context = click.Context(command, info_name=f"authorid {name}", **command.context_settings)
    usage = " ".join(command.collect_usage_pieces(context))
    parts = [f"## authorid {name}", f"```text\nauthorid {name} {usage}\n```", inspect.cleandoc(command.help or "")]
    parts.append("```text\n" + "\n".join(EXAMPLES[name]) + "\n```")
    sections = {
        title: [option for option in options if option.expose_value]
        for title, options in command.sections(context).items()
    }
    sections = {title: options for title, options in sections.items() if options}
    for title, options in sections.items():
        heading = [f"### {title} of {name}"] if len(sections) > 1 else []
        listed = bullets(_option(option, context) for option in options)
        first = described_groups.setdefault(listed, name) if "options" not in title.lower() else name
        if first != name:
            names_only = ", ".join(f"`{option.opts[0]}`" for option in options)
            listed = f"As [of {first}](#{title.lower()}-of-{first}): {names_only}."
        parts += [*heading, listed]
    return "\n\n".join(parts)


def _option(option: click.Option, context: click.Context) -> tuple[str, str]:
    names = ", ".join(f"`{name}`" for name in (*sorted(option.opts, key=len, reverse=True), *option.secondary_opts))
    if isinstance(option.type, click.Choice):
        names += f" `{'|'.join(option.type.choices)}`"
    elif option.metavar:
        names += f" {option.metavar}"
    default = _default(option, context)
    return names, (option.help or "") + (f" Default: {default}." if default else "")


def _default(option: click.Option, context: click.Context) -> str:
    if isinstance(option.show_default, str):
        return option.show_default
    value = option.get_default(context)
    if isinstance(value, bool):
        return f"`{(option.opts if value else option.secondary_opts)[0]}`" if option.secondary_opts else ""
    return f"`{value}`" if isinstance(value, str | int | float) else ""


def _public() -> Iterable[str]:
    for path, public in PUBLIC.items():
        module = importlib.import_module(path)
        for name in public or module.__all__:
            if name != "__version__":
                yield f"{path}.{name}"


def errors() -> str:
    """The tree of exceptions, as `authorid.errors` draws it."""
    from authorid import errors as module

    tree = re.search(r"^::\n\n((?: {4}.*\n)+)", module.__doc__ or "", re.MULTILINE)
    if tree is None:
        raise SystemExit("docs/generate.py: authorid.errors draws no tree")
    return f"```text\n{inspect.cleandoc(tree.group(1))}\n```"


def details() -> str:
    """Directives from which the site makes the full documentation of each public name."""
    return "\n\n".join(f"::: {name}" for name in _public())


PARTS: dict[str, dict[str, Callable[[], str]]] = {
    "cli.md": {"commands": commands},
    "results.md": {"columns": columns, "jsonl": jsonl_keys},
    "statistics.md": {"statistics": statistics},
    "python.md": {"errors": errors, "details": details},
}
"""Pages, and what fills each of their generated parts."""


def generated(page: str) -> str:
    """The text of `page` with every generated part made anew."""
    text = (PAGES / page).read_text("utf-8")
    for name, make in PARTS[page].items():
        part = re.compile(rf"(<!-- generated: {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        if not part.search(text):
            raise SystemExit(f"docs/reference/{page}: there is no part {name!r}")
        body = make()
        text = part.sub(lambda match, body=body: f"{match[1]}\n{body}\n\n{match[2]}", text)  # type: ignore[misc]
    return text


def main() -> None:
    """Write the pages, or check them."""
    stale = []
    for page in PARTS:
        text = generated(page)
        if text != (PAGES / page).read_text("utf-8"):
            stale.append(page)
            if "--check" not in sys.argv[1:]:
                (PAGES / page).write_text(text, "utf-8")
    if stale and "--check" in sys.argv[1:]:
        raise SystemExit(f"not current: {', '.join(stale)}; run python docs/generate.py")


if __name__ == "__main__":
    main()
