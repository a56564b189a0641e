"""A page of a browser that remembers its faults."""

from __future__ import annotations


class Watched:
    """A page that remembers what went wrong on it."""

    def __init__(self, page, host: str):
        self.page = page
        self.faults: list[str] = []
        page.on("pageerror", lambda error: self.faults.append(f"error: {error}"))
        page.on("console", self._console)
        page.on("requestfailed", self._failed)
        page.on("request", lambda r: self._request(r.url, host))
        page.on("response", self._response)

    def _console(self, message):
        if message.type in ("error", "warning"):
            self.faults.append(f"console {message.type}: {message.text}")

    def _failed(self, request):
        # Aborted: the test went on to the next page before an icon was there.
        if request.failure != "net::ERR_ABORTED":
            self.faults.append(f"failed: {request.url} {request.failure}")

    def _request(self, url: str, host: str):
        if not url.startswith((host, "data:", "blob:")):
            self.faults.append(f"another host: {url}")

    def _response(self, response):
        if response.status >= 400:
            self.faults.append(f"status {response.status}: {response.url}")
