"""The generated corpus of very many authors."""

from __future__ import annotations

from bench.many_authors import AuthorProse


def test_documents_are_the_same_each_time_and_an_author_has_habits():
    first, again = (list(AuthorProse().documents(3, 4, words=100)) for _ in range(2))
    assert first == again
    assert len(set(first)) == 4
    assert all(60 <= len(text.split()) <= 140 and text.endswith(".\n") for text in first)

    def commas(author: int) -> float:
        text = " ".join(AuthorProse().documents(author, 20, words=100))
        return text.count(",") / len(text.split())

    rates = [commas(author) for author in range(6)]
    assert max(rates) > 1.5 * min(rates)


def test_a_directory_an_author(tmp_path):
    AuthorProse().write(tmp_path, 2, 3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["author0000", "author0001"]
    assert len(list(tmp_path.rglob("*.txt"))) == 6
