"""Where the truth stands among all candidates."""

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
Index = NDArray[np.int64]

QUERIES_AT_ONCE = 512


def rank_truth(
    vectors: Vectors, gallery_vectors: Vectors, query_groups: Index, gallery_groups: Index
) -> Index:
    """How many crystals lie nearer to each query than the truth or a duplicate of it.

    Args:
        vectors: (Q, D) unit vectors of the queries.
        gallery_vectors: (K, D) unit vectors of the gallery.
        query_groups: (Q,) number that the true crystal shares with its duplicates.
        gallery_groups: (K,) the same for the gallery.

    Returns:
        (Q,) ranks from 0; the gallery's size where it does not hold the truth.
    """
    ranks = np.empty(len(vectors), dtype=np.int64)
    for start in range(0, len(vectors), QUERIES_AT_ONCE):
        rows = slice(start, start + QUERIES_AT_ONCE)
        similarity = vectors[rows] @ gallery_vectors.T
        same = query_groups[rows, None] == gallery_groups
        best = np.where(same, similarity, -np.inf).max(axis=1, keepdims=True)
        ranks[rows] = np.where(
            np.isneginf(best[:, 0]), len(gallery_vectors), ((similarity > best) & ~same).sum(axis=1)
        )
    return ranks


def top_k(ranks: Index, levels: tuple[int, ...] = (1, 3, 5, 10, 100)) -> dict[str, float]:
    """Share of queries whose truth is among the first k."""
    return {f"top{k}": round(float((ranks < k).mean()), 4) for k in levels}
