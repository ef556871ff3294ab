"""
twistd's front door: C{twistd myserv ...} and C{twistd myserv-echo ...}.

Whatever an operator gets wrong ends here as one line for each mistake and exit
code 1, before twistd has done anything.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from twisted.application.service import IService, IServiceMaker
from twisted.cred.portal import Portal
from twisted.internet.error import ReactorNotRunning
from twisted.plugin import IPlugin
from twisted.python import usage
from zope.interface import implementer

import myserv
from myserv.config.document import readDocument
from myserv.config.model import NAME_RULE, SERVICE_NAME_PATTERN, ServiceConfig, surveyConfig
from myserv.discovery import installedPlugins
from myserv.errors import ConfigurationError, KeyPath, ListenError, PluginError, Problem, didYouMean
from myserv.interfaces import IEventObserver, IProtocolPlugin
from myserv.observe.log import LogObserver
from myserv.observe.observers import Observers
from myserv.options.declare import OptionSpec, describe
from myserv.server.build import Resources, buildServer, stateDirectory
from myserv.server.plan import OnePlugin, ServicePlan, planServices
from myserv.server.service import Server

_RESERVED: Final = frozenset({"listen", "name", "help", "version"})
"""Flags of every protocol, which the options of none may be called."""


class Refused(SystemExit, Exception):
    """
    The program ends because of what an operator got wrong.

    To Python this is an exit, so there is no traceback.  It is an C{Exception}
    too because twistd, when it runs as a daemon, has to tell its parent and to
    remove its pid file, and does that for exceptions only.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(1)
        self.reason = reason

    def __str__(self) -> str:
        return self.reason


# What twistd's parent prints of it is cut off after 100 bytes, and a built-in
# exception's name is the only one that Python writes without its module.
Refused.__module__ = "builtins"


@contextlib.contextmanager
def oneLinePerMistake() -> Iterator[None]:
    """
    Turn an operator's mistakes into lines on standard error and exit code 1.
    """
    try:
        yield
    except ConfigurationError as error:
        _sayOnTerminal(str(error))
        raise SystemExit(1) from None
    except usage.UsageError as error:
        _sayOnTerminal(f"myserv: {error}")
        raise SystemExit(1) from None


def _sayOnTerminal(text: str) -> None:
    # twistd may have sent sys.stderr to its log already.
    print(text, file=sys.__stderr__, flush=True)


class TwistdServer(Server):
    """
    A server whose failure to start ends twistd with a line instead of a traceback.
    """

    def privilegedStartService(self) -> None:
        """
        Open every endpoint; see L{Server.privilegedStartService}.

        Raises:
            Refused: One could not be opened.
        """
        with _refusing():
            super().privilegedStartService()

    def startService(self) -> None:
        """
        Open what is not open yet; see L{Server.startService}.

        Raises:
            Refused: One could not be opened.
        """
        with _refusing():
            super().startService()


@contextlib.contextmanager
def _refusing() -> Iterator[None]:
    try:
        yield
    except ListenError as error:
        _sayOnTerminal(str(error))
        raise Refused(str(error)) from None


def makeTwistdServer(
    plans: tuple[ServicePlan, ...],
    *,
    directory: Path | None = None,
    portal: Portal | None = None,
    observers: tuple[IEventObserver, ...] = (),
    report: Callable[[Iterable[Problem]], ConfigurationError] = ConfigurationError,
) -> TwistdServer:
    """
    Build a server on the reactor that twistd has installed.

    Args:
        plans: The services.
        directory: Where services keep files.
        portal: Where peers log in.
        observers: Who else is told of events, beside the log.
        report: Makes the error that tells an operator where problems stand.

    Raises:
        ConfigurationError: A plugin or an endpoint refused what it was asked.
    """
    # Not before: twistd --reactor may still have had another to install.
    from twisted.internet import reactor

    def endLate(error: ListenError) -> None:
        # twistd has no other way to an exit code once the reactor runs.
        _sayOnTerminal(str(error))
        atexit.register(_exitWithFailure)
        reactor.callWhenRunning(stop)

    def stop() -> None:
        # It stops already when another endpoint has failed too.
        with contextlib.suppress(ReactorNotRunning):
            reactor.stop()

    resources = Resources(
        reactor=reactor,
        emit=Observers(LogObserver(), *observers).emit,
        directory=stateDirectory(directory),
        portal=portal,
        report=report,
        failedLate=endLate,
    )
    server = TwistdServer(reactor)
    buildServer(plans, resources, server)
    return server


def _exitWithFailure() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    os._exit(1)


def planOne(
    plugin: IProtocolPlugin,
    reference: str,
    name: str,
    listen: tuple[str, ...],
    options: Mapping[str, object],
) -> tuple[ServicePlan, ...]:
    """
    Give meaning to the one service that somebody asks for.

    Args:
        plugin: The protocol.
        reference: What it was called.
        name: What the service is to be called.
        listen: Endpoint strings.
        options: The protocol's options.

    Raises:
        ConfigurationError: With a problem for everything that is wrong.
    """
    problems = []
    if not SERVICE_NAME_PATTERN.fullmatch(name):
        problems.append(Problem(f"{name!r} {NAME_RULE}", ("name",)))
    if not listen:
        problems.append(Problem('is empty: write where to listen, such as "tcp:7007"', ("listen",)))
    request = ServiceConfig(name=name, protocol=reference, listen=listen, options=options, key=())
    plans: tuple[ServicePlan, ...] = ()
    try:
        plans = planServices([request], OnePlugin(plugin))
    except ConfigurationError as error:
        problems += error.problems
    if problems:
        raise ConfigurationError(problems)
    return plans


def serveFile(path: str | Path, **others: Any) -> TwistdServer:
    """
    Build the server that a configuration file describes.

    Args:
        path: The file.
        others: See L{makeTwistdServer}.

    Raises:
        ConfigurationError: With every mistake at its place in the file.
    """
    document = readDocument(path)
    config, problems = surveyConfig(document)
    plans: tuple[ServicePlan, ...] = ()
    try:
        plans = planServices(config.services, installedPlugins())
    except ConfigurationError as error:
        problems += error.problems
    if problems:
        raise document.report(problems)
    return makeTwistdServer(plans, directory=config.directory, report=document.report, **others)


class _Options(usage.Options):
    """
    Options that say what was meant when a flag is misspelt.
    """

    synopsis = ""

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
                known = [flag.rstrip("=") for flag in self.longOpt]
                near = didYouMean(unknown[2], known).replace('"', '"--', 1)
                raise usage.UsageError(f"there is no flag {unknown[1]}{unknown[2]}{near}") from None

    def opt_version(self) -> None:
        """
        Print the version and exit.
        """
        print(f"myserv {myserv.__version__}")  # noqa: T201 - it was asked for
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
        self.longdesc = plugin.description
        self._listen: list[str] = []
        self._values: dict[str, Any] = {}
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
                self.plugin, self.reference, self["name"], tuple(self._listen), self._values
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
            case ("options", str(name), *_):
                flags = {spec.name: spec.flag for spec in describe(self.plugin.optionsType)}
                return f"--{flags.get(name, name)}"
        return self.reference

    def makeServer(self) -> TwistdServer:
        """
        Build the server that the command line describes.
        """
        return makeTwistdServer(self.plans, report=self.report)


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
    plugin = installedPlugins().find(reference)
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
    options: ServiceOptions = made(plugin, reference, command)
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
    return f"{spec.help[:1].upper()}{spec.help[1:]} ({', '.join(parts)})"


class Options(_Options):
    """
    C{twistd myserv}: a protocol with its flags, or a configuration file.
    """

    optParameters = [
        ["config", "c", None, "serve what this TOML file describes (see myserv check)"],
    ]
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

    def makeServer(self) -> TwistdServer:
        """
        Build the server that the command line describes.
        """
        if self["config"] is not None:
            return serveFile(self["config"])
        return self.service.makeServer()


def listProtocols() -> str:
    """
    List every protocol that is installed, a line each.

    A broken one is named with what is wrong with it, on standard error.
    """
    lines = ["Protocols:"]
    for listed in installedPlugins().survey():
        if listed.problem is None:
            lines.append(f"    {listed.name:<14} {listed.description}")
        else:
            _sayOnTerminal(f"warning: {listed.problem}")
    lines.append("    module:Class   any Protocol, Factory or DatagramProtocol of your own")
    return "\n".join(lines)


@implementer(IPlugin, IServiceMaker)
class MyservCommand:
    """
    The command C{twistd myserv}.
    """

    tapname = "myserv"
    description = "Serve protocols on endpoints."
    options = Options

    def makeService(self, options: Options) -> IService:
        """
        Build the server; twistd starts it.
        """
        with oneLinePerMistake():
            server: IService = options.makeServer()
            return server


@implementer(IPlugin, IServiceMaker)
class TwistdCommand:
    """
    A protocol as a twistd command of its own.

    One line in a C{twisted/plugins} drop-in makes one::

        quotes = TwistdCommand("quotes", "Serve quotes.")
    """

    def __init__(self, protocol: str, description: str, tapname: str | None = None) -> None:
        """
        Args:
            protocol: The protocol's name.
            description: One line for C{twistd --help}.
            tapname: The command, if it is not the protocol's name.
        """
        self.protocol = protocol
        self.description = description
        self.tapname = tapname or protocol

    def options(self) -> ServiceOptions:
        """
        Make the command's flags; twistd calls this when the command is given.

        Raises:
            SystemExit: The protocol is broken.
        """
        with oneLinePerMistake():
            return serviceOptions(self.protocol, f"twistd [twistd options] {self.tapname}")

    def makeService(self, options: ServiceOptions) -> IService:
        """
        Build the server; twistd starts it.
        """
        with oneLinePerMistake():
            server: IService = options.makeServer()
            return server
