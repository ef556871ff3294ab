"""
The C{myserv} command: what is done beside serving, which is twistd's part.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import myserv
from myserv.cli.check import check, reportCheck
from myserv.cli.endpoints import listEndpoints, tellEndpoint
from myserv.cli.new import createPackage, summary
from myserv.cli.protocols import tellProtocol
from myserv.errors import Problem
from myserv.tap.flags import listProtocols
from myserv.tap.mistakes import answer, completeOutput, oneLinePerMistake


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run the command.

    Args:
        arguments: Its words; those of the process when omitted.

    Returns:
        The exit code.
    """
    with oneLinePerMistake():
        with completeOutput():
            chosen = _parser().parse_args(arguments)
        if chosen.command == "check":
            text = _reported(chosen.file) if chosen.json else check(chosen.file)
        elif chosen.command == "new":
            text = summary(createPackage(chosen.name, chosen.directory))
        elif chosen.command == "endpoints":
            text = tellEndpoint(chosen.prefix) if chosen.prefix else listEndpoints()
        else:
            text = tellProtocol(chosen.name) if chosen.name else _everyProtocol()
        answer(text)
    return 0


def _reported(file: str) -> str:
    # What a plugin prints is no verdict.
    verdict = os.dup(1)
    os.dup2(2, 1)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            return reportCheck(file)
    finally:
        sys.stdout.flush()
        os.dup2(verdict, 1)
        os.close(verdict)


def _everyProtocol() -> str:
    return f'{listProtocols()}\nType "myserv protocols NAME" for what one may be told.'


class _Parser(argparse.ArgumentParser):
    """
    A parser whose errors are one line, whatever they quote.
    """

    def error(self, message: str) -> NoReturn:
        """
        Say what is wrong, and exit.
        """
        super().error(str(Problem(message)))


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="myserv",
        description="Serve with twistd: twistd -n myserv --help. This command does the rest.",
    )
    parser.add_argument("--version", action="version", version=f"myserv {myserv.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    checking = commands.add_parser("check", help="validate a configuration file without listening")
    checking.add_argument("file", metavar="FILE", help="the TOML file")
    # For a server that runs, which has the file checked before it reads it again.
    checking.add_argument("--json", action="store_true", help=argparse.SUPPRESS)
    making = commands.add_parser("new", help="write a small package with a protocol of your own")
    making.add_argument("name", metavar="NAME", help="the protocol's name, such as quotes")
    making.add_argument(
        "--directory",
        metavar="DIR",
        type=Path,
        default=Path(),
        help="where to put it (here)",
    )
    naming = commands.add_parser(
        "protocols", help="list the protocols that are installed, or what one may be told"
    )
    naming.add_argument("name", metavar="NAME", nargs="?", help="such as echo, or module:Class")
    telling = commands.add_parser(
        "endpoints", help="list the prefixes of endpoint strings, or what may follow one"
    )
    telling.add_argument("prefix", metavar="PREFIX", nargs="?", help="such as tls")
    return parser
