"""Results: records, one writer for each format, and the journal that makes a run resumable.

`reserve` claims a destination, and `Destination.open` takes the records. The finished file appears in one step, so that
nobody sees half of it; what a crash leaves behind can be resumed.
"""

from __future__ import annotations

from authorid.outputs.destination import Destination, Output, is_stream, open_writer, reserve
from authorid.outputs.fingerprint import run_fingerprint
from authorid.outputs.formats import FORMATS, format_for
from authorid.outputs.records import Record

__all__ = [
    "FORMATS",
    "Destination",
    "Output",
    "Record",
    "format_for",
    "is_stream",
    "open_writer",
    "reserve",
    "run_fingerprint",
]
