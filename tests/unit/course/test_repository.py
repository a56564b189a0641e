import json
import subprocess

import pytest
from typer.testing import CliRunner

import helpers
from helpers.base import files
from helpers.base.errors import RunError
from helpers.course import cli, colab, repository
from helpers.course.project import find
from tests import minicourse

OLD = repository.PLACEHOLDER
NEW = "https://github.com/somebody/blood-cells.course"


@pytest.fixture
def clone(tmp_path):
    """A clone with the address in every kind of place."""
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "book").mkdir()
    cells = [
        minicourse.markdown(f"# Lines\n\nSee [a word](../book/intro.md#here) and <{OLD}/issues>."),
        minicourse.code("...", "setup"),
        minicourse.code(minicourse.PARAMETERS, "parameters"),
    ]
    for name, title in (("01_a", "Lines"), ("02_b", "Files")):
        text = cells[0]["source"].replace("Lines", title)
        content = minicourse.notebook({**cells[0], "source": text}, *cells[1:])
        minicourse.write(tmp_path / "notebooks" / f"{name}.ipynb", content)
    files = {
        "_toc.yml": "root: book/intro\nchapters:\n- file: notebooks/01_a\n- file: notebooks/02_b\n",
        "pyproject.toml": f'[project]\nname = "x"\n[project.urls]\nRepository = "{OLD}"\n',
        "_config.yml": f"repository:\n  url: {OLD}\n",
        "README.md": f"<!-- colab -->\nSee {OLD}.\n[Colab](https://colab.research.google.com/github/OWNER/REPOSITORY"
        f"/blob/main/notebooks/01.ipynb) git+{OLD}.git {OLD}-other\n",
        "CITATION.cff": f'repository-code: "{OLD}"\n',
        "book/intro.md": f"<{OLD}/issues>\n",
        "book/other.md": "nothing of it\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    repository.set_repository(OLD, tmp_path)
    return tmp_path


def cells_of(path):
    """Return the sources of a chapter's cells by id."""
    return {c["id"]: "".join(c["source"]) for c in json.loads(path.read_text())["cells"]}


def test_command_says_what_it_did_to_the_address(clone):
    def told(address):
        done = CliRunner().invoke(cli.app, ["repository", address, "--root", str(clone)])
        return done.output.splitlines()

    assert told(OLD) == ["No address is set."]
    first, tag = told(NEW)
    assert first == "The address is set in 7 files."
    assert tag.startswith("On Colab, chapters install the tag")
    assert told(NEW)[0] == "It was set already."
    assert told(OLD) == ["The address is taken out of 7 files."]


def test_address_is_set_everywhere_at_once(clone):
    changed = {path.relative_to(clone).as_posix() for path in repository.set_repository(NEW, clone)}
    assert changed == {
        *("pyproject.toml", "_config.yml", "README.md", "CITATION.cff"),
        *("notebooks/01_a.ipynb", "notebooks/02_b.ipynb", "book/intro.md"),
    }
    assert repository.url(clone) == NEW
    readme = (clone / "README.md").read_text()
    assert f"See {NEW}." in readme
    assert "google.com/github/somebody/blood-cells.course/blob/main" in readme
    assert f"git+{NEW}.git" in readme
    assert f"{OLD}-other" in readme, "another repository, whose name begins alike"
    assert f"<{NEW}/issues>" in cells_of(clone / "notebooks/01_a.ipynb")["cell-0"]
    assert (
        f'REPOSITORY = "{helpers.__version__}", "{NEW}"'
        in cells_of(clone / "notebooks/01_a.ipynb")["cell-1"]
    )


def test_badge_and_links_appear_with_the_address(clone):
    first, last = clone / "notebooks/01_a.ipynb", clone / "notebooks/02_b.ipynb"
    assert (
        "colab.research"
        not in first.read_text() + (clone / "README.md").read_text().split("See")[0]
    )
    repository.set_repository(NEW, clone)
    colab = (
        "https://colab.research.google.com/github/somebody/blood-cells.course/blob/main/notebooks"
    )
    book = "https://somebody.github.io/blood-cells.course/"
    cells = cells_of(first)
    assert list(cells)[:2] == ["cell-0", "colab-links-top"]
    assert f"colab-badge.svg)]({colab}/01_a.ipynb)" in cells["colab-links-top"]
    assert f"({book}notebooks/01_a.html)" in cells["colab-links-top"]
    assert cells["colab-links-end"] == f"[Next chapter: 02 *Files*]({colab}/02_b.ipynb)"
    assert f"[a word]({book}book/intro.html#here)" in cells["cell-0"], (
        "no file is beside it on Colab"
    )
    assert "Next chapter" not in last.read_text()
    assert "<!-- colab --> [![Open in Colab]" in (clone / "README.md").read_text()


def test_the_book_may_be_elsewhere_and_the_branch_have_another_name(clone):
    config = clone / "_config.yml"
    config.write_text(
        f"repository:\n  url: {OLD}\n  branch: course\nhtml:\n  baseurl: https://uni.edu/wbc\n"
    )
    before = {path: path.read_bytes() for path in clone.rglob("*") if path.is_file()}
    repository.set_repository(NEW, clone)
    cells = cells_of(clone / "notebooks/01_a.ipynb")
    assert "(https://uni.edu/wbc/book/intro.html#here)" in cells["cell-0"]
    assert "blood-cells.course/blob/course/notebooks/01_a" in cells["colab-links-top"]
    repository.set_repository(OLD, clone)
    assert {path: path.read_bytes() for path in clone.rglob("*") if path.is_file()} == before


def test_a_notebook_that_the_book_does_not_list_gets_the_address_too(clone):
    (clone / "_toc.yml").write_text("root: book/intro\nchapters:\n- file: notebooks/01_a\n")
    repository.set_repository(NEW, clone)
    first, other = (cells_of(clone / f"notebooks/{name}.ipynb") for name in ("01_a", "02_b"))
    assert NEW in other["cell-1"]
    assert "02_b" not in str(first), "the last chapter of the book"


def test_the_command_says_which_tag_students_will_install(clone):
    from typer.testing import CliRunner

    from helpers.course.cli import app

    for address, tag in ((NEW, True), (OLD, False)):
        done = CliRunner().invoke(app, ["repository", address, "--root", str(clone)])
        assert done.exit_code == 0
        assert (f"the tag v{helpers.__version__}" in done.output) == tag


def test_setting_it_again_changes_nothing_and_another_time_sets_the_other(clone):
    repository.set_repository(NEW, clone)
    assert repository.set_repository(NEW + "/", clone) == []
    repository.set_repository("https://github.com/else/where.git", clone)
    assert repository.url(clone) == "https://github.com/else/where"
    assert not any("blood-cells" in path.read_text() for path in clone.rglob("*") if path.is_file())


def test_there_and_back_leaves_every_file_as_it_was(clone):
    before = {path: path.read_bytes() for path in clone.rglob("*") if path.is_file()}
    repository.set_repository(NEW, clone)
    repository.set_repository(OLD, clone)
    assert {path: path.read_bytes() for path in clone.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    "address",
    [
        "",
        "github.com/a/b",
        "http://github.com/a/b",
        "https://gitlab.com/a/b",
        "https://github.com/a",
        "https://github.com/a/b/c",
        'https://github.com/a/b"c',
        "https://github.com/a/b c",
    ],
)
def test_other_addresses_are_refused_before_anything_is_written(clone, address):
    before = {path: path.read_bytes() for path in clone.rglob("*") if path.is_file()}
    with pytest.raises(RunError, match="not the address of a GitHub repository"):
        repository.set_repository(address, clone)
    assert {path: path.read_bytes() for path in clone.rglob("*") if path.is_file()} == before


def test_clone_that_does_not_say_its_address(clone):
    (clone / "pyproject.toml").write_text("[project]\n")
    with pytest.raises(RunError, match="no Repository"):
        repository.set_repository(NEW, clone)


@pytest.mark.parametrize("name", ["pyproject.toml", "_config.yml"])
def test_settings_that_cannot_be_read_are_named(clone, name):
    (clone / name).write_text("title: [\n=")
    with pytest.raises(RunError, match=rf"{name} cannot be read \(.*line.*\): correct it"):
        repository.set_repository(NEW, clone)
    with pytest.raises(RunError, match=rf"{name} cannot be read"):
        repository.places_of(clone)


def test_this_clone_says_the_same_address_everywhere():
    root = find().root
    present = repository.url(root)
    listing = subprocess.run(
        ["git", "-C", str(root), "ls-files", "-z"], capture_output=True, text=True, check=False
    ).stdout.split("\0")
    if listing == [""]:
        pytest.skip("not a git clone")
    holders = {
        name
        for name in listing
        if name.endswith((".md", ".ipynb", ".yml", ".cff", ".toml"))
        and (root / name).is_file()
        and present in (root / name).read_text(encoding="utf-8")
    }
    assert {"pyproject.toml", "_config.yml", "README.md", "CITATION.cff"} <= holders
    chapters = [chapter.path for chapter in find().chapters]
    leads = repository.places_of(root)
    assert leads.repository == ("" if present == OLD else present)
    assert all(old == new for _, old, new in colab.dressed(chapters, leads))
    reached = {
        path.relative_to(root).as_posix()
        for place in (*repository._FILES, "notebooks/*.ipynb")
        for path in root.glob(place)
    }
    assert holders <= reached, "set_repository would miss these"


def test_book_has_launch_buttons_only_once_the_address_is_a_real_one():
    import yaml

    from helpers.course.book import _staged_config

    text = (
        (find().root / "_config.yml")
        .read_text(encoding="utf-8")
        .replace(repository.url(), repository.PLACEHOLDER)
    )
    before = yaml.safe_load(_staged_config(text))
    assert "repository" not in before
    assert "colab_url" not in before["launch_buttons"]
    after = yaml.safe_load(_staged_config(text.replace(repository.PLACEHOLDER, NEW)))
    assert after["repository"]["url"] == NEW
    assert after["launch_buttons"]["colab_url"] == "https://colab.research.google.com"
    assert before["execute"]["execute_notebooks"] == after["execute"]["execute_notebooks"] == "off"


def test_what_is_in_the_way_is_told_without_a_word_on_artifacts(clone, monkeypatch):
    def refuse(path, text):
        with files.told(path):
            raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(repository, "write_text", refuse)
    with pytest.raises(RunError, match=r"cannot be written \(Permission denied\): .* run the same"):
        repository.set_repository(NEW, clone)
    (clone / "book/folder.md").mkdir()
    with pytest.raises(RunError, match=r"folder\.md cannot be read: .*the address was not set"):
        repository.set_repository(NEW, clone)
