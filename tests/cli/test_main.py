"""The C{myserv} command: its words, its answers and its exit codes."""

from __future__ import annotations

import runpy
import sys
import textwrap
from pathlib import Path

import pytest

import myserv
from myserv.cli import endpoints, main
from myserv.endpoints.described import Described
from myserv.endpoints.prefixes import knownPrefixes

CONFIG = """
[services.one]
protocol = "echo"
listen = ["tcp:7", "udp:7:interface=127.0.0.1"]
[services.two]
protocol = "daytime"
listen = "tcp:interface=127.0.0.1:port=8"
"""


def answer(capfd: pytest.CaptureFixture[str], *words: str) -> str:
    """What the command prints when all is well."""
    assert main(words) == 0
    output, errors = capfd.readouterr()
    assert errors == ""
    return str(output)


def refusal(capfd: pytest.CaptureFixture[str], code: int, *words: str) -> str:
    """What the command prints when something is wrong."""
    with pytest.raises(SystemExit) as raised:
        main(words)
    assert raised.value.code == code
    output, errors = capfd.readouterr()
    assert output == ""
    return str(errors)


def test_check(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A file that is right is summed up; its endpoints are in their canonical form."""
    file = tmp_path / "myserv.toml"
    file.write_text(CONFIG)
    assert answer(capfd, "check", str(file)) == (
        f"{file}: ok: 2 services, 3 endpoints\n"
        "  one: tcp:7, udp:7:interface=127.0.0.1\n"
        "  two: tcp:8:interface=127.0.0.1\n"
    )


def test_checkOne(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """One service is not "1 services"."""
    file = tmp_path / "myserv.toml"
    file.write_text('[services.one]\nprotocol = "echo"\nlisten = "tcp:7"\n')
    assert answer(capfd, "check", str(file)) == (
        f"{file}: ok: 1 service, 1 endpoint\n  one: tcp:7\n"
    )


def test_checkFindsWhatStartingWould(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Every mistake is a line, those that only a plugin or a certificate knows of too."""
    file = tmp_path / "myserv.toml"
    file.write_text(CONFIG + 'options.zone = "Mars"\n[services.three]\nprotocol = "echo"\n')
    assert refusal(capfd, 1, "check", str(file)) == (
        f'{file}:9:11: services.three.listen: is required: where to listen, such as "tcp:7007"\n'
    )
    file.write_text(
        CONFIG + 'options.zone = "Mars"\n'
        '[services.three]\nprotocol = "echo"\nlisten = "tls:certs=/nope:tcp:9"\n'
    )
    assert refusal(capfd, 1, "check", str(file)).splitlines() == [
        (
            f"{file}:8:9: services.two.options.zone: 'Mars' is not a time zone; "
            'write one such as "Europe/Berlin"'
        ),
        (
            f'{file}:11:1: services.three.listen[0]: in "tls:certs=/nope:tcp:9": '
            "/nope: there is no such directory of certificates"
        ),
    ]


def test_checkOpensNothing(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A file is right even where its endpoints could not be opened here."""
    path = tmp_path / "echo.sock"
    file = tmp_path / "myserv.toml"
    file.write_text(
        '[services.one]\nprotocol = "echo"\n'
        f'listen = ["tcp:7:interface=192.0.2.1", "unix:{path}"]\n'
    )
    assert answer(capfd, "check", str(file)).startswith(f"{file}: ok: ")
    assert not path.exists()


def test_checkNamesThatDoNotPrint(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Of a file, or in it: what is printed is one line for each."""
    file = tmp_path / "a\n\x1b\udcff.toml"
    name = rf"{tmp_path}/a\n\u001b\udcff.toml"
    assert refusal(capfd, 1, "check", str(file)) == f"{name}: there is no such file\n"
    file.write_text('[services.one]\nprotocol = "echo"\nlisten = "unix:/a\\nb"\n')
    assert answer(capfd, "check", str(file)) == (
        f"{name}: ok: 1 service, 1 endpoint\n  one: unix:/a\\nb\n"
    )


def test_checkWarnsOfWhatCannotBeRead(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A distribution that is broken breaks nothing else."""
    file = tmp_path / "myserv.toml"
    file.write_text(CONFIG)
    broken = tmp_path / "gongs-1.0.dist-info"
    broken.mkdir()
    (broken / "METADATA").write_text("Name: gongs\n")
    (broken / "entry_points.txt").write_bytes(b"\xff")
    monkeypatch.syspath_prepend(str(tmp_path))
    for words in (("check", str(file)), ("protocols",)):
        assert main(words) == 0
        output, errors = capfd.readouterr()
        assert output.startswith((f"{file}: ok: ", "Protocols:"))
        assert errors.startswith(f"warning: the distribution {broken} is broken: ")
        assert errors.count("\n") == 1


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "there is no such file"),
        (b"", "services: there are none: "),
        (b"a\xff", "is not UTF-8: "),
        (b"services", "is not TOML: "),
    ],
)
def test_checkUnreadable(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, content: bytes | None, said: str
) -> None:
    """What is no configuration at all is told as one line."""
    file = tmp_path / "myserv.toml"
    if content is not None:
        file.write_bytes(content)
    errors = refusal(capfd, 1, "check", str(file))
    assert errors.startswith(str(file))
    assert said in errors
    assert errors.count("\n") == 1


def test_new(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A package is made here, or where it is asked for, and the next steps are told."""
    monkeypatch.chdir(tmp_path)
    assert "Made quotes: " in answer(capfd, "new", "quotes")
    assert (tmp_path / "quotes" / "pyproject.toml").exists()
    (tmp_path / "there").mkdir()
    assert "Made there/quotes: " in answer(capfd, "new", "quotes", "--directory", "there")
    assert refusal(capfd, 1, "new", "quotes") == "quotes exists already: choose another name\n"


def test_protocols(capfd: pytest.CaptureFixture[str]) -> None:
    """The protocols that are installed are listed."""
    lines = answer(capfd, "protocols").splitlines()
    assert lines[0] == "Protocols:"
    assert "    echo           send back what arrives (RFC 862)" in lines
    assert lines[-1] == 'Type "myserv protocols NAME" for what one may be told.'


def test_oneProtocol(capfd: pytest.CaptureFixture[str]) -> None:
    """Where it is served, its flags, and those of every protocol."""
    assert answer(capfd, "protocols", "qotd") == textwrap.dedent(
        """\
        qotd: send a quote of the day (RFC 865). For stream and datagram endpoints.

            twistd -n myserv qotd --listen ENDPOINT

            --file  a file of quotes with a line % between each two; without one,
                    proverbs (path)

        Every protocol has --listen, --name, --log-connections and --limit KEY=VALUE,
        too: see "twistd -n myserv qotd --help".
        """
    )
    assert "\nIt has no options of its own.\n" in answer(capfd, "protocols", "echo")


def test_aProtocolOfOnesOwn(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What its author recommends is told, and what an option is called in a file."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "slowpoke", raising=False)
    Path("slowpoke.py").write_text(SLOWPOKE)
    said = answer(capfd, "protocols", "slowpoke:slowpoke")
    assert said.startswith("slowpoke: takes its time. For stream endpoints.\n")
    assert '    --nap-length  how long (duration, default 1s, in a file "napLength")\n' in said
    assert "Limits that suit it, unless you say otherwise: idle = 1h.\n" in said


SLOWPOKE = """
from attrs import frozen
from twisted.internet.protocol import Factory
from myserv.plugin import Duration, ProtocolPlugin, option

@frozen
class Options:
    napLength: Duration = option("1s", help="how long")

slowpoke = ProtocolPlugin(
    "slowpoke", "takes its time", factory=lambda context, options: Factory(),
    optionsType=Options, limits={"idle": "1h"},
)
"""


def test_noSuchProtocol(capfd: pytest.CaptureFixture[str]) -> None:
    """What was meant, perhaps, is named."""
    said = 'unknown protocol "daytme"; did you mean "daytime"?\n'
    assert refusal(capfd, 1, "protocols", "daytme") == said


def test_endpoints(capfd: pytest.CaptureFixture[str]) -> None:
    """Every prefix that works is listed, those of other packages too."""
    lines = answer(capfd, "endpoints").splitlines()
    assert lines[0] == "Endpoint prefixes:"
    listed = {line.split()[0] for line in lines[1:-1]}
    assert listed == knownPrefixes()
    assert "    tls            TLS over any stream endpoint" in lines
    assert lines[-1] == 'Type "myserv endpoints PREFIX" for what may follow one.'


@pytest.mark.parametrize("prefix", ["proxy", "PROXY:"])
def test_oneEndpoint(capfd: pytest.CaptureFixture[str], prefix: str) -> None:
    """What may follow a prefix is told, in lines that a terminal holds."""
    assert answer(capfd, "endpoints", prefix) == textwrap.dedent(
        """\
        proxy: The PROXY protocol, versions 1 and 2, behind HAProxy, nginx and others. A
        layer over streams: what it wraps comes after it in the string.

            proxy:from=10.0.0.0/8,127.0.0.1:tcp:7007

            from=     the networks of the proxies; "unix" for whoever may open the UNIX
                      socket (list of text, required)
            timeout=  how long the header may take (duration, at least 1ms, default 10s)
        """
    )


@pytest.mark.parametrize(
    ("prefix", "said"),
    [
        ("udp", "\nWithout a name, in this order: port, interface.\n"),
        ("stdio", "\n    stdio:\n\nIt takes nothing.\n"),
        ("haproxy", "\nIt takes what the endpoint that it wraps takes.\n"),
    ],
)
def test_whatAnEndpointTakes(capfd: pytest.CaptureFixture[str], prefix: str, said: str) -> None:
    """Some by position, some nothing, and of some only their author knows."""
    assert answer(capfd, "endpoints", prefix).endswith(said)


def test_everyEndpoint(capfd: pytest.CaptureFixture[str]) -> None:
    """No line is too long for a terminal."""
    for prefix in knownPrefixes():
        lines = answer(capfd, "endpoints", prefix).splitlines()
        assert lines[0].startswith(f"{prefix}: ")
        assert max(map(len, lines)) <= 80


def test_anEndpointWithoutAnExample(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another package may show none."""
    monkeypatch.setattr(
        endpoints, "describePrefixes", lambda: (Described("x", "it", "a place", takes="y"),)
    )
    assert endpoints.tellEndpoint("x") == "x: It. A place.\n\nIt takes y."


def test_noSuchEndpoint(capfd: pytest.CaptureFixture[str]) -> None:
    """The right spelling is suggested."""
    said = 'there is no prefix "tsl"; did you mean "tls"?\n'
    assert refusal(capfd, 1, "endpoints", "tsl") == said


def test_endpointsThatAreBroken(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Are told of, and keep no other from being listed."""
    monkeypatch.setattr(endpoints, "brokenPlugins", lambda: ("the endpoint plugin x is broken",))
    assert main(["endpoints"]) == 0
    output, errors = capfd.readouterr()
    assert output.startswith("Endpoint prefixes:")
    assert errors == "warning: the endpoint plugin x is broken\n"


def test_version(capfd: pytest.CaptureFixture[str]) -> None:
    """The version is printed."""
    with pytest.raises(SystemExit) as raised:
        main(["--version"])
    assert raised.value.code == 0
    assert capfd.readouterr().out == f"myserv {myserv.__version__}\n"


def test_help(capfd: pytest.CaptureFixture[str]) -> None:
    """Help names every command, and where serving is done."""
    with pytest.raises(SystemExit) as raised:
        main(["--help"])
    assert raised.value.code == 0
    said = capfd.readouterr().out
    assert "twistd -n myserv --help" in said
    for command in ("check", "new", "protocols", "endpoints"):
        assert f"\n    {command}" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("", "the following arguments are required: COMMAND"),
        ("serve", "invalid choice: 'serve'"),
        ("check", "the following arguments are required: FILE"),
        ("check a b", "unrecognized arguments: b"),
        ("new", "the following arguments are required: NAME"),
        ("protocols --all", "unrecognized arguments: --all"),
        ("protocols --a\x1bll", r"unrecognized arguments: --a\u001bll"),
    ],
)
def test_wrongWords(capfd: pytest.CaptureFixture[str], words: str, said: str) -> None:
    """Words that make no command are the caller's mistake: usage, and exit code 2."""
    errors = refusal(capfd, 2, *words.split())
    assert errors.startswith("usage: myserv")
    assert said in errors


def test_asAModule(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """It runs as C{python -m myserv.cli} too, with the words of the process."""
    monkeypatch.setattr(sys, "argv", ["myserv", "protocols"])
    with pytest.raises(SystemExit) as raised:
        runpy.run_module("myserv.cli", run_name="__main__")
    assert raised.value.code == 0
    assert capfd.readouterr().out.startswith("Protocols:")
