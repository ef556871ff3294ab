"""
From the services that run to those that a changed configuration asks for.

Whatever may fail comes first and is undone if anything does: what is new is built,
then opened.  Only then is anything changed that a peer notices; but for an endpoint
that another one wants the place of, which closes before that one can open.
"""

from __future__ import annotations

from collections.abc import Iterator

from attrs import frozen
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.python.failure import Failure

from myserv.admission.access import CredentialsRule
from myserv.admission.server import ServerAdmission
from myserv.endpoints.claim import claimOf
from myserv.endpoints.failure import describeListenError
from myserv.errors import ConfigurationError, ListenError, Problem
from myserv.events import ListenerFailed
from myserv.server.build import Resources, ServiceBuilder
from myserv.server.built import BuiltService, builtServices
from myserv.server.changes import Changes
from myserv.server.endings import Endings
from myserv.server.listener import Listener
from myserv.server.plan import PlannedEndpoint, ServicePlan
from myserv.server.service import Server


@frozen(eq=False)
class _Part:
    """A listener that comes or goes."""

    service: BuiltService
    listener: Listener
    planned: PlannedEndpoint


class Transition:
    """
    One change of a server that runs: L{build}, L{open}, L{commit}.
    """

    def __init__(
        self,
        server: Server,
        changes: Changes,
        resources: Resources,
        admission: ServerAdmission,
        endings: Endings,
    ) -> None:
        """
        Args:
            server: The server.
            changes: What is to be done.
            resources: What is new is built with these.
            admission: Decides who may connect, over all services.
            endings: Told of what ends.
        """
        self._server = server
        self._changes = changes
        self._resources = resources
        self._admission = admission
        self._endings = endings
        #: What has to be closed before something else can be done.
        self._closing = Endings()
        self._running = {each.builder.plan.name: each for each in builtServices(server)}
        self._coming: list[_Part] = []
        self._started: list[BuiltService] = []
        self._opened: list[_Part] = []
        self._released: list[_Part] = []
        self._going = [*self._findGoing()]

    def _findGoing(self) -> Iterator[_Part]:
        for each in self._changes.services:
            yield from self._partsOf(each.before.name, each.closed)
        for plan in self._changes.stopped:
            yield from self._partsOf(plan.name, plan.endpoints)

    def _partsOf(self, name: str, endpoints: tuple[PlannedEndpoint, ...]) -> Iterator[_Part]:
        service = self._running[name]
        left = list(service.listeners)
        for planned in endpoints:
            # Of several that are written alike, one each.
            listener = next(each for each in left if each.endpoint == str(planned.endpoint))
            left.remove(listener)
            yield _Part(service, listener, planned)

    # What may fail.

    def build(self) -> None:
        """
        Build what is new; nothing opens.

        Raises:
            ConfigurationError: With a problem for each plugin or endpoint that
                refused; nothing is left of what was built.
        """
        problems: list[Problem] = []
        for each in self._changes.services:
            service = self._running[each.after.name]
            problems += _unknownUsers(each.after)
            for planned in each.opened:
                try:
                    listener = service.builder.buildListener(planned)
                    self._coming.append(_Part(service, listener, planned))
                except ConfigurationError as error:
                    problems += error.problems
        for plan in self._changes.started:
            try:
                service = ServiceBuilder(plan, self._resources).build()
            except ConfigurationError as error:
                problems += error.problems
                self._admission.forget(plan.name)
                continue
            self._started.append(service)
            for listener, planned in zip(service.listeners, plan.endpoints, strict=True):
                self._coming.append(_Part(service, listener, planned))
        if problems:
            self._forget()
            raise self._resources.report(dict.fromkeys(problems))

    async def open(self) -> None:
        """
        Open what is new.

        Raises:
            ListenError: One could not be opened.  All others are closed again, and
                what had to make room is open again.
        """
        blocking = {part: self._blockingOf(part) for part in self._coming}
        try:
            for part, blockers in blocking.items():
                if not blockers:
                    await self._open(part)
            for part, blockers in blocking.items():
                if blockers:
                    for blocker in blockers:
                        await self._release(blocker)
                    await self._open(part)
        except Exception:
            await self.undo()
            raise

    def _blockingOf(self, part: _Part) -> list[_Part]:
        claim = claimOf(part.planned.endpoint)
        claims = ((claimOf(each.planned.endpoint), each) for each in self._going)
        if claim is None:
            return []
        return [each for other, each in claims if other is not None and claim.conflicts(other)]

    async def _open(self, part: _Part) -> None:
        try:
            await part.listener.start()
        except Exception as error:
            reason = part.service.describeFailure(error)
            text = f"cannot listen on {part.listener.endpoint}: {reason}"
            problem = Problem(text, part.planned.key)
            raise ListenError(self._resources.report([problem]).problems) from error
        self._opened.append(part)

    async def _release(self, part: _Part) -> None:
        if part not in self._released:
            self._released.append(part)
            self._close(part, part.listener.release())
            await self._closing.wait()

    def _close(self, part: _Part, closed: Deferred[None]) -> None:
        # A port takes a turn of the reactor to close, whoever loses interest meanwhile.
        self._closing.add(part.listener, closed)
        self._endings.add(part.listener, closed)

    async def undo(self) -> None:
        """
        Close what is new, and open what had to make room again.
        """
        for part in self._opened:
            self._close(part, part.listener.stopNow())
        self._forget()
        await self._closing.wait()
        for part in self._released:
            # Not if the server stops, which stops it.
            if part.service.running:
                await part.listener.reopen().addErrback(self._lost, part)

    def _lost(self, failure: Failure, part: _Part) -> None:
        # Somebody else was quicker.
        error = failure.value
        assert isinstance(error, Exception)
        reason = describeListenError(error)
        self._resources.emit(ListenerFailed(part.listener.service, part.listener.endpoint, reason))

    def _forget(self) -> None:
        for part in self._coming:
            part.service.builder.forget(part.listener)
        for service in self._started:
            self._admission.forget(service.builder.plan.name)

    # What cannot.

    def commit(self) -> None:
        """
        Let the new services serve, and the old ones end.
        """
        for each in self._changes.services:
            service = self._running[each.after.name]
            service.builder.plan = each.after
            service.applyLimits(each.after.limits)
            joining = [part.listener for part in self._opened if part.service is service]
            leaving = [part.listener for part in self._going if part.service is service]
            service.exchange(joining, leaving)
        for service in self._started:
            service.join(self._server)
        for plan in self._changes.stopped:
            service = self._running[plan.name]
            self._endings.add(service, maybeDeferred(self._server.removeService, service))
            self._admission.forget(plan.name)


def _unknownUsers(plan: ServicePlan) -> list[Problem]:
    try:
        CredentialsRule(plan.limits.users, plan.limits.groups)
    except ConfigurationError as error:
        return plan.locateLimits(error.problems)
    return []
