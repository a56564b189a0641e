"""Balancing touches the training rows only, and keeps every copy beside its original."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_class_weight

from helpers import catalog as catalogs
from helpers.base.errors import CatalogError
from helpers.catalog import augmentation, balancing, splitting


def table(sizes, others=5):
    """Return a catalog of `sizes` training images a class, and a few of each in val and test."""
    rows = [
        {
            "image_id": f"{label}_{split}_{number:04d}",
            "path": f"/x/{label}_{split}_{number}.bmp",
            "label": label,
            "positive": int(label not in ("hem", "benign")),
            "subject": f"{label}{split}{number % 7}",
            "sha256": f"{label}{split}{number}",
            "split": split,
            "side": number,  # a column of the data set's own
        }
        for label, size in sizes.items()
        for split, count in (("train", size), ("val", others), ("test", others))
        for number in range(count)
    ]
    return catalogs.make(rows)


def trained_on(catalog):
    return catalog[catalog["split"] == "train"]


def test_the_papers_figures():
    before = table({"all": 4432, "hem": 1964})
    after = balancing.balance_by_copies(before)
    assert trained_on(after)["label"].value_counts().to_dict() == {"all": 3198, "hem": 3198}
    copies = after[after["original"] != ""]
    assert len(copies) == 1234
    assert set(copies["label"]) == {"hem"}
    assert copies["original"].is_unique  # 1964 images are enough for one copy each
    assert set(copies["transform"]) == set(balancing.PAPER_TRANSFORMS)


sizes = st.fixed_dictionaries({"all": st.integers(1, 60), "hem": st.integers(1, 60)})


@pytest.mark.slow
@given(sizes, st.integers(0, 20))
@settings(max_examples=30, deadline=None)
def test_any_sizes_that_copies_can_make_equal(sizes, seed):
    before = table(sizes)
    goal, smallest = sum(sizes.values()) // 2, min(sizes.values())
    if goal > 8 * smallest:
        with pytest.raises(CatalogError, match="even all 7 symmetries"):
            balancing.balance_by_copies(before, seed)
        return
    after = balancing.balance_by_copies(before, seed)
    assert trained_on(after)["label"].value_counts().to_dict() == {"all": goal, "hem": goal}
    # The rows of before are still there, in order, so an image array stays aligned.
    kept = after.iloc[: len(before)]
    pd.testing.assert_frame_equal(kept.drop(columns="split"), before.drop(columns="split"))
    outside = before["split"] != "train"
    assert (kept["split"][outside] == before["split"][outside]).all()
    copies = after.iloc[len(before) :]
    assert set(copies["split"]) <= {"train"}
    assert not copies.duplicated(["original", "transform"]).any()
    assert set(copies["transform"]) <= set(augmentation.TRANSFORMS) - {"identity"}
    per_image = copies["original"].value_counts()
    if len(per_image):  # nobody gets a second copy before everybody has a first
        every = per_image.reindex(
            trained_on(before).query("label == @copies['label'].iloc[0]")["image_id"], fill_value=0
        )
        assert every.max() - every.min() <= 1
    origins = before.set_index("image_id").loc[copies["original"]]
    for column in ("path", "label", "subject", "fold", "sha256", "group", "side"):
        assert (origins[column].to_numpy() == copies[column].to_numpy()).all()
    assert not splitting.audit_leakage(after)["kind"].eq("augmented copy").any()


def test_four_classes_become_one_size():
    after = balancing.balance_by_copies(table({"benign": 30, "early": 60, "pre": 61, "pro": 48}))
    assert set(trained_on(after)["label"].value_counts()) == {49}


def test_the_papers_transforms_come_before_the_others():
    few = balancing.balance_by_copies(table({"all": 60, "hem": 10}))
    assert set(few["transform"]) == {"identity", *balancing.PAPER_TRANSFORMS}
    many = balancing.balance_by_copies(table({"all": 130, "hem": 10}))
    used = many[many["original"] != ""].groupby("original")["transform"].agg(set)
    assert all(names > set(balancing.PAPER_TRANSFORMS) for names in used[used.map(len) > 5])
    assert set(many["transform"]) == set(augmentation.TRANSFORMS)


def test_the_seed_decides_and_the_order_of_rows_does_not():
    before = table({"all": 40, "hem": 20})
    first = balancing.balance_by_copies(before, 1)
    pd.testing.assert_frame_equal(first, balancing.balance_by_copies(before, 1))
    assert set(first["image_id"]) != set(balancing.balance_by_copies(before, 2)["image_id"])
    mixed = before.sample(frac=1, random_state=0)
    columns = ["image_id", "split", "transform", "original"]
    pd.testing.assert_frame_equal(
        *(
            balancing.balance_by_copies(rows, 1)[columns].sort_values("image_id", ignore_index=True)
            for rows in (before, mixed)
        )
    )


def test_what_cannot_be_balanced_is_refused():
    before = table({"all": 40, "hem": 20})
    with pytest.raises(CatalogError, match="no training rows: split it first"):
        balancing.balance_by_copies(before.assign(split=""))
    with pytest.raises(CatalogError, match="balance it once"):
        balancing.balance_by_copies(balancing.balance_by_copies(before))
    with pytest.raises(CatalogError, match=r"holds only \['all'\]"):
        balancing.balance_by_copies(table({"all": 40, "hem": 0}))


# ------------------------------------------------------------------ weights


def test_weights_are_those_of_scikit_learn():
    catalog = table({"all": 4432, "hem": 1964})
    targets = catalogs.target(trained_on(catalog))
    expected = compute_class_weight("balanced", classes=np.array([0, 1]), y=targets)
    weights = balancing.class_weights(catalog)
    assert list(weights) == [0, 1]
    np.testing.assert_allclose(list(weights.values()), expected)
    assert sum(weights[t] for t in targets) == pytest.approx(len(targets))


def test_weights_of_a_balanced_catalog_are_one():
    catalog = balancing.balance_by_copies(table({"all": 40, "hem": 20}))
    assert balancing.class_weights(catalog) == {0: 1.0, 1: 1.0}


def test_weights_need_both_classes_in_training():
    with pytest.raises(CatalogError, match="0 negative and 40 positive"):
        balancing.class_weights(table({"all": 40, "hem": 0}))
    with pytest.raises(CatalogError, match="no training rows"):
        balancing.class_weights(table({"all": 40}).assign(split="val"))


# ------------------------------------------------------------------ batches


@given(st.integers(1, 90), st.integers(1, 90), st.sampled_from([2, 8, 32]), st.integers(0, 9))
@settings(max_examples=40, deadline=None)
def test_every_batch_is_half_and_half_and_nobody_is_forgotten(few, many, batch_size, epoch):
    targets = np.repeat([0, 1], [few, many])
    batches = list(balancing.balanced_batches(targets, batch_size, epoch=epoch))
    assert len(batches) == -(-len(targets) // batch_size)
    assert all((np.bincount(targets[b], minlength=2) == batch_size // 2).all() for b in batches)
    seen = np.bincount(np.concatenate(batches), minlength=len(targets))
    for side in (0, 1):
        # Gone through in rounds: no image is seen twice more often than another.
        assert np.ptp(seen[targets == side]) <= 1


def test_batches_follow_from_seed_and_epoch():
    targets = np.repeat(["hem", "all"], [20, 50])

    def run(**how):
        return np.concatenate(list(balancing.balanced_batches(targets, 8, **how))).tolist()

    assert run(seed=1, epoch=3) == run(seed=1, epoch=3)
    assert run(seed=1, epoch=3) != run(seed=1, epoch=4)
    assert run(seed=1) != run(seed=2)


def test_over_epochs_the_whole_larger_class_is_seen():
    targets = np.repeat([0, 1], [10, 50])
    seen = {
        i for e in range(6) for b in balancing.balanced_batches(targets, 10, epoch=e) for i in b
    }
    assert seen == set(range(60))


def test_batches_that_cannot_be_even_are_refused():
    with pytest.raises(CatalogError, match="multiple of the 2 classes"):
        next(balancing.balanced_batches([0, 1, 1], 7))
    with pytest.raises(CatalogError, match="All 3 targets are of one class"):
        next(balancing.balanced_batches([1, 1, 1], 8))


def test_balancing_the_release_is_quick(benchmark):
    benchmark(balancing.balance_by_copies, table({"all": 4432, "hem": 1964}))
