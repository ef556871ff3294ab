"""Finding plugins: every way in, and every way that one can be broken."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable
from importlib.metadata import Distribution, EntryPoint, PathDistribution
from pathlib import Path
from typing import Any, Final

import pytest
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from myserv.discovery import Candidate, Listed, Registry, installedPlugins, pluginOf
from myserv.errors import PluginError
from myserv.interfaces import IDatagramProtocolPlugin, IStreamProtocolPlugin

Distribute = Callable[..., None]
Write = Callable[[str, str], Path]

QUOTES: Final = """
    from twisted.internet.protocol import DatagramProtocol, Protocol
    from myserv.plugin import ProtocolPlugin

    class Quotes(Protocol):
        def dataReceived(self, data): self.transport.write(data)

    quotes = ProtocolPlugin("quotes", "a line of wisdom", stream=Quotes, datagram=DatagramProtocol)
"""


@pytest.fixture(autouse=True)
def _freshImports(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Forget what a test imported, so that each has its own C{quotes}."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        file = getattr(sys.modules[name], "__file__", None)
        if file is None or "pytest-" in file:
            del sys.modules[name]


@pytest.fixture
def distribute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Distribute:
    """Install a distribution for the length of a test, as pip would lay it out."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))

    def install(
        name: str, entryPoints: dict[str, str], files: dict[str, str], version: str = "1.0"
    ) -> None:
        information = site / f"{name}-{version}.dist-info"
        information.mkdir()
        (information / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        )
        lines = [f"{key} = {value}" for key, value in entryPoints.items()]
        (information / "entry_points.txt").write_text("\n".join(["[myserv.protocols]", *lines]))
        for path, text in files.items():
            (site / path).parent.mkdir(exist_ok=True)
            (site / path).write_text(textwrap.dedent(text))

    return install


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Write a module into the current directory."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)

    def writeModule(name: str, text: str) -> Path:
        path = here / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(textwrap.dedent(text))
        return path

    return writeModule


def wrongly(reference: str) -> str:
    """What is said when a reference is looked for in vain."""
    with pytest.raises(PluginError) as raised:
        installedPlugins().find(reference)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def dynamically(plugin: object) -> Any:
    """The same, its methods unchecked: the contexts here are stand-ins."""
    return plugin


def answer(plugin: Any, received: bytes) -> bytes:
    """What a stream plugin's first connection answers."""
    factory = plugin.buildFactory(object(), None)
    protocol = factory.buildProtocol(None)
    transport = StringTransport()
    protocol.makeConnection(transport)
    protocol.dataReceived(received)
    return bytes(transport.value())


# --- entry points --------------------------------------------------------------


def test_entry_point_names_a_plugin(distribute: Distribute) -> None:
    """A plugin behind an entry point is found by name and used as it is."""
    distribute("quotes", {"quotes": "quotes.plugin:quotes"}, {"quotes/plugin.py": QUOTES})
    plugin = installedPlugins().find("quotes")
    assert plugin is sys.modules["quotes.plugin"].quotes
    assert answer(plugin, b"hello") == b"hello"


def test_names_import_nothing(distribute: Distribute) -> None:
    """The names of what is installed are known without loading any of it."""
    distribute("quotes", {"quotes": "quotes.plugin:quotes"}, {"quotes/plugin.py": "1 / 0"})
    distribute("bells", {"bells": "bells.plugin:bells"}, {})
    names = installedPlugins().names()
    assert [name for name in names if name in ("bells", "quotes")] == ["bells", "quotes"]
    assert "quotes" not in sys.modules


def test_other_groups_are_not_ours(distribute: Distribute, tmp_path: Path) -> None:
    """An entry point of another group is no protocol."""
    distribute("quotes", {}, {})
    information = tmp_path / "site" / "quotes-1.0.dist-info" / "entry_points.txt"
    information.write_text("[console_scripts]\nquotes-tool = quotes:main\n")
    assert "quotes-tool" not in installedPlugins().names()


def test_entry_point_names_a_protocol_class(distribute: Distribute) -> None:
    """A Protocol class is wrapped under the entry point's name."""
    text = '''
        from twisted.internet.protocol import Protocol

        class Shout(Protocol):
            """
            Says it louder.

            Much louder.
            """
            def dataReceived(self, data): self.transport.write(data.upper())
    '''
    distribute("shout", {"loud": "shout:Shout"}, {"shout.py": text})
    plugin = installedPlugins().find("loud")
    assert (plugin.name, plugin.description) == ("loud", "Says it louder.")
    assert IStreamProtocolPlugin.providedBy(plugin)
    assert not IDatagramProtocolPlugin.providedBy(plugin)
    assert answer(plugin, b"hello") == b"HELLO"


def test_entry_point_names_a_datagram_protocol_class(distribute: Distribute) -> None:
    """A DatagramProtocol class is wrapped likewise, described by its place if by nothing."""
    text = """
        from twisted.internet.protocol import DatagramProtocol

        class Probe(DatagramProtocol):
            pass
    """
    distribute("probe", {"probe": "probe:Probe"}, {"probe.py": text})
    plugin: Any = installedPlugins().find("probe")
    assert plugin.description == "probe:Probe"
    assert IDatagramProtocolPlugin.providedBy(plugin)
    assert not IStreamProtocolPlugin.providedBy(plugin)
    built = dynamically(plugin).buildDatagramProtocol(object(), None)
    assert type(built).__name__ == "Probe"


def test_entry_point_names_a_factory_class(distribute: Distribute) -> None:
    """A Factory class is built once for each service."""
    text = '''
        from twisted.internet.protocol import Factory, Protocol

        class Rooms(Factory):
            """Rooms to talk in."""
            protocol = Protocol
    '''
    distribute("rooms", {"rooms": "rooms:Rooms"}, {"rooms.py": text})
    plugin: Any = installedPlugins().find("rooms")
    first, second = plugin.buildFactory(object(), None), plugin.buildFactory(object(), None)
    assert isinstance(first, Factory)
    assert type(first).__name__ == "Rooms"
    assert first is not second


def test_entry_point_names_a_factory(distribute: Distribute) -> None:
    """A Factory that is there already is used as it is."""
    text = """
        from twisted.internet.protocol import Factory, Protocol

        rooms = Factory.forProtocol(Protocol)
    """
    distribute("rooms", {"rooms": "rooms:rooms"}, {"rooms.py": text})
    plugin: Any = installedPlugins().find("rooms")
    assert plugin.buildFactory(object(), None) is sys.modules["rooms"].rooms


def test_entry_point_names_a_module_that_is_a_plugin(distribute: Distribute) -> None:
    """Whatever provides the interface is a plugin, a module too."""
    text = """
        from twisted.internet.protocol import Factory, Protocol
        from zope.interface import moduleProvides
        from myserv.plugin import IStreamProtocolPlugin

        moduleProvides(IStreamProtocolPlugin)
        name, description, optionsType = "plain", "a module", None

        def buildFactory(context, options):
            return Factory.forProtocol(Protocol)
    """
    distribute("plain", {"plain": "plain"}, {"plain.py": text})
    plugin: Any = installedPlugins().find("plain")
    assert plugin is sys.modules["plain"]


BROKEN: Final[dict[str, tuple[str, str, str]]] = {
    "an import of its own fails": (
        "quotes.plugin:quotes",
        "import os\nimport nope\n",
        "ModuleNotFoundError: No module named 'nope' (quotes/plugin.py, line 2)",
    ),
    "its module is not there": (
        "quotes.plugins:quotes",
        "",
        "no module named 'quotes.plugins'",
    ),
    "it raises when imported": (
        "quotes.plugin:quotes",
        "\n\nraise ValueError('two\\nlines')\n",
        "ValueError: two lines (quotes/plugin.py, line 3)",
    ),
    "it raises without a word": (
        "quotes.plugin:quotes",
        "raise KeyError",
        "KeyError (quotes/plugin.py, line 1)",
    ),
    "it leaves when imported": (
        "quotes.plugin:quotes",
        "import sys\nsys.exit(3)\n",
        "SystemExit: 3 (quotes/plugin.py, line 2)",
    ),
    "it is not Python": (
        "quotes.plugin:quotes",
        "x = 1\ndef quotes(:\n",
        "SyntaxError: invalid syntax (quotes/plugin.py, line 2)",
    ),
    "ours raises at its word": (
        "quotes.plugin:quotes",
        """
        from myserv.plugin import ProtocolPlugin
        quotes = ProtocolPlugin("Quotes", "")
        """,
        (
            "ValueError: 'Quotes' cannot be a protocol's name: use lower case, digits and hyphens"
            " (quotes/plugin.py, line 3)"
        ),
    ),
    "the attribute is missing": (
        "quotes.plugin:quote",
        QUOTES,
        'quotes.plugin has no "quote"; did you mean "quotes"?',
    ),
    "the attribute raises": (
        "quotes.plugin:quotes",
        "def __getattr__(name): raise OSError(name)\n",
        "OSError: quotes (quotes/plugin.py, line 1)",
    ),
    "it is no plugin": (
        "quotes.plugin:quotes",
        "quotes = 42",
        (
            "it is an int; it may be a Protocol or DatagramProtocol class, a Factory"
            " (a class or an instance) or a ProtocolPlugin"
        ),
    ),
    "it is a module without a plugin": (
        "quotes.plugin",
        "",
        (
            "it is a module; it may be a Protocol or DatagramProtocol class, a Factory"
            " (a class or an instance) or a ProtocolPlugin"
        ),
    ),
    "it has another name": (
        "quotes.plugin:wisdom",
        QUOTES.replace('"quotes"', '"wisdom"').replace("quotes =", "wisdom ="),
        'it calls itself "wisdom", its entry point "quotes"',
    ),
    "its options are not stated": (
        "quotes.plugin:quotes",
        """
        from attrs import frozen
        from twisted.internet.protocol import Protocol
        from myserv.plugin import ProtocolPlugin

        @frozen
        class Options:
            colour: str = "red"

        quotes = ProtocolPlugin(
            "quotes", "", factory=lambda context, options: None, optionsType=Options
        )
        """,
        "TypeError: Options.colour is not stated with option()",
    ),
    "its options are of no type": (
        "quotes.plugin:quotes",
        """
        from attrs import frozen
        from twisted.internet.protocol import Protocol
        from myserv.plugin import ProtocolPlugin, option

        @frozen
        class Options:
            colour: "Colour" = option(help="of the quotes")

        quotes = ProtocolPlugin(
            "quotes", "", factory=lambda context, options: None, optionsType=Options
        )
        """,
        "NameError: name 'Colour' is not defined",
    ),
    "it provides no kind": (
        "quotes.plugin:quotes",
        """
        from zope.interface import implementer
        from myserv.plugin import IProtocolPlugin

        @implementer(IProtocolPlugin)
        class Quotes:
            name, description, optionsType = "quotes", "", None

        quotes = Quotes()
        """,
        "it provides neither IStreamProtocolPlugin nor IDatagramProtocolPlugin",
    ),
    "its name is no word": (
        "quotes.plugin:quotes",
        """
        from zope.interface import implementer
        from myserv.plugin import IStreamProtocolPlugin

        @implementer(IStreamProtocolPlugin)
        class Quotes:
            name, description, optionsType = "two words", "", None
            def buildFactory(self, context, options): return None

        quotes = Quotes()
        """,
        "'two words' cannot be a protocol's name: use lower case, digits and hyphens",
    ),
    "it raises what is no exception": (
        "quotes.plugin:quotes",
        "class Odd(BaseException): pass\nraise Odd('so')",
        "Odd: so (quotes/plugin.py, line 2)",
    ),
    "it raises what Python raises": (
        "quotes.plugin:quotes",
        "raise GeneratorExit",
        "GeneratorExit (quotes/plugin.py, line 1)",
    ),
    "what it raises has no text": (
        "quotes.plugin:quotes",
        "class Odd(Exception):\n    def __str__(self): raise SystemExit\nraise Odd",
        "Odd (quotes/plugin.py, line 3)",
    ),
    "the attribute leaves": (
        "quotes.plugin:quotes",
        "import sys\ndef __getattr__(name): sys.exit(name)\n",
        "SystemExit: quotes (quotes/plugin.py, line 2)",
    ),
    "it does not tell its class": (
        "quotes.plugin:quotes",
        """
        class Quotes:
            @property
            def __class__(self): raise SystemExit("no class")
        quotes = Quotes()
        """,
        "SystemExit: no class",
    ),
    "it does not tell what it provides": (
        "quotes.plugin:quotes",
        """
        class Quotes:
            @property
            def __provides__(self): raise OSError("no interface")
        quotes = Quotes()
        """,
        "OSError: no interface",
    ),
    "its description is no text": (
        "quotes.plugin:quotes",
        """
        from twisted.internet.protocol import Protocol
        from myserv.plugin import ProtocolPlugin
        quotes = ProtocolPlugin("quotes", 42, stream=Protocol)
        """,
        "its description is of the type int, and has to be text",
    ),
    "its description raises": (
        "quotes.plugin:quotes",
        """
        from twisted.internet.protocol import Protocol
        from myserv.plugin import ProtocolPlugin
        class Plugin(ProtocolPlugin):
            description = property(lambda self: 1 / 0, lambda self, value: None)
        quotes = Plugin("quotes", "", stream=Protocol)
        """,
        "ZeroDivisionError: division by zero",
    ),
    "the help of its option is no text": (
        "quotes.plugin:quotes",
        """
        from attrs import frozen
        from myserv.plugin import option

        @frozen
        class Options:
            colour: str = option(help=42)
        """,
        "TypeError: option() was given help=42 (quotes/plugin.py, line 7)",
    ),
    "the entry point is no reference": (
        "quotes.plugin:",
        QUOTES,
        'it is not of the form "package.module:attribute"',
    ),
}


@pytest.mark.parametrize(("value", "text", "cause"), BROKEN.values(), ids=BROKEN)
def test_broken_plugin_is_told_in_one_line(
    distribute: Distribute, value: str, text: str, cause: str
) -> None:
    """Distribution, entry point and cause are named, and the place where there is one."""
    distribute("quotes", {"quotes": value}, {"quotes/plugin.py": text})
    assert wrongly("quotes") == f'the protocol "quotes" of quotes 1.0 ({value}) is broken: {cause}'


def test_contract_not_kept(distribute: Distribute) -> None:
    """A plugin that lacks a method is found out before a peer connects."""
    text = """
        from zope.interface import implementer
        from myserv.plugin import IStreamProtocolPlugin

        @implementer(IStreamProtocolPlugin)
        class Quotes:
            name, description, optionsType = "quotes", "", None

        quotes = Quotes()
    """
    distribute("quotes", {"quotes": "quotes:quotes"}, {"quotes.py": text})
    said = wrongly("quotes")
    assert said.startswith('the protocol "quotes" of quotes 1.0 (quotes:quotes) is broken: Broken')
    assert "buildFactory(context, options)" in said


def test_entry_point_under_no_possible_name(distribute: Distribute) -> None:
    """A wrapped class cannot get a name that no command line could say."""
    text = "from twisted.internet.protocol import Protocol as Quotes"
    distribute("quotes", {"Quotes": "quotes:Quotes"}, {"quotes.py": text})
    assert wrongly("Quotes") == (
        'the protocol "Quotes" of quotes 1.0 (quotes:Quotes) is broken: '
        "'Quotes' cannot be a protocol's name: use lower case, digits and hyphens"
    )


def test_interrupt_is_the_operators(distribute: Distribute) -> None:
    """Ctrl-C while a plugin loads is not the plugin's problem."""
    distribute("quotes", {"quotes": "quotes:quotes"}, {"quotes.py": "raise KeyboardInterrupt"})
    with pytest.raises(KeyboardInterrupt):
        installedPlugins().find("quotes")


def test_one_name_of_two_distributions(distribute: Distribute) -> None:
    """Neither of two rivals is served; both are named, and others are unaffected."""
    distribute("quotes", {"quotes": "quotes.plugin:quotes"}, {"quotes/plugin.py": QUOTES})
    distribute("wisdom", {"quotes": "quotes.plugin:quotes", "sage": "quotes.plugin:Quotes"}, {})
    said = 'the protocol "quotes" is offered by quotes 1.0 and by wisdom 1.0: uninstall one of them'
    assert wrongly("quotes") == said
    listed = {each.name: each for each in installedPlugins().survey()}
    assert listed["quotes"] == Listed("quotes", "", "quotes 1.0, wisdom 1.0", None, said)
    assert listed["sage"].problem is None


def test_one_name_of_three_distributions() -> None:
    """Of three rivals two have to go."""
    registry = Registry([Candidate("x", f"{letter} 1", "m:x") for letter in "abc"])
    with pytest.raises(PluginError) as raised:
        registry.find("x")
    assert str(raised.value) == (
        'the protocol "x" is offered by a 1 and by b 1 and by c 1: uninstall all but one of them'
    )


def test_one_name_twice_in_a_distribution() -> None:
    """A distribution that contradicts itself is named once."""
    registry = Registry([Candidate("x", "a 1", "m:x"), Candidate("x", "a 1", "m:y")])
    with pytest.raises(PluginError) as raised:
        registry.find("x")
    assert str(raised.value) == 'the protocol "x" is offered twice by a 1'


def test_entry_point_without_distribution() -> None:
    """An entry point made by hand has no distribution to name."""
    candidate = Candidate.fromEntryPoint(EntryPoint("x", "nope.nope:x", "myserv.protocols"))
    with pytest.raises(PluginError) as raised:
        candidate.load()
    assert str(raised.value) == (
        'the protocol "x" of an unknown distribution (nope.nope:x) is broken: '
        "no module named 'nope.nope'"
    )


def test_survey_lists_the_broken_beside_the_sound(distribute: Distribute) -> None:
    """Whoever asks for help sees every protocol, and which of them has a problem."""
    distribute("quotes", {"quotes": "quotes.plugin:quotes"}, {"quotes/plugin.py": QUOTES})
    distribute("bells", {"bells": "bells:bells"}, {"bells.py": "1 / 0"}, version="2.0")
    listed = [each for each in installedPlugins().survey() if each.name in ("bells", "quotes")]
    plugin = installedPlugins().find("quotes")
    assert listed == [
        Listed(
            "bells",
            "",
            "bells 2.0",
            None,
            'the protocol "bells" of bells 2.0 (bells:bells) is broken: '
            "ZeroDivisionError: division by zero (bells.py, line 1)",
        ),
        Listed("quotes", "a line of wisdom", "quotes 1.0", plugin, None),
    ]


def test_descriptionsAreOneLine(distribute: Distribute) -> None:
    """Whatever an author wrote, the list of all stays a list."""
    text = """
        from twisted.internet.protocol import Protocol
        from myserv.plugin import ProtocolPlugin

        long = ProtocolPlugin("long", "x" * 50_000_000, stream=Protocol)
        loud = ProtocolPlugin("loud", "two\\n lines \\x1b[31m", stream=Protocol)
    """
    distribute("quotes", {"long": "quotes:long", "loud": "quotes:loud"}, {"quotes.py": text})
    listed = {each.name: each for each in installedPlugins().survey()}
    assert listed["long"].description == f"{'x' * 99}…{'x' * 99}"
    assert listed["loud"].description == r"two lines \u001b[31m"


def test_descriptionThatIsThereOnce(distribute: Distribute) -> None:
    """It is asked for again, and what is then wrong hurts no other protocol either."""
    text = """
        from twisted.internet.protocol import Protocol
        from myserv.plugin import ProtocolPlugin

        class Plugin(ProtocolPlugin):
            there = ["once", "twice", "thrice"]
            description = property(lambda self: self.there.pop(), lambda self, value: None)

        quotes = Plugin("quotes", "", stream=Protocol)
        quotes.there = quotes.there[:2]
    """
    distribute("quotes", {"quotes": "quotes:quotes"}, {"quotes.py": text})
    listed = {each.name: each for each in installedPlugins().survey()}
    assert listed["quotes"].problem == (
        'the protocol "quotes" of quotes 1.0 is broken: IndexError: pop from empty list'
    )
    assert listed["echo"].problem is None


@pytest.mark.parametrize(
    ("file", "content", "cause"),
    [
        ("entry_points.txt", b"[myserv.protocols]\n\xff = x:x\n", "UnicodeDecodeError: 'utf-8'"),
        ("entry_points.txt", b"[myserv.protocols]\nquotes\n", "TypeError: "),
        ("METADATA", b"Metadata-Version: 2.1\nName: \xff\n", "UnicodeDecodeError: 'utf-8'"),
    ],
)
def test_distributionThatCannotBeRead(
    distribute: Distribute, tmp_path: Path, file: str, content: bytes, cause: str
) -> None:
    """It is named, and the others are there; it may be what somebody looks for."""
    distribute("bells", {"bells": "bells:bells"}, {})
    distribute("quotes", {"quotes": "quotes:quotes"}, {})
    place = tmp_path / "site" / "quotes-1.0.dist-info"
    (place / file).write_bytes(content)
    registry = installedPlugins()
    assert {"bells", "echo"} <= set(registry.names())
    [problem] = registry.problems
    assert problem.startswith(f"the distribution {place} is broken: its {file} cannot be read: ")
    assert cause in problem
    assert wrongly("quotes").endswith(f"; {problem}")


def test_distributionThatIsThereTwice(
    distribute: Distribute, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first on the path is the one that would be imported."""
    distribute("quotes", {"quotes": "quotes.plugin:quotes"}, {"quotes/plugin.py": QUOTES})
    shutil.copytree(tmp_path / "site", tmp_path / "copy")
    monkeypatch.syspath_prepend(str(tmp_path / "copy"))
    assert installedPlugins().find("quotes").name == "quotes"


def test_distributionOfAnotherKind(distribute: Distribute, monkeypatch: pytest.MonkeyPatch) -> None:
    """An importer may bring distributions of its own, which know only what is public."""
    distribute("quotes", {"quotes": "quotes.plugin:quotes"}, {"quotes/plugin.py": QUOTES})
    monkeypatch.setattr(Distribution, "_normalized_name", None)
    monkeypatch.setattr(PathDistribution, "_normalized_name", None)
    assert installedPlugins().find("quotes").name == "quotes"


# --- names that are unknown ------------------------------------------------------


def registryOf(*names: str) -> Registry:
    """A registry of names that lead nowhere."""
    return Registry([Candidate(name, "x 1", "x:x") for name in names])


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("ecco", 'unknown protocol "ecco"; did you mean "echo"?'),
        ("gopher", 'unknown protocol "gopher"; there is echo, time'),
        (
            "chat.server",
            (
                'unknown protocol "chat.server"; there is echo, time'
                ' (a class of your own is written "chat.server:Class")'
            ),
        ),
        (
            "chat.server.Chat",
            (
                'unknown protocol "chat.server.Chat"; there is echo, time'
                ' (a class of your own is written "chat.server:Chat")'
            ),
        ),
        (
            "chat/server.py",
            (
                'unknown protocol "chat/server.py"; there is echo, time'
                ' (a class of your own is written "chat.server:Class")'
            ),
        ),
        (
            "my_chat",
            (
                'unknown protocol "my_chat"; there is echo, time'
                ' (a class of your own is written "my_chat:Class")'
            ),
        ),
        ("what is this", 'unknown protocol "what is this"; there is echo, time'),
        ("", 'unknown protocol ""; there is echo, time'),
    ],
)
def test_unknown_name(word: str, said: str) -> None:
    """The nearest name is suggested, and the other door to those who seem to want it."""
    with pytest.raises(PluginError) as raised:
        registryOf("time", "echo").find(word)
    assert str(raised.value) == said


def test_unknown_name_of_a_module_that_is_here(write: Write) -> None:
    """A plain word is a module when there is a file of that name."""
    write("gopher.py", "")
    with pytest.raises(PluginError) as raised:
        registryOf("echo").find("gopher")
    assert str(raised.value) == (
        'unknown protocol "gopher"; there is echo (a class of your own is written "gopher:Class")'
    )


def test_unknown_name_that_no_file_can_have() -> None:
    """Whether there is a module of that name is not worth an error."""
    with pytest.raises(PluginError) as raised:
        registryOf("echo").find("a" * 300)
    assert str(raised.value) == (
        f'unknown protocol "{"a" * 99}…{"a" * 99}"; there is echo'.replace("a" * 99, "a" * 98)
    )


def test_unknown_name_in_a_directory_that_may_not_be_searched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The tests may run as root, who may search everything."""

    def deny(path: object) -> None:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "stat", deny)
    with pytest.raises(PluginError, match=r'^unknown protocol "gopher"; there is echo$'):
        registryOf("echo").find("gopher")


def test_unknown_name_where_nothing_is_installed() -> None:
    """With nothing to suggest, that is what is said."""
    with pytest.raises(PluginError) as raised:
        Registry([]).find("echo")
    assert str(raised.value) == 'unknown protocol "echo"; no protocols are installed'


# --- package.module:attribute ------------------------------------------------------


CHAT: Final = '''
    from twisted.internet.protocol import DatagramProtocol, Factory, Protocol
    from myserv.plugin import ProtocolPlugin

    class ChatServer(Protocol):
        """Talks."""

        class Inner(Protocol):
            pass

    class Pings(DatagramProtocol):
        pass

    class Rooms(Factory):
        protocol = ChatServer

    class Needy(Protocol):
        def __init__(self, store, *, limit, greeting="hello"):
            pass

    class _Private(Protocol):
        pass

    rooms = Rooms()
    chat = ProtocolPlugin("chat", "with rooms", stream=ChatServer)
    connected = ChatServer()
    number = 42

    def helper(): pass
'''


@pytest.mark.parametrize(
    ("reference", "name", "description", "stream"),
    [
        ("chatter:ChatServer", "chat-server", "Talks.", True),
        ("chatter:ChatServer.Inner", "inner", "chatter:ChatServer.Inner", True),
        ("chatter:Pings", "pings", "chatter:Pings", False),
        ("chatter:Rooms", "rooms", "chatter:Rooms", True),
        ("chatter:rooms", "rooms", "chatter:rooms", True),
        ("chatter:_Private", "private", "chatter:_Private", True),
        ("chatter:chat", "chat", "with rooms", True),
    ],
)
def test_reference_leads_to_a_plugin(
    write: Write, reference: str, name: str, description: str, stream: bool
) -> None:
    """Each kind of thing that can be served is served, from the current directory."""
    write("chatter.py", CHAT)
    plugin = installedPlugins().find(reference)
    assert (plugin.name, plugin.description) == (name, description)
    assert IStreamProtocolPlugin.providedBy(plugin) is stream
    assert IDatagramProtocolPlugin.providedBy(plugin) is not stream


@pytest.mark.parametrize(
    ("attribute", "name"),
    [
        ("HTTPServer", "http-server"),
        ("MyHTTPProtocol", "my-http-protocol"),
        ("Chat2", "chat2"),
        ("Quote_Server", "quote-server"),
        ("X509", "x509"),
        ("_", "protocol"),
        ("Échec", "chec"),
        ("日本", "protocol"),
    ],
)
def test_name_comes_of_the_class(write: Write, attribute: str, name: str) -> None:
    """The name derived is always one that a command line can say."""
    write("m1.py", f"from twisted.internet.protocol import Protocol as {attribute}")
    assert installedPlugins().find(f"m1:{attribute}").name == name


def test_duck_of_a_datagram_protocol(write: Write) -> None:
    """Twisted has no interface for datagram protocols: having the methods is enough."""
    text = """
        class Duck:
            def makeConnection(self, transport): pass
            def datagramReceived(self, datagram, address): pass
            def doStart(self): pass
            def doStop(self): pass
    """
    write("pond.py", text)
    assert IDatagramProtocolPlugin.providedBy(installedPlugins().find("pond:Duck"))


def test_current_directory_comes_first_and_once(
    write: Write, distribute: Distribute, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The module here wins over an installed one, and the path does not grow."""
    distribute("chatter", {}, {"chatter.py": ""})
    path = write("chatter.py", CHAT)
    for _ in range(2):
        installedPlugins().find("chatter:ChatServer")
    assert sys.path.count(str(path.parent)) == 1
    assert sys.path[0] == str(path.parent)
    assert sys.modules["chatter"].__file__ == str(path)


def test_entry_points_do_not_search_the_current_directory(
    write: Write, distribute: Distribute
) -> None:
    """Only whoever names a module asks for what lies around."""
    here = write("quotes.py", "").parent
    distribute("quotes", {"quotes": "quotes:quotes"}, {"quotes.py": QUOTES})
    installedPlugins().find("quotes")
    assert str(here) not in sys.path


def test_current_directory_removed(write: Write) -> None:
    """A current directory that is gone is not searched."""
    here = write("x.py", "")
    here.unlink()
    here.parent.rmdir()
    assert wrongly("nowhere.at.all:X") == (
        "\"nowhere.at.all:X\" cannot be served: no module named 'nowhere.at.all' on the Python path"
    )


@pytest.mark.parametrize(
    ("reference", "cause"),
    [
        ("nope:Chat", "no module named 'nope' in {here} or on the Python path"),
        ("chatter.nope:Chat", "no module named 'chatter.nope' in {here} or on the Python path"),
        (
            "importer:Chat",
            "ModuleNotFoundError: No module named 'missing' (importer.py, line 2)",
        ),
        ("raiser:Chat", "RuntimeError: no luck (raiser.py, line 2)"),
        ("leaver:Chat", "SystemExit: 0 (leaver.py, line 1)"),
        ("chatter:ChatSrver", 'chatter has no "ChatSrver"; did you mean "ChatServer"?'),
        (
            "./chatter.py:ChatServer",
            'it is not of the form "package.module:attribute"; did you mean "chatter:ChatServer"?',
        ),
        (
            "chatter.py:ChatServer",
            (
                "no module named 'chatter.py' in {here} or on the Python path; "
                'did you mean "chatter:ChatServer"?'
            ),
        ),
        (
            "chatter:Xyzzy",
            'chatter has no "Xyzzy"; there is ChatServer, Needy, Pings, Rooms, chat, rooms',
        ),
        (
            "chatter:ChatServer.Iner",
            'chatter.ChatServer has no "Iner"; did you mean "Inner"?',
        ),
        ("chatter:number.nope", 'chatter.number has no "nope"'),
        (
            "chatter:Needy",
            (
                "Needy() wants store, limit: "
                "make a myserv.plugin.ProtocolPlugin that passes what it wants"
            ),
        ),
        ("chatter:number", "it is an int; it may be {servable}"),
        ("chatter:helper", "it is a function; it may be {servable}"),
        ("chatter:Deaf", "it is the class Deaf; it may be {servable}"),
        (
            "chatter:Plugin",
            (
                "it is the class Plugin, of which the plugin would be an instance;"
                " it may be {servable}"
            ),
        ),
        (
            "chatter:connected",
            (
                "it is one ChatServer, and each connection needs its own: name the class;"
                " it may be {servable}"
            ),
        ),
        ("chatter:", 'it is not of the form "package.module:attribute"'),
        (":Chat", 'it is not of the form "package.module:attribute"'),
        (".chatter:Chat", 'it is not of the form "package.module:attribute"'),
        ("chat-ter:Chat", 'it is not of the form "package.module:attribute"'),
        ("chatter:Chat:tcp", 'it is not of the form "package.module:attribute"'),
    ],
)
def test_reference_that_leads_nowhere(write: Write, reference: str, cause: str) -> None:
    """What is wrong is told apart: the module, what it imports, the attribute, its kind."""
    here = write("chatter.py", CHAT).parent
    with here.joinpath("chatter.py").open("a") as more:
        more.write(
            "\nfrom twisted.internet.protocol import ConnectedDatagramProtocol\n"
            "from zope.interface import implementer\n"
            "from myserv.plugin import IStreamProtocolPlugin\n"
            "class Deaf(ConnectedDatagramProtocol): pass\n"
            "@implementer(IStreamProtocolPlugin)\n"
            "class Plugin: pass\n"
            "class Shy:\n"
            "    @property\n"
            "    def __class__(self): raise SystemExit\n"
            "shy = Shy()\n"
        )
    write("importer.py", "import os\nimport missing")
    write("raiser.py", "def fail(): raise ValueError\nraise RuntimeError('no luck')")
    write("leaver.py", "raise SystemExit(0)")
    servable = (
        "a Protocol or DatagramProtocol class, a Factory (a class or an instance) "
        "or a ProtocolPlugin"
    )
    cause = cause.format(here=here, servable=servable)
    assert wrongly(reference) == f'"{reference}" cannot be served: {cause}'


def test_error_outside_the_plugins_package(write: Write) -> None:
    """The line named is the author's own, not the library's that raised."""
    write("mine/__init__.py", "import json\n\njson.loads('{')")
    assert wrongly("mine:X") == (
        '"mine:X" cannot be served: JSONDecodeError: Expecting property name enclosed in '
        "double quotes: line 1 column 2 (char 1) (mine/__init__.py, line 3)"
    )


def test_error_without_a_place(write: Write) -> None:
    """Where Python knows no line there is none to tell."""
    write("binary.py", "\0")
    said = wrongly("binary:X")
    assert said.endswith(": source code string cannot contain null bytes")


def test_safe_path(write: Write) -> None:
    """Whoever told Python not to search the current directory is obeyed."""
    write("nearby.py", CHAT)
    program = "from myserv.discovery import installedPlugins; installedPlugins().find('nearby:X')"
    root = str(Path(__file__).parent.parent)
    ran = subprocess.run(
        [sys.executable, "-P", "-c", program],
        env=os.environ | {"PYTHONPATH": root},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.stderr.endswith(
        "\"nearby:X\" cannot be served: no module named 'nearby' on the Python path\n"
    )


def test_class_without_a_signature(write: Write) -> None:
    """A constructor that cannot be examined is taken at its word."""
    text = """
        from twisted.internet.protocol import Protocol

        class Opaque(Protocol):
            __signature__ = "none"
    """
    write("opaque.py", text)
    assert installedPlugins().find("opaque:Opaque").name == "opaque"


def test_wrapped_factory_serves(write: Write) -> None:
    """What is wrapped behaves as it would by itself."""
    text = """
        from twisted.internet.protocol import Factory, Protocol

        class Upper(Protocol):
            def dataReceived(self, data): self.transport.write(data.upper())

        rooms = Factory.forProtocol(Upper)
    """
    write("loud.py", text)
    assert answer(installedPlugins().find("loud:rooms"), b"a") == b"A"
    assert answer(installedPlugins().find("loud:Upper"), b"b") == b"B"
    assert Clock().getDelayedCalls() == []


def test_thingInHandThatCannotBeServed() -> None:
    """It is told of in words, whatever it does when it is asked what it is."""

    class Shy:
        @property
        def __name__(self) -> str:
            raise SystemExit("no name")

    with pytest.raises(PluginError, match=r"^Shy cannot be served: SystemExit: no name$"):
        pluginOf(Shy())
    with pytest.raises(PluginError, match=r"^int cannot be served: it is an int; "):
        pluginOf(42)
