"""Amplitudes of a layer as polynomials of its tilt.

A layer is thin, so its amplitudes vary slowly with the tilt. A polynomial through a few tilts, of a degree that grows
with the thickness, gives the amplitudes under any other tilt without another multislice.
"""

from dataclasses import dataclass, replace
from functools import cache, lru_cache
from math import factorial, pi
from typing import Self

import numpy as np
from numpy.typing import NDArray

from model.crystal.operations import Operations
from model.physics.static_multislice import StaticMultislice, phase_factor

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
ComplexArray = NDArray[np.complex64]

MAX_TILT_TANGENT = 0.1
"""Largest tilt tangent for which a series is valid."""
MAX_DEGREE = 7
MAX_MONOMIALS = (MAX_DEGREE + 1) * (MAX_DEGREE + 2) // 2
"""Number of monomials of a series of the highest degree."""
# Relative error of an amplitude at q_max under three quarters of the largest tilt.
TOLERANCE = 0.05
_TYPICAL = 0.75
# Rings of tilts for each degree: radius over the largest tilt, and number. Their radii are smaller than the optimum for
# the largest error, because most flakes are tilted little: ln I is accurate to 0.01 below two degrees, to 0.04 beyond.
_RINGS = (
    ((0.0, 1),),
    ((0.50, 3),),
    ((0.0, 1), (0.60, 6)),
    ((0.30, 4), (0.80, 8)),
    ((0.0, 1), (0.38, 6), (0.80, 11)),
    ((0.16, 4), (0.50, 8), (0.86, 13)),
    ((0.0, 1), (0.30, 6), (0.62, 11), (0.92, 15)),
    ((0.12, 4), (0.40, 9), (0.70, 13), (0.94, 17)),
)


@dataclass(frozen=True)
class TiltSeries:
    """Amplitudes of M reflections as polynomials of the tilt.

    Attributes:
        coefficients: (P, M) of the monomials, in ascending degree.
        straight: (M,) intensities without tilt.
    """

    coefficients: ComplexArray
    straight: NDArray[np.float32]

    @classmethod
    def from_multislice(
        cls, multislice: StaticMultislice, hk: IntArray, q_max_inv_angstrom: float, symmetry: Operations
    ) -> Self:
        """Compute the series of the reflections of a layer.

        Tilts that are related by a symmetry operation of the layer have related amplitudes, so only one of them is
        computed.

        Args:
            multislice: multislice of the layer.
            hk: (M, 2) Miller indices.
            q_max_inv_angstrom: largest |q| of the reflections.
            symmetry: operations of the layer that do not turn it over, at least the identity.
        """
        degree = choose_degree(multislice.thickness_angstrom, q_max_inv_angstrom)
        nodes = _choose_nodes(degree, tuple(symmetry.turn.round(3).ravel().tolist()))
        seen = multislice.compute_amplitudes(hk @ symmetry.change.transpose(0, 2, 1), nodes.computed)
        seen *= phase_factor((-2 * np.pi * (symmetry.shift @ hk.T)).astype(np.float32))
        amplitudes = seen[nodes.tilt, nodes.operation]
        return cls(nodes.solution @ amplitudes, np.abs(seen[0, 0]) ** 2)

    def normalize(self) -> Self:
        """Return the series relative to the strongest reflection without tilt."""
        strongest = max(float(self.straight.max(initial=0.0)), 1e-30)
        coefficients = self.coefficients / np.float32(strongest**0.5)
        return replace(self, coefficients=coefficients, straight=self.straight / np.float32(strongest))

    def compute_intensities(self, tilt: FloatArray) -> NDArray[np.float32]:
        """Compute the (T, M) intensities under tilts with tangents (T, 2)."""
        return self.compute_intensities_from_monomials(compute_monomials(tilt, len(self.coefficients)))

    def compute_intensities_from_monomials(self, terms: FloatArray) -> NDArray[np.float32]:
        """Compute the (T, M) intensities under tilts with at least P monomials (T, P)."""
        amplitude = terms[:, : len(self.coefficients)].astype(np.complex64) @ self.coefficients
        intensity: NDArray[np.float32] = amplitude.real**2 + amplitude.imag**2
        return intensity


def choose_degree(thickness_angstrom: float, q_max_inv_angstrom: float) -> int:
    """Return the smallest degree that meets the tolerance, or the largest available.

    A wave scattered at height z above the middle has the phase 2 pi z q . tau. The best polynomial of degree n for
    exp(i x) on [-x, x] has the error 2 (x / 2)^(n + 1) / (n + 1)!.
    """
    half = pi * thickness_angstrom * q_max_inv_angstrom * _TYPICAL * MAX_TILT_TANGENT / 2
    for degree in range(MAX_DEGREE):
        if 2 * half ** (degree + 1) / factorial(degree + 1) <= TOLERANCE:
            return degree
    return MAX_DEGREE


def compute_monomials(tilt: FloatArray, count: int) -> FloatArray:
    """Return (..., P) the first `count` monomials of tilts (..., 2) over the largest tilt, in ascending degree."""
    exponents = list_exponents(count)
    x, y = exponents.compute_powers(tilt)
    return np.asarray(x[..., exponents.of_x] * y[..., exponents.of_y])


@dataclass(frozen=True)
class Exponents:
    """Exponents of both tangents in each of P monomials.

    Attributes:
        of_x: (P,) exponents of the first tangent.
        of_y: (P,) exponents of the second tangent.
        degrees: (D,) all exponents that occur.
    """

    of_x: IntArray
    of_y: IntArray
    degrees: IntArray

    def compute_powers(self, tilt: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the (..., D) powers of both tangents (..., 2) over the largest tilt."""
        x, y = tilt[..., 0, None], tilt[..., 1, None]
        return (x / MAX_TILT_TANGENT) ** self.degrees, (y / MAX_TILT_TANGENT) ** self.degrees


@cache
def list_exponents(count: int) -> Exponents:
    """Return the exponents of the first `count` monomials, in ascending degree."""
    pairs = [(degree - of_y, of_y) for degree in range(MAX_DEGREE + 1) for of_y in range(degree + 1)]
    of_x, of_y = np.array(pairs[:count]).T
    return Exponents(of_x, of_y, np.arange(of_x.max() + 1))


@dataclass(frozen=True)
class _Nodes:
    """The T tilts that determine the polynomials of a degree.

    Attributes:
        computed: (S, 2) tilts whose amplitudes are computed; the first is zero.
        tilt: (T,) index of the computed tilt from which each tilt follows.
        operation: (T,) index of the operation that relates both.
        solution: (P, T) matrix from amplitudes to coefficients.
    """

    computed: FloatArray
    tilt: IntArray
    operation: IntArray
    solution: ComplexArray


@lru_cache(maxsize=1024)
def _choose_nodes(degree: int, turns: tuple[float, ...]) -> _Nodes:
    """Return the tilts for a degree; operations (G, 2, 2), flattened, relate the G tilts of an orbit."""
    group = np.array(turns).reshape(-1, 2, 2)
    computed, tilt, operation = [np.zeros((1, 2))], [], []
    place = 1
    for ring, (radius, number) in enumerate(_RINGS[degree]):
        if not radius:
            tilt, operation = [0], [0]
            continue
        orbits = -(-number // len(group))
        angle = _choose_angles(ring, orbits, group)
        computed.append(radius * MAX_TILT_TANGENT * np.column_stack([np.cos(angle), np.sin(angle)]))
        tilt += np.repeat(np.arange(place, place + orbits), len(group)).tolist()
        operation += np.tile(np.arange(len(group)), orbits).tolist()
        place += orbits
    tilts = np.concatenate(computed)
    nodes = np.einsum("td,tde->te", tilts[tilt], group[operation])
    terms = (degree + 1) * (degree + 2) // 2
    solution = np.linalg.pinv(compute_monomials(nodes, terms)).astype(np.complex64)
    return _Nodes(tilts, np.array(tilt), np.array(operation), solution)


def _choose_angles(ring: int, orbits: int, group: FloatArray) -> FloatArray:
    """Return the (R,) angles of one tilt of each of R orbits that spread all tilts of a ring evenly."""
    apart = 2 * np.pi / (orbits * len(group))
    mirrors = group[np.linalg.det(group) < 0]
    if not len(mirrors):
        return np.asarray(apart * (np.arange(orbits) + 0.3 * ring))
    # A mirror at an angle phi has rows (cos 2 phi, sin 2 phi) and (sin 2 phi, -cos 2 phi).
    line = np.arctan2(mirrors[0, 0, 1], mirrors[0, 0, 0]) / 2
    return np.asarray(line + apart * (np.arange(orbits) + 0.5))
