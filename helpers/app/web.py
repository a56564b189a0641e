"""The app as one object: its routes, its guard, and a sentence for every error."""

from __future__ import annotations

import sqlite3

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from helpers.app import api, asked, guard, pages, rendering
from helpers.app.desk import Desk
from helpers.base.errors import CourseError


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
    app.mount("/static", StaticFiles(directory=rendering.STATIC))
    for kind in (CourseError, HTTPException, RequestValidationError, OSError, Exception):
        app.add_exception_handler(kind, _problem)
    app.add_exception_handler(ClientDisconnect, lambda *_: Response(status_code=499))
    app.include_router(pages.routes(desk, images))
    app.include_router(api.routes(desk, images))
    return app


def _problem(request: Request, error: Exception) -> Response:
    """Say in one sentence what is wrong, as text, JSON or a page."""
    status, sentence = 400, str(error)
    if isinstance(error, HTTPException):
        status, sentence = error.status_code, str(error.detail)
        if status == 404 and sentence == "Not Found":
            sentence = "There is no such page."
        if status == 400 and "multipart" in sentence:
            sentence = "The form cannot be read: is the name of a file longer than 200 letters?"
    elif isinstance(error, RequestValidationError):
        where = ", ".join(str(one["loc"][-1]) for one in error.errors())
        sentence = f"The request has a value that does not fit: {where}."
    elif isinstance(error, CourseError):
        if request.method == "GET" and request.path_params:
            status = 404
        if isinstance(error.__cause__, OSError | sqlite3.Error):
            status = 507
    else:
        status, sentence = 500, "The app made a mistake. What was kept before is still there."
        if isinstance(error, OSError):
            sentence = f"The disk cannot be used ({error.strerror})."
    sentence = sentence.encode("utf-8", "replace").decode()  # JSON may hold what no text may
    if asked.wants_part(request):
        return Response(sentence, status, media_type="text/plain")
    if request.url.path.startswith("/api/"):
        return JSONResponse({"problem": sentence}, status)
    title = "There is nothing here" if status == 404 else "That did not work"
    return rendering.page(request, "problem.html.j2", status, title=title, sentence=sentence)
