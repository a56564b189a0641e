"""A plot to play with that needs nothing but the page it stands on.

It is HTML, SVG and a few lines of script, all in one piece: no server, no
kernel, no file from another host. Where scripts are off, the picture stays as
it was drawn.
"""

from __future__ import annotations

import html
import json
import re
from dataclasses import dataclass

import numpy as np
import pandas as pd

from helpers.base.errors import ReportError
from helpers.report.plots import NEGATIVE, POSITIVE

#: Prevalences of the slider: powers of ten from one in a thousand to nine in ten.
LOWEST, HIGHEST = 0.001, 0.9
_STEPS = 120
_PEOPLE = 10_000
_WIDTH, _LEFT, _BAR = 640, 1, 30
_ROOM = _WIDTH - 2 * _LEFT

_RATES = ("threshold", "sensitivity", "specificity")


@dataclass(frozen=True, repr=False)
class Plot:
    """What a notebook shows as HTML; `html` is the whole of it."""

    html: str

    def __repr__(self) -> str:
        return "<a plot with sliders: shown where HTML is>"

    def _repr_html_(self) -> str:
        return self.html


def predictive_values(
    sweep: pd.DataFrame,
    threshold: float = 0.5,
    prevalence: float = 0.01,
    name: str = "predictive-values",
) -> Plot:
    """Return a plot whose sliders set threshold and prevalence and show whom a call hits.

    Parameters
    ----------
    sweep : pandas.DataFrame
        `threshold`, `sensitivity` and `specificity`, as
        :func:`helpers.predictions.thresholds.sweep` returns them.
    threshold, prevalence : float
        Where the sliders stand at first: the nearest that they can stand at.
    name : str
        Letters, digits and hyphens; must differ between the plots of a page.

    Returns
    -------
    Plot
        Drawn for the first position; the same input gives the same text.

    Raises
    ------
    ReportError
        When the table lacks a column, is empty or holds what is no share, or
        the name is none.
    """
    _check(sweep, name)
    rates = sweep[list(_RATES)].to_numpy(dtype=float).round(4)
    place = int(np.abs(rates[:, 0] - threshold).argmin())
    shares = np.array([float(f"{s:.4g}") for s in np.geomspace(LOWEST, HIGHEST, _STEPS + 1)])
    step = int(np.abs(np.log(shares / np.clip(prevalence, LOWEST, HIGHEST))).argmin())
    counts = people(*rates[place, 1:], shares[step])
    data = json.dumps(
        {
            "rates": rates.tolist(),
            "shares": shares.tolist(),
            "people": _PEOPLE,
            "left": _LEFT,
            "room": _ROOM,
        }
    )
    text = _PAGE
    for key, value in {
        "NAME": html.escape(name),
        "DATA": data,
        "PLACE": str(place),
        "LAST": str(len(rates) - 1),
        "STEP": str(step),
        "STEPS": str(_STEPS),
        "AT": f"{rates[place, 0]:.2f}",
        "SENSITIVITY": f"{100 * rates[place, 1]:.1f}",
        "SPECIFICITY": f"{100 * rates[place, 2]:.1f}",
        "SHARE": f"{100 * shares[step]:.3g} %",
        "PEOPLE": f"{_PEOPLE:,}",
        "BAR0": _bar(0, *counts[:2]),
        "BAR1": _bar(1, *counts[2:]),
        "ILL": POSITIVE,
        "WELL": NEGATIVE,
        "POSITIVES": _sentence("Called positive", counts[0], counts[1], "ill"),
        "NEGATIVES": _sentence("Called negative", counts[3], counts[2], "well"),
    }.items():
        text = text.replace(f"@{key}@", value)
    return Plot(text)


def people(sensitivity: float, specificity: float, prevalence: float) -> tuple[int, ...]:
    """Return of 10,000 people the ill called positive, well called positive, ill missed, well.

    The first two over one another are the positive predictive value
    (:func:`helpers.predictions.thresholds.predictive_values`), but for whole people.
    """
    ill = _whole(_PEOPLE * prevalence)
    found = _whole(ill * sensitivity)
    cleared = _whole((_PEOPLE - ill) * specificity)
    return found, _PEOPLE - ill - cleared, ill - found, cleared


def _whole(number: float) -> int:
    return int(number + 0.5)  # halves upwards, as the script rounds


def _check(sweep: pd.DataFrame, name: str) -> None:
    missing = [column for column in _RATES if column not in sweep]
    if missing or sweep.empty:
        raise ReportError(
            f"The plot needs rows and the columns {', '.join(_RATES)}; it got {len(sweep)} rows "
            f"without {missing}: helpers.predictions.thresholds.sweep makes them."
        )
    values = sweep[list(_RATES)].to_numpy(dtype=float)
    if not ((values >= 0) & (values <= 1)).all():
        raise ReportError(
            "Thresholds, sensitivities and specificities of the plot must lie from 0 to 1."
        )
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9-]*", name):
        raise ReportError(f"The plot's name is {name!r}, but must be letters, digits and hyphens.")


def _sentence(who: str, right: int, wrong: int, what: str) -> str:
    both = right + wrong
    share = f"{100 * right / both:.1f} %" if both else "nobody"
    return f"{who}: {both:,}. Of these {what}: {right:,} ({share})."


def _bar(row: int, ill: int, well: int) -> str:
    """Return a bar, divided into the ill and the well; a white edge parts them in grey print."""
    share = ill / max(ill + well, 1)
    parts = []
    for key, x, wide in (
        ("ill", _LEFT, _ROOM * share),
        ("well", _LEFT + _ROOM * share, _ROOM * well / max(ill + well, 1)),
    ):
        parts.append(
            f'<rect data-bar="{key}{row}" x="{x:.1f}" y="2" width="{wide:.1f}" height="{_BAR}" '
            f'fill="@{key.upper()}@" stroke="#fff" stroke-width="2"/>'
        )
    return "".join(parts)


# Its own ground and ink: the page around it may be dark.
_PAGE = """<div id="@NAME@" style="background:#fff;color:#1a1a1a;padding:.8rem;max-width:42rem;\
box-sizing:border-box;font:15px/1.4 system-ui,sans-serif">
<p style="margin:0"><label for="@NAME@-prevalence">Prevalence (share of people who are ill):
<strong data-show="share">@SHARE@</strong></label><br>
<input id="@NAME@-prevalence" type="range" min="0" max="@STEPS@" value="@STEP@" \
style="width:100%" aria-valuetext="@SHARE@"></p>
<p style="margin:.4rem 0 0"><label for="@NAME@-threshold">Threshold:
<strong data-show="threshold">@AT@</strong>, which gives sensitivity
<strong data-show="sensitivity">@SENSITIVITY@ %</strong> and specificity
<strong data-show="specificity">@SPECIFICITY@ %</strong></label><br>
<input id="@NAME@-threshold" type="range" min="0" max="@LAST@" value="@PLACE@" \
style="width:100%" aria-valuetext="@AT@"></p>
<p style="margin:.6rem 0 0">Of @PEOPLE@ people tested
(<span style="color:@ILL@">&#9632;</span> ill, left;
<span style="color:@WELL@">&#9632;</span> well, right):</p>
<p data-show="positives" aria-live="polite" style="margin:.6rem 0 0">@POSITIVES@</p>
<svg viewBox="0 0 640 34" width="100%" role="img" aria-label="A bar: the people called positive, \
divided into ill and well">@BAR0@</svg>
<p data-show="negatives" aria-live="polite" style="margin:.4rem 0 0">@NEGATIVES@</p>
<svg viewBox="0 0 640 34" width="100%" role="img" aria-label="A bar: the people called negative, \
divided into ill and well">@BAR1@</svg>
<noscript><p style="margin:0">The sliders need scripts; the figure above tells the rest.</p>\
</noscript>
<script>
(function () {
  var root = document.getElementById("@NAME@");
  if (!root || root.dataset.ready) { return; }
  root.dataset.ready = "yes";
  var data = @DATA@;
  var share = document.getElementById("@NAME@-prevalence");
  var cut = document.getElementById("@NAME@-threshold");
  function show(key, text) {
    root.querySelector('[data-show="' + key + '"]').textContent = text;
  }
  function count(number) { return String(number).replace(/\\B(?=(\\d{3})+$)/g, ","); }
  function sentence(who, right, wrong, what) {
    var both = right + wrong;
    var part = both ? (100 * right / both).toFixed(1) + " %" : "nobody";
    return who + ": " + count(both) + ". Of these " + what + ": " + count(right) +
      " (" + part + ").";
  }
  function bar(row, ill, well) {
    var wide = data.room / Math.max(ill + well, 1);
    var parts = [["ill", data.left, wide * ill], ["well", data.left + wide * ill, wide * well]];
    parts.forEach(function (part) {
      var rect = root.querySelector('[data-bar="' + part[0] + row + '"]');
      rect.setAttribute("x", part[1].toFixed(1));
      rect.setAttribute("width", part[2].toFixed(1));
    });
  }
  function draw() {
    var rate = data.rates[+cut.value], prevalence = data.shares[+share.value];
    var ill = Math.round(data.people * prevalence);
    var found = Math.round(ill * rate[1]);
    var cleared = Math.round((data.people - ill) * rate[2]);
    var alarms = data.people - ill - cleared;
    var percent = +(100 * prevalence).toPrecision(3) + " %";
    show("share", percent);
    show("threshold", rate[0].toFixed(2));
    show("sensitivity", (100 * rate[1]).toFixed(1) + " %");
    show("specificity", (100 * rate[2]).toFixed(1) + " %");
    share.setAttribute("aria-valuetext", percent);
    cut.setAttribute("aria-valuetext", rate[0].toFixed(2));
    show("positives", sentence("Called positive", found, alarms, "ill"));
    show("negatives", sentence("Called negative", cleared, ill - found, "well"));
    bar(0, found, alarms);
    bar(1, ill - found, cleared);
  }
  share.addEventListener("input", draw);
  cut.addEventListener("input", draw);
  draw();
})();
</script>
</div>"""
