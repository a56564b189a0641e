"""The pages of the web app, and its HTTP API: forms come in, HTML and JSON go out."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from fastapi.responses import StreamingResponse
from fastapi.staticfiles import StaticFiles
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markdown_it import MarkdownIt
from markupsafe import Markup
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from helpers.app import export, guard, pictures, samples, uploads
from helpers.app.answers import ModelFacts, Refused
from helpers.app.desk import Desk, Taken, Upload
from helpers.app.service import available
from helpers.app.store import Record, Verdict
from helpers.base.errors import AppError, CourseError

_HERE = Path(__file__).parent
_MOST_SHOWN = 200
_FIELDS = ("label", "verdict", "model", "since", "until")
_FOREVER = {"cache-control": "private, max-age=31536000, immutable"}
_PNG = "image/png"

Cells = Annotated[str, Query(pattern=r"^(\d{1,18}(,\d{1,18}){0,499})?$")]


def create(desk: Desk, rules: guard.Rules | None = None) -> FastAPI:
    """Return the app, to be served by uvicorn or called by a test.

    Parameters
    ----------
    desk : Desk
    rules : guard.Rules, optional
        Whose requests are answered; by default those of a browser on the same machine.
    """
    app = FastAPI(
        title="White blood cells",
        openapi_url=None,  # its pages load scripts from another host; see the page /api
        telemetry={"auto_configure": False, "tracing": False, "metrics": False, "logs": False},
    )
    images = guard.Rate(desk.limits.per_minute)
    app.add_middleware(guard.Guard, rules=rules or guard.Rules(), images=images)
    app.mount("/static", StaticFiles(directory=_HERE / "static"))
    for kind in (CourseError, HTTPException, RequestValidationError, OSError, Exception):
        app.add_exception_handler(kind, _problem)
    _add_pages(app, desk, images)
    _add_api(app, desk, images)
    return app


def _add_pages(app: FastAPI, desk: Desk, images: guard.Rate) -> None:
    store = desk.store

    @app.get("/")
    def upload_page(request: Request, cells: Cells = "") -> HTMLResponse:
        records = [store.get(int(cell)) for cell in cells.split(",")[:_MOST_SHOWN] if cell]
        return _upload_page(request, _groups(records, []))

    def _upload_page(request: Request, groups: list[dict]) -> HTMLResponse:
        more = {"groups": groups, "limits": desk.limits, "samples": samples.NAMES}
        return _page(request, "upload.html.j2", **more, **_model())

    def _model() -> dict[str, Any]:
        return {
            "model": desk.service and desk.service.facts,
            "no_model": "Without one the app cannot answer.",
        }

    def _groups(records: list[Record], taken: list[Taken]) -> list[dict]:
        """Return what is shown for each picture: its cells, or why there are none."""
        groups: dict[Any, dict] = {}
        for record in records:
            group = groups.setdefault(
                (record.image, record.model, record.name),
                {"name": record.name, "subject": record.subject, "problem": "", "cells": []},
            )
            group["cells"].append(_shown(record))
        for group in groups.values():
            ids = [str(shown["record"].id) for shown in group["cells"]]
            image = group["cells"][0]["record"].image
            group["boxed"] = f"{image}.png?cells={','.join(ids)}" if len(ids) > 1 else ""
        refused = [
            {"name": one.name, "subject": "", "problem": one.problem, "cells": [], "boxed": ""}
            for one in taken
            if one.problem
        ]
        return [*groups.values(), *refused]

    def _shown(record: Record) -> dict[str, Any]:
        facts = next((one for one in desk.models() if one.key == record.model), None)
        service = desk.service
        return {
            "record": record,
            "classes": facts.classes[::-1] if facts else [record.cell.label],
            "positive": facts.classes[1] if facts else "of the positive class",
            "explained": service is not None and service.facts.key == record.model,
        }

    @app.post("/")
    async def upload(request: Request) -> Response:
        taken = await _take(request, desk, images)
        ids = [cell for one in taken for cell in one.cells]
        problems = [one for one in taken if one.problem]
        if not _wants_part(request) and not problems:
            return RedirectResponse(f"/?cells={','.join(map(str, ids[-_MOST_SHOWN:]))}", 303)
        records = await run_in_threadpool(lambda: [store.get(cell) for cell in ids])
        groups = await run_in_threadpool(_groups, records, problems)
        if not _wants_part(request):
            return _upload_page(request, groups)
        page = _page(request, "results.html.j2", groups=groups, **_model())
        page.headers["x-refused"] = str(len(problems))
        return page

    @app.get("/samples/{number}.png")
    def sample(number: int) -> Response:
        if number not in range(len(samples.NAMES)):
            raise HTTPException(404, "There is no such sample.")
        return Response(samples.draw(number), media_type=_PNG, headers=_FOREVER)

    @app.get("/pictures/{sha256}.png")
    def picture(sha256: str, cells: Cells = "") -> Response:
        records = [store.get(int(cell)) for cell in cells.split(",") if cell]
        boxes = [record.cell.box for record in records if record.cell.box]
        if any(record.image != sha256 for record in records):
            raise HTTPException(404, "This cell is of another picture.")
        image = uploads.read(store.image(sha256), desk.limits)
        return Response(pictures.boxed(image, boxes), media_type=_PNG, headers=_FOREVER)

    @app.get("/history")
    def history(request: Request) -> HTMLResponse:
        asked = request.query_params
        page = store.page(**_paging(asked), **_filters(asked))
        kept = {name: value for name, value in asked.items() if value and name != "after"}
        choices = store.choices()
        agreement = store.agreement(asked.get("model", ""))
        table = agreement.confusion.rename(index=_named, columns=_named)
        table.index.name, table.columns.name = "model says", "reader says"
        return _page(
            request,
            "history.html.j2",
            page=page,
            asked={name: asked.get(name, "") for name in (*_FIELDS, "order", "disagreement")},
            labels=[(label, _named(label)) for label in choices["label"]],
            models=list(choices["model"].items()),
            query=urlencode(kept),
            more=urlencode({**kept, "after": page.next}) if page.next else "",
            summary=agreement.summary,
            confusion=None if table.empty else table,
        )

    @app.get("/cell/{cell}")
    def cell_page(request: Request, cell: int) -> HTMLResponse:
        shown, verdicts = _shown(store.get(cell)), store.verdicts(cell)
        said = "The verdict is kept." if "kept" in request.query_params else ""
        more = {"shown": shown, "verdicts": verdicts, "said": said}
        return _page(request, "cell.html.j2", **more, **_model())

    @app.post("/cell/{cell}")
    async def verify(request: Request, cell: int) -> Response:
        async with request.form(max_files=0, max_fields=10) as form:
            given = {name: str(form.get(name, "")) for name in ("label", "comment", "reader")}
        record = await run_in_threadpool(_verify, cell, given)
        if _wants_part(request):
            return _page(request, "verify.html.j2", shown=_shown(record), **_model())
        return RedirectResponse(f"/cell/{cell}?kept", 303)

    def _verify(cell: int, given: dict[str, str]) -> Record:
        label = given["label"]
        agreed = label == store.get(cell).cell.label
        verdict = "unsure" if not label else "agree" if agreed else "disagree"
        return store.verify(cell, Verdict(verdict, **given))

    @app.get("/cell/{cell}/thumbnail")
    def thumbnail(cell: int) -> Response:
        return Response(store.thumbnail(cell), media_type=_PNG, headers=_FOREVER)

    @app.get("/cell/{cell}/crop.png")
    async def crop(cell: int) -> Response:
        record = await run_in_threadpool(store.get, cell)
        try:
            image = pictures.png((await desk.seen(record)).crop)
        except AppError:  # another model answered: what is kept of it
            image = await run_in_threadpool(store.thumbnail, cell)
        return Response(image, media_type=_PNG)

    @app.get("/cell/{cell}/map.png")
    async def layer(cell: int) -> Response:
        record = await run_in_threadpool(store.get, cell)
        return Response(pictures.layer(await desk.explain(record)), media_type=_PNG)

    @app.get("/models")
    def models(request: Request) -> HTMLResponse:
        found = available(desk.artifacts)
        return _page(
            request,
            "models.html.j2",
            models=[one for one in found if isinstance(one, ModelFacts)],
            refused=[one for one in found if isinstance(one, Refused)],
            **_model(),
        )

    @app.post("/models")
    async def choose(request: Request) -> Response:
        async with request.form(max_files=0, max_fields=10) as form:
            await desk.use(str(form.get("key", "")))
        return RedirectResponse("/models", 303)

    @app.get("/api")
    def described(request: Request) -> HTMLResponse:
        base = str(request.base_url).rstrip("/")
        return _page(request, "api.html.j2", limits=desk.limits, base=base)


def _add_api(app: FastAPI, desk: Desk, images: guard.Rate) -> None:
    store = desk.store

    @app.post("/api/images")
    async def classify(request: Request) -> JSONResponse:
        taken = await _take(request, desk, images)

        def answered() -> list[dict]:
            cells = [[_plain(store.get(cell)) for cell in one.cells] for one in taken]
            return [
                {"name": one.name, "problem": one.problem, "cells": found}
                for one, found in zip(taken, cells, strict=True)
            ]

        content = await run_in_threadpool(answered)
        return JSONResponse(content, 200 if any(one.cells for one in taken) else 422)

    @app.get("/api/cells")
    def cells(request: Request, count: Annotated[int, Query(ge=1, le=200)] = 50) -> JSONResponse:
        asked = request.query_params
        page = store.page(count=count, **_paging(asked), **_filters(asked))
        found = [_plain(record) for record in page.records]
        return JSONResponse({"cells": found, "total": page.total, "next": page.next})

    @app.get("/api/cells/{cell}")
    def one_cell(cell: int) -> JSONResponse:
        verdicts = [dataclasses.asdict(verdict) for verdict in store.verdicts(cell)]
        return JSONResponse({**_plain(store.get(cell)), "verdicts": verdicts})

    @app.post("/api/cells/{cell}/verdict")
    def verdict(cell: int, given: dict[str, str]) -> JSONResponse:
        if unknown := set(given) - {"verdict", "label", "comment", "reader"}:
            raise AppError(f"A verdict has no {', '.join(sorted(unknown))}.")
        kept = store.verify(cell, Verdict(**{"verdict": "", **given}))
        return JSONResponse(_plain(kept))

    @app.get("/export.csv")
    def export_csv(request: Request) -> Response:
        text = export.to_csv(store, **_filters(request.query_params))
        named = {"content-disposition": 'attachment; filename="cells.csv"'}
        return Response(text, media_type="text/csv; charset=utf-8", headers=named)

    @app.get("/export.zip")
    def export_zip(request: Request) -> StreamingResponse:
        pieces = export.to_zip(store, uploads.read, **_filters(request.query_params))
        named = {"content-disposition": 'attachment; filename="cells.zip"'}
        return StreamingResponse(pieces, media_type="application/zip", headers=named)


async def _take(request: Request, desk: Desk, images: guard.Rate) -> list[Taken]:
    """Answer the files of a form: counted and measured before one of them is decoded."""
    async with request.form(max_files=desk.limits.files, max_fields=20) as form:
        chosen = [one for one in form.getlist("images") if isinstance(one, UploadFile)]
        chosen = [one for one in chosen if one.filename or one.size]
        subject, kind = str(form.get("subject", "")), str(form.get("kind") or "auto")
        number = str(form.get("sample", ""))
        if number.isdecimal() and int(number) < len(samples.NAMES):
            name, drawn = samples.NAMES[int(number)], await run_in_threadpool(samples.draw, int(number))
            files = [Upload(f"Drawn by the course: {name}", drawn)]
        else:
            files = [await _read(one, desk.limits) for one in chosen]
    if not files:
        raise AppError("No image was sent: choose one first.")
    if not images.take(guard.client_of(request.scope), len(files)):
        raise HTTPException(429, guard.too_many(images))
    return await desk.take(files, subject, kind)


async def _read(file: UploadFile, limits: uploads.Limits) -> Upload:
    """Read a file; of one that is too large only so much that the reader sees it."""
    return Upload(file.filename or "", await file.read(limits.bytes + 1))


def _filters(asked: Mapping[str, str]) -> dict[str, Any]:
    given = {name: asked[name] for name in _FIELDS if asked.get(name)}
    return {**given, "disagreement": asked.get("disagreement") == "1"}


def _paging(asked: Mapping[str, str]) -> dict[str, Any]:
    after = asked.get("after", "")
    if after and not (after.isdecimal() and len(after) < 19):
        raise AppError("The value of after is that of next on the page before.")
    return {"newest_first": asked.get("order") != "oldest", "after": int(after) if after else None}


def _plain(record: Record) -> dict[str, Any]:
    """Return a record as JSON holds it: no number that JSON lacks, no bytes."""
    content = dataclasses.asdict(record)
    content |= content.pop("cell")
    del content["thumbnail"]
    content["votes"] = {name: probability for name, probability in record.cell.votes}
    for name, value in content.items():
        if isinstance(value, float) and not math.isfinite(value):
            content[name] = None
    return content


def _wants_part(request: Request) -> bool:
    return "x-part" in request.headers


def _problem(request: Request, error: Exception) -> Response:
    """Say in one sentence what is wrong, as text, JSON or a page."""
    status, sentence = 400, str(error)
    if isinstance(error, HTTPException):
        status, sentence = error.status_code, str(error.detail)
        if status == 404 and sentence == "Not Found":
            sentence = "There is no such page."
    elif isinstance(error, RequestValidationError):
        where = ", ".join(str(one["loc"][-1]) for one in error.errors())
        sentence = f"The request has a value that does not fit: {where}."
    elif not isinstance(error, CourseError):
        status, sentence = 500, "The app made a mistake. What was kept before is still there."
        if isinstance(error, OSError):
            sentence = f"The disk cannot be used ({error.strerror})."
    if _wants_part(request):
        return Response(sentence, status, media_type="text/plain")
    if request.url.path.startswith("/api/"):
        return JSONResponse({"problem": sentence}, status)
    title = "There is nothing here" if status == 404 else "That did not work"
    return _page(request, "problem.html.j2", status, title=title, sentence=sentence)


def _page(request: Request, template: str, status: int = 200, **content: Any) -> HTMLResponse:
    text = _TEMPLATES.get_template(template).render(here=request.url.path, **content)
    return HTMLResponse(text, status)


def _named(label: str) -> str:
    """Return a class as it is written in running text: short ones are abbreviations."""
    return label.upper() if len(label) < 4 else label


def _percent(probability: float) -> str:
    """Return a probability without the certainty that no model has."""
    if 0.01 <= probability <= 0.99:
        return f"{probability:.0%}"
    return "under 1%" if probability < 0.5 else "over 99%"


def _version() -> str:
    content = b"".join(path.read_bytes() for path in sorted((_HERE / "static").iterdir()))
    return hashlib.sha256(content).hexdigest()[:12]


_TEMPLATES = Environment(
    loader=FileSystemLoader(_HERE / "templates", encoding="utf-8"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_MARKDOWN = MarkdownIt("commonmark", {"html": False}).enable("table")
_TEMPLATES.globals["version"] = _version()
_TEMPLATES.filters.update(
    named=_named,
    percent=_percent,
    moment=lambda text: f"{text[:10]} {text[11:16]} UTC",
    markdown=lambda text: Markup(_MARKDOWN.render(text)),
)
