"""Benchmarks, for a checkout: ``python -m bench``. What they measure is the authorid that is installed."""

from __future__ import annotations

import sys
from pathlib import Path

_CHECKOUT = str(Path(__file__).resolve().parents[1])

# `python -m` puts the checkout in front, where its authorid/ would hide the installed one, which has compiled loops.
if sys.path and sys.path[0] in ("", _CHECKOUT):
    sys.path.append(sys.path.pop(0))
