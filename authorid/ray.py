"""Attribution as one step of a pipeline on a cluster: `ScoreBatch`, for Ray Data and for Spark.

Nothing here imports Ray or Spark: both only call it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from authorid.bundle.manifest import load_bundle
from authorid.encoder.engine_options import EngineOptions
from authorid.errors import require
from authorid.outputs.formats.columns import Kind, arrow_types, columns, unicode_row

if TYPE_CHECKING:
    from authorid.outputs.answers import Answers
    from authorid.outputs.records import Attribution
    from authorid.scoring.scorer import Effort, Scorer

__all__ = ["ScoreBatch"]

_OF_FILES = ("path", "member", "reader", "encoding", "sha256", "adapted")
"""Columns of a results file that say nothing about a text in memory."""

_PANDAS: Mapping[Kind, str] = {
    "text": "object",
    "number": "float64",
    "share": "float64",
    "count": "int64",
    "flag": "bool",
    "names": "object",
}
_SPARK: Mapping[Kind, str] = {
    "text": "string",
    "number": "double",
    "share": "double",
    "count": "bigint",
    "flag": "boolean",
    "names": "array<string>",
}


class ScoreBatch:
    """Adds the answers of a model to a batch of texts: one row for each row, in order, with all its columns.

    >>> ds.map_batches(                                                     # doctest: +SKIP
    ...     ScoreBatch,
    ...     fn_constructor_kwargs={"model": "/shared/bundle", "text_column": "body"},
    ...     batch_format="pyarrow",
    ... )
    >>> score = ScoreBatch(text_column="body")
    >>> frame.mapInPandas(score, f"body string, {score.spark_columns}")     # doctest: +SKIP

    The new columns are those of a Parquet file that ``authorid score`` writes, without those about files: ``status``,
    ``author``, ``probability``, ``error``, ... A text that is missing, empty or no text gets a row whose ``status`` is
    ``failed``. The encoder runs on as many threads as ``OMP_NUM_THREADS`` says, which Ray and Spark set to the CPUs of
    a worker, or on one.

    The model is read with the first batch, once in each process, and is not pickled: `model` has to be readable on
    every node.

    Args:
        model: The bundle's directory; None takes the model that comes with the package.
        text_column: Name of the column that holds the texts.
        prefix: What the names of the new columns begin with.
        effort: As for `Scorer.load`.
        max_false_attribution: As for `Scorer.load`.
        any_text: As for `Scorer.load`.

    """

    def __init__(
        self,
        model: str | os.PathLike[str] | None = None,
        text_column: str = "text",
        *,
        prefix: str = "",
        effort: Effort = "auto",
        max_false_attribution: float | None = None,
        any_text: bool = False,
    ) -> None:
        self._arguments: dict[str, Any] = {
            "model": None if model is None else os.fspath(model),
            "text_column": text_column,
            "prefix": prefix,
            "effort": effort,
            "max_false_attribution": max_false_attribution,
            "any_text": any_text,
        }

    def __reduce__(self) -> tuple[Callable[..., ScoreBatch], tuple[Any, ...]]:
        """Pickle the arguments: the model is read where the copy is used."""
        return _restore, (type(self), self._arguments)

    def __call__(self, batch: Any) -> Any:
        """Score one batch, or each batch of an iterator.

        Args:
            batch: A pyarrow table or record batch, a pandas frame, a mapping of names to arrays, or an iterator of such
                batches, which is what Spark passes.

        Returns:
            The same kind of batch with more columns: for a record batch a table, for a mapping a dict of numpy arrays,
            for an iterator an iterator.

        Raises:
            KeyError: There is no column of texts.
            ValueError: A new column has the name of one that is there: choose a `prefix`.
            AuthoridError: The model cannot be loaded (see `Scorer.load`).
            TypeError: `batch` is something else.

        """
        if isinstance(batch, Iterator):
            return map(self._score, batch)
        return self._score(batch)

    @property
    def spark_columns(self) -> str:
        """The new columns with their types, as in a schema of Spark: ``status string, author string, ...``."""
        return ", ".join(f"`{name}` {_SPARK[kind]}" for name, kind in self._columns(self._answers).items())

    @cached_property
    def _scorer(self) -> Scorer:
        from authorid.scoring.scorer import Scorer

        arguments = self._arguments
        return Scorer.load(
            arguments["model"],
            EngineOptions(workers=1, threads=_given_threads()),
            effort=arguments["effort"],
            max_false_attribution=arguments["max_false_attribution"],
            any_text=arguments["any_text"],
        )

    @cached_property
    def _answers(self) -> Answers:
        if self._arguments["model"] is not None:
            return load_bundle(Path(self._arguments["model"])).answers
        from authorid.models import default_bundle

        return load_bundle(default_bundle()).answers

    def _columns(self, answers: Answers) -> dict[str, Kind]:
        """Names and kinds of the new columns."""
        prefix = self._arguments["prefix"]
        return {prefix + name: kind for name, kind in columns(answers).items() if name not in _OF_FILES}

    def _score(self, batch: Any) -> Any:
        names, texts = _texts(batch, self._arguments["text_column"])
        answers = self._scorer.bundle.answers
        kinds = self._columns(answers)
        if taken := [name for name in kinds if name in names]:
            raise ValueError(f"the batch has a column {taken[0]!r} already: choose a prefix for the new columns")
        cells = self._cells(self._scorer.predict(texts), answers)
        return _with_columns(batch, kinds, dict(zip(kinds, cells, strict=True)))

    def _cells(self, rows: list[Attribution], answers: Answers) -> list[list[Any]]:
        """The values of each new column."""
        found = [unicode_row(row, columns(answers), answers) for row in rows]
        return [[row[name] for row in found] for name in columns(answers) if name not in _OF_FILES]


def _restore(kind: type[ScoreBatch], arguments: Mapping[str, Any]) -> ScoreBatch:
    return kind(**arguments)


def _given_threads() -> int:
    """The threads that a cluster gives to this process."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    return max(1, int(given)) if given.isdigit() else 1


def _texts(batch: Any, column: str) -> tuple[list[str], Iterable[object]]:
    """Names of the columns of `batch`, and the texts in it."""
    if hasattr(batch, "column_names"):
        names = list(batch.column_names)
    elif hasattr(batch, "columns"):
        names = list(batch.columns)
    elif isinstance(batch, Mapping):
        names = list(batch)
    else:
        raise TypeError(f"a batch is a pyarrow table, a pandas frame or a dict of arrays, not {type(batch).__name__}")
    if column not in names:
        raise KeyError(f"the batch has no column {column!r}; it has {', '.join(map(repr, names))}: pass text_column")
    return names, batch[column]


def _with_columns(batch: Any, kinds: Mapping[str, Kind], cells: Mapping[str, list[Any]]) -> Any:
    """A copy of `batch` with more columns."""
    if hasattr(batch, "column_names"):
        arrow = require("pyarrow", "parquet")
        types = arrow_types(arrow)
        if isinstance(batch, arrow.RecordBatch):
            batch = arrow.Table.from_batches([batch])
        for name, kind in kinds.items():
            batch = batch.append_column(arrow.field(name, types[kind]), arrow.array(cells[name], types[kind]))
        return batch
    if hasattr(batch, "columns"):
        pandas = require("pandas", "ray")
        return batch.assign(
            **{name: pandas.Series(cells[name], index=batch.index, dtype=_PANDAS[kind]) for name, kind in kinds.items()}
        )
    import numpy as np

    return {**batch, **{name: _array(np, cells[name], _PANDAS[kind]) for name, kind in kinds.items()}}


def _array(numpy: Any, cells: list[Any], kind: str) -> Any:
    """A numpy array of one dimension, even where the cells are lists."""
    array = numpy.empty(len(cells), dtype=kind)
    array[:] = [numpy.nan if cell is None and kind == "float64" else cell for cell in cells]
    return array
