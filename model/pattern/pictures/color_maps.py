"""Color pictures: invert color maps, and remove colored annotations from gray pictures."""

from functools import cache
from typing import Any

import numpy as np
import scipy.ndimage
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from model.pattern.pictures.inpainting import inpaint

BoolImage = NDArray[np.bool_]

# Seventeen colors of each map, evenly spaced; between them the map is nearly straight.
_MAPS = {
    "viridis": "440154 48186a 472d7b 424086 3b528b 33638d 2c728e 26828e 21918c 1f9f88 27ad81 3dbc74 5cc863 81d34d "
    "aadc32 d5e21a fde725",
    "plasma": "0d0887 310597 4c02a1 6600a7 7e03a8 9511a1 aa2395 bc3587 cc4778 d9586a e56b5d f07f4f f89441 fdab33 "
    "fdc328 f9dd25 f0f921",
    "inferno": "000004 0b0724 210c4a 3d0965 57106e 71196e 8a226a a32c61 bc3754 d04545 e35933 f1711f f98c0a fcaa0f "
    "f9c932 f2e865 fcffa4",
    "magma": "000004 0a0822 1d1147 36106b 51127c 6a1c81 832681 9c2e7f b73779 cf4070 e55064 f4695c fb8761 fea571 "
    "fec287 fde0a1 fcfdbf",
    "cividis": "00224e 002e6a 1a386f 32436d 434e6c 535a6d 61656f 6f7073 7d7c78 8b8778 9a9376 aaa073 bbad6d ccba64 "
    "ddc858 efd748 fee838",
    "hot": "0b0000 350000 5f0000 890000 b30000 dd0000 ff0800 ff3200 ff5c00 ff8300 ffad00 ffd700 ffff03 ffff42 "
    "ffff81 ffffc0 ffffff",
    "jet": "000080 0000c8 0000ff 0040ff 0080ff 00c0ff 16ffe1 49ffad 7dff7a adff49 e1ff16 ffd300 ff9800 ff5d00 "
    "ff2200 c80000 800000",
    "turbo": "30123b 4040a2 466be3 4294ff 28bceb 18ddc2 32f298 6dfe62 a4fc3c cbed34 ecd13a fdae35 fb8122 ec530f "
    "d23105 ac1701 7a0403",
}
_LEVELS = 256
# How far the color of a pixel may lie from the curve of a map, of 255 a channel: JPEG and the straight segments make it
# deviate.
_CURVE_TOLERANCE = 16.0
# Share of the colored pixels of a figure, which may hold other charts, and of all pixels of the panel that is kept.
_MIN_SHARE_OF_FIGURE, _MIN_SHARE_OF_PANEL = 0.5, 0.85
_SAMPLE_SIZE = 20_000
# A pixel is colored where its channels differ by more.
_MIN_COLOR_DIFFERENCE = 24
_MAX_ANNOTATED_SHARE = 0.1
_BITS = 6


def extract_signal(picture: NDArray[Any]) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Reduce a color picture to the signal that it shows.

    For a known color map the signal is the position along the map, for other pictures the mean of the channels.
    Annotations in other colors are replaced by the background, and of a figure the panel with the pattern is kept. A
    fourth channel is transparency and is ignored.

    Args:
        picture: (H, W, channels).

    Returns:
        (H, W) the signal, and warnings for the user.
    """
    colors = picture[..., :3] if picture.shape[2] >= 3 else picture[..., :1]
    if colors.shape[2] == 1:
        return colors[..., 0], ()
    difference = np.ptp(colors, axis=2)
    if not difference.any():
        return colors[..., 0], ()
    colored = difference > _MIN_COLOR_DIFFERENCE * (1 if colors.dtype == np.uint8 else 257)
    share = float(colored.mean())
    if share == 0:
        return colors.mean(axis=2, dtype=np.float32), ()
    if colors.dtype == np.uint8:
        name = _find_color_map(colors)
        inverted = None if name is None else _invert_color_map(colors, name)
        if inverted is not None:
            return inverted
    if share <= _MAX_ANNOTATED_SHARE:
        warning = "Colored annotations were removed from the gray image; upload the raw frame instead."
        return inpaint(colors.mean(axis=2, dtype=np.float32), colored), (warning,)
    warning = "The image is in color; its mean brightness was used. Upload the raw frame instead."
    return colors.mean(axis=2, dtype=np.float32), (warning,)


@cache
def _compute_curve(name: str) -> NDArray[np.float64]:
    """Return the colors (256, 3) of a map."""
    points = np.array([[int(each[at : at + 2], 16) for at in (0, 2, 4)] for each in _MAPS[name].split()])
    place = np.linspace(0, _LEVELS - 1, len(points))
    channels = [np.interp(np.arange(_LEVELS), place, points[:, channel]) for channel in range(3)]
    return np.stack(channels, axis=1)


@cache
def _tabulate_levels(name: str) -> tuple[NDArray[np.uint8], BoolImage]:
    """Return, for each color of six bits a channel, its level on a map, and whether it lies on the map's curve."""
    step = 2 ** (8 - _BITS)
    channel = np.arange(2**_BITS) * step + step / 2
    colors = np.stack(np.meshgrid(channel, channel, channel, indexing="ij"), axis=-1).reshape(-1, 3)
    distance, level = cKDTree(_compute_curve(name)).query(colors)
    return level.astype(np.uint8), distance <= _CURVE_TOLERANCE


def _find_color_map(colors: NDArray[np.uint8]) -> str | None:
    """Return the name of the map on which most colored pixels lie, or None."""
    flat = colors.reshape(-1, 3)
    sample = flat[:: max(len(flat) // _SAMPLE_SIZE, 1)].astype(np.float64)
    sample = sample[np.ptp(sample, axis=1) > _MIN_COLOR_DIFFERENCE]
    if not len(sample):
        return None
    shares = {
        name: float((cKDTree(_compute_curve(name)).query(sample)[0] <= _CURVE_TOLERANCE).mean())
        for name in _MAPS
    }
    best = max(shares, key=lambda name: shares[name])
    return best if shares[best] >= _MIN_SHARE_OF_FIGURE else None


def _invert_color_map(
    colors: NDArray[np.uint8], name: str
) -> tuple[NDArray[np.float32], tuple[str, ...]] | None:
    """Return the levels along a map and warnings, or None if the map does not fill its panel."""
    levels, on_curve = _tabulate_levels(name)
    packed = np.zeros(colors.shape[:2], dtype=np.int32)
    for channel in range(3):
        packed = packed << _BITS | colors[..., channel] >> (8 - _BITS)
    signal, annotated = levels[packed].astype(np.float32), ~on_curve[packed]
    rows, columns = _find_panel(~annotated)
    signal, annotated = signal[rows, columns], annotated[rows, columns]
    if annotated.mean() > 1 - _MIN_SHARE_OF_PANEL:
        return None
    warning = f"The color map ({name}) was inverted; the counts are now limited to its 256 levels."
    if not annotated.any():
        return signal, (warning,)
    return inpaint(signal, annotated), (warning, "Annotations over the pattern were removed.")


def _find_panel(on_curve: BoolImage) -> tuple[slice, slice]:
    """Return the rows and columns of the largest connected region that a map fills."""
    labels, count = scipy.ndimage.label(on_curve)
    if count == 0:
        return slice(None), slice(None)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    largest = int(sizes[1:].argmax()) + 1
    panel = labels == largest
    rows, columns = (np.flatnonzero(panel.any(axis=axis)) for axis in (1, 0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
