"""Three ways to deal with unequal classes: copies as in Shreya's report, weights, balanced batches.

All three change the training rows only. Validation and test sets keep their class
proportions: with other proportions their figures would mean something else.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from helpers import catalog as catalogs
from helpers.base import arguments
from helpers.base.errors import CatalogError

#: The transforms of that report (flips, or rotations by 90, 180, 270 degrees).
PAPER_TRANSFORMS = ("flip_horizontal", "flip_vertical", "rot90", "rot180", "rot270")
_LARGEST = 1 << 20  # batch
_SPARE = ("transpose", "antitranspose")  # the other symmetries, without identity


def balance_by_copies(catalog: pd.DataFrame, seed: int = 24) -> pd.DataFrame:
    """Return the catalog with training classes of equal size, as in Shreya's report.

    The size is the mean of the classes' sizes, rounded down: 4432 `all` and
    1964 `hem` become 3198 and 3198. From a larger class, images drawn at random
    are left out. A smaller class gets mirrored and rotated copies. Their transforms are
    `PAPER_TRANSFORMS`, and the two transposes only where these are not enough.

    Parameters
    ----------
    catalog : pandas.DataFrame
        Split, without copies; it is not changed.
    seed : int
        Seed of the random draw; the order of the rows has no influence.

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
        When there are no training rows, a class has none, the catalog has copies
        already, or a class is so small that even all transforms of its images are too few.
    """
    catalog, train = _training(catalog)
    arguments.whole("The seed", seed, CatalogError)
    if (catalog["original"] != "").any():
        raise CatalogError("The catalog holds augmented copies already: balance it once.")
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
        if goal > 8 * size:
            raise CatalogError(
                f"Class {label!r} has {size} training images; even all 7 symmetries "
                f"of each give fewer than the {goal} wanted: use class_weights or balanced_batches."
            )
        copies.append(_copies(catalog.loc[members], goal - size, rng))
    if copies:
        result = pd.concat([result, *copies], ignore_index=True)
    return catalogs.check(result)


def class_weights(catalog: pd.DataFrame) -> dict[int, float]:
    """Return the weight of each class, 0 and 1, for the `class_weight` of Keras' ``fit``.

    The weight is n / (2 * number of the class's images). Both classes then count the
    same in the loss, and the mean weight of an image is 1.

    Parameters
    ----------
    catalog : pandas.DataFrame
        Split; only its training rows are counted.

    Raises
    ------
    CatalogError
        When there are no training rows, or all are of one class.
    """
    targets = catalogs.target(_training(catalog)[1])
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
    """Yield the batches of one epoch, each with equally many images of every class.

    An epoch shows ``len(targets)`` images. The images of a smaller class are repeated,
    in a new random order each time; of a larger class, every epoch shows another part.

    Parameters
    ----------
    targets : sequence, shape (n,)
        The class of each training image: numbers or names.
    batch_size : int
        A multiple of the number of classes.
    seed, epoch : int
        Seeds of the order; no state is kept between epochs.

    Yields
    ------
    ndarray of int, shape (batch_size,)
        Positions in `targets`, shuffled.

    Raises
    ------
    CatalogError
        When the first batch is requested, if there are fewer than two classes or
        `batch_size` is not a multiple of their number.
    """
    try:
        names, classes = np.unique(np.asarray(targets), return_inverse=True)
        if classes.ndim != 1 or not len(classes):
            raise ValueError("there must be one for each image")
    except (TypeError, ValueError) as error:
        raise CatalogError(
            f"The targets must be a list of classes, not {arguments.shown(targets)}: {error}."
        ) from error
    for what, value in (("The seed", seed), ("The epoch", epoch), ("The batch size", batch_size)):
        arguments.whole(what, value, CatalogError, 0, 2**63)
    if len(names) < 2:
        raise CatalogError(f"All {len(classes)} targets are of one class: nothing to balance.")
    if not len(names) <= batch_size <= _LARGEST or batch_size % len(names):
        raise CatalogError(
            f"The batch size is {batch_size}, but must be a multiple of the {len(names)} classes, "
            f"at most {_LARGEST}."
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
    """Return `count` of `members`: all of them in random order, repeated as often as needed."""
    rounds = math.ceil(count / len(members))
    return np.concatenate([rng.permutation(members) for _ in range(rounds)])[:count]


def _training(catalog: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the checked catalog, and its training rows."""
    catalog = catalogs.check(catalog)
    train = catalog[catalog["split"] == "train"]
    if not catalog.index.is_unique:
        raise CatalogError("The catalog's index has repeated entries: call reset_index(drop=True).")
    if train.empty:
        raise CatalogError(
            "The catalog has no training rows: split it first, by subject "
            "(helpers.catalog.splitting)."
        )
    return catalog, train


def _copies(originals: pd.DataFrame, count: int, rng: np.random.Generator) -> pd.DataFrame:
    """Return the rows of `count` copies: no image gets a second copy before all have one."""
    # Each image has its own random order of transforms.
    orders = np.array(
        [
            [*rng.permutation(PAPER_TRANSFORMS), *rng.permutation(_SPARE)]
            for _ in range(len(originals))
        ]
    )
    chosen = _in_rounds(np.arange(len(originals)), count, rng)
    copies = originals.iloc[chosen].copy()
    copies["transform"] = orders[chosen, np.arange(count) // len(originals)].astype(object)
    copies["original"] = copies["image_id"]
    copies["image_id"] = copies["original"] + "+" + copies["transform"]
    return copies
