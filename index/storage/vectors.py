"""The vectors of an index and the search among them: the only file that imports faiss."""

from pathlib import Path
from typing import Any, Self

import faiss
import numpy as np
from numpy.typing import NDArray

from model.errors import IndexUnavailableError

FloatVectors = NDArray[np.float32]

# Maps the file instead of reading it; the older IO_FLAG_MMAP reads flat indexes into memory.
_MAPPED = faiss.IO_FLAG_MMAP_IFC | faiss.IO_FLAG_READ_ONLY


def write_vectors(path: Path, vectors: FloatVectors) -> None:
    """Write unit vectors as an exact inner-product index.

    Args:
        path: file to make.
        vectors: (N, D).
    """
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(np.ascontiguousarray(vectors, dtype=np.float32))
    faiss.write_index(index, str(path))


class Vectors:
    """An opened vector file; searching is safe from several threads at once.

    Args:
        index: a flat faiss index.
        more: another one, whose rows follow.
    """

    def __init__(self, index: "faiss.IndexFlat", more: "faiss.IndexFlat | None" = None) -> None:
        self._index = index
        self._more = more

    @classmethod
    def open(cls, path: Path) -> Self:
        """Memory-mapped, read-only.

        Raises:
            IndexUnavailableError: missing, damaged, or no flat inner-product index.
        """
        try:
            index = faiss.read_index(str(path), _MAPPED)
        except RuntimeError as error:
            raise IndexUnavailableError(
                f"the vectors in {path.name} cannot be read; build the index again"
            ) from error
        if not isinstance(index, faiss.IndexFlat) or index.metric_type != faiss.METRIC_INNER_PRODUCT:
            raise IndexUnavailableError(
                f"{path.name} is not a flat inner-product index; build the index again"
            )
        return cls(index)

    def append(self, vectors: FloatVectors) -> Self:
        """These and more after them, (M, D); the file stays mapped, and what is open already is not touched."""
        more = faiss.IndexFlatIP(self.dimension)
        more.add(np.ascontiguousarray(vectors, dtype=np.float32))
        return type(self)(self._index, more)

    def __len__(self) -> int:
        return int(self._index.ntotal) + (0 if self._more is None else int(self._more.ntotal))

    @property
    def dimension(self) -> int:
        """D, length of a vector."""
        return int(self._index.d)

    def search(
        self, query: FloatVectors, count: int, allowed: NDArray[np.uint8] | None = None
    ) -> tuple[FloatVectors, NDArray[np.int64]]:
        """The nearest vectors by inner product, best first.

        Args:
            query: (D,).
            count: how many are wanted; fewer come back when fewer are allowed.
            allowed: packed bits as `ElementBits.select` makes them; None allows all.

        Returns:
            (K,) inner products and (K,) rows.

        Raises:
            IndexUnavailableError: a query of another dimension.
        """
        if query.shape != (self.dimension,):
            raise IndexUnavailableError(
                f"a query of shape {query.shape} for vectors of {self.dimension}: use the index's own model"
            )
        # The setting belongs to the calling thread. One query is too small a product to share out, and a
        # service runs several at once.
        faiss.omp_set_num_threads(1)
        scores, rows = _nearest(self._index, query, count, allowed)
        if self._more is None:
            return scores, rows
        first = int(self._index.ntotal)
        behind = None if allowed is None else _bits_from(allowed, first, len(self))
        other_scores, other_rows = _nearest(self._more, query, count, behind)
        scores, rows = np.concatenate([scores, other_scores]), np.concatenate([rows, first + other_rows])
        best = np.argsort(-scores, kind="stable")[:count]
        return scores[best], rows[best]

    def rows(self, wanted: NDArray[np.int64]) -> FloatVectors:
        """(K, D) the vectors in these rows."""
        if self._more is None:
            mapped: FloatVectors = self._index.reconstruct_batch(wanted)
            return mapped
        first = int(self._index.ntotal)
        behind = wanted >= first
        vectors = np.empty((len(wanted), self.dimension), dtype=np.float32)
        vectors[~behind] = self._index.reconstruct_batch(wanted[~behind])
        vectors[behind] = self._more.reconstruct_batch(wanted[behind] - first)
        return vectors


def _nearest(
    index: "faiss.IndexFlat", query: FloatVectors, count: int, allowed: NDArray[np.uint8] | None
) -> tuple[FloatVectors, NDArray[np.int64]]:
    parameters = None
    if allowed is not None:
        bitmap = np.ascontiguousarray(allowed, dtype=np.uint8)
        # faiss's stubs know its C++ constructors and not those that its Python wrapper adds.
        selector: Any = faiss.IDSelectorBitmap(bitmap)  # type: ignore[call-arg, arg-type]
        parameters = faiss.SearchParameters(sel=selector)  # type: ignore[call-arg]
    scores, rows = index.search(
        np.ascontiguousarray(query[None], dtype=np.float32), min(count, int(index.ntotal)), params=parameters
    )
    found = rows[0] >= 0
    return scores[0][found], rows[0][found]


def _bits_from(allowed: NDArray[np.uint8], first: int, count: int) -> NDArray[np.uint8]:
    """The packed bits of the rows from `first` on, of `count` in all."""
    return np.packbits(np.unpackbits(allowed, count=count, bitorder="little")[first:], bitorder="little")
