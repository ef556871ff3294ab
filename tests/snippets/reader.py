"""
Takes the steps of a page, as its reader would.
"""

from __future__ import annotations

import contextlib
import difflib
import json
import os
import re
import signal
import subprocess
import sysconfig
import time
import tomllib
from pathlib import Path
from typing import Final

from tests.snippets.page import (
    CheckText,
    Interrupt,
    RunCommand,
    SnippetError,
    StartServer,
    Step,
    WriteFile,
    readPage,
)
from tests.snippets.sockets import listeningSockets

COMMAND_TIMEOUT: Final = 30.0
"""Seconds that a command may take; a reader would give up too."""

START_TIMEOUT: Final = 15.0
"""Seconds until a server listens and has printed what the page shows."""

STOP_TIMEOUT: Final = 15.0
"""Seconds that a server may take to stop when asked."""

SETTLE_TIME: Final = 0.2
"""Seconds without a new socket: a server with several endpoints has them all."""

POLL_INTERVAL: Final = 0.02
"""Seconds between two looks at a server that starts."""

_COLOUR: Final = re.compile(r"\x1b\[[0-9;]*m")


def followPage(text: str, directory: Path, checkout: Path) -> int:
    """
    Do what a page says, from top to bottom.

    Args:
        text: The page, in Markdown.
        directory: The reader's: where files are written and commands run.
        checkout: Where the project is.

    Returns:
        The number of steps taken.

    Raises:
        SnippetError: Something went otherwise than the page says; the text
            names the line and shows both.

    Resources:
        Every server that was started is stopped on return, also by an error.
    """
    steps = readPage(text)
    reader = _Reader(directory, checkout)
    try:
        for step in steps:
            reader.take(step)
        reader.leave()
    finally:
        reader.kill()
    return len(steps)


class _Reader:
    def __init__(self, directory: Path, checkout: Path) -> None:
        self._directory = directory
        self._checkout = checkout
        # Not in the reader's directory: a page may list what is in that.
        self._state = directory.with_name(directory.name + ".state")
        self._state.mkdir()
        self._logs = 0
        self._servers: list[tuple[Step, _Server]] = []

    def take(self, step: Step) -> None:
        try:
            match step:
                case WriteFile():
                    self._write(step)
                case RunCommand():
                    self._run(step)
                case StartServer():
                    process, log = self._spawn(f"exec {step.command}", step.inCheckout)
                    server = _Server(process, log)
                    self._servers.append((step, server))
                    server.waitUntilReady(step.output)
                case Interrupt():
                    if not self._servers:
                        raise SnippetError("no server is running")
                    _, server = self._servers.pop()
                    server.stop(signal.SIGINT, step.output)
                case CheckText():
                    self._check(step)
        except SnippetError as error:
            command = f"$ {step.command}\n" if isinstance(step, (RunCommand, StartServer)) else ""
            raise SnippetError(f"line {step.line}: {command}{error}") from None

    def leave(self) -> None:
        while self._servers:
            step, server = self._servers.pop()
            try:
                server.stop(signal.SIGTERM)
            except SnippetError as error:
                raise SnippetError(f"line {step.line}: at the end of the page: {error}") from None

    def kill(self) -> None:
        for _, server in self._servers:
            server.kill()

    def _write(self, step: WriteFile) -> None:
        file = (self._directory / step.name).resolve()
        if not file.is_relative_to(self._directory.resolve()):
            raise SnippetError(f"{step.name} is outside the reader's directory")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(step.text)

    def _run(self, step: RunCommand) -> None:
        # What cd and export did is handed on to the next command's shell.
        remember = f'trap \'{{ export -p; printf "cd %q\\n" "$PWD"; }} >{self._shellState}\' EXIT'
        command = step.command if step.inCheckout else f"{remember}\n{step.command}"
        process, log = self._spawn(command, step.inCheckout)
        try:
            status = process.wait(COMMAND_TIMEOUT)
        except subprocess.TimeoutExpired:
            raise SnippetError(
                f"takes longer than {COMMAND_TIMEOUT:g} s; it printed:\n{_printed(log)}"
            ) from None
        finally:
            _killGroup(process)
        printed = _printed(log)
        if status != step.status:
            raise SnippetError(f"exits with {status}, not {step.status}; it printed:\n{printed}")
        if step.output is not None and not matches(step.output, printed):
            raise SnippetError(_difference(step.output, printed))

    def _check(self, step: CheckText) -> None:
        try:
            match step.language:
                case "json":
                    json.loads(step.text)
                case "python":
                    compile(step.text, "snippet", "exec")
                case "toml":
                    tomllib.loads(step.text)
                case "pycon":
                    session = self._state / f"session.{step.line}.txt"
                    session.write_text(step.text)
                    self._run(RunCommand(step.line, f"python -m doctest -o ELLIPSIS {session}"))
        except (ValueError, SyntaxError) as error:
            raise SnippetError(f"it is not {step.language}: {error}") from None

    @property
    def _shellState(self) -> Path:
        return self._state / "shell"

    def _spawn(self, command: str, inCheckout: bool) -> tuple[subprocess.Popen[bytes], Path]:
        self._logs += 1
        log = self._state / f"{self._logs}.log"
        resume = f"if [ -e {self._shellState} ]; then . {self._shellState}; fi"
        place = f"cd {self._checkout}" if inCheckout else ""
        with log.open("wb") as output:
            process = subprocess.Popen(
                ["bash", "-c", f"{resume}\n{place}\n{command}\n"],
                cwd=self._directory,
                env=_environment(self._state),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return process, log


def _environment(home: Path) -> dict[str, str]:
    scripts = sysconfig.get_path("scripts")
    inherited = {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")}
    return inherited | {
        "COLUMNS": "80",
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "NO_COLOR": "1",
        "PATH": os.pathsep.join((scripts, os.environ.get("PATH", os.defpath))),
        "PYTHONUNBUFFERED": "1",
        "TERM": "dumb",
    }


class _Server:
    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._process = process
        self._log = log

    def waitUntilReady(self, output: str | None) -> None:
        """Wait until it listens, opens no more sockets, and has printed this."""
        deadline = time.monotonic() + START_TIMEOUT
        sockets: set[str] = set()
        settled = 0.0
        while True:
            printed = _printed(self._log)
            if self._process.poll() is not None:
                status = self._process.returncode
                raise SnippetError(f"ends with {status} at once; it printed:\n{printed}")
            now = time.monotonic()
            found = listeningSockets(self._process.pid)
            if found != sockets:
                sockets, settled = found, now
            hasPrinted = output is None or matches(output + "\n...", printed)
            if sockets and hasPrinted and now - settled >= SETTLE_TIME:
                return
            if now > deadline:
                if not sockets:
                    raise SnippetError(f"does not listen; it printed:\n{printed}")
                raise SnippetError(_difference(output or "", printed))
            time.sleep(POLL_INTERVAL)

    def stop(self, number: signal.Signals, output: str | None = None) -> None:
        """Ask it to stop, as a terminal does, and wait until it has."""
        before = len(_printed(self._log))
        if self._process.poll() is not None:
            status = self._process.returncode
            raise SnippetError(f"the server had ended, with {status}:\n{_printed(self._log)}")
        os.killpg(self._process.pid, number)
        try:
            status = self._process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            raise SnippetError(f"the server does not stop:\n{_printed(self._log)}") from None
        finally:
            self.kill()
        printed = _printed(self._log)
        if status not in (0, -number, 128 + number):
            raise SnippetError(f"the server stops with {status}; it printed:\n{printed}")
        if output is not None and not matches(output, printed[before:]):
            raise SnippetError(_difference(output, printed[before:]))

    def kill(self) -> None:
        """Have nothing left of it."""
        _killGroup(self._process)


def _killGroup(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _printed(log: Path) -> str:
    return _COLOUR.sub("", log.read_bytes().decode(errors="replace")).replace("\r", "")


def matches(expected: str, printed: str) -> bool:
    """
    Compare what a page shows with what was printed.

    Args:
        expected: C{...} on a line of its own is any number of lines, and in a
            line any text.
        printed: What was printed.  Space at the ends of lines and empty lines
            at the end do not count.
    """
    pattern = ""
    for line in _tidy(expected):
        if line.strip() == "...":
            pattern += r"(?:.*\n)*?"
        else:
            pattern += ".*?".join(map(re.escape, line.split("..."))) + r"\n"
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in _tidy(printed))) is not None


def _tidy(text: str) -> list[str]:
    return [line.rstrip() for line in text.rstrip().splitlines()]


def _difference(expected: str, printed: str) -> str:
    lines = difflib.unified_diff(
        _tidy(expected), _tidy(printed), "the page", "printed", n=99, lineterm=""
    )
    return "\n".join(["prints something else:", *lines])
