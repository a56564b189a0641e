"""What a published page says about its own run: the banner and the status page."""

from __future__ import annotations

import html
from datetime import datetime

#: How a page names a data set.
NAMES = {
    "phantom": "phantom: cells drawn by the course itself, not photographed",
    "cnmc": "C-NMC 2019 (frames of single cells)",
    "taleqani": "Taleqani ALL (fields of many cells)",
    "all_idb": "ALL-IDB",
    "snam": "SN-AM (fields of many cells, ALL and MM)",
    "folders": "a folder of images, one folder a class",
}


def duration(seconds: float) -> str:
    """Return a time in the two largest units a reader needs: ``2 min 05 s``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def day(stamp: str) -> str:
    """Return the day of an ISO time stamp, UTC."""
    return datetime.fromisoformat(stamp).strftime("%Y-%m-%d")


def banner(record: dict) -> str:
    """Return the HTML of a chapter's banner from its run record.

    Plain HTML in the theme's own classes: it looks like the theme's notes in the
    book and still reads in Jupyter and on Colab, where MyST would show raw.
    """
    drawn = record.get("drawn", record["dataset"] == "phantom")
    title = "Run on drawn cells" if drawn else "Run on real images"
    facts = [
        ("Data set", data_set(record)),
        ("Profile", f"{record['profile']}, seed {record['seed']}"),
        ("Pretrained weights", weights(record) or "none"),
        ("Device", record["device"]),
        ("Time taken", duration(record["seconds"])),
        ("Code", f"commit {commit(record)}" if record["commit"] else "no commit recorded"),
        ("Date", day(record["finished"])),
    ]
    items = " · ".join(f"<b>{html.escape(k)}</b>: {html.escape(v)}" for k, v in facts)
    warning = (
        "What follows shows the method and says nothing about patients. " if drawn else ""
    ) + "This is teaching material, not a medical device."
    kind = "caution" if drawn else "note"
    return (
        f'<div class="admonition {kind} run-banner">\n'
        f'<p class="admonition-title">{title}</p>\n'
        f"<p>{items}</p>\n<p>{warning}</p>\n</div>"
    )


def data_set(record: dict) -> str:
    """Return what the run's images are, and that they were drawn where the name tells otherwise."""
    name = NAMES.get(record["dataset"], record["dataset"])
    if record.get("drawn") and record["dataset"] != "phantom":
        return f"{name}: of its layout, but drawn by the course itself, not photographed"
    return name


def commit(record: dict) -> str:
    """Return the short commit, and that files differed from it where they did."""
    short = record["commit"][:10]
    return f"{short} with changes" if record["commit"].endswith("+") else short


def weights(record: dict) -> str:
    """Return what is known of each backbone's weights, each sentence once: ``a, b: sentence``."""
    said: dict[str, list[str]] = {}
    for text in record["weights"]:
        name, _, sentence = text.rpartition(": ")
        said.setdefault(sentence, []).append(name)
    return "; ".join(
        ": ".join(filter(None, (", ".join(filter(None, names)), sentence)))
        for sentence, names in said.items()
    )


def whole(text: str) -> str:
    """Return `text` with spaces and hyphens at which no browser breaks the line."""
    return text.replace(" ", "\u00a0").replace("-", "\u2011")


def status_page(records: list[dict], titles: dict[str, str]) -> str:
    """Return the Markdown of the status page: every chapter's run, slowest cells, versions."""
    total = sum(record["seconds"] for record in records)
    first = records[0]
    lines = [
        "# Status of this book",
        "",
        "Every output in this book was computed in the runs below. The page is written by the "
        "same command that publishes the book.",
        "",
        f"- Data set: {data_set(first)}",
        f"- Profile: `{first['profile']}`, seed {first['seed']}",
        f"- All chapters together: {duration(total)}",
        "",
        "| chapter | time | slowest cell | device | weights | commit | date |",
        "| --- | ---: | ---: | --- | --- | --- | --- |",
    ]
    for record in records:
        name = record["chapter"]
        slowest = max((cell["seconds"] or 0 for cell in record["cells"]), default=0)
        lines.append(
            f"| [{titles[name]}](../notebooks/{name}.ipynb) | {whole(duration(record['seconds']))} "
            f"| {whole(duration(slowest))} | {record['device']} "
            f"| {weights(record) or 'none'} "
            f"| {commit(record) or '-'} | {whole(day(record['finished']))} |"
        )
    lines += ["", "## Versions", "", "| package | version |", "| --- | --- |"]
    lines.append(f"| Python | {first['python']} |")
    lines += [f"| {name} | {version} |" for name, version in sorted(first["versions"].items())]
    return "\n".join(lines) + "\n"
