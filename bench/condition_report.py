"""The results of ``python -m bench conditions`` as Markdown tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["condition_table"]


def condition_table(record: Mapping[str, Any]) -> str:
    """The tables of a record: conditions, and windows of long documents if they were measured."""
    lines = ["|corpus|authors|documents|words|n-grams|encoder|both|weight|", "|---" + "|---:" * 7 + "|"]
    for corpus in record["corpora"]:
        for row in corpus["rows"]:
            shares = "|".join(f"{100 * row[name]:.1f}" for name in ("ngrams", "encoder", "both"))
            sizes = "|".join(
                "all" if row[name] is None else str(row[name]) for name in ("authors", "documents", "words")
            )
            lines.append(f"|{corpus['name']}|{sizes}|{shares}|{row['weight']:.2g}|")
    long = [corpus for corpus in record["corpora"] if corpus.get("long")]
    if long:
        counts = [row["windows"] or "all" for row in long[0]["long"]]
        lines += ["", f"|corpus|long documents|their windows|{'|'.join(map(str, counts))}|"]
        lines.append("|---" + "|---:" * (2 + len(counts)) + "|")
        for corpus in long:
            shares = "|".join(f"{100 * row['accuracy']:.1f}" for row in corpus["long"])
            about = corpus["long"][0]
            lines.append(f"|{corpus['name']}|{about['documents']}|{about['mean_windows']:.0f}|{shares}|")
    return "\n".join(lines) + "\n"
