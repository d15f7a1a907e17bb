"""The amplitudes of a layer as functions of its tilt.

A layer is thin, so that its amplitudes vary slowly with the tilt: a polynomial through some tilts, of the higher a
degree the thicker the layer, gives them under any other without another multislice.
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
"""Largest tangent of a tilt that a series is good for."""
MAX_DEGREE = 7
MAX_MONOMIALS = (MAX_DEGREE + 1) * (MAX_DEGREE + 2) // 2
"""Monomials of a series of the highest degree."""
# Relative error of an amplitude at the rim under three quarters of the largest tilt.
TOLERANCE = 0.05
_TYPICAL = 0.75
# Rings of tilts for each degree: radius over the largest tilt, and number. They lie further in than they would for the
# least error anywhere, as most flakes are tilted little: ln I is good to 0.01 below two degrees, to 0.04 beyond.
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
    """Amplitudes of M beams as polynomials of the tilt.

    Attributes:
        coefficients: (P, M) of the monomials, by ascending degree.
        straight: (M,) intensities without a tilt.
    """

    coefficients: ComplexArray
    straight: NDArray[np.float32]

    @classmethod
    def from_multislice(
        cls, sheets: StaticMultislice, hk: IntArray, q_max_inv_angstrom: float, symmetry: Operations
    ) -> Self:
        """The series of a layer's beams.

        Under a tilt that an operation of the layer makes of another, it makes the amplitudes of each other too: only
        one of both is computed.

        Args:
            sheets: the layer.
            hk: (M, 2) indices of the beams.
            q_max_inv_angstrom: the largest |q| among them.
            symmetry: operations that lay the layer on itself and do not turn it over, the identity if no others.
        """
        degree = choose_degree(sheets.thickness_angstrom, q_max_inv_angstrom)
        nodes = _interpolation(degree, tuple(symmetry.turn.round(3).ravel().tolist()))
        seen = sheets.amplitudes(hk @ symmetry.change.transpose(0, 2, 1), nodes.computed)
        seen *= phase_factor((-2 * np.pi * (symmetry.shift @ hk.T)).astype(np.float32))
        amplitudes = seen[nodes.tilt, nodes.operation]
        return cls(nodes.solution @ amplitudes, np.abs(seen[0, 0]) ** 2)

    def relative(self) -> Self:
        """The same with intensities over that of the strongest beam without a tilt."""
        strongest = max(float(self.straight.max(initial=0.0)), 1e-30)
        return replace(
            self,
            coefficients=self.coefficients / np.float32(strongest**0.5),
            straight=self.straight / np.float32(strongest),
        )

    def intensities(self, tilt: FloatArray) -> NDArray[np.float32]:
        """(T, M) fractions of the incident beam, under tilts with tangents (T, 2)."""
        return self.compute_intensities_from_monomials(compute_monomials(tilt, len(self.coefficients)))

    def compute_intensities_from_monomials(self, terms: FloatArray) -> NDArray[np.float32]:
        """(T, M) the same under tilts with monomials (T, P) or more."""
        amplitude = terms[:, : len(self.coefficients)].astype(np.complex64) @ self.coefficients
        intensity: NDArray[np.float32] = amplitude.real**2 + amplitude.imag**2
        return intensity


def choose_degree(thickness_angstrom: float, q_max_inv_angstrom: float) -> int:
    """Degree at which the series is good to the tolerance, or the largest.

    The phase of a beam scattered at height z above the middle is 2 pi z q . tau; the best polynomial of degree n for
    exp(i x) on [-x, x] is off by 2 (x / 2)^(n + 1) / (n + 1)!.
    """
    half = pi * thickness_angstrom * q_max_inv_angstrom * _TYPICAL * MAX_TILT_TANGENT / 2
    for degree in range(MAX_DEGREE):
        if 2 * half ** (degree + 1) / factorial(degree + 1) <= TOLERANCE:
            return degree
    return MAX_DEGREE


def compute_monomials(tilt: FloatArray, count: int) -> FloatArray:
    """(..., P) the first `count` monomials of tilts (..., 2) over the largest, by ascending degree."""
    exponents = _exponents(count)
    x, y = exponents.powers(tilt)
    return np.asarray(x[..., exponents.of_x] * y[..., exponents.of_y])


def compute_monomial_gradients(tilt: FloatArray, count: int) -> FloatArray:
    """(..., 2, P) derivatives of the monomials by both tangents."""
    exponents = _exponents(count)
    of_x, of_y = exponents.of_x, exponents.of_y
    x, y = exponents.powers(tilt)
    along_x = of_x * x[..., np.maximum(of_x - 1, 0)] * y[..., of_y]
    along_y = of_y * x[..., of_x] * y[..., np.maximum(of_y - 1, 0)]
    return np.asarray(np.stack([along_x, along_y], axis=-2) / MAX_TILT_TANGENT)


@dataclass(frozen=True)
class _Exponents:
    """Those of both tangents in each of P monomials.

    Attributes:
        of_x: (P,) of the first.
        of_y: (P,) of the second.
        degrees: (D,) all that are needed.
    """

    of_x: IntArray
    of_y: IntArray
    degrees: IntArray

    def powers(self, tilt: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(..., D) of both tangents (..., 2) over the largest."""
        x, y = tilt[..., 0, None], tilt[..., 1, None]
        return (x / MAX_TILT_TANGENT) ** self.degrees, (y / MAX_TILT_TANGENT) ** self.degrees


@cache
def _exponents(count: int) -> _Exponents:
    pairs = [(degree - of_y, of_y) for degree in range(MAX_DEGREE + 1) for of_y in range(degree + 1)]
    of_x, of_y = np.array(pairs[:count]).T
    return _Exponents(of_x, of_y, np.arange(of_x.max() + 1))


@dataclass(frozen=True)
class _Nodes:
    """The T tilts through which the polynomials of a degree go.

    Attributes:
        computed: (S, 2) those whose amplitudes are computed, no tilt the first.
        tilt: (T,) from which of these each comes.
        operation: (T,) by which operation.
        solution: (P, T) what makes coefficients of amplitudes under them.
    """

    computed: FloatArray
    tilt: IntArray
    operation: IntArray
    solution: ComplexArray


@lru_cache(maxsize=1024)
def _interpolation(degree: int, turns: tuple[float, ...]) -> _Nodes:
    """The tilts of a degree, G of them an orbit of a layer with operations (G, 2, 2), flattened."""
    group = np.array(turns).reshape(-1, 2, 2)
    computed, tilt, operation = [np.zeros((1, 2))], [], []
    place = 1
    for ring, (radius, number) in enumerate(_RINGS[degree]):
        if not radius:
            tilt, operation = [0], [0]
            continue
        orbits = -(-number // len(group))
        angle = _angles(ring, orbits, group)
        computed.append(radius * MAX_TILT_TANGENT * np.column_stack([np.cos(angle), np.sin(angle)]))
        tilt += np.repeat(np.arange(place, place + orbits), len(group)).tolist()
        operation += np.tile(np.arange(len(group)), orbits).tolist()
        place += orbits
    tilts = np.concatenate(computed)
    nodes = np.einsum("td,tde->te", tilts[tilt], group[operation])
    terms = (degree + 1) * (degree + 2) // 2
    solution = np.linalg.pinv(compute_monomials(nodes, terms)).astype(np.complex64)
    return _Nodes(tilts, np.array(tilt), np.array(operation), solution)


def _angles(ring: int, orbits: int, group: FloatArray) -> FloatArray:
    """(R,) of one tilt of each of R orbits, so that all of a ring are as far apart as can be."""
    apart = 2 * np.pi / (orbits * len(group))
    mirrors = group[np.linalg.det(group) < 0]
    if not len(mirrors):
        return np.asarray(apart * (np.arange(orbits) + 0.3 * ring))
    # A mirror at an angle phi has rows (cos 2 phi, sin 2 phi) and (sin 2 phi, -cos 2 phi).
    line = np.arctan2(mirrors[0, 0, 1], mirrors[0, 0, 0]) / 2
    return np.asarray(line + apart * (np.arange(orbits) + 0.5))
