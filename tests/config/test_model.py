"""What a configuration file may hold, and each error as the operator sees it."""

from __future__ import annotations

from pathlib import Path

import pytest

from myserv.config.document import parseDocument
from myserv.config.model import (
    MAXIMUM_WORKERS,
    ServerConfig,
    ServerKeys,
    ServiceConfig,
    readConfig,
)
from myserv.errors import ConfigurationError, formatKeyPath
from myserv.limits import PenaltyLimits
from myserv.plugin import Duration

ECHO = """\
[services.echo]
protocol = "echo"
listen = "tcp:7"
"""


def read(text: str) -> ServerConfig:
    """Read a configuration file of this text."""
    document = parseDocument("myserv.toml", text.encode())
    config, problems = readConfig(document)
    if problems:
        raise document.report(problems)
    return config


def problems(text: str) -> list[str]:
    """Read a wrong one, and return what the operator is told."""
    with pytest.raises(ConfigurationError) as caught:
        read(text)
    return str(caught.value).splitlines()


def test_theSmallestFile() -> None:
    """A protocol and one endpoint are enough."""
    assert read(ECHO) == ServerConfig(
        server=ServerKeys(),
        penalties=PenaltyLimits(),
        services=(ServiceConfig("echo", "echo", ("tcp:7",), {}, ("services", "echo")),),
    )


def test_everyKey() -> None:
    """All that a file may hold arrives typed, the protocol's options raw."""
    config = read("""
        [services.Chat_2]
        protocol = "chat.server:Chat"
        listen = ["tcp:7007", "udp:7007"]
        [services.Chat_2.options]
        maxLine = "4KiB"
        topics = ["a", {b = 1}]
        [services.Chat_2.limits]
        idle = "1m"
        allow = "10.0.0.0/8"
        [server]
        directory = "/var/lib/myserv"
        maxConnections = 100
        logConnections = true
        workers = 4
        user = "chat"
        group = 100
        [limits]
        idle = "2m"
        maxConnections = 50
        [penalties]
        threshold = "1m"
        exempt = []
    """)
    assert config.server == ServerKeys(
        directory=Path("/var/lib/myserv"),
        maxConnections=100,
        logConnections=True,
        workers="4",
        user="chat",
        group="100",
    )
    assert config.penalties == PenaltyLimits(threshold=Duration(60), exempt=())
    assert config.services == (
        ServiceConfig(
            name="Chat_2",
            protocol="chat.server:Chat",
            listen=("tcp:7007", "udp:7007"),
            options={"maxLine": "4KiB", "topics": ["a", {"b": 1}]},
            key=("services", "Chat_2"),
            limits={"idle": "1m", "allow": "10.0.0.0/8"},
            generalLimits={"idle": "2m", "maxConnections": 50},
        ),
    )


def test_servicesAreInTheOrderOfTheFile() -> None:
    """The order is the operator's, not the alphabet's."""
    text = "".join(
        f'[services.{name}]\nprotocol = "echo"\nlisten = "tcp:{port}"\n'
        for port, name in enumerate(("b", "c", "a", "0"))
    )
    assert [service.name for service in read(text).services] == ["b", "c", "a", "0"]


NO_SERVICES = 'services: there are none: write [services.NAME] with a "protocol" and a "listen"'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", f"myserv.toml:1:1: {NO_SERVICES}"),
        ("[server]\n[services]", f"myserv.toml:2:2: {NO_SERVICES}"),
        (
            "services = 3",
            "myserv.toml:1:1: services: 3 is not a table: write [services.NAME]",
        ),
        (
            "[[services]]\nprotocol = 'echo'",
            "myserv.toml:1:3: services: a list is not a table: write [services.NAME]",
        ),
        (
            "[services]\necho = true",
            "myserv.toml:2:1: services.echo: true is not a table: write [services.NAME]",
        ),
        (
            "server = 'x'\n" + ECHO,
            "myserv.toml:1:1: server: 'x' is not a table: write [server]",
        ),
        (
            "sevrer.directory = 'x'\n" + ECHO,
            'myserv.toml:1:1: sevrer: unknown key; did you mean "server"?',
        ),
        (
            ECHO + "[x]",
            "myserv.toml:4:2: x: unknown key; there is limits, penalties, server, services",
        ),
        (
            "[server]\ndirectories = 'x'\n" + ECHO,
            'myserv.toml:2:1: server.directories: unknown key; did you mean "directory"?',
        ),
        (
            "[server]\ndirectory = 3\n" + ECHO,
            "myserv.toml:2:1: server.directory: 3 is not a path",
        ),
        (
            ECHO + 'protcol = "x"',
            'myserv.toml:4:1: services.echo.protcol: unknown key; did you mean "protocol"?',
        ),
        (
            ECHO + "[services.echo.option]",
            'myserv.toml:4:16: services.echo.option: unknown key; did you mean "options"?',
        ),
        (
            ECHO + "x = 1",
            (
                "myserv.toml:4:1: services.echo.x: unknown key; "
                "there is limits, listen, options, protocol"
            ),
        ),
        (
            "[services.echo]\nlisten = 'tcp:7'",
            (
                "myserv.toml:1:11: services.echo.protocol: is required:"
                ' the name of a protocol, or "module:Attribute"'
            ),
        ),
        (
            "[services.echo]\nprotocol = 'echo'",
            (
                "myserv.toml:1:11: services.echo.listen: is required:"
                ' where to listen, such as "tcp:7007"'
            ),
        ),
        (
            "[services.echo]\nprotocol = 7\nlisten = 'tcp:7'",
            "myserv.toml:2:1: services.echo.protocol: 7 is not text: put it in quotes",
        ),
        (
            "[services.echo]\nprotocol = ['echo']\nlisten = 'tcp:7'",
            "myserv.toml:2:1: services.echo.protocol: a list is not text",
        ),
        (
            "[services.echo]\nprotocol = 'echo'\nlisten = 5",
            "myserv.toml:3:1: services.echo.listen: 5 is not text: put it in quotes",
        ),
        (
            "[services.echo]\nprotocol = 'echo'\nlisten = {tcp = 5}",
            "myserv.toml:3:1: services.echo.listen: a table is not text",
        ),
        (
            "[services.echo]\nprotocol = 'echo'\nlisten = []",
            (
                "myserv.toml:3:1: services.echo.listen:"
                ' is empty: write where to listen, such as "tcp:7007"'
            ),
        ),
        (
            "[services.echo]\nprotocol = 'echo'\nlisten = [\n'tcp:1',\n  7,\n]",
            "myserv.toml:5:3: services.echo.listen[1]: 7 is not text: put it in quotes",
        ),
        (
            "limits = 3\n" + ECHO,
            "myserv.toml:1:1: limits: 3 is not a table: write [limits]",
        ),
        (
            "penalties = []\n" + ECHO,
            "myserv.toml:1:1: penalties: a list is not a table: write [penalties]",
        ),
        (
            "[limits]\nidel = '5s'\n" + ECHO,
            'myserv.toml:2:1: limits.idel: unknown key; did you mean "idle"?',
        ),
        (
            "[limits]\nidle = 5\n" + ECHO,
            (
                "myserv.toml:2:1: limits.idle: 5 is not a duration: write a number and a unit in "
                'quotes, such as "30s"'
            ),
        ),
        (
            "[limits]\nallow = ['10.0.0.0/8', '10.0.0.1/33']\n" + ECHO,
            (
                "myserv.toml:2:24: limits.allow[1]: '10.0.0.1/33' is not a network: write one such "
                'as "10.0.0.0/8" or "2001:db8::/32"'
            ),
        ),
        (
            "[limits]\nwhenFull = 'drop'\n" + ECHO,
            "myserv.toml:2:1: limits.whenFull: 'drop' is not a choice here; there is refuse, wait",
        ),
        (
            "[penalties]\ntreshold = '5s'\n" + ECHO,
            'myserv.toml:2:1: penalties.treshold: unknown key; did you mean "threshold"?',
        ),
        (
            "[penalties]\nmaxPeers = 0\n" + ECHO,
            "myserv.toml:2:1: penalties.maxPeers: 0 is too small: the least is 1",
        ),
        (
            "[server]\nmaxConnections = -1\n" + ECHO,
            "myserv.toml:2:1: server.maxConnections: -1 is too small: the least is 0",
        ),
        (
            "[server]\nlogConnections = 'often'\n" + ECHO,
            "myserv.toml:2:1: server.logConnections: 'often' is not a boolean: write true or false",
        ),
        (
            "[server]\nuser = ['a']\n" + ECHO,
            "myserv.toml:2:1: server.user: a list is not text",
        ),
        (
            ECHO + "limits = 'x'",
            (
                "myserv.toml:4:1: services.echo.limits: 'x' is not a table: "
                "write [services.NAME.limits]"
            ),
        ),
        (
            ECHO + "limits.maxConections = 3",
            (
                "myserv.toml:4:8: services.echo.limits.maxConections: unknown key; "
                'did you mean "maxConnections"?'
            ),
        ),
        (
            ECHO + "limits.peerPrefix4 = 33",
            "myserv.toml:4:8: services.echo.limits.peerPrefix4: 33 is too large: the most is 32",
        ),
        (
            ECHO + "options = 'x'",
            (
                "myserv.toml:4:1: services.echo.options:"
                " 'x' is not a table: write [services.NAME.options]"
            ),
        ),
        (
            ECHO + "[[services.echo.options]]",
            (
                "myserv.toml:4:17: services.echo.options:"
                " a list is not a table: write [services.NAME.options]"
            ),
        ),
    ],
)
def test_oneMistakeIsOneProblem(text: str, expected: str) -> None:
    """Each mistake is said once, at its place, with what would be right."""
    assert problems(text) == [expected]


@pytest.mark.parametrize("name", ["a b", "", "é", "a.b", "a/b", "-a", "_a", "..", "a:1"])
def test_namesThatNoServiceMayHave(name: str) -> None:
    """A name has to do as a word, a label and a directory."""
    [problem] = problems(ECHO.replace("echo]", f'"{name}"]', 1))
    assert problem == (
        f"myserv.toml:1:11: {formatKeyPath(('services', name))}: cannot be a service's name:"
        " use letters, digits, - and _, a letter or digit first"
    )


@pytest.mark.parametrize("name", ["a", "A-b_9", "0", "a-", "a_"])
def test_namesThatAServiceMayHave(name: str) -> None:
    """Letters of either case, digits, hyphens and underscores."""
    assert read(ECHO.replace("echo]", f"{name}]")).services[0].name == name


def test_everyProblemIsReportedAtOnce() -> None:
    """One run tells everything, in the order of the file."""
    text = """\
sevrer = 1
server.directry = "x"
services.a = 3
[services."b c"]
protocol = 3
listen = ["tcp:7", 7, "tcp:7"]
[services.d]
lisen = "tcp:7"
listen = []
options = 0
limits = {idle = 3}
[limits]
drain = "soon"
[penalties]
x = 1
"""
    assert [problem.split(": ")[:2] for problem in problems(text)] == [
        ["myserv.toml:1:1", "sevrer"],
        ["myserv.toml:2:8", "server.directry"],
        ["myserv.toml:3:10", "services.a"],
        ["myserv.toml:4:11", 'services."b c"'],
        ["myserv.toml:5:1", 'services."b c".protocol'],
        ["myserv.toml:6:20", 'services."b c".listen[1]'],
        ["myserv.toml:7:11", "services.d.protocol"],
        ["myserv.toml:8:1", "services.d.lisen"],
        ["myserv.toml:9:1", "services.d.listen"],
        ["myserv.toml:10:1", "services.d.options"],
        ["myserv.toml:11:11", "services.d.limits.idle"],
        ["myserv.toml:13:1", "limits.drain"],
        ["myserv.toml:15:1", "penalties.x"],
    ]


@pytest.mark.parametrize(
    "workers", ["0", "257", "2.5", "1.0", "nan", '" 2 "', '"many"', '"-1"', '"\u0663"', '""']
)
def test_wrongNumbersOfWorkers(workers: str) -> None:
    """There is at least one, and not more than makes sense."""
    [problem] = problems(f"[server]\nworkers = {workers}\n{ECHO}")
    written = workers.strip('"')
    assert problem == (
        f"myserv.toml:2:1: server.workers: {written!r} is neither a number from 1 to "
        f'{MAXIMUM_WORKERS} nor "auto"'
    )


def test_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A number is taken with quotes and without; auto is the number of cores."""
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0, 2, 3}, raising=False)
    counts = {"1": 1, "256": 256, '"3"': 3, '"auto"': 3}
    for written, count in counts.items():
        keys = read(f"[server]\nworkers = {written}\n{ECHO}").server
        assert keys.workerCount == count
    assert read(ECHO).server.workerCount == 1
