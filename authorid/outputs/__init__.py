"""Results: records, one writer for each format, and the journal that makes a run resumable.

`reserve` claims a destination, and `Destination.open` takes the records. The finished file appears in one step, so that
nobody sees half of it; what a crash leaves behind can be resumed.
"""

from __future__ import annotations

from authorid.outputs.destination import Destination, Output, is_standard_output, is_stream, open_writer, reserve
from authorid.outputs.fingerprint import run_fingerprint
from authorid.outputs.formats import FORMATS, format_for, require_format
from authorid.outputs.records import Attribution

__all__ = [
    "FORMATS",
    "Attribution",
    "Destination",
    "Output",
    "format_for",
    "is_standard_output",
    "is_stream",
    "open_writer",
    "require_format",
    "reserve",
    "run_fingerprint",
]
