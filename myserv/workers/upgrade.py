"""
The supervisor's next program: the same process, with the code that is installed now.

The sockets, the workers and the ways to them stay open; what they are is written to
memory that the next program finds by its descriptor.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NoReturn

VARIABLE: Final = "MYSERV_RESUME"
"""The environment variable that holds the descriptor of what is written down."""

HELD_BACK: Final = (
    signal.SIGHUP,
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGUSR1,
    signal.SIGUSR2,
)
"""Signals that would end a program that has not said yet what to do with them."""


def commandLine(
    original: Sequence[str], arguments: Sequence[str], extra: Iterable[str]
) -> list[str]:
    """
    Write the command that runs this program again.

    Args:
        original: C{sys.orig_argv}.
        arguments: C{sys.argv}.
        extra: What is to stand before the program's own arguments.

    Returns:
        The command; C{sys.executable} is its program.
    """
    own = len(arguments) - 1
    interpreter = original[1 : len(original) - own]
    return [sys.executable, *interpreter, *extra, *arguments[1:]]


def replaceProgram(
    command: Sequence[str],
    directory: str,
    state: Mapping[str, Any],
    descriptors: Iterable[int],
    environment: Mapping[str, str],
    execute: Callable[[str, list[str], dict[str, str]], NoReturn] = os.execve,
) -> None:
    """
    Run another program in this process.

    Args:
        command: The program and its arguments.
        directory: Where it is to run.
        state: What it has to know.
        descriptors: What is to stay open.
        environment: What it is to find in its environment, beside the state.
        execute: C{os.execve}.

    Raises:
        OSError: It cannot be run; nothing has changed.
    """
    before = os.getcwd()
    memory = os.memfd_create("myserv-state")
    kept = [*descriptors, memory]
    try:
        with open(memory, "wb", closefd=False) as stream:
            stream.write(json.dumps(state).encode())
        for each in kept:
            os.set_inheritable(each, True)
        signal.pthread_sigmask(signal.SIG_BLOCK, HELD_BACK)
        os.chdir(directory)
        execute(command[0], list(command), {**environment, VARIABLE: str(memory)})
    finally:
        # It did not happen.
        os.chdir(before)
        for each in kept:
            os.set_inheritable(each, False)
        os.close(memory)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD_BACK)


def isResumed() -> bool:
    """
    Say whether this process ran another program of ours before.
    """
    return VARIABLE in os.environ


def resumed() -> dict[str, Any]:
    """
    Read what the last program of this process wrote down; once.
    """
    memory = int(os.environ.pop(VARIABLE))
    with open(memory, "rb") as stream:
        stream.seek(0)
        state: dict[str, Any] = json.load(stream)
    return state


def heedSignals() -> None:
    """
    Take the signals that were held back.
    """
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD_BACK)
