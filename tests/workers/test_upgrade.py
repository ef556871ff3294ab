"""The supervisor's next program, not run."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

from myserv.workers.upgrade import (
    HELD_BACK,
    VARIABLE,
    commandLine,
    heedSignals,
    isResumed,
    replaceProgram,
    resumed,
)


@pytest.fixture(autouse=True)
def signals() -> Iterator[None]:
    """As they were."""
    yield
    heedSignals()
    os.environ.pop(VARIABLE, None)


@pytest.mark.parametrize(
    ("original", "arguments", "command"),
    [
        (["python", "/bin/twistd", "-n", "x"], ["/bin/twistd", "-n", "x"], ["/bin/twistd"]),
        (["python", "-X", "dev", "-m", "twisted", "-n", "x"], ["m", "-n", "x"], None),
    ],
)
def test_theCommand(original: list[str], arguments: list[str], command: list[str] | None) -> None:
    """Python's own flags and the program come first, then what is to be different."""
    before = command or ["-X", "dev", "-m", "twisted"]
    made = commandLine(original, arguments, ["--nodaemon"])
    assert made == [sys.executable, *before, "--nodaemon", "-n", "x"]


def test_whatTheNextProgramFinds(tmp_path: Path) -> None:
    """Its descriptors are open, the state can be read, and signals wait until it is ready."""
    read, write = os.pipe()
    seen: dict[str, Any] = {}

    class Executed(BaseException):
        """There is no way back from it."""

    def execute(program: str, command: list[str], environment: dict[str, str]) -> NoReturn:
        seen.update(command=command, directory=os.getcwd(), inheritable=os.get_inheritable(read))
        seen["blocked"] = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        os.environ[VARIABLE] = str(os.dup(int(environment[VARIABLE])))
        assert environment["A"] == "1"
        raise Executed

    before = os.getcwd()
    with pytest.raises(Executed):
        replaceProgram(["a", "b"], str(tmp_path), {"x": [1]}, [read, write], {"A": "1"}, execute)
    assert seen["command"] == ["a", "b"]
    assert seen["directory"] == str(tmp_path)
    assert seen["inheritable"]
    assert set(HELD_BACK) <= seen["blocked"]
    assert isResumed()
    assert resumed() == {"x": [1]}
    assert not isResumed()
    # Here it did not happen after all.
    assert os.getcwd() == before
    assert not os.get_inheritable(read)
    assert not set(HELD_BACK) & signal.pthread_sigmask(signal.SIG_BLOCK, ())
    os.close(read)
    os.close(write)


def test_aProgramThatIsNotThere(tmp_path: Path) -> None:
    """It is told, and nothing has changed."""
    with pytest.raises(FileNotFoundError):
        replaceProgram([str(tmp_path / "none")], str(tmp_path), {}, [], {})
