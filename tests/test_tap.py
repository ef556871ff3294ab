"""twistd's front door: every flag, every refusal, and what is built behind it."""

from __future__ import annotations

import atexit
import enum
import io
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Final

import pytest
from attrs import evolve, frozen
from twisted.application.service import IService, IServiceMaker
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError, ReactorNotRunning
from twisted.internet.interfaces import IListeningPort, IProtocolFactory
from twisted.internet.protocol import Factory, Protocol
from twisted.plugin import IPlugin, getPlugins
from twisted.python import usage
from zope.interface.verify import verifyClass, verifyObject

import myserv
from myserv.config.model import NAME_RULE
from myserv.discovery import Listed, installedPlugins
from myserv.endpoints.kind import Kind
from myserv.errors import ConfigurationError, ListenError, PluginError, Problem
from myserv.interfaces import IProtocolPlugin
from myserv.limits import Limits, WhenFull
from myserv.plugin import Duration, IPAddress, ProtocolPlugin, Size, option
from myserv.server.plan import PlannedEndpoint, ServicePlan
from myserv.server.service import ProtocolService
from myserv.server.stream import StreamListener
from myserv.tap import MyservCommand, TwistdCommand, flags, server
from myserv.tap.flags import Options, ServiceOptions, listProtocols, serviceOptions
from myserv.tap.hangup import HangUp
from myserv.tap.mistakes import Refused, answer, oneLinePerMistake
from myserv.tap.server import TwistdServer, makeTwistdServer, planOne, serveFile
from myserv.testing import RecordingObserver, SteppedReactor


class Colour(enum.Enum):
    """Two colours."""

    RED = "red"
    BLUE = "blue"


@frozen
class Everything:
    """An option of each kind."""

    word: str = option(help="the word to say")
    maxLine: int = option(80, help="the longest line", minimum=1)
    tags: tuple[str, ...] = option((), help="what to call it")
    ports: tuple[int, ...] = option((7, 9), help="where else to say it")
    verbose: bool = option(False, help="say more")
    colour: Colour = option("red", help="in which to say it")
    timeout: Duration = option("30s", help="how long to wait")
    size: Size | None = option(None, help="how much to keep")
    source: IPAddress | None = option(None, help="where from")
    n: int = option(1, help="how often")
    q: bool = option(False, help="say less")


EVERYTHING: Final = ProtocolPlugin(
    "everything",
    "has an option of each kind",
    stream=lambda context, options: Protocol(),
    optionsType=Everything,
)


def withOptions(optionsType: type) -> ProtocolPlugin:
    """A plugin with these options."""
    return ProtocolPlugin(
        "p", "", stream=lambda context, options: Protocol(), optionsType=optionsType
    )


class Installed:
    """What is installed, for the length of a test."""

    problems: tuple[str, ...] = ()

    def __init__(self, *plugins: IProtocolPlugin) -> None:
        self.plugins = {plugin.name: plugin for plugin in plugins}

    def __call__(self) -> Installed:
        """Look for it."""
        return self

    def distributionOf(self, name: str) -> str:
        """Of none."""
        return ""

    def find(self, reference: str) -> IProtocolPlugin:
        """Find one."""
        if reference not in self.plugins:
            raise PluginError(f"there is no {reference}")
        return self.plugins[reference]


Install = Callable[..., None]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Install:
    """Have these plugins installed and no others."""

    def replace(*plugins: IProtocolPlugin) -> None:
        for module in (flags, server):
            monkeypatch.setattr(module, "installedPlugins", Installed(*plugins))

    return replace


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return tmp_path


def parse(options: usage.Options, *words: str) -> None:
    """Read a command line."""
    options.parseOptions(list(words))


def refusal(
    capfd: pytest.CaptureFixture[str], attempt: Callable[..., object], *words: object
) -> str:
    """The lines that an operator is refused with, and nothing else is printed."""
    with pytest.raises(SystemExit) as raised:
        attempt(*words)
    assert raised.value.code == 1
    output, errors = capfd.readouterr()
    assert output == ""
    assert errors.endswith("\n")
    return str(errors[:-1])


def help_(capfd: pytest.CaptureFixture[str], attempt: Callable[..., object], *words: object) -> str:
    """What is printed for whoever asks."""
    with pytest.raises(SystemExit) as raised:
        attempt(*words)
    assert not raised.value.code
    output, errors = capfd.readouterr()
    assert errors == ""
    return str(output)


def built(server: object) -> list[ProtocolService]:
    """The services of a server."""
    assert isinstance(server, TwistdServer)
    return list(server)


# --- refusing ----------------------------------------------------------------------


def test_refusedIsAnExitAndAnException() -> None:
    """Python ends quietly, and twistd's C{except Exception} sees it."""
    refused = Refused("the address is in use")
    assert isinstance(refused, SystemExit)
    assert isinstance(refused, Exception)
    assert refused.code == 1
    assert str(refused) == refused.reason == "the address is in use"


def test_oneLinePerMistake(capfd: pytest.CaptureFixture[str]) -> None:
    """Each problem is a line, whether ours or of Twisted's command lines."""

    @oneLinePerMistake()
    def fail(error: Exception) -> None:
        raise error

    two = ConfigurationError([Problem("one", ("a",)), Problem("two", where="--b")])
    assert refusal(capfd, fail, two) == "a: one\n--b: two"
    assert refusal(capfd, fail, usage.UsageError("three")) == "myserv: three"


def test_aMistakeIsALine(capfd: pytest.CaptureFixture[str]) -> None:
    """Whatever the operator typed."""
    said = refusal(capfd, parse, Options(), "--fl\x1bag")
    assert said == r"myserv: there is no flag --fl\u001bag; there is config, help, version"


FULL = """
import sys
from myserv.tap.mistakes import answer, completeOutput, oneLinePerMistake, sayOnTerminal
with oneLinePerMistake():
    {}
"""


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(
    ("output", "statement", "code", "said"),
    [
        ("/dev/full", "answer('x')", 1, "No space left on device"),
        ("/dev/full", "with completeOutput(): pass", 0, ""),
        ("/dev/null", "answer('x')", 0, ""),
        ("&-", "answer('x')", 0, ""),
        ("&-", "with completeOutput(): pass", 0, ""),
    ],
)
def test_outputThatCannotBeWritten(
    output: str, statement: str, code: int, said: str, unbuffered: str
) -> None:
    """Is told of like any other mistake; where there is none, nobody wants it."""
    ran = subprocess.run(
        ["sh", "-c", f'exec "$0" -c "$1" >{output}', sys.executable, FULL.format(statement)],
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    line = f"standard output cannot be written to: {said}\n" if said else ""
    assert (ran.returncode, ran.stderr) == (code, line)


def test_outputThatIsLostLate() -> None:
    """What was written and has not arrived is not forgotten."""
    program = FULL.format("with completeOutput(): sys.stdout.write('x')")
    with open("/dev/full", "w") as full:
        ran = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONUNBUFFERED": ""},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (ran.returncode, ran.stderr) == (
        1,
        "standard output cannot be written to: No space left on device\n",
    )


def test_nobodyToTell(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where not even an error can be written, the exit code remains."""
    with open("/dev/full", "w", buffering=1) as full:
        monkeypatch.setattr(sys, "__stderr__", full)
        with pytest.raises(SystemExit) as raised, oneLinePerMistake():
            raise ConfigurationError("is wrong")
        monkeypatch.undo()
        assert raised.value.code == 1
        with pytest.raises(OSError, match="No space"):
            full.close()


def test_anAnswerInAnyEncoding(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name of a file may be bytes that are no text."""
    output = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", output)
    answer("b\udcff é")
    assert output.buffer.getvalue() == b"b\\udcff \\xe9\n"


def test_bugsAreNotMistakes() -> None:
    """Any other exception has its traceback; what goes well is let be."""
    with oneLinePerMistake():
        pass
    with pytest.raises(ZeroDivisionError), oneLinePerMistake():
        raise ZeroDivisionError


def test_refusalIsSaidOnTheTerminal(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What twistd sends to its log is sys.stderr; an operator looks at the terminal."""

    class Log:
        def write(self, text: str) -> None:
            raise AssertionError

    monkeypatch.setattr(sys, "stderr", Log())
    with pytest.raises(SystemExit), oneLinePerMistake():
        raise ConfigurationError("no")
    assert capfd.readouterr().err == "no\n"


# --- the flags of a protocol ----------------------------------------------------------


HELP: Final = """\
    Usage: twistd myserv everything --listen ENDPOINT [--listen ENDPOINT ...] [options]
    Options:
          --colour=          In which to say it (red|blue, default red)
          --help             Display this help and exit.
          --limit=           A limit for peers, such as maxConnections=100 or idle=30s; may be repeated
          --listen=          Where to listen, such as tcp:7007 or udp:7007; may be repeated
          --log-connections  Write a line to the log for each connection that starts or ends
          --max-line=        The longest line (number, default 80)
          --n=               How often (number, default 1)
          --name=            What to call the service in logs and directories (the protocol's name)
          --no-q             The opposite of --q
          --no-verbose       The opposite of --verbose
          --ports=           Where else to say it (number, may be repeated, default 7, 9)
          --q                Say less (boolean, default false)
          --size=            How much to keep (size)
          --source=          Where from (address)
          --tags=            What to call it (text, may be repeated)
          --timeout=         How long to wait (duration, default 30s)
          --verbose          Say more (boolean, default false)
          --version          Print the version and exit.
          --word=            The word to say (text, required)

    has an option of each kind

"""


def test_help(
    capfd: pytest.CaptureFixture[str], install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every option is a flag with its type and default, in what --help prints."""
    monkeypatch.setenv("COLUMNS", "100")
    install(EVERYTHING)
    options = serviceOptions("everything", "twistd myserv everything")
    said = help_(capfd, parse, options, "--help")
    assert said == textwrap.dedent(HELP)


@frozen
class Loud:
    """An option whose author knows the terminal."""

    volume: int = option(11, help="how \x1b[1mloud")


def test_helpIsPlain(capfd: pytest.CaptureFixture[str], install: Install) -> None:
    """Whatever authors write, it changes no colour."""
    plugin = withOptions(Loud)
    plugin.description = "very\n\x1b[31mloud"
    install(plugin)
    said = help_(capfd, parse, serviceOptions("p", "c"), "--help")
    assert r"very \u001b[31mloud" in said
    assert r"How \u001b[1mloud (number, default 11)" in said
    assert "\x1b" not in said


def test_descriptionThatRaises(install: Install) -> None:
    """A plugin that is found and then does not say what it is."""

    class Shy(ProtocolPlugin):
        description: Any = property(lambda self: 1 / 0, lambda self, value: None)

    install(Shy("p", "", stream=Protocol))
    with pytest.raises(PluginError) as caught:
        serviceOptions("p", "c")
    assert str(caught.value) == ("the protocol p is broken: ZeroDivisionError: division by zero")


def test_brokenDistributionsAreWarnedOf(
    capfd: pytest.CaptureFixture[str], install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing else comes of it."""
    install(EVERYTHING)
    monkeypatch.setattr(Installed, "problems", ("the distribution gongs is broken",))
    serviceOptions("everything", "c")
    assert capfd.readouterr() == ("", "warning: the distribution gongs is broken\n")


def test_helpInANarrowTerminal(
    capfd: pytest.CaptureFixture[str], install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Help fits the terminal."""
    monkeypatch.setenv("COLUMNS", "60")
    install(EVERYTHING)
    options = serviceOptions("everything", "c")
    said = help_(capfd, parse, options, "--help")
    assert max(map(len, said.splitlines())) <= 60


def test_version(capfd: pytest.CaptureFixture[str]) -> None:
    """The version is ours, not Twisted's."""
    for options in (Options(), serviceOptions("echo", "twistd myserv echo")):
        said = help_(capfd, parse, options, "--version")
        assert said == f"myserv {myserv.__version__}\n"


FLAGS: Final[list[tuple[str, dict[str, object]]]] = [
    ("", {}),
    ("--max-line 3", {"maxLine": 3}),
    ("--max-line=3 --max-line=4", {"maxLine": 4}),
    ("--tags a", {"tags": ("a",)}),
    ("--tags a --tags b --ports 1 --ports 2", {"tags": ("a", "b"), "ports": (1, 2)}),
    ("--verbose", {"verbose": True}),
    ("--verbose --no-verbose", {"verbose": False}),
    ("--no-verbose --verbose", {"verbose": True}),
    ("--colour blue", {"colour": Colour.BLUE}),
    ("--timeout 5m", {"timeout": Duration.parse("5m")}),
    ("--size 64KiB", {"size": Size.parse("64KiB")}),
    ("--n 3", {"n": 3}),
    ("-n 3", {"n": 3}),
    ("-n3", {"n": 3}),
    ("--n=3", {"n": 3}),
    ("-q", {"q": True}),
    ("--q", {"q": True}),
    ("-q --no-q", {"q": False}),
    ("--max 3", {"maxLine": 3}),
]


@pytest.mark.parametrize(("words", "values"), FLAGS, ids=[words for words, _ in FLAGS])
def test_flag(install: Install, words: str, values: dict[str, Any]) -> None:
    """What is written after a flag becomes the typed option."""
    install(EVERYTHING)
    options = serviceOptions("everything", "c")
    parse(options, *words.split(), "--word", "hello", "--listen", "tcp:7")
    [plan] = options.plans
    assert plan.options == Everything(
        **{
            "word": "hello",
            "maxLine": 80,
            "tags": (),
            "ports": (7, 9),
            "verbose": False,
            "colour": Colour.RED,
            "timeout": Duration.parse("30s"),
            "size": None,
            "source": None,
            "n": 1,
            "q": False,
            **values,
        }
    )


def test_endpointsAndName(install: Install) -> None:
    """--listen may be repeated, and --name is the service's."""
    install(EVERYTHING)
    options = serviceOptions("everything", "c")
    parse(options, "--listen", "tcp:7", "--name", "one", "--listen", "unix:/a", "--word=w")
    [plan] = options.plans
    assert plan.name == "one"
    assert [str(each.endpoint) for each in plan.endpoints] == ["tcp:7", "unix:/a"]


WRONG: Final[list[tuple[str, str]]] = [
    (
        "--word w",
        "myserv: everything needs --listen: where to listen, such as --listen tcp:7007",
    ),
    ("--listen tcp:7", "--word: is required: the word to say"),
    ("--word w --listen", "myserv: option --listen requires argument"),
    (
        "--word w --listen 7",
        '--listen: in "7": there is no prefix; did you mean "tcp:7" or "udp:7"?',
    ),
    (
        "--word w --listen udp:7",
        (
            '--listen: "udp:7" is a datagram endpoint, and everything is a protocol over streams '
            "only"
        ),
    ),
    (
        "--word w --listen tcp:7 --listen tcp:7",
        '--listen: "tcp:7" is asked for twice',
    ),
    (
        "--word w --listen tcp:7 --name ../etc",
        (
            "--name: '../etc' cannot be a service's name: "
            "use letters, digits, - and _, a letter or digit first"
        ),
    ),
    ("--word w --listen tcp:7 --max-line x", "--max-line: 'x' is not a whole number"),
    ("--word w --listen tcp:7 --max-line 0", "--max-line: '0' is too small: the least is 1"),
    ("--word w --listen tcp:7 --ports 1 --ports x", "--ports: 'x' is not a whole number"),
    (
        "--word w --listen tcp:7 --colour bleu",
        "--colour: 'bleu' is not a choice here; did you mean \"blue\"?",
    ),
    (
        "--word w --listen tcp:7 --verbose=yes",
        "myserv: option --verbose must not have an argument",
    ),
    ("--wrod w --listen tcp:7", 'myserv: there is no flag --wrod; did you mean "--word"?'),
    (
        "--maxline 3 --listen tcp:7",
        'myserv: there is no flag --maxline; did you mean "--max-line"?',
    ),
    (
        "--xyzzy --listen tcp:7",
        (
            "myserv: there is no flag --xyzzy; there is colour, help, limit, listen, log-connections, "
            "max-line, n, name, "
            "no-q, no-verbose, ports, q, size, source, tags, timeout, verbose, version, word"
        ),
    ),
    (
        "--word w tcp:7",
        "myserv: there is nothing to do for 'tcp:7': flags begin with --",
    ),
    (
        "--word w --listen tcp:7 --limit idle",
        "myserv: --limit idle: write KEY=VALUE, such as --limit idle=30s",
    ),
    (
        "--word w --listen tcp:7 --limit idel=3s",
        '--limit idel: unknown option; did you mean "idle"?',
    ),
    (
        "--word w --listen tcp:7 --limit idle=soon",
        "--limit idle: 'soon' is not a duration: write a number and ms, s, m, h or d, such as \"30s\"",
    ),
    (
        "--word w --listen tcp:7 --limit allow=10.0.0.0/8,x",
        '--limit allow: \'x\' is not a network: write one such as "10.0.0.0/8" or "2001:db8::/32"',
    ),
    (
        "--word w --listen tcp:7 --limit establish=3s --limit maxUnestablished=1KiB",
        (
            "--limit establish: the protocol everything never says that a client is established: "
            "remove 'establish'\n--limit maxUnestablished: the protocol everything never says that "
            "a client is established: remove 'maxUnestablished'"
        ),
    ),
]


@pytest.mark.parametrize(("words", "line"), WRONG, ids=[words for words, _ in WRONG])
def test_wrongFlag(
    capfd: pytest.CaptureFixture[str], install: Install, words: str, line: str
) -> None:
    """What is wrong with a command line is told by the flag that it is about."""
    install(EVERYTHING)
    options = serviceOptions("everything", "c")
    assert refusal(capfd, parse, options, *words.split()) == line


REFUSE: Final = WhenFull.REFUSE

LIMITS: Final[list[tuple[str, dict[str, object]]]] = [
    ("", {}),
    ("--limit idle=30s", {"idle": Duration(30)}),
    ("--limit idle=30s --limit=idle=40s", {"idle": Duration(40)}),
    ("--limit maxConnections=3 --limit whenFull=refuse", {"maxConnections": 3, "whenFull": REFUSE}),
    (
        "--limit allow=10.0.0.0/8,::1/128 --limit allow=192.0.2.1/32",
        {"allow": tuple(map(ip_network, ("10.0.0.0/8", "::1/128", "192.0.2.1/32")))},
    ),
]


@pytest.mark.parametrize(("words", "values"), LIMITS, ids=[words for words, _ in LIMITS])
def test_limits(install: Install, words: str, values: dict[str, Any]) -> None:
    """What is written of limits becomes those of the service."""
    install(EVERYTHING)
    options = serviceOptions("everything", "c")
    parse(options, *words.split(), "--word", "hello", "--listen", "tcp:7")
    [plan] = options.plans
    assert plan.limits == evolve(Limits(), **values)


def test_logConnections(reactor: PausedReactor) -> None:
    """The log is silent about connections unless it is asked to tell of them."""
    for flags_, reports in {(): False, ("--log-connections",): True}.items():
        options = Options()
        parse(options, "echo", "--listen", "tcp:7", *flags_)
        [service] = built(options.makeServer())
        [listener] = service.listeners
        assert isinstance(listener, StreamListener)
        assert listener.reportsConnections is reports


def test_unknownShortFlag(capfd: pytest.CaptureFixture[str], install: Install) -> None:
    """A flag of one letter that is not there is told with its one hyphen."""
    install(EVERYTHING)
    options = serviceOptions("everything", "c")
    said = refusal(capfd, parse, options, "-w", "hello")
    assert said.startswith("myserv: there is no flag -w; ")


def test_severalMistakesAreSeveralLines(
    capfd: pytest.CaptureFixture[str], install: Install
) -> None:
    """One run tells them all."""
    install(EVERYTHING)
    options = serviceOptions("everything", "c")
    words = ("--listen", "tpc:7", "--listen", "tcp:x", "--timeout", "soon")
    said = refusal(capfd, parse, options, *words)
    assert [line.partition(":")[0] for line in said.splitlines()] == [
        "--listen",
        "--listen",
        "--word",
        "--timeout",
    ]


@frozen
class Elements:
    """Options that an author checks together."""

    low: int = option(1, help="the least")
    high: int = option(2, help="the most")

    def __attrs_post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError("low is above high")
        if self.low < 0:
            raise TypeError("a bug")


def test_validatorOfAPlugin(capfd: pytest.CaptureFixture[str], install: Install) -> None:
    """What is wrong with several options, or with their check, is told of the protocol."""
    install(withOptions(Elements))
    for low, line in {
        "3": "p: low is above high",
        "-1": "p: the protocol p is broken: its options raised TypeError: a bug",
    }.items():
        options = Options()
        words = ("p", "--listen", "tcp:7", "--low", low)
        assert refusal(capfd, parse, options, *words) == line


@pytest.mark.parametrize("name", ["listen", "name", "limit", "logConnections", "help", "version"])
def test_reservedNames(capfd: pytest.CaptureFixture[str], install: Install, name: str) -> None:
    """An option cannot have the name of a flag that every protocol has."""
    fields = {name: option("", help="x"), "__annotations__": {name: str}}
    install(withOptions(frozen(type("Reserved", (), fields))))
    said = f'the protocol p is broken: no option may be called "{name}"'
    with pytest.raises(PluginError, match=said):
        serviceOptions("p", "c")
    assert refusal(capfd, parse, Options(), "p", "--help") == said


@frozen
class SameFlag:
    """Two options that are one flag."""

    maxLine: int = option(1, help="x")
    max_line: int = option(2, help="y")


@frozen
class OppositeFlag:
    """An option that is another's opposite."""

    color: bool = option(True, help="x")
    noColor: str = option("", help="y")


@pytest.mark.parametrize(
    ("optionsType", "name"), [(SameFlag, "max_line"), (OppositeFlag, "noColor")]
)
def test_oneFlagOfTwoOptions(install: Install, optionsType: type, name: str) -> None:
    """Two options whose flags are the same would hide one another."""
    install(withOptions(optionsType))
    said = f'the protocol p is broken: its option "{name}" has the flag of another'
    with pytest.raises(PluginError, match=said):
        serviceOptions("p", "c")


def test_protocolsKeepTheirFlagsApart(install: Install) -> None:
    """The flags of one protocol are not those of the next."""
    install(EVERYTHING, ProtocolPlugin("plain", "", stream=Protocol))
    assert "word=" in serviceOptions("everything", "c").longOpt
    assert "word=" not in serviceOptions("plain", "c").longOpt
    assert not hasattr(ServiceOptions, "opt_word")


# --- one service ---------------------------------------------------------------------


def test_planOne() -> None:
    """What somebody has a plugin for is planned under their words' keys."""
    with pytest.raises(ConfigurationError) as raised:
        planOne(EVERYTHING, "mymodule:Everything", "a b", (), {"word": 5})
    assert [str(each) for each in raised.value.problems] == [
        f"name: 'a b' {NAME_RULE}",
        'listen: is empty: write where to listen, such as "tcp:7007"',
        "options.word: 5 is not text: put it in quotes",
    ]


# --- twistd myserv ----------------------------------------------------------------------


def test_helpListsTheProtocols(capfd: pytest.CaptureFixture[str]) -> None:
    """Whoever asks for help is told which protocols there are."""
    said = help_(capfd, parse, Options(), "--help")
    assert said.startswith(
        "Usage: twistd [twistd options] myserv PROTOCOL --listen ENDPOINT [options]\n"
    )
    assert "--config=" in said
    assert "\nProtocols:\n" in said
    for name in installedPlugins().names():
        assert f"\n    {name} " in said
    assert said.endswith("any Protocol, Factory or DatagramProtocol of your own\n\n")


def test_protocolsHelp(capfd: pytest.CaptureFixture[str]) -> None:
    """Behind a protocol's name --help tells of that protocol, and how it is called."""
    said = help_(capfd, parse, Options(), "daytime", "--help")
    assert said.startswith("Usage: twistd [twistd options] myserv daytime --listen ENDPOINT")
    assert "--zone=" in said


COMMANDS: Final[list[tuple[str, str]]] = [
    ("", "myserv: name a protocol or give --config FILE; --help lists the protocols"),
    (
        "--config a.toml echo",
        "myserv: --config says what to serve; there is nothing to do for 'echo'",
    ),
    ("--confg a.toml", 'myserv: there is no flag --confg; did you mean "--config"?'),
    ("--config", "myserv: option --config requires argument"),
    ("ehco --listen tcp:7", 'unknown protocol "ehco"; did you mean "echo"?'),
    ("echo --listen tpc:7", '--listen: in "tpc:7": there is no prefix "tpc"; did you mean "tcp"?'),
    (
        "--listen tcp:7 echo",
        "myserv: --listen goes after the protocol's name: twistd -n myserv PROTOCOL --listen ...",
    ),
    (
        "--limit idle=3s echo",
        "myserv: --limit goes after the protocol's name: twistd -n myserv PROTOCOL --limit ...",
    ),
]


@pytest.mark.parametrize(("words", "line"), COMMANDS, ids=[words for words, _ in COMMANDS])
def test_wrongCommand(capfd: pytest.CaptureFixture[str], words: str, line: str) -> None:
    """What is wrong before a protocol's own flags is told likewise."""
    assert refusal(capfd, parse, Options(), *words.split()) == line


def test_serveAProtocol() -> None:
    """A protocol and its flags become a service of that name, not yet open."""
    options = Options()
    parse(options, "daytime", "--listen", "tcp:7", "--listen", "udp:7", "--zone", "Asia/Tokyo")
    [service] = built(MyservCommand().makeService(options))
    assert service.name == "daytime"
    assert [each.endpoint for each in service.listeners] == ["tcp:7", "udp:7"]
    assert not service.running


def test_serveAClass(here: Path) -> None:
    """A class of the current directory is served by its dotted name."""
    (here / "myquotes.py").write_text(
        "from twisted.internet.protocol import Protocol\n\nclass MyQuotes(Protocol): pass\n"
    )
    options = Options()
    parse(options, "myquotes:MyQuotes", "--listen", "tcp:7")
    [service] = built(options.makeServer())
    assert service.name == "my-quotes"


def test_serveAFile(here: Path) -> None:
    """A file's services become a server of them, in its order."""
    (here / "a.toml").write_text(
        """
        [server]
        directory = "state"
        [services.b]
        protocol = "echo"
        listen = ["tcp:7", "tcp:0", "tcp:0"]
        [services.a]
        protocol = "daytime"
        listen = "udp:7"
        """
    )
    options = Options()
    parse(options, "-c", "a.toml")
    services = built(MyservCommand().makeService(options))
    assert [each.name for each in services] == ["b", "a"]
    assert [len(each.listeners) for each in services] == [3, 1]


def test_everythingWrongWithAFile(capfd: pytest.CaptureFixture[str], here: Path) -> None:
    """What the file's shape, its endpoints and its options have wrong comes in its order, once."""
    (here / "a.toml").write_text(
        '[services.a]\nprotocol = "echo"\nlisten = ["tcp:7", "tcp:7"]\ncolour = "red"\n'
        '[services.b]\nprotocol = "daytime"\nlisten = "tpc:7"\noptions.zoen = "UTC"\n'
        '[services.c]\nprotocol = "echo"\n'
    )
    options = Options()
    parse(options, "--config", "a.toml")
    said = refusal(capfd, MyservCommand().makeService, options)
    assert said.splitlines() == [
        'a.toml:3:20: services.a.listen[1]: "tcp:7" is asked for twice; see services.a.listen[0]',
        "a.toml:4:1: services.a.colour: unknown key; there is limits, listen, options, protocol",
        'a.toml:7:1: services.b.listen[0]: in "tpc:7": there is no prefix "tpc"; did you mean "tcp"?',
        'a.toml:8:9: services.b.options.zoen: unknown option; did you mean "zone"?',
        'a.toml:9:11: services.c.listen: is required: where to listen, such as "tcp:7007"',
    ]


def test_limitsOfAFile(here: Path, reactor: PausedReactor) -> None:
    """General limits, a service's own, penalties, and the room that there is."""
    (here / "a.toml").write_text(
        """
        [server]
        maxConnections = 3
        logConnections = true
        [limits]
        idle = "1m"
        [penalties]
        threshold = "1s"
        exempt = []
        [services.a]
        protocol = "echo"
        listen = "tcp:7"
        limits.drain = "1s"
        """
    )
    made = serveFile("a.toml")
    assert made.file is not None
    assert made.file.plan.penalties.threshold == Duration(1)
    [service] = built(made)
    [listener] = service.listeners
    assert isinstance(listener, StreamListener)
    assert listener.reportsConnections
    assert listener.limits == evolve(Limits(), idle=Duration(60), drain=Duration(1))
    arrivals = [listener.admission.admit(None, "tcp:7") for _ in range(3)]
    assert listener.admission.full == "server.maxConnections"
    for arrival in arrivals:
        assert not isinstance(arrival, str)
        listener.admission.release(arrival)


WRONG_LIMITS: Final[list[tuple[str, str]]] = [
    (
        "[services.a.limits]\nestablish = '3s'\n",
        (
            "a.toml:5:1: services.a.limits.establish: the protocol echo never says that a client is "
            "established: remove 'establish'"
        ),
    ),
    (
        "[services.b]\nprotocol = 'echo'\nlisten = 'unix:8'\n[limits]\nusers = ['nobody-knows']\n",
        'a.toml:8:1: limits.users: there is no user "nobody-knows"',
    ),
    (
        "[services.a.limits]\nusers = ['nobody-knows']\n",
        'a.toml:5:1: services.a.limits.users: there is no user "nobody-knows"',
    ),
    (
        "[limits]\nidel = '3s'\nidle = 3\n",
        (
            'a.toml:5:1: limits.idel: unknown key; did you mean "idle"?\n'
            "a.toml:6:1: limits.idle: 3 is not a duration: write a number and a unit in quotes, "
            'such as "30s"'
        ),
    ),
    (
        "[services.a.limits]\nidel = '3s'\n",
        'a.toml:5:1: services.a.limits.idel: unknown key; did you mean "idle"?',
    ),
]


def test_limitsOfAllAndOfOne(here: Path) -> None:
    """
    What is said of one service goes before what is said of all, and lists do not add up;
    what a protocol cannot use, it does without.
    """
    (here / "a.toml").write_text(
        """
        [limits]
        idle = "1m"
        deny = ["10.0.0.0/8"]
        establish = "5s"
        maxUnestablished = 5
        [services.a]
        protocol = "echo"
        listen = "tcp:7"
        limits = {idle = "2m", deny = "192.0.2.0/24"}
        [services.b]
        protocol = "echo"
        listen = "tcp:8"
        """
    )
    a, b = [each.listeners[0].admission.limits for each in built(serveFile("a.toml"))]
    assert a == evolve(Limits(), idle=Duration(120), deny=(ip_network("192.0.2.0/24"),))
    assert b == evolve(Limits(), idle=Duration(60), deny=(ip_network("10.0.0.0/8"),))


def test_whoAndHowMany(here: Path) -> None:
    """A user that is not there, and an endpoint that several workers cannot have."""
    (here / "a.toml").write_text(
        '[server]\nworkers = 2\nuser = "nobody-knows"\n'
        '[services.a]\nprotocol = "echo"\nlisten = "stdio:"\n'
    )
    with pytest.raises(ConfigurationError) as caught:
        serveFile("a.toml")
    assert [str(each).split(": ")[:2] for each in caught.value.problems] == [
        ["a.toml:3:1", "server.user"],
        ["a.toml:6:1", "services.a.listen[0]"],
    ]


@pytest.mark.parametrize(("text", "line"), WRONG_LIMITS)
def test_wrongLimitsOfAFile(here: Path, text: str, line: str) -> None:
    """What is wrong with limits is told once, where it stands."""
    (here / "a.toml").write_text(f'[services.a]\nprotocol = "echo"\nlisten = "unix:7"\n{text}')
    with pytest.raises(ConfigurationError) as caught:
        serveFile("a.toml")
    assert str(caught.value) == line


def test_refusedOptionOfAFile(here: Path) -> None:
    """What only the plugin knows to be wrong stands at its place in the file too."""
    (here / "a.toml").write_text(
        '[services.a]\nprotocol = "daytime"\nlisten = "tcp:7"\noptions.zone = "Mars"\n'
    )
    with pytest.raises(
        ConfigurationError, match=r"^a\.toml:4:9: services\.a\.options\.zone: 'Mars'"
    ):
        serveFile("a.toml")


def test_refusedOptionOfACommand(capfd: pytest.CaptureFixture[str]) -> None:
    """... and by its flag on a command line."""
    words = ("--listen", "tcp:7", "--zone", "Mars")
    all_ = Options()
    parse(all_, "daytime", *words)
    one = serviceOptions("daytime", "c")
    parse(one, *words)
    for said in (
        refusal(capfd, MyservCommand().makeService, all_),
        refusal(capfd, TwistdCommand("daytime", "").makeService, one),
    ):
        assert said.startswith("--zone: 'Mars' is not a time zone")


def test_brokenProtocolOfACommand(capfd: pytest.CaptureFixture[str], install: Install) -> None:
    """A bug of the protocol's is told by its name."""

    def build(context: object, options: object) -> IProtocolFactory:
        raise ZeroDivisionError("no")

    install(ProtocolPlugin("p", "", factory=build))
    options = serviceOptions("p", "c")
    parse(options, "--listen", "tcp:7")
    said = refusal(capfd, TwistdCommand("p", "").makeService, options)
    assert said == "p: the protocol p is broken: buildFactory raised ZeroDivisionError: no"


# --- what twistd finds -------------------------------------------------------------------


def test_commandsKeepTwistdsContract() -> None:
    """Both kinds of command are what twistd looks for among its plugins."""
    for command in (MyservCommand(), TwistdCommand("echo", "Send back what arrives.")):
        assert verifyObject(IServiceMaker, command)
        assert verifyObject(IPlugin, command)
    assert verifyClass(IService, TwistdServer)


def test_commandOfAProtocol() -> None:
    """A command has its protocol's name, or its own, and its protocol's flags."""
    plain = TwistdCommand("daytime", "Tell the time.")
    assert (plain.tapname, plain.description) == ("daytime", "Tell the time.")
    command = TwistdCommand("daytime", "Tell the time.", "myserv-daytime")
    assert command.tapname == "myserv-daytime"
    options = command.options()
    assert options.getSynopsis().startswith(
        "Usage: twistd [twistd options] myserv-daytime --listen ENDPOINT"
    )
    parse(options, "--listen", "tcp:7")
    [service] = built(command.makeService(options))
    assert service.name == "daytime"


def test_commandOfAProtocolThatIsGone(capfd: pytest.CaptureFixture[str]) -> None:
    """A command whose protocol is missing or broken says so."""
    said = refusal(capfd, TwistdCommand("ehco", "").options)
    assert said == 'unknown protocol "ehco"; did you mean "echo"?'


def test_everyBuiltInIsACommand() -> None:
    """The drop-in that is installed names every protocol of ours."""
    ours = {
        each.tapname: each
        for each in getPlugins(IServiceMaker)
        if isinstance(each, (MyservCommand, TwistdCommand)) and each.tapname.startswith("myserv")
    }
    names = {
        listed.name
        for listed in installedPlugins().survey()
        if listed.distribution.startswith("myserv ")
    }
    assert set(ours) == {"myserv", *(f"myserv-{name}" for name in names)}
    for name in names:
        command = ours[f"myserv-{name}"]
        assert isinstance(command, TwistdCommand)
        assert command.protocol == name


def test_listOfProtocols(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broken plugin is warned of on standard error; the others are listed."""

    class Surveyed:
        problems = ("the distribution gongs is broken",)

        def survey(self) -> tuple[Listed, ...]:
            return (
                Listed("bells", "ring", "bells 1.0", EVERYTHING),
                Listed("quotes", "", "quotes 1.0", problem='the protocol "quotes" is broken'),
                Listed("whistles", "blow", "bells 1.0", EVERYTHING),
            )

    monkeypatch.setattr(flags, "installedPlugins", Surveyed)
    monkeypatch.setattr(flags, "brokenPlugins", lambda: ("a\nprefix is broken",))
    assert listProtocols().splitlines() == [
        "Protocols:",
        "    bells          ring",
        "    whistles       blow",
        "    module:Class   any Protocol, Factory or DatagramProtocol of your own",
    ]
    assert capfd.readouterr().err.splitlines() == [
        "warning: the distribution gongs is broken",
        r"warning: a\nprefix is broken",
        'warning: the protocol "quotes" is broken',
    ]


# --- a server that cannot start ------------------------------------------------------------


class PausedReactor(SteppedReactor):
    """A reactor that twistd has not run yet, or has."""

    def __init__(self) -> None:
        super().__init__()
        self.running = False
        self.stopped = 0
        self.whenRunning: list[Callable[[], None]] = []

    def iterate(self, delay: float) -> None:
        """Let happen what is due."""
        self.turn()

    def callWhenRunning(self, call: Callable[[], None]) -> None:
        """Call at once, or when it runs."""
        if self.running:
            call()
        else:
            self.whenRunning.append(call)

    def stop(self) -> None:
        """Stop; once only."""
        if self.stopped:
            raise ReactorNotRunning
        self.stopped += 1


class LateEndpoint:
    """A stream endpoint that takes its time."""

    kind = Kind.STREAM
    place: Any = None

    def __init__(self) -> None:
        self.listening: Deferred[IListeningPort] = Deferred()

    def __str__(self) -> str:
        return "late:7"

    def openStream(self, reactor: object) -> Any:
        """Be its own place."""
        self.place = self
        return self

    def wrapFactory(self, context: object, factory: IProtocolFactory, gate: Any) -> Any:
        """Add no layer."""
        return gate(factory)

    def listen(self, factory: IProtocolFactory) -> Deferred[IListeningPort]:
        """Promise to."""
        return self.listening

    def fail(self) -> None:
        """Break the promise."""
        self.listening.errback(CannotListenError("", 7, OSError("no")))


PLAIN: Final = ProtocolPlugin(
    "plain", "", factory=lambda context, options: Factory.forProtocol(Protocol)
)


def serverOf(*endpoints: LateEndpoint, **others: Any) -> TwistdServer:
    """A server with a service on each endpoint."""
    plans = []
    for index, endpoint in enumerate(endpoints):
        asked: Any = endpoint
        name = f"service{index}"
        plans.append(ServicePlan(name, PLAIN, None, (PlannedEndpoint(asked, (name,)),), (name,)))
    return makeTwistdServer(tuple(plans), **others)


@pytest.fixture
def reactor(monkeypatch: pytest.MonkeyPatch) -> Iterator[PausedReactor]:
    """What twistd has installed; SIGHUP is nobody's when the test is over."""
    paused = PausedReactor()
    monkeypatch.setattr("twisted.internet.reactor", paused, raising=False)
    before = signal.getsignal(signal.SIGHUP)
    monkeypatch.setattr(server, "HANG_UP", HangUp())
    yield paused
    signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("method", ["privilegedStartService", "startService"])
def test_serverThatCannotStart(
    capfd: pytest.CaptureFixture[str],
    reactor: PausedReactor,
    method: str,
) -> None:
    """An endpoint that cannot be opened refuses the operator, in their own words."""
    endpoint = LateEndpoint()
    endpoint.fail()

    def report(problems: Any) -> ConfigurationError:
        return ConfigurationError(Problem(each.message, where="--listen") for each in problems)

    server = serverOf(endpoint, report=report)
    with pytest.raises(Refused) as raised:
        getattr(server, method)()
    assert str(raised.value) == "--listen: cannot listen on late:7: no"
    assert raised.value.__suppress_context__
    assert capfd.readouterr().err == "--listen: cannot listen on late:7: no\n"
    assert not reactor.stopped


def test_serverThatStarts(reactor: PausedReactor) -> None:
    """One that can start does, on the reactor that is installed then."""
    server = serverOf(LateEndpoint())
    server.privilegedStartService()
    server.startService()
    assert server.running
    assert [each.reactor for each in built(server)[0].listeners] == [reactor]


@pytest.mark.parametrize("running", [True, False])
def test_serverThatFailsLate(
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    reactor: PausedReactor,
    running: bool,
) -> None:
    """
    Endpoints that fail when there is nobody left to raise to end the program: each with
    its line, and all together with one exit code.
    """
    registered: list[Callable[[], None]] = []
    monkeypatch.setattr(atexit, "register", registered.append)
    one, two = LateEndpoint(), LateEndpoint()
    observer = RecordingObserver()
    server = serverOf(one, two, observers=(observer,))
    server.privilegedStartService()
    reactor.running = running
    one.fail()
    two.fail()
    assert capfd.readouterr().err == (
        "service0: cannot listen on late:7: no\nservice1: cannot listen on late:7: no\n"
    )
    for call in reactor.whenRunning:
        assert not running
        call()
    assert reactor.stopped == 1
    assert [type(event).__name__ for event in observer.events] == ["ListenerFailed"] * 2

    codes: list[int] = []
    monkeypatch.setattr(os, "_exit", codes.append)

    class Closed:
        def flush(self) -> None:
            raise ValueError("closed")

    monkeypatch.setattr(sys, "stdout", Closed())
    registered[0]()
    monkeypatch.undo()
    assert codes == [1]


def test_failureIsNotOfAStoppedServer(
    capfd: pytest.CaptureFixture[str], reactor: PausedReactor
) -> None:
    """A server that an operator has stopped does not fail any more."""
    endpoint = LateEndpoint()
    server = serverOf(endpoint)
    server.privilegedStartService()
    server.startService()
    server.stopService()
    endpoint.fail()
    assert capfd.readouterr().err == ""
    assert not reactor.stopped


def test_listenErrorsOnly(reactor: PausedReactor) -> None:
    """Any other exception while a server starts has its traceback."""
    server = serverOf(LateEndpoint())

    def start() -> None:
        raise ZeroDivisionError

    [service] = built(server)
    service.privilegedStartService = start  # type: ignore[method-assign]
    with pytest.raises(ZeroDivisionError):
        server.privilegedStartService()
    assert not issubclass(ZeroDivisionError, ListenError)
