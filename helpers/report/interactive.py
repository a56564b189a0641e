"""An interactive plot that works without any file outside its page.

It is HTML, SVG and a short script in one piece: no server, no kernel, no file
from another host. Without scripts, the page shows the plot as it was drawn.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

import numpy as np
import pandas as pd

from helpers.base import arguments
from helpers.base.errors import ReportError
from helpers.report.plots import NEGATIVE, POSITIVE
from helpers.report.templates import render

#: Range of the prevalence slider, which is logarithmic.
LOWEST, HIGHEST = 0.001, 0.9
_STEPS = 120
_TOTAL = 10_000
# Of the bars, in units of the picture (640 wide).
_GEOMETRY = {"left": 1, "room": 638, "bar": 30}

_RATES = ("threshold", "sensitivity", "specificity")


@dataclass(frozen=True, repr=False)
class Plot:
    """A plot that a notebook shows; `html` is all of it."""

    html: str

    def __repr__(self) -> str:
        return "<a plot with sliders: shown where HTML is>"

    def _repr_html_(self) -> str:
        return self.html


def predictive_values(
    rates: pd.DataFrame,
    threshold: float = 0.5,
    prevalence: float = 0.01,
    name: str = "predictive-values",
) -> Plot:
    """Return a plot of predictive values with sliders for threshold and prevalence.

    Parameters
    ----------
    rates : pandas.DataFrame
        `threshold`, `sensitivity` and `specificity`, each 0..1, as
        :func:`helpers.predictions.thresholds.by_threshold` returns them.
    threshold, prevalence : float
        First positions of the sliders; the nearest possible ones are taken.
    name : str
        Letters, digits and hyphens; must differ between the plots of a page.

    Returns
    -------
    Plot
        Drawn for the first positions; the same input gives the same text.

    Raises
    ------
    ReportError
        When the table lacks a column, is empty or has values outside 0..1, or
        the name is not valid.
    """
    values = _checked(rates, name).round(4)
    arguments.number("The threshold", threshold, ReportError)
    arguments.number("The prevalence", prevalence, ReportError, 0, 1)
    index = int(np.abs(values[:, 0] - threshold).argmin())
    shares = np.array([float(f"{s:.4g}") for s in np.geomspace(LOWEST, HIGHEST, _STEPS + 1)])
    step = int(np.abs(np.log(shares / np.clip(prevalence, LOWEST, HIGHEST))).argmin())
    tp, fp, fn, tn = counts_per_10000(*values[index, 1:], shares[step])
    data = {"rates": values.tolist(), "shares": shares.tolist(), "total": _TOTAL} | _GEOMETRY
    return Plot(
        render(
            "predictive_values.html.j2",
            name=name,
            data=json.dumps(data),
            geometry=_GEOMETRY,
            colours={"ill": POSITIVE, "well": NEGATIVE},
            index=index,
            last=len(values) - 1,
            step=step,
            steps=_STEPS,
            total=f"{_TOTAL:,}",
            threshold=f"{values[index, 0]:.2f}",
            sensitivity=f"{100 * values[index, 1]:.1f}",
            specificity=f"{100 * values[index, 2]:.1f}",
            prevalence=f"{100 * shares[step]:.3g} %",
            counts=(tp, fp, fn, tn),
            positives=_sentence("Called positive", tp, fp, "ill"),
            negatives=_sentence("Called negative", tn, fn, "well"),
        ).rstrip()
    )


def counts_per_10000(
    sensitivity: float, specificity: float, prevalence: float
) -> tuple[int, int, int, int]:
    """Return the true and false positives, false and true negatives among 10,000 people.

    The first divided by the sum of the first two is the positive predictive value
    (:func:`helpers.predictions.thresholds.predictive_values`), up to rounding.
    """
    for what, value in (("sensitivity", sensitivity), ("specificity", specificity),
                        ("prevalence", prevalence)):  # fmt: skip
        arguments.number(f"The {what}", value, ReportError, 0, 1)
    ill = _rounded(_TOTAL * prevalence)
    tp = _rounded(ill * sensitivity)
    tn = _rounded((_TOTAL - ill) * specificity)
    return tp, _TOTAL - ill - tn, ill - tp, tn


def _rounded(number: float) -> int:
    return int(number + 0.5)  # a half is rounded up, as in the script


def _checked(rates: pd.DataFrame, name: str) -> np.ndarray:
    """Return the columns of the table as float64, shape (n, 3)."""
    is_table = isinstance(rates, pd.DataFrame)
    missing = [column for column in _RATES if not is_table or column not in list(rates.columns)]
    if missing or rates.empty:
        raise ReportError(
            f"The plot needs rows and the columns {', '.join(_RATES)}; it got "
            f"{len(rates) if is_table else 'no'} rows without {missing}: "
            "helpers.predictions.thresholds.by_threshold makes them."
        )
    values = arguments.array(
        "Thresholds, sensitivities and specificities", rates[list(_RATES)], ReportError, 0, 1
    )
    arguments.table(rates, _RATES, "table of the plot", ReportError)
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z][A-Za-z0-9-]*", name):
        raise ReportError(
            f"The plot's name is {arguments.shown(name)}, but must be letters, digits and hyphens."
        )
    return values


def _sentence(who: str, right: int, wrong: int, what: str) -> str:
    both = right + wrong
    share = f"{100 * right / both:.1f} %" if both else "nobody"
    return f"{who}: {both:,}. Of these {what}: {right:,} ({share})."
