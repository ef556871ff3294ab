"""How a class states its options, and how the statement is read."""

from __future__ import annotations

import enum
import ipaddress
from pathlib import Path
from typing import Any, Optional, Union

import attrs
import pytest

from myserv.options.declare import REQUIRED, OptionSpec, describe, formatValue, option
from myserv.options.values import Duration, HostPort, IPAddress, IPNetwork, Size


class Color(enum.Enum):
    """A choice."""

    RED = "red"
    GREEN = "green"


@attrs.frozen
class Everything:
    """Every type that an option may have."""

    word: str = option(help="a word")
    flag: bool = option(False, help="a flag")
    count: int = option(3, help="a count", minimum=1, maximum=9)
    ratio: float = option(0.5, help="a ratio")
    idleTimeout: Duration = option("90s", help="a duration")
    max_line: Size = option("64KiB", help="a size", metavar="BYTES")
    directory: Path = option("/srv", help="a path")
    upstream: HostPort = option("[::1]:80", help="an address to connect to", positional=True)
    source: IPAddress = option("127.0.0.1", help="an address")
    network: IPNetwork = option("10.0.0.0/8", help="a network")
    color: Color = option("red", help="a color")
    words: tuple[str, ...] = option(("a", "b"), help="words")
    sources: tuple[IPAddress, ...] = option((), help="addresses")
    ttl: Duration | None = option(None, help="a duration or none")
    proxy: IPAddress | None = option(None, help="an address or none")
    trusted: tuple[IPNetwork, ...] | None = option(None, help="networks or none")
    old: Optional[int] = option(None, help="the old spelling")  # noqa: UP045
    older: Union[str, None] = option("x", help="the other")  # noqa: UP007


def spec(name: str) -> OptionSpec:
    """Describe one option of L{Everything}."""
    return {each.name: each for each in describe(Everything)}[name]


def test_optionsAreDescribedInTheirOrder() -> None:
    """The rows are in the order of the class, and complete."""
    assert [each.name for each in describe(Everything)] == [
        field.name for field in attrs.fields(Everything)
    ]


def test_aNameOfItsOwn() -> None:
    """An option may be called otherwise than the attribute that holds it."""

    @attrs.frozen
    class Renamed:
        sources: str = option(help="from where", name="from")

    [renamed] = describe(Renamed)
    assert (renamed.name, renamed.attribute, renamed.flag) == ("from", "sources", "from")
    assert (spec("word").name, spec("word").attribute) == ("word", "word")


def test_noOptionsClassHasNoOptions() -> None:
    """A protocol without options is described too."""
    assert describe(None) == ()


def test_oneOptionInFull() -> None:
    """What was stated, with the default converted and the type taken apart."""
    count = spec("count")
    assert (count.help, count.minimum, count.maximum) == ("a count", 1, 9)
    assert (count.default, count.required, count.positional) == (3, False, False)
    assert (count.type.element, count.type.many, count.type.optional) == (int, False, False)
    assert spec("upstream").positional


@pytest.mark.parametrize(
    ("name", "default", "text"),
    [
        ("flag", False, "false"),
        ("ratio", 0.5, "0.5"),
        ("idleTimeout", Duration(90), "90s"),
        ("max_line", Size(65536), "64KiB"),
        ("directory", Path("/srv"), "/srv"),
        ("upstream", HostPort("::1", 80), "[::1]:80"),
        ("source", ipaddress.ip_address("127.0.0.1"), "127.0.0.1"),
        ("network", ipaddress.ip_network("10.0.0.0/8"), "10.0.0.0/8"),
        ("color", Color.RED, "red"),
        ("words", ("a", "b"), "a, b"),
        ("sources", (), ""),
        ("ttl", None, ""),
        ("word", REQUIRED, ""),
    ],
)
def test_defaultsAreConvertedAndWritten(name: str, default: object, text: str) -> None:
    """A default is of the option's type, and is printed as an operator would write it."""
    assert spec(name).default == default
    assert type(spec(name).default) is type(default)
    assert spec(name).defaultText == text


@pytest.mark.parametrize(
    ("name", "element", "many", "optional", "typeName"),
    [
        ("word", str, False, False, "text"),
        ("color", Color, False, False, "red|green"),
        ("source", IPAddress, False, False, "address"),
        ("network", IPNetwork, False, False, "network"),
        ("words", str, True, False, "text"),
        ("sources", IPAddress, True, False, "address"),
        ("ttl", Duration, False, True, "duration"),
        ("proxy", IPAddress, False, True, "address"),
        ("trusted", IPNetwork, True, True, "network"),
        ("old", int, False, True, "number"),
        ("older", str, False, True, "text"),
    ],
)
def test_typesAreTakenApart(
    name: str, element: object, many: bool, optional: bool, typeName: str
) -> None:
    """Lists and optional values of every type, unions that are one type among them."""
    kind = spec(name).type
    assert (kind.element, kind.many, kind.optional) == (element, many, optional)
    assert kind.name == typeName


def test_spellings() -> None:
    """The flag and the metavar follow from name and type unless stated."""
    assert spec("idleTimeout").flag == "idle-timeout"
    assert spec("max_line").flag == "max-line"
    assert spec("idleTimeout").metavar == "DURATION"
    assert spec("max_line").metavar == "BYTES"


def test_formatValue() -> None:
    """Values are written as they would be in a file."""
    assert [formatValue(value) for value in (True, False, Color.GREEN, 3, "x")] == [
        *("true", "false", "green", "3", "x")
    ]


class NotAttrs:
    """No attrs class."""


@attrs.frozen
class NotStated:
    """A field without option()."""

    count: int = 3


@attrs.frozen
class StrangeType:
    """A type that no operator could write."""

    value: complex = option(help="x")


@attrs.frozen
class Pair:
    """A tuple of another kind."""

    value: tuple[int, int] = option(help="x")


@attrs.frozen
class Either:
    """A choice of types."""

    value: int | str = option(help="x")


@attrs.frozen
class Called:
    """A default that a call makes."""

    value: tuple[str, ...] = option(attrs.Factory(tuple), help="x")


@attrs.frozen
class WrongDefault:
    """A default that an operator could not give."""

    value: Duration = option("30", help="x")


@attrs.frozen
class DefaultOutOfRange:
    """A default that the bounds exclude."""

    value: int = option(0, help="x", minimum=1)


@attrs.frozen
class NoneDefault:
    """None where the type does not allow it."""

    value: int = option(None, help="x")


@pytest.mark.parametrize(
    ("optionsType", "message"),
    [
        (NotAttrs, "NotAttrs is not an attrs class"),
        (NotStated, "NotStated.count is not stated with option()"),
        (
            StrangeType,
            "StrangeType.value has the type <class 'complex'>, which no operator could write",
        ),
        (Pair, "Pair.value has the type tuple[int, int], which no operator could write"),
        (Either, "Either.value has the type int | str, which no operator could write"),
        (Called, "Called.value has a default that only a call can tell"),
        (WrongDefault, "WrongDefault.value has a wrong default: '30' is not a duration"),
        (
            DefaultOutOfRange,
            "DefaultOutOfRange.value has a wrong default: 0 is too small: the least is 1",
        ),
        (NoneDefault, "NoneDefault.value has the default None, which its type does not allow"),
    ],
)
def test_anAuthorsMistake(optionsType: type, message: str) -> None:
    """A class that states no options says to its author where it fails."""
    with pytest.raises(TypeError) as caught:
        describe(optionsType)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    "arguments",
    [{"help": 42}, {"minimum": "1"}, {"maximum": [1]}, {"metavar": 1}, {"name": b"from"}],
)
def test_aStatementOfTheWrongType(arguments: dict[str, Any]) -> None:
    """Is the author's mistake, and told where it is made."""
    [(name, value)] = arguments.items()
    with pytest.raises(TypeError) as caught:
        option(**{"help": "which", **arguments})
    assert str(caught.value) == f"option() was given {name}={value!r}"
