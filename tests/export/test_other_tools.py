"""transformers and optimum answer the same, for the source and for its bundle, alone and in padded batches.

Their environments are their own: torch is large, and optimum wants an older transformers. Name the Python of one, or of
both, in AUTHORID_TORCH_PYTHON (``pip install torch transformers``) and AUTHORID_OPTIMUM_PYTHON (the requirements in
bench/peers/optimum). Without them, these tests are skipped.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from huggingface_models import FAMILIES, WORDS, write_classifier

from authorid import Scorer
from authorid.encoder.engine_options import EngineOptions
from authorid.export import export_model

pytestmark = pytest.mark.train

SCRIPT = Path(__file__).resolve().parents[1] / "other_tools.py"
TASKS = {
    "bert": {},
    "distilbert": {"problem_type": "multi_label_classification"},
    "roberta": {"problem_type": "regression", "labels": ("stars",)},
    "electra": {"hidden_act": "gelu_new", "labels": ("relevant",)},
}


@pytest.mark.parametrize("tool", ["TORCH", "OPTIMUM"])
@pytest.mark.parametrize("family", FAMILIES)
def test_other_tools_answer_the_same(family, tool, tmp_path):
    python = os.environ.get(f"AUTHORID_{tool}_PYTHON")
    if not python:
        pytest.skip(f"set AUTHORID_{tool}_PYTHON to the Python of an environment with it")
    source = write_classifier(tmp_path / "source", family, **TASKS.get(family, {}))
    bundle = export_model(source, tmp_path / "bundle").bundle
    rng = np.random.default_rng(2)
    texts = [" ".join(["river", *rng.choice(WORDS, count)]) for count in (1, 3, 12, 25, 60, 2, 90)]
    done = subprocess.run(
        [python, str(SCRIPT), str(source), str(bundle.path)],
        input=json.dumps(texts), capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    scorer = Scorer.load(bundle.path, EngineOptions(precision="fp32"))
    own = [dict(row.ranking) for row in scorer.score_texts(texts)]
    found = json.loads(done.stdout)
    assert found.keys() >= {"transformers"} | ({"alone", "padded"} if tool == "OPTIMUM" else set())
    for rows in found.values():
        for row, expected in zip(rows, own, strict=True):
            assert row == pytest.approx(expected, abs=1e-4)
