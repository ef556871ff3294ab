"""
From C{package.module:attribute} to an object, or to the line of code that is why not.
"""

from __future__ import annotations

import importlib
import os
import re
import sys
import traceback
from collections.abc import Iterator
from types import ModuleType
from typing import Any, Final

from myserv.discovery.served import Unusable, kindOf
from myserv.errors import Blaming, describeException, didYouMean

REFERENCE: Final = re.compile(r"([^\W\d]\w*(?:\.[^\W\d]\w*)*)(?::([^\W\d]\w*(?:\.[^\W\d]\w*)*))?")
"""C{package.module:Outer.Inner}; an entry point may name a module alone."""


class NoSuchModule(Unusable):
    """The module itself is not there; not one that it imports."""


def takeApart(reference: str) -> tuple[str, tuple[str, ...]]:
    """
    Read a reference.

    Returns:
        The module, and the path of attributes in it.

    Raises:
        Unusable: It is not one.
    """
    match = REFERENCE.fullmatch(reference)
    if match is None:
        raise Unusable('it is not of the form "package.module:attribute"')
    return match[1], tuple(match[2].split(".")) if match[2] else ()


def fetch(module: str, path: tuple[str, ...]) -> Any:
    """
    Import a module and follow a path of attributes from it.

    Raises:
        NoSuchModule: The module itself is not there.
        Unusable: Importing raised, or there is no such attribute.
    """
    # A script imported by mistake may well call sys.exit().
    with Blaming(lambda error: _whyNotImported(error, module)):
        found: Any = importlib.import_module(module)
    at = module
    for attribute in path:
        with Blaming(lambda error: Unusable(_inOneLine(error, module))):
            try:
                inner = getattr(found, attribute)
            except AttributeError:
                there = didYouMean(attribute, _servableNames(found))
                raise Unusable(f'{at} has no "{attribute}"{there}') from None
        found, at = inner, f"{at}.{attribute}"
    return found


def _whyNotImported(error: BaseException, module: str) -> Unusable:
    if isinstance(error, ModuleNotFoundError) and not list(_framesOf(error)):
        return NoSuchModule(f"no module named '{module}'")
    return Unusable(_inOneLine(error, module))


def _servableNames(owner: Any) -> list[str]:
    members = vars(owner) if hasattr(owner, "__dict__") else {}
    return [
        name
        for name, value in members.items()
        if not name.startswith("_") and _isOwnAndServable(value, owner)
    ]


def _isOwnAndServable(value: Any, owner: Any) -> bool:
    try:
        with Blaming(lambda error: Unusable()):
            # What a module imported is not its own, a base class of Twisted's least.
            own = not isinstance(value, type) or value.__module__ == getattr(
                owner, "__name__" if isinstance(owner, ModuleType) else "__module__", None
            )
            return own and kindOf(value) is not None
    except Unusable:
        return False


def _framesOf(error: BaseException) -> Iterator[tuple[str, str, int]]:
    """
    Module, file and line of each frame that is not the import machinery's.
    """
    for frame, line in traceback.walk_tb(error.__traceback__):
        name = str(frame.f_globals.get("__name__", ""))
        file = frame.f_code.co_filename
        if name not in (__name__, "importlib") and not file.startswith("<frozen importlib"):
            yield name, file, line


def _inOneLine(error: BaseException, module: str) -> str:
    """
    Say what was raised and where: C{"ValueError: no (quotes/plugin.py, line 3)"}.

    The place is the innermost line of the plugin's own package, because that is
    what its author can change.
    """
    cause = describeException(error)
    if isinstance(error, SyntaxError):
        # Its own text has the place in it, without the directory.
        cause = f"{type(error).__name__}: {error.msg}"
    package = module.partition(".")[0]
    frames = list(_framesOf(error))
    if isinstance(error, SyntaxError) and error.filename and error.lineno:
        file, line = error.filename, error.lineno
    elif frames:
        own = [each for each in frames if each[0].partition(".")[0] == package]
        _, file, line = (own or frames)[-1]
    else:
        return cause
    return f"{cause} ({_shorten(file)}, line {line})"


def _shorten(file: str) -> str:
    # Relative to where it was imported from, as its author thinks of it.
    roots = [root for root in sys.path if root and file.startswith(root.rstrip("/") + "/")]
    return os.path.relpath(file, max(roots, key=len)) if roots else file


def searchCurrentDirectory() -> str:
    """
    Put the current directory first on the path, once, as C{python -m} does.

    Returns:
        Where an error message may say that we looked: C{"in /srv or "}.
    """
    if sys.flags.safe_path:
        return ""
    try:
        directory = os.getcwd()
    except OSError:  # it was removed under us
        return ""
    if sys.path[:1] not in ([directory], [""]):
        sys.path.insert(0, directory)
    return f"in {directory} or "
