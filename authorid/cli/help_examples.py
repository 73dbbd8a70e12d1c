"""The examples that the help of each command ends with. Tests parse every one of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

__all__ = ["EXAMPLES"]

EXAMPLES: Final[Mapping[str, tuple[str, ...]]] = {
    "score": (
        "authorid score letters --out results.csv",
        "authorid score letters --known authors --out results.csv",
        "authorid score letters --model my-bundle --out results.jsonl --top 3",
        "authorid score letters --out - --stats stats.json --quiet",
    ),
    "list": (
        "authorid list letters --out listing.parquet",
        "authorid list letters --include '*.txt' --out listing.jsonl",
    ),
    "merge": (
        "authorid merge parts --out results.parquet",
        "authorid merge parts --out results.csv --stats stats.json",
    ),
    "explain": (
        "authorid explain letter.txt",
        "authorid explain letter.txt --author Hamilton --text",
        "authorid explain memoirs.txt --rolling --json parts.json",
    ),
    "verify": (
        "authorid verify known questioned.txt --imposters others",
        "authorid verify known questioned --imposters others --json answers.json",
    ),
    "train": (
        "authorid train corpus --no-encoder --out model",
        "authorid train corpus --out run --test-corpus held-out",
        "authorid train corpus --out run --resume",
    ),
    "evaluate": (
        "authorid evaluate model held-out",
        "authorid evaluate model held-out --json report.json --plots plots",
        "authorid evaluate model held-out --unknown-authors others",
    ),
    "export": (
        "authorid export run --quantize --out my-bundle",
        "authorid export my-classifier --quantize --corpus documents",
        "authorid export model --encoder my-bundle --out both",
    ),
    "tune": (
        "authorid tune",
        "authorid tune --model my-bundle --seconds 20",
    ),
    "bench": (
        "authorid bench",
        "authorid bench --model my-bundle --documents letters --json bench.json",
    ),
    "models list": (
        "authorid models list",
        "authorid models list --json -",
    ),
    "models show": (
        "authorid models show",
        "authorid models show my-bundle",
        "authorid models show reuters50 --json card.json",
    ),
    "data c50": (
        "authorid data c50 C50",
        "authorid train C50/C50train --no-encoder --out model",
    ),
    "doctor": (
        "authorid doctor",
        "authorid doctor --json -",
    ),
}
"""Command lines by the names of a command."""
