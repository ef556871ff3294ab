"""
Paired rounds: every peer once, then every peer again.

Whatever else the machine does meets all peers of a round alike, so a ratio is
taken within each round, and the median of those is the ratio that is reported.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median
from typing import Final

from attrs import Factory, define, frozen

from bench.errors import BenchError
from bench.roster import Peer
from bench.scenarios import COST, Bench, Sample, Scenario
from bench.server import running

STEADY_ROUNDS: Final = 2


@frozen
class Spread:
    """
    The middle of some figures, and how far they reach.
    """

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, figures: Sequence[float]) -> Spread:
        """
        Sum up figures, at least one.
        """
        return cls(median(figures), min(figures), max(figures))


@define
class Outcome:
    """
    What a scenario showed.

    @ivar samples: Of each peer, by its name, one for each round.
    @ivar failed: Why a peer could not be measured, by its name.
    """

    scenario: Scenario
    samples: dict[str, list[Sample]] = Factory(dict)
    failed: dict[str, str] = Factory(dict)

    def spread(self, peer: str, key: str) -> Spread:
        """
        Sum up a column of a peer.
        """
        return Spread.of([sample[key] for sample in self.samples[peer]])

    def ratio(self, peer: str, baseline: str) -> Spread | None:
        """
        Compare a peer's cost with another's of the same round.

        Returns:
            C{None} where there is nothing to compare with.
        """
        pairs = zip(self.samples[peer], self.samples.get(baseline, ()), strict=False)
        ratios = [one[COST] / other[COST] for one, other in pairs if other[COST] > 0]
        return Spread.of(ratios) if ratios else None


def measure(
    scenario: Scenario,
    peers: Sequence[Peer],
    bench: Bench,
    rounds: int,
    say: Callable[[str], None],
) -> Outcome:
    """
    Measure all peers in turn, and again.

    A peer that fails is left out from then on, and the outcome says why.

    Args:
        say: Takes a line on how it goes.
    """
    outcome = Outcome(scenario)
    if scenario.steady:
        rounds = min(rounds, STEADY_ROUNDS)
    for number in range(1, rounds + 1):
        for peer in peers:
            if peer.name in outcome.failed or (scenario.tls and not peer.tls):
                continue
            say(f"{scenario.name}, round {number} of {rounds}: {peer.name}")
            try:
                with running(peer, bench.workshop, bench.cores, tls=scenario.tls) as server:
                    sample = scenario.run(bench, server)
            except BenchError as error:
                outcome.failed[peer.name] = str(error)
                outcome.samples.pop(peer.name, None)
            else:
                outcome.samples.setdefault(peer.name, []).append(sample)
    return outcome
