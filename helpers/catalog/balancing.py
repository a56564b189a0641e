"""Answers to unequal classes: copies as in the papers, weights, balanced batches.

All three touch the training rows alone: validation and test sets keep the mix
of classes that they came with, or their figures would answer another question.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from helpers import catalog as catalogs
from helpers.base.errors import CatalogError
from helpers.catalog.augmentation import TRANSFORMS

#: What the papers turn and mirror with (shreya: flips, or 90, 180, 270 degrees).
PAPER_TRANSFORMS = ("flip_horizontal", "flip_vertical", "rot90", "rot180", "rot270")


def balance_by_copies(
    catalog: pd.DataFrame, seed: int = 24, transforms: Sequence[str] = PAPER_TRANSFORMS
) -> pd.DataFrame:
    """Return the catalog with training classes of one size: the papers' way.

    The size is the mean of the classes' sizes, rounded down: 4432 `all` and
    1964 `hem` become 3198 and 3198. Of a larger class images drawn at random
    are left out; a smaller class gets mirrored and turned copies.

    Parameters
    ----------
    catalog : pandas.DataFrame
        Split, without copies; left as it is.
    seed : int
        From which the draw follows; the order of the rows does not matter.
    transforms : sequence of str
        Names from :data:`helpers.catalog.augmentation.TRANSFORMS` but ``identity``. The
        others of them are taken only when these are used up.

    Returns
    -------
    pandas.DataFrame
        The rows of `catalog` in their order, those left out with `split` ``""``,
        then the copies: `image_id` is ``<original>+<transform>``, all else as in
        the original's row. No image gets a second copy before every image of its
        class has one, and none gets the same transform twice.

    Raises
    ------
    CatalogError
        When no row is in training, a class is not in training, the catalog holds
        copies already, a transform is unknown, or a class is so small that all
        its symmetries do not fill it up.
    """
    train = _training(catalog)
    if (catalog["original"] != "").any():
        raise CatalogError("The catalog holds augmented copies already: balance it once.")
    allowed = TRANSFORMS[1:]  # a copy by identity would be the image itself
    unknown = sorted(set(transforms) - set(allowed))
    if unknown:
        raise CatalogError(f"Unknown transforms {unknown}; known are {', '.join(allowed)}.")
    sizes = train.groupby("label").size()
    missing = sorted(set(catalog["label"]) - {catalogs.UNLABELLED} - set(sizes.index))
    if missing or len(sizes) < 2:
        raise CatalogError(
            f"The training split holds only {sorted(sizes.index)}: with one class missing "
            "there is nothing to balance."
        )
    goal = int(sizes.sum()) // len(sizes)
    rng = np.random.default_rng(seed)
    result, copies = catalog.copy(), []
    for label, size in sizes.items():
        members = train[train["label"] == label].sort_values("image_id").index.to_numpy()
        if size >= goal:
            out = rng.permutation(members)[goal:]
            result.loc[out, "split"] = ""
            continue
        if goal - size > size * len(allowed):
            raise CatalogError(
                f"Class {label!r} has {size} training images; even all {len(allowed)} symmetries "
                f"of each do not make the {goal} wanted: use class_weights or balanced_batches."
            )
        copies.append(_copies(catalog, members, goal - size, tuple(transforms), rng))
    if copies:
        result = pd.concat([result, *copies], ignore_index=True)
    return catalogs.check(result)


def class_weights(catalog: pd.DataFrame) -> dict[int, float]:
    """Return the weight of each class, 0 and 1, for the `class_weight` of Keras' ``fit``.

    A class weighs n / (2 * its images), so that both count the same in the loss
    and an image weighs 1 on average.

    Parameters
    ----------
    catalog : pandas.DataFrame
        Split; only its training rows are counted.

    Raises
    ------
    CatalogError
        When no row is in training or all are of one side.
    """
    targets = catalogs.target(_training(catalog))
    sizes = np.bincount(targets, minlength=2)
    if (sizes == 0).any():
        raise CatalogError(
            f"The training split holds {sizes[0]} negative and {sizes[1]} positive images: "
            "a class without images has no weight."
        )
    return {side: float(len(targets) / (2 * size)) for side, size in enumerate(sizes)}


def balanced_batches(
    targets: Sequence | np.ndarray, batch_size: int = 32, seed: int = 24, epoch: int = 0
) -> Iterator[np.ndarray]:
    """Yield the batches of one epoch, each with as many images of one class as of the other.

    An epoch has as many batches as it takes to show ``len(targets)`` images. The
    smaller class is gone through again and again, shuffled anew each time; of the
    larger one another part is seen in every epoch.

    Parameters
    ----------
    targets : sequence, shape (n,)
        The class of each training image: numbers or names.
    batch_size : int
        A multiple of the number of classes.
    seed, epoch : int
        From which the order follows; no state is kept between epochs.

    Yields
    ------
    ndarray of int, shape (batch_size,)
        Positions in `targets`, shuffled.

    Raises
    ------
    CatalogError
        At the first batch, when there are fewer than two classes or `batch_size`
        is not a multiple of their number.
    """
    names, classes = np.unique(np.asarray(targets), return_inverse=True)
    if len(names) < 2:
        raise CatalogError(f"All {len(classes)} targets are of one class: nothing to balance.")
    if batch_size < len(names) or batch_size % len(names):
        raise CatalogError(
            f"The batch size is {batch_size}, but must be a multiple of the {len(names)} classes."
        )
    rng = np.random.default_rng([seed, epoch])
    batches = math.ceil(len(classes) / batch_size)
    each = batch_size // len(names)
    columns = [
        _in_rounds(np.flatnonzero(classes == number), batches * each, rng).reshape(batches, each)
        for number in range(len(names))
    ]
    for batch in np.concatenate(columns, axis=1):
        yield rng.permutation(batch)


def _in_rounds(members: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Return `count` of `members`: all of them in random order, again and again."""
    rounds = math.ceil(count / len(members))
    return np.concatenate([rng.permutation(members) for _ in range(rounds)])[:count]


def _training(catalog: pd.DataFrame) -> pd.DataFrame:
    """Return the training rows of a checked catalog."""
    train = catalogs.check(catalog)[catalog["split"] == "train"]
    if not catalog.index.is_unique:
        raise CatalogError("The catalog's index has repeated entries: call reset_index(drop=True).")
    if train.empty:
        raise CatalogError(
            "The catalog has no training rows: split it first, by subject "
            "(helpers.catalog.splitting)."
        )
    return train


def _copies(
    catalog: pd.DataFrame,
    members: np.ndarray,
    count: int,
    transforms: tuple[str, ...],
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Return rows of `count` copies: each image once before any image twice."""
    spare = tuple(name for name in TRANSFORMS[1:] if name not in transforms)
    # Each image goes through the transforms in an order of its own.
    orders = [
        [*rng.permutation(transforms).tolist(), *rng.permutation(spare).tolist()] for _ in members
    ]
    chosen = [
        (int(place), turn)
        for turn in range(math.ceil(count / len(members)))
        for place in rng.permutation(len(members))
    ][:count]
    copies = catalog.loc[[members[place] for place, _ in chosen]].copy()
    copies["transform"] = [orders[place][turn] for place, turn in chosen]
    copies["original"] = copies["image_id"]
    copies["image_id"] = copies["original"] + "+" + copies["transform"]
    return copies
