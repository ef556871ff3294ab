"""
What the project promises, and whether a run keeps it.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from attrs import frozen

from bench.load import COST
from bench.roster import (
    ASYNCIO,
    NATIVE,
    NATIVE_UNLIMITED,
    STOCK,
    STOCK_UNLIMITED,
    TWISTED,
    UVLOOP,
    WORKERS,
    C,
)
from bench.rounds import Outcome, Spread
from bench.scenarios import echoName

TIMES: Final = "\N{MULTIPLICATION SIGN}"


class Unit(enum.Enum):
    """How a figure is compared, and written."""

    RATIO = "ratio"
    OVERHEAD = "overhead"
    """A ratio, written as what is beyond 1."""
    BYTES = "bytes"
    """A difference."""

    def write(self, figure: float, *, sign: bool = True) -> str:
        """
        A figure as tables show it.
        """
        plus = "+" if sign else ""
        match self:
            case Unit.RATIO:
                return f"{figure:.2f}{TIMES}"
            case Unit.OVERHEAD:
                return f"{(figure - 1) * 100:{plus}.1f} %"
            case Unit.BYTES:
                return f"{figure:{plus},.0f} B"

    def writeGap(self, gap: float) -> str:
        """
        How far apart two figures are.
        """
        if self is Unit.RATIO:
            return f"{gap:.3f}{TIMES}"
        return self.write(gap + 1 if self is Unit.OVERHEAD else gap, sign=False)


@frozen
class Target:
    """
    A promise.

    @ivar what: What it is about, and what it is compared with.
    @ivar scenario: Where it is measured.
    @ivar peer: Whose figure.
    @ivar baseline: Against whose.
    @ivar limit: How much it may be.
    @ivar unit: How the two are compared.
    @ivar key: Which figure.
    @ivar least: It has to be this much at least, not at most.
    @ivar below: It has to be less than that, not as much.
    """

    what: str
    scenario: str
    peer: str
    baseline: str
    limit: float
    unit: Unit = Unit.RATIO
    key: str = COST
    least: bool = False
    below: bool = False

    def measure(self, outcome: Outcome) -> Spread | None:
        """
        Take what it is about from an outcome, if that is there.
        """
        compare = outcome.difference if self.unit is Unit.BYTES else outcome.ratio
        return compare(self.peer, self.baseline, self.key)

    def isMet(self, figure: float) -> bool:
        """
        Say whether a figure keeps the promise.
        """
        if self.least:
            return figure >= self.limit
        return figure < self.limit if self.below else figure <= self.limit

    def asked(self) -> str:
        """
        The limit in words.
        """
        word = "at least" if self.least else "below" if self.below else "at most"
        return f"{word} {self.unit.write(self.limit)}"


def _gate(
    what: str, scenario: str, limit: float, unit: Unit = Unit.OVERHEAD, twisted: bool = False
) -> tuple[Target, Target]:
    stock, native = (
        Target(
            f"{what}, {reactor} reactor",
            scenario,
            peer,
            TWISTED if twisted else unlimited,
            limit,
            unit,
        )
        for reactor, peer, unlimited in (
            ("stock", STOCK, STOCK_UNLIMITED),
            ("native", NATIVE, NATIVE_UNLIMITED),
        )
    )
    return stock, native


_TCP, _TLS, _UDP = (echoName(family) for family in ("tcp", "tls", "udp"))

TARGETS: Final = (
    Target("TCP, CPU per message against bare Twisted", _TCP, NATIVE, TWISTED, 0.50),
    Target("TCP, CPU per message against uvloop", _TCP, NATIVE, UVLOOP, 1.10),
    Target("TCP, CPU per message against C", _TCP, NATIVE, C, 1.35),
    Target("TLS, CPU per message against bare Twisted", _TLS, NATIVE, TWISTED, 0.60),
    Target("TLS, CPU per message against asyncio", _TLS, NATIVE, ASYNCIO, 1.0, below=True),
    Target("UDP, CPU per datagram against bare Twisted", _UDP, NATIVE, TWISTED, 0.85),
    Target("UDP, CPU per datagram against uvloop", _UDP, NATIVE, UVLOOP, 1.0, below=True),
    Target("New connections, CPU each against bare Twisted", "connect", NATIVE, TWISTED, 0.85),
    Target(
        "Two workers' throughput against one's", "workers", WORKERS, NATIVE, 1.8,
        key="rate", least=True,
    ),
    *_gate("The gate, per TCP message", "gate-tcp", 1.05),
    *_gate("The gate, per UDP datagram", "gate-udp", 1.05),
    *_gate("The gate, per connection", "gate-connect", 1.20),
    *_gate(
        "Memory of a connection beyond bare Twisted's", "gate-memory", 2048, Unit.BYTES, twisted=True
    ),
)  # fmt: skip
"""All of them with every default limit on."""


@frozen
class Verdict:
    """
    A promise, and what came of it.

    @ivar measured: C{None} where it could not be measured.
    @ivar why: Why not, then.
    """

    target: Target
    measured: Spread | None
    why: str = ""

    @property
    def isMet(self) -> bool:
        """Whether it is kept, by the median."""
        return self.measured is not None and self.target.isMet(self.measured.median)

    def words(self) -> tuple[str, str, str]:
        """
        The median, how far it reaches, and what that means.
        """
        if self.measured is None:
            return "-", "-", f"not measured: {self.why}"
        unit, spread = self.target.unit, self.measured
        gap = unit.writeGap(abs(spread.median - self.target.limit))
        verdict = f"met by {gap}" if self.isMet else f"MISSED by {gap}"
        return (
            unit.write(spread.median),
            f"{unit.write(spread.low)} to {unit.write(spread.high)}",
            verdict,
        )


def judge(outcomes: Iterable[Outcome], missing: Mapping[str, str]) -> Sequence[Verdict]:
    """
    Check every promise that is about what was measured.

    Args:
        outcomes: What was.
        missing: Why peers were not, by their names.
    """
    byName = {outcome.scenario.name: outcome for outcome in outcomes}
    verdicts = []
    for target in TARGETS:
        outcome = byName.get(target.scenario)
        if outcome is None:
            continue
        whys = (
            f"{name}: {_brief(why)}"
            for name in (target.peer, target.baseline)
            if (why := outcome.failed.get(name) or missing.get(name))
        )
        why = next(whys, "it was not asked for")
        verdicts.append(Verdict(target, target.measure(outcome), why))
    return verdicts


def _brief(why: str) -> str:
    return why.partition(":")[0]
