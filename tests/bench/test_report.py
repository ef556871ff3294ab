"""How the bench sums up samples, judges them, and writes them down."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest
from attrs import evolve

from bench.__main__ import chooseScenarios, readCommand
from bench.load import COST, Sample
from bench.plot import drawPlot, groupsOf
from bench.report import Report
from bench.roster import NATIVE, NATIVE_UNLIMITED, STOCK, TWISTED, UVLOOP, WORKERS, C
from bench.rounds import Outcome, Spread
from bench.scenarios import CONNECT, GATE, Scenario, Weight, echoScenarios
from bench.targets import TARGETS, judge


def sample(cost: float, **others: float) -> Sample:
    """A sample with every figure that tables show."""
    figures = ("rate", "p50", "p99", "serverBusy", "loadBusy", "lost", "total")
    return {COST: cost, **dict.fromkeys(figures, 1.0), **others}


def outcome(scenario: Scenario, costs: dict[str, list[float]]) -> Outcome:
    """What a scenario would show if peers had these costs."""
    return Outcome(
        scenario, {name: [sample(cost) for cost in each] for name, each in costs.items()}
    )


def tcp() -> Scenario:
    """The TCP scenario that promises are about."""
    return next(echoScenarios((64,), (50,)))


def report(*outcomes: Outcome, missing: dict[str, str] | None = None) -> Report:
    """A report on outcomes, of no machine."""
    return Report(outcomes, missing or {}, ["a machine"], ["settings"], 0.01)


def test_a_ratio_is_of_one_turn() -> None:
    """Ratios pair the samples of a turn; the median is of ratios, not of costs."""
    measured = outcome(tcp(), {NATIVE: [5, 10, 6], TWISTED: [10, 20, 10]})
    assert measured.ratio(NATIVE, TWISTED) == Spread(0.5, 0.5, 0.6)
    assert measured.difference(TWISTED, NATIVE) == Spread(5, 4, 10)


@pytest.mark.parametrize("baseline", [None, C, UVLOOP])
def test_there_may_be_nothing_to_compare_with(baseline: str | None) -> None:
    """No baseline, one that was not measured, and one that needs nothing."""
    measured = outcome(tcp(), {NATIVE: [5], C: [0]})
    assert measured.ratio(NATIVE, baseline) is None


def test_who_fails_has_no_figures() -> None:
    """What was measured before a failure is not shown."""
    measured = outcome(tcp(), {NATIVE: [5], TWISTED: [10]})
    measured.fail(NATIVE, "it ended: in tears")
    assert measured.ratio(NATIVE, TWISTED) is None
    text = report(measured).text()
    assert f"{NATIVE} failed (tcp-64-50): it ended: in tears" in text


def test_promises_that_are_kept_and_broken() -> None:
    """Each verdict says by how much."""
    measured = outcome(tcp(), {NATIVE: [6.0], TWISTED: [12.5], UVLOOP: [5.0], C: [5.0]})
    verdicts = judge([measured], {})
    words = {each.target.baseline: (each.isMet, each.words()[2]) for each in verdicts}
    assert words == {
        TWISTED: (True, "met by 0.020×"),
        UVLOOP: (False, "MISSED by 0.100×"),
        C: (True, "met by 0.150×"),
    }


def test_a_promise_that_cannot_be_checked() -> None:
    """It says why, and is not taken for kept."""
    verdicts = judge([outcome(tcp(), {TWISTED: [10]})], {NATIVE: "not installed: no such thing"})
    assert not any(each.isMet for each in verdicts)
    assert verdicts[0].words()[2] == f"not measured: {NATIVE}: not installed"


def test_the_gate_is_judged_by_what_it_adds() -> None:
    """A ratio of 1.03 is three percent."""
    measured = outcome(GATE[0], {NATIVE: [10.3], NATIVE_UNLIMITED: [10.0]})
    verdict = next(each for each in judge([measured], {}) if each.measured)
    assert verdict.target.asked() == "at most +5.0 %"
    assert verdict.words() == ("+3.0 %", "+3.0 % to +3.0 %", "met by 2.0 %")


def test_memory_is_judged_by_bytes() -> None:
    """The promise is a difference."""
    measured = outcome(GATE[-1], {NATIVE: [4000.0], TWISTED: [1000.0]})
    verdict = next(each for each in judge([measured], {}) if each.measured)
    assert verdict.words() == ("+3,000 B", "+3,000 B to +3,000 B", "MISSED by 952 B")


def test_workers_are_judged_by_their_rate() -> None:
    """At least so much, and not of the cost."""
    scenario = next(each for each in chooseScenarios(readCommand(["--only", "workers"])))
    measured = Outcome(
        scenario, {NATIVE: [sample(100, rate=10.0)], WORKERS: [sample(100, rate=19.0)]}
    )
    (verdict,) = judge([measured], {})
    assert verdict.isMet
    assert verdict.words()[0] == "1.90×"


def test_every_promise_is_measured() -> None:
    """A run of everything has the scenario of each, with both sides in it."""
    scenarios = {each.name: each for each in chooseScenarios(readCommand([]))}
    for target in TARGETS:
        assert {target.peer, target.baseline} <= set(scenarios[target.scenario].peers)


def test_rows_of_those_who_are_missing() -> None:
    """A table names them, with the reason in short; the remarks have all of it."""
    text = report(
        outcome(tcp(), {TWISTED: [10]}), missing={NATIVE: "not installed: it is not there"}
    ).text()
    assert any(line.startswith(NATIVE) and "not installed" in line for line in text.splitlines())
    assert f"{NATIVE} is not measured: not installed: it is not there." in text


def test_both_forms_have_the_figures() -> None:
    """The page has them in Markdown's tables, and shows the plot."""
    made = report(outcome(CONNECT, {STOCK: [41.25], TWISTED: [33.0]}))
    assert "1.25" in made.text()
    page = made.markdown()
    assert "| 1.25 |" in page
    assert "speed.svg" in page


def test_many_cells_are_one_table() -> None:
    """Of three or more, the first has a table of its own."""
    cells = [
        outcome(each, {STOCK: [each.cell[0]], TWISTED: [1.0]})
        for each in echoScenarios((64, 1024, 16384), (50,))
        if each.family == "tcp" and each.cell
    ]
    text = report(*cells).text()
    assert "50 × 64 B" in text
    assert "16,384.00" in text


def test_the_plot_is_a_picture() -> None:
    """It is well formed, with a bar for each peer, whatever their names are."""
    groups = groupsOf([outcome(tcp(), {STOCK: [12.0], TWISTED: [11.0]})])
    odd = evolve(groups[0], bars=[*groups[0].bars, ("<&>", 3.0)])
    picture = ET.fromstring(drawPlot("a < b", [odd]))
    bars = [each.get("class", "") for each in picture.iter() if "bar" in each.get("class", "")]
    assert bars == ["bar ours", "bar", "bar"]


def test_quick_and_narrow_runs() -> None:
    """What is asked for is what is measured."""
    everything = chooseScenarios(readCommand([]))
    assert sum(each.weight is Weight.GLIMPSED for each in everything) == 8 + 8 + 5
    narrow = chooseScenarios(readCommand(["--size", "100", "--connections", "7"]))
    assert [each.name for each in narrow] == ["tcp-100-7", "tls-100-7", "udp-100-7"]
    quick = chooseScenarios(readCommand(["--quick"]))
    assert len(quick) < len(everything)
