from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys

import pytest

from authorid.errors import RunError
from authorid.training import TrainingOptions


def test_each_recipe_has_its_own_defaults():
    probe = TrainingOptions(base_model="m")
    assert (probe.recipe, probe.pooling, probe.layers, probe.layered, probe.window) == (
        "probe",
        "layers",
        None,
        True,
        128,
    )
    assert (probe.truncate, probe.validation_how, probe.typography) == (False, "shifted", "folded")
    windows = TrainingOptions(base_model="m", recipe="windows")
    assert (windows.recipe, windows.epochs, windows.batch, windows.window) == ("windows", 4, 32, 128)
    assert (windows.truncate, windows.pooling, windows.funnel) == (False, "first", True)
    assert (windows.stride, windows.topic_dropout, windows.freeze_embeddings) == (126, 1.0, True)
    assert windows.validation_how == "shifted"
    classic = TrainingOptions(base_model="m", recipe="classic")
    assert (classic.epochs, classic.batch, classic.learning_rate, classic.seed) == (20, 2, 5e-5, 1000)
    assert (classic.window, classic.truncate, classic.pooling, classic.topic_dropout) == (512, True, "first", 0.0)


def test_seed_is_a_former_name_of_the_classic_recipe():
    assert TrainingOptions(base_model="m", recipe="seed") == TrainingOptions(base_model="m", recipe="classic")


def test_given_options_override_the_recipe_even_when_they_are_zero():
    options = TrainingOptions(base_model="m", recipe="windows", topic_dropout=0.0, freeze_embeddings=False, seed=0)
    assert (options.topic_dropout, options.freeze_embeddings, options.seed) == (0.0, False, 0)


def test_options_survive_json():
    options = TrainingOptions(base_model="m", epochs=7, recipe="classic")
    assert TrainingOptions.from_json(json.loads(json.dumps(options.to_json()))) == options
    for recipe, pooling in (
        ("windows", "mean"),
        ("classic", "first"),
        ("seed", "first"),
    ):  # by versions without these options
        record = TrainingOptions(base_model="m", recipe=recipe).to_json()
        del record["pooling"], record["funnel"]
        read = TrainingOptions.from_json({**record, "recipe": recipe, "residual": False})
        assert (read.pooling, read.funnel) == (pooling, False)
    with pytest.raises(RunError, match="unknown training options: colour"):
        TrainingOptions.from_json({**options.to_json(), "colour": "red"})
    with pytest.raises(RunError, match="base_model"):
        TrainingOptions.from_json({"recipe": "classic"})
    with pytest.raises(RunError, match="residual"):
        TrainingOptions.from_json({**options.to_json(), "residual": True})


def test_differences_are_named():
    options = TrainingOptions(base_model="m", recipe="windows")
    other = dataclasses.replace(options, epochs=5, seed=2)
    assert options.differences(options) == []
    assert other.differences(options) == ["epochs 5, was 4", "seed 2, was 1"]


@pytest.mark.parametrize(
    "bad",
    [
        {"epochs": 3},
        {"pooling": "mean"},
        {"layers": 0},
        {"precision": "bfloat16"},
        {"recipe": "windows", "layers": 2},
        {"recipe": "windows", "pooling": "layers"},
        {"recipe": "windows", "epochs": 0},
        {"recipe": "windows", "batch": 0},
        {"recipe": "windows", "learning_rate": 0.0},
        {"window": 4},
        {"stride": 127},
        {"validation_split": 1.0},
        {"recipe": "windows", "pooling": "max"},
        {"recipe": "classic", "pooling": "mean"},
        {"recipe": "classic", "funnel": True},
        {"validation_how": "first"},
        {"recipe": "windows", "warmup": 1.0},
        {"recipe": "windows", "label_smoothing": -0.1},
        {"recipe": "windows", "topic_dropout": 1.5},
        {"recipe": "windows", "precision": "float16"},
        {"recipe": "other"},
        {"recipe": "classic", "validation_how": "last"},
    ],
)
def test_options_out_of_range_are_refused(bad):
    with pytest.raises(RunError):
        TrainingOptions(base_model="m", **bad)


def test_importing_the_package_imports_no_framework():
    code = (
        "import sys, authorid.training, authorid.evaluation.metrics;"
        "print(sorted({'keras', 'tensorflow', 'keras_hub', 'transformers', 'torch', 'matplotlib', 'safetensors'}"
        " & set(sys.modules)))"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == "[]"
