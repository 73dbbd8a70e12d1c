"""What the answers of a model are: authors or labels, probabilities or values, one for a document or several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Literal

__all__ = ["Answers"]

_LIKELY = 0.5


@dataclass(frozen=True, slots=True)
class Answers:
    """What the answers of a model are, and so what columns of its results are called.

    `names` are the classes of the model, in its order; `noun` is what each of them is. `measure` is what the numbers
    are: probabilities, or the values of a regression. With `several`, a document may have several classes or none, and
    results list those that are `likely`.
    """

    names: tuple[str, ...] = ()
    noun: Literal["author", "label"] = "author"
    measure: Literal["probability", "value"] = "probability"
    several: bool = False

    def likely(self, ranking: Sequence[tuple[str, float]]) -> list[str]:
        """The classes in `ranking`, which has the most probable first, with 0.5 or more, in the model's order."""
        found = {name for name, _ in takewhile(lambda pair: pair[1] >= _LIKELY, ranking)}
        return [name for name in self.names if name in found]
