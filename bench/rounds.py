"""
Rounds of turns: in a round servers are started, and a turn measures each of them once.

Whatever else the machine does meets all peers of a turn alike, so a ratio is
taken within each turn, and the median of those is the ratio that is reported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from statistics import median
from typing import Final

from attrs import Factory, define, frozen

from bench.errors import BenchError
from bench.load import COST, Load, Sample
from bench.machine import Cores
from bench.roster import Peer, Service
from bench.scenarios import Scenario, Weight
from bench.server import Server, running
from bench.workshop import Workshop


@frozen
class Pace:
    """
    How much of a round a scenario gets.

    @ivar turns: How often.
    @ivar seconds: For how long each time.
    @ivar rounds: In how many rounds at most.
    """

    turns: int
    seconds: float
    rounds: int


@frozen
class Bench:
    """
    What is measured with.
    """

    workshop: Workshop
    cores: Cores
    load: Load
    paces: Mapping[Weight, Pace]


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

    @ivar samples: Of each peer, by its name, one for each turn.
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

    def ratio(self, peer: str, baseline: str | None, key: str = COST) -> Spread | None:
        """
        Divide a peer's figure by another's of the same turn.

        Returns:
            C{None} where there is nothing to compare with.
        """
        pairs = self._pairs(peer, baseline, key)
        ratios = [one / other for one, other in pairs if other > 0]
        return Spread.of(ratios) if ratios else None

    def difference(self, peer: str, baseline: str | None, key: str = COST) -> Spread | None:
        """
        Subtract another's figure of the same turn from a peer's.

        Returns:
            C{None} where there is nothing to compare with.
        """
        differences = [one - other for one, other in self._pairs(peer, baseline, key)]
        return Spread.of(differences) if differences else None

    def _pairs(self, peer: str, baseline: str | None, key: str) -> list[tuple[float, float]]:
        ours, theirs = self.samples.get(peer, ()), self.samples.get(baseline or "", ())
        return [(one[key], other[key]) for one, other in zip(ours, theirs, strict=False)]

    def fail(self, peer: str, why: str) -> None:
        """
        Leave a peer out from now on.
        """
        self.failed[peer] = why
        self.samples.pop(peer, None)


def measure(
    scenarios: Sequence[Scenario],
    peers: Sequence[Peer],
    bench: Bench,
    say: Callable[[str], None],
) -> list[Outcome]:
    """
    Measure all scenarios round by round.

    A peer that fails is left out of a scenario from then on, and its outcome says why.

    Args:
        say: Takes a line on how it goes.
    """
    outcomes = [Outcome(scenario) for scenario in scenarios]
    rounds = max(pace.rounds for pace in bench.paces.values())
    for number in range(rounds):
        for sitting in _sittings(outcomes):
            due = [each for each in sitting if number < _pace(each, bench).rounds]
            if due:
                _sit(due, peers, bench, lambda line: say(f"round {number + 1} of {rounds}: {line}"))  # noqa: B023 - called at once
    return outcomes


def _pace(outcome: Outcome, bench: Bench) -> Pace:
    return bench.paces[outcome.scenario.weight]


def _sittings(outcomes: Iterable[Outcome]) -> list[list[Outcome]]:
    # What is measured of the same servers: not memory, which wants fresh ones.
    sittings: dict[object, list[Outcome]] = {}
    for outcome in outcomes:
        scenario = outcome.scenario
        fresh = scenario.name if scenario.weight is Weight.ONCE else ""
        sittings.setdefault((scenario.service, scenario.peers, fresh), []).append(outcome)
    return list(sittings.values())


def _sit(
    outcomes: Sequence[Outcome],
    peers: Sequence[Peer],
    bench: Bench,
    say: Callable[[str], None],
) -> None:
    first = outcomes[0].scenario
    with ExitStack() as stack:
        servers = _startAll(first.service, _chosen(first, peers), stack, bench, outcomes, say)
        for outcome in outcomes:
            pace = _pace(outcome, bench)
            say(outcome.scenario.name)
            for turn in range(pace.turns):
                # Who comes after whom must not matter.
                names = list(servers)[:: 1 if turn % 2 == 0 else -1]
                for name in names:
                    if name not in outcome.failed:
                        _sample(outcome, name, servers[name], bench.load, pace.seconds)


def _chosen(scenario: Scenario, peers: Sequence[Peer]) -> list[Peer]:
    return [
        peer for peer in peers if peer.name in scenario.peers and scenario.service in peer.commands
    ]


_BREATH: Final = 0.02
"""Seconds of doing nothing by which a server shows that it is done."""

_Running = tuple[Server, Callable[[], None]]


def _startAll(
    service: Service,
    peers: Sequence[Peer],
    stack: ExitStack,
    bench: Bench,
    outcomes: Sequence[Outcome],
    say: Callable[[str], None],
) -> dict[str, _Running]:
    servers: dict[str, _Running] = {}
    for peer in peers:
        if all(peer.name in outcome.failed for outcome in outcomes):
            continue
        say(f"starting {peer.name}")
        try:
            servers[peer.name] = stack.enter_context(
                running(peer, service, bench.workshop, bench.cores)
            )
        except BenchError as error:
            for outcome in outcomes:
                outcome.fail(peer.name, str(error))
    return servers


def _sample(outcome: Outcome, name: str, running: _Running, load: Load, seconds: float) -> None:
    try:
        try:
            sample = _sampleOnce(outcome.scenario, running, load, seconds)
        except BenchError:
            if outcome.scenario.weight is Weight.ONCE:
                raise
            # Others on the machine may have kept it from answering.
            sample = _sampleOnce(outcome.scenario, running, load, seconds)
    except BenchError as error:
        outcome.fail(name, str(error))
    else:
        outcome.samples.setdefault(name, []).append(sample)


def _sampleOnce(scenario: Scenario, running: _Running, load: Load, seconds: float) -> Sample:
    server, stillRuns = running
    stillRuns()
    sample = scenario.run(load, server, seconds)
    stillRuns()
    # What it does when the connections are closed would be in the way of the next server.
    server.settle(_BREATH)
    return sample
