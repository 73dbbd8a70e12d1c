"""The report of an evaluation as a page: reliability, risk and coverage, confusions, and figures for each author."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from authorid.evaluation.evaluation_report import EvaluationReport
from authorid.outputs.escaping import visible
from authorid.report.page import compact_json, write_page

__all__ = ["write_evaluation_page"]


def write_evaluation_page(path: Path, report: EvaluationReport, model: str) -> None:
    """Write the page about the `report` on the `model` of this name to `path`; raises `OSError`."""
    about = {
        "made": time.strftime("%Y-%m-%d %H:%M"),
        "model": model,
        "noun": report.noun,
        "evaluation": report.to_json(),
    }
    write_page(path, "evaluation", {"ABOUT": compact_json(_visible(about))})


def _visible(value: Any) -> Any:
    """`value` with every text made safe to display."""
    if isinstance(value, dict):
        return {name: _visible(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_visible(part) for part in value]
    return visible(value) if isinstance(value, str) else value
