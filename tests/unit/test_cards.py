"""Cards say what the tables say, and say loudly what must not be overlooked."""

from __future__ import annotations

import json
import os
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from helpers import catalog as catalogs
from helpers.base import settings
from helpers.base.errors import ReportError
from helpers.predictions import metrics
from helpers.predictions.table import COLUMNS
from helpers.report import cards


def course(folder, dataset="phantom", profile="smoke"):
    return settings.Settings(dataset, settings.PROFILES[profile], 24, None, folder)


def predictions(labels=("hem", "all"), seed=1):
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(24):
        split = ("train", "val", "test")[number // 2 % 3]
        positive = number % 2
        for place in range(5):
            score = float(np.clip(0.35 + 0.3 * positive + rng.normal(0, 0.2), 0, 1))
            rows.append(
                (f"{number}_{place}", f"S{number}", labels[positive], positive, split, score)
            )
    return pd.DataFrame(rows, columns=list(COLUMNS))


def smears():
    rows = predictions().drop(columns="score").to_dict("records")
    for row in rows:
        row |= {"path": f"/none/{row['image_id']}", "sha256": row["image_id"]}
    rows[0]["sha256"] = rows[12]["sha256"]  # S0 and S2 share a file
    return catalogs.make(rows)


def section(text, heading):
    return re.search(rf"(?ms)^## {heading}\n(.*?)(?=^## |\Z)", text)[1]


def test_the_figures_of_the_card_are_those_of_the_report(tmp_path):
    table, made = predictions(), course(tmp_path)
    text = cards.model_card("net", table, made, traces=False)
    test = table[table["split"] == "test"].reset_index(drop=True)
    told = section(text, "How well it does")
    for row in metrics.report(test, resamples=200, seed=24).itertuples():
        name = row.metric.replace("_", " ")
        assert f"| {name} | {row.value:.3f} | {row.low:.3f} | {row.high:.3f} |" in told
    assert f"On the {len(test)} test images" in told
    assert "| test | 40 | 8 | 20 | 20 |" in text
    assert "No subject stands in two splits." in text


def test_what_must_not_be_overlooked(tmp_path):
    text = cards.model_card("net", predictions(), course(tmp_path), source="RANDOM")
    top = text[: text.index("## ")]
    for words in ("PHANTOMS", "RANDOM WEIGHTS", "Profile `smoke`"):
        assert words in top
    real = cards.model_card(
        "net", predictions(), course(tmp_path, "cnmc", "full"), source="ImageNet"
    )
    assert not re.search("PHANTOMS|RANDOM|a small run", real)
    assert "**Not for diagnosis**" in real


def test_a_leak_is_told(tmp_path):
    table = predictions()
    table.loc[table["split"] == "test", "subject"] = "S0"
    assert "**LEAK" in cards.model_card("net", table, course(tmp_path))


def test_a_card_needs_test_images(tmp_path):
    table = predictions()
    with pytest.raises(ReportError, match="'net' have no test rows"):
        cards.model_card("net", table[table["split"] != "test"], course(tmp_path))


def test_validation_of_one_class_chooses_no_threshold(tmp_path):
    table = predictions()
    table = table[(table["split"] != "val") | (table["label"] == "all")]
    assert "No threshold was chosen" in cards.model_card("net", table, course(tmp_path))


def test_other_classes_are_named(tmp_path):
    table = predictions(("benign", "pre"))
    table.loc[3, "label"] = "benign"
    text = cards.model_card("net", table, course(tmp_path, "taleqani"))
    assert "**not patients**" in text
    assert "- Net." in text
    assert "`pre` rather than `benign`" in text


def test_traces_are_all_that_changes(tmp_path, monkeypatch):
    first = cards.model_card("net", predictions(), course(tmp_path), traces=False)
    record = {
        "name": "net-subject",
        "key": "0123",
        "epochs": 7,
        "best_epoch": 4,
        "recipe": {"epochs": 8, "optimizer": "adam", "learning_rate": 0.001, "batch_size": 32},
        "data": {"train": 40, "val": 40},
        "parameters": 1234567,
        "environment": {"device": "an abacus", "commit": "abc", "versions": {"keras": "3"}},
    }
    told = cards.model_card("net", predictions(), course(tmp_path), record=record)
    assert first == cards.model_card("net", predictions(), course(tmp_path), traces=False)
    assert "How it came about" not in first
    for words in ("an abacus", "keras 3", "Commit of the course: abc", "net-subject-0123"):
        assert words in told
    for words in ("7 epochs, the best was 4 (of 8 at most)", "1,234,567", "Trained on 40 images"):
        assert words in told


def test_the_data_sheet_counts(tmp_path):
    sheet = cards.data_sheet(smears(), course(tmp_path), traces=False)
    assert "| `hem` | 60 | 12 | 5 | 5 | 5 |" in sheet
    assert "1 groups of files are identical byte for byte (2 files); 1 of them join" in sheet
    assert "kept together: S0+S2" in sheet
    # S0 trains and S2 validates: their file is on both sides.
    assert "Leaks found between the splits: 1 x identical file." in sheet
    assert "/none/" not in sheet
    other = smears()
    other["path"] = "/elsewhere/" + other["image_id"]
    assert cards.data_sheet(other, course(tmp_path), traces=False) == sheet
    other.loc[0, "label"] = "all"
    prints = [
        section(cards.data_sheet(t, course(tmp_path)), "Fingerprint") for t in (smears(), other)
    ]
    assert prints[0] != prints[1]


def test_every_data_set_has_an_origin(tmp_path):
    assert set(cards.ORIGINS) == set(settings.DATASETS)
    with pytest.raises(ReportError, match="'mine'"):
        cards.data_sheet(smears(), course(tmp_path, "mine"))


def test_written_whole_or_not_at_all(tmp_path, monkeypatch):
    paths = cards.write(tmp_path / "cards", model_card="# One\n", data_sheet="# Two\n")
    assert [path.name for path in paths] == ["model_card.md", "data_sheet.md"]
    assert paths[1].read_text() == "# Two\n"
    with pytest.raises(UnicodeEncodeError):
        cards.write(tmp_path / "cards", model_card="\ud800")
    assert paths[0].read_text() == "# One\n"
    assert len(list((tmp_path / "cards").iterdir())) == 2


def test_the_record_is_of_this_course_and_this_name(tmp_path):
    made = course(tmp_path)
    assert cards.record_of(made, "net-subject") is None

    def write(key, **changed):
        folder = made.folder("runs", f"net-subject-{key}")
        record = {"name": "net-subject", "key": key, "settings": made.as_dict(), **changed}
        (folder / "record.json").write_text(json.dumps(record))

    write("a")
    write("b", settings={**made.as_dict(), "seed": 25})
    write("c", name="net-subject-tuned")
    rows = catalogs.fingerprint(smears(), catalogs.TRAINED_ON)
    assert cards.record_of(made, "net-subject", smears()) is None
    write("e", data={"rows": rows})
    assert cards.record_of(made, "net-subject", smears())["key"] == "e"
    assert cards.record_of(made, "net-subject", smears().iloc[1:]) is None
    os.remove(made.folder("runs", "net-subject-e") / "record.json")
    (made.folder("runs", "net-subject-d") / "record.json").write_text("{half")
    assert cards.record_of(made, "net-subject")["key"] == "a"


class Balance(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.text = [], []

    def handle_starttag(self, tag, _):
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def test_the_page_shows_all_of_the_card(tmp_path):
    text = cards.model_card("a < b", predictions(), course(tmp_path), source="RANDOM")
    parser = Balance()
    shown = cards.as_html(text)
    parser.feed(shown)
    assert not parser.open
    words = re.findall(r"\w+", re.sub(r"(?m)^\| ---.*$", "", text))
    assert re.findall(r"\w+", " ".join(parser.text)) == words
    assert "<h1" not in shown
    assert shown.count("<table>") == len(re.findall(r"(?m)^\| ---", text))
    assert shown.count("<li>") == len(re.findall(r"(?m)^- ", text))
