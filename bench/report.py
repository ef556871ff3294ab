"""
Results as people read them: tables for a terminal, and the same as Markdown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import frozen

from bench.roster import BASELINES, C, Peer
from bench.rounds import Outcome, Spread
from bench.scenarios import COST, SATURATED

_NOTHING = "-"
_TIMES = "\N{MULTIPLICATION SIGN}"


@frozen
class Report:
    """
    All that is known after the last round.

    @ivar missing: Why peers were not measured, by their names.
    @ivar machine: Lines that describe it.
    @ivar settings: One line on how it was measured.
    @ivar neighbours: The part of the machine that others used meanwhile.
    """

    outcomes: Sequence[Outcome]
    peers: Sequence[Peer]
    missing: Mapping[str, str]
    machine: Sequence[str]
    settings: str
    neighbours: float

    def text(self) -> str:
        """
        For a terminal.
        """
        tables = (f"{each.scenario.title}\n{_aligned(self._rows(each))}" for each in self.outcomes)
        head, foot = "\n".join((*self.machine, self.settings)), "\n".join(self._remarks())
        return "\n\n".join((head, *tables, foot)) + "\n"

    def markdown(self) -> str:
        """
        For bench/RESULTS.md.
        """
        parts = [
            "# Results",
            "Written by `make bench`; docs/discussion/speed.md says how to read it.",
            _listed((*self.machine, self.settings)),
        ]
        for outcome in self.outcomes:
            parts += [f"## {outcome.scenario.title}", _markdownTable(self._rows(outcome))]
        parts += ["## Remarks", _listed(self._remarks())]
        return "\n\n".join(parts) + "\n"

    def _rows(self, outcome: Outcome) -> list[list[str]]:
        scenario = outcome.scenario
        cost = scenario.cost
        headings = ["", cost.heading, "min-max"]
        for baseline in BASELINES:
            headings += [f"{_TIMES} {baseline.partition(',')[0]}", "min-max"]
        headings += [column.heading for column in scenario.columns]
        rows = [headings]
        for peer in self.peers:
            if peer.name not in outcome.samples:
                continue
            row = [peer.name, *_spread(outcome.spread(peer.name, COST), cost.digits)]
            for baseline in BASELINES:
                row += _spread(outcome.ratio(peer.name, baseline), 2)
            for column in scenario.columns:
                row.append(f"{outcome.spread(peer.name, column.key).median:,.{column.digits}f}")
            rows.append(row)
        return rows

    def _remarks(self) -> list[str]:
        remarks = [f"Others used {self.neighbours:.0%} of the machine meanwhile."]
        remarks += [f"{name} is not measured: {why}." for name, why in self.missing.items()]
        for outcome in self.outcomes:
            name = outcome.scenario.name
            remarks += [f"{name}: {peer} failed: {why}" for peer, why in outcome.failed.items()]
            limited = [peer for peer in outcome.samples if _loadLimited(outcome, peer)]
            if limited:
                remarks.append(
                    f"{name}: the load generator may have limited {' and '.join(limited)}: "
                    f"the rate is a lower bound."
                )
            if outcome.samples.get(C) and outcome.spread(C, COST).low <= 0:
                remarks.append(f"{name}: nothing can be compared with {C}, which needs none.")
        return remarks


def _loadLimited(outcome: Outcome, peer: str) -> bool:
    if "loadBusy" not in outcome.samples[peer][0]:
        return False
    load, server = (outcome.spread(peer, key).median for key in ("loadBusy", "serverBusy"))
    return load > SATURATED * 100 and load > server


def _spread(spread: Spread | None, digits: int) -> list[str]:
    if spread is None:
        return [_NOTHING, _NOTHING]
    return [
        f"{spread.median:,.{digits}f}",
        f"{spread.low:,.{digits}f}-{spread.high:,.{digits}f}",
    ]


def _aligned(rows: list[list[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if place == 0 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )


def _markdownTable(rows: list[list[str]]) -> str:
    rule = ["---", *("---:" for _ in rows[0][1:])]
    return "\n".join(f"| {' | '.join(row)} |" for row in (rows[0], rule, *rows[1:]))


def _listed(lines: Sequence[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)
