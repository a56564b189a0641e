"""A Sphinx extension that removes the scripts of sphinx-thebe from the pages.

Jupyter Book always adds sphinx-thebe (live code from a public host), also where
``launch_buttons.thebe`` is false. With Sphinx 7 it adds the settings twice, and
every page logs the error that a constant is declared again.
"""

from __future__ import annotations

from typing import Any

_UNWANTED = ("THEBE_JS_URL", "sphinx-thebe")


def setup(app: Any) -> dict[str, bool]:
    """Register with Sphinx."""
    # Priority 900: after the hooks that add the scripts.
    app.connect("html-page-context", _drop_unwanted, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _drop_unwanted(app: Any, page: str, template: str, context: dict, doctree: Any) -> None:
    for kind in ("script_files", "css_files"):
        context[kind] = [file for file in context.get(kind, []) if not _is_unwanted(file)]


def _is_unwanted(file: Any) -> bool:
    text = f"{getattr(file, 'filename', None) or file} {getattr(file, 'attributes', '')}"
    return any(word in text for word in _UNWANTED)
