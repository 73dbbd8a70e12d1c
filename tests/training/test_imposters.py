from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import authorid
from authorid.training.imposters import LEAST_IMPOSTERS, Verifier, calibrated, verify

pytest.importorskip("scipy")

HABITS = {f"Author {i}": np.random.default_rng(i).dirichlet(np.full(40, 0.4)) for i in range(12)}


def letter(author: str, words: int = 400, seed: int = 0) -> str:
    """A text whose author is known by how often each of 40 words occurs."""
    rng = np.random.default_rng([seed, int(author.split()[1])])
    return " ".join(f"w{word:02}rd" for word in rng.choice(40, size=words, p=HABITS[author])) + ".\n"


IMPOSTERS = [letter(f"Author {i}", seed=s) for i in range(4, 12) for s in range(5)]


def test_the_same_author_gets_a_higher_score_than_others():
    known = [letter("Author 0", seed=seed) for seed in (1, 2)]
    verifier = Verifier(known, IMPOSTERS)
    own = verifier.verify(letter("Author 0", seed=3))
    others = [verifier.verify(letter(f"Author {i}", seed=4)) for i in (1, 2, 3)]
    assert own.score > 0.9 > 0.5 > max(other.score for other in others)
    assert own.similarity > own.imposter_similarity
    assert (own.known_samples, own.questioned_samples, own.imposters) == (2, 1, len(IMPOSTERS))
    assert own.z == pytest.approx(np.mean(own.known_z))
    assert own.score == pytest.approx(calibrated(own.z))
    assert min(other.score for other in others) >= 0


def test_the_answer_does_not_depend_on_which_text_is_known():
    one, other = letter("Author 0", seed=1), letter("Author 1", seed=2)
    assert verify([one], other, IMPOSTERS).z == pytest.approx(verify([other], one, IMPOSTERS).z)


def test_long_texts_are_cut_into_samples():
    found = verify([letter("Author 0", 3000, seed=1)], letter("Author 0", 2000, seed=2), IMPOSTERS)
    assert found.known_samples > 1 and found.questioned_samples > 1
    assert len(found.known_z) == 1


def test_copies_of_the_texts_are_no_imposters():
    known, questioned = letter("Author 0", seed=1), letter("Author 0", seed=2)
    plain = verify([known], questioned, IMPOSTERS)
    assert verify([known], questioned, [*IMPOSTERS, known]) == plain
    assert verify([known], questioned, [*IMPOSTERS, questioned]).imposters == plain.imposters


def test_what_cannot_be_verified_is_an_error():
    known = [letter("Author 0", seed=1)]
    with pytest.raises(ValueError, match=f"make 3 samples of about 4000 characters; at least {LEAST_IMPOSTERS}"):
        verify(known, known[0], IMPOSTERS[:3])
    with pytest.raises(ValueError, match="no known text"):
        verify([], known[0], IMPOSTERS)
    with pytest.raises(ValueError, match="no n-gram in common"):
        verify(known, "?", IMPOSTERS)
    with pytest.raises(TypeError, match="known is a single text"):
        verify(known[0], known[0], IMPOSTERS)


def test_other_scripts():
    characters = "的一是不了人我在有他这中大来上国个到说们为子和你地出道也时年"
    texts = [
        "".join(
            np.random.default_rng([i, s]).choice(
                list(characters), 900, p=HABITS[f"Author {i}"][:30] / HABITS[f"Author {i}"][:30].sum()
            )
        )
        for i in range(12)
        for s in range(4)
    ]
    verifier = Verifier(texts[:2], texts[16:])
    assert verifier.verify(texts[2]).score > verifier.verify(texts[6]).score


@pytest.mark.corpus
@pytest.mark.slow
def test_articles_of_reuters(c50):
    """With five known articles, the same author gets the higher score in at least 85 % of all pairs of questions."""
    directories = sorted(path for path in (c50 / "C50train").iterdir() if path.is_dir())
    articles = [
        [file.read_text("utf-8", errors="replace") for file in sorted(directory.glob("*.txt"))]
        for directory in directories
    ]
    imposters = [text for own in articles[:25] for text in own[::6]]
    same, other = [], []
    for number in range(25, 50, 2):
        verifier = Verifier(articles[number][:5], imposters)
        same += [verifier.verify(text).score for text in articles[number][-4:]]
        other += [verifier.verify(articles[(number + step - 25) % 25 + 25][-1]).score for step in (1, 4, 9, 16)]
    higher = np.array(same)[:, None] > np.array(other)
    assert higher.mean() >= 0.85
    assert np.mean(np.array(same) > 0.5) + np.mean(np.array(other) < 0.5) >= 1.5


def test_it_is_public():
    assert authorid.verify is verify


def test_without_scipy_the_error_names_the_extra():
    code = (
        "import sys; sys.modules['scipy'] = None; import authorid; authorid.verify(['a b c'] , 'a b c', ['x y z'] * 30)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "pip install 'authorid-toolkit[fit]'" in done.stderr
