"""A book of some chapters says which, and lists no others."""

import pytest
import yaml

from helpers.base.errors import RunError
from helpers.course import subset
from helpers.course.project import Chapter, Project, find, read_toc
from tests import minicourse


@pytest.mark.parametrize(
    ("numbers", "told"),
    [
        ((1,), "chapter 01"),
        ((1, 5), "chapters 01 and 05"),
        ((7, 1, 5), "chapters 01, 05 and 07"),
        ((1, 2, 3, 4), "chapters 01 to 04"),
        ((1, 2, 3, 9, 10, 21, 22, 20), "chapters 01 to 03, 09, 10 and 20 to 22"),
    ],
)
def test_the_sentence_names_the_chapters_in_order(numbers, told, tmp_path):
    chapters = [Chapter(f"{number:02d}_x", tmp_path) for number in numbers]
    assert subset.sentence(chapters) == f"This book holds {told}."


def test_contents_keep_other_pages_and_drop_empty_parts():
    toc = yaml.safe_load("""
root: book/intro
parts:
- caption: One
  chapters:
  - file: notebooks/01_lines
    sections:
    - file: notebooks/02_files.ipynb
- caption: Two
  chapters:
  - file: notebooks/03_more
- caption: Three
  chapters:
  - file: book/status
""")
    kept = subset.contents(toc, {"01_lines"})
    assert [part["caption"] for part in kept["parts"]] == ["One", "Three"]
    assert kept["parts"][0]["chapters"] == [{"file": "notebooks/01_lines", "sections": []}]
    assert kept["root"] == "book/intro"
    assert len(toc["parts"]) == 3
    assert subset.contents(toc, {"01_lines", "02_files", "03_more"}) == {
        **toc,
        "parts": [
            {
                "caption": "One",
                "chapters": [
                    {
                        "file": "notebooks/01_lines",
                        "sections": [{"file": "notebooks/02_files.ipynb"}],
                    }
                ],
            },
            *toc["parts"][1:],
        ],
    }


def test_lines_of_chapters_may_be_taken_out_of_the_table_of_contents(tmp_path):
    root = minicourse.make(tmp_path / "course")
    toc = root / "_toc.yml"
    toc.write_text(
        "format: jb-book\nroot: book/intro\nparts:\n- caption: One\n  chapters:\n"
        "  - file: notebooks/01_lines\n- caption: Two\n  chapters:\n- caption: Three\n"
    )
    course = find(root)
    (chapter,) = course.chapters
    assert chapter.number == "01"
    kept = subset.contents(read_toc(toc), {chapter.name})
    assert [part["caption"] for part in kept["parts"]] == ["One"]


@pytest.mark.parametrize(
    "text",
    ["", "- file: a\n", "root: a\n\tparts: b\n", "parts: 3\n", "parts:\n- a\n", "parts: text\n"],
)
def test_a_file_that_is_no_table_of_contents_is_told(text, tmp_path):
    (tmp_path / "_toc.yml").write_text(text)
    with pytest.raises(RunError, match=r"_toc\.yml cannot be read as a table of contents: "):
        print(find(tmp_path).chapters)


def test_a_chapter_is_lacking_when_the_clone_or_a_page_has_it(tmp_path):
    root = minicourse.make(tmp_path / "course")
    course = Project(root, root / "_build")
    assert not subset.lacking(course, list(course.chapters))
    assert subset.lacking(course, list(course.chapters[:1]))
    assert subset.absent(course, list(course.chapters[:1])) == {"notebooks/02_files": "02 Files"}
    (root / "book" / "more.md").write_text("# More\n\n[](../notebooks/03_away.ipynb)\n")
    assert subset.lacking(course, list(course.chapters))
    assert subset.absent(course, list(course.chapters)) == {"book/more": "More"}


def test_the_whole_course_lacks_nothing():
    course = find()
    assert not subset.lacking(course, list(course.chapters))
    assert subset.absent(course, list(course.chapters)) == {}
