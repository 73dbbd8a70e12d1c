"""Public data sets to train and measure on: downloaded when a command asks for them, and checked by their content."""

from __future__ import annotations

from authorid.datasets.dataset import C50, Dataset, content_digest
from authorid.datasets.fetch import fetch

__all__ = ["C50", "Dataset", "content_digest", "fetch"]
