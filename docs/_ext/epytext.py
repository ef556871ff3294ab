"""
Reads the docstrings' markup, which is pydoctor's: C{code}, L{link}, @ivar.

The sections (Args, Returns, Raises, Resources) are left to napoleon.
"""

from __future__ import annotations

import inspect
import re
from typing import Any, Final

_SPAN: Final = re.compile(r"\b([LCIB])\{((?:[^{}]|\{[^{}]*\})*)\}(\w?)")
_FIELD: Final = re.compile(r"^@(ivar|cvar|param|type|return|raise)\b", re.MULTILINE)
_IVAR: Final = re.compile(r"^@ivar (\w+):\s*(.*?)(?=^@|^\S|\Z)", re.MULTILINE | re.DOTALL)


def toRst(docstring: str) -> str:
    """
    Rewrite a docstring's markup as reStructuredText.
    """

    def span(match: re.Match[str]) -> str:
        kind, text, following = match.groups()
        text = " ".join(text.split())
        quotes = {"I": "*", "B": "**"}.get(kind, "``")
        # Inline markup may not touch a word.
        return f"{quotes}{text}{quotes}" + (f"\\ {following}" if following else "")

    return _FIELD.sub(r":\1", _SPAN.sub(span, docstring))


def toMarkdown(docstring: str) -> str:
    """
    Rewrite the prose of a docstring as Markdown.
    """

    def span(match: re.Match[str]) -> str:
        kind, text, following = match.groups()
        quotes = {"I": "*", "B": "**"}.get(kind, "`")
        return f"{quotes}{' '.join(text.split())}{quotes}{following}"

    return _SPAN.sub(span, docstring)


def takeApart(documented: Any) -> tuple[str, dict[str, str]]:
    """
    Take the docstring of a class apart.

    Returns:
        Its prose, and its C{@ivar} descriptions by name, both as Markdown.
    """
    text = inspect.cleandoc(documented.__doc__ or "")
    fields = {name: " ".join(words.split()) for name, words in _IVAR.findall(text)}
    prose = text.split("\n@", 1)[0].strip()
    return toMarkdown(prose), {name: toMarkdown(words) for name, words in fields.items()}


def _process(
    app: Any, what: str, name: str, documented: Any, options: Any, lines: list[str]
) -> None:
    lines[:] = toRst("\n".join(lines)).split("\n")


def setup(app: Any) -> dict[str, bool]:
    """Come before napoleon, whose priority is 500."""
    app.connect("autodoc-process-docstring", _process, priority=400)
    return {"parallel_read_safe": True}
