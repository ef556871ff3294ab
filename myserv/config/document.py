"""
A TOML document that knows where each of its keys stands.

Whatever is wrong with a file, from its absence to one wrong value, reaches the
operator as a problem that starts with C{file:line:column}.
"""

from __future__ import annotations

import codecs
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from attrs import evolve, frozen

from myserv.config.positions import Position, endOf, scanPositions
from myserv.config.shape import findTooDeep
from myserv.errors import ConfigurationError, FileError, KeyPath, Problem
from myserv.options.files import readFile

MAXIMUM_DOCUMENT_BYTES: Final = 2**20
"""1 MiB, some 20,000 services: what is larger is not a configuration file."""

BEGINNING: Final[Position] = (1, 1)
"""Where what is missing altogether is missed."""

_TOML_ERROR: Final = re.compile(
    r"(?P<what>.*) \(at (?:line (?P<line>\d+), column (?P<column>\d+)|end of document)\)",
    re.DOTALL,
)
_PLAINLY: Final = {
    "Illegal character '\\n'": "the quotes are not closed on this line",
    "Found invalid character '\\n'": "the quotes are not closed on this line",
    "Unterminated string": "the quotes are not closed",
    "Expected \"'": "the quotes are not closed",
    "Unclosed array": "a list needs a comma or ] here",
    "Unclosed inline table": "a table needs a comma or } here",
    "Invalid statement": "a key or a [table] must stand here",
    "Invalid value": "a value must stand here; text needs quotes",
    "Invalid initial character for a key part": "a key must stand here",
    "Expected '=' after a key in a key/value pair": "a key needs = and a value",
    "Expected newline or end of document after a statement": "the line must end here",
    "Cannot overwrite a value": "this was given a value before",
    "Duplicate inline table key": "this was given a value before",
    "Cannot declare": "this table was begun before",
    "Cannot redefine namespace": "this table was begun before",
    "Cannot mutate immutable namespace": "what was written in one piece cannot be added to",
}
"""C{tomllib}'s words for an implementer, by how they begin, and an operator's."""


@frozen
class Document:
    """
    A TOML document that knows where each of its keys stands.

    @ivar path: The file, as the operator wrote it.
    @ivar values: What C{tomllib} made of it.
    @ivar positions: See L{scanPositions}.
    """

    path: str
    values: Mapping[str, Any]
    positions: Mapping[KeyPath, Position]

    def position(self, key: KeyPath) -> Position:
        """
        Find a key, or the nearest enclosing one that stands in the text.

        Returns:
            Line and column; the L{BEGINNING} when none does.
        """
        for length in range(len(key), 0, -1):
            if key[:length] in self.positions:
                return self.positions[key[:length]]
        return BEGINNING

    def locate(self, key: KeyPath) -> str:
        """
        Write the place of a key, or of the nearest enclosing one that stands
        in the text: a key that is missing is missed at its table's header.

        Returns:
            C{"myserv.toml:4:10"}.
        """
        return _place(self.path, self.position(key))

    def report(self, problems: Iterable[Problem]) -> ConfigurationError:
        """
        Put its place in front of each problem.

        Args:
            problems: At least one, with keys of this document.  One that has
                its C{where} already keeps it.

        Returns:
            The error to raise, its problems in the order of the file.
        """
        ordered = sorted(problems, key=lambda problem: self.position(problem.key))
        return ConfigurationError(
            problem if problem.where else evolve(problem, where=self.locate(problem.key))
            for problem in ordered
        )


def readDocument(path: str | Path) -> Document:
    """
    Read a TOML file.

    Args:
        path: Where it is.

    Raises:
        ConfigurationError: With one problem: it is not a regular file that can
            be read, is larger than L{MAXIMUM_DOCUMENT_BYTES}, or is as
            L{parseDocument} says.
    """
    try:
        content = readFile(path, maximum=MAXIMUM_DOCUMENT_BYTES)
    except FileError as error:
        where = str(path) or '""'
        raise ConfigurationError(Problem(error.reason, where=where)) from None
    return parseDocument(str(path), content)


def parseDocument(path: str, content: bytes) -> Document:
    """
    Make a document of a file's bytes.

    Args:
        path: The file, as the operator wrote it.
        content: Its bytes, at most L{MAXIMUM_DOCUMENT_BYTES}; a byte order mark, which some editors leave at the
            start, is no part of the text.

    Raises:
        ConfigurationError: With one problem: it is not UTF-8, not TOML, or
            TOML that is too deep to read.
    """
    content = content.removeprefix(codecs.BOM_UTF8)
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8")
        message = f"is not UTF-8: the byte 0x{content[error.start]:02x} cannot stand here"
        raise ConfigurationError(Problem(message, where=_place(path, endOf(before)))) from None
    if (deep := findTooDeep(text)) is not None:
        raise ConfigurationError(Problem(deep.what, where=_place(path, deep.position)))
    try:
        values = tomllib.loads(text)
    except ValueError as error:
        raise ConfigurationError(_syntaxProblem(path, text, str(error))) from None
    return Document(path, values, scanPositions(text))


def _syntaxProblem(path: str, text: str, error: str) -> Problem:
    match = _TOML_ERROR.fullmatch(error)
    if match is None:
        # int() refuses a number of thousands of digits, and tells no place.
        return Problem("is not TOML that can be read: a number has too many digits", where=path)
    what = match["what"]
    for start, plainly in _PLAINLY.items():
        if what.startswith(start):
            what = plainly
            break
    position = (int(match["line"]), int(match["column"])) if match["line"] else endOf(text)
    return Problem(f"is not TOML: {what[0].lower()}{what[1:]}", where=_place(path, position))


def _place(path: str, position: Position) -> str:
    line, column = position
    return f"{path}:{line}:{column}"
