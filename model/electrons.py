"""The electrons of the microscope."""

from math import sqrt

from model.errors import OptionError

REST_ENERGY_KEV = 510.99895
HC_KEV_ANGSTROM = 12.398419843


def electron_wavelength_angstrom(voltage_kv: float) -> float:
    """Return the relativistic de Broglie wavelength, lambda = hc / sqrt(E (E + 2 m c^2)), in angstrom.

    Raises:
        OptionError: the voltage is not positive.
    """
    if not voltage_kv > 0:
        raise OptionError(
            f"voltage_kv is {voltage_kv}; give the accelerating voltage in kilovolts, such as 80."
        )
    return HC_KEV_ANGSTROM / sqrt(voltage_kv * (voltage_kv + 2 * REST_ENERGY_KEV))


def interaction_constant(voltage_kv: float) -> float:
    """Return sigma = gamma lambda, in angstrom: the phase per angstrom of f_e spread over one square angstrom.

    The transmission function of a layer is exp(i sigma V_z). With V_z(q) = (h^2 / 2 pi m e) sum f_e exp(...)
    / area and sigma = 2 pi gamma m e lambda / h^2, the product is gamma lambda sum f_e exp(...) / area
    (Kirkland, "Advanced Computing in Electron Microscopy", chapter 5).
    """
    gamma = 1 + voltage_kv / REST_ENERGY_KEV
    return gamma * electron_wavelength_angstrom(voltage_kv)
