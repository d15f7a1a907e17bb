"""Fits made linear: their optima by reweighted least squares, and how well the data know what is fitted.

Axes: J fits, N spots, Q parameters: level, B, the tangents of the tilt, ln of the diffuse share, and shifts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from model.matching.noise import Noise

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True)
class Prior:
    """Normal, of what J fits know.

    Attributes:
        expected: (J, Q).
        precision: (J, Q) over the variance.
    """

    expected: FloatArray
    precision: FloatArray

    def take(self, kept: Sequence[int]) -> Self:
        """Of some of the fits, perhaps several times."""
        rows = list(kept)
        return type(self)(self.expected[rows], self.precision[rows])


@dataclass(frozen=True)
class Solution:
    """The optimum of J linear problems of Q parameters.

    Attributes:
        parameters: (J, Q).
        left: (J, N) what remains of the residuals.
    """

    parameters: FloatArray
    left: FloatArray


@dataclass(frozen=True)
class Linear:
    """J fits made linear at what is known.

    Attributes:
        known: (J, Q) where they are linear.
        residual: (J, N) measured less computed ln I there.
        design: (J, N, Q) derivatives of what is computed.
        variance: (J, N) of the residuals.
        used: (J, N) those that count.
        prior: of what is known.
    """

    known: FloatArray
    residual: FloatArray
    design: FloatArray
    variance: FloatArray
    used: BoolArray
    prior: Prior

    def take(self, kept: Sequence[int]) -> Self:
        """Some of them, perhaps several times."""
        rows = list(kept)
        return type(self)(
            self.known[rows],
            self.residual[rows],
            self.design[rows],
            self.variance[rows],
            self.used[rows],
            self.prior.take(rows),
        )

    def solved(self, noise: Noise, steps: int) -> Solution:
        """The optimum after so many reweighted least-squares steps."""
        information = self._prior_information
        at, left = self.known, self.residual
        for _ in range(steps):
            weight = self.used * noise.robust_weight(left, self.variance)
            weighted = (self.design * weight[..., None]).transpose(0, 2, 1)
            normal = weighted @ self.design + information
            pull = np.einsum("jpn,jn->jp", weighted, left)
            pull -= self.prior.precision * (at - self.prior.expected)
            at = at + np.linalg.solve(normal, pull[..., None])[..., 0]
            left = self.residual - np.einsum("jnp,jp->jn", self.design, at - self.known)
        return Solution(at, left)

    def information(self, noise: Noise) -> FloatArray:
        """(J, Q, Q) expected of the data, and of the prior."""
        weighted = self.design * (self.used * noise.curvature(self.variance))[..., None]
        return np.asarray(weighted.transpose(0, 2, 1) @ self.design + self._prior_information)

    def log_prior(self, parameters: FloatArray, information: FloatArray) -> FloatArray:
        """(J,) ln prior of parameters (J, Q), and of the room that the data leave them, but for the level's."""
        off, precision = (parameters - self.prior.expected)[:, 1:], self.prior.precision[:, 1:]
        room = np.linalg.slogdet(information)[1] - np.log(precision).sum(axis=1)
        return np.asarray(-(precision * off**2).sum(axis=1) / 2 - room / 2)

    def log_evidence(self, noise: Noise, steps: int) -> FloatArray:
        """(J,) ln of likelihood and prior, all that is fitted integrated out; of the noise only its freedom counts."""
        solution = self.solved(noise, steps)
        density = self.used * noise.log_density(solution.left, self.variance)
        return np.asarray(density.sum(axis=1) + self.log_prior(solution.parameters, self.information(noise)))

    @property
    def _prior_information(self) -> FloatArray:
        """(J, Q, Q)."""
        return np.asarray(self.prior.precision[:, :, None] * np.eye(self.known.shape[1]))
