"""The options of a request on the command line: their words go through the form's own parser."""

import argparse
from collections.abc import Mapping

# Name of each option and its help.
READING = {
    "units": "of points: 1/angstrom, 1/nm or pixel (the file's, else 1/angstrom)",
    "pixel_size": "1/angstrom per pixel (the file's)",
    "scale_sigma": "rms error of the scale, a fraction (0.013; 0.005 with a calibration)",
    "calibration": "name of a camera calibration (dd2d calibrate), of DD2D_CALIBRATIONS",
    "center": "the direct beam x,y in pixels (found)",
    "mask": "boxes that do not count, by two corners: x,y,x,y;... in pixels, else 1/angstrom",
    "frame": "which image of a file with several, from 0, or sum (the first)",
    "voltage_kv": "accelerating voltage, 60 to 300 (the file's, else 80)",
    "radiation": "electron, the only one that can be searched",
}
LATTICE = {"lattice": "a* and b* picked by hand, from the direct beam: x,y;x,y in pixels (found)"}
INSPECTING = READING | LATTICE
ALL = INSPECTING | {
    "elements_all": "each of these is present: Mo,S",
    "elements_only": "nothing else is present: Mo,S",
    "elements_any": "at least one of these is present: S,Se",
    "elements_none": "none of these is present: O,H",
    "composition": "measured atomic fractions: Mo:0.33,S:0.67",
    "composition_sigma": "rms error of a fraction (0.05)",
    "top_k": "candidates wanted, 1 to 100 (10)",
    "effort": "search (the towers alone), verify or full: how much is held against the pattern (verify)",
    "coverage": "in which share of cases the set of candidates holds the crystal (0.95)",
    "record": "true: the answer carries its spots (false)",
    "reflections": "true: list every spot and reflection of every match (default: false)",
}


def add_options(parser: argparse.ArgumentParser, options: Mapping[str, str]) -> None:
    """Declare options of a request."""
    for name, told in options.items():
        parser.add_argument(f"--{name.replace('_', '-')}", default="", metavar=name.upper(), help=told)
