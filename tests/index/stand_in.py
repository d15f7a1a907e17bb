"""A deterministic stand-in for the towers: a crystal and its kinematic pattern get nearly the same vector."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.crystal.crystal import Crystal
from model.errors import CrystalError
from model.pattern.spots import Spots

SPOILED = "spoiled"

_HK = np.array([(h, k) for h in range(-6, 7) for k in range(-6, 7) if (h, k) != (0, 0)])


def pattern_of(crystal: Crystal, turned_by_deg: float = 0.0, *, with_intensity: bool = True) -> Spots:
    """Return the pattern of point atoms that scatter as their atomic number, without tilt, to 1.2 1/angstrom."""
    q = _HK @ np.linalg.inv(crystal.lattice).T
    q = q[np.linalg.norm(q, axis=1) < 1.2]
    waves = np.exp(2j * np.pi * q @ crystal.positions[:, :2].T) @ crystal.numbers
    intensity = np.abs(waves) ** 2 + 1e-3
    cosine, sine = np.cos(np.radians(turned_by_deg)), np.sin(np.radians(turned_by_deg))
    turned = q @ np.array([[cosine, sine], [-sine, cosine]])
    return Spots(turned, intensity / intensity.max() if with_intensity else None)


@dataclass(frozen=True)
class RadialEncoder:
    """Embeds both by the histogram of |q|, which neither rotation nor mirror changes."""

    digest: str = "sha256:" + "ab" * 32
    dimension: int = 48
    form: str = "radial"

    def check_integrity(self) -> Iterator[int]:
        return iter(())

    def embed_crystals(self, crystals: Sequence[Crystal]) -> NDArray[np.float32]:
        if any(SPOILED in crystal.id for crystal in crystals):
            raise CrystalError("spoiled on purpose")
        return self.embed_spots([pattern_of(crystal) for crystal in crystals])

    def embed_spots(
        self,
        patterns: Sequence[Spots],
        voltage_kv: Sequence[float] | None = None,  # noqa: ARG002
    ) -> NDArray[np.float32]:
        return np.array([self._vector(each) for each in patterns], dtype=np.float32).reshape(
            -1, self.dimension
        )

    def _vector(self, spots: Spots) -> NDArray[np.float64]:
        q = np.linalg.norm(spots.q_inv_angstrom, axis=1)
        weights = np.ones(len(q)) if spots.intensity is None else spots.intensity**0.25
        bins = np.linspace(0.0, 1.6, self.dimension)
        smooth = np.exp(-0.5 * ((bins[:, None] - q) / 0.02) ** 2) @ weights + 1e-6
        return np.asarray(smooth / np.linalg.norm(smooth))
