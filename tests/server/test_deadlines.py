"""One timer watches many."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from myserv.server.deadlines import TICK, Deadlines


class Patient:
    """Is looked at, and says when to look again."""

    def __init__(self, again: Callable[[float], float] = lambda now: math.inf) -> None:
        self.tick: int | None = None
        self.looks: list[float] = []
        self.again = again

    def checkDeadlines(self, now: float) -> float:
        self.looks.append(now)
        return self.again(now)


def test_due() -> None:
    """What is due is looked at, within a tick, and not before."""
    clock = Clock()
    deadlines = Deadlines(clock)
    patient = Patient()
    deadlines.watch(patient, 10.1)
    clock.advance(10.0)
    assert patient.looks == []
    clock.advance(TICK)
    assert patient.looks == [10.25]
    assert not clock.getDelayedCalls()


def test_again() -> None:
    """It says itself when to look again."""
    clock = Clock()
    deadlines = Deadlines(clock)
    patient = Patient(lambda now: now + 5)
    deadlines.watch(patient, 5)
    clock.pump([TICK] * 100)
    assert patient.looks == [5, 10, 15, 20, 25]


def test_overdue() -> None:
    """What is due at once is looked at once a tick, not for ever."""
    clock = Clock()
    deadlines = Deadlines(clock)
    patient = Patient(lambda now: now - 100)
    deadlines.watch(patient, -5)
    clock.pump([TICK] * 4)
    assert len(patient.looks) == 4


def test_oneTimer() -> None:
    """Whatever is watched, one call is delayed, to the first that is due."""
    clock = Clock()
    deadlines = Deadlines(clock)
    for due in (50, 20, 30, 20):
        deadlines.watch(Patient(), due)
    [call] = clock.getDelayedCalls()
    assert call.getTime() == 20


def test_forget() -> None:
    """What is forgotten is not looked at; without anything there is no timer."""
    clock = Clock()
    deadlines = Deadlines(clock)
    first, second = Patient(), Patient()
    deadlines.watch(first, 10)
    deadlines.watch(second, 10)
    deadlines.forget(first)
    deadlines.forget(first)
    clock.advance(10)
    assert (first.looks, second.looks) == ([], [10])
    deadlines.watch(first, 20)
    deadlines.forget(first)
    assert not clock.getDelayedCalls()


def test_forgetWhileLooking() -> None:
    """One that ends another while it is looked at: the other is looked at no more."""
    clock = Clock()
    deadlines = Deadlines(clock)
    other = Patient()

    def end(now: float) -> float:
        deadlines.forget(other)
        return math.inf

    deadlines.watch(Patient(end), 10)
    deadlines.watch(other, 10)
    clock.advance(11)
    assert other.looks == []
    assert not clock.getDelayedCalls()


def test_infinity() -> None:
    """What is never due is not watched."""
    clock = Clock()
    Deadlines(clock).watch(Patient(), math.inf)
    assert not clock.getDelayedCalls()


def test_emptyTicks() -> None:
    """Ticks that nobody waits for any more are not kept once they have passed."""
    clock = Clock()
    deadlines = Deadlines(clock)
    staying = Patient(lambda now: now + 100)
    deadlines.watch(staying, 1)
    for due in range(2, 50):
        leaving = Patient()
        deadlines.watch(leaving, due)
        deadlines.forget(leaving)
    clock.advance(1)
    [call] = clock.getDelayedCalls()
    assert call.getTime() == 101


@given(st.lists(st.tuples(st.floats(0, 100), st.booleans()), max_size=30), st.data())
def test_all(schedule: list[tuple[float, bool]], data: st.DataObject) -> None:
    """Each is looked at within a tick of its time, whatever else is watched."""
    clock = Clock()
    deadlines = Deadlines(clock)
    expected = []
    for due, stays in schedule:
        patient = Patient()
        deadlines.watch(patient, due)
        if stays:
            expected.append((patient, due))
        else:
            deadlines.forget(patient)
    clock.pump([data.draw(st.floats(0.01, TICK)) for _ in range(20)])
    clock.pump([TICK] * 420)
    for patient, due in expected:
        [look] = patient.looks
        assert due - TICK / 50 <= look <= due + 2 * TICK + 0.01
    assert not clock.getDelayedCalls()


def test_lateForTwoTicks() -> None:
    """Each is looked at once for each, though the first asks for the second."""
    clock = Clock()
    deadlines = Deadlines(clock)
    first, second = Patient(lambda now: 10 + TICK), Patient(lambda now: 10 + TICK)
    deadlines.watch(first, 10)
    deadlines.watch(second, 10 + TICK)
    clock.advance(10 + 2 * TICK)
    assert (len(first.looks), len(second.looks)) == (3, 2)
    clock.advance(TICK)
    assert (len(first.looks), len(second.looks)) == (4, 3)
    deadlines.forget(first)
    deadlines.forget(second)
    assert not clock.getDelayedCalls()


def test_keepsNobody() -> None:
    """Who is looked at no more is not kept in memory, and nobody of a tick that is over."""
    clock = Clock()
    deadlines = Deadlines(clock)
    patients = [Patient() for _ in range(3)]
    for patient in patients:
        deadlines.watch(patient, 10)
    deadlines.watch(Patient(lambda now: now + 100), 20)
    clock.advance(11)
    assert all(patient.looks for patient in patients)
    references = [weakref.ref(patient) for patient in patients]
    del patient, patients
    assert [reference() for reference in references] == [None] * 3
