"""Similarities of authors, the map and the tree."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from authorid.report.author_map import author_similarities, average_linkage, map_positions

RANDOM = np.random.default_rng(5)


def ridge_weights(profiles, ridge):
    """The weights of a ridge regression that tells the rows of `profiles` apart."""
    return profiles.T @ np.linalg.inv(profiles @ profiles.T + ridge * np.eye(len(profiles)))


def test_the_weights_give_back_the_similarities_of_the_profiles():
    common = RANDOM.normal(size=400)
    profiles = RANDOM.normal(size=(6, 400)) + np.outer([2, 2, 0, 0, 1, 1], common)
    profiles /= np.linalg.norm(profiles, axis=1, keepdims=True)
    scale = RANDOM.uniform(0.5, 2, size=400).astype(np.float32)
    weights = (ridge_weights(profiles, 1e-3) / scale[:, None]).astype(np.float32)
    found = author_similarities(SimpleNamespace(weights=weights, scale=scale))
    assert np.abs(found - profiles @ profiles.T).max() < 0.01


def test_positions_have_the_distances_of_points_in_a_plane():
    angles = np.array([0.0, 0.3, 2.0, 4.0])
    points = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    found = map_positions(points @ points.T)
    distances, wanted = (np.linalg.norm(a[:, None] - a[None], axis=2) for a in (found, points))
    np.testing.assert_allclose(distances / distances.max(), wanted / wanted.max(), atol=1e-9)
    assert np.abs(found).max() == pytest.approx(1.0)


def test_positions_do_not_depend_on_the_signs_of_the_decomposition():
    similarities = np.corrcoef(RANDOM.normal(size=(5, 30)))
    order = [3, 1, 4, 0, 2]
    np.testing.assert_allclose(
        map_positions(similarities)[order], map_positions(similarities[np.ix_(order, order)]), atol=1e-9
    )


@pytest.mark.parametrize("authors", [1, 2, 3])
def test_few_or_equal_authors_have_places(authors):
    assert np.isfinite(map_positions(np.ones((authors, authors)))).all()
    assert map_positions(np.eye(authors)).shape == (authors, 2)


def test_the_tree_is_that_of_scipy():
    hierarchy = pytest.importorskip("scipy.cluster.hierarchy")
    distance = pytest.importorskip("scipy.spatial.distance")
    similarities = np.corrcoef(RANDOM.normal(size=(20, 40)))
    wanted = hierarchy.linkage(distance.squareform(1 - similarities, checks=False), "average")
    found = average_linkage(similarities)
    assert [sorted((one.left, one.right)) for one in found] == wanted[:, :2].astype(int).tolist()
    np.testing.assert_allclose([one.height for one in found], wanted[:, 2])
