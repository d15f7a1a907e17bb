"""Colour pictures reduced to the signal that they show: colour maps undone, drawings taken out."""

from functools import cache
from typing import Any

import numpy as np
import scipy.ndimage
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from model.pattern.formats.drawings import filled

BoolImage = NDArray[np.bool_]

# Seventeen colours of each map, evenly spaced; between them it is nearly straight.
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
# How far a pixel's colour may lie from a map's curve, of 255 a channel: JPEG and the straight pieces leave so much.
_ON_THE_CURVE = 16.0
# Of the coloured pixels of a whole figure, which may hold charts too, and of all pixels of the panel kept.
_RECOGNISED, _FILLS_ITS_PANEL = 0.5, 0.85
_SAMPLE = 20_000
# A pixel is coloured where its channels differ by more.
_COLOURED = 24
_MOST_DRAWN = 0.1
_BITS = 6


def signal_of(pixels: NDArray[Any]) -> tuple[NDArray[Any], tuple[str, ...]]:
    """(H, W) signal of a picture (H, W, colours), and what to tell of it.

    Of a colour map that is recognised the signal is the place along it, of other pictures the mean of the channels.
    What is drawn over either, circles and labels in other colours, is replaced by its surroundings; of a figure the
    panel with the pattern is kept. A fourth channel is transparency and left out.
    """
    colours = pixels[..., :3] if pixels.shape[2] >= 3 else pixels[..., :1]
    if colours.shape[2] == 1:
        return colours[..., 0], ()
    spread = np.ptp(colours, axis=2)
    if not spread.any():
        return colours[..., 0], ()
    coloured = spread > _COLOURED * (1 if colours.dtype == np.uint8 else 257)
    share = float(coloured.mean())
    if share == 0:
        return colours.mean(axis=2, dtype=np.float32), ()
    if colours.dtype == np.uint8:
        name = _map_of(colours)
        undone = None if name is None else _undone(colours, name)
        if undone is not None:
            return undone
    if share <= _MOST_DRAWN:
        told = "Coloured drawings over the grey image were taken out of it. Better upload the raw frame."
        return filled(colours.mean(axis=2, dtype=np.float32), coloured), (told,)
    told = "The image is in colour; its mean brightness was used. Better upload the raw frame."
    return colours.mean(axis=2, dtype=np.float32), (told,)


@cache
def _curve(name: str) -> NDArray[np.float64]:
    """(256, 3) the colours of a map."""
    points = np.array([[int(each[at : at + 2], 16) for at in (0, 2, 4)] for each in _MAPS[name].split()])
    place = np.linspace(0, _LEVELS - 1, len(points))
    channels = [np.interp(np.arange(_LEVELS), place, points[:, channel]) for channel in range(3)]
    return np.stack(channels, axis=1)


@cache
def _places(name: str) -> tuple[NDArray[np.uint8], BoolImage]:
    """For each colour of six bits a channel, its place on a map's curve, and whether it lies there."""
    step = 2 ** (8 - _BITS)
    channel = np.arange(2**_BITS) * step + step / 2
    colours = np.stack(np.meshgrid(channel, channel, channel, indexing="ij"), axis=-1).reshape(-1, 3)
    distance, level = cKDTree(_curve(name)).query(colours)
    return level.astype(np.uint8), distance <= _ON_THE_CURVE


def _map_of(colours: NDArray[np.uint8]) -> str | None:
    """The map by which nearly all coloured pixels were drawn, or None."""
    flat = colours.reshape(-1, 3)
    sample = flat[:: max(len(flat) // _SAMPLE, 1)].astype(np.float64)
    sample = sample[np.ptp(sample, axis=1) > _COLOURED]
    if not len(sample):
        return None
    near = {name: float((cKDTree(_curve(name)).query(sample)[0] <= _ON_THE_CURVE).mean()) for name in _MAPS}
    best = max(near, key=lambda name: near[name])
    return best if near[best] >= _RECOGNISED else None


def _undone(colours: NDArray[np.uint8], name: str) -> tuple[NDArray[np.float32], tuple[str, ...]] | None:
    """The places along a map and what to tell, or None where the map does not fill its panel."""
    levels, on_curve = _places(name)
    packed = np.zeros(colours.shape[:2], dtype=np.int32)
    for channel in range(3):
        packed = packed << _BITS | colours[..., channel] >> (8 - _BITS)
    signal, drawn = levels[packed].astype(np.float32), ~on_curve[packed]
    rows, columns = _panel(~drawn)
    signal, drawn = signal[rows, columns], drawn[rows, columns]
    if drawn.mean() > 1 - _FILLS_ITS_PANEL:
        return None
    told = f"The colour map ({name}) was undone; its 256 levels are all that is left of the counts."
    if not drawn.any():
        return signal, (told,)
    return filled(signal, drawn), (told, "What is drawn over the pattern was taken out of it.")


def _panel(on_curve: BoolImage) -> tuple[slice, slice]:
    """The part of a figure that the map fills: the largest region that hangs together."""
    labels, count = scipy.ndimage.label(on_curve)
    if count == 0:
        return slice(None), slice(None)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    largest = int(sizes[1:].argmax()) + 1
    panel = labels == largest
    rows, columns = (np.flatnonzero(panel.any(axis=axis)) for axis in (1, 0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
