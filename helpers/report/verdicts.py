"""Sentences that say what an interval shows: the number first, then the conclusion.

A page cannot know its figures before it runs. The cell that computes a figure
therefore also prints the conclusion, and every chapter words it in the same way.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence

from helpers.base.errors import ReportError

#: Characters in a line of a page's text output.
WIDTH = 88


def against(
    what: str,
    estimate: tuple[float, float, float],
    reference: float,
    name: str,
    *,
    above: str,
    below: str,
    undecided: str,
    digits: int = 3,
) -> str:
    """Return a sentence that compares an interval with one number.

    Parameters
    ----------
    what : str
        The figure, with its article: ``"The accuracy of the network"``.
    estimate : (value, low, high)
        The figure and its interval; NaN where it is undefined.
    reference : float
        The number to compare with, such as 0.5 for an area under the ROC curve.
    name : str
        What that number is: ``"always naming the larger class"``.
    above, below, undecided : str
        The conclusion when the interval lies above the number, below it, or contains
        it. Each continues the sentence after a colon and ends without a full stop.
    digits : int
        Digits after the decimal point.

    Returns
    -------
    str
        One sentence, broken into lines of at most :data:`WIDTH` characters.

    Raises
    ------
    ReportError
        When the interval does not contain its figure, or `low` is above `high`.

    Examples
    --------
    >>> print(against("The AUC", (0.81, 0.72, 0.88), 0.5, "guessing",
    ...               above="the scores rank the cells better than chance does",
    ...               below="the scores rank the cells the wrong way round",
    ...               undecided="these subjects do not show that it learned anything"))
    The AUC, 0.810 [0.720, 0.880], is above guessing (0.500): the scores rank the cells
    better than chance does.
    """
    alone = f"it cannot be compared with {name} ({reference:.{digits}f})"
    words = (above, below, undecided)
    whole = (0, 1), (-1, 1)  # of a share or an AUC; of a correlation
    return _verdict(what, estimate, reference, name, alone, words, digits, whole)


def difference(
    what: str,
    estimate: tuple[float, float, float],
    *,
    above: str,
    below: str,
    undecided: str,
    digits: int = 3,
) -> str:
    """Return a sentence that says whether a difference is above zero, below it, or neither.

    Parameters are those of :func:`against`; the figure is a difference of two figures,
    and its numbers are written with their sign.

    Raises
    ------
    ReportError
        As :func:`against`.

    Examples
    --------
    >>> print(difference("The gap", (0.21, 0.07, 0.34), above="the random split flatters",
    ...                  below="", undecided=""))
    The gap, +0.210 [+0.070, +0.340], is above zero: the random split flatters.
    """
    value, *limits = estimate
    if value == 0 and any(map(math.isnan, limits)):
        return _lines(
            f"{what} is zero and has no interval: the answers hardly differ, or there are too few "
            "subjects"
        )
    words, alone = (above, below, undecided), "nothing follows from it"
    return _verdict(what, estimate, 0, "", alone, words, digits, ((-1, 1),))


def _verdict(
    what: str,
    estimate: tuple[float, float, float],
    reference: float,
    name: str,
    alone: str,
    words: tuple[str, str, str],
    digits: int,
    whole: tuple[tuple[float, float], ...],
) -> str:
    """Return the sentence of :func:`against` and :func:`difference`.

    `name` is that of the reference, empty for a difference from zero; `alone` is what follows
    from a figure without an interval; `whole` holds the intervals that exclude nothing. The
    conclusion is that of the written numbers: where a limit would look like the reference, up
    to three more digits are written.
    """
    value, low, high = (float(number) for number in estimate)
    if low > high or value < low or value > high:  # False where a number is NaN
        raise ReportError(
            f"{what} is {value:g}, but its interval is [{low:g}, {high:g}]: give the value, the "
            "lower limit and the upper limit, in this order."
        )
    if math.isnan(value):
        return _lines(f"{what} is undefined for these images")
    sign = "" if name else "+"
    shown = f"{value:{sign}z.{digits}f}"
    if math.isnan(low) or math.isnan(high):
        return _lines(
            f"{what}, {shown}, has no interval, because there are too few subjects: {alone}"
        )
    decided = [limit for limit in (low, high) if low > reference or high < reference]
    seen = (
        more
        for more in range(digits, digits + 4)
        if round(reference, more) not in (round(limit, more) for limit in decided)
    )
    digits = next(seen, digits)
    form = f"{sign}z.{digits}f"
    shown = f"{value:{form}} [{low:{form}}, {high:{form}}]"
    low, high, reference = (round(number, digits) for number in (low, high, reference))
    named = f"{name} ({reference:{form}})" if name else "zero"
    if (low, high) in whole:
        return _lines(
            f"The interval of {_within(what)}, {shown}, holds every possible value: there are too "
            "few subjects"
        )
    above, below, undecided = words
    if low > reference:
        return _lines(f"{what}, {shown}, is above {named}: {above}")
    if high < reference:
        return _lines(f"{what}, {shown}, is below {named}: {below}")
    return _lines(f"The interval of {_within(what)}, {shown}, contains {named}: {undecided}")


def _within(what: str) -> str:
    """Return a sentence's subject for the middle of a sentence: its article becomes small."""
    first, _, rest = what.partition(" ")
    return f"{first.lower()} {rest}" if first in ("The", "A", "An", "Its", "Their") else what


def _lines(sentence: str) -> str:
    return textwrap.fill(f"{sentence}.", WIDTH, break_long_words=False)


def best_epoch(val_losses: Sequence[float]) -> str:
    """Return a sentence that says which epoch was the best, and whether more may help.

    Examples
    --------
    >>> print(best_epoch([0.7, 0.5, 0.6]))
    The validation loss is lowest after epoch 2 of 3 (0.500): training longer did not make
    it lower, and the weights of epoch 2 are kept.
    """
    losses = [float(loss) for loss in val_losses]
    if not losses or not all(math.isfinite(loss) for loss in losses):
        raise ReportError("The validation losses must be numbers, one for each epoch.")
    best, last = losses.index(min(losses)) + 1, len(losses)
    found = f"The validation loss is lowest after epoch {best} of {last} ({min(losses):.3f})"
    if best == last:
        return _lines(f"{found}, the last one: it was still falling, and more epochs may help")
    return _lines(
        f"{found}: training longer did not make it lower, and the weights of epoch {best} are kept"
    )


def between(
    what: str,
    value: float,
    limits: tuple[float, float],
    *,
    below: str,
    within: str,
    above: str,
    form: str = ".3f",
) -> str:
    """Return a sentence that says on which side of two limits a number without interval is.

    It suits a result of arithmetic or of one run, such as a ratio. Where there is an interval,
    :func:`against` and :func:`difference` say more.

    Parameters
    ----------
    what : str
        The number, with its article.
    value : float
        The number; NaN where it is undefined.
    limits : (low, high)
        The two limits; equal ones are one limit, which is then named once.
    below, within, above : str
        The conclusion when the number is below `low`, from `low` to `high`, or above `high`.
    form : str
        How the number is written, such as ``.1e``. The conclusion is that of the written number.

    Returns
    -------
    str
        One sentence, broken into lines of at most :data:`WIDTH` characters.

    Raises
    ------
    ReportError
        When `low` is not a number up to `high`.

    Examples
    --------
    >>> print(between("The ratio", 1.84, (1, 1), form=".1f", below="it is narrower",
    ...               within="both are as wide", above="it is wider"))
    The ratio, 1.8, is above 1: it is wider.
    """
    low, high = limits
    if not low <= high:
        raise ReportError(f"{what} has the limits {low} and {high}: the lower one comes first.")
    if math.isnan(value):
        return _lines(f"{what} is undefined for these images")
    value = float(f"{value:{form}}") + 0.0  # and no zero with a minus
    shown = f"{what}, {value:{form}}, is"
    if value < low:
        return _lines(f"{shown} below {low:g}: {below}")
    if value > high:
        return _lines(f"{shown} above {high:g}: {above}")
    place = f"equal to {low:g}" if low == high else f"between {low:g} and {high:g}"
    return _lines(f"{shown} {place}: {within}")
