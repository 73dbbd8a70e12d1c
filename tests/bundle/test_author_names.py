from __future__ import annotations

import json

import pytest
from json_records import list_file
from tiny import make_bundle

from authorid.bundle.author_names import author_key, too_much_alike
from authorid.bundle.manifest import MANIFEST, load_bundle
from authorid.errors import BundleCorruptError


@pytest.mark.parametrize(
    ("one", "other"),
    [("Jos\u00e9", "Jose\u0301"), ("bob", "Bob"), ("STRASSE", "stra\u00dfe"), ("\u212bke", "\u00e5KE"), ("x", "x")],
)
def test_names_that_differ_in_normal_form_or_case_have_one_key(one, other):
    assert author_key(one) == author_key(other)
    assert too_much_alike(["Zoe", one, "Ann", other]) is not None


def test_other_names_stay_different():
    assert too_much_alike(["Jose", "Jos\u00e9", "Ann", "Anne", "\uff21nn", "\u0410nn"]) is None


def test_the_difference_is_visible():
    assert too_much_alike(["Jos\u00e9", "Jose\u0301"]) == (
        r"'Jos\xe9' and 'Jose\u0301' differ only in Unicode normalization"
    )
    assert too_much_alike(["bob", "Bob"]) == "'bob' and 'Bob' differ only in case"
    assert too_much_alike(["bob", "bob"]) == "'bob' occurs twice"


@pytest.mark.parametrize("names", [("Ada", "ada", "Cyd"), ("Ad\u00e1", "Ada\u0301", "Cyd"), ("Ada", "Ada", "Cyd")])
def test_a_model_whose_authors_are_too_much_alike_is_refused(tmp_path, names):
    path = make_bundle(tmp_path / "model").path
    config = json.loads((path / "config.json").read_text())
    config["id2label"] = {str(index): name for index, name in enumerate(names)}
    (path / "config.json").write_text(json.dumps(config))
    list_file(path / MANIFEST, "config.json")
    with pytest.raises(BundleCorruptError, match=r"the authors .*(differ only in|occurs twice)"):
        load_bundle(path)
