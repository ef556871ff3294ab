"""
Tables: what is in them, and the two ways of writing one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from bench.load import COST
from bench.rounds import Outcome, Spread
from bench.scenarios import Cell, atOnce, inBytes
from bench.targets import TIMES, Verdict

Rows = list[list[str]]
"""The first one has the headings."""

NOTHING = "-"


def scenarioTable(outcome: Outcome, missing: Mapping[str, str]) -> Rows:
    """
    All that one scenario showed, a row for each peer.

    Args:
        outcome: What it showed.
        missing: Why peers were not measured, by their names.
    """
    scenario = outcome.scenario
    baselines = [
        each
        for each in scenario.baselines
        if any(outcome.ratio(peer, each.of(peer), scenario.compared) for peer in outcome.samples)
    ]
    headings = ["", scenario.cost.heading, "min-max"]
    for baseline in baselines:
        headings += [f"{TIMES} {baseline.heading}", "min-max"]
    rows = [headings + [column.heading for column in scenario.columns]]
    for peer in scenario.peers:
        if peer in outcome.samples:
            row = [peer, *spreadCells(outcome.spread(peer, COST), scenario.cost.digits)]
            for baseline in baselines:
                ratio = outcome.ratio(peer, baseline.of(peer), scenario.compared)
                row += spreadCells(ratio, 2)
            for column in scenario.columns:
                row.append(f"{outcome.spread(peer, column.key).median:,.{column.digits}f}")
            rows.append(row)
        elif peer in outcome.failed or peer in missing:
            why = "failed" if peer in outcome.failed else missing[peer].partition(":")[0]
            rows.append([peer, why, *[NOTHING] * (len(rows[0]) - 2)])
    return rows


def cellsTable(outcomes: Sequence[Outcome], write: Callable[[Outcome, str], str]) -> Rows:
    """
    One figure of many echo scenarios: a row for each peer, a column for each scenario.

    Args:
        outcomes: The scenarios.
        write: Writes the figure of a peer that was measured.
    """
    ordered = sorted(outcomes, key=lambda each: _cell(each)[::-1])
    rows = [["", *(_heading(_cell(outcome)) for outcome in ordered)]]
    for peer in ordered[0].scenario.peers:
        cells = [
            write(outcome, peer) if peer in outcome.samples else NOTHING for outcome in ordered
        ]
        if set(cells) != {NOTHING}:
            rows.append([peer, *cells])
    return rows


def _cell(outcome: Outcome) -> Cell:
    assert outcome.scenario.cell is not None
    return outcome.scenario.cell


def _heading(cell: Cell) -> str:
    return f"{atOnce(cell[1], 'peer').partition(' ')[0]} {TIMES} {inBytes(cell[0])}"


def writeCost(outcome: Outcome, peer: str) -> str:
    """CPU per message."""
    return f"{outcome.spread(peer, COST).median:,.2f}"


def writeRate(outcome: Outcome, peer: str) -> str:
    """Messages a second."""
    return f"{outcome.spread(peer, 'rate').median:,.0f}"


def writeLatency(outcome: Outcome, peer: str) -> str:
    """Two percentiles of the time until an answer."""
    middle, late = (outcome.spread(peer, key).median for key in ("p50", "p99"))
    return f"{middle:,.0f} / {late:,.0f}"


def ratioWriter(baseline: str) -> Callable[[Outcome, str], str]:
    """CPU per message against somebody's."""

    def write(outcome: Outcome, peer: str) -> str:
        return spreadCells(outcome.ratio(peer, baseline), 2)[0]

    return write


def targetTable(verdicts: Sequence[Verdict]) -> Rows:
    """
    What was promised, and what came of it.
    """
    headings = ["", "target", "measured", "min-max", ""]
    rows = ([each.target.what, each.target.asked(), *each.words()] for each in verdicts)
    return [headings, *rows]


def spreadCells(spread: Spread | None, digits: int) -> list[str]:
    """
    A median and, beside it, the range.
    """
    if spread is None:
        return [NOTHING, NOTHING]
    return [
        f"{spread.median:,.{digits}f}",
        f"{spread.low:,.{digits}f}-{spread.high:,.{digits}f}",
    ]


def aligned(rows: Rows) -> str:
    """
    A table for a terminal.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if place == 0 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def markdownTable(rows: Rows) -> str:
    """
    A table for a page.
    """
    rule = ["---", *("---:" for _ in rows[0][1:])]
    return "\n".join(f"| {' | '.join(row)} |" for row in (rows[0], rule, *rows[1:]))
