"""The results of ``python -m bench accuracy`` as Markdown tables and as one plot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["accuracy_tables", "draw_curves"]

_AXES = {
    "documents": "training documents an author",
    "words": "words in a text",
    "authors": "authors",
}
"""The curves, in the order of the panels, and what varies along each."""

# Colours that can be told apart with any colour vision (Okabe and Ito 2008); in print, the markers can.
_STYLES = (("#D55E00", "o"), ("#0072B2", "s"), ("#009E73", "^"), ("#CC79A7", "D"))


def accuracy_tables(record: Mapping[str, Any]) -> str:
    """The conditions of a record, and its two tables: the learning curves and the whole corpus.

    The columns of systems are percentages of right answers. The cells have no spaces around them, so that a page with
    the tables stays short.
    """
    systems: Sequence[str] = record["systems"]
    curves = [row for row in record["rows"] if row["curve"] != "whole"]
    (whole,) = [row for row in record["rows"] if row["curve"] == "whole"]
    cells = [
        [row["curve"], str(row["authors"]), _or_all(row["documents"]), _or_all(row["words"]), *_shares(row, systems)]
        for row in curves
    ]
    lines = [*_conditions(record, whole), ""]
    lines += _table(("varied", "authors", "documents", "words", *systems), cells, text=1)
    lines += ["", *_table(("system", "accuracy", "macro-F1", "ECE"), _whole(whole, systems), text=1)]
    return "\n".join(lines) + "\n"


def _conditions(record: Mapping[str, Any], whole: Mapping[str, Any]) -> list[str]:
    """What was measured, on which corpus and machine."""
    corpus, machine = record["corpus"], record["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    return [
        f"Accuracy on {corpus['name']}: {corpus['authors']} authors, {whole['training']:,} training documents, "
        f"{whole['tested']:,} tested ({corpus['tested']}). {machine['cpu']}; {versions}.",
        "",
        "Columns of systems are percentages of right answers. Documents an author and authors are drawn with a fixed "
        "seed; an author or a text that has fewer documents or words gives all.",
    ]


def _or_all(number: int | None) -> str:
    return "all" if number is None else str(number)


def _shares(row: Mapping[str, Any], systems: Sequence[str]) -> list[str]:
    return [f"{100 * row['systems'][system]['accuracy']:.1f}" for system in systems]


def _whole(row: Mapping[str, Any], systems: Sequence[str]) -> list[list[str]]:
    """A row for each system; only authorid gives probabilities, and so an expected calibration error."""
    rows = []
    for system in systems:
        found = row["systems"][system]
        ece = f"{found['ece']:.3f}" if "ece" in found else ""
        rows.append([system, f"{100 * found['accuracy']:.1f}", f"{found['macro_f1']:.3f}", ece])
    return rows


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]], text: int) -> list[str]:
    """A Markdown table; the first `text` columns are words, the others numbers."""
    rule = ["---" if index < text else "---:" for index in range(len(columns))]
    return [f"|{'|'.join(cells)}|" for cells in (columns, rule, *rows)]


def draw_curves(record: Mapping[str, Any], path: Path) -> None:
    """Draw accuracy against what varies, one panel a curve and one line a system, as an SVG file at `path`.

    The same record gives the same file.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    # Without these two, identifiers and a date differ from run to run.
    with matplotlib.rc_context({"svg.hashsalt": "authorid"}):
        figure, axes = pyplot.subplots(1, len(_AXES), figsize=(12, 4), sharey=True)
        for axis, (curve, label) in zip(axes, _AXES.items(), strict=True):
            rows = [row for row in record["rows"] if row["curve"] == curve]
            _draw_panel(axis, rows, curve, record["systems"])
            axis.set_xlabel(label)
        axes[0].set_ylabel("accuracy, %")
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="upper center", ncols=len(labels), frameon=False)
        figure.suptitle(" ")  # room for the legend
        figure.tight_layout()
        figure.savefig(path, metadata={"Date": None})
        pyplot.close(figure)


def _draw_panel(axis: Any, rows: Sequence[Mapping[str, Any]], curve: str, systems: Sequence[str]) -> None:
    values = [row[curve] for row in rows]
    for system, (colour, marker) in zip(systems, _STYLES, strict=True):
        shares = [100 * row["systems"][system]["accuracy"] for row in rows]
        axis.plot(values, shares, color=colour, marker=marker, markersize=5, label=system)
    if values:
        axis.set_xscale("log")
        axis.set_xticks(values, [str(value) for value in values])
        axis.minorticks_off()
    axis.set_ylim(0, 100)
    axis.grid(alpha=0.3)
