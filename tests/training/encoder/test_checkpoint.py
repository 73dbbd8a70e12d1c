from __future__ import annotations

import pytest
from checkpoints import write_corpus

from authorid.errors import RunError
from authorid.inputs.documents import ReadOptions
from authorid.training import CorpusSpec, TrainingOptions, load_corpus
from authorid.training.encoder.checkpoint import check_plan, training_plan


def test_a_training_is_not_resumed_when_the_corpus_is_read_with_other_options(tmp_path):
    """The digest is that of the files, which an encoding does not change."""
    root = write_corpus(tmp_path / "corpus", documents=2)
    options = TrainingOptions(base_model="m")
    corpora = [load_corpus(CorpusSpec(root, ReadOptions(encoding=encoding))) for encoding in (None, "cp1250")]
    plain, declared = (training_plan(options, "0" * 64, corpus, ([0], [1])) for corpus in corpora)
    assert "reading" not in plain
    check_plan(plain, plain, tmp_path)
    check_plan(declared, declared, tmp_path)
    with pytest.raises(RunError, match=r"the corpus is read with other options\. Pass --force instead of --resume"):
        check_plan(declared, plain, tmp_path)
