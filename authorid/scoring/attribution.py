"""The answers that scoring makes. `Attribution` is at home in the records, which the outputs read."""

from __future__ import annotations

from authorid.inputs.documents import Failure
from authorid.outputs.records import Attribution

__all__ = ["Attribution", "failed"]


def failed(failure: Failure) -> Attribution:
    """The row of a document that could not be read or scored."""
    return Attribution(failure.ref, "failed", error=failure.reason)
