"""Renderers of frames that are not spot patterns: overlapping convergent-beam discs, and images of a lattice."""

import math

import numpy as np
import scipy.ndimage as ndi
from numpy.typing import NDArray

Array = NDArray[np.float64]


def _make_basis(rng: np.random.Generator, min_length: float, max_length: float) -> Array:
    """Return the rows (2, 2) of a random lattice with vectors of these lengths, in pixels."""
    a, b = rng.uniform(min_length, max_length, 2)
    gamma, angle = math.radians(rng.choice([60.0, 90.0, rng.uniform(65, 115)])), rng.uniform(0, 2 * math.pi)
    first = a * np.array([math.cos(angle), math.sin(angle)])
    return np.array([first, b * np.array([math.cos(angle + gamma), math.sin(angle + gamma)])])


def _find_nodes(basis: Array, reach: float) -> Array:
    """Return the nodes (N, 2) within a distance of 0, 0."""
    order = math.ceil(reach / (abs(np.linalg.det(basis)) / np.hypot(*basis.T).max())) + 1
    h, k = (m.ravel() for m in np.meshgrid(range(-order, order + 1), range(-order, order + 1)))
    nodes = np.column_stack([h, k]) @ basis
    return np.asarray(nodes[np.hypot(*nodes.T) < reach])


def render_overlapping_discs(seed: int, size: int = 512, overlap: tuple[float, float] = (1.05, 1.7)) -> Array:
    """Render discs with fringes inside, with diameters of `overlap` times the distance between their centers."""
    rng = np.random.default_rng(seed)
    basis = _make_basis(rng, 0.07 * size, 0.22 * size)
    center = size / 2 + rng.uniform(-0.04, 0.04, 2) * size
    nearest = min(np.hypot(*basis[0]), np.hypot(*basis[1]), np.hypot(*(basis[0] - basis[1])))
    radius = rng.uniform(*overlap) * nearest / 2
    y, x = np.mgrid[:size, :size].astype(float)
    counts = np.full((size, size), rng.uniform(2, 30))
    dose, fall = 10 ** rng.uniform(2.0, 4.0), rng.uniform(0.08, 0.2) * size
    fringes = rng.uniform(1.5, 7.0) * math.pi / radius
    for node in _find_nodes(basis, 0.62 * size):
        length = float(np.hypot(*node))
        level = (
            dose * math.exp(-length / fall + rng.normal(0, 0.7)) if length > 1 else dose * rng.uniform(1, 5)
        )
        if level < 0.3:
            continue
        dx, dy = x - center[0] - node[0], y - center[1] - node[1]
        inside = 1 / (1 + np.exp(np.clip((np.hypot(dx, dy) - radius) / rng.uniform(0.5, 1.2), -50, 50)))
        angle = rng.uniform(0, math.pi)
        along = dx * math.cos(angle) + dy * math.sin(angle)
        counts += level * inside * (1 + rng.uniform(0.2, 0.7) * np.cos(fringes * along + rng.uniform(0, 6)))
    return np.asarray(rng.poisson(counts) + rng.normal(20, 2, counts.shape))


def render_lattice_image(seed: int, size: int = 512) -> Array:
    """Render fringes of a few lattice planes over amorphous contrast, as in a transmission image."""
    rng = np.random.default_rng(seed)
    spacing = rng.uniform(5, 28)
    reciprocal = np.linalg.inv(_make_basis(rng, spacing, 1.4 * spacing)).T
    y, x = np.mgrid[:size, :size].astype(float)
    amorphous = ndi.gaussian_filter(rng.normal(0, 1, (size, size)), rng.uniform(0.8, 2.5))
    contrast = rng.uniform(0.02, 0.15) * amorphous / amorphous.std()
    for h, k in ((1, 0), (0, 1), (1, 1), (1, -1), (2, 0), (0, 2)):
        q = np.array([h, k]) @ reciprocal
        if np.hypot(*q) < 0.3:
            strength = rng.uniform(0.03, 0.25) / (1 + (abs(h) + abs(k) - 1))
            contrast += strength * np.cos(2 * math.pi * (q[0] * x + q[1] * y) + rng.uniform(0, 6))
    if rng.random() < 0.5:  # the flake ends somewhere in the frame
        edge = rng.uniform(0.3, 0.7) * size + 0.3 * (y - size / 2)
        contrast *= 1 / (1 + np.exp(-(x - edge) / 8))
    shade = 1 + rng.uniform(-0.3, 0.3) * (x / size - 0.5) + rng.uniform(-0.3, 0.3) * (y / size - 0.5)
    counts = 10 ** rng.uniform(1.7, 3.8) * shade * np.clip(1 + contrast, 0.02, None)
    return np.asarray(rng.poisson(counts) + rng.normal(20, 2, counts.shape))


def render_columns_image(seed: int, size: int = 512) -> Array:
    """Render two kinds of bright atomic columns on a dark background, as in annular dark field."""
    rng = np.random.default_rng(seed)
    spacing = rng.uniform(10, 48)
    basis = _make_basis(rng, spacing, 1.5 * spacing)
    width = rng.uniform(0.1, 0.2) * spacing
    image = np.zeros((size, size))
    for shift, weight in ((np.zeros(2), 1.0), (rng.uniform(0.3, 0.6, 2) @ basis, rng.uniform(0.1, 0.9))):
        at = _find_nodes(basis, size) + size / 2 + shift
        at = np.rint(at[((at > 0) & (at < size - 1)).all(axis=1)]).astype(int)
        image[at[:, 1], at[:, 0]] += weight * rng.normal(1, rng.uniform(0.02, 0.12), len(at))
    image = ndi.gaussian_filter(image, width) * 2 * math.pi * width**2
    dirt = ndi.gaussian_filter(rng.normal(0, 1, (size, size)), size / rng.uniform(6, 20))
    image += rng.uniform(0.05, 0.4) + 0.1 * dirt / dirt.std()
    counts = 10 ** rng.uniform(1.0, 3.0) * np.clip(image, 0, None)
    lines = 1 + rng.uniform(0, 0.05) * rng.normal(0, 1, (size, 1))
    return np.asarray(rng.poisson(np.clip(counts * lines, 0, None)) + rng.normal(20, 2, counts.shape))
