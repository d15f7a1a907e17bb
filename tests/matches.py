"""A match for tests that need one without a pattern."""

from dataclasses import replace
from typing import Any

import numpy as np

from model.matching.match import Match, ReflectionTable

# An explained spot, an extra one, and a missing reflection.
_NONE = np.nan
REFLECTIONS = ReflectionTable(
    spots=2,
    scale=1.0,
    hk=np.array([[1, 0], [3, 2], [0, 1]]),
    d_angstrom=np.array([2.5, _NONE, 2.0]),
    q_measured=np.array([[0.4, 0.0], [0.3, 0.71], [_NONE, _NONE]]),
    q_computed=np.array([[0.401, 0.0], [_NONE, _NONE], [0.0, 0.5]]),
    log_intensity_measured=np.array([0.0, -2.0, _NONE]),
    log_intensity_computed=np.array([0.1, _NONE, -1.0]),
    log_intensity_sigma=np.array([0.25, _NONE, _NONE]),
    log_likelihood=np.array([8.0, -3.0, -2.8]),
)
_MATCH = Match(
    rotation_deg=0.0,
    rotation_sigma_deg=0.04,
    mirrored=False,
    face_down=False,
    scale=1.0,
    scale_sigma=0.0007,
    distortion=0.0,
    distortion_sigma=0.0014,
    tilt_deg=0.0,
    tilt_sigma_deg=0.1,
    tilt_azimuth_deg=0.0,
    tilt_azimuth_sigma_deg=180.0,
    b_factor=0.4,
    b_factor_sigma=0.1,
    explained=1.0,
    missing=0.0,
    extra=0.0,
    r_factor=0.05,
    score=0.0,
    reflections=REFLECTIONS,
)


def make_match(**values: Any) -> Match:
    """Return a good match, with these values replaced."""
    return replace(_MATCH, **values)
