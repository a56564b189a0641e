"""What README and the book's pages say agrees with the code that they speak of."""

import re
import shlex
from pathlib import Path

import pytest
import yaml

from helpers.base import settings
from helpers.course.project import find, toc_files

ROOT = Path(__file__).resolve().parents[3]
PAGES = [ROOT / "README.md", *sorted((ROOT / "book").glob("*.md"))]


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def commands() -> list[tuple[str, str]]:
    """Return each line of the pages' shell examples with the page it stands on."""
    return [
        (page.name, line.split("#")[0].strip())
        for page in PAGES
        for block in re.findall(r"```bash\n(.*?)```", page.read_text(encoding="utf-8"), re.S)
        for line in block.splitlines()
        if line.split("#")[0].strip()
    ]


def test_course_commands_on_the_pages_exist():
    import typer

    from helpers.course.cli import app

    root = typer.main.get_command(app)
    seen = 0
    for page, line in commands():
        words = line.split()
        if words[0].removeprefix(".venv/bin/") != "course":
            continue
        seen += 1
        command, rest = root, words[1:]
        while hasattr(command, "commands") and rest and not rest[0].startswith("-"):
            assert rest[0] in command.commands, f"{page}: {line}"
            command, rest = command.commands[rest[0]], rest[1:]
        known = {option for p in command.params for option in (*p.opts, *p.secondary_opts)}
        for word in rest:
            if word.startswith("--") and word != "--help":
                assert word in known, f"{page}: {line}"
    assert seen >= 6


def test_make_targets_and_variables_on_the_pages_exist():
    makefile = text_of("Makefile")
    for page, line in commands():
        if not line.startswith("make "):
            continue
        for word in shlex.split(line)[1:]:
            name = word.split("=")[0]
            pattern = rf"(?m)^{name} \?=" if "=" in word else rf"(?m)^{name}:"
            assert re.search(pattern, makefile), f"{page}: {line}"


def test_profile_table_says_what_the_profiles_are():
    rows = dict(
        re.findall(
            r"(?m)^\| ([a-z ]+?) \| (.+?) \|$",
            text_of("book/running.md").split("### Profiles")[1].split("###")[0],
        )
    )
    shown = {
        "phantoms drawn": "phantoms",
        "subjects drawn": "subjects",
        "real images used": "images",
        "side in pixels": "size",
        "epochs at most": "epochs",
        "bootstrap resamples": "resamples",
    }
    for row, attribute in shown.items():
        values = [getattr(settings.PROFILES[name], attribute) for name in settings.PROFILES]
        assert rows[row].split(" | ") == ["all" if v is None else str(v) for v in values], row


def test_settings_table_says_the_defaults_and_every_data_set():
    page = text_of("book/running.md")
    assert f"| `SEED` | a whole number: every random choice follows from it | `{24}` |" in page
    assert settings.DEFAULT_SEED == 24
    row = re.search(r"(?m)^\| `DATASET` \|(.*)$", page)[1]
    table = re.findall(r"(?m)^\| `(\w+)` \|", text_of("book/datasets.md"))
    assert re.findall(r"`(\w+)`", row) == [*table, "phantom"]
    # Whoever adds one writes one file: the page gets its section when the book is built.
    assert set(table) <= set(settings.DATASETS)
    assert {"phantom", "cnmc", "taleqani", "all_idb", "snam", "folders"} == set(table)


def test_data_page_says_what_the_index_says():
    index = pytest.importorskip("helpers.datasets.copies.index").cnmc_index()
    page = text_of("book/datasets.md")
    parts = index["part"].value_counts()
    assert f"{len(index):,} frames" in page
    training = index[index["part"] == "train"]
    labels = training["label"].value_counts()
    people = training.groupby("label")["subject"].nunique()
    row = (
        f"| training | {len(training):,} | {labels['all']:,} | {labels['hem']:,} "
        f"| {people['all']} and {people['hem']} |"
    )
    assert row in page
    assert f"| preliminary test | {parts['prelim']:,} |" in page
    assert f"| final test | {parts['final']:,} |" in page
    sizes = training.groupby("subject").size()
    assert f"from {sizes.min()} to {sizes.max()} images" in page
    twins = training[training.duplicated("sha256", keep=False)].groupby("sha256")
    across = (twins["subject"].nunique() > 1).sum()
    folds = (twins["fold"].nunique() > 1).sum()
    assert f"{twins.ngroups} groups of training files are identical" in page
    assert f"{across} of them join different subject ids, and {folds} join different folds" in page


def test_every_reference_is_cited_with_its_source():
    entries = re.findall(r"@\w+\{(\w+),(.*?)\n\}", text_of("book/references.bib"), re.S)
    assert len(entries) > 12
    for key, body in entries:
        assert re.search(r"\b(doi|howpublished|note|publisher)\s*=", body), key
        for doi in re.findall(r"doi\s*=\s*\{(.*?)\}", body):
            assert re.fullmatch(r"10\.\d{4,}/\S+", doi), key
    keys = {key for key, _ in entries}
    cited = {
        key.strip()
        for page in PAGES
        for group in re.findall(r"\{cite:\w+\}`([^`]+)`", page.read_text(encoding="utf-8"))
        for key in group.split(",")
    }
    assert cited <= keys


def test_glossary_terms_that_pages_point_at_exist_and_stand_once():
    body = text_of("book/glossary.md")
    blocks = re.findall(r"```\{glossary\}\n(.*?)```", body, re.S)
    terms = [line for b in blocks for line in b.splitlines() if line and not line.startswith(" ")]
    lower = [term.lower() for term in terms]
    assert sorted(lower) == sorted(set(lower))
    for page in PAGES:
        for shown in re.findall(r"\{term\}`([^`]+)`", page.read_text(encoding="utf-8")):
            named = re.search(r"<(.+)>$", shown)
            assert (named[1] if named else shown).lower() in lower, f"{page.name}: {shown}"


def test_citation_file_names_what_the_package_is():
    import tomllib

    cited = yaml.safe_load(text_of("CITATION.cff"))
    project = tomllib.loads(text_of("pyproject.toml"))["project"]
    assert str(cited["version"]) == project["version"]
    assert cited["license"] == project["license"]
    assert "BSD 3-Clause" in text_of("LICENSE")


def test_pages_and_contents_agree():
    listed = {name for name in toc_files(ROOT / "_toc.yml") if name.startswith("book/")}
    assert listed == {f"book/{page.stem}" for page in PAGES if page.name != "README.md"}
    numbers = {chapter.number for chapter in find().chapters}
    named = set(re.findall(r"notebooks/(\d\d)_\w+\.ipynb", text_of("book/intro.md")))
    assert numbers <= named, "the introduction leads to every chapter"


def test_readme_links_and_pictures_are_there():
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", text_of("README.md")):
        assert (ROOT / target).is_file(), target


def test_svg_drawings_load_nothing():
    drawings = list((ROOT / "book" / "_static").glob("*.svg"))
    assert drawings
    for path in drawings:
        text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert "http" not in text, path.name
        assert "<script" not in text, path.name
        assert "aria-label" in text, path.name
