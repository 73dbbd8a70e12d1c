"""Self-tests of a graph on this machine: it gives the promised logits, and the same logits in every batch.

Results are recorded in the cache, so that a test runs once on each machine.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from authorid.bundle.manifest import Bundle, Precision, Provider
from authorid.encoder.cache import machine_key, read_entry, write_entry
from authorid.encoder.providers import Arithmetic, arithmetic, identity
from authorid.encoder.session import GraphSession
from authorid.errors import EngineError, SelfTestError, first_line

__all__ = ["require_golden_logits", "same_in_batches"]

_TOLERANCE: dict[tuple[Precision, Arithmetic], float] = {
    ("int8", "f32"): 0.1,
    ("int8", "bf16"): 0.2,
    ("fp32", "f32"): 1e-3,
}
"""Largest allowed error of the golden logits: the RMS of the difference, relative to the RMS of the logits.

Other kernels round differently, and INT8 amplifies that: the error is 0.03 to 0.04 on the golden windows of a
MiniLM-L6, and 0.09 to 0.11 with bfloat16. A fault in one of its 36 matmuls gives an error of 0.2 to 0.7.
"""

_BACKENDS: dict[Provider, str] = {"cpu": "onnxruntime", "fused": "authorid's own library", "openvino": "OpenVINO"}
"""Who computes, in messages."""

_MAX_BATCH_WINDOWS = 32
"""Largest batch that `same_in_batches` tries; larger batches run on the same kernels."""


def require_golden_logits(session: GraphSession, bundle: Bundle) -> None:
    """Check that the graph gives the golden logits of `bundle`, unless it did before on this machine.

    Raises `SelfTestError` when the logits are wrong, and `EngineError` when the graph cannot be run. A failure is not
    recorded: it is raised every time.
    """
    key = machine_key(*_identity(session, bundle))
    if read_entry("checked", key) is None:
        _check_golden_logits(session, bundle)
        write_entry("checked", key, {**_description(session, bundle), "precision": session.precision})


def same_in_batches(session: GraphSession, bundle: Bundle, batch_tokens: int) -> bool:
    """Whether windows get bit-identical logits alone on one thread, and in batches of `batch_tokens` on all threads.

    The answer is read from the cache when it is known. False when the bundle has no golden windows to test with.
    """
    key = machine_key(*_identity(session, bundle), f"{batch_tokens} tokens on {session.threads} threads")
    entry = read_entry("batches", key)
    if entry is None:
        entry = {**_description(session, bundle), "same": _run_in_batches(session, bundle, batch_tokens)}
        write_entry("batches", key, entry)
    return entry.get("same") is True


def _identity(session: GraphSession, bundle: Bundle) -> tuple[str, str, str]:
    """What the result of a self-test depends on, besides the machine."""
    return bundle.sha256(session.precision, session.provider), identity(session.provider), repr(bundle.golden)


def _description(session: GraphSession, bundle: Bundle) -> dict[str, str]:
    """The part of a cache entry that is for people to read."""
    return {"model": bundle.name, "provider": session.provider}


def _check_golden_logits(session: GraphSession, bundle: Bundle) -> None:
    golden = [item for item in bundle.golden if session.precision in item.logits]
    # Without golden logits the graph must at least run, and return one logit for each author.
    windows = [item.ids for item in golden] or [(0, 0, 0)]
    try:
        logits = [session.run(np.array([ids], dtype=np.int32)) for ids in windows]
    except EngineError:
        raise
    except Exception as error:  # onnxruntime raises many types without a common base
        raise EngineError(f"{session.path}: the graph cannot be run: {first_line(error)}") from None
    if not golden:
        return
    actual = np.concatenate(logits).astype(np.float64)
    expected = np.array([item.logits[session.precision] for item in golden])
    with np.errstate(invalid="ignore"):  # golden logits may be infinite; then the error is not a number and fails below
        error_share = float(np.sqrt(((actual - expected) ** 2).mean() / max(1e-6, (expected**2).mean())))
    if not error_share <= _TOLERANCE[session.precision, arithmetic(session.provider, session.precision)]:
        cpu = session.provider == "cpu"
        advice = "--precision fp32, or another version of onnxruntime" if cpu else "--provider cpu"
        raise SelfTestError(
            f"{session.path}: on this machine {_BACKENDS[session.provider]} gives wrong logits: they differ by "
            f"{error_share:.0%} from the golden logits of the bundle. "
            f"Refusing to score with wrong kernels; try {advice}."
        )


def _run_in_batches(session: GraphSession, bundle: Bundle, batch_tokens: int) -> bool:
    """Compare logits of single windows with logits of batches.

    The windows are random tokens from the golden windows, with lengths from a sixteenth of a full window to a full one.
    Each length is run in the largest batch and in smaller ones, in two orders.
    """
    single = session
    if session.threads > 1:
        single = GraphSession(bundle, session.precision, session.provider, workers=1, threads=1)
    pool = np.array([token for golden in bundle.golden for token in golden.ids], dtype=np.int32)
    rng = np.random.default_rng(0)
    for part in (16, 12, 9, 5, 2, 1) if len(pool) else ():
        length = max(3, bundle.window.length * part // 16)
        count = max(1, min(batch_tokens // length, _MAX_BATCH_WINDOWS))
        ids = rng.choice(pool, (count, length)).astype(np.int32)
        if not _same_logits(session, single, ids):
            return False
    return bool(len(pool))


def _same_logits(session: GraphSession, single: GraphSession, ids: npt.NDArray[np.int32]) -> bool:
    """Whether `session` gives batches of the windows `ids` int32 [b, s] the logits that `single` gives each alone."""
    count = len(ids)
    alone = np.concatenate([single.run(row[None]) for row in ids])
    for size in {size for size in (count, count - 1, 3, 2, 1) if 1 <= size <= count}:
        for order in (slice(None), slice(None, None, -1)):
            if not np.array_equal(session.run(ids[order][:size]), alone[order][:size]):
                return False
    return True
