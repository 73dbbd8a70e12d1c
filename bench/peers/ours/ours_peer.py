"""authorid: `Scorer` end to end, `Engine` for the encoder alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from bench.peer_interface import Floats, Ints, Peer, Prepared, Rows


def make() -> Peer:
    """The system."""
    return Ours()


class Ours(Peer):
    """`settings`: ``precision``, ``provider``, ``effort`` and ``bundle``, the directory's name in `Prepared`.

    A batch of n windows means `batch_tokens` of n full windows. Without an ``effort``, only the encoder answers, as in
    every other system; with one, the bundle answers as `authorid score` does.
    """

    packages: tuple[str, ...] = ("authorid-toolkit", "numpy", "onnxruntime", "tokenizers")

    def prepare(self, model: Prepared, settings: dict[str, Any]) -> None:
        """Refuse early what this release or this model cannot do."""
        from authorid.bundle.manifest import load_bundle

        _options(settings, 1, 1, 128)
        bundle = _bundle_path(model, settings)
        if not bundle.is_dir():
            raise ValueError("there is no bundle of the peers' model")
        if settings.get("provider") == "fused":
            _require_fused(load_bundle(bundle))
        if "effort" in settings and load_bundle(bundle).ngrams is None:
            raise ValueError("these weights have no n-grams beside them")

    def load(self, model: Prepared, settings: dict[str, Any], sessions: int, threads: int) -> None:
        """Open the bundle."""
        from authorid.bundle.decision import Decision
        from authorid.bundle.manifest import load_bundle
        from authorid.scoring.scorer import Scorer

        self._bundle = load_bundle(_bundle_path(model, settings))
        if "effort" not in settings and self._bundle.ngrams is not None:
            self._bundle = replace(self._bundle, ngrams=None, decision=Decision())
        self._shape = (sessions, threads)
        self._scorers: dict[int, Scorer] = {}
        self._engine = self._scorer(8).engine

    def same_function(self) -> bool:
        """Not where every second token is left out."""
        return not self._bundle.provenance.get("funnel", False)

    def _scorer(self, batch: int) -> Any:
        from authorid.scoring.scorer import Scorer

        if batch not in self._scorers:
            self._scorers.clear()
            batch_tokens = batch * self._bundle.window.length
            options = _options(self.settings, *self._shape, batch_tokens)
            self._scorers[batch] = Scorer(self._bundle, options, effort=self.settings.get("effort", "full"))
        return self._scorers[batch]

    def forward(self, session: int, ids: Ints, mask: Ints) -> Floats:
        """One call of the engine; windows are full, so there is no mask."""
        logits: Floats = self._engine.run(ids.astype(np.int32))
        return logits

    def plan(self, rows: Rows, batch: int) -> list[list[int]]:
        """Windows of one length share a batch of as many tokens as `batch` whole windows have."""
        # A graph that we did not emit runs its windows one by one, here as in `authorid score`.
        batch_tokens = batch * self._bundle.window.length if self._engine.batch_tokens > 1 else 1
        buckets: dict[int, list[int]] = {}
        for index, row in enumerate(rows):
            buckets.setdefault(len(row), []).append(index)
        plan = []
        for length, bucket in sorted(buckets.items()):
            size = max(1, batch_tokens // length)
            plan += [bucket[start : start + size] for start in range(0, len(bucket), size)]
        return plan

    def score(self, paths: Sequence[str], out: Path, batch: int) -> None:
        """What ``authorid score --force`` does: whole documents, every row to the journal and to the results."""
        from authorid.bundle.manifest import MANIFEST
        from authorid.inputs.documents import ReadOptions
        from authorid.outputs import reserve, run_fingerprint
        from authorid.scoring.stats import versions

        scorer = self._scorer(batch)
        with reserve(str(out), force=True) as destination:
            options = ReadOptions(skip=destination.files)
            fingerprint = run_fingerprint(
                paths,
                options,
                manifest=self._bundle.path / MANIFEST,
                scorer=scorer.describe(),
                versions=versions(),
                output={"format": "csv", "top": 5, "evidence": False},
            )
            answers = self._bundle.answers
            with destination.open(
                "csv", top=5, fingerprint=fingerprint, answers=answers, file_digest=lambda _: None
            ) as output:
                for attribution in scorer.score(paths, options, recall=output.recall):
                    output.write(attribution)
                output.finish()


def _require_fused(bundle: Any) -> None:
    """Raise where the fused kernels, or the graph for them, are not there."""
    from authorid.encoder.providers import require_provider

    require_provider("fused")
    bundle.precision("int8", "fused")


def _bundle_path(model: Prepared, settings: dict[str, Any]) -> Path:
    return model.path / str(settings.get("bundle", "bundle"))


def _options(settings: dict[str, Any], sessions: int, threads: int, batch_tokens: int) -> Any:
    from authorid.encoder.engine_options import EngineOptions

    known = {field.name for field in fields(EngineOptions)}
    wanted = {"precision": settings["precision"], "workers": sessions, "threads": threads, "batch_tokens": batch_tokens}
    provider = settings.get("provider", "cpu")
    if "provider" in known:
        wanted["provider"] = provider
    elif provider != "cpu":
        raise ValueError(f"this authorid has no {provider} provider")
    return EngineOptions(**wanted)
