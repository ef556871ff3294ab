"""How what is wrong is said to an operator and to a program."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from myserv.errors import (
    ConfigurationError,
    EndpointError,
    KeyPath,
    ListenError,
    MyservError,
    PluginError,
    Problem,
    didYouMean,
    formatKeyPath,
)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ((), ""),
        (("services",), "services"),
        (("services", "echo", "listen", 0), "services.echo.listen[0]"),
        (("a", 1, 2, "b"), "a[1][2].b"),
        (("A-b_9", "--", "9"), "A-b_9.--.9"),
        (("a b", "c.d", ""), '"a b"."c.d".""'),
        (("é",), '"é"'),
        (("a\n", 'b"c\\'), '"a\\n"."b\\"c\\\\"'),
    ],
)
def test_keyPathIsWrittenAsInTheFile(path: KeyPath, text: str) -> None:
    """Parts are joined as TOML joins them, and quoted where it needs quotes."""
    assert formatKeyPath(path) == text


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\x7f")), min_size=1))
def test_anyKeyPathIsTOML(parts: list[str]) -> None:
    """What is written is in one line, and TOML reads the same path."""
    text = formatKeyPath(tuple(parts))
    assert "\n" not in text
    values = tomllib.loads(f"{text} = 1")
    for part in parts:
        assert list(values) == [part]
        values = values[part]


@pytest.mark.parametrize(
    ("problem", "text"),
    [
        (Problem("is wrong"), "is wrong"),
        (Problem("is wrong", ("a", 0)), "a[0]: is wrong"),
        (Problem("is wrong", where="f:1:2"), "f:1:2: is wrong"),
        (Problem("is wrong", ("a",), "f:1:2"), "f:1:2: a: is wrong"),
    ],
)
def test_aProblemIsOneLine(problem: Problem, text: str) -> None:
    """Place, key and message, as far as they are known."""
    assert str(problem) == text


def test_aProblemSeenFromAnEnclosingTable() -> None:
    """Its key grows in front; all else is the same."""
    assert Problem("x", ("b", 0), "f").under(("a", 1)) == Problem("x", ("a", 1, "b", 0), "f")


def test_anErrorOfText() -> None:
    """The common case is one sentence."""
    error = ConfigurationError("is wrong")
    assert error.problems == (Problem("is wrong"),)
    assert str(error) == "is wrong"


def test_anErrorOfOneProblem() -> None:
    """A problem need not be put in a list."""
    problem = Problem("is wrong", ("a",))
    assert ConfigurationError(problem).problems == (problem,)


def test_anErrorOfManyProblems() -> None:
    """Each problem is a line, in the order given."""
    error = ConfigurationError(Problem(text) for text in ("second", "first"))
    assert [problem.message for problem in error.problems] == ["second", "first"]
    assert str(error) == "second\nfirst"


@pytest.mark.parametrize("kind", [EndpointError, PluginError, ListenError])
def test_everyErrorIsAConfigurationError(kind: type[ConfigurationError]) -> None:
    """Whoever starts a server catches one kind, and knows it from a bug."""
    error = kind("is wrong")
    assert isinstance(error, ConfigurationError)
    assert isinstance(error, MyservError)
    assert error.problems == (Problem("is wrong"),)


def test_anEndpointErrorIsAValueError() -> None:
    """Twisted's serverFromString promises one."""
    assert issubclass(EndpointError, ValueError)
    assert not issubclass(PluginError, ValueError)


@pytest.mark.parametrize(
    ("word", "known", "expected"),
    [
        ("tpc", ["tcp", "udp"], '; did you mean "tcp"?'),
        ("TCP", ["tcp", "udp"], '; did you mean "tcp"?'),
        ("max-line", ["maxLine", "maxItems"], '; did you mean "maxLine"?'),
        ("max_lines", ["maxLine", "maxItems"], '; did you mean "maxLine"?'),
        ("xyz", ["udp", "tcp", "udp"], "; there is tcp, udp"),
        ("", ["tcp"], "; there is tcp"),
        ("tcp", [], ""),
    ],
)
def test_theRightSpellingIsSuggested(word: str, known: list[str], expected: str) -> None:
    """The nearest word, else all there are, whatever the case and the hyphens."""
    assert didYouMean(word, iter(known)) == expected
