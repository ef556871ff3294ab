"""
The convention: from a page of the documentation to its steps.

It is described for writers in docs/discussion/contributing.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from attrs import frozen

_FENCE: Final = re.compile(r"^( *)(`{3,}|~{3,}|:{3,})\s*(\{[\w-]+\})?\s*([\w+-]*)(.*)$")
_FILE_NAME: Final = re.compile(r"`([\w./-]*[./][\w./-]+)`:$")
_MARK: Final = re.compile(r"^\s*(?:<!--|%)\s*snippet:\s*(.*?)\s*(?:-->)?\s*$")
_SERVER: Final = re.compile(r"^(?:\S*/)?twistd\s(?:.*\s)?(?:-\w*n\w*|--nodaemon)(?:\s|$)")
_HELP: Final = re.compile(r"\s--(?:help|version)\b")
_SHELL_LANGUAGES: Final = frozenset({"sh", "bash", "shell"})
_CHECKED_LANGUAGES: Final = frozenset({"json", "pycon", "python", "toml"})


class SnippetError(AssertionError):
    """A page is wrong: it is malformed, or what it says does not happen."""


@frozen
class WriteFile:
    """Save a file, by its name relative to the reader's directory."""

    line: int
    name: str
    text: str


@frozen
class RunCommand:
    """
    Type a command.

    @ivar output: What it has to print, as a pattern; C{None} for anything.
    @ivar status: What it has to exit with.
    @ivar inCheckout: It is typed in the project's directory.
    """

    line: int
    command: str
    output: str | None = None
    status: int = 0
    inCheckout: bool = False


@frozen
class StartServer:
    """
    Type a command that goes on running.

    @ivar output: What it has to print before the page goes on.
    @ivar inCheckout: It is typed in the project's directory.
    """

    line: int
    command: str
    output: str | None = None
    inCheckout: bool = False


@frozen
class Interrupt:
    """
    Type Ctrl-C to the server that was started last.

    @ivar output: What it has to print from then on.
    """

    line: int
    output: str | None = None


@frozen
class CheckText:
    """Check that a text is well formed, or that an interpreter's session is true."""

    line: int
    language: str
    text: str


Step = WriteFile | RunCommand | StartServer | Interrupt | CheckText


@frozen
class _Block:
    line: int
    language: str
    options: dict[str, str]
    text: str
    before: str
    mark: str


def readPage(text: str) -> list[Step]:
    """
    Find the steps of a page.

    Args:
        text: The page, in Markdown.

    Raises:
        SnippetError: A block does not keep to the convention.
    """
    return [step for block in _blocksOf(text) for step in _stepsOf(block)]


def _blocksOf(text: str) -> Iterator[_Block]:
    lines = text.splitlines()
    before = mark = ""
    number = 0
    ends = set()
    while number < len(lines):
        if number in ends:
            number += 1
            continue
        fence = _FENCE.match(lines[number])
        if fence is None:
            if found := _MARK.match(lines[number]):
                mark = found[1]
            elif lines[number].strip():
                before, mark = lines[number].strip(), ""
            number += 1
            continue
        start = number + 1
        indent, ticks, directive, language, _ = fence.groups()
        end = _endOf(lines, start, ticks)
        if ticks[0] == ":" or directive not in (None, "{code-block}"):
            # A directive holds prose, and prose may hold blocks.
            ends.add(end)
            number = start
            before = mark = ""
            continue
        content = [line.removeprefix(indent) for line in lines[start:end]]
        options = {}
        while directive and content and (option := re.match(r":(\w+): *(.*)", content[0])):
            options[option[1]] = option[2]
            content.pop(0)
        if directive and content and not content[0]:
            content.pop(0)
        yield _Block(start, language, options, "\n".join([*content, ""]), before, mark)
        before = mark = ""
        number = end + 1


def _endOf(lines: list[str], start: int, ticks: str) -> int:
    for number in range(start, len(lines)):
        line = lines[number].strip()
        if len(line) >= len(ticks) and set(line) == {ticks[0]}:
            return number
    raise SnippetError(f"line {start}: the block does not end")


def _stepsOf(block: _Block) -> Iterator[Step]:
    if block.mark.startswith("not run"):
        if not block.mark.removeprefix("not run").strip(" :"):
            raise SnippetError(f"line {block.line}: say why it is not run")
        return
    named = _FILE_NAME.search(block.before)
    name = block.options.get("caption") or (named[1] if named else None)
    if block.language == "console":
        yield from _consoleSteps(block)
        return
    if block.mark:
        raise SnippetError(f"line {block.line}: {block.mark!r} is for console blocks")
    if name is not None:
        yield WriteFile(block.line, name, block.text)
    elif block.language in _SHELL_LANGUAGES:
        raise SnippetError(f"line {block.line}: write commands in a console block")
    if block.language in _CHECKED_LANGUAGES:
        yield CheckText(block.line, block.language, block.text)


def _consoleSteps(block: _Block) -> Iterator[Step]:
    status, isServer, inCheckout = 0, False, False
    for mark in filter(None, map(str.strip, block.mark.split(","))):
        if found := re.fullmatch(r"exits (\d+)", mark):
            status = int(found[1])
        elif mark == "server":
            isServer = True
        elif mark == "in the checkout":
            inCheckout = True
        else:
            raise SnippetError(f"line {block.line}: there is no mark {mark!r}")
    typed = _typedLines(block)
    for index, (line, command, output) in enumerate(typed):
        isLast = index == len(typed) - 1
        if command == "^C":
            yield Interrupt(line, output)
        elif isLast and status:
            # A server that is to end with an error is a command like others.
            yield RunCommand(line, command, output, status, inCheckout)
        elif (_SERVER.match(command) and not _HELP.search(command)) or (isServer and isLast):
            yield StartServer(line, command, output, inCheckout)
        else:
            yield RunCommand(line, command, output, inCheckout=inCheckout)


def _typedLines(block: _Block) -> list[tuple[int, str, str | None]]:
    typed: list[tuple[int, list[str], list[str]]] = []
    for number, line in enumerate(block.text.splitlines(), block.line + 1):
        if line.startswith("$ ") or line == "^C":
            typed.append((number, [line.removeprefix("$ ")], []))
        elif not typed:
            raise SnippetError(f'line {number}: a console block starts with "$ "')
        elif line.startswith("> ") and not typed[-1][2]:
            typed[-1][1].append(line.removeprefix("> "))
        else:
            typed[-1][2].append(line)
    return [
        (number, "\n".join(command), "\n".join(output) if output else None)
        for number, command, output in typed
    ]
