"""Results on disk: one writer a format.

`open_writer` picks the format, writes beside the target and puts the finished file in its place in one step, so
that a reader never sees half a file.
"""

from __future__ import annotations

from authorid.results.writer import FORMATS, ResultWriter, format_for, open_writer

__all__ = ["FORMATS", "ResultWriter", "format_for", "open_writer"]
