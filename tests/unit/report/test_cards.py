"""Cards say what the tables say, and say loudly what must not be overlooked."""

from __future__ import annotations

import json
import os
import re
import shutil
from dataclasses import asdict
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from helpers import catalog as catalogs
from helpers.base import code, settings
from helpers.base.errors import ReportError
from helpers.datasets.origins import origin
from helpers.predictions import metrics
from helpers.predictions.table import COLUMNS
from helpers.report import cards, templates
from tests.unit.strange import HOSTILE


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


def test_the_card_of_a_collapsed_network_says_so_on_top(tmp_path):
    table = predictions()
    sound = cards.model_card("net", table, course(tmp_path), traces=False)
    assert "COLLAPSED" not in sound
    marked = {"collapsed": "net collapsed: its weights did not move."}
    for scores, record in ((1.0, None), (table["score"], marked)):
        text = cards.model_card("net", table.assign(score=scores), course(tmp_path), record=record)
        top = text[: text.index("## ")]
        assert "> **COLLAPSED: net collapsed: " in top
        assert cards.as_html(text).count("<blockquote>") == 1


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
    for name in settings.DATASETS:
        assert all(asdict(origin(name)).values()), name
    with pytest.raises(settings.SettingsError, match="'mine'"):
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
    """Check that tags are closed, and collect text, tags and attributes."""

    def __init__(self):
        super().__init__()
        self.open, self.text, self.tags, self.attributes = [], [], set(), []

    def handle_starttag(self, tag, attributes):
        self.open.append(tag)
        self.tags.add(tag)
        self.attributes += attributes

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
    plain = text.replace("\\<", "<")
    words = re.findall(r"\w+", re.sub(r"(?m)^\| ---.*$", "", plain))
    assert re.findall(r"\w+", " ".join(parser.text)) == words
    assert "<h1" not in shown
    assert shown.count("<table>") == len(re.findall(r"(?m)^\| ---", text))
    assert shown.count("<li>") == len(re.findall(r"(?m)^- ", text))


@pytest.mark.slow
@pytest.mark.parametrize("evil", HOSTILE)
def test_no_value_acts_as_markup(evil, tmp_path):
    """A subject, a class, a model's name, a record: all may come from files of others."""
    table = predictions()
    first = table["subject"] == "S4"
    table.loc[first, "subject"], table.loc[first, "score"] = evil, 0.99  # wrong, so it is listed
    record = {
        "name": evil,
        "key": evil,
        "epochs": evil,
        "recipe": {"optimizer": evil, "epochs": evil},
        "data": {"train": evil, "rows": evil},
        "environment": {"device": evil, "commit": evil, "versions": {evil: evil}},
    }
    harmless = cards.model_card("x", predictions(), course(tmp_path), record=record | {"name": "x"})
    text = cards.model_card(evil, table, course(tmp_path), evil, evil, record)
    # As many lines, rows and list items as without it.
    for line_start in ("- ", "| ", "#", "> "):
        count = [len(re.findall(rf"(?m)^{re.escape(line_start)}", t)) for t in (text, harmless)]
        assert count[0] == count[1], line_start
    assert len({line.replace("\\|", "").count("|") for line in text.splitlines()}) <= 5
    parser = Balance()
    parser.feed(cards.as_html(text))
    assert not parser.open
    assert not parser.attributes
    assert parser.tags <= {"p", "b", "strong", "code", "blockquote", "ul", "li"} | {
        "table", "thead", "tbody", "tr", "th", "td",
    }  # fmt: skip
    shown = " ".join(" ".join(parser.text).split())
    one_line = " ".join(evil.split())
    assert f"Model card: {one_line}" in shown
    assert f"Trained on {one_line}, backend ?." in shown
    assert f"{one_line} hem 5 0.000 0.000" in shown


def test_labels_and_sheets_are_escaped_as_well(tmp_path):
    table = smears()
    table["subject"] = table["group"] = table["subject"].replace({"S0": "<i>|`S0`"})
    sheet = cards.data_sheet(table, course(tmp_path))
    assert r"kept together: S2+\<i\>\|\`S0\`." in sheet
    assert "<i>" not in cards.as_html(sheet)
    assert templates.code("all_idb/1.0") == "`all_idb/1.0`"
    assert templates.code("a`|b") == r"a\`\|b"  # code could not hold it


def test_a_page_shows_no_html_link_or_image_of_a_card():
    page = cards.as_html("<script>x</script> [a](http://b) ![c](http://d) <http://e>\n\n# One\n")
    assert not re.search("<script|<a|<img", page)
    assert "<p><b>One</b></p>" in page


def test_a_changed_template_makes_the_chapters_with_cards_stale(tmp_path):
    package = tmp_path / "helpers"
    shutil.copytree(code.PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))

    def version(module):
        return code.digest(code.upstream([module], package))

    before = {name: version(name) for name in ("helpers.report.cards", "helpers.report.plots")}
    template = package / "report/templates/model_card.md.j2"
    template.write_text(template.read_text(encoding="utf-8") + "More.\n", encoding="utf-8")
    assert version("helpers.report.cards") != before["helpers.report.cards"]
    assert version("helpers.report.plots") == before["helpers.report.plots"]
