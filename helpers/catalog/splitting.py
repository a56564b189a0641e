"""Splits that keep a person's images on one side, and an audit that checks it.

Every function takes a catalog and returns a new one with the same rows in the
same order, so that an image array made for one also fits the
other. The result depends on the ids, labels, subjects and bytes of the images and
on the seed. It does not depend on the order of the rows or on the files' folder.

Rows that no split uses have the split ``""``: unlabelled rows, and the test set of
the release (``split == "test"`` in the catalog as loaded), which is for the very last
step of a study.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from helpers import catalog as catalogs
from helpers.base import arguments
from helpers.base.errors import CatalogError
from helpers.catalog.group_search import allot

FRACTIONS = (0.6, 0.2, 0.2)
#: How far the share of a class's images in a split may be from the wanted one.
TOLERANCE = 0.05
#: What the chapters need of each class: people for train, val and test, images for five folds.
LEAST_SUBJECTS, LEAST_IMAGES = 3, 10
_MOST_FOLDS = 1000
_AUDIT_COLUMNS = ["kind", "name", "sides", "subjects", "images", "image_ids"]


def require_enough(catalog: pd.DataFrame) -> None:
    """Raise CatalogError unless every chapter can divide the people of each class.

    Each class needs :data:`LEAST_SUBJECTS` groups of linked subjects and :data:`LEAST_IMAGES`
    images outside the release's test set, and there must be two classes. A catalog without
    any such image, such as the test part of a release alone, is left to the splits.
    """
    catalog = catalogs.check(catalog)
    usable = (catalog["label"] != catalogs.UNLABELLED) & (catalog["split"] != "test")
    classes = link_subjects(catalog[usable]).groupby("label")["group"].agg(["nunique", "size"])
    enough = (classes["nunique"] >= LEAST_SUBJECTS) & (classes["size"] >= LEAST_IMAGES)
    if not usable.any() or (enough.all() and len(classes) > 1):
        return
    short = [
        f"the class {label!r} has {count} images of {people} subject{'s' * (people != 1)}"
        for label, people, count in classes[~enough].itertuples()
    ]
    found = arguments.few(short or [f"there is one class only, {classes.index[0]!r}"])
    raise CatalogError(
        f"The chapters need two classes, each with at least {LEAST_IMAGES} images (for five folds) "
        f"of {LEAST_SUBJECTS} subjects (for training, validation and test), but {found}. "
        "Add images of other people, or take a class that is too small out of the folder."
    )


def split_at_random(
    catalog: pd.DataFrame, fractions: Sequence[float] = FRACTIONS, seed: int = 24
) -> pd.DataFrame:
    """Return the catalog split image by image, stratified by label, as in Shreya's report.

    Cells of one person are then in several splits; :func:`audit_leakage` counts them.

    Parameters
    ----------
    catalog : pandas.DataFrame
        As loaded; it is not changed.
    fractions : three floats that sum to 1
        Of train, val and test.
    seed : int
        Seed of the random draw.

    Returns
    -------
    pandas.DataFrame
        With `split` set. The sizes of test and val are rounded up,
        as in scikit-learn's ``train_test_split`` applied twice: 10,662 images
        become 6396 / 2133 / 2133 as in that report, the release's 10,661 become
        6396 / 2132 / 2133.

    Raises
    ------
    CatalogError
        When the fractions are wrong, the catalog is split already or holds
        copies, or a class has too few images to be in every split.
    """
    (catalog, usable), wanted = _prepare(catalog), _wanted(fractions)
    arguments.whole("The seed", seed, CatalogError)
    rows = catalog.loc[usable, ["image_id", "label"]].sort_values("image_id")
    rng = np.random.default_rng(seed)
    sizes = rows.groupby("label").size()
    left, remaining, quota = sizes.to_numpy(), 1.0, {}
    for name in ("test", "val"):
        # The rounding keeps 0.2 / 0.8 of 8528 from becoming 2132 + 1e-13, and that 2133.
        count = math.ceil(round(wanted[name] / remaining * left.sum(), 6))
        quota[name] = _apportion(left, count)
        left = left - quota[name]
        remaining -= wanted[name]
    quota = pd.DataFrame({"train": left, "val": quota["val"], "test": quota["test"]}, sizes.index)
    assigned = pd.Series("", index=catalog.index, dtype=object)
    for label, counts in quota.iterrows():
        empty = [name for name in wanted if wanted[name] > 0 and counts[name] == 0]
        if empty:
            raise CatalogError(
                f"Class {label!r} has {sizes[label]} images, too few to be in {', '.join(empty)} "
                "as well: add images or leave the class out."
            )
        members = rng.permutation(rows.index[rows["label"] == label].to_numpy())
        assigned[members] = np.repeat(quota.columns, counts)
    return catalogs.check(catalog.assign(split=assigned))


def split_by_subject(
    catalog: pd.DataFrame,
    fractions: Sequence[float] = FRACTIONS,
    seed: int = 24,
    nearest: bool = False,
    tolerance: float = TOLERANCE,
) -> pd.DataFrame:
    """Return the catalog split by subject: linked subjects are never in two splits.

    Whole groups (:func:`link_subjects`) are assigned to the splits by a search
    (:func:`helpers.catalog.group_search.allot`). The shares of each class's images,
    and with less weight of its groups, come as close to `fractions` as the search
    finds. The request is met if every split has every class and no share of
    a class's images differs from the wanted one by more than `tolerance`.

    Parameters
    ----------
    catalog : pandas.DataFrame
        As loaded; it is not changed.
    fractions : three floats that sum to 1
        Of train, val and test: shares of the images of each class.
    seed : int
        Seed of the search.
    nearest : bool
        If the request is not met, return the nearest split and print a note that
        says what is missing, instead of raising an error. A class with too
        few groups is then put into train first and into test second.
    tolerance : float
        0.05 is five percentage points.

    Returns
    -------
    pandas.DataFrame
        With `group` and `split` set.

    Raises
    ------
    CatalogError
        When the request is not met and `nearest` is False, the fractions are
        wrong, or the catalog is split already or holds augmented copies.
    """
    wanted = {name: share for name, share in _wanted(fractions).items() if share > 0}
    # A class with too few groups for all splits goes to train first, then to test.
    needs = [{"train": 4.0, "test": 2.0, "val": 1.0}[name] for name in wanted]
    linked, split = _allot(catalog, wanted, needs, seed, tolerance, nearest)
    return catalogs.check(linked.assign(split=split))


def folds_by_subject(
    catalog: pd.DataFrame, k: int = 5, seed: int = 24, nearest: bool = False
) -> pd.DataFrame:
    """Return the catalog with `fold` set to ``"0"`` .. ``str(k - 1)``, linked subjects together.

    The search is that of :func:`split_by_subject`, with k equal shares.
    :func:`official_folds` turns any of the folds into the test set.

    Parameters
    ----------
    catalog : pandas.DataFrame
        It is not changed. Unlabelled rows and the release's own test rows get
        the fold ``""``; otherwise `split` is ignored.
    k : int
        Number of folds, 2 or more.
    seed : int
        Seed of the search.
    nearest : bool
        If a class has fewer groups than folds, or its share in a fold differs from
        1 / k by more than :data:`TOLERANCE`: print a note instead of raising an error.

    Raises
    ------
    CatalogError
        When k is below 2, or the request is not met and `nearest` is False.
    """
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or not 2 <= k <= _MOST_FOLDS:
        raise CatalogError(
            f"k is {arguments.shown(k)}, but must be a whole number from 2 to {_MOST_FOLDS}."
        )
    wanted = {f"fold {number}": 1 / k for number in range(k)}
    linked, fold = _allot(catalog, wanted, [1.0] * k, seed, TOLERANCE, nearest)
    return catalogs.check(linked.assign(fold=fold.str.removeprefix("fold ")))


def official_folds(
    catalog: pd.DataFrame, test_fold: str = "2", val_fold: str | None = "1"
) -> pd.DataFrame:
    """Return the catalog split by its column `fold`: one is test, one is val, the rest is train.

    The folds of the C-NMC release separate subject ids, but not people: 94 groups
    of byte-identical files are in more than one fold (:func:`audit_leakage`).

    Parameters
    ----------
    catalog : pandas.DataFrame
        As loaded, or from :func:`folds_by_subject`; it is not changed.
    test_fold, val_fold : str
        Names of folds; `val_fold` may be None for no validation split.

    Raises
    ------
    CatalogError
        When a fold does not exist, both are the same, or none is left for training.
    """
    catalog, usable = _prepare(catalog)
    fold = catalog["fold"]
    usable &= fold != ""
    present = sorted(set(fold[usable]))
    for name in (test_fold, val_fold):
        if name is None and name is val_fold:
            continue
        if not isinstance(name, str) or name not in present:
            known = f"[{arguments.few(list(map(repr, present)))}]" if present else "no folds"
            raise CatalogError(f"The catalog has no fold {arguments.shown(name)}; it has {known}.")
    if test_fold == val_fold:
        raise CatalogError(f"Fold {test_fold!r} cannot be both the test and the validation split.")
    if not set(present) - {test_fold, val_fold}:
        raise CatalogError(f"The catalog has only the folds {present}: none is left to train on.")
    assigned = fold.map({test_fold: "test", val_fold: "val"}).fillna("train").where(usable, "")
    return catalogs.check(catalog.assign(split=assigned.astype(object)))


def link_subjects(catalog: pd.DataFrame) -> pd.DataFrame:
    """Return the catalog with `group` set: subjects that share a file, directly or through others.

    Two subject ids that have an identical file (equal `sha256`) are treated as one
    person. Groups that the catalog has already may be joined, but are never separated.
    The name of a group is the names of its subjects, joined by ``+``.
    """
    from scipy.sparse import coo_array  # takes a quarter of a second to import
    from scipy.sparse.csgraph import connected_components

    columns = ("subject", "sha256", "group")
    arguments.table(catalog, columns, "catalog", CatalogError)
    catalog = arguments.text(catalog, columns, "catalog", CatalogError)
    # A graph: its nodes are the subjects, the files and the given groups.
    subject, names = pd.factorize(catalog["subject"])
    edges, nodes = [], len(names)
    for column in ("sha256", "group"):
        shared, values = pd.factorize(catalog[column].replace("", pd.NA))
        filled = shared >= 0  # an empty entry links no subjects
        edges.append((subject[filled], nodes + shared[filled]))
        nodes += len(values)
    start, end = np.concatenate(edges, axis=1)
    graph = coo_array((np.ones(len(start)), (start, end)), shape=(nodes, nodes))
    component = connected_components(graph, directed=False)[1][: len(names)]
    # In a group's name the subject 20 comes before 100.
    table = pd.DataFrame({"name": names, "length": names.str.len(), "component": component})
    table = table.sort_values(["length", "name"])
    group = table.groupby("component")["name"].agg("+".join)
    linked = catalog.copy()
    linked["group"] = group.loc[component[subject]].to_numpy(dtype=object)
    return linked


def audit_leakage(catalog: pd.DataFrame, across: str | None = None) -> pd.DataFrame:
    """Return a table of everything that is on more than one side; empty if nothing leaks.

    Parameters
    ----------
    catalog : pandas.DataFrame
        It need not pass :func:`helpers.catalog.check`: this function also finds
        the copies in a catalog that was balanced before it was split. A table made by hand
        may lack columns other than `image_id`: what cannot be tested then is printed.
    across : {"split", "fold", "subject", "image_id"}, optional
        The column whose values are the sides; rows with ``""`` there are on no side.
        By default ``split``; if it is empty, ``fold``; if that is empty too,
        ``subject``. ``image_id`` lists all identical files.

    Returns
    -------
    pandas.DataFrame
        One row for each finding: `kind` (``subject``, ``identical file`` or ``augmented
        copy``), `name` (of the subject, of the file's sha256, of the original
        image), `sides` and `subjects` (tuples), `images` (how many) and
        `image_ids` (tuple). Sorted by kind and name. ``attrs["untested"]`` has the sentences
        that were printed.

    Raises
    ------
    CatalogError
        When `across` is none of these columns, or no column says what the sides are.
    """
    columns = ("split", "fold", "subject", "image_id", "sha256", "original")
    arguments.table(catalog, ("image_id",), "catalog", CatalogError)
    there = [column for column in columns if column in list(catalog.columns)]
    arguments.table(catalog, there, "catalog", CatalogError)
    catalog = arguments.text(catalog, there, "catalog", CatalogError)
    catalog = catalog.assign(**{column: "" for column in columns if column not in there})
    if across is None and not (catalog[["split", "fold", "subject"]] != "").any(axis=None):
        raise CatalogError(
            "The catalog has no sides to compare: fill its column split, fold or subject."
        )
    if across is None:
        across = next((c for c in ("split", "fold") if (catalog[c] != "").any()), "subject")
    if not isinstance(across, str) or across not in columns[:4]:
        raise CatalogError(
            f"across is {arguments.shown(across)}, but must be split, fold, subject or image_id."
        )
    rows = catalog[["image_id", "subject", "sha256"]].copy()
    rows["side"] = catalog[across]
    rows["copy"] = catalog["original"] != ""
    # A copy has the sha256 of its original. Only files of different originals are duplicates.
    rows["root"] = catalog["original"].where(rows["copy"], catalog["image_id"])
    rows = rows[rows["side"] != ""].sort_values("image_id")
    findings = []
    if across not in ("subject", "image_id"):
        findings += _crossing(rows[rows["subject"] != ""], "subject", "subject")
    files = rows[rows["sha256"] != ""]
    several = files.groupby("sha256")["root"].transform("nunique") > 1
    findings += _crossing(files[several], "sha256", "identical file")
    if across != "image_id":
        copied = rows.groupby("root")["copy"].transform("any")
        findings += _crossing(rows[copied], "root", "augmented copy")
    found = pd.DataFrame(findings, columns=_AUDIT_COLUMNS)
    found.attrs["untested"] = _untested(rows, across)
    for sentence in found.attrs["untested"]:
        print(sentence)
    return found


def _untested(rows: pd.DataFrame, across: str) -> list[str]:
    """Return what an audit of `rows` cannot find, because the table does not know it."""
    if rows.empty:
        return [f"Not tested: anything, because no image has an entry in the column {across}."]
    sentences = []
    nobody, unread = ((rows[column] == "").sum() for column in ("subject", "sha256"))
    alone = nobody == 0 and (rows["subject"] == rows["root"]).all()
    if across in ("split", "fold") and (nobody or alone):
        why = "each image counts as a subject of its own"
        if not alone:
            why = f"{nobody:,} of {len(rows):,} images have no subject"
        sentences.append(f"Not tested: whether a person is on two sides ({why}).")
    if unread:
        why = f"{unread:,} of {len(rows):,} images have no sha256"
        sentences.append(f"Not tested: whether a file is on two sides under two names ({why}).")
    return sentences


def _crossing(rows: pd.DataFrame, key: str, kind: str) -> list[tuple]:
    """Return one finding for each value of `key` whose rows are on more than one side."""
    order = {name: number for number, name in enumerate(catalogs.SPLITS)}
    crossing = rows[rows.groupby(key)["side"].transform("nunique") > 1]
    return [
        (
            kind,
            name,
            tuple(sorted(set(part["side"]), key=lambda side: (order.get(side, -1), side))),
            tuple(sorted(set(part["subject"]))),
            len(part),
            tuple(part["image_id"]),
        )
        for name, part in crossing.groupby(key, sort=True)
    ]


def _prepare(catalog: pd.DataFrame) -> tuple[pd.DataFrame, pd.Series]:
    """Check a catalog that is to be split; return it, and which of its rows are used."""
    catalog = catalogs.check(catalog)
    if not catalog.index.is_unique:
        raise CatalogError("The catalog's index has repeated entries: call reset_index(drop=True).")
    copies = int((catalog["original"] != "").sum())
    if copies:
        raise CatalogError(
            f"The catalog holds {copies} augmented copies: split first, balance afterwards."
        )
    if catalog["split"].isin(["train", "val"]).any():
        raise CatalogError(
            "The catalog is split already: start from the one that was loaded "
            "(or clear it with catalog.assign(split=''))."
        )
    usable = (catalog["label"] != catalogs.UNLABELLED) & (catalog["split"] != "test")
    if not usable.any():
        raise CatalogError("The catalog has no labelled row outside the release's own test set.")
    return catalog, usable


def _wanted(fractions: Sequence[float]) -> dict[str, float]:
    """Check the fractions; return them by split."""
    listed = list(fractions) if isinstance(fractions, Sequence | np.ndarray) else [fractions]
    shares = arguments.array("The fractions", listed, CatalogError, missing=True)
    if shares.ndim != 1:
        raise CatalogError(f"The fractions are {arguments.shown(fractions)}, but must be numbers.")
    within = ((shares >= 0) & (shares <= 1)).all()
    if len(shares) != 3 or not within or abs(shares.sum() - 1) > 1e-6 or shares[0] == 0:
        raise CatalogError(
            f"The fractions are {tuple(shares.tolist())}, but must be three numbers from 0 to 1, "
            "of train, val and test, that sum to 1, the first above 0."
        )
    return dict(zip(catalogs.SPLITS, shares.tolist(), strict=True))


def _apportion(sizes: np.ndarray, count: int) -> np.ndarray:
    """Divide `count` among the classes in proportion to their sizes, by largest remainder."""
    exact = sizes * count / max(1, sizes.sum())  # nothing is left of a table of one row
    whole = np.floor(exact).astype(int)
    order = np.argsort(-np.round(exact - whole, 9), kind="stable")
    whole[order[: count - whole.sum()]] += 1
    return whole


def _allot(
    catalog: pd.DataFrame,
    wanted: dict[str, float],
    needs: Sequence[float],
    seed: int,
    tolerance: float,
    nearest: bool,
) -> tuple[pd.DataFrame, pd.Series]:
    """Return the linked catalog and, for each row, the name in `wanted` of its group, or ``""``.

    A request that is not met is an error that says why, or with `nearest` a note.
    """
    catalog, usable = _prepare(catalog)
    linked = link_subjects(catalog)
    arguments.whole("The seed", seed, CatalogError)
    arguments.number("The tolerance", tolerance, CatalogError, 0)
    rows, names = linked[usable], list(wanted)
    counts = pd.crosstab(rows["group"], rows["label"]).sort_index().sort_index(axis=1)
    shares = np.array(list(wanted.values()))
    side = allot(counts.to_numpy(dtype=float), shares, np.random.default_rng(seed), np.array(needs))
    chosen = pd.Series(names, dtype=object)[side].set_axis(counts.index)
    parts = counts.groupby(chosen).sum().reindex(names, fill_value=0)
    complaints = []
    for label, part in parts.items():
        lacking = list(part.index[part == 0])
        off = np.round(np.abs(part / part.sum() - shares), 9)
        worst = off.idxmax()
        if lacking:
            groups = int((counts[label] > 0).sum())
            complaints.append(
                f"class {label!r} comes from {groups} group{'s' if groups != 1 else ''} "
                f"of subjects and is not in {arguments.few(lacking)}"
            )
        elif off[worst] > tolerance:
            complaints.append(
                f"{worst} has {part[worst] / part.sum():.0%} of the images of class {label!r} "
                f"instead of {wanted[worst]:.0%}"
            )
    if complaints:
        problem = (
            f"with {len(counts)} groups of linked subjects kept together, {'; '.join(complaints)}"
        )
        if not nearest:
            raise CatalogError(
                f"The wanted split cannot be met: {problem}. "
                "Use more subjects or other fractions, or pass nearest=True."
            )
        print(f"Note: this is the nearest split found; {problem}.")
    return linked, linked["group"].map(chosen).where(usable, "").astype(object)
