"""What single atoms scatter beyond the Born approximation."""

import numpy as np
import pytest

from model.electrons import interaction_constant
from model.physics.atomic_phase import scattering_over_born
from model.physics.scattering import electron_form_factor

Q = np.linspace(0.0, 1.4, 8)


def test_at_high_voltage_light_atoms_scatter_as_born_says() -> None:
    ratio = scattering_over_born(np.array([1, 6]), Q, 300.0, 1.6)
    assert ratio.shape == (8, 2)
    assert np.abs(ratio - 1).max() < 0.08


def test_heavier_atoms_lag_more() -> None:
    phase = np.angle(scattering_over_born(np.array([6, 16, 42, 74]), Q, 80.0, 1.6))
    assert (np.diff(phase, axis=1) > 0).all()
    assert phase[-1, -1] > 0.4


@pytest.mark.parametrize("number", [6, 42, 82])
def test_what_is_scattered_obeys_the_optical_theorem(number: int) -> None:
    """No electron is lost in a phase object: 2 Re(1 - t) = |1 - t|^2 at every radius, hence for the integrals.

    Forward: Im f(0) x 2 / sigma = integral of |f|^2; with waves up to the band limit alone, an inequality.
    """
    limit, sigma = 3.0, interaction_constant(80.0)
    q = np.linspace(0.0, limit, 400)
    numbers = np.array([number])
    scattered = (electron_form_factor(numbers, q) * scattering_over_born(numbers, q, 80.0, limit))[:, 0]
    whole = float((2 * np.pi * q * np.abs(scattered) ** 2).sum() * q[1])
    assert sigma * whole == pytest.approx(2 * float(scattered[0].imag), rel=0.1)
