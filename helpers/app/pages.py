"""The pages: upload, history, a cell, the models, the description of the API."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, HTTPException, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from starlette.concurrency import run_in_threadpool

from helpers.app import asked, guard, pictures, rendering, samples, uploads
from helpers.app.answers import ModelFacts, Refused, named
from helpers.app.desk import Desk, Taken
from helpers.app.records import Record, Verdict
from helpers.app.service import available
from helpers.base.errors import AppError

Cells = Annotated[str, Query(pattern=r"^[\d,]*$", max_length=4000)]
_MOST_SHOWN = 200
_FOREVER = {"cache-control": "private, max-age=31536000, immutable"}
_PNG = "image/png"


def routes(desk: Desk, images: guard.Rate) -> APIRouter:
    """Return the routes that answer with pages and with the pictures on them."""
    router, store = APIRouter(), desk.store

    @router.get("/")
    def upload_page(request: Request, cells: Cells = "") -> HTMLResponse:
        records = _records(cells)
        return _upload_page(request, _groups(records, []))

    def _records(cells: str) -> list[Record]:
        return [store.get(int(cell)) for cell in cells.split(",")[:_MOST_SHOWN] if cell]

    def _upload_page(request: Request, groups: list[dict]) -> HTMLResponse:
        more = {"groups": groups, "limits": desk.limits, "samples": samples.NAMES}
        return rendering.page(request, "upload.html.j2", **more, **_model())

    def _model() -> dict[str, Any]:
        return {"model": desk.service and desk.service.facts}

    def _groups(records: list[Record], taken: list[Taken]) -> list[dict]:
        """Return what is shown for each picture: its cells, or why there are none."""
        groups: list[dict] = []
        for record in records:
            upload = record.image, record.created, record.name
            last = groups[-1] if groups else {"upload": None}
            if last["upload"] != upload or record.cell.box in last["boxes"]:
                groups.append({"upload": upload, "name": record.name, "boxes": [], "cells": []})
            groups[-1]["boxes"].append(record.cell.box)
            groups[-1]["cells"].append(_shown(record))
        for group in groups:
            ids = ",".join(str(shown["record"].id) for shown in group["cells"])
            several = len(group["cells"]) > 1
            group["boxed"] = f"{group['upload'][0]}.png?cells={ids}" if several else ""
        return [*groups, *({"name": one.name, "problem": one.problem} for one in taken)]

    def _shown(record: Record) -> dict[str, Any]:
        facts, label = desk.facts(record.model), record.cell.label
        return {
            "record": record,
            "facts": facts,
            "classes": facts.classes[::-1] if facts else [label] if label else [],
            "positive": facts.classes[1] if facts else "of the positive class",
            "explained": bool(desk.service) and desk.service.facts.key == record.model,
        }

    @router.post("/")
    async def upload(request: Request) -> Response:
        taken = await asked.take(request, desk, images)
        ids = [cell for one in taken for cell in one.cells]
        problems = [one for one in taken if one.problem]
        if not asked.wants_part(request) and not problems:
            cells = ",".join(map(str, ids[-_MOST_SHOWN:]))
            return RedirectResponse(f"/?cells={cells}", 303)
        records = await run_in_threadpool(lambda: [store.get(cell) for cell in ids])
        groups = await run_in_threadpool(_groups, records, problems)
        if not asked.wants_part(request):
            return _upload_page(request, groups)
        page = rendering.page(request, "results.html.j2", groups=groups, **_model())
        page.headers["x-refused"] = str(len(problems))
        return page

    @router.get("/samples/{number}.png")
    def sample(number: int) -> Response:
        if number not in range(len(samples.NAMES)):
            raise HTTPException(404, "There is no such sample.")
        return Response(samples.draw(number), media_type=_PNG, headers=_FOREVER)

    @router.get("/pictures/{sha256}.png")
    def picture(sha256: str, cells: Cells = "") -> Response:
        records = _records(cells)
        boxes = [record.cell.box for record in records if record.cell.box]
        if any(record.image != sha256 for record in records):
            raise HTTPException(404, "This cell is of another picture.")
        image = uploads.read(store.image(sha256), desk.limits)
        return Response(pictures.boxed(image, boxes), media_type=_PNG, headers=_FOREVER)

    @router.get("/history")
    def history(request: Request) -> HTMLResponse:
        given = request.query_params
        page = store.page(**asked.paging(given), **asked.filters(given))
        kept = {name: value for name, value in given.items() if value and name != "after"}
        choices = store.choices()
        agreement = store.agreement(given.get("model", ""))
        return rendering.page(
            request,
            "history.html.j2",
            page=page,
            cells=[_shown(record) for record in page.records],
            asked={name: given.get(name, "") for name in (*asked.FILTERS, "order", "disagreement")},
            labels=[(label, named(label)) for label in choices["label"]],
            models=list(choices["model"].items()),
            query=urlencode(kept),
            more=urlencode({**kept, "after": page.next}) if page.next else "",
            agreement=agreement,
        )

    @router.get("/cell/{cell}")
    def cell_page(request: Request, cell: int) -> HTMLResponse:
        shown, verdicts = _shown(store.get(cell)), store.verdicts(cell)
        said = "The verdict is kept." if "kept" in request.query_params else ""
        more = {"shown": shown, "verdicts": verdicts, "said": said}
        return rendering.page(request, "cell.html.j2", **more, **_model())

    @router.post("/cell/{cell}")
    async def verify(request: Request, cell: int) -> Response:
        async with request.form(max_files=0, max_fields=10) as form:
            given = {name: str(form.get(name, "")) for name in ("label", "comment", "reader")}
        record = await run_in_threadpool(_verify, cell, given)
        if asked.wants_part(request):
            return rendering.page(request, "verify.html.j2", shown=_shown(record), **_model())
        return RedirectResponse(f"/cell/{cell}?kept", 303)

    def _verify(cell: int, given: dict[str, str]) -> Record:
        label = given["label"]
        agreed = label == store.get(cell).cell.label
        verdict = "unsure" if not label else "agree" if agreed else "disagree"
        return store.verify(cell, Verdict(verdict, **given))

    @router.get("/cell/{cell}/thumbnail")
    def thumbnail(cell: int) -> Response:
        return Response(store.thumbnail(cell), media_type=_PNG, headers=_FOREVER)

    @router.get("/cell/{cell}/crop.png")
    async def crop(cell: int) -> Response:
        record = await run_in_threadpool(store.get, cell)
        try:
            image = pictures.png((await desk.seen(record)).crop)
        except AppError:  # another model answered: what is kept of it
            image = await run_in_threadpool(store.thumbnail, cell)
        return Response(image, media_type=_PNG)

    @router.get("/cell/{cell}/map.png")
    async def layer(cell: int) -> Response:
        record = await run_in_threadpool(store.get, cell)
        return Response(pictures.layer(await desk.explain(record)), media_type=_PNG)

    @router.get("/models")
    def models(request: Request) -> HTMLResponse:
        found = available(desk.artifacts)
        return rendering.page(
            request,
            "models.html.j2",
            models=[one for one in found if isinstance(one, ModelFacts)],
            refused=[one for one in found if isinstance(one, Refused)],
            **_model(),
        )

    @router.post("/models")
    async def choose(request: Request) -> Response:
        async with request.form(max_files=0, max_fields=10) as form:
            await desk.use(str(form.get("key", "")))
        return RedirectResponse("/models", 303)

    @router.get("/api")
    def described(request: Request) -> HTMLResponse:
        base = str(request.base_url).rstrip("/")
        more = {"limits": desk.limits, "together": guard.MOST_BYTES, "base": base}
        return rendering.page(request, "api.html.j2", **more)

    return router
