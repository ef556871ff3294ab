"""
The command: python -m bench.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bench.errors import BenchError
from bench.machine import Neighbours, allowFiles, chooseCores, describeMachine
from bench.report import Report
from bench.roster import PEERS, Peer
from bench.rounds import measure
from bench.scenarios import SCENARIOS, Bench, Scale
from bench.workshop import HERE, Workshop

RESULTS: Final = HERE / "RESULTS.md"

FULL: Final = Scale(seconds=0.8, idle=5_000)
QUICK: Final = Scale(seconds=0.3, idle=1_000)
ROUNDS: Final = 5
QUICK_ROUNDS: Final = 2

_SPARE_FILES: Final = 200
"""What a server opens beside its connections."""


def readCommand(words: Sequence[str] | None) -> argparse.Namespace:
    """
    Read the command line.
    """
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measure servers side by side. A run of everything at full length "
        f"writes bench/{RESULTS.name}; any other only prints.",
    )
    names = [scenario.name for scenario in SCENARIOS]
    parser.add_argument("--only", choices=names, help="one scenario instead of all")
    parser.add_argument(
        "--peer", action="append", metavar="WORD", help="only peers named so; may be repeated"
    )
    parser.add_argument("--rounds", type=int, help=f"how often ({ROUNDS})")
    parser.add_argument("--quick", action="store_true", help="a look, not a measurement")
    parser.add_argument("--seconds", type=float, help=f"for how long ({FULL.seconds})")
    asked = parser.parse_args(words)
    if asked.rounds is not None and asked.rounds < 1:
        parser.error("--rounds: at least one")
    return asked


def choosePeers(words: Sequence[str] | None) -> list[Peer]:
    """
    Take the peers whose names have one of the words in them, or all.

    Raises:
        BenchError: There is none.
    """
    if not words:
        return list(PEERS)
    peers = [peer for peer in PEERS if any(word.lower() in peer.name.lower() for word in words)]
    if not peers:
        raise BenchError(f"no peer is named so; there are {', '.join(p.name for p in PEERS)}")
    return peers


def run(asked: argparse.Namespace, directory: Path) -> Report:
    """
    Measure what was asked for.

    Raises:
        BenchError: Nothing can be measured here.
    """
    scale = QUICK if asked.quick else FULL
    if asked.seconds:
        scale = Scale(seconds=asked.seconds, idle=scale.idle)
    rounds = asked.rounds or (QUICK_ROUNDS if asked.quick else ROUNDS)
    allowFiles(scale.idle + _SPARE_FILES)
    cores = chooseCores()
    bench = Bench(Workshop(directory), cores, scale)
    bench.workshop.makeLoad()
    peers, missing = _ready(choosePeers(asked.peer), bench.workshop)
    neighbours = Neighbours()
    outcomes = [
        measure(scenario, peers, bench, rounds, _progress)
        for scenario in SCENARIOS
        if asked.only in (None, scenario.name)
    ]
    _progress("")
    together = "" if cores.server != cores.load else " (there is only one)"
    return Report(
        outcomes=outcomes,
        peers=peers,
        missing=missing,
        machine=describeMachine({name for peer in peers for name in peer.distributions}),
        settings=f"Rounds: {rounds}, {scale.seconds} s each, {scale.idle:,} idle "
        f"connections; servers on core {cores.server}, load on core {cores.load}{together}",
        neighbours=neighbours.share(),
    )


def _ready(asked: Sequence[Peer], workshop: Workshop) -> tuple[list[Peer], dict[str, str]]:
    peers: list[Peer] = []
    missing: dict[str, str] = {}
    for peer in asked:
        why = peer.missing()
        if why is None:
            workshop.makePeer(peer)
            peers.append(peer)
        else:
            missing[peer.name] = why
    return peers, missing


def _progress(line: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)


def main(words: Sequence[str] | None = None) -> int:
    """
    Measure, print, and keep the results of a full run.
    """
    asked = readCommand(words)
    try:
        with tempfile.TemporaryDirectory(prefix="bench-") as directory:
            report = run(asked, Path(directory))
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        _progress("")
        return 130
    print(report.text())
    if asked.quick or asked.only or asked.peer or asked.rounds or asked.seconds:
        print(f"bench/{RESULTS.name} is written by full runs only and stays as it is.")
    else:
        RESULTS.write_text(report.markdown(), encoding="utf-8")
    return 1 if any(outcome.failed for outcome in report.outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
