"""From what an operator wrote to an options object."""

from __future__ import annotations

import enum
import math
import re
from datetime import UTC, date, datetime, time
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from myserv.errors import ConfigurationError, EndpointError, Problem
from myserv.options.declare import describe, option
from myserv.options.structure import ElementError, convert, structure, written
from myserv.options.values import Duration, HostPort, IPAddress, IPNetwork, Size


class Color(enum.Enum):
    """A choice among words."""

    RED = "red"
    GREEN = "green"


class Level(enum.Enum):
    """A choice among numbers."""

    LOW = 1
    HIGH = 2


@attrs.frozen
class Values:
    """One option of each type."""

    text: str = option("", help="x")
    flag: bool = option(False, help="x")
    count: int = option(5, help="x", minimum=1, maximum=9)
    ratio: float = option(0.5, help="x", minimum=0)
    timeout: Duration = option("30s", help="x", minimum=1, maximum=60)
    size: Size = option("1KiB", help="x", maximum=2**20)
    path: Path = option("/srv", help="x")
    upstream: HostPort = option("a:1", help="x")
    address: IPAddress = option("::1", help="x")
    network: IPNetwork = option("10.0.0.0/8", help="x")
    color: Color = option("red", help="x")
    level: Level = option(1, help="x")
    many: tuple[int, ...] = option((), help="x", maximum=9)
    maybe: int | None = option(None, help="x")


SPECS = {spec.name: spec for spec in describe(Values)}


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("text", "x", "x"),
        ("text", "", ""),
        ("flag", True, True),
        ("flag", "Yes", True),
        ("flag", "on", True),
        ("flag", "1", True),
        ("flag", "false", False),
        ("flag", "no", False),
        ("flag", "OFF", False),
        ("flag", "0", False),
        ("count", 9, 9),
        ("count", "1", 1),
        ("ratio", 2, 2.0),
        ("ratio", 0.25, 0.25),
        ("ratio", "1e3", 1000.0),
        ("timeout", "60s", Duration(60)),
        ("timeout", Duration(1), Duration(1)),
        ("size", "1MiB", Size(2**20)),
        ("size", 512, Size(512)),
        ("size", 0, Size(0)),
        ("path", "a/b", Path("a/b")),
        ("path", Path("/x"), Path("/x")),
        ("upstream", "[::1]:80", HostPort("::1", 80)),
        ("upstream", HostPort("b", 2), HostPort("b", 2)),
        ("address", "10.0.0.1", ip_address("10.0.0.1")),
        ("address", ip_address("::2"), ip_address("::2")),
        ("network", "::/0", ip_network("::/0")),
        ("network", ip_network("::/1"), ip_network("::/1")),
        ("color", "green", Color.GREEN),
        ("color", Color.GREEN, Color.GREEN),
        ("level", 2, Level.HIGH),
        ("level", "2", Level.HIGH),
        ("many", [1, "2"], (1, 2)),
        ("many", (3,), (3,)),
        ("many", [], ()),
        ("many", "4", (4,)),
        ("many", 4, (4,)),
        ("maybe", 7, 7),
    ],
)
def test_valuesAreConverted(name: str, value: object, expected: object) -> None:
    """Text and TOML's own types both become the option's type."""
    converted = convert(SPECS[name], value)
    assert converted == expected
    assert type(converted) is type(expected)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("text", 7, "7 is not text: put it in quotes"),
        ("text", True, "true is not text: put it in quotes"),
        ("text", date(2026, 1, 2), "2026-01-02 is not text: put it in quotes"),
        ("text", ["x"], "a list is not text"),
        ("text", {}, "a table is not text"),
        ("flag", 1, "1 is not a boolean: write true or false"),
        ("flag", "maybe", "'maybe' is not a boolean: write true or false"),
        ("count", 1.5, "1.5 is not a whole number"),
        ("count", True, "true is not a whole number"),
        ("count", "x", "'x' is not a whole number"),
        pytest.param(
            *("count", "9" * 5000, f"'{'9' * 5000}' is not a whole number"), id="a long number"
        ),
        ("count", 0, "0 is too small: the least is 1"),
        ("count", "10", "'10' is too large: the most is 9"),
        ("ratio", False, "false is not a number"),
        ("ratio", "x", "'x' is not a number"),
        ("ratio", [], "a list is not a number"),
        ("ratio", math.nan, "nan is not a number"),
        ("ratio", math.inf, "inf is not a number"),
        ("ratio", "nan", "'nan' is not a number"),
        pytest.param("ratio", 10**400, f"{10**400} is not a number", id="a large number"),
        ("ratio", -1, "-1 is too small: the least is 0.0"),
        (
            "timeout",
            30,
            '30 is not a duration: write a number and a unit in quotes, such as "30s"',
        ),
        ("timeout", "500ms", "'500ms' is too small: the least is 1s"),
        ("timeout", "2m", "'2m' is too large: the most is 1m"),
        ("size", -1, '-1 is not a size: write bytes, or a unit such as "64KiB"'),
        ("size", True, 'true is not a size: write bytes, or a unit such as "64KiB"'),
        ("size", 1.0, '1.0 is not a size: write bytes, or a unit such as "64KiB"'),
        ("size", "1GiB", "'1GiB' is too large: the most is 1MiB"),
        ("path", "", "'' is not a path"),
        ("path", "a\0b", "'a\\x00b' is not a path"),
        ("path", 3, "3 is not a path"),
        ("path", "~nosuchuser/x", "'~nosuchuser/x' is in the home of a user who has none"),
        ("upstream", 80, "80 is not text: put it in quotes"),
        ("address", [], "a list is not text"),
        ("network", {}, "a table is not text"),
        ("color", "gren", "'gren' is not a choice here; did you mean \"green\"?"),
        ("color", "blau", "'blau' is not a choice here; there is green, red"),
        ("color", {"a": 1}, "a table is not a choice here; there is green, red"),
        ("level", 3, "3 is not a choice here; there is 1, 2"),
        ("many", "x", "'x' is not a whole number"),
        ("many", 10, "10 is too large: the most is 9"),
    ],
)
def test_wrongValues(name: str, value: object, message: str) -> None:
    """Each is refused in a sentence that says what was written and what is wanted."""
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$") as caught:
        convert(SPECS[name], value)
    assert not isinstance(caught.value, ElementError)


def test_wrongElement() -> None:
    """In a list the error tells which element, the first that is wrong."""
    with pytest.raises(ElementError) as caught:
        convert(SPECS["many"], [1, 10, "x"])
    assert caught.value.index == 1
    assert str(caught.value) == "10 is too large: the most is 9"


def test_homeIsExpanded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tilde is the home of whoever runs the server."""
    monkeypatch.setenv("HOME", "/home/me")
    assert convert(SPECS["path"], "~/x") == Path("/home/me/x")


@given(
    st.sampled_from(sorted(SPECS)),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.datetimes(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=5,
    ),
)
def test_arbitraryValuesOnlyRaiseValueError(name: str, value: object) -> None:
    """Whatever a document holds is converted, or refused in one line."""
    told = "none"
    try:
        convert(SPECS[name], value)
    except ValueError as error:
        told = str(error)
    assert told
    assert "\n" not in told


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"),
        (False, "false"),
        ("x", "'x'"),
        (1.5, "1.5"),
        ([1], "a list"),
        ({"a": 1}, "a table"),
        (date(2026, 1, 2), "2026-01-02"),
        (time(7, 32), "07:32:00"),
        (datetime(2026, 1, 2, 7, 32, tzinfo=UTC), "2026-01-02 07:32:00+00:00"),
    ],
)
def test_valuesInMessages(value: object, text: str) -> None:
    """A value is written as TOML knows it, not as Python does."""
    assert written(value) == text


@attrs.frozen
class Limits:
    """Two options that have to agree, and one that must be given."""

    name: str = option(help="what it is called")
    low: int = option(1, help="the least")
    high: int = option(9, help="the most")
    ports: tuple[int, ...] = option((), help="ports")

    def __attrs_post_init__(self) -> None:
        if self.name == "many":
            raise EndpointError([Problem("first", ("low",)), Problem("second", ("high",))])
        if self.low > self.high:
            raise ValueError("low is above high")


def problems(optionsType: type | None, values: dict[str, Any]) -> tuple[Problem, ...]:
    """Structure wrong values, and return what is wrong with them."""
    with pytest.raises(ConfigurationError) as caught:
        structure(optionsType, values)
    return caught.value.problems


def test_anOptionsObjectIsMade() -> None:
    """What was given is converted, and the rest has its defaults."""
    assert structure(Limits, {"name": "x", "high": "7", "ports": ["1"]}) == Limits("x", 1, 7, (1,))
    assert structure(Values, {}) == Values(
        timeout=Duration(30),
        size=Size(1024),
        path=Path("/srv"),
        upstream=HostPort("a", 1),
        address=ip_address("::1"),
        network=ip_network("10.0.0.0/8"),
        color=Color.RED,
        level=Level.LOW,
    )


def test_noOptionsClass() -> None:
    """A protocol without options gets None, and refuses any."""
    assert structure(None, {}) is None
    assert problems(None, {"x": 1}) == (
        Problem("unknown option; there are no options here", ("x",)),
    )


def test_everyProblemIsCollected() -> None:
    """Unknown names, what is missing and what is wrong come in one error."""
    assert problems(Limits, {"hihg": 1, "low": "x", "ports": [1, 2.5]}) == (
        Problem('unknown option; did you mean "high"?', ("hihg",)),
        Problem("is required: what it is called", ("name",)),
        Problem("'x' is not a whole number", ("low",)),
        Problem("2.5 is not a whole number", ("ports", 1)),
    )


def test_anAuthorsValidator() -> None:
    """What a validator over several options says reaches the operator."""
    assert problems(Limits, {"name": "x", "low": 10}) == (Problem("low is above high"),)


def test_anAuthorsValidatorThatNamesItsKeys() -> None:
    """A ConfigurationError of the author's keeps its problems, an EndpointError too."""
    assert problems(Limits, {"name": "many"}) == (
        Problem("first", ("low",)),
        Problem("second", ("high",)),
    )


@attrs.frozen
class Renamed:
    """An option that Python has no attribute for."""

    sources: tuple[int, ...] = option(help="from where", name="from")
    to: int = option(1, help="where to", name="import")


def test_theOperatorsNameIsNotTheAttributes() -> None:
    """What is written under the one name is found under the other, and errors say the one."""
    assert structure(Renamed, {"from": [1, 2]}) == Renamed((1, 2), 1)
    assert structure(Renamed, {"from": 3, "import": "4"}) == Renamed((3,), 4)
    assert problems(Renamed, {"sources": 1, "import": "x"}) == (
        Problem("unknown option; there is from, import", ("sources",)),
        Problem("is required: from where", ("from",)),
        Problem("'x' is not a whole number", ("import",)),
    )
