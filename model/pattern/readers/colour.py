"""Colour pictures reduced to the signal that they show."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def signal_of(pixels: NDArray[Any]) -> tuple[NDArray[Any], tuple[str, ...]]:
    """(H, W) brightness of a picture (H, W, colours), and what to tell of it.

    A fourth channel is transparency and left out.
    """
    colours = pixels[..., :3] if pixels.shape[2] >= 3 else pixels[..., :1]
    if colours.shape[2] == 1:
        return colours[..., 0], ()
    told: tuple[str, ...] = ()
    if bool((np.ptp(colours, axis=2) > 0).any()):
        told = ("The image is in colour; its mean brightness was used. Better upload the raw frame.",)
    return colours.mean(axis=2, dtype=np.float32), told
