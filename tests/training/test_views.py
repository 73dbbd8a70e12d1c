# ruff: noqa: RUF001
"""Corpora in other scripts: generated texts of three authors who prefer different words, characters and marks."""

from __future__ import annotations

import numpy as np
import pytest

from authorid.ngrams import _kernels, kernels

pytest.importorskip("scipy")
from authorid.training.ngram_fit import fit
from authorid.training.ngram_options import NgramOptions
from authorid.training.term_counts import count
from authorid.training.views import BYTE_VIEWS, CHARACTER_VIEWS, views_for

COMMON = {
    "ja": "の に は を た が で て と し れ さ ある いる も する から な こと として い や など なる へ か "
    "だ これ よう また もの という あり まで られ ない その 後 でも この ため しかし ただ もう まだ "
    "私 人 日 年 中 山 川 町 道 空 水 火 家 本 手 目 声 時 今 前 上 下",
    "zh": "的 了 是 在 我 不 有 他 这 人 们 来 到 说 就 也 要 和 你 会 着 看 去 得 没 把 还 过 又 只 但 而 "
    "那 很 都 可 起 么 自己 什么 没有 可以 已经 因为 所以 如果 虽然 时候 我们 他们 山 水 天 地 城 门 "
    "路 船 马 花 树 书 话 事 家 手 眼 心 声",
    "ko": "그 이 저 것은 수 나는 그는 있다 없다 했다 한다 그리고 그러나 하지만 그래서 또 더 잘 못 안 다시 "
    "모두 아주 매우 조금 사람이 집에서 길을 물이 산에 하늘은 마을에 시간이 말을 손으로 눈이 마음을 "
    "아이가 친구와 밤에 아침에 오늘 어제 이제 지금 먼저",
    "th": "ที่ และ ใน ของ เป็น ได้ มี จะ ไม่ ให้ ว่า การ มา ไป กับ ก็ แต่ ถ้า เมื่อ จาก โดย นี้ นั้น อยู่ แล้ว ยัง คน เขา เธอ เรา "
    "ต้อง อาจ ควร เคย เพราะ เพื่อ หรือ ซึ่ง มาก ดี ใหม่ วัน ปี บ้าน เมือง น้ำ ฟ้า ทำ พูด เห็น คิด รู้ เดิน กิน",
    "ar": "في من على أن إلى عن مع هذا هذه التي الذي كان كانت قد لم لا ما هو هي ثم أو بعد قبل بين كل بعض غير "
    "حتى عند إذا لكن لأن كما حيث هناك البيت المدينة الرجل الماء الطريق السماء الليل اليوم الوقت "
    "الكلام اليد القلب الباب الناس",
}
"""The fifty or so common words that the texts are made of."""

LETTERS = {
    "ja": (0x4E00, 0x6200),
    "zh": (0x4E00, 0x6200),
    "ko": (0xAC00, 0xC000),
    "th": (0xE01, 0xE2F),
    "ar": (0x627, 0x64B),
}
"""The letters of rare words, which depend on the subject alone; all authors have the same subjects."""

MARKS = {"ja": "。、！？…", "zh": "。，！？；", "ko": ".,!?…", "th": " ๆ!?…", "ar": ".،!؟؛"}


def generate(language: str, count: int, seed: int) -> tuple[list[str], np.ndarray]:
    """Texts of 1,500 characters by three authors in turn, and their labels. Each text has one of twelve subjects."""
    rng, tastes = np.random.default_rng(seed), np.random.default_rng(1)
    words = COMMON[language].split()
    between = "" if language in ("ja", "zh", "th") else " "
    zipf = 1 / np.arange(2, len(words) + 2)
    authors = [zipf * np.exp(tastes.normal(0, 0.5, len(words))) for _ in range(3)]
    marks = [np.array([4, 4, 1, 1, 1]) * np.exp(tastes.normal(0, 0.2, 5)) for _ in range(3)]
    subjects = ["".join(map(chr, row)) for row in tastes.integers(*LETTERS[language], (600, 2))]
    subjects = [subjects[start : start + 50] for start in range(0, 600, 50)]
    texts = []
    for number in range(count):
        weights, own, text = authors[number % 3], marks[number % 3], ""
        rare = subjects[rng.integers(len(subjects))]
        while len(text) < 1500:
            chosen = [*rng.choice(words, rng.integers(4, 10), p=weights / weights.sum()), *rng.choice(rare, 5)]
            rng.shuffle(chosen)
            text += between.join(chosen) + rng.choice(list(MARKS[language]), p=own / own.sum()) + between
        texts.append(text[:1500])
    return texts, np.arange(count) % 3


def accuracy(language: str, options: NgramOptions) -> float:
    texts, labels = generate(language, 36, seed=2)
    model = fit(count(texts, labels, options), labels, 3, options)
    texts, labels = generate(language, 120, seed=3)
    return float((model.score_texts(texts).scores.argmax(axis=1) == labels).mean())


@pytest.mark.parametrize("language", COMMON)
def test_authors_are_told_apart_in_scripts_that_are_not_european(language):
    by_characters = accuracy(language, NgramOptions(bits=16))
    assert by_characters > 0.9
    assert by_characters > accuracy(language, NgramOptions(bits=16, views=BYTE_VIEWS)) + 0.1


def test_the_backends_agree_on_these_texts(monkeypatch):
    if kernels.compiled is None:
        pytest.skip("this package was built without a C compiler")
    texts = [generate(language, 3, seed=5)[0] for language in COMMON]
    together = [text for own in texts for text in own]
    options, labels = NgramOptions(bits=16), np.arange(len(together)) % 3
    assert count(together, labels, options).extractor.views == CHARACTER_VIEWS
    expected = fit(count(together, labels, options), labels, 3, options)
    monkeypatch.setattr(kernels, "active", _kernels)
    found = fit(count(together, labels, options), labels, 3, options)
    assert found.to_bytes() == expected.to_bytes()
    in_numpy = expected.score_texts(together).parts
    monkeypatch.undo()
    assert in_numpy.tobytes() == expected.score_texts(together).parts.tobytes()


@pytest.mark.parametrize(
    "text", ["the river", "größer", "мы шли домой", "το σπίτι", "ქართული", "in 日本", "1990", "", "…“”"]
)
def test_european_scripts_are_counted_by_bytes(text):
    assert views_for([text]) == BYTE_VIEWS


@pytest.mark.parametrize(
    "text", ["日本語、in x", "中文。", "한국어", "ไทย", "عربي", "עברית", "हिन्दी", "አማርኛ", "\U00020000"]
)
def test_other_scripts_are_counted_by_characters(text):
    assert views_for([text]) == CHARACTER_VIEWS


def test_a_corpus_is_counted_by_the_scripts_of_most_of_its_text():
    assert views_for(["日本語です", "the"]) == CHARACTER_VIEWS
    assert views_for(["日本語です", "the river and the boat"]) == BYTE_VIEWS
