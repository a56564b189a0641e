"""Whatever a user gives a public function: a result, or one sentence of its room's error."""

from __future__ import annotations

import contextlib
import io

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers import catalog as catalogs
from helpers.base.errors import CatalogError, CourseError, PredictionsError
from helpers.predictions import ensembling, metrics, table
from tests.unit import public_functions, strange

FUNCTIONS = public_functions.functions()


MAKERS = {}  # not a fixture's value: pytest would print all of it with each failure


@pytest.fixture(scope="module", autouse=True)
def _files(tmp_path_factory):
    MAKERS.update(public_functions.sound(tmp_path_factory.mktemp("doors")))


@st.composite
def calls(draw):
    """Draw a function, one of its arguments, and what is strange about that argument."""
    name = draw(st.sampled_from(sorted(FUNCTIONS)))
    changes = draw(st.lists(st.sampled_from(sorted(strange.CHANGES)), min_size=1, max_size=2))
    return name, draw(st.integers(0, 9)), changes, draw(st.sampled_from(sorted(strange.STRANGE)))


def try_out(call):
    name, place, changes, other = call
    given_ = public_functions.arguments(name, FUNCTIONS[name], MAKERS)
    keys = public_functions.open_to_users(name, given_)
    key = keys[place % len(keys)]
    sound = given_[key]
    if isinstance(sound, pd.DataFrame):
        given_[key] = strange.changed(sound, changes)
    elif isinstance(sound, dict) and all(isinstance(t, pd.DataFrame) for t in sound.values()):
        given_[key] = {**sound, "b": strange.changed(sound["b"], changes)}
    else:
        given_[key] = strange.STRANGE[other]
    with contextlib.redirect_stdout(io.StringIO()):
        fault = strange.attempt(FUNCTIONS[name], **given_)
    plt.close("all")
    assert fault is None, f"{name}, {key}, {changes}, {other}: {fault}"


few = settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.mark.slow
@few
@given(calls())
def test_strange_arguments_give_a_result_or_a_sentence(call):
    try_out(call)


@pytest.mark.slow
@settings(few, max_examples=800)
@given(calls())
def test_many_strange_arguments_give_a_result_or_a_sentence(call):
    try_out(call)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_sound_arguments_are_taken(name):
    """Else the tests above would try nothing but refusals."""
    given_ = public_functions.arguments(name, FUNCTIONS[name], MAKERS)
    FUNCTIONS[name](**given_)
    plt.close("all")


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [
        "subject categorical",
        "label categorical",
        "split of dtype string",
        "image_id of objects",
        "positive boolean",
        "positive int64",
        "positive float",
        "positive text",
        "score Float64",
        "score text",
        "index of dates",
        "index repeated",
        "backwards",
        "columns categorical",
        "more columns",
        "attrs",
    ],
)
def test_another_dtype_is_the_same_table(change):
    sound = strange.predictions()
    other = strange.CHANGES[change](sound)
    pd.testing.assert_frame_equal(
        metrics.report(other, resamples=20), metrics.report(sound, resamples=20)
    )
    vote = ensembling.soft_vote({"a": other, "b": other}).sort_values("image_id")
    assert vote["score"].tolist() == pytest.approx(sound["score"].tolist())


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("score twice", r"each column once; \['score'\]"),
        ("index named image_id", r"plain index, not one of \['image_id'\]: call reset_index"),
        ("a number in label", "column 'label' of the predictions must hold text, but holds 1.0"),
        ("a number in image_id", "column 'image_id' of the predictions must hold text"),
        ("None", "must be a pandas.DataFrame, but are None"),
        ("a dict", "must be a pandas.DataFrame, but are of type dict"),
        ("complex in score", "not probabilities"),
        ("score text with commas", r"not probabilities .* first 0,"),
        ("columns of numbers", "lack the columns"),
    ],
)
def test_the_sentence_says_what_was_found(change, sentence):
    with pytest.raises(PredictionsError, match=sentence):
        table.check(strange.CHANGES[change](strange.predictions()))
    with pytest.raises(PredictionsError, match=f"Model 'b': .*{sentence}"):
        ensembling.soft_vote(
            {"a": strange.predictions(), "b": strange.CHANGES[change](strange.predictions())}
        )


def rooms_that_take_a_catalog(folder):
    """Return a call for each further room: a table that is no catalog must not get inside."""
    from helpers import images
    from helpers.base.settings import PROFILES, Settings
    from helpers.cells import features, field_crops
    from helpers.models import transfer
    from helpers.studies import lineup
    from helpers.training import frozen, runs, zoo

    course = Settings("phantom", PROFILES["smoke"], 24, None, folder)
    pixels = strange.images()
    recipe = transfer.RECIPES["mobilenetv2_frozen"]
    return {
        "load_images": lambda rows: images.load_images(rows, 16),
        "readable": lambda rows: images.readable(rows),
        "frozen": lambda rows: frozen.images_of(rows, 16, pixels),
        "zoo": lambda rows: zoo.load_or_train(recipe, rows, course),
        "fit": lambda rows: runs.fit(None, rows, pixels, course, "net"),
        "cells": lambda rows: features.table(rows),
        "crops": lambda rows: field_crops.crops(rows, 16),
        "probe": lambda rows: lineup.probe(pixels.reshape(strange.N, -1), rows),
        "cached": lambda rows: lineup.cached_predictions(course, "x", rows, {}, lambda: None),
    }


@pytest.mark.parametrize(
    "change",
    ["None", "a dict", "a list", "an array", "label twice", "split twice", "no label", "no rows",
     "a number in label", "index named image_id", "columns of two levels", "a dict in split"],
)  # fmt: skip
def test_no_other_room_lets_a_strange_table_in(change, tmp_path):
    table_ = strange.CHANGES[change](strange.catalog())
    for room, call in rooms_that_take_a_catalog(tmp_path).items():
        assert strange.attempt(call, rows=table_) is None, room
        with pytest.raises(CourseError):
            call(table_)


def test_the_doors_cost_milliseconds_on_a_whole_data_set(benchmark):
    rows = pd.concat([strange.catalog()] * 1250, ignore_index=True)
    rows["image_id"] = [f"i{number}" for number in range(len(rows))]
    benchmark(catalogs.check, rows)
    if benchmark.enabled:
        assert benchmark.stats["median"] < 0.1


def test_a_class_is_on_one_side_only():
    rows = strange.predictions()
    rows.loc[rows.index[rows["label"] == "all"][0], "positive"] = 0
    with pytest.raises(PredictionsError, match=r"class 'all' is negative .* in 1 rows .* in 5: a"):
        table.check(rows)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda score: 100 * score, "look like percent, divide them by 100"),
        (lambda score: np.log(score / (1 - score)), "or are they logits"),
        (lambda score: score * np.nan, "did the training diverge"),
    ],
)
def test_scores_of_another_kind_are_called_by_it(change, sentence):
    rows = strange.predictions()
    with pytest.raises(PredictionsError, match=sentence):
        table.check(rows.assign(score=change(rows["score"])))


@pytest.mark.parametrize("path", [None, "", 3, b"x.csv", "x\0.csv", []])
def test_a_path_that_names_no_file_is_told(path):
    for call in (lambda: table.save_predictions(path, strange.predictions()),
                 lambda: table.load_predictions(path)):  # fmt: skip
        with pytest.raises(PredictionsError, match="The path of the predictions must"):
            call()


# --- files of predictions from elsewhere --------------------------------------------------------


def written(folder, text, encoding="utf-8"):
    path = folder / "predictions.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
    return path


@pytest.fixture(scope="module")
def text():
    return strange.predictions().to_csv(index=False, lineterminator="\n")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_files_of_other_systems_are_read(tmp_path, text, encoding, end):
    found = table.load_predictions(written(tmp_path, text.replace("\n", end), encoding))
    pd.testing.assert_frame_equal(found, strange.predictions(), check_dtype=False)


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda t: t.encode("utf-16"), "no UTF-8 text"),
        (lambda t: t.replace(",", ";"), "lack the columns .*'image_id;subject;"),
        (lambda t: t.replace(",", "\t"), "lack the columns"),
        (lambda t: t.replace("score", "probability"), r"lack the columns \['score'\]; found are"),
        (lambda t: t.replace("0.", "0,"), "more entries than its header: are commas"),
        (lambda t: t.replace(",0.", ',"0,').replace("\n", '"\n'), "cannot be read|lack|not prob"),
        (lambda t: t[: len(t) // 2], "its last line must end"),
        (lambda t: t[:-4], "its last line must end"),
        (lambda t: "", "cut off"),
        (lambda t: t.partition("\n")[0] + "\n", "no rows"),
        (lambda t: t + "i0,s0\n", "not probabilities|hold|repeat|no label"),
        (lambda t: b"PK\x03\x04\x00\x00" + t.encode(), "no UTF-8 text"),
        (lambda t: t.replace("i03,", ","), "repeat|not|valid|hold"),
    ],
)
def test_a_foreign_or_damaged_file_is_told_in_one_sentence(tmp_path, text, spoil, sentence):
    path = written(tmp_path, spoil(text))
    with pytest.raises(PredictionsError, match=sentence) as told:
        table.load_predictions(path)
    assert str(path) in str(told.value)
    assert "\n" not in str(told.value)
    assert table.read_predictions(path) is None


@settings(few, max_examples=40)
@given(st.integers(1, 500))
def test_a_file_cut_off_anywhere_is_no_other_table(tmp_path, text, length):
    length = min(length, len(text) - 1)
    try:
        found = table.load_predictions(written(tmp_path, text[:length]))
    except CourseError:
        return
    assert text[:length].endswith("\n")  # whole lines: fewer rows, but none is another one
    assert found["score"].tolist() == strange.predictions()["score"].tolist()[: len(found)]


def test_a_catalog_that_is_no_catalog_is_told(tmp_path):
    for content in (b"", b"\xff\xfe\x00", b"a,b\n1,2\n", np.zeros(9).tobytes()):
        with pytest.raises(CatalogError, match=str(tmp_path)):
            catalogs.read(written(tmp_path, content))
    with pytest.raises(CatalogError, match="cannot be read"):
        catalogs.read(tmp_path)
