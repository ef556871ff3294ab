"""The grammar of endpoint strings: split, join and quote."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from twisted.internet.endpoints import _parse, quoteStringArgument

from myserv.endpoints.grammar import Parameter, join, quote, split
from myserv.errors import EndpointError

TEXT = st.text(alphabet=st.sampled_from("ab1:=\\.é \n")) | st.text()
"""Mostly what the grammar has to do something about."""

BRACKETS = st.text(alphabet=st.sampled_from("[]:1fF.%a=\\\n,/")) | TEXT


def endsInBackslash(text: str) -> bool:
    """Say whether the last backslash of a text escapes nothing."""
    return (len(text) - len(text.rstrip("\\"))) % 2 == 1


@pytest.mark.parametrize(
    ("text", "parameters"),
    [
        ("", [("", None)]),
        ("tcp:80", [("tcp", None), ("80", None)]),
        ("stdio:", [("stdio", None), ("", None)]),
        ("::", [("", None), ("", None), ("", None)]),
        ("tcp:80:backlog=5", [("tcp", None), ("80", None), ("5", "backlog")]),
        ("a=b", [("b", "a")]),
        ("=b", [("b", "")]),
        ("a=", [("", "a")]),
        ("a=b=c", [("b=c", "a")]),
        ("a==", [("=", "a")]),
        (r"a\=b", [("a=b", None)]),
        (r"a\:b\\", [("a:b\\", None)]),
        (r"a\b=\c", [("c", "ab")]),
        (r"unix:address=C\:/x:mode=660", [("unix", None), ("C:/x", "address"), ("660", "mode")]),
    ],
)
def test_split(text: str, parameters: list[tuple[str, str | None]]) -> None:
    """Colons separate, the first equals sign ends a key, a backslash takes the next literally."""
    assert split(text) == tuple(Parameter(*each) for each in parameters)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("tcp:[::1]:80", ["tcp", "[::1]", "80"]),
        ("tcp:80:[::]", ["tcp", "80", "[::]"]),
        ("tcp:80:interface=[2001:db8::A]:backlog=1", ["tcp", "80", "[2001:db8::A]", "1"]),
        ("tcp:[::ffff:10.0.0.1]:80", ["tcp", "[::ffff:10.0.0.1]", "80"]),
        ("tcp:[fe80::1%eth0.1-x_y]:80", ["tcp", "[fe80::1%eth0.1-x_y]", "80"]),
        ("[::1]", ["[::1]"]),
        ("proxy:from=[2001:db8::]/32:tcp", ["proxy", "[2001:db8::]/32", "tcp"]),
        ("proxy:from=10.0.0.0/8,[::]/0,[::1]:tcp", ["proxy", "10.0.0.0/8,[::]/0,[::1]", "tcp"]),
        # Not addresses, and so Twisted's to split.
        ("unix:[a:mode=600", ["unix", "[a", "600"]),
        ("unix:[x:y]", ["unix", "[x", "y]"]),
        ("unix:[g::]:1", ["unix", "[g", "", "]", "1"]),
        ("unix:a,[::1]", ["unix", "a,[", "", "1]"]),
        ("proxy:from=[::]/:tcp", ["proxy", "[", "", "]/", "tcp"]),
        ("tcp:[80]:1", ["tcp", "[80]", "1"]),
        ("tcp:[::1]x:80", ["tcp", "[", "", "1]x", "80"]),
        ("tcp:[::1]\n:80", ["tcp", "[", "", "1]\n", "80"]),
        ("tcp:[::1]\n", ["tcp", "[", "", "1]\n"]),
        # A mistyped address stays in one piece, for an error that shows it.
        ("tcp:[a:b]:80", ["tcp", "[a:b]", "80"]),
        ("tcp:x[::1]:80", ["tcp", "x[", "", "1]", "80"]),
        ("tcp:[::1%]:80", ["tcp", "[", "", "1%]", "80"]),
        (r"tcp:\[::1]", ["tcp", "[", "", "1]"]),
    ],
)
def test_brackets(text: str, values: list[str]) -> None:
    """What begins and ends as an IPv6 address in brackets is one value, nothing else is."""
    assert [each.value for each in split(text)] == values


@pytest.mark.parametrize("text", ["\\", "tcp:80\\", "a=b\\\\\\"])
def test_aBackslashThatEscapesNothing(text: str) -> None:
    """It is an error in words."""
    with pytest.raises(EndpointError) as caught:
        split(text)
    assert str(caught.value) == f"{text!r} ends in a backslash that escapes nothing"


@given(TEXT)
def test_splitsAsTwistedDoes(text: str) -> None:
    """Without brackets, a text has the parameters that Twisted finds in it."""
    assume("[" not in text and not endsInBackslash(text))
    found = split(text)
    # Twisted knows no others.
    assume(all(each.key is None or each.key.isascii() for each in found))
    positionals, keys = _parse(text)
    assert [each.value for each in found if each.key is None] == positionals
    # Of a key written twice Twisted keeps the last.
    assert {each.key: each.value for each in found if each.key is not None} == keys


@given(BRACKETS)
def test_joinWritesWhatSplitReads(text: str) -> None:
    """Any text splits, or fails in words; what it splits into can be written again."""
    try:
        parameters = split(text)
    except EndpointError:
        assert endsInBackslash(text)
        return
    assert split(join(parameters)) == parameters


@given(st.lists(st.builds(Parameter, BRACKETS, st.none() | BRACKETS), min_size=1))
def test_splitReadsWhatJoinWrites(parameters: list[Parameter]) -> None:
    """Whatever a key and a value hold, they survive being written."""
    assert split(join(tuple(parameters))) == tuple(parameters)


@given(TEXT)
def test_twistedReadsWhatIsQuoted(text: str) -> None:
    """A value or a key that is quoted here is what it was to Twisted."""
    assert quote(text) == quoteStringArgument(text)
    assert _parse(f"p:k={quote(text)}") == (["p"], {"k": text})
    assert _parse(f"p:{quote(text, positional=True)}") == (["p", text], {})
