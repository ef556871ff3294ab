"""
What can go wrong before a server serves, and how it is said.

Two people read these: an operator, as one line per problem, and a program, as
one exception that carries every problem found.  What a *peer* gets wrong is
never an exception here; it is an event (see L{myserv.events}).
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Final

from attrs import evolve, frozen

_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")

MAXIMUM_QUOTED: Final = 200
"""Characters of one thing that a problem quotes: enough to know it again."""

MAXIMUM_LINE: Final = 2000
"""Characters of a problem: some 20 lines of a terminal, which nobody wants to see twice."""

# What opens within a word is an apostrophe.
_QUOTED: Final = re.compile(r"""(?<!\w)(?:"[^"]*+"|'[^']*+')""")

_ESCAPES: Final = {"\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r"}

KeyPath = tuple[str | int, ...]
"""Where a value stands in a document: C{("services", "echo", "listen", 0)}."""


def formatKeyPath(path: KeyPath) -> str:
    """
    Write a key path as an operator would: C{services.echo.listen[0]}.

    Parts that TOML would have to quote are quoted.
    """
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            # JSON's quotes and escapes are TOML's.
            key = shorten(part)
            bare = _BARE_KEY.fullmatch(key)
            text += ("." if text else "") + (key if bare else json.dumps(key, ensure_ascii=False))
    return text


def shorten(text: str, most: int = MAXIMUM_QUOTED) -> str:
    """
    Cut what is too long in its middle: beginning and end tell most.

    Args:
        text: Any text.
        most: Characters that may be left.
    """
    if len(text) <= most:
        return text
    half = (most - 1) // 2
    return f"{text[:half]}…{text[-half:]}"


def printable(text: str) -> str:
    """
    Make one line of text that moves no cursor and changes no colour.

    What does not print is written as TOML's escapes.
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else _escape(each) for each in text)


def _escape(character: str) -> str:
    code = ord(character)
    return _ESCAPES.get(character) or (f"\\u{code:04x}" if code < 2**16 else f"\\U{code:08x}")


@frozen
class Problem:
    """
    One thing that an operator has to change.

    As text it is one line that prints, whatever it quotes; its parts are as
    they were found.

    @ivar message: What is wrong and what would be right, in one line.
    @ivar key: The key that holds the wrong value; empty when there is none.
    @ivar where: The place to look: C{"myserv.toml:4:10"}, C{"--listen"}, or
        empty.
    """

    message: str
    key: KeyPath = ()
    where: str = ""

    def __str__(self) -> str:
        text = ": ".join(
            part for part in (self.where, formatKeyPath(self.key), self.message) if part
        )
        quoting = _QUOTED.sub(lambda match: shorten(match[0], MAXIMUM_QUOTED), text)
        return printable(shorten(quoting, MAXIMUM_LINE))

    def under(self, prefix: KeyPath) -> Problem:
        """
        The same problem seen from an enclosing table.
        """
        return evolve(self, key=prefix + self.key)


class MyservError(Exception):
    """Everything that myserv raises on purpose."""


class ConfigurationError(MyservError):
    """
    What was asked for cannot be served.

    @ivar problems: Every problem found, in the order of the document; never
        empty.
    """

    def __init__(self, problems: Iterable[Problem] | Problem | str) -> None:
        if isinstance(problems, str):
            problems = (Problem(problems),)
        elif isinstance(problems, Problem):
            problems = (problems,)
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class EndpointError(ConfigurationError, ValueError):
    """
    An endpoint string that does not say where to listen.

    It is a C{ValueError} too, because that is what Twisted's
    C{serverFromString} promises for one.
    """


class PluginError(ConfigurationError):
    """A protocol plugin that is missing, broken, or there twice."""


class ListenError(ConfigurationError):
    """An endpoint that is well formed but could not be opened."""


class FileError(ConfigurationError):
    """
    A file that an operator named cannot be used.

    @ivar reason: Why, without the file's name.
    """

    def __init__(self, file: str, reason: str, key: KeyPath = ()) -> None:
        """
        Args:
            file: The file, as the operator wrote it.
            reason: Why.
            key: The key that names it.
        """
        super().__init__(Problem(f"{file}: {reason}", key))
        self.reason = reason


class Blaming:
    """
    Around a call of somebody else's code: whatever that raises becomes an
    error that says so.

    What goes through is the operator's C{KeyboardInterrupt}, and errors of this
    module, which have their words already.
    """

    def __init__(self, blame: Callable[[BaseException], MyservError]) -> None:
        """
        Args:
            blame: Makes the error of what was raised, which may be anything:
                C{sys.exit()} raises what is no C{Exception}.
        """
        self._blame = blame

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        if error is not None and not isinstance(error, (KeyboardInterrupt, MyservError)):
            raise self._blame(error) from error


def describeException(error: BaseException) -> str:
    """
    Write what was raised in one line: C{"ValueError: no"}.
    """
    text = textOf(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def textOf(error: BaseException) -> str:
    """
    Read an exception's text; nothing when even that raises.
    """
    try:
        with Blaming(lambda raised: MyservError()):
            return " ".join(str(error).split())
    except MyservError:
        return ""


def didYouMean(word: str, known: Iterable[str]) -> str:
    """
    Suggest the right spelling of a word.

    Args:
        word: What was written.
        known: The spellings that would have been right.

    Returns:
        C{'; did you mean "tcp"?'}, or the list of what there is when nothing is
        near, or nothing when nothing is known.
    """
    names = sorted(set(known))
    folded = {_fold(name): name for name in names}
    near = difflib.get_close_matches(_fold(word), folded, n=1, cutoff=0.6)
    if near:
        return f'; did you mean "{folded[near[0]]}"?'
    if names:
        return "; there is " + ", ".join(names)
    return ""


def _fold(word: str) -> str:
    # max-line, max_line and maxLine are one word to whoever mistypes it.
    return word.replace("-", "").replace("_", "").lower()
