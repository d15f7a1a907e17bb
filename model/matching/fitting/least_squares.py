"""Fits made linear: their optima by reweighted least squares, and how well the data know what is fitted.

Axes: J fits, N spots, Q parameters: level, B, the tangents of the tilt, ln of the diffuse share, and shifts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from model.matching.fitting.intensity_noise import IntensityNoise

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True)
class Prior:
    """Normal, of what J fits know.

    Attributes:
        expected: (..., J, Q).
        precision: (..., J, Q) over the variance.
    """

    expected: FloatArray
    precision: FloatArray

    def take(self, kept: Sequence[int]) -> Self:
        """Of some of the fits, perhaps several times."""
        rows = list(kept)
        return type(self)(self.expected[rows], self.precision[rows])

    @property
    def information(self) -> FloatArray:
        """(..., J, Q, Q) of the prior alone."""
        return np.asarray(self.precision[..., None] * np.eye(self.precision.shape[-1]))

    def log_density(self, parameters: FloatArray, information: FloatArray) -> FloatArray:
        """(..., J) ln prior of parameters (..., J, Q), and of the room that data leave them, but for the level's.

        Args:
            parameters: of the fits.
            information: (..., J, Q, Q) of data and prior.
        """
        off, precision = (parameters - self.expected)[..., 1:], self.precision[..., 1:]
        room = np.linalg.slogdet(information)[1] - np.log(precision).sum(axis=-1)
        return np.asarray(-(precision * off**2).sum(axis=-1) / 2 - room / 2)


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

    def solved(self, noise: IntensityNoise, steps: int) -> Solution:
        """The optimum after so many reweighted least-squares steps."""
        information = self.prior.information
        at, left = self.known, self.residual
        for _ in range(steps):
            weighted, normal = self._weighed(noise.robust_weight(left, self.variance))
            pull = np.einsum("jpn,jn->jp", weighted, left)
            pull -= self.prior.precision * (at - self.prior.expected)
            at = at + np.linalg.solve(normal + information, pull[..., None])[..., 0]
            left = self.residual - np.einsum("jnp,jp->jn", self.design, at - self.known)
        return Solution(at, left)

    def information(self, noise: IntensityNoise) -> FloatArray:
        """(J, Q, Q) expected of the data."""
        return self._weighed(noise.curvature(self.variance))[1]

    def log_evidence(self, noise: IntensityNoise, steps: int, priors: Prior) -> FloatArray:
        """(..., J) ln of likelihood and prior, all that is fitted integrated out, under each of priors (..., J, Q).

        The weights are those of the optimum under the own prior; of the noise only its freedom counts.
        """
        weighted, normal = self._weighed(noise.robust_weight(self.solved(noise, steps).left, self.variance))
        pull = np.einsum("jpn,jn->jp", weighted, self.residual)
        pull = pull - priors.precision * (self.known - priors.expected)
        step = np.linalg.solve(normal + priors.information, pull[..., None])
        left = self.residual - (self.design @ step)[..., 0]
        density = (self.used * noise.log_density(left, self.variance)).sum(axis=-1)
        information = self.information(noise) + priors.information
        return np.asarray(density + priors.log_density(self.known + step[..., 0], information))

    def _weighed(self, weight: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(J, Q, N) the design times weights (J, N) of what counts, and (J, Q, Q) that times the design."""
        weighted = (self.design * (self.used * weight)[..., None]).transpose(0, 2, 1)
        return weighted, np.asarray(weighted @ self.design)
