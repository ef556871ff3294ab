"""
The command: python -m bench.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from attrs import frozen

from bench.errors import BenchError
from bench.load import Load
from bench.machine import Neighbours, allowFiles, chooseCores, describeMachine
from bench.plot import drawPlot, groupsOf
from bench.report import Report
from bench.roster import PEERS, Peer
from bench.rounds import Bench, Outcome, Pace, measure
from bench.scenarios import (
    CONNECTIONS,
    FAMILIES,
    HEADLINE,
    LARGEST_UDP,
    OTHERS,
    SIZES,
    Scenario,
    Weight,
    echoScenarios,
)
from bench.targets import TIMES
from bench.workshop import HERE, Workshop

RESULTS: Final = HERE / "RESULTS.md"
PLOT: Final = HERE.parent / "docs" / "discussion" / "speed.svg"

_ECHO: Final = ("tcp", "tls", "udp")


@frozen
class Scale:
    """
    How much is measured.

    @ivar paces: How often, and for how long.
    @ivar warmup: Seconds until something counts.
    @ivar idlers: Idle connections.
    """

    paces: dict[Weight, Pace]
    warmup: float
    idlers: int


FULL: Final = Scale(
    {
        Weight.JUDGED: Pace(turns=3, seconds=0.7, rounds=3),
        Weight.GLIMPSED: Pace(turns=2, seconds=0.4, rounds=1),
        Weight.PAIRED: Pace(turns=5, seconds=0.6, rounds=2),
        Weight.ONCE: Pace(turns=1, seconds=0.0, rounds=2),
    },
    warmup=0.15,
    idlers=5_000,
)
QUICK: Final = Scale(
    {
        Weight.JUDGED: Pace(turns=2, seconds=0.25, rounds=1),
        Weight.GLIMPSED: Pace(turns=1, seconds=0.15, rounds=1),
        Weight.PAIRED: Pace(turns=3, seconds=0.25, rounds=1),
        Weight.ONCE: Pace(turns=1, seconds=0.0, rounds=1),
    },
    warmup=0.1,
    idlers=1_000,
)
QUICK_CELLS: Final = (HEADLINE, (16_384, 50), (64, 1_000))
"""Of the sizes and numbers of connections, those that a quick run has."""

_SPARE_FILES: Final = 200
"""What a server opens beside its connections."""


def readCommand(words: Sequence[str] | None) -> argparse.Namespace:
    """
    Read the command line.
    """
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measure servers side by side. A run of everything at full length "
        f"writes bench/{RESULTS.name} and docs/discussion/{PLOT.name}; any other only prints.",
    )
    many = "; may be repeated"
    parser.add_argument("--only", action="append", choices=FAMILIES, help=f"not all{many}")
    parser.add_argument(
        "--peer", action="append", metavar="WORD", help=f"only peers named so{many}"
    )
    parser.add_argument(
        "--size", action="append", type=int, metavar="BYTES", help=f"echo of messages so long{many}"
    )
    parser.add_argument(
        "--connections",
        action="append",
        type=int,
        metavar="COUNT",
        help=f"echo over so many connections{many}",
    )
    parser.add_argument("--rounds", type=int, help="how often servers are started")
    parser.add_argument("--quick", action="store_true", help="a look, not a measurement")
    parser.add_argument("--seconds", type=float, help="for how long each time")
    asked = parser.parse_args(words)
    if asked.rounds is not None and asked.rounds < 1:
        parser.error("--rounds: at least one")
    if any(not 1 <= size <= 65_536 for size in asked.size or ()):
        parser.error("--size: from 1 to 65536")
    if any(not 1 <= count <= 10_000 for count in asked.connections or ()):
        parser.error("--connections: from 1 to 10000")
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
        raise BenchError(f"no peer is named so; there are {'; '.join(p.name for p in PEERS)}")
    return peers


def chooseScenarios(asked: argparse.Namespace) -> list[Scenario]:
    """
    Take the scenarios that were asked for, or all.

    Raises:
        BenchError: There is none.
    """
    narrowed = asked.size or asked.connections
    families = asked.only or (_ECHO if narrowed else FAMILIES)
    chosen = [scenario for scenario in (*_echo(asked), *OTHERS) if scenario.family in families]
    if not chosen:
        raise BenchError("nothing is measured of such messages")
    return chosen


def _echo(asked: argparse.Namespace) -> Iterator[Scenario]:
    for scenario in echoScenarios(asked.size or SIZES, asked.connections or CONNECTIONS):
        assert scenario.cell is not None
        if not (asked.size or asked.connections):
            if asked.quick and scenario.cell not in QUICK_CELLS:
                continue
            if scenario.family == "udp" and scenario.cell[0] > LARGEST_UDP:
                continue
        yield scenario


def _scale(asked: argparse.Namespace) -> Scale:
    scale = QUICK if asked.quick else FULL
    paces = {
        weight: Pace(pace.turns, asked.seconds or pace.seconds, asked.rounds or pace.rounds)
        for weight, pace in scale.paces.items()
    }
    return Scale(paces, scale.warmup, scale.idlers)


def run(asked: argparse.Namespace, directory: Path) -> Report:
    """
    Measure what was asked for.

    Raises:
        BenchError: Nothing can be measured here.
    """
    scale, scenarios, wanted = _scale(asked), chooseScenarios(asked), choosePeers(asked.peer)
    allowFiles(max(scale.idlers, *(asked.connections or CONNECTIONS)) + _SPARE_FILES)
    cores, workshop, neighbours = chooseCores(), Workshop(directory), Neighbours()
    workshop.makeLoad()
    bench = Bench(workshop, cores, Load(workshop.load, scale.warmup, scale.idlers), scale.paces)
    began = time.monotonic()
    peers, missing = _ready(
        [peer for peer in wanted if any(peer.name in each.peers for each in scenarios)], workshop
    )
    outcomes = measure(scenarios, peers, bench, _progress)
    _progress("")
    return Report(
        outcomes=outcomes,
        missing=missing,
        machine=describeMachine({name for peer in peers for name in peer.distributions}),
        settings=_settings(bench, outcomes, time.monotonic() - began),
        neighbours=neighbours.share(),
        loadIsShared=cores.isShared(2),
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


def _settings(bench: Bench, outcomes: Sequence[Outcome], took: float) -> list[str]:
    weights = {outcome.scenario.weight for outcome in outcomes} - {Weight.ONCE}
    kinds = {
        Weight.JUDGED: "the first table of a kind",
        Weight.GLIMPSED: "other sizes and numbers of connections",
        Weight.PAIRED: "the gate and workers",
    }
    paces = "; ".join(
        f"{kinds[weight]}: {pace.rounds} {TIMES} {pace.turns} {TIMES} {pace.seconds} s"
        for weight, pace in bench.paces.items()
        if weight in weights
    )
    core, load = (
        ", ".join(map(str, sorted(cores)))
        for cores in (bench.cores.ofServer(1), bench.cores.ofLoad(1))
    )
    return [
        *([f"Rounds, turns and seconds of {paces}"] if paces else []),
        f"Idle connections: {bench.load.idlers:,}",
        f"Servers on core {core}, load on core {load}"
        + (" (there is only one)" if bench.cores.isShared(1) else ""),
        f"It took {took / 60:.1f} minutes",
    ]


def _progress(line: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)
    elif line:
        print(line, file=sys.stderr, flush=True)


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
    if any(value for value in vars(asked).values()):
        print(f"bench/{RESULTS.name} is written by full runs only and stays as it is.")
    else:
        RESULTS.write_text(report.markdown(), encoding="utf-8")
        PLOT.write_text(_plot(report), encoding="utf-8")
    return 1 if any(outcome.failed for outcome in report.outcomes) else 0


def _plot(report: Report) -> str:
    shown = [
        outcome
        for outcome in report.outcomes
        if outcome.scenario.cell == HEADLINE or outcome.scenario.name == "connect"
    ]
    return drawPlot("Server CPU, µs: less is better", groupsOf(shown))


if __name__ == "__main__":
    sys.exit(main())
