import json
import re
import zipfile

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from helpers.base.errors import RunError
from helpers.course.editions import MARK, without_solutions, write_student_edition
from helpers.course.project import find

ANSWER = "answer = [cell for cell in cells if cell.area > 1234]"
EXERCISE = """### Exercise 01-a: large cells

Which cells are large?"""


def chapter() -> nbformat.NotebookNode:
    solution = new_code_cell(
        f"# @title Solution\n{ANSWER}\nanswer",
        metadata={"tags": ["solution", "hide-cell"], "cellView": "form", "x": ANSWER},
    )
    solution.outputs = [nbformat.v4.new_output("stream", text="1234 cells")]
    checked = new_code_cell('check("01-a", answer)', metadata={"papermill": {"note": "1234"}})
    checked.outputs = [nbformat.v4.new_output("stream", text="✓ 1234 it is")]
    checked.execution_count = 7
    return new_notebook(
        metadata={
            "kernelspec": {"name": "python3", "language": "python", "display_name": "Python 3"},
            "solution_was": ANSWER,
        },
        cells=[
            new_markdown_cell("# A chapter"),
            new_code_cell('DATASET = "phantom"', metadata={"tags": ["parameters"]}),
            new_markdown_cell(EXERCISE),
            new_code_cell("answer = ..."),
            checked,
            solution,
            new_markdown_cell("*What to remember*"),
        ],
    )


@pytest.fixture
def clone(tmp_path):
    root = tmp_path / "clone"
    (root / "notebooks").mkdir(parents=True)
    (root / "_toc.yml").write_text("root: notebooks/02_b\nchapters:\n- file: notebooks/01_a\n")
    (root / "pyproject.toml").write_text(
        '[project.urls]\nRepository = "https://github.com/OWNER/REPOSITORY"\n'
    )
    for name in ("01_a", "02_b"):
        nbformat.write(chapter(), root / "notebooks" / f"{name}.ipynb")
    return root


def test_solutions_are_gone_with_their_outputs_and_metadata():
    before = chapter()
    source = nbformat.writes(before)
    text = nbformat.writes(without_solutions(before))
    assert "1234" not in text
    assert "Solution" not in text
    assert nbformat.writes(before) == source, "the chapter itself is untouched"


def test_exercises_answers_and_checks_stay():
    cells = without_solutions(chapter()).cells
    sources = [cell.source for cell in cells]
    assert EXERCISE in sources
    assert "answer = ..." in sources
    assert 'check("01-a", answer)' in sources
    assert sources[0] == "# A chapter"
    assert sources[1].startswith("*Student edition")
    assert cells[2].metadata.tags == ["parameters"]
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells)


def test_solution_that_stands_elsewhere_too_is_refused():
    notebook = chapter()
    notebook.cells.append(new_code_cell(f"  {ANSWER}   # as above"))
    with pytest.raises(RunError, match="chapter_x gives a solution away"):
        without_solutions(notebook, "chapter_x")


def test_notebook_without_cells_is_refused():
    with pytest.raises(RunError, match="no cells"):
        without_solutions(new_notebook())


def test_edition_holds_the_chapters_in_reading_order_and_a_readme(clone, tmp_path):
    out = tmp_path / "deep" / "edition"
    written = write_student_edition(out, clone)
    assert [path.name for path in written] == ["02_b.ipynb", "01_a.ipynb", "README.md"]
    assert {path.name for path in out.iterdir()} == {path.name for path in written} | {MARK}
    for path in written[:-1]:
        nbformat.validate(nbformat.read(path, as_version=4))
    readme = written[-1].read_text(encoding="utf-8")
    assert "A chapter" in readme
    assert "OWNER" not in readme, "a placeholder is of no use to a student"


def test_edition_is_replaced_as_a_whole_and_is_the_same_again(clone, tmp_path):
    out, toc = tmp_path / "edition", (clone / "_toc.yml").read_text()
    first = {path.name: path.read_bytes() for path in write_student_edition(out, clone)}
    (clone / "_toc.yml").write_text("root: notebooks/02_b\n")
    assert {path.name for path in write_student_edition(out, clone)} == first.keys() - {
        "01_a.ipynb"
    }
    assert not (out / "01_a.ipynb").exists(), "of the older edition"
    (clone / "_toc.yml").write_text(toc)
    (out / ".ipynb_checkpoints").mkdir()
    (out / ".ipynb_checkpoints" / "01_a-checkpoint.ipynb").write_text("{}")
    second = {path.name: path.read_bytes() for path in write_student_edition(out, clone)}
    assert first.keys() == second.keys()
    assert list(out.parent.glob(".edition-*")) == []
    ids = [[c["id"] for c in json.loads(f["01_a.ipynb"])["cells"]] for f in (first, second)]
    assert ids[0] == ids[1]


@pytest.mark.parametrize("name", ["my_answers.ipynb", "notes/monday.txt", "01_a.ipynb", MARK])
def test_what_the_command_did_not_write_is_not_replaced(clone, tmp_path, name):
    out = tmp_path / "edition"
    write_student_edition(out, clone)
    (out / name).parent.mkdir(exist_ok=True)
    (out / name).write_text("{}")
    told = "README.md" if name == MARK else name  # an edition that does not say its files
    with pytest.raises(RunError, match=rf"did not write, or .*\(.*{told}.*\): move them"):
        write_student_edition(out, clone)
    assert (out / name).read_text() == "{}"


def test_folder_of_another_maker_is_left_alone(clone, tmp_path):
    out = tmp_path / "thesis"
    out.mkdir()
    (out / "chapter.txt").write_text("years of work")
    with pytest.raises(RunError, match="not made by"):
        write_student_edition(out, clone)
    assert (out / "chapter.txt").read_text() == "years of work"
    with pytest.raises(RunError, match="not a folder"):
        write_student_edition(out / "chapter.txt", clone)


def test_a_chapter_that_cannot_be_read_is_named(clone, tmp_path):
    (clone / "notebooks" / "01_a.ipynb").write_text("<<<<<<< HEAD")
    with pytest.raises(RunError, match=r"01_a.ipynb cannot be read as a notebook"):
        write_student_edition(tmp_path / "edition", clone)


def test_failed_edition_leaves_the_former_one(clone, tmp_path):
    out = tmp_path / "edition"
    before = {path: path.read_bytes() for path in write_student_edition(out, clone)}
    broken = chapter()
    broken.cells.append(new_code_cell(ANSWER))
    nbformat.write(broken, clone / "notebooks" / "01_a.ipynb")
    with pytest.raises(RunError):
        write_student_edition(out, clone)
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.slow
def test_real_chapters_leak_nothing(tmp_path):
    """No line of a real solution, long enough to tell something, is left in the edition."""
    course = find()
    edition = {path.name: path for path in write_student_edition(tmp_path / "edition")}
    for chapter in course.chapters:
        source = nbformat.read(chapter.path, as_version=4)
        left = nbformat.read(edition[chapter.path.name], as_version=4)
        nbformat.validate(left)
        solutions = [c for c in source.cells if "solution" in c.metadata.get("tags", [])]
        kept = [c for c in source.cells if c not in solutions]
        assert len(left.cells) == len(kept) + 1
        taught = "\n".join(cell.source for cell in kept)
        text = edition[chapter.path.name].read_text(encoding="utf-8")
        assert "@title Solution" not in text
        for line in "\n".join(cell.source for cell in solutions).splitlines():
            code = line.split("#")[0].strip()
            if len(code) > 12 and code not in taught:
                assert json.dumps(code)[1:-1] not in text, f"{chapter.name}: {code}"
        # Each exercise is still a question, a place for the answer and a check.
        names = re.findall(r"### Exercise (\d\d-[a-z])", taught)
        sources = [cell.source for cell in left.cells]
        assert all(any(f'check("{name}"' in s for s in sources) for name in names)
        assert sum(bool(re.search(r"(?m)^answer = \.\.\.", s)) for s in sources) >= len(names)


@pytest.fixture(scope="module")
def real_edition(tmp_path_factory):
    """The course's own edition, by the endings of its files."""
    written = write_student_edition(tmp_path_factory.mktemp("real") / "edition")
    return {
        suffix: [p for p in written if p.suffix == suffix] for suffix in (".ipynb", ".md", ".whl")
    }


@pytest.mark.slow
def test_wheel_comes_with_the_edition_and_holds_no_solution(real_edition):
    (wheel,) = real_edition[".whl"]
    assert f"pip install jupyterlab {wheel.name}" in real_edition[".md"][0].read_text()
    with zipfile.ZipFile(wheel) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    assert "helpers/exercises/chapter_05.py" in files
    assert not any(name.endswith((".ipynb", ".pyc")) for name in files)
    shipped = b"\n".join(files.values()).decode("utf-8", "replace")
    for chapter in find().chapters:
        cells = nbformat.read(chapter.path, as_version=4).cells
        marks = [(c.source, "solution" in c.metadata.get("tags", [])) for c in cells]
        page = "\n".join(source for source, solution in marks if not solution)
        for source in (source for source, solution in marks if solution):
            own = [ln.strip() for ln in source.splitlines() if ln.startswith(" ") and len(ln) > 24]
            own = [line for line in own if line not in page]
            there = [line for line in own if line in shipped]
            assert len(there) <= len(own) / 2, f"{chapter.name}: {there}"


@pytest.mark.slow
def test_the_edition_has_the_set_up_and_forms_of_the_course_but_no_link_out_of_itself(
    real_edition,
):
    course = {c.path.name: nbformat.read(c.path, as_version=4) for c in find().chapters}
    for path in real_edition[".ipynb"]:
        edition = nbformat.read(path, as_version=4)
        forms = [
            c for c in edition.cells if {"setup", "parameters"} & set(c.metadata.get("tags", []))
        ]
        assert len(forms) == 2
        assert all(cell in course[path.name].cells for cell in forms)
        assert "OWNER" not in nbformat.writes(edition)
        assert edition.metadata.colab == {"provenance": [], "toc_visible": True}
        assert not re.search(r"\]\(\.\./", "".join(c.source for c in edition.cells))


def test_links_to_colab_stay_in_the_course(clone, tmp_path):
    """They would open the instructor's own copy, with the solutions."""
    path = clone / "notebooks" / "01_a.ipynb"
    notebook = nbformat.read(path, as_version=4)
    link = new_markdown_cell("[Colab](https://colab...)", metadata={"tags": ["colab-links"]})
    notebook.cells.insert(1, link)
    nbformat.write(notebook, path)
    written = {path.name: path for path in write_student_edition(tmp_path / "edition", clone)}
    assert "https://colab..." not in written["01_a.ipynb"].read_text()


@pytest.mark.slow
def test_chapter_of_the_edition_runs_from_top_to_bottom(tmp_path):
    """Unanswered exercises do not stop a student's notebook."""
    papermill = pytest.importorskip("papermill")
    edition = write_student_edition(tmp_path / "edition")
    done = papermill.execute_notebook(
        edition[1],
        tmp_path / "done.ipynb",
        parameters={"PROFILE": "smoke"},
        cwd=tmp_path,
        progress_bar=False,
        execution_timeout=600,
    )
    said = [o.get("text", "") for c in done.cells for o in c.get("outputs", [])]
    assert sum("not answered yet" in text for text in said) >= 3
    assert not any("solved." in text for text in said)
