"""What a request asks for: files of a form, filters of an address."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import HTTPException, Request
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile

from helpers.app import guard, samples
from helpers.app.desk import Desk, Taken, Upload
from helpers.base.errors import AppError

#: Filters of :meth:`helpers.app.store.Store.page` that are texts.
FILTERS = ("label", "verdict", "model", "since", "until")


async def take(request: Request, desk: Desk, images: guard.Rate) -> list[Taken]:
    """Answer the files of a form: counted and measured before one of them is decoded.

    Raises
    ------
    AppError
        When there is no file in it, or no model is in use.
    HTTPException
        When there are too many files, in the form or within a minute.
    """
    async with request.form(max_files=desk.limits.files, max_fields=20) as form:
        chosen = [one for one in form.getlist("images") if isinstance(one, UploadFile)]
        chosen = [one for one in chosen if one.filename or one.size]
        subject, kind = str(form.get("subject", "")), str(form.get("kind") or "auto")
        number = str(form.get("sample", ""))
        if not chosen and not number:
            raise AppError("No image was sent: choose one first.")
        if not images.take(guard.client_of(request.scope), len(chosen) or 1):
            raise HTTPException(429, guard.too_many(images))
        if number:
            files = [await run_in_threadpool(_sample, number)]
        else:
            most = desk.limits.bytes + 1  # of a file that is too large, enough to be refused
            files = [Upload(one.filename or "", await one.read(most)) for one in chosen]
    return await desk.take(files, subject, kind)


def filters(asked: Mapping[str, str]) -> dict[str, Any]:
    """Return the filters of an address as :meth:`helpers.app.store.Store.page` takes them."""
    given = {name: asked[name] for name in FILTERS if asked.get(name)}
    return {**given, "disagreement": asked.get("disagreement") == "1"}


def paging(asked: Mapping[str, str]) -> dict[str, Any]:
    """Return the order and the start of a page of records, as the same method takes them."""
    after = asked.get("after", "")
    if after and not (after.isdecimal() and len(after) < 19):
        raise AppError("The value of after is that of next on the page before.")
    return {"newest_first": asked.get("order") != "oldest", "after": int(after) if after else None}


def wants_part(request: Request) -> bool:
    """Return whether the pages' script asks for a part of a page."""
    return "x-part" in request.headers


def _sample(number: str) -> Upload:
    if number not in map(str, range(len(samples.NAMES))):
        raise AppError("There is no such sample.")
    return Upload(samples.NAMES[int(number)], samples.draw(int(number)))
