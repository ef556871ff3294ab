"""
Results as people read them: tables for a terminal, and the same as Markdown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from attrs import frozen

from bench.load import COST
from bench.roster import TWISTED, UVLOOP, WORKERS, C
from bench.rounds import Outcome
from bench.scenarios import FAMILIES
from bench.tables import (
    Rows,
    aligned,
    cellsTable,
    markdownTable,
    ratioWriter,
    scenarioTable,
    targetTable,
    writeCost,
    writeLatency,
    writeRate,
)
from bench.targets import TIMES, Verdict, judge

SATURATED: Final = 0.9
"""The part of its core from which on a load generator may be what limits a server."""

NOISY: Final = 0.05
"""The part of the machine from which on others are what is measured."""

PLOT: Final = "../docs/discussion/speed.svg"
"""Seen from bench/RESULTS.md."""

_Kind = tuple[str, Callable[[Outcome, str], str]]

_CELLS: Final[tuple[_Kind, ...]] = (
    ("CPU µs per {thing}", writeCost),
    (f"CPU per {{thing}}, {TIMES} bare Twisted", ratioWriter(TWISTED)),
    (f"CPU per {{thing}}, {TIMES} uvloop", ratioWriter(UVLOOP)),
    (f"CPU per {{thing}}, {TIMES} C", ratioWriter(C)),
    ("{thing}s/s", writeRate),
    ("p50 / p99 µs", writeLatency),
)
"""Of all sizes and numbers of connections."""

_BRIEFLY: Final = (_CELLS[0], _CELLS[1], _CELLS[4])


@frozen
class Report:
    """
    All that is known after the last round.

    @ivar missing: Why peers were not measured, by their names.
    @ivar machine: Lines that describe it.
    @ivar settings: Lines on how it was measured.
    @ivar neighbours: The part of the machine that others used meanwhile.
    @ivar loadIsShared: Two workers leave no core to the load generator.
    """

    outcomes: Sequence[Outcome]
    missing: Mapping[str, str]
    machine: Sequence[str]
    settings: Sequence[str]
    neighbours: float
    loadIsShared: bool = False

    def verdicts(self) -> Sequence[Verdict]:
        """
        What came of the promises.
        """
        return judge(self.outcomes, self.missing)

    def text(self) -> str:
        """
        For a terminal.
        """
        parts = ["\n".join((*self.machine, *self.settings))]
        parts += [f"{title}\n{aligned(rows)}" for title, rows in self._tables(_BRIEFLY)]
        parts.append("\n".join(self._remarks()))
        return "\n\n".join(parts) + "\n"

    def markdown(self) -> str:
        """
        For bench/RESULTS.md.
        """
        parts = [
            "# Results",
            "Written by `make bench`; docs/discussion/speed.md says how to read it.",
            _listed((*self.machine, *self.settings)),
            f"![Server CPU per message]({PLOT})",
        ]
        for title, rows in self._tables(_CELLS):
            parts += [f"## {title}", markdownTable(rows)]
        parts += ["## Remarks", _listed(self._remarks())]
        return "\n\n".join(parts) + "\n"

    def _tables(self, kinds: Sequence[_Kind]) -> Iterator[tuple[str, Rows]]:
        verdicts = self.verdicts()
        if verdicts:
            yield "Targets: every default limit on, 64 B, 50 connections", targetTable(verdicts)
        for family in FAMILIES:
            outcomes = [each for each in self.outcomes if each.scenario.family == family]
            cells = [each for each in outcomes if each.scenario.cell is not None]
            if len(cells) < 3:
                for outcome in outcomes:
                    yield outcome.scenario.title, scenarioTable(outcome, self.missing)
                continue
            yield outcomes[0].scenario.title, scenarioTable(outcomes[0], self.missing)
            thing, peer = ("datagram", "peers") if family == "udp" else ("message", "connections")
            for title, write in kinds:
                rows = cellsTable(cells, write)
                if any(set(row[1:]) != {"-"} for row in rows[1:]):
                    what = title.format(thing=thing)
                    yield f"{family.upper()} echo, {peer} {TIMES} size: {what}", rows

    def _remarks(self) -> list[str]:
        enough = " That is too much to rely on any of this." if self.neighbours > NOISY else ""
        remarks = [f"Others used {self.neighbours:.0%} of the machine meanwhile.{enough}"]
        remarks += [f"{name} is not measured: {why}." for name, why in self.missing.items()]
        remarks += _failures(self.outcomes)
        if self.loadIsShared and any(WORKERS in each.samples for each in self.outcomes):
            remarks.append(
                f"There is no core for the load generator beside those of {WORKERS}: it shares "
                "them, so only the CPU of these rows can be compared with that of others."
            )
        for outcome in self.outcomes:
            name = outcome.scenario.name
            limited = [peer for peer in outcome.samples if _loadLimited(outcome, peer)]
            if limited:
                remarks.append(
                    f"{name}: the load generator may have limited {' and '.join(limited)}: "
                    f"the rate is a lower bound."
                )
            if outcome.samples.get(C) and outcome.spread(C, COST).low <= 0:
                remarks.append(f"{name}: nothing can be compared with {C}, which needs none.")
        return remarks


def _failures(outcomes: Sequence[Outcome]) -> Iterator[str]:
    where: dict[tuple[str, str], list[str]] = {}
    for outcome in outcomes:
        for failure in outcome.failed.items():
            where.setdefault(failure, []).append(outcome.scenario.name)
    for (peer, why), names in where.items():
        yield f"{peer} failed ({', '.join(names)}): {why}"


def _loadLimited(outcome: Outcome, peer: str) -> bool:
    if peer == WORKERS or "loadBusy" not in outcome.samples[peer][0]:
        return False
    load, server = (outcome.spread(peer, key).median for key in ("loadBusy", "serverBusy"))
    return load > SATURATED * 100 and load > server


def _listed(lines: Sequence[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)
