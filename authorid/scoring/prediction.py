"""Attribute documents in the calling thread alone, for programs with threads, processes or machines of their own.

The documents of a group go through each step together, so that windows of equal length share a batch. Answers are the
same as those of a run with threads.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from authorid.encoder.batching import Batch
from authorid.encoder.windows import Window
from authorid.inputs.documents import Document, Failure
from authorid.scoring.attribution import Attribution, failed
from authorid.scoring.cascade import Cascade, Encoder
from authorid.scoring.document_state import DocumentState
from authorid.scoring.document_steps import first_windows, run_batch, score_ngrams, tokenize
from authorid.scoring.messages import BatchScored, Finished
from authorid.scoring.scheduler import Inputs

__all__ = ["attribute_inputs"]

_GROUP_ITEMS = 1024
"""The most inputs in a group: with more of them, more windows have the same length."""

_GROUP_CHARACTERS = 1 << 20
"""The most characters in a group, unless a single document has more. With the number of inputs it bounds memory."""

_NGRAM_DOCUMENTS = 64
"""Documents for which the n-gram model keeps the scores of all views at a time."""

_Item = DocumentState | Failure | Attribution


def attribute_inputs(
    cascade: Cascade, inputs: Inputs, *, evidence: bool = False, explain: bool = False
) -> list[Attribution]:
    """One row for each input, in order; with `evidence` and `explain`, including these fields.

    Starts no threads, and may be called from several threads at once. What `inputs` raises is raised to the caller.
    """
    rows: list[Attribution] = []
    for group in _groups(inputs, explain):
        states = [item for item in group if isinstance(item, DocumentState)]
        for start in range(0, len(states), _NGRAM_DOCUMENTS):
            score_ngrams(cascade, states[start : start + _NGRAM_DOCUMENTS])
        if cascade.encoder is not None:
            _encode(cascade, cascade.encoder, states)
        rows += [_row(cascade, item, evidence) for item in group]
    return rows


def _groups(inputs: Inputs, explain: bool) -> Iterator[list[_Item]]:
    """The inputs in groups; documents are numbered within their group."""
    group: list[_Item] = []
    characters = 0
    for item in inputs:
        length = len(item.text) if isinstance(item, Document) else 0
        if group and (len(group) == _GROUP_ITEMS or characters + length > _GROUP_CHARACTERS):
            yield group
            group, characters = [], 0
        group.append(DocumentState(len(group), item, 0.0, explain) if isinstance(item, Document) else item)
        characters += length
    if group:
        yield group


def _encode(cascade: Cascade, encoder: Encoder, states: Sequence[DocumentState]) -> None:
    """Run the encoder, round by round, over those of the `states` that the n-gram model has not decided."""
    numbered = {state.number: state for state in states}
    undecided = [state for state in states if not state.decided]
    token_ids = tokenize(encoder.windower.single_threaded().token_ids, undecided)
    windows: list[Window] = []
    for state, ids in zip(undecided, token_ids, strict=True):
        state.drop_text()
        windows += first_windows(cascade, encoder.windower, state, ids)
    undecided = [state for state in undecided if not state.decided]
    while undecided:
        for batch in _batches(windows, encoder.engine.batch_tokens):
            for result in run_batch(encoder.engine, batch):
                if isinstance(result, BatchScored):
                    for (number, position), logits in zip(result.owners, result.logits, strict=True):
                        numbered[number].record(position, logits)
                else:
                    numbered[result.number].fail(result.reason)
        rounds = [(state, cascade.next_round(state)) for state in undecided]
        undecided = [state for state, more in rounds if more]
        windows = [window for _, more in rounds for window in more]


def _batches(windows: Iterable[Window], batch_tokens: int) -> Iterator[Batch]:
    """Windows of equal length in batches of at most `batch_tokens`, or of one window that is longer."""
    for length, equal in groupby(sorted(windows, key=_length), key=_length):
        found, size = tuple(equal), max(1, batch_tokens // length)
        for start in range(0, len(found), size):
            yield Batch(found[start : start + size])


def _length(window: Window) -> int:
    return len(window.ids)


def _row(cascade: Cascade, item: _Item, evidence: bool) -> Attribution:
    match Finished.of(item).outcome if isinstance(item, DocumentState) else item:
        case DocumentState() as state:
            return cascade.attribute(state, evidence=evidence)
        case Failure() as failure:
            return failed(failure)
        case Attribution() as attribution:
            return attribution
