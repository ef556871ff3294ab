"""
Finds plugins: by the name of an entry point, or as C{package.module:attribute}.

Whatever a plugin does wrong is told as one line that names its distribution, and
takes nothing else with it: a server with ten protocols installed serves the
other nine.
"""

from __future__ import annotations

import importlib
import inspect
import os
import re
import sys
import traceback
from collections.abc import Iterable, Iterator
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from attrs import frozen
from twisted.internet.interfaces import IProtocol, IProtocolFactory
from twisted.internet.protocol import AbstractDatagramProtocol, ConnectedDatagramProtocol
from zope.interface.verify import verifyObject

from myserv.errors import PluginError, didYouMean
from myserv.interfaces import (
    IDatagramProtocolPlugin,
    IProtocolPlugin,
    IStreamProtocolPlugin,
)
from myserv.options.declare import describe
from myserv.plugin import NAME_PATTERN, ProtocolPlugin

GROUP: Final = "myserv.protocols"
"""The entry point group in which a distribution offers its protocols."""

_REFERENCE: Final = re.compile(r"([^\W\d]\w*(?:\.[^\W\d]\w*)*)(?::([^\W\d]\w*(?:\.[^\W\d]\w*)*))?")
"""C{package.module:Outer.Inner}; an entry point may name a module alone."""

_SERVABLE: Final = (
    "a Protocol or DatagramProtocol class, a Factory (a class or an instance) or a ProtocolPlugin"
)


class _Unusable(Exception):
    """What a reference leads to cannot be served; the text is the cause."""


@frozen
class Candidate:
    """
    One protocol that an installed distribution offers; not loaded yet.

    @ivar name: What the distribution calls it.
    @ivar distribution: Name and version: C{"myserv 0.1.0"}.
    """

    name: str
    distribution: str
    _reference: str

    @classmethod
    def fromEntryPoint(cls, entryPoint: EntryPoint) -> Candidate:
        """
        Make one of an entry point in L{GROUP}.
        """
        found = entryPoint.dist
        distribution = f"{found.name} {found.version}" if found else "an unknown distribution"
        return cls(entryPoint.name, distribution, entryPoint.value)

    def load(self) -> IProtocolPlugin:
        """
        Import the plugin and see that it can be used.

        Raises:
            PluginError: It cannot; the text names distribution, entry point
                and cause, in one line.
        """
        try:
            module, path = _takeApart(self._reference)
            plugin = _asPlugin(_fetch(module, path), self.name, self._reference)
            if plugin.name != self.name:
                raise _Unusable(f'it calls itself "{plugin.name}", its entry point "{self.name}"')
        except _Unusable as error:
            raise PluginError(
                f'the protocol "{self.name}" of {self.distribution}'
                f" ({self._reference}) is broken: {error}"
            ) from error.__cause__
        return plugin


@frozen
class Listed:
    """
    A protocol as it stands in a list of all.

    @ivar name: What an operator calls it.
    @ivar description: One line; empty when the plugin did not load.
    @ivar distribution: Where it comes from; all of them when there are more.
    @ivar plugin: The plugin, or C{None} when there is a problem.
    @ivar problem: Why it cannot be served, or C{None}.
    """

    name: str
    description: str
    distribution: str
    plugin: IProtocolPlugin | None = None
    problem: str | None = None


class Registry:
    """
    The protocols there are.
    """

    def __init__(self, candidates: Iterable[Candidate]) -> None:
        self._candidates: dict[str, list[Candidate]] = {}
        for candidate in candidates:
            self._candidates.setdefault(candidate.name, []).append(candidate)

    def names(self) -> tuple[str, ...]:
        """
        The names that distributions offer, sorted; some may prove to be broken.
        """
        return tuple(sorted(self._candidates))

    def find(self, reference: str) -> IProtocolPlugin:
        """
        Load one plugin.

        Args:
            reference: The name of an installed protocol, or
                C{"package.module:attribute"} for anything that can be served;
                for the latter the current directory is searched first.

        Raises:
            PluginError: There is none, it is broken, or two distributions
                offer it.
        """
        if ":" in reference:
            return _findByReference(reference)
        offered = self._candidates.get(reference)
        if offered is None:
            known = didYouMean(reference, self._candidates) or "; no protocols are installed"
            raise PluginError(f'unknown protocol "{reference}"{known}{_hintAtReference(reference)}')
        if len(offered) > 1:
            raise PluginError(f'the protocol "{reference}" is {_conflict(offered)}')
        return offered[0].load()

    def survey(self) -> tuple[Listed, ...]:
        """
        Load every plugin, for a list of all, in the order of names.

        A broken one is listed with its problem and hurts no other.
        """
        return tuple(self._list(name) for name in self.names())

    def _list(self, name: str) -> Listed:
        distribution = ", ".join(_distributionsOf(self._candidates[name]))
        try:
            plugin = self.find(name)
        except PluginError as error:
            return Listed(name, "", distribution, problem=str(error))
        return Listed(name, plugin.description, distribution, plugin)


def installedPlugins() -> Registry:
    """
    Look for the protocols of every installed distribution.

    Nothing is imported yet.  Distributions are read anew each time.
    """
    return Registry(map(Candidate.fromEntryPoint, entry_points(group=GROUP)))


def _distributionsOf(offered: list[Candidate]) -> list[str]:
    return sorted({each.distribution for each in offered})


def _conflict(offered: list[Candidate]) -> str:
    distributions = _distributionsOf(offered)
    if len(distributions) == 1:
        return f"offered twice by {distributions[0]}"
    return f"offered by {' and by '.join(distributions)}: uninstall {'one' if len(distributions) == 2 else 'all but one'} of them"


def _hintAtReference(word: str) -> str:
    """
    Tell of the dotted-name door whoever seems to be standing before it.
    """
    module = word.removesuffix(".py").strip("/").replace("/", ".")
    if module == word and "." in word and _REFERENCE.fullmatch(word):
        # Twisted's own spelling of a name: package.module.Class.
        front, _, last = word.rpartition(".")
        module, attribute = (front, last) if last[0].isupper() else (word, "Class")
    elif module != word or not NAME_PATTERN.fullmatch(word) or Path(f"{word}.py").exists():
        attribute = "Class"
    else:
        return ""
    if not _REFERENCE.fullmatch(module):
        return ""
    return f' (a class of your own is written "{module}:{attribute}")'


# --- package.module:attribute ------------------------------------------------


def _findByReference(reference: str) -> IProtocolPlugin:
    try:
        module, path = _takeApart(reference)
        directory = _searchCurrentDirectory()
        try:
            found = _fetch(module, path)
        except _NoSuchModule as error:
            raise _Unusable(f"{error} {directory}on the Python path") from None
        return _asPlugin(found, _nameFor(path[-1]), reference)
    except _Unusable as error:
        raise PluginError(f'"{reference}" cannot be served: {error}') from error.__cause__


def _searchCurrentDirectory() -> str:
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


def _nameFor(attribute: str) -> str:
    """
    Derive a protocol's name: C{MyHTTPProtocol} is C{my-http-protocol}.
    """
    ascii_ = attribute.encode("ascii", "ignore").decode()
    words = re.findall(r"[A-Z]+(?![a-z])[0-9]*|[A-Z]?[a-z]+[0-9]*|[0-9]+", ascii_)
    name = "-".join(words).lower()
    return name if NAME_PATTERN.fullmatch(name) else "protocol"


# --- from a reference to an object ---------------------------------------------


class _NoSuchModule(_Unusable):
    """The module itself is not there; not one that it imports."""


def _takeApart(reference: str) -> tuple[str, tuple[str, ...]]:
    match = _REFERENCE.fullmatch(reference)
    if match is None:
        raise _Unusable('it is not of the form "package.module:attribute"')
    return match[1], tuple(match[2].split(".")) if match[2] else ()


def _fetch(module: str, path: tuple[str, ...]) -> Any:
    """
    Import a module and follow a path of attributes from it.

    Raises:
        _Unusable: Importing raised, or there is no such attribute.
    """
    try:
        found: Any = importlib.import_module(module)
    # A script imported by mistake may well call sys.exit(); KeyboardInterrupt
    # is the operator's, and goes through.
    except (Exception, SystemExit) as error:
        missing = isinstance(error, ModuleNotFoundError) and not list(_framesOf(error))
        if missing:
            raise _NoSuchModule(f"no module named '{module}'") from error
        raise _Unusable(_inOneLine(error, module)) from error
    at = module
    for attribute in path:
        try:
            inner = getattr(found, attribute)
        except AttributeError:
            there = didYouMean(attribute, _servableNames(found))
            raise _Unusable(f'{at} has no "{attribute}"{there}') from None
        except (Exception, SystemExit) as error:
            raise _Unusable(_inOneLine(error, module)) from error
        found, at = inner, f"{at}.{attribute}"
    return found


def _servableNames(owner: Any) -> list[str]:
    names = []
    for name, value in vars(owner).items() if hasattr(owner, "__dict__") else ():
        # What a module imported is not its own, a base class of Twisted's least.
        own = not isinstance(value, type) or value.__module__ == getattr(
            owner, "__name__" if isinstance(owner, ModuleType) else "__module__", None
        )
        if not name.startswith("_") and own and _kindOf(value) is not None:
            names.append(name)
    return names


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
    text = " ".join(str(error.msg if isinstance(error, SyntaxError) else error).split())
    cause = f"{type(error).__name__}: {text}" if text else type(error).__name__
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


# --- from an object to a plugin ------------------------------------------------


def _kindOf(found: Any) -> str | None:
    """
    Tell what a thing is to us; C{None} when it cannot be served.
    """
    isClass = isinstance(found, type)
    if IProtocolPlugin.providedBy(found):
        return "plugin"
    if isClass and _isDatagramProtocol(found):
        return "datagram"
    if isClass and IProtocol.implementedBy(found):
        return "stream"
    if isClass and IProtocolFactory.implementedBy(found):
        return "factory"
    if not isClass and IProtocolFactory.providedBy(found):
        return "factory instance"
    return None


def _isDatagramProtocol(found: type) -> bool:
    # Twisted has no interface for these: what a Port calls has to be there.
    if issubclass(found, AbstractDatagramProtocol):
        return not issubclass(found, ConnectedDatagramProtocol)
    called = ("makeConnection", "datagramReceived", "doStart", "doStop")
    return all(callable(getattr(found, name, None)) for name in called)


def _asPlugin(found: Any, name: str, reference: str) -> IProtocolPlugin:
    """
    Make sure that it is a plugin, or make it one.

    Args:
        found: What the reference led to.
        name: The name to give it if it has none of its own.
        reference: Where it was found, which describes it if nothing else does.

    Raises:
        _Unusable: It is neither a plugin nor something that can be served.
    """
    kind = _kindOf(found)
    if kind is None:
        raise _Unusable(f"it is {_whatItIs(found)}; it may be {_SERVABLE}")
    if kind == "plugin":
        _check(found)
        plugin: IProtocolPlugin = found
        return plugin
    if kind != "factory instance":
        _requireNoArguments(found)
    served = found if isinstance(found, type) else type(found)
    description = (served.__doc__ or "").strip().partition("\n")[0].strip() or reference
    try:
        if kind == "datagram":
            return ProtocolPlugin(name, description, datagram=found)
        if kind == "stream":
            return ProtocolPlugin(name, description, stream=found)
        build = found if kind == "factory" else lambda: found
        return ProtocolPlugin(name, description, factory=lambda context, options: build())
    except ValueError as error:  # the entry point's name is not a protocol's
        raise _Unusable(str(error)) from error


def _whatItIs(found: Any) -> str:
    if isinstance(found, type):
        if IProtocolPlugin.implementedBy(found):
            return f"the class {found.__name__}, of which the plugin would be an instance"
        return f"the class {found.__name__}"
    if isinstance(found, ModuleType):
        return "a module"
    if IProtocol.providedBy(found) or isinstance(found, AbstractDatagramProtocol):
        return f"one {type(found).__name__}, and each connection needs its own: name the class"
    kind = type(found).__name__
    return f"{'an' if kind[0] in 'aeiouAEIOU' else 'a'} {kind}"


def _requireNoArguments(found: type) -> None:
    try:
        parameters = inspect.signature(found).parameters.values()
    except (TypeError, ValueError):  # written in C, perhaps
        return
    wanted = [
        each.name
        for each in parameters
        if each.default is each.empty and each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
    ]
    if wanted:
        raise _Unusable(
            f"{found.__name__}() wants {', '.join(wanted)}: "
            "make a myserv.plugin.ProtocolPlugin that passes what it wants"
        )


def _check(plugin: Any) -> None:
    """
    Find an author's mistakes now rather than when the first peer connects.

    Raises:
        _Unusable: It does not keep the contract.
    """
    kinds = [
        kind for kind in (IStreamProtocolPlugin, IDatagramProtocolPlugin) if kind.providedBy(plugin)
    ]
    if not kinds:
        raise _Unusable("it provides neither IStreamProtocolPlugin nor IDatagramProtocolPlugin")
    try:
        for kind in kinds:
            verifyObject(kind, plugin)
        if not isinstance(plugin.name, str) or not NAME_PATTERN.fullmatch(plugin.name):
            raise _Unusable(
                f"{plugin.name!r} cannot be a protocol's name: use lower case, digits and hyphens"
            )
        describe(plugin.optionsType)
    except _Unusable:
        raise
    # Its attributes may be properties, its options' annotations may not resolve.
    except Exception as error:
        # No place: the text names class and field.
        text = " ".join(str(error).split())
        raise _Unusable(f"{type(error).__name__}: {text}") from error
