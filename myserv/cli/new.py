"""
Makes a new plugin package: C{myserv new quotes}.

The files are templates beside this module; C{MODULE} in a path and the names in
a text are replaced.  What comes out installs, passes its own tests and is clean
to ruff and mypy as it stands.
"""

from __future__ import annotations

import importlib.util
import keyword
import shutil
import sys
from collections.abc import Iterator
from importlib.machinery import NamespaceLoader
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from string import Template
from typing import Final

from myserv import __version__
from myserv.discovery import installedPlugins
from myserv.errors import ConfigurationError
from myserv.plugin import NAME_PATTERN

MAXIMUM_NAME: Final = 40
"""Characters in a name: it stands in lines of at most 100 of them."""

_SUFFIX: Final = ".template"

_OWN_DIRECTORIES: Final = frozenset({"tests", "twisted_plugins"})
"""What the package has beside its module, which cannot be called the same."""


def createPackage(name: str, parent: Path) -> Path:
    """
    Write a package with a protocol to begin from.

    Args:
        name: The protocol's name, which is also the distribution's.
        parent: The directory to make the package's directory in.

    Returns:
        The directory made: C{parent / name}.

    Raises:
        ConfigurationError: The name cannot be used, or the directory not be
            made; nothing is left behind.
    """
    module = _moduleFor(name)
    target = parent / name
    try:
        target.mkdir()
    except FileExistsError:
        raise ConfigurationError(f"{target} exists already: choose another name") from None
    except OSError as error:
        raise ConfigurationError(f"cannot make {target}: {error.strerror}") from error
    names = {
        "name": name,
        "module": module,
        "Class": "".join(part.capitalize() for part in name.split("-")),
        "version": __version__,
    }
    try:
        for path, text in _templates(files("myserv.cli") / "templates" / "package"):
            file = target / path.replace("MODULE", module)
            file.parent.mkdir(exist_ok=True)
            file.write_text(Template(text).substitute(names), encoding="utf-8")
    except OSError as error:
        shutil.rmtree(target, ignore_errors=True)
        raise ConfigurationError(f"cannot write {error.filename}: {error.strerror}") from error
    return target


def summary(path: Path) -> str:
    """
    Tell what to do with a package just made.

    Args:
        path: What L{createPackage} returned.

    Returns:
        A few lines for a terminal.
    """
    name = path.name
    return (
        f"Made {path}: a protocol that works, for you to change. Next:\n"
        f"\n"
        f"    cd {path}\n"
        f"    pip install -e '.[test]'\n"
        f"    pytest\n"
        f"    twistd -n {name} --listen tcp:7000 --listen udp:7000\n"
        f"\n"
        f"Begin with answer() in {_moduleName(name)}/protocol.py; README.md has the rest."
    )


def _moduleName(name: str) -> str:
    return name.replace("-", "_")


def _moduleFor(name: str) -> str:
    """
    Derive the module from the name, and see that nothing else has it.

    Raises:
        ConfigurationError: Something has, or it is not a name.
    """
    if not NAME_PATTERN.fullmatch(name):
        raise ConfigurationError(
            f"{name!r} cannot be a protocol's name: use lower case, digits and hyphens"
        )
    if len(name) > MAXIMUM_NAME:
        raise ConfigurationError(f'"{name}" is too long: use at most {MAXIMUM_NAME} characters')
    module = _moduleName(name)
    reason = ""
    if keyword.iskeyword(module):
        reason = "a word of Python's"
    elif module in sys.stdlib_module_names:
        reason = "a module of Python's own"
    elif name in installedPlugins().names():
        reason = "a protocol that is installed already"
    elif module in _OWN_DIRECTORIES:
        reason = "a directory that the package needs for something else"
    elif _isInstalled(module):
        reason = "a module that is installed already"
    if reason:
        raise ConfigurationError(f'"{name}" is {reason}: choose another name')
    return module


def _isInstalled(module: str) -> bool:
    try:
        spec = importlib.util.find_spec(module)
    except ValueError:  # a module like __main__ has none
        return True
    # Any directory on the path looks like a namespace package.
    return spec is not None and not isinstance(spec.loader, NamespaceLoader | None)


def _templates(directory: Traversable, at: str = "") -> Iterator[tuple[str, str]]:
    """
    The paths, with / between their parts, and texts of the templates.
    """
    for entry in sorted(directory.iterdir(), key=lambda each: each.name):
        if entry.is_dir():
            yield from _templates(entry, f"{at}{entry.name}/")
        else:
            name = entry.name.removesuffix(_SUFFIX)
            # Tools would obey one of that name among the templates.
            name = ".gitignore" if name == "gitignore" else name
            yield at + name, entry.read_text(encoding="utf-8")
