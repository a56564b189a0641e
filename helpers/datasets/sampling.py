"""Which rows of a data set are used: those with one class only, and a sample of many."""

from __future__ import annotations

import hashlib
from collections import defaultdict

import numpy as np

from helpers.datasets.files import LeftOut, Memory


def of_one_class(rows: list[dict], memory: Memory) -> tuple[list[dict], list[LeftOut]]:
    """Leave out images whose bytes have two labels: it is unknown which one is right.

    Parameters
    ----------
    rows : list of dict
        With `image_id`, `label` and `file`.
    memory : Memory
        Of the data folder.

    Returns
    -------
    rows : list of dict
    left_out : list of (path, reason)
    """
    digests = memory.hashes(row["file"] for row in rows)
    same: dict[str, list[dict]] = defaultdict(list)
    for row, digest in zip(rows, digests, strict=True):
        same[digest].append(row)
    kept, left_out = [], []
    for row, digest in zip(rows, digests, strict=True):
        others = [one["image_id"] for one in same[digest] if one["label"] != row["label"]]
        if others:
            left_out.append((row["file"].relative, f"same bytes as {others[0]}, of another class"))
        else:
            kept.append(row)
    return kept, left_out


def take(rows: list[dict], most: int | None, seed: int) -> list[dict]:
    """Return at most `most` rows: classes in proportion, subjects as evenly as possible.

    Parameters
    ----------
    rows : list of dict
        With `image_id`, `label`, `subject` and `split`.
    most : int or None
        None returns all.
    seed : int
        The choice depends on the seed and on the ids of the images. It does not depend
        on the order of `rows` or on other images.

    Returns
    -------
    list of dict
        In the order of `rows`. Each class of each part (the release's test set, or
        the rest) gets its share by largest remainder, at least one image. Within a
        class, no subject gives a second image before every subject has given one.
    """
    if most is None or len(rows) <= most:
        return rows
    strata: dict[tuple, list[dict]] = defaultdict(list)
    for row in rows:
        strata[row["split"], row["label"]].append(row)
    names = sorted(strata)
    shares = _shares([len(strata[name]) for name in names], most)
    kept: set[str] = set()
    for name, share in zip(names, shares, strict=True):
        kept |= _evenly(strata[name], share, seed)
    return [row for row in rows if row["image_id"] in kept]


def _shares(sizes: list[int], most: int) -> list[int]:
    """Return how many images each group gives: in proportion to its size, at least one."""
    exact = np.asarray(sizes) * most / sum(sizes)
    shares = np.maximum(1, np.floor(exact)).astype(int)
    for group in np.argsort(-(exact - np.floor(exact)), kind="stable"):
        if shares.sum() < most and shares[group] < sizes[group]:
            shares[group] += 1
    while shares.sum() > max(most, len(sizes)):
        shares[np.argmax(shares)] -= 1
    return shares.tolist()


def _evenly(rows: list[dict], share: int, seed: int) -> set[str]:
    """Return the ids of `share` images: the subjects take turns in a random order."""

    def rank(text: str) -> str:
        return hashlib.sha256(f"{seed}:{text}".encode()).hexdigest()

    turns: dict[str, int] = defaultdict(int)
    order = []
    for row in sorted(rows, key=lambda row: rank(row["image_id"])):
        order.append((turns[row["subject"]], rank(row["subject"]), row["image_id"]))
        turns[row["subject"]] += 1
    return {image_id for _, _, image_id in sorted(order)[:share]}
