"""The source files that a result depends on, and one hash of all of them.

A cached result is out of date when the code behind it has changed: the module that
computes it, or any module of `helpers` that this module imports, directly or indirectly.
"""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]


@cache
def version(*modules: str) -> str:
    """Return a hash of the named modules and of all that they import, 12 hexadecimal digits.

    Parameters
    ----------
    *modules : str
        Full names, such as ``helpers.images.cropping``.

    Raises
    ------
    ModuleNotFoundError
        When there is no such module: its hash would never change.
    """
    for name in modules:
        if name not in _modules(PACKAGE):
            raise ModuleNotFoundError(f"The course has no module {name!r}.")
    return digest(upstream(modules))[:12]


def upstream(names: Iterable[str], package: Path = PACKAGE, exercises: str = "") -> dict[str, Path]:
    """Return the named modules and all modules of `helpers` that they import, by name.

    Parameters
    ----------
    names : iterable of str
        Modules (``helpers.report.plots``), names in them (``helpers.report.plots.style``), or
        the beginning of names and a star.
    package : pathlib.Path
        The folder of `helpers`.
    exercises : str
        Two digits of a chapter: of the exercises, only this chapter's module counts.

    Notes
    -----
    Imports are read from the syntax trees, including those inside functions. If
    a name is built at run time, every module that it could mean counts; if nothing
    is known about it, all modules count. The packages that contain a module count as
    files, but their imports are not followed: Python runs them, the module does not
    use them.
    """
    modules = _modules(package)
    sources: dict[str, Path] = {}
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name.endswith("*"):
            prefix = name[:-1]
            if prefix.startswith("helpers.exercises.") and exercises:
                prefix = f"helpers.exercises.chapter_{exercises}"
            waiting += [other for other in modules if other.startswith(prefix)]
            continue
        # `from helpers.report.plots import style` names a function: its module counts.
        while name and name not in modules:
            name = name.rpartition(".")[0]
        if name and name not in sources:
            sources[name] = path = modules[name]
            source = path.read_text(encoding="utf-8")
            waiting += imports(source, name, path.name == "__init__.py")
    for name in list(sources):
        while name := name.rpartition(".")[0]:
            sources.setdefault(name, modules[name])
    return sources


def digest(modules: dict[str, Path]) -> str:
    """Return a hash of the sources of the modules and of the data files in their packages.

    Line endings do not count, because Git may change them.
    """
    result = hashlib.sha256()
    for name, path in sorted(modules.items()):
        parts = [path]
        if path.name == "__init__.py":
            parts += sorted(
                other
                for other in path.parent.iterdir()
                if other.is_file() and other.suffix not in (".py", ".pyc")
            )
        for part in parts:
            content = part.read_bytes()
            if part.suffix == ".py":
                content = content.replace(b"\r\n", b"\n")
            result.update(f"{name}\x1f{part.name}\x1f{len(content)}\x1e".encode() + content)
    return result.hexdigest()


@cache  # each chapter imports most of the modules
def imports(source: str, module: str = "helpers", is_package: bool = False) -> tuple[str, ...]:
    """Return the names in ``helpers`` that `source` imports; a prefix ends with ``*``."""
    if "import" not in source:
        return ()
    try:
        # Lines such as %matplotlib or !pip are not Python; they import no helper.
        tree = ast.parse(re.sub(r"(?m)^\s*[%!].*$", "pass", source))
    except SyntaxError:
        return ("helpers*",)
    base = module if is_package else module.rpartition(".")[0]
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            origin = node.module or ""
            if node.level:
                parts = base.split(".")
                origin = ".".join([*parts[: len(parts) - node.level + 1], origin]).rstrip(".")
            names += [f"{origin}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Call) and _name(node.func) in ("import_module", "__import__"):
            names.append(_dynamic(node))
    return tuple(name for name in names if re.match(r"helpers(\.|\*|$)", name))


def _modules(package: Path) -> dict[str, Path]:
    modules = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).with_suffix("").parts
        if parts[0] in ("course", "__main__") or "__pycache__" in parts:
            continue  # what runs and publishes the chapters decides no result
        if parts[-1] == "__init__":
            parts = parts[:-1]
        modules[".".join(("helpers", *parts))] = path
    return modules


def _dynamic(call: ast.Call) -> str:
    """Return the name that a call imports: the known beginning and a star if it is built."""
    argument, star = (call.args or [None])[0], ""
    if isinstance(argument, ast.JoinedStr):
        argument, star = (argument.values or [None])[0], "*"
    name = str(argument.value) if isinstance(argument, ast.Constant) else ""
    return "helpers*" if not name or name.startswith(".") else name + star


def _name(node: ast.expr) -> str:
    return getattr(node, "id", None) or getattr(node, "attr", None) or ""
