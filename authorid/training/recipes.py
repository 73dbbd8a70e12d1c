"""The recipes of training an encoder, and their options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from types import MappingProxyType
from typing import Any, Literal, get_args

from authorid.bundle.manifest import LONGEST_WINDOW, MOST_OVERLAP, Typography
from authorid.encoder.windows import SPECIAL_TOKENS
from authorid.errors import RunError
from authorid.training.encoder.classifier import Pooling

__all__ = ["RECIPES", "Precision", "Recipe", "SplitHow", "TrainingOptions"]

Recipe = Literal["probe", "tune", "windows", "classic"]
SplitHow = Literal["random", "last", "shifted"]
Precision = Literal["float32", "bfloat16"]

RECIPES: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "probe": MappingProxyType(
            {
                "epochs": 1,
                "batch": 32,
                "learning_rate": 1e-5,
                "seed": 1,
                "window": 128,
                "pooling": "layers",
                "funnel": False,
                "weight_decay": 0.0,
                "warmup": 0.0,
                "freeze_embeddings": True,
                "topic_dropout": 0.0,
                "dropout": 0.0,
                "validation_how": "shifted",
                "typography": "folded",
            }
        ),
        # As the probe, whose model it starts from, besides the tuning.
        "tune": MappingProxyType(
            {
                "epochs": 2,
                "batch": 32,
                "learning_rate": 2e-5,
                "seed": 1,
                "window": 128,
                "pooling": "layers",
                "funnel": False,
                "weight_decay": 0.0,
                "warmup": 0.1,
                "freeze_embeddings": True,
                "topic_dropout": 0.3,
                "dropout": 0.0,
                "validation_how": "shifted",
                "typography": "folded",
            }
        ),
        "windows": MappingProxyType(
            {
                "epochs": 4,
                "batch": 32,
                "learning_rate": 3e-4,
                "seed": 1,
                "window": 128,
                "pooling": "first",
                "funnel": True,
                "weight_decay": 0.01,
                "warmup": 0.1,
                "freeze_embeddings": True,
                "topic_dropout": 1.0,
                "dropout": 0.1,
                "validation_how": "shifted",
                "typography": "folded",
            }
        ),
        # Plain fine-tuning as in tutorials, unchanged so that results can be compared.
        "classic": MappingProxyType(
            {
                "epochs": 20,
                "batch": 2,
                "learning_rate": 5e-5,
                "seed": 1000,
                "window": 512,
                "pooling": "first",
                "funnel": False,
                "weight_decay": 0.0,
                "warmup": 0.0,
                "freeze_embeddings": False,
                "topic_dropout": 0.0,
                "dropout": 0.2,
                "validation_how": "random",
                "typography": "kept",
            }
        ),
    }
)
"""The values that each recipe sets for options that are not given."""

_FORMER_NAMES = {"seed": "classic"}
"""Former names of recipes, which older calls and runs contain."""

_OF_THE_PROBE = {"seed", "window", "validation_how", "typography"}

_CHOICES = {
    "probe": _OF_THE_PROBE,
    "tune": _OF_THE_PROBE | {"epochs", "batch", "learning_rate", "warmup", "topic_dropout", "freeze_embeddings"},
}
"""The options of a recipe that have an effect with it, where not all have."""

_BY_RECIPE: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingOptions:
    """Everything that determines the outcome of a training run, besides the corpus.

    Options left at ``None`` take the recipe's value from `RECIPES`, so an instance never holds ``None``.

    - ``probe``: nothing is trained but a linear head, in closed form, on what the lower layers of the pretrained
      encoder compute (`authorid.training.encoder.probe`); document score = mean window logits.
    - ``tune``: the layers of the probe, and its head, are then trained a little, if that is clearly better on the
      held-out documents (`authorid.training.encoder.probe_tuning`).
    - ``windows``: every window of every document is an example; a linear head; AdamW with linear warm-up
      (the share `warmup` of all steps) and linear decay to zero; document score = mean window log-softmax.
    - ``classic`` (formerly ``seed``): the first `window` tokens of each document are the example; the family's own
      classification head on the first token; Adam at a constant rate; split by
      ``keras.utils.text_dataset_from_directory``.

    `window` and `stride` count tokens (`window` with its two special tokens). `pooling` reduces a window to one vector:
    the state of its ``first`` token, for which the fast graph's last layer computes nothing else, or the ``mean`` over
    its tokens. With `funnel`, every second token is dropped after a third of the layers
    (`authorid.training.encoder.funnel`). `validation_split` is the share of documents that is held out; 0 trains on all
    of them. `validation_how` chooses them: ``random`` ones, each author's ``last`` by file name, or ``shifted`` ones
    (`authorid.training.splits`). `topic_dropout` is the highest rate at which a training window loses tokens outside
    the 1,000 most frequent of the corpus (0: off); `dropout` is that of the head. `precision` ``bfloat16`` computes in
    bfloat16, with float32 variables. `typography` says whether texts are read with folded typography
    (`authorid.inputs.typography`), `sample_words` how long documents are cut for the n-gram model (`NgramOptions`).
    `layers` is the number of layers that the probe uses; None: chosen on the held-out documents. What a recipe does not
    have (for the probe: epochs, batches, rates, a funnel, ...) must keep the recipe's values.
    """

    base_model: str
    recipe: Recipe = "probe"
    epochs: int = _BY_RECIPE
    batch: int = _BY_RECIPE
    learning_rate: float = _BY_RECIPE
    seed: int = _BY_RECIPE
    window: int = _BY_RECIPE
    stride: int = _BY_RECIPE
    pooling: Pooling = _BY_RECIPE
    funnel: bool = _BY_RECIPE
    validation_split: float = 0.2
    validation_how: SplitHow = _BY_RECIPE
    weight_decay: float = _BY_RECIPE
    warmup: float = _BY_RECIPE
    label_smoothing: float = 0.0
    freeze_embeddings: bool = _BY_RECIPE
    topic_dropout: float = _BY_RECIPE
    dropout: float = _BY_RECIPE
    precision: Precision = "float32"
    typography: Typography = _BY_RECIPE
    sample_words: int | None = None
    layers: int | None = None

    def __post_init__(self) -> None:
        """Fill in the recipe's values and check every option; raises `RunError`."""
        object.__setattr__(self, "recipe", _FORMER_NAMES.get(self.recipe, self.recipe))
        if self.recipe not in RECIPES:
            raise RunError(f"unknown recipe {self.recipe!r}; there are: {', '.join(RECIPES)}")
        for name, value in RECIPES[self.recipe].items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)
            elif name not in _CHOICES.get(self.recipe, {name}) and getattr(self, name) != value:
                option = name.replace("_", " ")
                raise RunError(f"training options: the {self.recipe} recipe has no choice of {option}; leave it out")
        if self.stride is None:
            object.__setattr__(self, "stride", self.window - SPECIAL_TOKENS)
        self._check()

    @property
    def layered(self) -> bool:
        """Whether the classifier reads several layers (`authorid.training.encoder.layer_classifier`)."""
        return self.pooling == "layers"

    @property
    def truncate(self) -> bool:
        """Whether only the first window of a document is used."""
        return self.recipe == "classic"

    def to_json(self) -> dict[str, Any]:
        """Return all options as plain values; `from_json` reads them back."""
        return asdict(self)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> TrainingOptions:
        """Rebuild from `to_json`; raises `RunError` on unknown or missing options.

        Options may lack `pooling`, `funnel`, `typography` and `sample_words`, which older versions did not have: they
        averaged the windows' tokens (except in the classic recipe), had no funnel, and kept the typography. They may
        have ``residual``, which must be false.
        """
        options = dict(record)
        if options.pop("residual", False):
            raise RunError("trained with residual=True, which this version does not support any more")
        unknown = set(options) - {field.name for field in fields(cls)}
        if unknown:
            raise RunError(f"unknown training options: {', '.join(sorted(unknown))}")
        classic = options.get("recipe") in ("classic", "seed")
        former = {"funnel": False, "pooling": "first" if classic else "mean", "typography": "kept"}
        try:
            return cls(**former | options)
        except TypeError as error:
            raise RunError(f"bad training options: {error}") from None

    def differences(self, other: TrainingOptions) -> list[str]:
        """Return the options that differ from the earlier `other`, as lines like ``"epochs 4, was 3"``."""
        return [
            f"{field.name} {getattr(self, field.name)!r}, was {getattr(other, field.name)!r}"
            for field in fields(self)
            if getattr(self, field.name) != getattr(other, field.name)
        ]

    def _check(self) -> None:
        classic = self.recipe == "classic"
        demands = {
            "epochs must be at least 1": self.epochs >= 1,
            "batch must be at least 1": self.batch >= 1,
            "learning_rate must be positive": self.learning_rate > 0,
            "seed must be in [0, 2**32)": 0 <= self.seed < 1 << 32,
            f"window must be 8 to {LONGEST_WINDOW} tokens": 8 <= self.window <= LONGEST_WINDOW,
            "stride must be between 1 and window - 2": 1 <= self.stride <= self.window - SPECIAL_TOKENS,
            f"stride must be at least 1/{MOST_OVERLAP} of window - 2": self.stride * MOST_OVERLAP
            >= self.window - SPECIAL_TOKENS,
            "pooling must be 'first' or 'mean'": self.pooling in get_args(Pooling)
            and self.layered == (self.recipe in _CHOICES),
            "layers must be at least 1, and only the probe and tune recipes have a choice": self.layers is None
            or (self.layers >= 1 and self.layered),
            "the classic recipe pools the first token": not classic or self.pooling == "first",
            "the classic recipe has no funnel": not classic or not self.funnel,
            "validation_split must be in [0, 1)": 0 <= self.validation_split < 1,
            "validation_how must be 'random', 'last' or 'shifted'": self.validation_how in get_args(SplitHow),
            "the classic recipe splits at random": not classic or self.validation_how == "random",
            f"the {self.recipe} recipe has no label smoothing, and computes in float32": not self.layered
            or (self.label_smoothing == 0 and self.precision == "float32"),
            "weight_decay must not be negative": self.weight_decay >= 0,
            "warmup must be in [0, 1)": 0 <= self.warmup < 1,
            "label_smoothing must be in [0, 1)": 0 <= self.label_smoothing < 1,
            "topic_dropout must be in [0, 1]": 0 <= self.topic_dropout <= 1,
            "dropout must be in [0, 1)": 0 <= self.dropout < 1,
            "precision must be 'float32' or 'bfloat16'": self.precision in ("float32", "bfloat16"),
            "sample_words must be at least 0, and the classic recipe fits no n-grams": self.sample_words is None
            or (self.sample_words >= 0 and not classic),
            "typography must be 'folded' or 'kept'": self.typography in get_args(Typography),
        }
        for demand, met in demands.items():
            if not met:
                raise RunError(f"training options: {demand}")
