"""What is expected of a flake and a camera before the pattern is seen."""

TILT_SIGMA = 0.045
"""rms of each component of the tilt, radians."""
B_EXPECTED, B_SIGMA, B_RANGE = 0.35, 0.6, (-1.5, 4.0)
"""Debye-Waller B with the camera's response in it, angstrom^2: mean, rms, and what is possible."""
