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
from collections.abc import Iterable
from typing import Final

from attrs import evolve, frozen

_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")

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
            # JSON's quotes and escapes are TOML's, and keep it all in one line.
            bare = _BARE_KEY.fullmatch(part)
            text += ("." if text else "") + (part if bare else json.dumps(part, ensure_ascii=False))
    return text


@frozen
class Problem:
    """
    One thing that an operator has to change.

    @ivar message: What is wrong and what would be right, in one line.
    @ivar key: The key that holds the wrong value; empty when there is none.
    @ivar where: The place to look: C{"myserv.toml:4:10"}, C{"--listen"}, or
        empty.
    """

    message: str
    key: KeyPath = ()
    where: str = ""

    def __str__(self) -> str:
        return ": ".join(
            part for part in (self.where, formatKeyPath(self.key), self.message) if part
        )

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
