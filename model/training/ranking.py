"""Ranks of the true crystals among all candidates."""

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
Index = NDArray[np.int64]

QUERIES_AT_ONCE = 512


def rank_truth(
    vectors: Vectors, gallery_vectors: Vectors, query_groups: Index, gallery_groups: Index
) -> Index:
    """Count the crystals that are nearer to each query than the true crystal and its duplicates.

    Args:
        vectors: (Q, D) unit vectors of the queries.
        gallery_vectors: (K, D) unit vectors of the gallery.
        query_groups: (Q,) duplicate group of each true crystal.
        gallery_groups: (K,) duplicate group of each crystal in the gallery.

    Returns:
        (Q,) ranks from 0; the size of the gallery if the true crystal is not in it.
    """
    ranks = np.empty(len(vectors), dtype=np.int64)
    for start in range(0, len(vectors), QUERIES_AT_ONCE):
        rows = slice(start, start + QUERIES_AT_ONCE)
        similarity = vectors[rows] @ gallery_vectors.T
        same = query_groups[rows, None] == gallery_groups
        best = np.where(same, similarity, -np.inf).max(axis=1, keepdims=True)
        nearer = ((similarity > best) & ~same).sum(axis=1)
        ranks[rows] = np.where(np.isneginf(best[:, 0]), len(gallery_vectors), nearer)
    return ranks


def compute_top_k(ranks: Index, levels: tuple[int, ...] = (1, 3, 5, 10, 100)) -> dict[str, float]:
    """Return the share of queries with the true crystal among the first k."""
    return {f"top{k}": round(float((ranks < k).mean()), 4) for k in levels}
