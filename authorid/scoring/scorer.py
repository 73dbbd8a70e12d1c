"""`Scorer`: the public class that attributes files and texts with one model."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from authorid.bundle.manifest import Bundle, load_bundle
from authorid.cancellation import CancelCheck, never_cancelled
from authorid.encoder.engine import Engine
from authorid.encoder.engine_options import EngineOptions
from authorid.encoder.providers import require_provider
from authorid.encoder.windows import load_windower
from authorid.errors import BundleCorruptError, BundleLacksError, require
from authorid.inputs.discovery import InputPath
from authorid.inputs.documents import Document, Failure, ReadOptions
from authorid.machine import available_cores
from authorid.ngrams import kernels
from authorid.ngrams.model import NgramModel, load_ngram_model
from authorid.reporter import SILENT, Reporter
from authorid.scoring.attribution import Attribution, failed
from authorid.scoring.cascade import Cascade, Effort, Encoder, require_explainable
from authorid.scoring.document_state import DocumentState
from authorid.scoring.messages import Finished
from authorid.scoring.prediction import attribute_inputs
from authorid.scoring.run_inputs import Recall, folded, read_files, read_texts, refuse_single_path, refuse_single_text
from authorid.scoring.scheduler import Inputs, Scheduler
from authorid.scoring.stats import RunStats

if TYPE_CHECKING:
    from authorid.scoring.adaptation import Adaptation
    from authorid.scoring.explanation import Explanation

__all__ = ["Effort", "Scorer"]

_ADAPTED_CHARACTERS = 1 << 19
"""Characters of the texts that are collected at a time."""

_MAX_TEXT_WORKERS = 2
"""Threads for n-gram scores and tokens: with more of them, each would wait for Python's lock."""


class Scorer:
    """Attributes documents with one model. Make it once and use it for any number of runs.

    >>> scorer = Scorer.load()                                    # doctest: +SKIP
    >>> for attribution in scorer.score(["letters/"]):            # doctest: +SKIP
    ...     print(attribution.path, attribution.author, attribution.probability)

    Attributes:
        bundle: The model.
        effort: The effort in use: a bundle with only one of the two models leaves no choice.
        decision: The decision rule with its thresholds.
        engine: Runs the encoder; None when only the n-gram model is used.

    """

    def __init__(
        self,
        bundle: Bundle,
        options: EngineOptions = EngineOptions(),
        *,
        effort: Effort | None = None,
        max_false_attribution: float | None = None,
        any_text: bool = False,
    ) -> None:
        """Make a scorer for a loaded `bundle`; the other parameters and the errors are those of `Scorer.load`."""
        self._arguments: dict[str, Any] = {
            "model": os.path.abspath(bundle.path),  # noqa: PTH100 (a link stays a link)
            "options": options,
            "effort": effort,
            "max_false_attribution": max_false_attribution,
            "any_text": any_text,
        }
        if effort not in (None, *get_args(Effort)):
            raise ValueError(f"unknown effort {effort!r}; there are: {', '.join(get_args(Effort))}")
        effort = effort or bundle.default_effort
        self.bundle = bundle
        self.decision = bundle.decision_for(max_false_attribution, any_text)
        ngram_model = load_ngram_model(bundle)
        if effort == "fast" and ngram_model is None:
            raise BundleLacksError(f"{bundle.path}: no n-gram model in this bundle; use --effort full")
        if effort == "auto" and (ngram_model is None or not bundle.decision.encoder_weight):
            # One of the two models answers alone: there is no other, or the encoder could not change any answer.
            effort = "full" if ngram_model is None else "fast"
        self.effort: Effort = effort
        # A provider that is named must be installed, even where the n-gram model needs none.
        require_provider(options.provider)
        encoder = (
            Encoder(Engine(bundle, options), load_windower(bundle, options.max_windows))
            if bundle.graphs and effort != "fast"
            else None
        )
        self.engine = encoder.engine if encoder is not None else None
        self._cascade = Cascade(
            ngram_model, encoder, self.decision, bundle.authors, effort, effort_rule=bundle.effort_rule
        )
        workers = self.engine.workers if self.engine is not None else options.workers or available_cores()
        self._text_workers = min(_MAX_TEXT_WORKERS, workers)
        self._active_runs: set[Scheduler] = set()

    @classmethod
    def load(
        cls,
        model: str | os.PathLike[str] | None = None,
        options: EngineOptions = EngineOptions(),
        *,
        effort: Effort | None = None,
        max_false_attribution: float | None = None,
        any_text: bool = False,
    ) -> Scorer:
        """Load a model from disk.

        Args:
            model: The bundle's directory; None loads the model that comes with the package.
            options: How to run the encoder: provider, precision, workers, threads.
            effort: ``fast`` uses the n-gram model alone; ``full`` runs the encoder over every window of every document
                and joins both answers; ``auto`` starts with the n-gram model and runs the encoder only where the
                bundle's `EffortRule` says that it is worth its time. When the encoder has no weight in the bundle's
                decision rule, ``auto`` means ``fast``. None is `Bundle.default_effort`.
            max_false_attribution: The share (0 to 1) of documents by unknown authors that may be attributed to a
                known one. The lower it is, the more answers are ``unknown``. None keeps the bundle's thresholds.
            any_text: Whether texts that are unlike anything in training, such as other languages and source code, may
                be attributed, too. By default they are ``unknown``.

        Raises:
            BundleError: The bundle is missing or damaged, or lacks what the arguments require.
            EngineError: The encoder's graph cannot be run.
            MissingExtraError: The requested provider is not installed.
            ValueError: There is no such effort.

        """
        path = model
        if path is None:
            from authorid.models import default_bundle

            path = default_bundle()
        scorer = cls(
            load_bundle(Path(path)),
            options,
            effort=effort,
            max_false_attribution=max_false_attribution,
            any_text=any_text,
        )
        if model is None:
            scorer._arguments["model"] = None  # elsewhere, the package may be installed at another path
        return scorer

    def __reduce__(self) -> tuple[Callable[..., Scorer], tuple[Any, ...]]:
        """Pickle the arguments of `load` and the adaptation: the model is read again, from the same path."""
        return _restore, (type(self), self._arguments, self.bundle.digest, self._cascade.adaptation)

    def describe(self) -> dict[str, Any]:
        """Describe what scores, for the run statistics.

        Returns:
            JSON-ready values: ``provider``, ``precision`` (``ngrams`` when the encoder is not used), ``workers``,
            ``threads`` per worker, ``batch_tokens`` (0 when the encoder is not used), ``effort``, ``max_windows``
            (None when the encoder is not used), ``unknown_below`` (the thresholds for the probability, the known-author
            score and the coverage), ``ngrams`` (``compiled``, ``numpy`` or None), ``adaptation`` (see
            `Adaptation.describe`, or None), ``model`` and ``model_sha256``, the digest of the graph, or of the n-gram
            file when there is none.

        """
        ngrams, adaptation, rule = self.ngram_model, self._cascade.adaptation, self.decision
        encoder = self._cascade.encoder
        runs: dict[str, Any] = {"provider": "cpu", "precision": "ngrams", "workers": self._text_workers, "threads": 1}
        runs |= {"batch_tokens": 0, "max_windows": None}
        digest = self.bundle.files.get(self.bundle.ngrams or "", "")
        if encoder is not None:
            engine = encoder.engine
            runs |= {name: getattr(engine, name) for name in runs if name != "max_windows"}
            runs["max_windows"] = encoder.windower.max_windows
            digest = self.bundle.sha256(engine.precision, engine.provider)
        return {
            **runs,
            "effort": self.effort,
            "unknown_below": [rule.unknown_threshold, rule.known_author_threshold, rule.coverage_threshold],
            "ngrams": None if ngrams is None else kernels.backend(),
            "model": self.bundle.name,
            "adaptation": None if adaptation is None else adaptation.describe(),
            "model_sha256": digest,
        }

    @property
    def ngram_model(self) -> NgramModel | None:
        """The n-gram model, as adapted; None when the bundle has none."""
        return self._cascade.ngram_model

    @property
    def notices(self) -> list[str]:
        """Messages about choices that the encoder's engine made, such as a provider it had to fall back from."""
        return self.engine.notices if self.engine is not None else []

    def score(
        self,
        paths: Iterable[InputPath],
        options: ReadOptions = ReadOptions(),
        *,
        evidence: bool = False,
        explain: bool = False,
        stats: RunStats | None = None,
        recall: Recall | None = None,
    ) -> Generator[Attribution, None, None]:
        """Attribute every file in `paths`.

        Every input gives exactly one `Attribution`. A file that cannot be read or scored gives one whose status is
        ``failed``, never an exception. Rows come in discovery order (sorted within a directory) as soon as they are
        known, and memory stays flat. Closing the generator ends the run.

        Args:
            paths: Files, directories, which are searched recursively, URLs, and files that a walk has found.
            options: Which files to read, and how.
            evidence: Whether to fill `Attribution.evidence`.
            explain: Whether to fill `Attribution.explanation`; it needs an n-gram model that is not adapted.
            stats: Filled while the run goes on; read it when the run is over.
            recall: Called for every file with the documents in it, in discovery order and from another thread. What
                it yields takes their place: where that is an attribution, it is the row of the document, which is not
                scored again.

        Raises:
            BundleLacksError: Answers cannot be explained.
            TypeError: `paths` is a single path.
            Exception: What `paths` or `recall` raised, and errors of the run itself, as opposed to one document.

        """
        refuse_single_path(paths, "score")
        if explain:
            require_explainable(self._cascade, self.bundle.path)
        return self._run(read_files(paths, options, recall), evidence, explain, stats or RunStats())

    def score_documents(
        self,
        documents: Iterable[Document | Failure | Attribution],
        *,
        evidence: bool = False,
        explain: bool = False,
        stats: RunStats | None = None,
    ) -> Generator[Attribution, None, None]:
        """Attribute documents that are read elsewhere, one row for each item in order; otherwise like `score`.

        Args:
            documents: Documents, failures, which become rows, and rows that are known already.
            evidence: Whether to fill `Attribution.evidence`.
            explain: Whether to fill `Attribution.explanation`.
            stats: Filled while the run goes on; read it when the run is over.

        Raises:
            BundleLacksError: Answers cannot be explained.

        """
        if explain:
            require_explainable(self._cascade, self.bundle.path)
        return self._run((item for item in documents), evidence, explain, stats or RunStats())

    def adapt(
        self,
        paths: Iterable[InputPath],
        options: ReadOptions = ReadOptions(),
        *,
        equal_shares: bool = False,
        check: CancelCheck = never_cancelled,
        reporter: Reporter = SILENT,
    ) -> Adaptation | None:
        """Adapt the n-gram model to the documents in `paths`; later runs of this scorer then use the adapted model.

        It is for documents that differ from the training documents in subject or time, and for runs over these very
        documents: an answer then depends on the other documents. The encoder is not adapted.

        Args:
            paths: As for `score`.
            options: As for `score`.
            equal_shares: Whether to assume that every author has written as many of the documents.
            check: Called before each step, which takes a fraction of a second. What it raises ends the adaptation.
            reporter: Gets the progress.

        Returns:
            What changed; None when there are too few documents, and nothing changes.

        Raises:
            BundleLacksError: The bundle has no n-gram model.
            MissingExtraError: scipy is not installed.
            Exception: What `paths` or `check` raised.

        """
        if self._cascade.ngram_model is None:
            raise BundleLacksError(f"{self.bundle.path}: no n-gram model in this bundle; nothing can be adapted")
        require("scipy.sparse", "fit")  # before the documents are read
        from authorid.scoring.adaptation import BatchSample

        sample = BatchSample(self._cascade.ngram_model, self.decision)
        with closing(self._read(read_files(paths, options, None))) as inputs:
            texts: list[str] = []
            for number, item in enumerate(inputs, start=1):
                check()
                reporter.progress(number)
                if isinstance(item, Document):
                    texts.append(item.text)
                if sum(map(len, texts)) >= _ADAPTED_CHARACTERS:
                    sample.add(texts, check)
                    texts = []
            sample.add(texts, check)
        adaptation = sample.fit(equal_shares=equal_shares)
        self._cascade = replace(self._cascade, adaptation=adaptation)
        return adaptation

    def score_texts(
        self,
        texts: Iterable[object],
        *,
        evidence: bool = False,
        explain: bool = False,
        stats: RunStats | None = None,
    ) -> Generator[Attribution, None, None]:
        """Attribute texts that are in memory; otherwise like `score`.

        Args:
            texts: Items that are `str`, or whose method ``as_py`` returns one (pyarrow's). Any other item, such as
                None, gives a row whose status is ``failed``.
            evidence: As for `score`.
            explain: As for `score`.
            stats: Filled while the run goes on; read it when the run is over.

        Returns:
            One `Attribution` for each text, in order. Its path is the position of the text: ``"0"``, ``"1"``, ...

        Raises:
            TypeError: `texts` is a single text.

        """
        refuse_single_text(texts, "score_texts")
        if explain:
            require_explainable(self._cascade, self.bundle.path)
        return self._run(read_texts(texts), evidence, explain, stats or RunStats())

    def predict(self, texts: Iterable[object], *, evidence: bool = False) -> list[Attribution]:
        """Attribute texts in the calling thread; otherwise like `score_texts`, with the same answers.

        It is for programs with threads or processes of their own: several threads may call it at once, and a scorer
        that is pickled reads its model again in the other process. Nothing starts a thread, unless the engine has more
        than one per worker or runs on OpenVINO, which keep pools of their own. `stop` has no effect.

        Args:
            texts: As for `score_texts`.
            evidence: Whether to fill `Attribution.evidence`.

        Returns:
            One `Attribution` for each text, in order.

        Raises:
            TypeError: `texts` is a single text.

        """
        refuse_single_text(texts, "predict")
        return attribute_inputs(self._cascade, self._read(read_texts(texts)), evidence=evidence)

    def attribute(self, item: Document | Failure, *, evidence: bool = False, explain: bool = False) -> Attribution:
        """The row of `score_documents` for one item, computed in the calling thread."""
        (row,) = attribute_inputs(self._cascade, self._read(one for one in [item]), evidence=evidence, explain=explain)
        return row

    def explain(
        self, paths: Iterable[str | os.PathLike[str]], options: ReadOptions = ReadOptions()
    ) -> Generator[Explanation | Attribution, None, None]:
        """Explain the answers for every file in `paths`, one document after the other, in the calling thread.

        Args:
            paths: As for `score`.
            options: As for `score`.

        Returns:
            An `Explanation` for each document, in the order of `score`; for one that cannot be read or scored, the
            `Attribution` whose status is ``failed``.

        Raises:
            BundleLacksError: The bundle has no n-gram model.
            TypeError: `paths` is a single path.

        """
        from authorid.scoring.explanation import explain_inputs

        refuse_single_path(paths, "explain")
        require_explainable(self._cascade, self.bundle.path)
        return explain_inputs(self._cascade, self._read(read_files(paths, options, None)))

    def stop(self) -> None:
        """End all runs of this scorer early but in order.

        Batches that the encoder is computing are finished, all others are dropped. Each generator ends after the last
        row that is complete then. A signal handler may call this.
        """
        for scheduler in tuple(self._active_runs):
            scheduler.stop()

    def _run(
        self, inputs: Inputs, evidence: bool, explain: bool, stats: RunStats
    ) -> Generator[Attribution, None, None]:
        """Score `inputs` and yield their rows in order."""
        scheduler = Scheduler(self._cascade, self._read(inputs), stats, self._text_workers, explain=explain)
        ready: dict[int, Attribution] = {}
        due = 0
        self._active_runs.add(scheduler)
        try:
            with scheduler:
                for finished in scheduler.results():
                    ready[finished.number] = self._attribution(finished, evidence, stats)
                    while due in ready:
                        attribution = ready.pop(due)
                        due += 1
                        stats.count(attribution)
                        scheduler.release_slot()
                        yield attribution
        finally:
            self._active_runs.discard(scheduler)

    def _read(self, inputs: Inputs) -> Inputs:
        """The `inputs` with texts as the model gets them."""
        return folded(inputs) if self.bundle.typography == "folded" else inputs

    def _attribution(self, finished: Finished, evidence: bool, stats: RunStats) -> Attribution:
        match finished.outcome:
            case DocumentState() as state:
                attribution = self._cascade.attribute(state, evidence=evidence)
                stats.latency(time.perf_counter() - state.started, state.service)
                return attribution
            case Failure() as failure:
                return failed(failure)
            case attribution:
                stats.recall(attribution)
                return attribution


def _restore(kind: type[Scorer], arguments: Mapping[str, Any], digest: str, adaptation: Adaptation | None) -> Scorer:
    """The scorer that was pickled; raises what `Scorer.load` raises, and `BundleCorruptError` for another model."""
    scorer = kind.load(**arguments)
    if scorer.bundle.digest != digest:
        raise BundleCorruptError(
            f"{scorer.bundle.path}: not the model of the scorer that was pickled; every process needs the same model, "
            "and the same version of authorid"
        )
    scorer._cascade = replace(scorer._cascade, adaptation=adaptation)
    return scorer
