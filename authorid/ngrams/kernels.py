"""Inner loops of the n-gram expert in C (`_kernels.c`), where this package was built with a compiler at hand.

Whoever has such a loop has it in numpy too, with answers that are the same to the bit, and takes that one where
`module` is None: at about half the speed, and other threads wait for much of it.
"""

from __future__ import annotations

import importlib
from types import ModuleType

__all__ = ["module"]

module: ModuleType | None
try:
    module = importlib.import_module("authorid.ngrams._kernels_c")
except ImportError:
    module = None
