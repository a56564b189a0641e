"""What a chapter wrote to standard error, sorted into three kinds.

Messages known to be harmless stay off the page. Python warnings that doubt a result keep the
book from being published. Everything else is shown on the page and named in the log: libraries
write there what they like, and a new version of one must not block a book.
"""

from __future__ import annotations

import re

from helpers.base.runtime import NOISE

#: Lines known to be harmless, besides TensorFlow's: they begin like this, or contain the last.
_KNOWN = re.compile(
    r"Matplotlib is building the font cache|findfont: |INFO: |.*An NVIDIA GPU may be present"
    r"|.*\d+%\|.*\|"  # a progress bar
)
#: The line with which Python shows a warning: file, number, category, text.
_WARNING = re.compile(r".+:\d+: (\w+Warning): ")
#: Categories that speak of later versions of a library, or of cleaning up: not of the results.
_HARMLESS = re.compile(r"\w*Deprecat\w*|FutureWarning|ResourceWarning|ImportWarning")


def left_over(text: str) -> str:
    """Return what was written to standard error without the messages known to be harmless."""
    kept, within_warning = [], False
    for line in text.split("\n"):
        line = line.rstrip("\r").rpartition("\r")[2]  # as a terminal shows it
        if within_warning and line.startswith("  "):  # the line of code that Python shows
            continue
        warning = _WARNING.match(line)
        within_warning = bool(warning and _HARMLESS.fullmatch(warning[1]))
        known = within_warning or _KNOWN.match(line) or NOISE.match(line.encode(errors="replace"))
        if line.strip() and not known:
            kept.append(f"{line}\n")
    return "".join(kept)


def doubts(text: str) -> list[str]:
    """Return the lines of Python warnings that may concern a result: ``RuntimeWarning: ...``."""
    lines = left_over(text).splitlines()
    found = [(line, _WARNING.match(line)) for line in lines]
    return [line[match.start(1) :] for line, match in found if match]


def without_noise(outputs: list[dict]) -> list[dict]:
    """Return a cell's outputs without the messages known to be harmless."""
    kept = []
    for output in outputs:
        if output.get("name") == "stderr":
            output = {**output, "text": left_over("".join(output["text"]))}
        if output.get("name") != "stderr" or output["text"]:
            kept.append(output)
    return kept
