"""The app for programs: JSON, and the exports."""

from __future__ import annotations

import dataclasses
import math
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.concurrency import run_in_threadpool

from helpers.app import asked, export, guard, uploads
from helpers.app.desk import Desk
from helpers.app.records import Record, Verdict
from helpers.base.errors import AppError


def routes(desk: Desk, images: guard.Rate) -> APIRouter:
    """Return the routes that answer in JSON, CSV and ZIP; the page /api describes them."""
    router, store = APIRouter(), desk.store

    @router.post("/api/images")
    async def classify(request: Request) -> JSONResponse:
        taken = await asked.take(request, desk, images)

        def answered() -> list[dict]:
            cells = [[_plain(store.get(cell)) for cell in one.cells] for one in taken]
            return [
                {"name": one.name, "problem": one.problem, "cells": found}
                for one, found in zip(taken, cells, strict=True)
            ]

        content = await run_in_threadpool(answered)
        return JSONResponse(content, 200 if any(one.cells for one in taken) else 422)

    @router.get("/api/cells")
    def cells(request: Request, count: Annotated[int, Query(ge=1, le=200)] = 50) -> JSONResponse:
        given = request.query_params
        page = store.page(count=count, **asked.paging(given), **asked.filters(given))
        found = [_plain(record) for record in page.records]
        return JSONResponse({"cells": found, "total": page.total, "next": page.next})

    @router.get("/api/cells/{cell}")
    def one_cell(cell: int) -> JSONResponse:
        verdicts = [dataclasses.asdict(verdict) for verdict in store.verdicts(cell)]
        return JSONResponse({**_plain(store.get(cell)), "verdicts": verdicts})

    @router.post("/api/cells/{cell}/verdict")
    def verdict(cell: int, given: dict[str, str]) -> JSONResponse:
        if unknown := set(given) - {"verdict", "label", "comment", "reader"}:
            raise AppError(f"A verdict has no {', '.join(sorted(unknown))}.")
        kept = store.verify(cell, Verdict(**{"verdict": "", **given}))
        return JSONResponse(_plain(kept))

    @router.get("/export.csv")
    def export_csv(request: Request) -> StreamingResponse:
        lines = export.to_csv(store, **asked.filters(request.query_params))
        named = {"content-disposition": 'attachment; filename="cells.csv"'}
        return StreamingResponse(lines, media_type="text/csv", headers=named)

    @router.get("/export.zip")
    def export_zip(request: Request) -> StreamingResponse:
        pieces = export.to_zip(store, uploads.read, **asked.filters(request.query_params))
        named = {"content-disposition": 'attachment; filename="cells.zip"'}
        return StreamingResponse(pieces, media_type="application/zip", headers=named)

    return router


def _plain(record: Record) -> dict[str, Any]:
    """Return a record as JSON holds it: no number that JSON lacks, no bytes."""
    content = dataclasses.asdict(record)
    content |= content.pop("cell")
    del content["thumbnail"]
    content["votes"] = [vote._asdict() for vote in record.cell.votes]
    for name, value in content.items():
        if isinstance(value, float) and not math.isfinite(value):
            content[name] = None
    return content
