"""
What a worker does once it knows what.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.error import ReactorNotRunning
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from myserv.admission.server import ServerAdmission
from myserv.errors import ConfigurationError, ListenError, describeException
from myserv.observe.log import LogObserver
from myserv.observe.observers import Observers
from myserv.server.service import ProtocolService, Server
from myserv.workers.building import Planned, buildPlanned, planText, roomOf
from myserv.workers.channel import Channel
from myserv.workers.handed import withSockets
from myserv.workers.lines import RecordWriter
from myserv.workers.messages import (
    BATCH,
    Assignment,
    ChangeLimits,
    Deaf,
    Drain,
    Failed,
    Message,
    Penalties,
    Ping,
    Pong,
    Ready,
)
from myserv.workers.tallying import openTallies

LOOK_AGAIN: Final = 1.0
"""Seconds between two looks at what the other workers have: whether there is room."""

GATHER: Final = 0.1
"""Seconds until the other workers are told of a penalty, and of those that follow it."""

_log = Logger(namespace="myserv")


def nameOfReactor(reactor: Any) -> str:
    """
    Say what people call a reactor, such as C{"epoll"}, C{"asyncio"} or C{"uvloop"}.
    """
    name = type(reactor).__name__.removesuffix("Reactor").removesuffix("Selector")
    return name.lower()


class Worker:
    """
    One of several processes that serve as one.
    """

    def __init__(
        self,
        reactor: Any,
        assignment: Assignment,
        channel: socket.socket,
        log: RecordWriter,
    ) -> None:
        """
        Build the server; nothing opens yet.

        Args:
            reactor: Where it serves.
            assignment: What the supervisor said.
            channel: The way to the supervisor.
            log: Where the log goes.

        Raises:
            ConfigurationError: A plugin or an endpoint refuses what it is asked.
        """
        self._reactor = reactor
        self._assignment = assignment
        self._log = log
        self._isLeaving = False
        self._code = 0
        self._penalties: dict[int, float] = {}
        planned = planText(assignment.path, assignment.text)
        keys = planned.plan.keys
        self._lines = LogObserver(connections=keys.logConnections, clock=reactor)
        observers = Observers(self._lines)
        self._admission = self._admit(planned, observers)
        plans = withSockets(
            planned.plan.services,
            {(name, index): numbers for name, index, numbers in assignment.sockets},
            self._deaf,
        )
        self._server: Server = buildPlanned(
            planned, plans, reactor, observers.emit, self._admission, self._failed
        )
        if assignment.directory:
            # Where a process that serves alone would be by now.
            os.chdir(assignment.directory)
        self._channel = Channel(reactor, channel, self._received, self._orphaned)

    def _admit(self, planned: Planned, observers: Observers) -> ServerAdmission:
        assignment = self._assignment
        tallies = None
        if assignment.tallies >= 0:
            names = [plan.name for plan in planned.plan.services]
            tallies = openTallies(assignment.tallies, assignment.slot, assignment.slots, names)
        admission = ServerAdmission(
            self._reactor.seconds,
            observers.emit,
            room=roomOf(planned.plan.keys, assignment.workers),
            penalties=planned.plan.penalties,
            tallies=tallies,
            share=1 / assignment.workers,
        )
        admission.penalized = self._penalized
        return admission

    def run(self) -> int:
        """
        Serve until told otherwise.

        Returns:
            The exit code.
        """
        self._reactor.callWhenRunning(self._start)
        self._reactor.run()
        self._log.finish()
        return self._code

    def _start(self) -> None:
        signal.signal(signal.SIGTERM, self._terminated)
        looking = LoopingCall(self._admission.lookAgain)
        looking.clock = self._reactor
        looking.start(LOOK_AGAIN, now=False)
        try:
            self._server.privilegedStartService()
            self._server.startService()
        except ConfigurationError as error:
            self._fail(str(error))
        except Exception as error:  # noqa: BLE001 - whatever it is, the supervisor has to know
            _log.failure("a worker cannot start")
            self._fail(f"a worker cannot start: {describeException(error)}")
        else:
            self._channel.send(Ready(nameOfReactor(self._reactor)))

    def _failed(self, error: ListenError) -> None:
        self._fail(str(error))

    def _fail(self, reason: str) -> None:
        self._channel.send(Failed(reason))
        self._code = 1
        self._leave()

    # What the supervisor says.

    def _received(self, message: Message) -> None:
        if isinstance(message, Ping):
            self._channel.send(Pong(self._admission.connections), needed=False)
        elif isinstance(message, Penalties):
            for key, seconds in message.penalties:
                self._admission.learnPenalty(key, seconds)
        elif isinstance(message, ChangeLimits):
            self._changeLimits(message.text)
        elif isinstance(message, Drain):
            self._leave()

    def _changeLimits(self, text: str) -> None:
        try:
            planned = planText(self._assignment.path, text)
        except ConfigurationError as error:
            # It was checked before.
            _log.error("limits were not changed: {reason}", reason=str(error))
            return
        plan = planned.plan
        self._admission.apply(roomOf(plan.keys, self._assignment.workers), plan.penalties)
        limits = {each.name: each.limits for each in plan.services}
        for service in self._server:
            if isinstance(service, ProtocolService):
                service.applyLimits(limits[str(service.name)])
        self._server.reload()

    # What it says to the supervisor.

    def _penalized(self, key: int, seconds: float) -> None:
        # Together: peers that misbehave come in floods.
        if not self._penalties:
            self._reactor.callLater(GATHER, self._sharePenalties)
        self._penalties[key] = self._penalties.get(key, 0.0) + seconds

    def _sharePenalties(self) -> None:
        penalties, self._penalties = [*self._penalties.items()], {}
        for start in range(0, len(penalties), BATCH):
            self._channel.send(Penalties(penalties[start : start + BATCH]), needed=False)

    def _deaf(self) -> None:
        self._channel.send(Deaf())

    # How it ends.

    def _orphaned(self, reason: str) -> None:
        if not self._isLeaving:
            _log.error("the supervisor is gone ({reason}): leaving", reason=reason)
        self._leave()

    def _terminated(self, number: int, frame: object) -> None:
        self._reactor.callFromThread(self._leave)

    def _leave(self) -> None:
        if self._isLeaving:
            return
        self._isLeaving = True
        leaving: Deferred[Any] = self._server.stopService()
        leaving.addBoth(lambda _: self._reactor.callLater(0, self._stop))

    def _stop(self) -> None:
        self._lines.flush()
        self._channel.close()
        self._log.finish()
        # A signal may have stopped it.
        with contextlib.suppress(ReactorNotRunning):
            self._reactor.stop()
