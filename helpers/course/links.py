"""A Sphinx extension: numbers in the titles of chapters, links to chapters and to the glossary.

The notebooks stay plain Markdown, which Colab shows as well. On the published pages the title of
``notebooks/05_custom_cnn`` begins with 05, each "chapter 05" leads there, and the first use of
each term of the glossary in a chapter leads to its entry.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.transforms import SphinxTransform
from sphinx.transforms.post_transforms import SphinxPostTransform

_CHAPTER = re.compile(r"notebooks/(\d\d)_")
_AND = r"(?: \([^)]*\))?(?:, and|, or|,| and| or| to)"
_CITED = re.compile(rf"\b[Cc]hapters? \d\d(?:{_AND} \d\d)*\b")
_UNITS = r"%|px|pixels?|µm|nm|mm|cm|ms|s|min|h|KB|[kMGT]B"
#: The space between a number and its unit, where no line may end.
BEFORE_UNIT = re.compile(rf"(?<=\d) (?=(?:{_UNITS})(?![\w/]))")
_NUMBER = re.compile(r"(?:[Cc]hapters? )?\d\d")
#: Terms of the glossary that a page also uses as plain words ("a group of
#: people", "the width of the figure"): they lead there only where they stand in italics.
EVERYDAY = {
    "attention", "control", "coverage", "diversity", "feature", "field", "frame",
    "generator", "group", "head", "kernel", "mask", "odds", "opening", "optimism",
    "parameter", "profile", "projection", "protocol", "recipe", "score", "spectrum",
    "width",
}  # fmt: skip
#: No link is put into these: what they show has a link, is code, or is a heading.
_CLOSED = (nodes.reference, nodes.literal, nodes.title, nodes.raw, nodes.math)
_CLOSED += (nodes.literal_block, nodes.math_block, addnodes.pending_xref, nodes.target)


class NumberTitle(SphinxTransform):
    """Put the number of a chapter before its title, where the sidebar finds it too."""

    default_priority = 500

    def apply(self, **kwargs: Any) -> None:
        """Change the first title of the page."""
        chapter = _CHAPTER.match(self.env.docname)
        title = next(self.document.findall(nodes.title), None)
        if chapter and title is not None:
            title.insert(0, nodes.inline("", f"{chapter[1]} ", classes=["chapter-number"]))


class KeepUnits(SphinxTransform):
    """Let no line end between a number and its unit."""

    default_priority = 501

    def apply(self, **kwargs: Any) -> None:
        """Change the spaces in the texts of the page."""
        for text in list(self.document.findall(nodes.Text)):
            if isinstance(text.parent, (nodes.literal, nodes.literal_block, nodes.raw)):
                continue
            new = BEFORE_UNIT.sub("\N{NO-BREAK SPACE}", text)
            if new != text:
                text.parent.replace(text, nodes.Text(new))


class LinkChapters(SphinxPostTransform):
    """Make each "chapter 05" a link."""

    default_priority = 5  # before Sphinx resolves the references

    def run(self, **kwargs: Any) -> None:
        """Replace texts of the page."""
        found = self.env.found_docs
        pages = {match[1]: name for name in found if (match := _CHAPTER.match(name))}

        def parts(text: str, emphasised: bool) -> Iterator[nodes.Node]:
            at = 0
            for cited in _CITED.finditer(text):
                for number in _NUMBER.finditer(text, cited.start(), cited.end()):
                    page = pages.get(number[0][-2:])
                    if page not in (None, self.env.docname):
                        yield nodes.Text(text[at : number.start()])
                        yield _link(number[0], "doc", f"/{page}", self.env.docname)
                        at = number.end()
            yield nodes.Text(text[at:])

        _replace(self.document, parts)


class UnlinkAbsent(SphinxPostTransform):
    """Make links to what the book does not hold plain text: a book may hold some chapters only.

    A page counts as absent when the build names it so (``absent_pages``: page -> title), or
    when the book has no chapter of its number. Any other link that leads nowhere stays a fault.
    """

    default_priority = 4  # before MyST and Sphinx resolve the references

    def run(self, **kwargs: Any) -> None:
        """Replace links of the page."""
        found = self.env.found_docs
        numbers = {match[1] for name in found if (match := _CHAPTER.match(name))}
        titles = self.config.absent_pages
        no_terms = all(kind != "term" for kind, _ in self.env.get_domain("std").objects)
        for link in list(self.document.findall(addnodes.pending_xref)):
            name = self._page(link)
            chapter = _CHAPTER.match(name)
            if name in titles or (chapter and chapter[1] not in numbers):
                shown = link.astext() or titles.get(name) or f"chapter {chapter[1]}"
            elif link["reftype"] == "term" and no_terms:
                shown = link.astext()
            else:
                continue
            link.replace_self(nodes.inline("", shown))

    def _page(self, link: addnodes.pending_xref) -> str:
        """Return the page that a MyST link leads to, as Sphinx names it."""
        if link["reftype"] != "myst":
            return ""
        target = link["reftarget"].split("#")[0]
        if link.get("refdomain") != "doc" and target:
            target = self.env.relfn2path(target, link["refdoc"])[0]
        return re.sub(r"\.(md|ipynb)$", "", target)


class LinkGlossary(SphinxPostTransform):
    """Make the first use of each term of the glossary in a chapter a link to its entry."""

    default_priority = 6

    def run(self, **kwargs: Any) -> None:
        """Replace texts of the page."""
        if not _CHAPTER.match(self.env.docname):
            return
        terms = [n for kind, n in self.env.get_domain("std").objects if kind == "term"]
        open_terms = {term.lower(): term for term in terms}
        if not terms:
            return
        words = "|".join(re.escape(term) for term in sorted(terms, key=len, reverse=True))
        pattern = re.compile(rf"(?<![\w-])({words})(s?)(?![\w-])", re.IGNORECASE)

        def parts(text: str, emphasised: bool) -> Iterator[nodes.Node]:
            at = 0
            for use in pattern.finditer(text):
                term = use[1].lower()
                same = term in open_terms and (
                    not open_terms[term].isupper() or use[1] == open_terms[term]
                )
                if same and (emphasised or term not in EVERYDAY):
                    yield nodes.Text(text[at : use.start()])
                    yield _link(use[0], "term", open_terms.pop(term), self.env.docname)
                    at = use.end()
            yield nodes.Text(text[at:])

        _replace(self.document, parts, (*_CLOSED, nodes.table))


def _replace(
    document: nodes.document, parts: Callable[[str, bool], Iterator], closed: tuple = _CLOSED
) -> None:
    """Put what `parts` makes of a text in its place, outside nodes of the classes `closed`."""
    for text in list(_open_texts(document, closed)):
        new = list(parts(text.astext(), isinstance(text.parent, nodes.emphasis)))
        if len(new) > 1:
            text.parent.replace(text, [node for node in new if node.astext()])


def _open_texts(node: nodes.Element, closed: tuple) -> Iterator[nodes.Text]:
    for child in node.children:
        if isinstance(child, nodes.Text):
            yield child
        elif not isinstance(child, closed):
            yield from _open_texts(child, closed)


def _link(shown: str, kind: str, target: str, page: str) -> addnodes.pending_xref:
    content = nodes.inline("", shown, classes=["xref", "std", f"std-{kind}"])
    return addnodes.pending_xref(
        "", content, refdomain="std", reftype=kind, reftarget=target, refdoc=page,
        refexplicit=True, refwarn=True,
    )  # fmt: skip


def setup(app: Any) -> dict[str, bool]:
    """Register with Sphinx."""
    app.add_transform(NumberTitle)
    app.add_transform(KeepUnits)
    app.add_config_value("absent_pages", {}, "env")
    app.add_post_transform(UnlinkAbsent)
    app.add_post_transform(LinkChapters)
    app.add_post_transform(LinkGlossary)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
