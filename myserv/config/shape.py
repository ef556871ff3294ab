"""
How deep a TOML text is, before anybody pays for it.

For a key of n parts C{tomllib} makes n paths of up to n parts, and for a list in
a list it calls itself; a text of 40 kB can have it take 2 GB.
"""

from __future__ import annotations

import re
from typing import Final

from attrs import frozen

from myserv.config.positions import Position, endOf

MAXIMUM_KEY_PARTS: Final = 16
"""Parts of one dotted key: the deepest that means something has four."""

MAXIMUM_NESTING: Final = 16
"""Lists and tables in one another: the deepest that means something is two."""

# A string that is not closed ends the text, or its line: tomllib will say so.
_TOKEN: Final = re.compile(
    r"""
    (?P<passed> [ \t]++
      | "{3} (?: [^"\\]++ | \\.? | "(?!"") )*+ (?: "{3,5} | \Z )
      | '{3} (?: [^']++ | '(?!'') )*+ (?: '{3,5} | \Z )
      | " (?: [^"\\\n]++ | \\.? )*+ "?
      | ' [^'\n]*+ '?
      | [A-Za-z0-9_-]++
    )
  | (?P<dot> \. )
  | (?P<opening> [\[{] )
  | (?P<closing> [\]}] )
  | \#[^\n]*+
  | .
    """,
    re.VERBOSE | re.DOTALL,
)


@frozen
class TooDeep:
    """
    Where a text gets too deep.

    @ivar what: What it has too many of, for the operator.
    @ivar position: Where the first too many stands.
    """

    what: str
    position: Position


def findTooDeep(text: str) -> TooDeep | None:
    """
    Find the first key of too many parts or list of too many lists.

    Args:
        text: Any text, TOML or not; it is passed over once.
    """
    dots = depth = 0
    for token in _TOKEN.finditer(text):
        kind = token.lastgroup
        if kind == "passed":
            continue
        dots = dots + 1 if kind == "dot" else 0
        depth = max(0, depth + (kind == "opening") - (kind == "closing"))
        if dots >= MAXIMUM_KEY_PARTS:
            what = f"a key may have {MAXIMUM_KEY_PARTS} parts at most"
            return TooDeep(what, endOf(text[: token.start()]))
        if depth > MAXIMUM_NESTING:
            what = f"lists and tables may be nested {MAXIMUM_NESTING} deep at most"
            return TooDeep(what, endOf(text[: token.start()]))
    return None
