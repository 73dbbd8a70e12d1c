"""JSON from files that may be damaged or hostile."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, NoReturn

__all__ = ["parse_object", "read_object"]


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in the file `path`; raises `OSError`, and `ValueError` as `parse_object` does."""
    return parse_object(path.read_text("utf-8"))


def parse_object(text: str) -> dict[str, Any]:
    """The JSON object that `text` is.

    Raises `ValueError` when it is something else, is nested too deeply, or contains a number that is not finite, which
    Python writes and reads although JSON has none.
    """
    try:
        record = json.loads(text, parse_float=_finite, parse_constant=_refuse)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(record, dict):
        raise ValueError("not a JSON object")
    return record


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        _refuse(digits)
    return number


def _refuse(number: str) -> NoReturn:
    raise ValueError(f"a number that is not finite: {number[:20]}")
