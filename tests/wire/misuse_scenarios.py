"""
What programs do wrong on the native reactor, and what befalls them; as
L{tests.wire.reactor_scenarios}: C{python -m tests.wire.misuse_scenarios NAME}.
"""

from __future__ import annotations

import contextvars
import gc
import os
import resource
import signal
import socket
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionFdescWentAway
from twisted.internet.protocol import ClientFactory, DatagramProtocol, Protocol
from twisted.internet.utils import getProcessOutputAndValue
from twisted.logger import globalLogPublisher

from tests.wire.reactor_scenarios import (
    LOCAL,
    Builder,
    Recorder,
    connect,
    main,
    pair,
    problems,
    raises,
    read,
    turn,
    until,
)


async def setsTheClock(reactor: Any) -> None:
    """Calls are made in time though somebody sets the clock while others wait."""
    step = 0.0
    reactor.seconds = lambda: time.time() + step
    far = reactor.callLater(3600, lambda: None)
    for step in (7200.0, -7200.0, 0.0):
        began = time.monotonic()
        made: list[float] = []
        reactor.callLater(0.05, lambda made=made: made.append(time.monotonic()))
        reactor.callLater(0, lambda: None)
        # The loop's own timer waits, because the reactor's are what is tried.
        waited: Deferred[None] = Deferred()
        reactor.eventLoop.call_later(0.5, waited.callback, None)
        await waited
        assert 0.04 < made[0] - began < 0.4, (step, made[0] - began)
    if far.active():
        far.cancel()


async def waitsForEver(reactor: Any) -> None:
    """A call may be as far off as a program likes."""
    calls = [reactor.callLater(delay, lambda: None) for delay in (1e18, 1e306, float("inf"))]
    await turn(reactor, 0.01)
    for call in calls:
        call.cancel()


class Watched:
    """Something with a descriptor."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.calls: list[str] = []
        self.whenRead: Callable[[], object] = lambda: sock.recv(100)

    def fileno(self) -> int:
        return self.sock.fileno()

    def logPrefix(self) -> str:
        return "watched"

    def doRead(self) -> None:
        self.calls.append("read")
        self.whenRead()

    def doWrite(self) -> None:
        self.calls.append("write")

    def connectionLost(self, reason: Any) -> None:
        self.calls.append("lost")


async def closesWhatIsWatched(reactor: Any) -> None:
    """A descriptor that is closed while it is watched costs nobody else anything."""

    def watched() -> tuple[Watched, socket.socket]:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        return Watched(ours), theirs

    def closeNumber(whose: Watched) -> None:
        # As somebody else's bug does it: the object does not know.
        os.close(whose.fileno())

    kept = []

    # At once, and later.
    for wait in (False, True):
        one, theirs = watched()
        reactor.addReader(one)
        if wait:
            await turn(reactor, 0.02)
        one.sock.close()
        await turn(reactor, 0.02)
        reactor.removeReader(one)
        kept.append((one, theirs))
    # Watched in another way, or in one way only, after that.
    for change in (
        reactor.addWriter,
        reactor.removeReader,
        reactor.removeWriter,
    ):
        one, theirs = watched()
        theirs.send(b"")
        reactor.addReader(one)
        if change == reactor.removeWriter:
            reactor.addWriter(one)
        await turn(reactor, 0.02)
        closeNumber(one)
        try:
            change(one)
        except OSError:
            assert change == reactor.addWriter
        await turn(reactor, 0.02)
        reactor.removeReader(one)
        reactor.removeWriter(one)
        one.sock.detach()
        kept.append((one, theirs))
    # The number is another's by now.
    one, theirs = watched()
    reactor.addReader(one)
    await turn(reactor, 0.02)
    number = one.fileno()
    another, its = watched()
    closeNumber(one)
    os.dup2(another.fileno(), number)
    one.sock.detach()
    one.sock = socket.socket(fileno=number)
    reactor.addWriter(one)
    await until(reactor, lambda: "write" in one.calls)
    reactor.removeWriter(one)
    reactor.removeReader(one)
    kept += [(one, theirs), (another, its)]
    # In the midst of being called.
    one, theirs = watched()

    def closing() -> None:
        reactor.addWriter(one)
        one.sock.close()

    one.whenRead = closing
    reactor.addReader(one)
    theirs.send(b"x")
    await until(reactor, lambda: "read" in one.calls)
    await turn(reactor, 0.02)
    assert one not in reactor.getReaders()
    assert one not in reactor.getWriters()
    kept.append((one, theirs))

    problems.clear()
    for each, other in kept:
        each.sock.close()
        other.close()


async def watchesWithoutRoom(reactor: Any) -> None:
    """Where no descriptor is left for a duplicate, what it is of is watched itself."""
    ours, theirs = socket.socketpair()
    one = Watched(ours)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        reactor.addReader(one)
        reactor.addWriter(one)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    theirs.send(b"x")
    await until(reactor, lambda: {"read", "write"} <= set(one.calls))
    reactor.removeReader(one)
    reactor.removeWriter(one)
    os.fstat(ours.fileno())
    ours.close()
    theirs.close()


async def closesItsSocket(reactor: Any) -> None:
    """A connection whose socket is closed is lost, and nobody else's is."""
    for paused in (False, True):
        protocol, sock = await pair(reactor)
        transport = protocol.transport
        if paused:
            transport.pauseProducing()
            transport.write(b"x" * 10_000_000)
        transport.socket.close()
        transport.socket.close()
        if paused:
            transport.resumeProducing()
        await until(reactor, partial(getattr, protocol, "lost"))
        assert protocol.lost.check(ConnectionFdescWentAway)
        with sock:
            while await read(reactor, sock):
                pass
    gc.collect()


async def sharesItsSocket(reactor: Any) -> None:
    """Who goes on with a duplicate of a socket closes the first, and loses nothing."""
    for isGiven in (False, True):
        protocol, sock = await pair(reactor)
        lent = protocol.transport.socket
        assert lent.gettimeout() == 0
        if isGiven:
            other = socket.socket(fileno=lent.detach())
        else:
            other = lent.dup()
            assert not os.get_blocking(lent.fileno())
            lent.close()
        await until(reactor, partial(getattr, protocol, "lost"))
        other.setblocking(True)
        other.sendall(b"still here")
        assert await read(reactor, sock) == b"still here"
        number = other.fileno()
        other.close()
        with raises(OSError):
            os.fstat(number)
        sock.close()


user: contextvars.ContextVar[Any] = contextvars.ContextVar("user", default="nobody")


async def keepsContextsApart(reactor: Any) -> None:
    """What one call sets, calls of others do not see, nor is it kept for them."""
    seen: list[object] = []

    class Held:
        """Something of a request's."""

    def request() -> weakref.ref[Held]:
        held = Held()
        user.set(held)
        reactor.callLater(0.01, lambda: None)
        return weakref.ref(held)

    held = contextvars.copy_context().run(request)
    for _ in range(3):
        reactor.callLater(0.02, lambda: seen.append(user.get()))
        await turn(reactor, 0.03)
    assert seen == ["nobody"] * 3
    gc.collect()
    assert held() is None


async def keepsConnectionsContextsApart(reactor: Any) -> None:
    """What one sets when it is made, the next one does not see, nor do timers."""
    seen: list[object] = []

    class Setting(Recorder):
        def connectionMade(self) -> None:
            super().connectionMade()
            seen.append(user.get())
            user.set("somebody")

        def dataReceived(self, data: bytes) -> None:
            seen.append(user.get())

    for _ in range(3):
        protocol, sock = await pair(reactor, Setting)
        sock.send(b"x")
        sock.close()
        await until(reactor, partial(getattr, protocol, "lost"))
    assert seen == ["nobody"] * 6
    assert user.get() == "nobody"


async def refusesARunningLoop(reactor: Any) -> None:
    """Who runs it within a loop of asyncio's is told, in a program of its own."""
    program = (
        "import asyncio\n"
        "from myserv.reactor import install; reactor = install()\n"
        "async def main(): reactor.run()\n"
        "asyncio.run(main())\n"
    )
    ran = await getProcessOutputAndValue(sys.executable, ["-c", program], env=dict(os.environ))
    assert b"RuntimeError: the reactor cannot run within" in ran[1], ran
    assert ran[2] == 1


async def hearsOfAClientsBug(reactor: Any) -> None:
    """A client whose protocol raises when it is connected hears of the end."""
    lost: list[Any] = []

    class Broken(Protocol):
        def connectionMade(self) -> None:
            raise ZeroDivisionError("a bug")

    class Client(ClientFactory):
        protocol = Broken
        noisy = False

        def clientConnectionLost(self, connector: Any, reason: Any) -> None:
            lost.append(reason)

    factory = Builder()
    port = reactor.listenTCP(0, factory, interface=LOCAL)
    reactor.connectTCP(LOCAL, port.getHost().port, Client())
    await until(reactor, lambda: lost)
    assert lost[0].check(ZeroDivisionError)
    assert problems.pop()["failure"].check(ZeroDivisionError)
    await until(reactor, lambda: factory.built and factory.built[0].lost)
    await port.stopListening()


async def stopsWhileOthersConnect(reactor: Any) -> None:
    """Who was accepted in the last turn is closed, and not introduced after the end."""
    port: Any = None

    def stopping() -> Recorder:
        reactor.stop()
        return Recorder()

    factory = Builder(stopping)
    port = reactor.listenTCP(0, factory, interface=LOCAL)
    sock = connect(port)

    def check() -> None:
        [built] = factory.built
        assert not built.made
        assert sock.recv(1) == b""

    reactor.addSystemEventTrigger("after", "shutdown", check)
    never: Deferred[None] = Deferred()
    reactor.addSystemEventTrigger("before", "shutdown", never.callback, None)
    await never


async def keepsItsName(reactor: Any) -> None:
    """What a transport is called can be asked for after the end, too."""
    names: dict[str, list[str]] = {}

    class Naming(Recorder):
        def note(self) -> None:
            transport: Any = self.transport
            kind = type(transport).__name__
            names.setdefault(kind, []).append(f"{transport!r} {transport.logstr}")

        def connectionMade(self) -> None:
            super().connectionMade()
            self.note()

        def connectionLost(self, reason: Any) -> None:  # type: ignore[override]
            self.note()
            super().connectionLost(reason)

    path = str(Path(tempfile.mkdtemp()) / "s")
    factory = Builder(Naming)
    ports = [reactor.listenTCP(0, factory, interface=LOCAL), reactor.listenUNIX(path, factory)]
    connect(ports[0]).close()
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(path)
    ours, theirs = socket.socketpair()
    reactor.adoptStreamConnection(ours.fileno(), socket.AF_UNIX, factory)
    ours.close()
    theirs.close()
    await until(reactor, lambda: len(factory.built) == 3 and all(x.lost for x in factory.built))
    for kind, (before, *after) in names.items():
        if kind == "TCPServerStream":
            assert after == [before]
        assert all("Naming" in each for each in (before, *after)), names
    for port in ports:
        await port.stopListening()


async def writesBytesOnly(reactor: Any) -> None:
    """As on Twisted's reactors: nothing that may be changed, and nothing that is false."""
    protocol, sock = await pair(reactor)
    transport = protocol.transport
    wrong: list[Any] = ["text", "", None, 0, [], {}, bytearray(b"x"), memoryview(b"x")]
    for _ in range(2):
        for each in wrong:
            with raises(TypeError):
                transport.write(each)
            with raises(TypeError):
                transport.writeSequence([b"m" * 20_000, each])
        transport.loseConnection()
        await until(reactor, lambda: protocol.lost)
    assert await read(reactor, sock) == b""
    sock.close()


async def restsWhenItCannotReceive(reactor: Any) -> None:
    """A port that cannot read does not try all the time, and reads when it can."""
    received: list[bytes] = []

    class Server(DatagramProtocol):
        def datagramReceived(self, datagram: bytes, addr: Any) -> None:
            received.append(datagram)

    port = reactor.listenUDP(0, Server(), interface=LOCAL)
    failing = OSError(5, "Input/output error")
    working, calls = port._receiver.receive, []

    def receive(*arguments: Any) -> int:
        calls.append(1)
        if len(calls) == 1:
            raise failing
        return int(working(*arguments))

    port._receiver.receive = receive
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(b"hello", (LOCAL, port.getHost().port))
        await turn(reactor, 0.2)
        assert len(calls) == 1
        assert "cannot read" in str(problems.pop())
        await until(reactor, lambda: received == [b"hello"])
    # One that rests may be closed.
    calls.clear()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(b"hello", (LOCAL, port.getHost().port))
        await until(reactor, lambda: calls)
    problems.clear()
    await port.stopListening()


async def goesOnAfterAnExit(reactor: Any) -> None:
    """Only C{stop} ends it: a signal's handler that raises does not, as on Twisted's."""

    def exits(*arguments: object) -> None:
        raise SystemExit(7)

    signal.signal(signal.SIGUSR1, exits)
    threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGUSR1)).start()
    await until(reactor, lambda: problems)
    assert "Unexpected error in main loop" in str(problems.pop())
    assert not problems
    assert reactor.running


async def stopsWithItsLoop(reactor: Any) -> None:
    """Who stops the loop has stopped the reactor: its triggers are called."""
    ended: Deferred[None] = Deferred()
    reactor.addSystemEventTrigger("before", "shutdown", ended.callback, None)
    reactor.callLater(0.01, reactor.eventLoop.stop)
    await ended


async def saysWhoLogs(reactor: Any) -> None:
    """What a protocol logs has its connection's name, when it is made and lost as well."""
    from twisted.python import log

    class Telling(Recorder):
        def connectionMade(self) -> None:
            super().connectionMade()
            log.msg("made")

        def dataReceived(self, data: bytes) -> None:
            log.msg("data")

        def connectionLost(self, reason: Any) -> None:  # type: ignore[override]
            log.msg("lost")
            super().connectionLost(reason)

    systems: dict[str, str] = {}

    def observe(event: Any) -> None:
        for word in ("made", "data", "lost"):
            if event.get("message") == (word,):
                systems[word] = event["system"]

    observer: Any = observe
    globalLogPublisher.addObserver(observer)
    protocol, sock = await pair(reactor, Telling)
    sock.send(b"x")
    await until(reactor, lambda: "data" in systems)
    sock.close()
    await until(reactor, lambda: protocol.lost)
    assert systems == dict.fromkeys(("made", "data", "lost"), f"Telling,0,{LOCAL}")


async def endsClientsThatConnect(reactor: Any) -> None:
    """A client that connects in the moment in which the reactor stops hears of the end."""
    failed: list[Any] = []

    class Client(ClientFactory):
        protocol = Recorder
        noisy = False

        def clientConnectionFailed(self, connector: Any, reason: Any) -> None:
            failed.append(reason)

        def clientConnectionLost(self, connector: Any, reason: Any) -> None:
            failed.append(reason)

    with socket.create_server((LOCAL, 0)) as server:
        connector = reactor.connectTCP(LOCAL, server.getsockname()[1], Client())
        opening = connector.transport._connectDone

        def connected() -> None:
            opening()
            reactor.stop()

        connector.transport._connectDone = connected
        reactor.addSystemEventTrigger(
            "after", "shutdown", lambda: problems.extend([] if failed else ["it was not told"])
        )
        ended: Deferred[None] = Deferred()
        reactor.addSystemEventTrigger("before", "shutdown", ended.callback, None)
        await ended


if __name__ == "__main__":
    sys.exit(main(globals()[sys.argv[1]]))
