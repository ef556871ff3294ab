"""A clean environment with wheels in it, and the commands that it has."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from attrs import frozen

ROOT: Final = Path(__file__).parent.parent.parent

START_LIMIT: Final = 20.0
"""Seconds that a server may take to listen; it takes one."""

STOP_LIMIT: Final = 20.0
"""Seconds that it may take to stop."""

_LISTENING: Final = re.compile(r"listening on (tcp|udp):\S+ \((?:\S+):(\d+)\)")

# What would let this environment, or a checkout, show through.
_HIDDEN: Final = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")


@frozen
class Environment:
    """
    A virtual environment.

    @ivar directory: Where it is.
    """

    directory: Path

    @classmethod
    def make(cls, directory: Path) -> Environment:
        """
        Make one with nothing in it but pip.
        """
        subprocess.run([sys.executable, "-m", "venv", directory], check=True)
        return cls(directory)

    @property
    def variables(self) -> dict[str, str]:
        """The environment variables of its programs."""
        kept = {name: value for name, value in os.environ.items() if name not in _HIDDEN}
        # A checkout that tests are run in stays as it is.
        return kept | {"PYTHONDONTWRITEBYTECODE": "1"}

    def run(
        self, program: str, *arguments: str | Path, cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """
        Run one of its programs to the end, somewhere that is no checkout.
        """
        return subprocess.run(
            [self.directory / "bin" / program, *arguments],
            cwd=cwd or self.directory,
            env=self.variables,
            capture_output=True,
            text=True,
            check=False,
        )

    def install(self, *what: str | Path) -> None:
        """
        Install distributions and what they depend on.
        """
        ran = self.run("python", "-m", "pip", "install", "--quiet", *what)
        assert ran.returncode == 0, ran.stdout + ran.stderr

    def build(self, project: Path) -> Path:
        """
        Build a project's wheel, with the hatchling that is installed here.
        """
        wheels = self.directory / "wheels" / project.name
        ran = self.run(
            "python",
            *("-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"),
            *("--wheel-dir", wheels, project),
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
        (wheel,) = wheels.iterdir()
        return wheel

    @contextmanager
    def twistd(self, *arguments: str, cwd: Path) -> Iterator[Serving]:
        """
        Run twistd in the foreground, stop it as an operator would, and see that
        all was well.

        Args:
            arguments: What to serve; each endpoint with the port 0.
            cwd: Where it runs.
        """
        log = cwd / "twistd.out"
        with log.open("wb") as out:
            process = subprocess.Popen(
                [self.directory / "bin" / "twistd", "-n", "--pidfile=", *arguments],
                cwd=cwd,
                env=self.variables,
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        try:
            expected = sum(word == "--listen" for word in arguments)
            yield Serving(_ports(process, log, expected))
            process.send_signal(signal.SIGTERM)
            process.wait(STOP_LIMIT)
        finally:
            process.kill()
            process.wait()
        text = log.read_text()
        # twistd ends as the signal would have ended it.
        assert process.returncode == -signal.SIGTERM, text
        assert "Server Shut Down." in text
        assert "Traceback" not in text, text


@frozen
class Serving:
    """
    A server that listens.

    @ivar ports: The port by transport, C{tcp} or C{udp}.
    """

    ports: dict[str, int]


def _ports(process: subprocess.Popen[bytes], log: Path, expected: int) -> dict[str, int]:
    end = time.monotonic() + START_LIMIT
    while time.monotonic() < end and process.poll() is None:
        ports = {transport: int(port) for transport, port in _LISTENING.findall(log.read_text())}
        if len(ports) == expected:
            return ports
        time.sleep(0.02)
    raise AssertionError(f"it does not listen:\n{log.read_text()}")
