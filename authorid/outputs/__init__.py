"""Results on disk: one encoder a format, and the journal that makes a run resumable.

`reserve` claims the place, `Destination.open` takes the rows; the finished file appears in one step, so that a reader never
sees half of it, and what a crash leaves behind can be resumed.
"""

from __future__ import annotations

from authorid.outputs.destination import Destination, Output, open_writer, reserve
from authorid.outputs.fingerprint import run_settings
from authorid.outputs.formats import FORMATS, format_for

__all__ = ["FORMATS", "Destination", "Output", "format_for", "open_writer", "reserve", "run_settings"]
