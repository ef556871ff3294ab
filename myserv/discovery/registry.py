"""
What there is: the protocols of installed distributions, and the dotted-name door.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from importlib.metadata import Distribution, EntryPoint, distributions
from typing import Final

from attrs import frozen

from myserv.discovery.reference import (
    REFERENCE,
    NoSuchModule,
    fetch,
    searchCurrentDirectory,
    takeApart,
)
from myserv.discovery.served import Unusable, asPlugin, descriptionOf
from myserv.errors import Blaming, PluginError, describeException, didYouMean
from myserv.interfaces import IProtocolPlugin
from myserv.plugin import NAME_PATTERN

GROUP: Final = "myserv.protocols"
"""The entry point group in which a distribution offers its protocols."""


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
            module, path = takeApart(self._reference)
            plugin = asPlugin(fetch(module, path), self.name, self._reference)
            if plugin.name != self.name:
                raise Unusable(f'it calls itself "{plugin.name}", its entry point "{self.name}"')
        except Unusable as error:
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

    @ivar problems: A line for each distribution that cannot be read, and so may
        offer protocols or not.
    """

    def __init__(self, candidates: Iterable[Candidate], problems: Iterable[str] = ()) -> None:
        """
        Args:
            candidates: What distributions offer.
            problems: What is wrong with those that cannot be read.
        """
        self.problems = tuple(problems)
        self._candidates: dict[str, list[Candidate]] = {}
        for candidate in candidates:
            self._candidates.setdefault(candidate.name, []).append(candidate)

    def names(self) -> tuple[str, ...]:
        """
        The names that distributions offer, sorted; some may prove to be broken.
        """
        return tuple(sorted(self._candidates))

    def distributionOf(self, name: str) -> str:
        """
        Say which distribution offers a protocol: C{"myserv 0.1.0"}, or nothing if none
        does.
        """
        return ", ".join(_distributionsOf(self._candidates.get(name, [])))

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
            unread = "".join(f"; {each}" for each in self.problems)
            raise PluginError(
                f'unknown protocol "{reference}"{known}{_hintAtReference(reference)}{unread}'
            )
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
            description = descriptionOf(plugin)
        except PluginError as error:
            return Listed(name, "", distribution, problem=str(error))
        except Unusable as error:
            problem = f'the protocol "{name}" of {distribution} is broken: {error}'
            return Listed(name, "", distribution, problem=problem)
        return Listed(name, description, distribution, plugin)


def installedPlugins() -> Registry:
    """
    Look for the protocols of every installed distribution.

    Nothing is imported yet.  Distributions are read anew each time, and one that
    cannot be read keeps no other from it.
    """
    candidates: list[Candidate] = []
    problems: list[str] = []
    seen: set[str] = set()
    for distribution in distributions():
        try:
            name = _normalizedName(distribution)
            # The first on the path is the one that is imported.
            if name not in seen:
                candidates += _offeredBy(distribution)
            seen.add(name)
        except Unusable as error:
            where = getattr(distribution, "_path", distribution)
            problems.append(f"the distribution {where} is broken: {error}")
    return Registry(candidates, problems)


def _normalizedName(distribution: Distribution) -> str:
    with Blaming(_unreadable("METADATA")):
        # As entry_points() does it: what the directory is called spares reading a file.
        name = getattr(distribution, "_normalized_name", None) or distribution.name
        return str(name)


def _offeredBy(distribution: Distribution) -> list[Candidate]:
    with Blaming(_unreadable("entry_points.txt")):
        offered = tuple(distribution.entry_points.select(group=GROUP))
    with Blaming(_unreadable("METADATA")):
        return [Candidate.fromEntryPoint(each) for each in offered]


def _unreadable(file: str) -> Callable[[BaseException], Unusable]:
    return lambda error: Unusable(f"its {file} cannot be read: {describeException(error)}")


def _distributionsOf(offered: list[Candidate]) -> list[str]:
    return sorted({each.distribution for each in offered})


def _conflict(offered: list[Candidate]) -> str:
    distributions = _distributionsOf(offered)
    if len(distributions) == 1:
        return f"offered twice by {distributions[0]}"
    surplus = "one" if len(distributions) == 2 else "all but one"
    return f"offered by {' and by '.join(distributions)}: uninstall {surplus} of them"


def _findByReference(reference: str) -> IProtocolPlugin:
    try:
        module, path = takeApart(reference)
        directory = searchCurrentDirectory()
        try:
            found = fetch(module, path)
        except NoSuchModule as error:
            raise Unusable(f"{error} {directory}on the Python path") from None
        return asPlugin(found, _nameFor(path[-1]), reference)
    except Unusable as error:
        text = f'"{reference}" cannot be served: {error}{_meant(reference)}'
        raise PluginError(text) from error.__cause__


def _meant(reference: str) -> str:
    # Of a file one writes the module: shop/bad.py:Class is shop.bad:Class.
    file, _, attribute = reference.partition(":")
    written = f"{_moduleOf(file)}:{attribute}"
    isOne = written != reference and REFERENCE.fullmatch(written)
    return f'; did you mean "{written}"?' if isOne else ""


def _moduleOf(file: str) -> str:
    return file.removesuffix(".py").removeprefix("./").strip("/").replace("/", ".")


def pluginOf(found: object) -> IProtocolPlugin:
    """
    Make a plugin of what somebody has in hand.

    Args:
        found: A plugin; or a Protocol, DatagramProtocol or Factory class, or a
            factory, as the dotted-name door takes them.

    Raises:
        PluginError: It cannot be served.
    """
    name = type(found).__name__
    try:
        with Blaming(lambda error: Unusable(describeException(error))):
            name = str(getattr(found, "__name__", name))
        return asPlugin(found, _nameFor(name), name)
    except Unusable as error:
        raise PluginError(f"{name} cannot be served: {error}") from error.__cause__


def _nameFor(attribute: str) -> str:
    """
    Derive a protocol's name: C{MyHTTPProtocol} is C{my-http-protocol}.
    """
    ascii_ = attribute.encode("ascii", "ignore").decode()
    words = re.findall(r"[A-Z]+(?![a-z])[0-9]*|[A-Z]?[a-z]+[0-9]*|[0-9]+", ascii_)
    name = "-".join(words).lower()
    return name if NAME_PATTERN.fullmatch(name) else "protocol"


def _hintAtReference(word: str) -> str:
    """
    Tell of the dotted-name door whoever seems to be standing before it.
    """
    module = _moduleOf(word)
    if module == word and "." in word and REFERENCE.fullmatch(word):
        # Twisted's own spelling of a name: package.module.Class.
        front, _, last = word.rpartition(".")
        module, attribute = (front, last) if last[0].isupper() else (word, "Class")
    elif module != word or not NAME_PATTERN.fullmatch(word) or os.path.exists(f"{word}.py"):
        attribute = "Class"
    else:
        return ""
    if not REFERENCE.fullmatch(module):
        return ""
    return f' (a class of your own is written "{module}:{attribute}")'
