import numpy as np
import pytest

from model.physics.reciprocal import compute_determinants, find_nearest_points, invert_matrices


@pytest.mark.parametrize("shape", [(), (1,), (50,), (3, 7), (0,)])
def test_agree_with_linear_algebra(shape: tuple[int, ...]) -> None:
    matrices = np.random.default_rng(0).normal(size=(*shape, 2, 2))
    np.testing.assert_allclose(compute_determinants(matrices), np.linalg.det(matrices), atol=1e-12)
    np.testing.assert_allclose(invert_matrices(matrices), np.linalg.inv(matrices), rtol=1e-9)


def test_accept_integers() -> None:
    shear = np.array([[[1, 1], [0, 1]], [[0, -1], [1, 0]]])
    assert compute_determinants(shear).tolist() == [1, 1]
    assert (invert_matrices(shear) @ shear).tolist() == [[[1, 0], [0, 1]]] * 2


def test_singular_matrices_give_infinite_values_without_affecting_others() -> None:
    matrices = np.array([[[1.0, 2.0], [2.0, 4.0]], [[2.0, 0.0], [0.0, 4.0]]])
    with np.errstate(divide="ignore", invalid="ignore"):
        found = invert_matrices(matrices)
    assert not np.isfinite(found[0]).any()
    assert found[1].tolist() == [[0.5, 0.0], [0.0, 0.25]]


def test_nearest_points_are_no_origin() -> None:
    bases = np.array([[[1.0, 0.0], [0.0, 2.0]], [[0.0, 1.0], [1.0, 0.0]]])
    hk, square = find_nearest_points(bases, np.array([[1.1, -2.0], [0.1, 0.2]]))
    assert hk.tolist() == [[[1, -1], [0, 0]], [[-2, 1], [0, 0]]]
    np.testing.assert_allclose(square, [[0.01, np.inf], [0.01, np.inf]])
