"""
The flags of C{twistd myserv}, and those of each protocol.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, Final

from attrs import evolve
from twisted.application.service import IService
from twisted.python import usage

import myserv
from myserv.config.model import ServerKeys
from myserv.discovery import Unusable, descriptionOf, installedPlugins
from myserv.endpoints.prefixes import brokenPlugins
from myserv.errors import ConfigurationError, KeyPath, PluginError, Problem, didYouMean, printable
from myserv.interfaces import IProtocolPlugin
from myserv.limits import Limits
from myserv.options.declare import OptionSpec, describe
from myserv.tap.mistakes import answer, oneLinePerMistake, warn
from myserv.tap.server import TwistdServer, makeTwistdServer, planOne
from myserv.tap.workers import makeServer

_RESERVED: Final = frozenset({"listen", "name", "limit", "log-connections", "help", "version"})
"""Flags of every protocol, which the options of none may be called."""


class _Options(usage.Options):
    """
    Options that say what was meant when a flag is misspelt.
    """

    synopsis = ""
    later: frozenset[str] = frozenset()
    """Flags that are known further on in the command."""

    def parseOptions(self, options: Any = None) -> None:
        """
        Read a command line.

        Raises:
            SystemExit: It is wrong, or only asked for help.
        """
        with oneLinePerMistake():
            try:
                super().parseOptions(options)
            except usage.UsageError as error:
                unknown = re.fullmatch(r"option (--?)(.+) not recognized", str(error))
                if unknown is None:
                    raise
                if unknown[2] in self.later:
                    raise usage.UsageError(
                        f"--{unknown[2]} goes after the protocol's name: "
                        f"twistd -n myserv PROTOCOL --{unknown[2]} ..."
                    ) from None
                known = [flag.rstrip("=") for flag in self.longOpt]
                near = didYouMean(unknown[2], known).replace('"', '"--', 1)
                raise usage.UsageError(f"there is no flag {unknown[1]}{unknown[2]}{near}") from None

    def opt_version(self) -> None:
        """
        Print the version and exit.
        """
        answer(f"myserv {myserv.__version__}")
        raise SystemExit(0)

    def opt_help(self) -> None:
        """
        Display this help and exit.
        """
        answer(str(self))
        raise SystemExit(0)

    def getSynopsis(self) -> str:
        """
        The first line of help.
        """
        return f"Usage: {self.synopsis}"


class ServiceOptions(_Options):
    """
    The flags of one protocol: where it listens, and its own options.
    """

    def __init__(self, plugin: IProtocolPlugin, reference: str, command: str) -> None:
        self.plugin = plugin
        self.reference = reference
        self.synopsis = f"{command} --listen ENDPOINT [--listen ENDPOINT ...] [options]"
        self.longdesc = descriptionOf(plugin)
        self._listen: list[str] = []
        self._values: dict[str, Any] = {}
        self._limits: dict[str, Any] = {}
        self._keys = ServerKeys()
        self["name"] = plugin.name
        super().__init__()
        # To Twisted an option of one letter has one hyphen; here all have two.
        for spec in describe(plugin.optionsType):
            if len(spec.flag) == 1:
                self.longOpt.append(spec.flag if spec.type.element is bool else f"{spec.flag}=")

    def opt_listen(self, endpoint: str) -> None:
        """Where to listen, such as tcp:7007 or udp:7007; may be repeated"""
        self._listen.append(endpoint)

    def opt_name(self, name: str) -> None:
        """What to call the service in logs and directories (the protocol's name)"""
        self["name"] = name

    def opt_limit(self, text: str) -> None:
        """A limit for peers, such as maxConnections=100 or idle=30s; may be repeated"""
        key, equals, value = text.partition("=")
        if not equals:
            raise usage.UsageError(f"--limit {text}: write KEY=VALUE, such as --limit idle=30s")
        many = any(spec.name == key and spec.type.many for spec in describe(Limits))
        if many:
            self._limits.setdefault(key, []).extend(value.split(","))
        else:
            self._limits[key] = value

    def opt_log_connections(self) -> None:
        """Write a line to the log for each connection that starts or ends"""
        self._keys = evolve(self._keys, logConnections=True)

    def take(self, spec: OptionSpec, text: str) -> None:
        """
        Keep what was given for an option of the protocol.
        """
        if spec.type.many:
            self._values.setdefault(spec.name, []).append(text)
        else:
            self._values[spec.name] = text

    def parseArgs(self, *words: str) -> None:
        """
        Turn away what is neither a flag nor the value of one.
        """
        if words:
            raise usage.UsageError(f"there is nothing to do for {words[0]!r}: flags begin with --")

    def postOptions(self) -> None:
        """
        Give meaning to what was written.

        Raises:
            ConfigurationError: It has none.
        """
        if not self._listen:
            raise usage.UsageError(
                f"{self.reference} needs --listen: where to listen, such as --listen tcp:7007"
            )
        try:
            self.plans = planOne(
                self.plugin,
                self.reference,
                self["name"],
                tuple(self._listen),
                self._values,
                self._limits,
            )
        except ConfigurationError as error:
            raise self.report(error.problems) from None

    def report(self, problems: Iterable[Problem]) -> ConfigurationError:
        """
        Say which flag is wrong instead of which key.
        """
        return ConfigurationError(
            Problem(each.message, where=self._flagOf(each.key)) for each in problems
        )

    def _flagOf(self, key: KeyPath) -> str:
        match key:
            case ("listen" | "name" as flag, *_):
                return f"--{flag}"
            case ("limits", str(name), *_):
                return f"--limit {name}"
            case ("options", str(name), *_):
                flags = {spec.name: spec.flag for spec in describe(self.plugin.optionsType)}
                return f"--{flags.get(name, name)}"
        return self.reference

    def makeServer(self) -> TwistdServer:
        """
        Build the server that the command line describes.
        """
        return makeTwistdServer(self.plans, report=self.report, keys=self._keys)


def serviceOptions(reference: str, command: str) -> ServiceOptions:
    """
    Make the flags of a protocol from its options class.

    Args:
        reference: The protocol's name, or C{"module:Attribute"}.
        command: The command that takes the flags, for help.

    Raises:
        PluginError: There is no such protocol, it is broken, or an option has
            the name of a flag that every protocol or another option has.
    """
    registry = installedPlugins()
    for problem in registry.problems:
        warn(problem)
    plugin = registry.find(reference)
    members: dict[str, Any] = {}
    for spec in describe(plugin.optionsType):
        if spec.flag in _RESERVED:
            raise PluginError(
                f'the protocol {plugin.name} is broken: no option may be called "{spec.name}"'
            )
        flags = _flags(spec)
        if not members.keys().isdisjoint(flags):
            raise PluginError(
                f'the protocol {plugin.name} is broken: its option "{spec.name}" '
                "has the flag of another"
            )
        members.update(flags)
    made = type("ServiceOptions", (ServiceOptions,), members)
    try:
        options: ServiceOptions = made(plugin, reference, command)
    except Unusable as error:
        raise PluginError(f"the protocol {plugin.name} is broken: {error}") from error
    return options


def _flags(spec: OptionSpec) -> dict[str, Callable[..., None]]:
    method = spec.flag.replace("-", "_")

    def take(self: ServiceOptions, text: str) -> None:
        self.take(spec, text)

    def turnOn(self: ServiceOptions) -> None:
        self.take(spec, "true")

    def turnOff(self: ServiceOptions) -> None:
        self.take(spec, "false")

    if spec.type.element is not bool:
        take.__doc__ = _describeFlag(spec)
        return {f"opt_{method}": take}
    turnOn.__doc__ = _describeFlag(spec)
    turnOff.__doc__ = f"The opposite of --{spec.flag}"
    return {f"opt_{method}": turnOn, f"opt_no_{method}": turnOff}


def _describeFlag(spec: OptionSpec) -> str:
    parts = [spec.type.name]
    if spec.type.many:
        parts.append("may be repeated")
    if spec.required:
        parts.append("required")
    elif spec.defaultText:
        parts.append(f"default {spec.defaultText}")
    return printable(f"{spec.help[:1].upper()}{spec.help[1:]} ({', '.join(parts)})")


class Options(_Options):
    """
    C{twistd myserv}: a protocol with its flags, or a configuration file.
    """

    optParameters = [
        ["config", "c", None, "serve what this TOML file describes (see myserv check)"],
    ]
    later = frozenset({"listen", "name", "limit", "log-connections"})
    synopsis = "twistd [twistd options] myserv PROTOCOL --listen ENDPOINT [options]"

    def parseArgs(self, *words: str) -> None:
        """
        Keep what is not a flag of this command.
        """
        # Twisted takes a TypeError here, whosever, for a wrong number of words.
        self._words = words

    def postOptions(self) -> None:
        """
        Hand what follows a protocol's name to that protocol.
        """
        words = self._words
        if self["config"] is not None:
            if words:
                raise usage.UsageError(
                    f"--config says what to serve; there is nothing to do for {words[0]!r}"
                )
            return
        if not words:
            raise usage.UsageError(
                "name a protocol or give --config FILE; --help lists the protocols"
            )
        reference, *rest = words
        self.service = serviceOptions(reference, f"twistd [twistd options] myserv {reference}")
        self.service.parseOptions(rest)

    def getUsage(self, width: int | None = None) -> str:
        """
        The flags, and every protocol that is installed.
        """
        text = str(super().getUsage(width))
        return f"{text}\n{listProtocols()}\n"

    def makeServer(self) -> IService:
        """
        Build the server that the command line describes.
        """
        if self["config"] is not None:
            return makeServer(self["config"])
        return self.service.makeServer()


def listProtocols() -> str:
    """
    List every protocol that is installed, a line each.

    A broken one is named with what is wrong with it, on standard error, and so
    is a broken plugin for endpoints.
    """
    lines = ["Protocols:"]
    registry = installedPlugins()
    for problem in (*registry.problems, *brokenPlugins()):
        warn(problem)
    for listed in registry.survey():
        if listed.problem is None:
            lines.append(f"    {listed.name:<14} {listed.description}")
        else:
            warn(listed.problem)
    lines.append("    module:Class   any Protocol, Factory or DatagramProtocol of your own")
    return "\n".join(lines)
