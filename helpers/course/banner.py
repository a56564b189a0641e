"""The run of a published page, described on it: the banner and the status page."""

from __future__ import annotations

import html

from helpers.base.settings import SettingsError


def banner(record: dict) -> str:
    """Return the HTML of a chapter's banner from its run record.

    It is plain HTML with the theme's own classes: in the book it looks like the theme's
    notes, and it is readable in Jupyter and on Colab, where MyST would show raw.
    """
    drawn = record.get("drawn", record["dataset"] == "phantom")
    title = "Run on drawn cells" if drawn else "Run on real images"
    facts = {
        "Data set": _data_set(record),
        "Profile": f"{record['profile']}, seed {record['seed']}",
        "Pretrained weights": weights(record) or "none",
        "Device": record["device"],
        "Time taken": duration(record["seconds"]),
        "Code": f"commit {_commit(record)}" if record["commit"] else "no commit recorded",
        "Date": record["finished"][:10],
    }
    items = " · ".join(f"<b>{k}</b>: {_in_html(v)}" for k, v in facts.items())
    warning = "What follows shows the method and says nothing about patients. " if drawn else ""
    if record["profile"] == "smoke":
        warning = f"A smoke run only shows that the code works: its figures mean nothing. {warning}"
    found = record.get("collapsed", [])
    dead = "".join(f"<p><b>Collapsed network:</b> {_in_html(text)}</p>\n" for text in found)
    return (
        f'<div class="admonition {"caution" if drawn else "note"} run-banner">\n'
        f'<p class="admonition-title">{title}</p>\n<p>{items}</p>\n'
        f"{dead}<p>{warning}This is teaching material, not a medical device.</p>\n</div>"
    )


def status_page(records: list[dict], titles: dict[str, str]) -> str:
    """Return the Markdown of the status page: every chapter's run, slowest cells, versions."""
    from helpers.report.templates import escape_markdown as plain

    first = records[0]
    lines = [
        "# Status of this book",
        "",
        "Every output in this book was computed in the runs below. The page is written by the "
        "same command that publishes the book.",
        "",
        f"- Data set: {plain(_data_set(first))}",
        f"- Profile: `{first['profile']}`, seed {first['seed']}",
        f"- All chapters together: {duration(sum(record['seconds'] for record in records))}",
        "",
        "| chapter | time | slowest cell | device | weights | commit | date |",
        "| --- | ---: | ---: | --- | --- | --- | --- |",
    ]
    for record in records:
        name = record["chapter"]
        slowest = max((cell["seconds"] for cell in record["cells"]), default=0)
        columns = (
            f"[{titles[name]}](../notebooks/{name}.ipynb)",
            _unbroken(duration(record["seconds"])),
            _unbroken(duration(slowest)),
            plain(record["device"]),
            plain(weights(record) or "none"),
            _commit(record) or "-",
            _unbroken(record["finished"][:10]),
        )
        lines.append(f"| {' | '.join(columns)} |")
    dead = [(titles[r["chapter"]], text) for r in records for text in r.get("collapsed", [])]
    found = [f"- {title}: {plain(text)}" for title, text in dead]
    lines += ["", "## Collapsed networks", "", *(found or ["None."])]
    lines += ["", "## Versions", "", "| package | version |", "| --- | --- |"]
    versions = [("Python", first["python"]), *sorted(first["versions"].items())]
    lines += [f"| {plain(name)} | {plain(version)} |" for name, version in versions]
    return "\n".join(lines) + "\n"


def duration(seconds: float) -> str:
    """Return a time in its two largest units: ``2 min 05 s``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def weights(record: dict) -> str:
    """Return the notes on the weights of the backbones, each sentence once: ``a, b: sentence``."""
    names: dict[str, list[str]] = {}
    for text in record["weights"]:
        name, _, sentence = text.rpartition(": ")
        names.setdefault(sentence, []).extend([name] if name else [])
    return "; ".join(": ".join([", ".join(n), s] if n else [s]) for s, n in names.items())


def _in_html(text: str) -> str:
    """Return `text` as one line of HTML that shows it: a blank line would end the banner."""
    return html.escape(" ".join(text.split()))


def _data_set(record: dict) -> str:
    """Return the name of the data set; say that images were drawn, if the name does not."""
    from helpers.datasets.origins import origin

    try:
        about = origin(record["dataset"])
        name = about.banner or about.title
    except SettingsError:  # a run of before: its data set is not here any more
        name = record["dataset"]
    if record.get("drawn") and record["dataset"] != "phantom":
        return f"{name}: of its layout, but drawn by the course itself, not photographed"
    return name


def _commit(record: dict) -> str:
    """Return the short commit, and whether tracked files differed from it."""
    short = record["commit"][:10]
    return f"{short} with changes" if record["commit"].endswith("+") else short


def _unbroken(text: str) -> str:
    """Return `text` with spaces and hyphens replaced, so that no browser breaks the line there."""
    return text.replace(" ", "\u00a0").replace("-", "\u2011")
