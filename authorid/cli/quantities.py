"""Numbers as people write them on a command line: ``16M``, ``5%``, and nothing that is not finite."""

from __future__ import annotations

import math
import re
from decimal import Decimal, InvalidOperation
from typing import Any

import click

__all__ = ["ByteSize", "FiniteRange", "Share"]

_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(?:([kmgt])i?)?b?", re.ASCII | re.IGNORECASE)
_POWERS = {"k": 1, "m": 2, "g": 3, "t": 4}
_MOST_BYTES = 1 << 62


class FiniteRange(click.FloatRange):
    """A number in a range; ``nan``, which compares with nothing, and infinity are in none."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Convert `value`; fails with a usage error."""
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


class Share(FiniteRange):
    """A share between 0 and 1, also as a percentage: ``0.05`` and ``5%`` are the same."""

    name = "share"

    def __init__(self, *, max_open: bool = False) -> None:
        super().__init__(min=0.0, max=1.0, max_open=max_open)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Convert `value`; fails with a usage error."""
        if isinstance(value, str) and value.rstrip().endswith("%"):
            try:
                value = float(Decimal(value.rstrip()[:-1].strip()) / 100)  # 0.1% is 0.001 to the last bit
            except InvalidOperation:
                self.fail(f"{value!r} is not a share, such as 0.05 or 5%.", param, ctx)
        return super().convert(value, param, ctx)


class ByteSize(click.ParamType):  # type: ignore[type-arg,unused-ignore]  # generic in later releases
    """A number of bytes, at least one: ``16777216``, ``16M`` or ``16MiB``. A unit is a power of 1024."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Convert `value`; fails with a usage error."""
        match = _SIZE.fullmatch(str(value).strip()) if not isinstance(value, bool) else None
        if match is None:
            self.fail(f"{value!r} is not a size in bytes, such as 16777216, 16M or 1.5G.", param, ctx)
        size = int(Decimal(match[1]) * 1024 ** _POWERS.get((match[2] or "").lower(), 0))
        if not 0 < size < _MOST_BYTES:
            self.fail(f"{value!r} is not a size between 1 byte and 4 EiB.", param, ctx)
        return size
