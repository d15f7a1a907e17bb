"""Files with several images: which of them is the pattern."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.errors import OptionError
from model.pattern.options import Choice

MOST_SUMMED = 4096
MOST_SUMMED_PIXELS = 2**29


@dataclass(frozen=True)
class Chosen:
    """One image out of several, or some of them.

    Attributes:
        counts: (H, W) or (H, W, colours); of several one upon the other, along a first axis.
        images: that the file holds.
        warnings: that there were others.
    """

    counts: NDArray[Any]
    images: int
    warnings: tuple[str, ...] = ()


def chosen(image_at: Callable[[int], NDArray[Any]], count: int, choice: Choice) -> Chosen:
    """An image of a file.

    Args:
        image_at: reads the image of a number, from 0.
        count: how many there are.
        choice: which is wanted; of several those that there are.

    Raises:
        OptionError: there is no such image.
    """
    if isinstance(choice, range):
        numbers = choice[: max(count - choice.start, 0)]
        if not numbers:
            raise OptionError(f"frame: there is no image {choice.start}; the file holds {count}")
        return Chosen(np.stack([image_at(number) for number in numbers]), count)
    if choice == "sum":
        if count > MOST_SUMMED:
            raise OptionError(
                f"frame: the file holds {count} images; at most {MOST_SUMMED} are summed, so give frame=0 to "
                f"{count - 1}"
            )
        total = image_at(0).astype(np.float32)
        if count * total.size > MOST_SUMMED_PIXELS:
            raise OptionError(
                f"frame: {count} images of this size are too many to sum; give frame=0 to {count - 1}"
            )
        for number in range(1, count):
            total += image_at(number)
        return Chosen(total, count)
    if choice is not None and not 0 <= choice < count:
        raise OptionError(f"frame: there is no image {choice}; the file holds {count}, counted from 0")
    told = "The file holds several images; the first was read. Give frame=1, ... or frame=sum for others."
    return Chosen(image_at(choice or 0), count, (told,) if count > 1 and choice is None else ())
