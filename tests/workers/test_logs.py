"""A worker's log, from its end to the supervisor's."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest
from twisted.logger import LogEvent, Logger, LogLevel, eventAsText
from twisted.python.failure import Failure

from myserv.workers.lines import MAXIMUM_TEXT, MOST, RecordWriter
from myserv.workers.records import LineReader, Relay
from tests.workers.stage import WatchingClock


class Pipe:
    """A worker's end and the supervisor's."""

    def __init__(self) -> None:
        self.reactor = WatchingClock()
        read, write = os.pipe()
        self.write = write
        self.events: list[LogEvent] = []
        observe: Any = self.events.append
        self.relay = Relay(2, Logger(namespace="myserv", observer=observe))
        self.writer = RecordWriter(write)
        self.reader = LineReader(self.reactor, read, self.relay.record)
        self.log = Logger(namespace="there", observer=self.writer)

    def lines(self) -> list[str]:
        """The supervisor's log, without the time."""
        return [eventAsText(each, includeTimestamp=False) for each in self.events]


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    """One."""
    made = Pipe()
    yield made
    os.close(made.write)
    made.reader.finish()
    made.reader.finish()


def test_aLine(pipe: Pipe) -> None:
    """It has the worker's number, the time it was written, and its level."""
    pipe.log.warn("{what} happened", what="something")
    pipe.reader.doRead()
    [event] = pipe.events
    assert pipe.lines() == ["[worker 2: there#warn] something happened"]
    assert event["log_level"] is LogLevel.warn
    assert event["worker"] == 2


def test_anOldFashionedLine(pipe: Pipe) -> None:
    """Twisted's own say a system instead of a namespace."""
    pipe.log.info("{what}", what="hello", log_system="-")
    pipe.reader.doRead()
    assert pipe.lines() == ["[worker 2: -] hello"]


def test_aTraceback(pipe: Pipe) -> None:
    """It is there, line by line, and it is an error's."""
    try:
        raise ValueError("no luck")
    except ValueError:
        pipe.log.failure("it broke", Failure())
    pipe.reader.doRead()
    [line] = pipe.lines()
    assert line.startswith("[worker 2: there#critical] it broke\n")
    assert "Traceback (most recent call last)" in line
    assert "builtins.ValueError: no luck" in line
    assert pipe.events[0]["isError"] == 1


def test_whatItPrintsPastTheLog(pipe: Pipe) -> None:
    """A line that is no record is shown as it is; an empty one is not."""
    os.write(pipe.write, b"Fatal Python error\n\n{half a rec")
    pipe.reader.doRead()
    assert pipe.reader.unread == b"{half a rec"
    pipe.reader.finish()
    assert pipe.lines() == ["[worker 2] Fatal Python error", "[worker 2] {half a rec"]


def test_endlessLines(pipe: Pipe) -> None:
    """A line without end is cut: memory is bounded."""
    reactor = WatchingClock()
    received: list[bytes] = []
    read, write = os.pipe()
    reader = LineReader(reactor, read, received.append)
    for _ in range(40):
        os.write(write, b"x" * 65536)
        reader.doRead()
    assert len(reader.unread) <= 2**20 + 65536
    assert len(received) == 2
    reader.doRead()
    os.close(write)
    reader.doRead()
    assert reactor.readers == []
    reader.finish()
    assert sum(len(each) for each in received) == 40 * 65536


def test_aLongText(pipe: Pipe) -> None:
    """It is cut, and says so."""
    pipe.log.info("{text}", text="x" * (MAXIMUM_TEXT + 5))
    for _ in range(3):
        pipe.reader.doRead()
        pipe.writer.doWrite()
    assert pipe.lines()[0].endswith("x… (5 more characters)")


def test_aSlowSupervisor(pipe: Pipe) -> None:
    """
    The worker never waits: lines wait in bounded memory, then are lost and counted; those
    that arrive are whole.
    """
    there = WatchingClock()
    pipe.writer.writeFrom(there)
    for number in range(3000):
        pipe.log.info("{text} {number}", text="x" * 1000, number=number)
    assert there.writers == [pipe.writer]
    for _ in range(200):
        pipe.reader.doRead()
        pipe.writer.doWrite()
    assert there.writers == []
    *lines, last = pipe.lines()
    assert 500 < len(lines) < 3000
    assert [int(each.split()[-1]) for each in lines] == list(range(len(lines)))
    assert last == (
        f"[worker 2: myserv#warn] {3000 - len(lines)} log line(s) were lost: they came faster "
        "than they could be written"
    )
    assert len(lines) * 1000 < MOST + 200_000
    # It begins again.
    pipe.log.info("{number}", number="again")
    pipe.reader.doRead()
    assert pipe.lines()[-1].endswith("again")


def test_theSupervisorIsGone() -> None:
    """What cannot be written is forgotten."""
    read, write = os.pipe()
    os.close(read)
    writer = RecordWriter(write)
    log = Logger(observer=writer)
    log.info("hello")
    writer.finish()
    reactor = WatchingClock()
    writer.writeFrom(reactor)
    assert reactor.writers == []
    assert writer.fileno() == write
    writer.connectionLost(Failure(OSError()))
    os.close(write)


def test_aRecordThatIsNone(pipe: Pipe) -> None:
    """A worker may write anything to its pipe."""
    records: list[Any] = [[], 5, {"level": "loud"}, {"level": "info"}, {"level": "info", "text": 1}]
    for each in records:
        os.write(pipe.write, json.dumps(each).encode() + b"\n")
    pipe.reader.doRead()
    assert len(pipe.events) == len(records)
