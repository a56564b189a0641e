"""Chapter 12 shows what is shipped, sees nothing of its test split, and knows right from wrong."""

import numpy as np
import pandas as pd
import pytest

from helpers import catalog as catalogs
from helpers import predictions
from tests.unit.chapter_page import code_cells, functions, missed, solutions, verdict

keras = pytest.importorskip("keras")  # after helpers, which keep TensorFlow quiet

from helpers.models import dcnn  # noqa: E402
from helpers.models.selection import ChiSquareSelection  # noqa: E402

CELLS = code_cells("12")
SIDE = 12


def cell(text):
    return next(c.source for c in CELLS if text in c.source)


def drawn(seed=3):
    """Return crops, their pixels and target: noise, and something to learn."""
    rng = np.random.default_rng(seed)
    target = np.tile([0, 1], 24)
    pixels = rng.integers(40, 220, (48, SIDE, SIDE, 3), dtype=np.uint8)
    pixels[target == 1, 4:7, 4:7] //= 2
    crops = catalogs.make(
        {
            "image_id": f"c{place:02d}",
            "path": "none",
            "label": "mm" if positive else "all",
            "positive": positive,
            "subject": f"f{place // 4:02d}",
        }
        for place, positive in enumerate(target)
    )
    crops["split"] = np.repeat(["train", "val", "test"], [24, 12, 12])
    return crops, pixels, target


def namespace(crops, pixels, target):
    import scipy.special

    page = {
        "keras": keras, "layers": keras.layers, "np": np, "pd": pd, "expit": scipy.special.expit,
        "catalogs": catalogs, "predictions": predictions, "SEED": 24, "PROFILE": "smoke",
        "side": SIDE, "k": 120, "target": target, "pixels": pixels,
        "flat": pixels.reshape(len(pixels), -1), "crops": crops,
    }  # fmt: skip
    exec("from sklearn.feature_selection import SelectKBest, chi2", page)
    exec(cell("def in_turn("), page)  # with its imports
    return page


def trainable(page, iterations=6, look=2):
    """Add what the page needs to train."""
    page |= {"iterations": iterations, "look": look}
    return functions("12", "select", "build", "batches", "train", **page)


@pytest.mark.slow
def test_plain_fit_on_the_page_trains_what_the_course_trains(untraced):
    crops, pixels, target = drawn()
    page = trainable(namespace(crops, pixels, target), iterations=12, look=3)
    rows, val = np.arange(24), np.arange(24, 36)
    shipped = dcnn.build(SIDE, 25, page["select"](rows))
    keras.utils.set_random_seed(24)
    for one, other in zip(
        shipped.trainable_weights, page["build"](SIDE).trainable_weights, strict=True
    ):
        assert one.shape == other.shape
        one.assign(other)
    there = dcnn.train(shipped, pixels, target, rows, val, iterations=12, look=3, seed=24)
    scores, losses = page["train"](crops)
    assert scores == pytest.approx(shipped.predict(pixels, verbose=0)[:, 0], abs=2e-4)
    looked = there["val_loss"].dropna().to_numpy()
    assert losses["val_loss"].to_numpy() == pytest.approx(looked, abs=2e-4)
    each = there["loss"].to_numpy().reshape(4, 3).mean(axis=1)
    assert losses["loss"].to_numpy() == pytest.approx(each, abs=2e-4)


def test_the_selection_on_the_page_is_the_shipped_one():
    page = namespace(*drawn())
    rows = np.arange(24)
    found = functions("12", "select", **page)["select"](rows)
    fitted = ChiSquareSelection(120).fit(page["flat"][rows], page["target"][rows])
    assert np.array_equal(found, fitted.support_)


def test_chi_square_by_hand_is_the_shipped_score():
    page = functions("12", "chi_square", **namespace(*drawn()))
    scores = ChiSquareSelection(5).fit(page["flat"], page["target"]).scores_
    for place in (0, 17, 200):
        by_hand = page["chi_square"](page["flat"][:, place], page["target"])
        assert by_hand == pytest.approx(scores[place])


@pytest.mark.slow
def test_nothing_on_the_page_is_fitted_outside_of_training():
    """A marker that gives away the class in the test split, and turned labels, change nothing."""
    seen = []
    for planted in (False, True):
        crops, pixels, target = drawn()
        if planted:
            pixels[36:, 0, 0] = 255 * target[36:, None]
            target[36:] = 1 - target[36:]
            crops.loc[36:, "label"] = np.where(target[36:] == 1, "mm", "all")
        page = trainable(namespace(crops, pixels, target))
        exec(cell("from sklearn.ensemble import"), page)
        scores, losses = page["train"](crops)
        known = [page["select"](np.arange(24)), losses.to_numpy(), scores[:36]]
        page = functions("12", "tested", **page)
        for name, (model, numbers) in page["rivals"].items():
            page["tested"](model, numbers, crops)
            ask = getattr(model, "predict_proba", None) or model.decision_function
            known.append(ask(numbers[:36]))
            assert name in ("SVM", "decision tree", "random forest", "naive Bayes", "k-NN")
        seen.append(known)
    assert len(seen[0]) == 8
    assert all(map(np.array_equal, *seen))


@pytest.mark.slow
def test_selecting_before_the_split_finds_something_where_there_is_nothing():
    rng = np.random.default_rng(0)
    crops, _, target = drawn()
    crops["subject"] = crops["image_id"]
    page = namespace(crops, rng.integers(0, 256, (48, 20, 20, 3), dtype=np.uint8), target)
    exec(cell("def draw_crops("), page)
    exec(cell("def two_ways("), page)
    page["few"], page["best_k"] = 40, 100
    values = np.array([page["two_ways"](seed, shuffled=True) for seed in range(8)])
    before, inside = values.mean(axis=0)
    assert before > 0.7
    assert 0.4 < inside < 0.6


@pytest.mark.slow
def test_the_solutions_solve_the_exercises():
    answers = solutions("12", **namespace(*drawn()))
    assert sorted(answers) == ["12-a", "12-b", "12-c", "12-d"]
    for name, answer in answers.items():
        assert verdict(name, answer) == "solved."


def colour_by(grouped, balanced, features=lambda p: p.reshape(len(p), -1, 3).mean(axis=1)):
    """Return a solution of 12-c, right or with a part left out."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, cross_val_predict
    from sklearn.neighbors import KNeighborsClassifier

    def answer(pictures, labels, groups):
        kind = StratifiedGroupKFold if grouped else StratifiedKFold
        folds = kind(5, shuffle=True, random_state=0)
        model = LogisticRegression() if grouped else KNeighborsClassifier(3)
        groups = groups if grouped else None
        called = cross_val_predict(model, features(pictures), labels, groups=groups, cv=folds)
        if not balanced:
            return (called == labels).mean()
        return np.mean([(called[labels == label] == label).mean() for label in (0, 1)])

    return answer


def spoil(pictures, labels, groups):
    pictures //= 2
    return colour_by(True, True)(pictures, labels, groups)


def square_network(rows, labels, turn=False, end=None, zeros=True, scaled=True, wide=0, epochs=0):
    """Return a solution of 12-d, right or with a part left out; without epochs it is untrained."""
    layers, count = keras.layers, rows.shape[1]
    width = int(np.ceil(np.sqrt(count))) + wide
    row = [layers.Rescaling(1 / 255)] if scaled else []
    row += [layers.Reshape((count, 1))]
    if zeros:
        row += [layers.ZeroPadding1D((0, width * width - count))]
    else:  # the first number again and again
        row += [layers.Flatten(), layers.Dense(width * width), layers.Reshape((-1, 1))]
    row += [layers.Reshape((width, width, 1))]
    row += [layers.Permute((2, 1, 3))] if turn else []
    row += [layers.Conv2D(4, 3, padding="same"), layers.Conv2D(4, 3, padding="same")]
    row += [layers.Flatten(), layers.Dense(1, end, kernel_initializer="zeros")]
    model = keras.Sequential([keras.Input((count,)), *row])
    model.compile(keras.optimizers.Adam(5e-3), keras.losses.BinaryCrossentropy(from_logits=True))
    if epochs:
        model.fit(rows, labels, epochs=epochs, verbose=0)
    return model


def other_labels(rows, labels):
    return square_network(rows, 1 - labels, epochs=8)


def another_question(rows, labels):
    return square_network(rows, rows[:, 1] > 128, epochs=8)


def no_convolution(rows, labels):
    return keras.Sequential([keras.Input((rows.shape[1],)), keras.layers.Dense(1)])


WRONG = {
    "12-a": [
        lambda iterations, batch, images, validation: iterations,
        lambda iterations, batch, images, validation: iterations * batch / images,
        lambda i, b, n, v: i * b / (n * (1 - v)),
        lambda i, b, n, v: i * b // int(n * (1 - v)),
    ],
    "12-b": [
        lambda own, shuffled: np.mean(np.asarray(shuffled) >= own),
        lambda own, shuffled: (1 + np.sum(np.asarray(shuffled) > own)) / (1 + len(shuffled)),
        lambda own, shuffled: 0.05,
    ],
    "12-c": [
        colour_by(False, True),
        colour_by(True, False),
        spoil,
        lambda pictures, labels, groups: 0.5,
    ],
    "12-d": [
        no_convolution,
        lambda rows, labels: square_network(rows, labels, turn=True),
        lambda rows, labels: square_network(rows, labels, end="sigmoid"),
        lambda rows, labels: square_network(rows, labels, zeros=False),
        lambda rows, labels: square_network(rows, labels, scaled=False),
        lambda rows, labels: square_network(rows, labels, wide=1),
        lambda rows, labels: "a network",
    ],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", WRONG)
def test_wrong_answers_are_not_called_solved(name):
    for answer in WRONG[name]:
        assert verdict(name, answer) == "not solved yet."


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "answer", "hint"),
    [
        ("12-a", WRONG["12-a"][1], "You seem to count all images"),
        ("12-a", WRONG["12-a"][2], "round the number of images down"),
        ("12-b", WRONG["12-b"][0], "You seem to leave out your own figure"),
        ("12-b", WRONG["12-b"][1], "count equal ones too"),
        ("12-c", WRONG["12-c"][0], "pictures of one group on both sides"),
        ("12-c", WRONG["12-c"][1], "return the balanced accuracy"),
        ("12-d", WRONG["12-d"][1], "fill it row by row"),
        ("12-d", WRONG["12-d"][2], "no sigmoid"),
        ("12-d", square_network, "is the network trained at all"),
        ("12-d", other_labels, "a high logit means label 1"),
        ("12-d", another_question, "it is often wrong"),
    ],
)
def test_a_usual_mistake_is_named(name, answer, hint):
    assert hint in missed(name, answer)
