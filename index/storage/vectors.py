"""The vectors of an index and the nearest-neighbor search; no other module imports faiss."""

from pathlib import Path
from typing import Any, Self

import faiss
import numpy as np
from numpy.typing import NDArray

from index.storage.layout import USER_STRUCTURES_NAME, VECTORS_NAME
from model.errors import IndexDamagedError, IndexUnavailableError

FloatVectors = NDArray[np.float32]

MAX_NORM_ERROR = 1e-3
"""Largest deviation of a unit vector's length from 1; the towers normalize in float32."""
_BLOCK_ROWS = 65536

# Maps the file into memory; the older IO_FLAG_MMAP reads flat indexes as a whole.
_MAPPED = faiss.IO_FLAG_MMAP_IFC | faiss.IO_FLAG_READ_ONLY


def write_vectors(path: Path, vectors: FloatVectors) -> None:
    """Write (N, D) unit vectors as a flat inner-product index."""
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(np.ascontiguousarray(vectors, dtype=np.float32))
    faiss.write_index(index, str(path))


def find_unit_rows(vectors: FloatVectors) -> NDArray[np.bool_]:
    """Return (N,) whether each of (N, D) vectors is finite and of unit length."""
    with np.errstate(over="ignore", invalid="ignore"):
        square = np.einsum("nd,nd->n", vectors, vectors)
    return np.asarray(np.abs(square - 1.0) <= 2 * MAX_NORM_ERROR)


def _check_similarities(similarity: FloatVectors) -> FloatVectors:
    """Return cosines, unless one of them cannot be a cosine.

    Raises:
        IndexDamagedError: it cannot.
    """
    if not (np.abs(similarity) <= 1.0 + MAX_NORM_ERROR).all():
        raise IndexDamagedError(
            "A similarity is not a number from -1 to 1, so the vectors of the index or of the pattern are damaged; run "
            "`dd2d index verify`."
        )
    return similarity


class Vectors:
    """An open vector file; safe to search from several threads.

    Args:
        index: a flat faiss index.
        appended: another one, whose rows follow.
    """

    def __init__(self, index: "faiss.IndexFlat", appended: "faiss.IndexFlat | None" = None) -> None:
        self._index = index
        self._appended = appended

    @classmethod
    def open(cls, path: Path) -> Self:
        """Map a vector file into memory, read-only.

        Raises:
            IndexUnavailableError: missing, damaged, or not a flat inner-product index.
            IndexDamagedError: a vector is not finite or not of unit length.
        """
        try:
            index = faiss.read_index(str(path), _MAPPED)
        except RuntimeError as error:
            raise IndexUnavailableError(
                f"The vectors in {path.name} cannot be read; build the index again."
            ) from error
        if not isinstance(index, faiss.IndexFlat) or index.metric_type != faiss.METRIC_INNER_PRODUCT:
            raise IndexUnavailableError(
                f"{path.name} is not a flat inner-product index; build the index again."
            )
        wrong = sum(
            int((~find_unit_rows(block)).sum())
            for block in np.array_split(_view(index), 1 + int(index.ntotal) // _BLOCK_ROWS)
        )
        if wrong:
            raise IndexDamagedError(
                f"{wrong} vectors in {path.name} do not have unit length; build the index again.", path
            )
        return cls(index)

    def append(self, vectors: FloatVectors) -> Self:
        """Return these vectors followed by (M, D) others; the file stays mapped, and this object is unchanged.

        Args:
            vectors: unit vectors, or zeros for crystals that only their lattices find.

        Raises:
            IndexDamagedError: one is neither.
        """
        if not (find_unit_rows(vectors) | (vectors == 0.0).all(axis=1)).all():
            raise IndexDamagedError(
                "The vector of a user structure does not have unit length; restore the file of the user structures."
            )
        appended = faiss.IndexFlatIP(self.dimension)
        appended.add(np.ascontiguousarray(vectors, dtype=np.float32))
        return type(self)(self._index, appended)

    def __len__(self) -> int:
        return int(self._index.ntotal) + (0 if self._appended is None else int(self._appended.ntotal))

    @property
    def dimension(self) -> int:
        """D, length of a vector."""
        return int(self._index.d)

    def list_arrays(self) -> dict[str, FloatVectors]:
        """Return the vectors in memory by what they are called in messages; nothing is copied."""
        arrays = {f"vectors ({VECTORS_NAME})": _view(self._index)}
        if self._appended is not None:
            arrays[f"vectors ({USER_STRUCTURES_NAME})"] = _view(self._appended)
        return arrays

    def search(
        self, query: FloatVectors, count: int, allowed: NDArray[np.uint8] | None = None
    ) -> tuple[FloatVectors, NDArray[np.int64]]:
        """Return the nearest vectors by inner product, best first.

        Args:
            query: (D,).
            count: number of vectors requested; fewer are returned if fewer are allowed.
            allowed: packed bits from `ElementBits.select`; None allows all.

        Returns:
            (K,) inner products and (K,) rows.

        Raises:
            IndexUnavailableError: the query has another dimension.
            IndexDamagedError: the query is not a unit vector, or a product is no cosine.
        """
        if query.shape != (self.dimension,):
            raise IndexUnavailableError(
                f"The query has the shape {query.shape}, but the index has vectors of length {self.dimension}; use "
                "the model with which the index was built."
            )
        check_pattern_vectors(query[None])
        # The setting belongs to the calling thread. One query is too small a product to split, and a service runs
        # several at once.
        faiss.omp_set_num_threads(1)
        scores, rows = _search(self._index, query, count, allowed)
        if self._appended is None:
            return _check_similarities(scores), rows
        first = int(self._index.ntotal)
        allowed_appended = None if allowed is None else _slice_bits(allowed, first, len(self))
        other_scores, other_rows = _search(self._appended, query, count, allowed_appended)
        scores, rows = np.concatenate([scores, other_scores]), np.concatenate([rows, first + other_rows])
        best = np.argsort(-scores, kind="stable")[:count]
        return _check_similarities(scores[best]), rows[best]

    def compare(self, queries: FloatVectors, rows: NDArray[np.int64]) -> FloatVectors:
        """Return the (Q, K) inner products of (Q, D) unit vectors with the vectors of these rows.

        Raises:
            IndexDamagedError: a query is not a unit vector, or a product is no cosine.
        """
        check_pattern_vectors(queries)
        return _check_similarities(queries @ self.read_rows(rows).T)

    def read_rows(self, rows: NDArray[np.int64]) -> FloatVectors:
        """Return the (K, D) vectors of these rows."""
        if self._appended is None:
            mapped: FloatVectors = self._index.reconstruct_batch(rows)
            return mapped
        first = int(self._index.ntotal)
        is_appended = rows >= first
        vectors = np.empty((len(rows), self.dimension), dtype=np.float32)
        vectors[~is_appended] = self._index.reconstruct_batch(rows[~is_appended])
        vectors[is_appended] = self._appended.reconstruct_batch(rows[is_appended] - first)
        return vectors


def check_pattern_vectors(vectors: FloatVectors) -> None:
    """Reject (N, D) vectors of patterns that sound weights cannot make.

    Raises:
        IndexDamagedError: one is not finite, or not of unit length.
    """
    if not find_unit_rows(vectors).all():
        raise IndexDamagedError(
            "The model's vector of the pattern does not have unit length, so the weights may be damaged; restart the "
            "service."
        )


def _view(index: "faiss.IndexFlat") -> FloatVectors:
    """Return the (N, D) vectors of a flat index where they are."""
    count, dimension = int(index.ntotal), int(index.d)
    if not count:
        return np.empty((0, dimension), dtype=np.float32)
    flat: FloatVectors = faiss.rev_swig_ptr(index.get_xb(), count * dimension)
    return flat.reshape(count, dimension)


def _search(
    index: "faiss.IndexFlat", query: FloatVectors, count: int, allowed: NDArray[np.uint8] | None
) -> tuple[FloatVectors, NDArray[np.int64]]:
    parameters = None
    if allowed is not None:
        bitmap = np.ascontiguousarray(allowed, dtype=np.uint8)
        # faiss's stubs have its C++ constructors, not those that its Python wrapper adds.
        selector: Any = faiss.IDSelectorBitmap(bitmap)  # type: ignore[call-arg, arg-type]
        parameters = faiss.SearchParameters(sel=selector)  # type: ignore[call-arg]
    scores, rows = index.search(
        np.ascontiguousarray(query[None], dtype=np.float32), min(count, int(index.ntotal)), params=parameters
    )
    is_row = rows[0] >= 0
    return scores[0][is_row], rows[0][is_row]


def _slice_bits(allowed: NDArray[np.uint8], first: int, count: int) -> NDArray[np.uint8]:
    """Return the packed bits of the rows from `first` on, of `count` rows."""
    return np.packbits(np.unpackbits(allowed, count=count, bitorder="little")[first:], bitorder="little")
