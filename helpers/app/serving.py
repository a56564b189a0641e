"""``course app``: a model, a folder, a free port, and the pages on it."""

from __future__ import annotations

import contextlib
import errno
import getpass
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from helpers.app import guard
from helpers.base.errors import AppError, CourseError

if TYPE_CHECKING:
    from helpers.app.service import Service

#: Where the search for a free port begins, and how many are tried.
FIRST_PORT, TRIED = 7860, 20
PASSWORD = "COURSE_APP_PASSWORD"
_MOST_CONNECTIONS = 100


def serve(data: Path, model: str, host: str, port: int | None, login: str, artifacts: Path) -> None:
    """Answer until Ctrl-C.

    Parameters
    ----------
    data : pathlib.Path
        Where images and records are kept.
    model : str
        Key or folder of a run; ``""``: the newest that can be loaded. Where there is
        none, a small model is trained.
    host : str
        Address to listen on.
    port : int, optional
        By default 7860 or the next one that is free.
    login : str
        Name that must be given with the password; needed for any host but this machine.
    artifacts : pathlib.Path

    Raises
    ------
    AppError
        When the folder, the port or the model cannot be used.
    """
    rules = _rules(host, login)
    listening = listen(host, port)  # a taken port is told before a model is trained
    with listening, contextlib.suppress(KeyboardInterrupt):
        import uvicorn

        from helpers.app import store, web
        from helpers.app.desk import Desk

        desk = Desk(store.Store(data), artifacts)
        desk.service = _load(model, artifacts)
        app = web.create(desk, rules)
        name, port = listening.getsockname()[:2]
        name = socket.gethostname() if rules.any_address else f"[{name}]" if ":" in name else name
        print(f"\n    http://{name}:{port}\n")
        print(f"The images stay in {data}. Press Ctrl-C to stop.", flush=True)
        config = uvicorn.Config(
            app,
            log_level="warning",
            server_header=False,
            ws="none",
            limit_concurrency=_MOST_CONNECTIONS,
            timeout_graceful_shutdown=5,
            proxy_headers=False,
        )
        uvicorn.Server(config).run(sockets=[listening])
    print("\nStopped.")


def listen(host: str, port: int | None) -> socket.socket:
    """Return a socket that listens on `port`, or from 7860 on, on the next free one.

    Raises
    ------
    AppError
        When the port is taken or the address is none of this machine.
    """
    ports = [port] if port is not None else range(FIRST_PORT, FIRST_PORT + TRIED)
    for number in ports:
        try:
            family, *_, address = socket.getaddrinfo(host, number, type=socket.SOCK_STREAM)[0]
            return socket.create_server(address[:2], family=family, backlog=_MOST_CONNECTIONS)
        except (OSError, OverflowError) as error:
            if getattr(error, "errno", None) == errno.EADDRINUSE:
                continue
            reason = getattr(error, "strerror", None) or error
            raise AppError(f"Nothing can listen on {host}, port {number}: {reason}.") from error
    if port is not None:
        raise AppError(f"Port {port} is taken by another program: give another one by --port.")
    raise AppError(f"The ports {ports[0]} to {ports[-1]} are taken: give another one by --port.")


def _load(model: str, artifacts: Path) -> Service | None:
    """Return the model asked for; else the newest that can be loaded; else a small one."""
    from helpers.app import service
    from helpers.app.answers import Refused

    if model:
        return service.Service.load(model, artifacts)
    for facts in service.available(artifacts):
        try:
            if not isinstance(facts, Refused):
                return service.Service.load(facts.key, artifacts)
        except CourseError as error:
            print(error)
    try:
        return service.Service.load(service.train_small(artifacts), artifacts)
    except CourseError as error:
        print(f"The app starts without a model. {error}")
        return None


def _rules(host: str, login: str) -> guard.Rules:
    if host in guard.LOOPBACK and not login:
        return guard.Rules()
    if not login:
        raise AppError(
            f"With --host {host} anybody in the network could use the app: give a name by --auth."
        )
    if ":" in login:
        raise AppError("The name after --auth has no colon: the password is asked for.")
    password = os.environ.get(PASSWORD) or getpass.getpass(f"Password for {login}: ")
    if len(password) < 8:
        raise AppError("The password needs at least 8 characters.")
    names = guard.LOOPBACK | {host, socket.gethostname().lower(), socket.getfqdn().lower()}
    if host not in guard.LOOPBACK:
        print("Name and password travel unencrypted: use HTTPS in front, or a network you trust.")
    return guard.Rules(names, any_address=host in ("0.0.0.0", "::"), login=(login, password))
