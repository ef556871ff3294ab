"""
From an object to a plugin: what can be served, and whether it keeps the contract.
"""

from __future__ import annotations

import inspect
from types import ModuleType
from typing import Any, Final

from twisted.internet.interfaces import IProtocol, IProtocolFactory
from twisted.internet.protocol import AbstractDatagramProtocol, ConnectedDatagramProtocol
from zope.interface.verify import verifyObject

from myserv.errors import Blaming, MyservError, describeException, printable, shorten
from myserv.interfaces import (
    IDatagramProtocolPlugin,
    IProtocolPlugin,
    IStreamProtocolPlugin,
)
from myserv.options.declare import describe
from myserv.plugin import NAME_PATTERN, ProtocolPlugin

_SERVABLE: Final = (
    "a Protocol or DatagramProtocol class, a Factory (a class or an instance) or a ProtocolPlugin"
)


MAXIMUM_DESCRIPTION: Final = 200
"""Characters of a description: one line of a list, two of a narrow terminal."""


class Unusable(MyservError):
    """What a reference leads to cannot be served; the text is the cause."""


def kindOf(found: Any) -> str | None:
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


def asPlugin(found: Any, name: str, reference: str) -> IProtocolPlugin:
    """
    Make sure that it is a plugin, or make it one.

    Args:
        found: What the reference led to.
        name: The name to give it if it has none of its own.
        reference: Where it was found, which describes it if nothing else does.

    Raises:
        Unusable: It is neither a plugin nor something that can be served.
    """
    # An object may answer Python's own questions in any way, and so may its parts.
    with Blaming(lambda error: Unusable(describeException(error))):
        return _asPlugin(found, name, reference)


def _asPlugin(found: Any, name: str, reference: str) -> IProtocolPlugin:
    kind = kindOf(found)
    if kind is None:
        raise Unusable(f"it is {_whatItIs(found)}; it may be {_SERVABLE}")
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
        raise Unusable(str(error)) from error


def kindsOf(plugin: IProtocolPlugin) -> tuple[str, ...]:
    """
    Say for which kinds of endpoints a plugin is, as people call them.
    """
    kinds: dict[str, Any] = {
        "stream": IStreamProtocolPlugin,
        "datagram": IDatagramProtocolPlugin,
    }
    return tuple(name for name, interface in kinds.items() if interface.providedBy(plugin))


def descriptionOf(plugin: IProtocolPlugin) -> str:
    """
    Write a plugin's description in one line, whatever its author wrote.

    Raises:
        Unusable: There is none.
    """
    with Blaming(lambda error: Unusable(describeException(error))):
        text: object = plugin.description
    if not isinstance(text, str):
        raise Unusable(f"its description is of the type {type(text).__name__}, and has to be text")
    # Cut twice: there may be much of it, and much of that blank.
    words = " ".join(text[: 10 * MAXIMUM_DESCRIPTION].split())
    return printable(shorten(words, MAXIMUM_DESCRIPTION))


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
        raise Unusable(
            f"{found.__name__}() wants {', '.join(wanted)}: "
            "make a myserv.plugin.ProtocolPlugin that passes what it wants"
        )


def _check(plugin: Any) -> None:
    """
    Find an author's mistakes now rather than when the first peer connects.

    Raises:
        Unusable: It does not keep the contract.
    """
    kinds = [
        kind for kind in (IStreamProtocolPlugin, IDatagramProtocolPlugin) if kind.providedBy(plugin)
    ]
    if not kinds:
        raise Unusable("it provides neither IStreamProtocolPlugin nor IDatagramProtocolPlugin")
    # No place is told: the text of what is raised names class and field.
    for kind in kinds:
        verifyObject(kind, plugin)
    if not isinstance(plugin.name, str) or not NAME_PATTERN.fullmatch(plugin.name):
        raise Unusable(
            f"{plugin.name!r} cannot be a protocol's name: use lower case, digits and hyphens"
        )
    descriptionOf(plugin)
    describe(plugin.optionsType)
