"""Layers, and patterns of them as an instrument would record them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.crystal.crystal import Crystal
from model.pattern.spots import Spots
from model.physics.kinematic import Geometry, project_to_camera
from model.physics.multislice import Conditions, compute_dynamical_intensities
from model.physics.reciprocal import reciprocal_lattice
from tests.physics.layers import BLACK_PHOSPHORUS, GRAPHENE, JANUS, MOS2, PRISMATIC, hexagonal, layer

Array = NDArray[np.float64]


_TRIGONAL: list[list[float]] = [[0, 0], [1 / 3, 2 / 3], [2 / 3, 1 / 3]]
LAYERS = {
    "graphene": GRAPHENE,
    "MoS2": MOS2,
    "WS2": layer("WS2", hexagonal(3.16), [74, 16, 16], PRISMATIC, [0, 1.57, -1.57]),
    "1T-TaS2": layer("1T-TaS2", hexagonal(3.36), [73, 16, 16], _TRIGONAL, [0, 1.55, -1.55]),
    "MoSSe": JANUS,
    "black phosphorus": BLACK_PHOSPHORUS,
    "oblique": layer(
        "oblique",
        np.array([[3.6, 0.0], [-0.9, 5.1]]),
        [46, 34, 34, 8],
        [[0, 0], [0.31, 0.42], [0.66, 0.55], [0.2, 0.8]],
        [0.3, 1.1, -1.5, 0.1],
    ),
    "nearly rectangular": layer(
        "nearly rectangular",
        np.array([[4.29, 0.0], [-0.15, 7.53]]),
        [5, 17, 17, 17],
        [[0, 0], [0.4, 0.05], [0.75, 0.18], [0.85, 0.82]],
        [0, 0.2, -0.1, -0.1],
    ),
}


@dataclass(frozen=True)
class FlakePose:
    """The orientation of a flake under the beam, and the scale of the camera."""

    tilt_deg: float = 0.0
    azimuth_deg: float = 0.0
    rotation_deg: float = 0.0
    mirrored: bool = False
    scale: float = 1.0


def simulate_pattern(
    crystal: Crystal, pose: FlakePose, rng: np.random.Generator | None = None, *, lost: float = 0.05
) -> Spots:
    """Simulate a pattern by multislice; with a generator, with noise of 12 %, lost spots and two false ones."""
    geometry = Geometry(
        tilt_deg=pose.tilt_deg,
        tilt_azimuth_deg=pose.azimuth_deg,
        rotation_deg=pose.rotation_deg,
        mirrored=pose.mirrored,
    )
    still = np.zeros((1, len(crystal.numbers), 3))
    conditions = Conditions(np.array([80.0]), geometry.tilt_vector[None], still, np.array([0.35]))
    _, q, intensity = compute_dynamical_intensities(crystal, conditions, 1.4)
    q, level = project_to_camera(q, geometry) * pose.scale, intensity[0] / intensity[0].max()
    if rng is not None:
        q = q + rng.normal(0, 0.003, q.shape)
        level = level * np.exp(rng.normal(0, 0.12, len(level)))
        kept = (rng.random(len(q)) > lost) & (level > 1e-3)
        q = np.concatenate([q[kept], rng.uniform(-1.0, 1.0, (2, 2))])
        level = np.concatenate([level[kept], [3e-3, 2e-3]])
    else:
        q, level = q[level > 1e-3], level[level > 1e-3]
    return Spots(q, level, voltage_kv=80.0)


def simulate_superlattice(crystal: Crystal, rotation_deg: float, count: int, share: float) -> Spots:
    """Simulate a pattern with a superlattice.

    The last `count` spots are the innermost half way between the others, at a share of the strongest intensity.
    """
    plain = simulate_pattern(crystal, FlakePose(rotation_deg=rotation_deg))
    basis = project_to_camera(reciprocal_lattice(crystal.lattice), Geometry(rotation_deg=rotation_deg))
    hk = np.stack(np.meshgrid(np.arange(-6, 7), np.arange(-6, 7)), axis=-1).reshape(-1, 2)
    between = (hk[(hk % 2).any(axis=1)] / 2) @ basis
    nearest = between[np.argsort(np.linalg.norm(between, axis=1), kind="stable")][:count]
    assert plain.intensity is not None
    faint = np.full(count, share * plain.intensity.max())
    return Spots(
        np.concatenate([plain.q_inv_angstrom, nearest]),
        np.concatenate([plain.intensity, faint]),
        voltage_kv=80.0,
    )
