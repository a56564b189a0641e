"""Dealing out groups of very different sizes so that every side gets its share."""

from __future__ import annotations

import numpy as np

_STARTS = 16  # random starts; the end point nearest to the shares wins
_GOOD = 0.005  # a start that ends this near to every wanted share is taken at once
_GROUP_WEIGHT = 0.02  # how much the share of groups counts beside the share of images
_MISSING = 100.0  # a side without a class costs more than any unevenness
_PAIRS = 4000  # exchanges looked at in one step


def allot(
    counts: np.ndarray, shares: np.ndarray, rng: np.random.Generator, needs: np.ndarray
) -> tuple[np.ndarray, float]:
    """Return a side for each group so that each class comes near to its shares.

    Local search: deal at random, then make the single move or exchange of two
    groups that gains most, until none gains; the best of several starts.

    Parameters
    ----------
    counts : ndarray, shape (groups, classes)
        Images of each group in each class.
    shares : ndarray, shape (sides,)
        The wanted fraction of each side, summing to 1.
    rng : numpy.random.Generator
        Source of the random starts.
    needs : ndarray, shape (sides,)
        How badly a side needs every class, where there are too few groups.

    Returns
    -------
    side : ndarray of int, shape (groups,)
    worst : float
        The largest distance of any class's share of images from the wanted one.
    """
    present = (counts > 0).astype(float)
    # Features of a group: its part of the images and of the groups of each class.
    features = np.stack([counts / counts.sum(axis=0), present / present.sum(axis=0)])
    best = None
    for _ in range(_STARTS):
        side = _climb(features, shares, needs, _deal(features, shares, rng), rng)
        sums = _sums(features, side, len(shares))
        # No class missing that need not be is first; then the images of every class.
        missing = float((needs * (sums[:, 1] < 1e-9).sum(axis=1)).sum())
        worst = round(float(np.abs(sums[:, 0] - shares[:, None]).max()), 12)
        if best is None or (missing, worst) < best[0]:
            best = ((missing, worst), side)
        if worst <= _GOOD:
            break
    return best[1], best[0][1]


def _deal(features: np.ndarray, shares: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a random start: each group, in random order, to the side furthest behind."""
    images = features[0]
    side = np.zeros(images.shape[0], dtype=int)
    filled = np.zeros((len(shares), images.shape[1]))
    for group in rng.permutation(images.shape[0]):
        behind = ((shares[:, None] - filled) * images[group]).sum(axis=1)
        # A little noise keeps sides of equal share from always filling in one order.
        side[group] = int(np.argmax(behind * rng.uniform(0.5, 1.5, len(shares))))
        filled[side[group]] += images[group]
    return side


def _climb(
    features: np.ndarray,
    shares: np.ndarray,
    needs: np.ndarray,
    side: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """Return `side` improved by single moves and exchanges until none improves it."""
    sides, groups = len(shares), len(side)
    first, second = np.triu_indices(groups, 1) if groups <= 400 else (None, None)
    side = side.copy()
    for _ in range(20 * groups + 100):
        sums = _sums(features, side, sides)
        now = _cost(sums, shares, needs)
        # Moves: every group to every side.
        mover, to = np.divmod(np.arange(groups * sides), sides)
        other = side[mover] != to
        mover, to = mover[other], to[other]
        gain, pick = _best(features[:, mover], side[mover], to, sums, now, shares, needs)
        step = [(mover[pick], to[pick])]
        # Exchanges: pairs of groups on different sides, a sample where they are many.
        if first is not None and len(first) <= _PAIRS:
            one, two = first, second
        elif first is not None:
            sample = rng.choice(len(first), _PAIRS, replace=False)
            one, two = first[sample], second[sample]
        else:
            one, two = rng.integers(groups, size=(2, _PAIRS))
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
    """Return the largest saving among candidate changes (negative is better) and its place."""
    change = np.moveaxis(change, 0, 1)  # (candidates, 2, classes)
    after = _cost(sums[source] - change, shares[source], needs[source])
    after += _cost(sums[to] + change, shares[to], needs[to])
    # Rounded so that ties fall the same way on every machine.
    saving = np.round(after - now[source] - now[to], 12)
    pick = int(np.argmin(saving))
    return float(saving[pick]), pick


def _sums(features: np.ndarray, side: np.ndarray, sides: int) -> np.ndarray:
    """Return the parts of images and of groups on each side, shape (sides, 2, classes)."""
    sums = np.zeros((sides, *features.shape[::2]))
    np.add.at(sums, side, np.moveaxis(features, 0, 1))
    return sums


def _cost(sums: np.ndarray, shares: np.ndarray, needs: np.ndarray) -> np.ndarray:
    """Return what each side costs; `sums` of shape (n, 2, classes), `shares`, `needs` (n,)."""
    off = (sums - shares[:, None, None]) ** 2
    missing = (sums[:, 1] < 1e-9).sum(axis=1)
    return (
        off[:, 0].sum(axis=1) + _GROUP_WEIGHT * off[:, 1].sum(axis=1) + _MISSING * needs * missing
    )
