"""Assigns groups of very different sizes to splits so that every split gets its share.

Why not scikit-learn's ``StratifiedGroupKFold``: it assigns one group after the other,
never moves a group again, and supports equal folds only. With two dozen uneven subjects its splits
miss the wanted share of a class by 15 percentage points on average, those of this
search by 2 (test_splitting.py).
"""

from __future__ import annotations

import numpy as np

_STARTS = 16  # number of random starts; the best result is returned
_GOOD = 0.005  # a result is good enough if no share is off by more than this
_GROUP_WEIGHT = 0.02  # weight of the share of groups, relative to the share of images
_MISSING = 100.0  # cost of a class that is missing from a side; larger than any other cost
_PAIRS = 5000  # number of exchanges that are tried in one step; with up to 100 groups, all


def allot(
    counts: np.ndarray, shares: np.ndarray, rng: np.random.Generator, needs: np.ndarray
) -> np.ndarray:
    """Return a side (train, val, test, or a fold) for each group.

    This is a local search. Each start assigns the groups at random. Then it
    makes the move of one group, or the exchange of two, that improves the shares
    most, until none improves them. The best of several starts is returned.

    Parameters
    ----------
    counts : ndarray, shape (groups, classes)
        Images of each group in each class.
    shares : ndarray, shape (sides,)
        The wanted fraction of each side, summing to 1.
    rng : numpy.random.Generator
        Source of the random starts.
    needs : ndarray, shape (sides,)
        How important it is that a side has every class; if a class has too
        few groups, the least important sides get none of it.

    Returns
    -------
    ndarray of int, shape (groups,)
    """
    present = (counts > 0).astype(float)
    # For each group: its share of the images and of the groups of each class.
    features = np.stack([counts / counts.sum(axis=0), present / present.sum(axis=0)])
    best = None
    for _ in range(_STARTS):
        side = _improve(features, shares, needs, _random_start(features, shares, rng), rng)
        sums = _sums(features, side, len(shares))
        # First criterion: no class is missing from a side. Second: the shares of images.
        missing = float((needs * (sums[:, 1] < 1e-9).sum(axis=1)).sum())
        worst = round(float(np.abs(sums[:, 0] - shares[:, None]).max()), 12)
        if best is None or (missing, worst) < best[0]:
            best = ((missing, worst), side)
        if worst <= _GOOD:
            break
    return best[1]


def _random_start(features: np.ndarray, shares: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Assign the groups in random order, each to the side that lacks most of its images."""
    images = features[0]
    side = np.zeros(images.shape[0], dtype=int)
    filled = np.zeros((len(shares), images.shape[1]))
    for group in rng.permutation(images.shape[0]):
        behind = ((shares[:, None] - filled) * images[group]).sum(axis=1)
        # Random factors, because sides of equal share would always fill in the same order.
        side[group] = int(np.argmax(behind * rng.uniform(0.5, 1.5, len(shares))))
        filled[side[group]] += images[group]
    return side


def _improve(
    features: np.ndarray,
    shares: np.ndarray,
    needs: np.ndarray,
    side: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """Return `side` after all moves and exchanges that lower the cost."""
    sides, groups = len(shares), len(side)
    side = side.copy()
    for _ in range(20 * groups + 100):
        sums = _sums(features, side, sides)
        now = _cost(sums, shares, needs)
        # Candidate moves: every group to every other side.
        mover, to = np.divmod(np.arange(groups * sides), sides)
        other = side[mover] != to
        mover, to = mover[other], to[other]
        gain, pick = _best(features[:, mover], side[mover], to, sums, now, shares, needs)
        step = [(mover[pick], to[pick])]
        # Candidate exchanges: pairs of groups on different sides, or a sample of the pairs.
        every = groups * (groups - 1) // 2 <= _PAIRS
        one, two = np.triu_indices(groups, 1) if every else rng.integers(groups, size=(2, _PAIRS))
        apart = side[one] != side[two]
        one, two = one[apart], two[apart]
        if len(one):
            change = features[:, one] - features[:, two]
            swap_gain, pick = _best(change, side[one], side[two], sums, now, shares, needs)
            if swap_gain < gain - 1e-12:
                gain = swap_gain
                step = [(one[pick], side[two[pick]]), (two[pick], side[one[pick]])]
        if gain > -1e-10:
            return side
        for group, to_side in step:
            side[group] = to_side
    return side


def _best(
    change: np.ndarray,
    source: np.ndarray,
    to: np.ndarray,
    sums: np.ndarray,
    now: np.ndarray,
    shares: np.ndarray,
    needs: np.ndarray,
) -> tuple[float, int]:
    """Return the lowest change of cost among the candidates, and the index of that one."""
    change = np.moveaxis(change, 0, 1)  # (candidates, 2, classes)
    after = _cost(sums[source] - change, shares[source], needs[source])
    after += _cost(sums[to] + change, shares[to], needs[to])
    # Rounding makes ties break the same way on every machine.
    saving = np.round(after - now[source] - now[to], 12)
    pick = int(np.argmin(saving))
    return float(saving[pick]), pick


def _sums(features: np.ndarray, side: np.ndarray, sides: int) -> np.ndarray:
    """Return the shares of images and of groups on each side, shape (sides, 2, classes)."""
    sums = np.zeros((sides, *features.shape[::2]))
    np.add.at(sums, side, np.moveaxis(features, 0, 1))
    return sums


def _cost(sums: np.ndarray, shares: np.ndarray, needs: np.ndarray) -> np.ndarray:
    """Return the cost of each side; `sums` has shape (n, 2, classes), the others (n,)."""
    off = (sums - shares[:, None, None]) ** 2
    missing = (sums[:, 1] < 1e-9).sum(axis=1)
    return (
        off[:, 0].sum(axis=1) + _GROUP_WEIGHT * off[:, 1].sum(axis=1) + _MISSING * needs * missing
    )
