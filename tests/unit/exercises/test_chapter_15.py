"""What chapter 15 shows is what ships, and its checkers know right from wrong."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import expit, logit
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from helpers import catalog as catalogs
from helpers import datasets
from helpers.base import settings
from helpers.exercises.checking import exercises
from helpers.explaining import shortcuts
from helpers.predictions import calibration, metrics, thresholds
from helpers.studies import elsewhere
from tests.unit.chapter_page import code_cells, functions, missed, solutions, verdict
from tests.unit.evaluation_tables import study, table

FITS = {
    "np": np,
    "catalogs": catalogs,
    "minimize_scalar": minimize_scalar,
    "expit": expit,
    "logit": logit,
    "IsotonicRegression": IsotonicRegression,
    "LogisticRegression": LogisticRegression,
}


@pytest.mark.parametrize("wanted", [0.5, 0.9, 0.95, 1.0])
def test_the_threshold_on_the_page_is_the_one_that_ships(wanted):
    shown = functions("15", "threshold_for", np=np)["threshold_for"]
    for seed in range(5):
        made = study(seed)
        made["score"] = made["score"].round(1)  # many equal scores
        ours = shown(made["score"].to_numpy(), (made["positive"] == 1).to_numpy(), wanted)
        assert ours == thresholds.threshold_for(made, sensitivity=wanted)


def test_the_predictive_values_on_the_page_are_those_that_ship():
    shown = functions("15", "predictive_values")["predictive_values"]
    rng = np.random.default_rng(1)
    for sensitivity, specificity, prevalence in rng.random((50, 3)):
        ours = shown(sensitivity, specificity, prevalence)
        theirs = thresholds.predictive_values(sensitivity, specificity, prevalence)
        assert np.allclose(ours, theirs)


def test_patients_on_the_page_are_those_of_the_report_by_subject():
    shown = functions("15", "patients")["patients"]
    made = study(6)
    ours, theirs = shown(made, 0.4), metrics.per_subject(made, 0.4)
    assert ours["subject"].tolist() == theirs["subject"].tolist()
    assert ours["images"].tolist() == theirs["images"].tolist()
    assert np.allclose(ours["share"], theirs["predicted_positive"])


def test_the_calibration_error_on_the_page_is_the_one_that_ships():
    shown = functions("15", "ece", np=np)["ece"]
    for seed in range(5):
        made = study(seed)
        for count in (5, 10):
            ours = shown(made["score"].to_numpy(), catalogs.target(made), count)
            assert np.isclose(ours, calibration.ece(made, count))


def test_the_calibration_error_of_a_calibrated_model_is_biased_upwards():
    shown = functions("15", "ece", np=np)["ece"]
    rng = np.random.default_rng(2)
    few, many = (
        np.mean([shown(s, rng.random(n) < s) for s in rng.random((200, n))]) for n in (50, 5000)
    )
    assert few > 0.05 > 0.02 > many


def test_the_repairs_on_the_page_are_those_that_ship_and_platt_also_shifts():
    page = functions("15", "temperature", "platt", "repaired", **FITS)
    fit, use = study(1), study(2)
    versions = page["repaired"](fit, use)
    temperature = calibration.fit_temperature(fit).apply(use)
    curve = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip")
    isotonic = curve.fit(fit["score"], catalogs.target(fit)).predict(use["score"])
    assert np.allclose(versions["temperature"]["score"], temperature["score"], atol=1e-3)
    assert np.allclose(versions["isotonic"]["score"], isotonic)
    assert versions["as it is"] is use
    rng = np.random.default_rng(3)
    share = rng.uniform(0.02, 0.98, 4000)
    low = table(rng.random(4000) < share, expit(0.5 * logit(share) - 2))  # all too low and too flat
    after = {name: calibration.ece(t, 5) for name, t in page["repaired"](low, low).items()}
    assert after["Platt"] < 0.03 < after["temperature"]


def test_the_rising_curve_on_the_page_mends_what_no_temperature_can():
    repaired = functions("15", "temperature", "platt", "repaired", **FITS)["repaired"]
    rng = np.random.default_rng(2)

    def bent(images):
        probability = rng.uniform(0, 1, images)
        return table(rng.random(images) < probability, 0.5 + probability**3 / 2)

    after = {name: calibration.ece(t) for name, t in repaired(bent(4000), bent(4000)).items()}
    assert after["isotonic"] < 0.04 < 0.1 < after["temperature"]


def test_another_stain_leaves_black_black_and_the_order_of_pixels():
    source = next(cell.source for cell in code_cells("15") if "def restain(" in cell.source)
    names = {"np": np}
    exec(source[source.index("DENSITY = ") : source.index("\n\n\nothers = ")], names)
    levels = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)[None]
    stained = names["restain"](levels)
    assert stained.dtype == np.uint8
    assert stained[0, 0].tolist() == [0, 0, 0]
    assert stained[0, -1].tolist() == [255, 255, 255]
    assert (np.diff(stained[0].astype(int), axis=0) >= 0).all()
    assert len(set(stained[0, 128].tolist())) == 3


@pytest.mark.slow
def test_strangers_are_other_phantoms_and_only_where_the_question_is_the_same(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("COURSE_ARTIFACTS", str(tmp_path / "artifacts"))
    monkeypatch.delenv("COURSE_EXTERNAL_DIR", raising=False)
    loaded = []
    monkeypatch.setattr(datasets, "load", lambda *given: loaded.append(given) or table([1], [1]))
    course = settings.read("phantom", "smoke", 24)
    assert elsewhere.strangers(course, ("benign", "early/pre/pro")) == {}
    assert list(elsewhere.strangers(course, ("hem", "all"))) == ["other phantoms"]
    assert loaded == [("phantom", None, "smoke", 25)]
    monkeypatch.setenv("COURSE_EXTERNAL_DIR", str(tmp_path))
    found = elsewhere.strangers(course, ("hem", "all"))
    assert list(found) == ["other phantoms", "external: cnmc"]
    monkeypatch.undo()
    monkeypatch.setenv("COURSE_ARTIFACTS", str(tmp_path / "artifacts"))
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("COURSE_EXTERNAL_DIR", str(tmp_path / "empty"))
    assert list(elsewhere.strangers(course, ("hem", "all"))) == ["other phantoms"]
    assert "holds no images of cnmc" in capsys.readouterr().out


def test_a_second_folder_that_is_not_there_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_EXTERNAL_DIR", str(tmp_path / "nope"))
    with pytest.raises(settings.SettingsError, match=r"DIR is .*nope, but no folder is there"):
        elsewhere.strangers(settings.read("phantom", "smoke", 24), ("hem", "all"))


def test_the_solutions_solve_the_exercises():
    answers = solutions("15", shortcuts=shortcuts)
    assert sorted(answers) == exercises("15") == ["15-a", "15-b", "15-c"]
    for name, answer in answers.items():
        assert verdict(name, answer) == "solved."
        assert verdict(name, ...).startswith("not answered yet")


def for_sensitivity(scores, target, wanted):
    """Return the largest threshold with the wanted *sensitivity*: the wrong wish."""
    return next(t for t in np.unique(scores)[::-1] if (scores[target == 1] >= t).mean() >= wanted)


def by_ground(predict, images):
    moved = np.abs(predict(shortcuts.swap_ground(images, "grey")) - predict(images)).mean()
    return "ground" if moved > 0.05 else "cell"


def by_size(predict, images):
    moved = np.abs(predict(shortcuts.shrink(images, 0.6)) - predict(images)).mean()
    return "size" if moved > 0.05 else "cell"


def with_equal_ones(scores, target, wanted):
    """Return the smallest threshold up to which enough negatives lie: <= where < is right."""
    return next(t for t in np.unique(scores) if (scores[target == 0] <= t).mean() >= wanted)


@pytest.mark.parametrize("limit", [0.01, 0.05, 0.1])
@pytest.mark.parametrize(
    "moves",
    [
        lambda images: shortcuts.swap_ground(images, "grey"),
        lambda images: shortcuts.swap_ground(images, "noise"),
        lambda images: np.where(images.max(axis=3, keepdims=True) > 12, images, np.uint8(255)),
    ],
)
@pytest.mark.parametrize("share", [0.5, 0.6, 0.8])
def test_a_diagnosis_may_change_the_ground_and_the_size_in_any_way(limit, moves, share):
    def diagnose(predict, images):
        before = predict(images)
        if np.abs(predict(moves(images)) - before).mean() > limit:
            return "ground"
        smaller = np.abs(predict(shortcuts.shrink(images, share)) - before).mean()
        return "size" if smaller > limit else "cell"

    assert verdict("15-c", diagnose) == "solved."


WRONG = {
    "15-a": [0.5, 0.1 / 0.95, 0.08, 0.0, 1.2, 1 - 0.1 / 1.05, "x"],
    "15-b": [
        for_sensitivity,
        lambda scores, target, wanted: 0.5,
        lambda scores, target, wanted: np.inf,  # everybody is called negative
        lambda scores, target, wanted: np.quantile(scores[target == 0], wanted),
        lambda scores, target, wanted: wanted,
        0.7,
        with_equal_ones,
        lambda scores, target, wanted: -np.inf,  # everybody is called positive
        lambda scores, target, wanted: np.sort(scores[target == 1])[::-1][int(3 * wanted)],
    ],
    "15-c": [
        by_ground,
        by_size,
        lambda predict, images: "cell",
        lambda predict, images: "stain",
        lambda predict, images: None,
        "cell",
    ],
}


@pytest.mark.parametrize(
    ("name", "answer"), [(name, answer) for name, wrong in WRONG.items() for answer in wrong]
)
def test_wrong_answers_are_told_so(name, answer):
    assert verdict(name, answer) == "not solved yet."


@pytest.mark.parametrize(
    ("name", "index", "sentence"),
    [
        ("15-a", 0, "✗ At this prevalence, no more than half are ill."),
        ("15-a", 2, "✗ At this prevalence, no less than half are ill."),
        ("15-b", 0, "You seem to count positive images"),
        ("15-b", 3, "equals the threshold is called positive"),
        ("15-b", 6, "equals the threshold is called positive"),
        ("15-b", 7, "✗ The specificity is at least the wanted one"),
        ("15-b", 2, "✗ No other threshold with this specificity has a higher sensitivity."),
        ("15-c", 0, "✗ A network that changes its scores when the cell is made smaller"),
        ("15-c", 1, "✗ A network that changes its scores when only the ground is changed"),
    ],
)
def test_a_usual_mistake_is_named(name, index, sentence):
    assert sentence in missed(name, WRONG[name][index])
