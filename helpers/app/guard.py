"""Who may ask the app, and for how much: checked before anything of a request is used."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import secrets
import time
from collections import deque
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: Names under which a browser on the same machine asks.
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
#: Bytes of a request that carries images, and of any other.
MOST_BYTES, MOST_BYTES_OF_A_FORM = 320_000_000, 64_000
_UPLOADS = ("/", "/api/images")
_SAFE = ("GET", "HEAD", "OPTIONS")
_WRONG_PASSWORDS_A_MINUTE = 20
_HEADERS = {
    "content-security-policy": "default-src 'self'; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
}


class Rate:
    """How many things each client has asked for within the last minute."""

    def __init__(self, per_minute: int):
        self.per_minute = per_minute
        self._asked: dict[str, deque[tuple[float, int]]] = {}

    def left(self, client: str) -> int:
        """Return how many things a client may still ask for now."""
        since = time.monotonic() - 60
        for name in [name for name, asked in self._asked.items() if asked[-1][0] < since]:
            del self._asked[name]
        asked = self._asked.get(client, deque())
        while asked and asked[0][0] < since:
            asked.popleft()
        return self.per_minute - sum(count for _, count in asked)

    def take(self, client: str, count: int = 1) -> bool:
        """Return whether a client may have `count` things now; if so, they are counted."""
        if self.left(client) < count:
            return False
        self._asked.setdefault(client, deque()).append((time.monotonic(), count))
        return True


@dataclass(frozen=True)
class Rules:
    """Whose requests the app answers.

    Attributes
    ----------
    names : frozenset of str
        Host names by which it may be addressed. With another name in the request, a
        foreign page may have led the browser here (DNS rebinding).
    any_address : bool
        Whether every IP address is such a name too: for ``--host 0.0.0.0``.
    login : tuple of two str, or None
        Name and password that every request must carry.
    """

    names: frozenset[str] = LOOPBACK
    any_address: bool = False
    login: tuple[str, str] | None = None


class Guard:
    """Refuses a request by its headers, counts its bytes, and adds the security headers."""

    def __init__(self, app: ASGIApp, rules: Rules, images: Rate):
        self.app, self.rules, self.images = app, rules, images
        self._wrong = Rate(_WRONG_PASSWORDS_A_MINUTE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request or pass it on, as ASGI defines it."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        headers = Headers(scope=scope)
        uploads = scope["method"] == "POST" and scope["path"] in _UPLOADS
        most = MOST_BYTES if uploads else MOST_BYTES_OF_A_FORM
        read, ended = 0, not (set(headers) & {"content-length", "transfer-encoding"})

        async def counted() -> Message:
            nonlocal read, ended
            message = await receive()
            ended = not message.get("more_body", False)
            read += len(message.get("body", b""))
            if read > most:
                raise HTTPException(413, _too_much(most))
            return message

        async def secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                answered = MutableHeaders(scope=message)
                answered.update(_HEADERS)
                answered.setdefault("cache-control", "no-store")
                if not ended:  # else the client may go on sending for ever
                    answered["connection"] = "close"
            await send(message)

        refusal = self._refusal(scope, headers, most, uploads)
        await (refusal or self.app)(scope, receive if refusal else counted, secured)
        return None

    def _refusal(self, scope: Scope, headers: Headers, most: int, uploads: bool) -> Response | None:
        def refuse(status: int, sentence: str, **more: str) -> Response:
            if scope["path"].startswith("/api/"):
                return JSONResponse({"problem": sentence}, status, more)
            return PlainTextResponse(sentence, status, more)

        client = client_of(scope)
        if not self._is_ours(headers.get("host", "")):
            return refuse(421, "The app does not answer to this name. Use the address it printed.")
        if scope["method"] not in _SAFE and _is_foreign(headers):
            return refuse(403, "The request comes from a page of another site.")
        if self.rules.login and self._wrong.left(client) <= 0:
            return refuse(429, "Too many wrong passwords. Wait a minute.")
        if self.rules.login and not _has_login(headers, self.rules.login):
            if "authorization" in headers:
                self._wrong.take(client)
            challenge = {"www-authenticate": 'Basic realm="course app", charset="UTF-8"'}
            return refuse(401, "The app asks for a name and a password.", **challenge)
        length = headers.get("content-length", "0")
        if not (length.isdecimal() and len(length) < 12 and int(length) <= most):
            return refuse(413, _too_much(most))
        if uploads and self.images.left(client) <= 0:
            return refuse(429, too_many(self.images))
        return None

    def _is_ours(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        if name in self.rules.names:
            return True
        try:
            return self.rules.any_address and bool(ipaddress.ip_address(name))
        except ValueError:
            return False


def client_of(scope: Scope) -> str:
    """Return the address from which a request comes."""
    return (scope.get("client") or ("",))[0]


def too_many(rate: Rate) -> str:
    """Return the sentence for a client that has sent too many images."""
    return f"More than {rate.per_minute:,} images in a minute. Wait a minute, then go on."


def _too_much(most: int) -> str:
    return f"The request is larger than {most / 1e6:g} MB. Send less at a time."


def _is_foreign(headers: Headers) -> bool:
    """Return whether a browser says that another site's page sent this; scripts say nothing."""
    origin = headers.get("origin")
    if origin is None:
        return headers.get("sec-fetch-site", "none") not in ("none", "same-origin")
    return urlsplit(origin).netloc != headers.get("host")


def _has_login(headers: Headers, login: tuple[str, str]) -> bool:
    scheme, _, encoded = headers.get("authorization", "").partition(" ")
    try:
        given = base64.b64decode(encoded, validate=True) if scheme.lower() == "basic" else b""
    except (binascii.Error, ValueError):
        given = b""
    return secrets.compare_digest(given, ":".join(login).encode())
