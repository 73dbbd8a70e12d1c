"""authorid: `Scorer` end to end, `Engine` for the encoder alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from bench.peer import Floats, Ints, Peer, Prepared, Rows


def make() -> Peer:
    """The contestant."""
    return Ours()


class Ours(Peer):
    """`settings`: ``precision``, ``provider``, ``effort`` and ``bundle``, the directory's name in `Prepared`.

    A batch of n windows means a budget of n windows' tokens.

    Without an ``effort``, only the encoder answers, as with everybody else; with one, the bundle's experts do.
    """

    packages: tuple[str, ...] = ("authorid-toolkit", "numpy", "onnxruntime", "tokenizers")

    def prepare(self, model: Prepared, settings: dict[str, Any]) -> None:
        """Refuse early what this release or this model cannot do."""
        from authorid.bundle.manifest import load_bundle

        _options(settings, 1, 1, 128)
        place = _place(model, settings)
        if not place.is_dir():
            raise ValueError("there is no bundle of the peers' model")
        if "effort" in settings and load_bundle(place).ngrams is None:
            raise ValueError("these weights have no n-grams beside them")

    def load(self, model: Prepared, settings: dict[str, Any], sessions: int, threads: int) -> None:
        """Open the bundle."""
        from authorid.bundle.decision import Decision
        from authorid.bundle.manifest import load_bundle
        from authorid.scoring.scorer import Scorer

        self._bundle = load_bundle(_place(model, settings))
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
            budget = batch * self._bundle.window.length
            options = _options(self.settings, *self._shape, budget)
            self._scorers[batch] = Scorer(self._bundle, options, effort=self.settings.get("effort", "full"))
        return self._scorers[batch]

    def forward(self, session: int, ids: Ints, mask: Ints) -> Floats:
        """One call of the engine; windows are full, so there is no mask."""
        logits: Floats = self._engine.run(ids.astype(np.int32))
        return logits

    def plan(self, rows: Rows, batch: int) -> list[list[int]]:
        """Windows of one length share a batch of as many tokens as `batch` whole windows have."""
        # A graph that we did not emit runs its windows one by one, here as in `authorid score`.
        budget = batch * self._bundle.window.length if self._engine.budget > 1 else 1
        buckets: dict[int, list[int]] = {}
        for index, row in enumerate(rows):
            buckets.setdefault(len(row), []).append(index)
        plan = []
        for length, bucket in sorted(buckets.items()):
            size = max(1, budget // length)
            plan += [bucket[start : start + size] for start in range(0, len(bucket), size)]
        return plan

    def score(self, paths: Sequence[str], out: Path, batch: int) -> None:
        """What ``authorid score --force`` does: whole documents, every row to the journal and to the results."""
        from authorid.inputs.documents import ReadOptions
        from authorid.outputs import reserve, run_settings

        scorer = self._scorer(batch)
        with reserve(str(out), force=True) as place:
            options = ReadOptions(skip=place.files)
            settings = run_settings(scorer, paths, options, form="csv", top=5, evidence=False)
            with place.open("csv", top=5, settings=settings, digest=lambda _: None) as output:
                for attribution in scorer.score(paths, options, recall=output.recall):
                    output.write(attribution)
                output.finish()


def _place(model: Prepared, settings: dict[str, Any]) -> Path:
    return model.path / str(settings.get("bundle", "bundle"))


def _options(settings: dict[str, Any], sessions: int, threads: int, budget: int) -> Any:
    from authorid.encoder.engine import EngineOptions

    known = {field.name for field in fields(EngineOptions)}
    wanted = {"precision": settings["precision"], "workers": sessions, "threads": threads, "budget": budget}
    provider = settings.get("provider", "cpu")
    if "provider" in known:
        wanted["provider"] = provider
    elif provider != "cpu":
        raise ValueError(f"this authorid has no {provider} provider")
    return EngineOptions(**wanted)
