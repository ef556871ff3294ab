"""How what is wrong is said to an operator and to a program."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from myserv.errors import (
    MAXIMUM_LINE,
    Blaming,
    ConfigurationError,
    EndpointError,
    FileError,
    KeyPath,
    ListenError,
    MyservError,
    PluginError,
    Problem,
    describeException,
    didYouMean,
    formatKeyPath,
    printable,
    shorten,
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


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a b é ✓ \\", "a b é ✓ \\"),
        ("a\nb\tc\r\b\f", r"a\nb\tc\r\b\f"),
        ("\x1b[31m\0\x7f", r"\u001b[31m\u0000\u007f"),
        ("\x85\u2028\u202e\xa0", r"\u0085\u2028\u202e\u00a0"),
        ("b\udcff\U000e0001", r"b\udcff\U000e0001"),
    ],
)
def test_whatDoesNotPrintIsEscaped(text: str, line: str) -> None:
    """A line stays one, and changes no colour, wherever it comes from."""
    assert printable(text) == line
    assert str(Problem(text, where=text)) == f"{line}: {line}"
    assert str(ConfigurationError([Problem(text), Problem("x")])) == f"{line}\nx"
    assert Problem(text).message == text


def test_aKeyThatDoesNotPrint() -> None:
    """Is written as TOML would read it."""
    assert str(Problem("x", ("a\x85b", "c\x1b"))) == r'"a\u0085b"."c\u001b": x'


@pytest.mark.parametrize("quote", ["'", '"'])
def test_whatIsQuotedIsCut(quote: str) -> None:
    """In its middle; the rest of the line is left as it is."""
    text = f"isn't {{}} {quote}b{quote}: the authors' word, isn't {{}} it"
    long = f"{quote}{'a' * 10_000}{quote}"
    cut = f"{quote}{'a' * 98}…{'a' * 98}{quote}"
    assert str(Problem(text.format(long, long))) == text.format(cut, cut)
    whole = f"{quote}{'a' * 198}{quote}"
    assert str(Problem(text.format(whole, whole))) == text.format(whole, whole)


def test_theWholeIsCut() -> None:
    """Whatever it is made of: nobody reads fifty megabytes."""
    line = str(Problem("x" * 50_000_000, ("k" * 50_000_000,), "f:1:2"))
    assert line.startswith(f'f:1:2: "{"k" * 98}')
    assert line.endswith("xxx")
    assert len(line) <= MAXIMUM_LINE


def test_shorten() -> None:
    """What is short enough is left alone."""
    assert shorten("abcdefgh", 8) == "abcdefgh"
    assert shorten("abcdefghi", 8) == "abc…ghi"


class Speechless(BaseException):
    """No exception of anybody's, without words."""

    def __str__(self) -> str:
        raise GeneratorExit


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError(" two\n lines "), "ValueError: two lines"),
        (KeyError(), "KeyError"),
        (SystemExit(3), "SystemExit: 3"),
        (Speechless(), "Speechless"),
    ],
)
def test_othersAreBlamed(error: BaseException, line: str) -> None:
    """Whatever their code raises, it is told of, and where it was raised is not lost."""
    with (
        pytest.raises(PluginError) as caught,
        Blaming(lambda raised: PluginError(describeException(raised))),
    ):
        raise error
    assert str(caught.value) == line
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ConfigurationError("in words")])
def test_nobodyIsBlamed(error: BaseException) -> None:
    """For what the operator does, or what is in words already."""
    with (
        pytest.raises(type(error)) as caught,
        Blaming(lambda raised: PluginError("never")),
    ):
        raise error
    assert caught.value is error


def test_aFileError() -> None:
    """Names the file, the key and the reason."""
    error = FileError("quotes.txt", "is a FIFO", ("file",))
    assert str(error) == "file: quotes.txt: is a FIFO"
    assert error.reason == "is a FIFO"
