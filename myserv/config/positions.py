"""
Where every key and value of a TOML text stands.

C{tomllib} decides what is TOML and what it means, and tells no places.  This
scans only text that it has accepted, so nothing here looks for mistakes.
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_right
from typing import Final

from myserv.errors import KeyPath

Position = tuple[int, int]
"""Line and column, both from 1, the column in characters."""

_BLANK: Final = re.compile(r"(?:[ \t\n]++|\#[^\n]*+)*+")
_STRING: Final = r"""
    "{3} (?: [^"\\]++ | \\. | "(?!"") )*+ "{3,5}
  | '{3} (?: [^']++ | '(?!'') )*+ '{3,5}
  | " (?: [^"\\]++ | \\. )*+ "
  | ' [^']*+ '
"""
_KEY_PART: Final = re.compile(rf"{_STRING} | [A-Za-z0-9_-]++", re.VERBOSE | re.DOTALL)
# A date may hold a space, so any other value runs up to what must end it.
_SCALAR: Final = re.compile(rf"{_STRING} | [^,\]}}\#\n]++", re.VERBOSE | re.DOTALL)


def endOf(text: str) -> Position:
    """
    Tell where the character after a text would stand.
    """
    return text.count("\n") + 1, len(text) - text.rfind("\n")


def scanPositions(text: str) -> dict[KeyPath, Position]:
    """
    Find where each key and each element of an array stands.

    Args:
        text: What C{tomllib.loads} accepts, its lines ended by LF or CRLF.

    Returns:
        By path: for a table its own header where it has one, else the place
        that first mentions it; for a key the key, for an element its start.
    """
    # As tomllib does it; a CR before LF is in no line's way.
    scanner = _Scanner(text.replace("\r\n", "\n"))
    scanner.scan()
    return scanner.positions


class _Scanner:
    """
    One pass over one text.

    @ivar positions: What was found so far.
    """

    def __init__(self, text: str) -> None:
        self.positions: dict[KeyPath, Position] = {}
        self._text = text
        self._at = 0
        self._lineStarts = [0, *(match.end() for match in re.finditer("\n", text))]
        # How many [[tables]] each array of tables has so far.
        self._lengths: dict[KeyPath, int] = {}

    def scan(self) -> None:
        """
        Scan the whole text, statement by statement.
        """
        table: KeyPath = ()
        self._skip()
        while self._at < len(self._text):
            if self._sees("["):
                table = self._header()
            else:
                self._pair(table)
            self._skip()

    def _header(self) -> KeyPath:
        many = self._text.startswith("[[", self._at)
        self._skip(2 if many else 1)
        path, place = self._key(())
        self._at += 2 if many else 1
        if not many:
            self.positions[path] = place
            return path
        self.positions.setdefault(path, place)
        index = self._lengths.get(path, 0)
        self._lengths[path] = index + 1
        self.positions[*path, index] = place
        return (*path, index)

    def _pair(self, table: KeyPath) -> None:
        path, place = self._key(table)
        self.positions[path] = place
        self._skip(1)
        self._value(path)

    def _key(self, table: KeyPath) -> tuple[KeyPath, Position]:
        # Records what encloses the key; its own place is the caller's to record.
        path = table
        while True:
            place = self._here()
            path = (*path, _readKeyPart(self._take(_KEY_PART)))
            self._skip()
            if not self._sees("."):
                return path, place
            self._skip(1)
            self.positions.setdefault(path, place)
            if path in self._lengths:
                # A path through an array of tables means its latest table.
                path = (*path, self._lengths[path] - 1)

    def _value(self, path: KeyPath) -> None:
        # This recurses, with fewer frames a level than tomllib: what tomllib
        # could nest, this can.
        if self._sees("["):
            self._skip(1)
            index = 0
            while not self._sees("]"):
                self.positions[*path, index] = self._here()
                self._value((*path, index))
                self._skipComma()
                index += 1
            self._at += 1
        elif self._sees("{"):
            self._skip(1)
            while not self._sees("}"):
                self._pair(path)
                self._skipComma()
            self._at += 1
        else:
            self._take(_SCALAR)

    def _here(self) -> Position:
        line = bisect_right(self._lineStarts, self._at)
        return line, self._at - self._lineStarts[line - 1] + 1

    def _sees(self, character: str) -> bool:
        return self._text.startswith(character, self._at)

    def _skip(self, characters: int = 0) -> None:
        self._at += characters
        self._take(_BLANK)

    def _skipComma(self) -> None:
        self._skip()
        if self._sees(","):
            self._skip(1)

    def _take(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._text, self._at)
        assert match is not None, "the text is not TOML"
        self._at = match.end()
        return match[0]


def _readKeyPart(text: str) -> str:
    if text.startswith("'"):
        return text[1:-1]
    if text.startswith('"'):
        # Escapes mean what tomllib says they mean.
        key: str = tomllib.loads(f"key = {text}")["key"]
        return key
    return text
