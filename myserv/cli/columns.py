"""
Options as people read them on a terminal: a name, and beside it what it does.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from typing import Final

from myserv.errors import printable
from myserv.options.declare import OptionSpec

WIDTH: Final = 80
"""Columns of a terminal."""


def twoColumns(rows: Iterable[tuple[str, str]]) -> list[str]:
    """
    Set names beside texts, which are wrapped.

    Args:
        rows: A name and its text each.

    Returns:
        The lines.
    """
    rows = tuple(rows)
    column = max((len(name) for name, _ in rows), default=0) + 6
    lines = []
    for name, text in rows:
        first, *more = textwrap.wrap(text, WIDTH - column) or [""]
        lines.append(f"    {name:<{column - 4}}{first}".rstrip())
        lines += [" " * column + line for line in more]
    return lines


def describeOption(spec: OptionSpec, *others: str) -> str:
    """
    Say what an option does, of what type it is, and what it is by default.

    Args:
        spec: The option.
        others: What else is to be said of it, a few words each.
    """
    bounds = {"at least": spec.minimum, "at most": spec.maximum}
    parts = [f"list of {spec.type.name}" if spec.type.many else spec.type.name]
    parts += [
        f"{word} {spec.type.element(bound)}" for word, bound in bounds.items() if bound is not None
    ]
    if spec.required:
        parts.append("required")
    elif spec.defaultText:
        parts.append(f"default {spec.defaultText}")
    return printable(f"{spec.help} ({', '.join((*parts, *others))})")
