"""
The certificates of one listener, kept fresh.

Files are looked at every L{POLL} seconds.  What changed is read when it has
stopped changing, checked, and swapped in for new connections; connections that
are open keep what they have.  What is wrong leaves the old certificate serving,
and one event says why.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

from attrs import frozen
from OpenSSL import SSL
from twisted.internet.task import LoopingCall

from myserv.endpoints.tls.identity import (
    Identity,
    filesOf,
    readDirectory,
    readIdentity,
    utcNow,
)
from myserv.errors import EndpointError
from myserv.events import CertificateExpiring, CertificateLoaded, CertificateRejected
from myserv.interfaces import IListenerContext

POLL: Final = 2.0
"""Seconds between two looks at the files."""

EXPIRY_NOTICE: Final = 14 * 86400.0
"""Seconds before its end that an event reminds of a certificate, once a day;
certbot renews 30 days before, so something is amiss by then."""

REBUILD: Final = 86400.0
"""Seconds after which contexts are made anew, so that the key of OpenSSL's session
tickets does not live for ever and past sessions stay secret."""

_DAY: Final = 86400.0

State = tuple[tuple[str, int, int, int], ...]


@frozen
class Sources:
    """
    Where certificates come from: one of these.

    @ivar certs: A directory.
    @ivar cert: A file with a certificate, and C{key} the file with its key.
    @ivar ocsp: A file with the OCSP response for C{cert}.
    @ivar made: Identities that are in no file.
    @ivar besides: Files that the contexts are made of, too.
    """

    certs: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    ocsp: Path | None = None
    made: tuple[Identity, ...] = ()
    besides: tuple[Path, ...] = ()

    def read(self) -> tuple[list[Identity], list[EndpointError]]:
        """
        Read what there is.

        Returns:
            The identities, and what is wrong with files that were passed over.

        Raises:
            EndpointError: Nothing can be read.
        """
        if self.certs is not None:
            return readDirectory(self.certs)
        if self.cert is not None:
            return [readIdentity(self.cert, self.key or self.cert, self.ocsp)], []
        return list(self.made), []

    def state(self) -> State:
        """
        Tell one state of the files from another.
        """
        files: list[Path] = [
            each for each in (self.cert, self.key, self.ocsp, *self.besides) if each is not None
        ]
        if self.certs is not None:
            try:
                files += filesOf(self.certs)
                files += [file.with_suffix(".ocsp") for file in files if file.suffix != ".key"]
            except EndpointError:
                pass
        found = []
        for file in files:
            try:
                status = os.stat(file)
            except OSError:
                continue
            found.append((str(file), status.st_mtime_ns, status.st_size, status.st_ino))
        return tuple(found)


class Certificates:
    """
    The contexts of a listener at one time, chosen by the name a client asks for.
    """

    def __init__(
        self,
        identities: list[Identity],
        makeContext: Callable[[Identity], SSL.Context],
        *,
        default: Identity,
        refuseUnknown: bool,
    ) -> None:
        """
        Args:
            identities: What to show, the best for a name first.
            makeContext: Makes the context that shows one.
            default: What a client is shown that names no server.
            refuseUnknown: A client that names another server is refused;
                otherwise it is shown the default.
        """
        self.identities = identities
        self._refuseUnknown = refuseUnknown
        contexts = {id(identity): makeContext(identity) for identity in identities}
        self._byName: dict[str, SSL.Context] = {}
        for identity in identities:
            for name in identity.names:
                self._byName.setdefault(name, contexts[id(identity)])
        #: The context that every handshake starts with.
        self.default = contexts[id(default)]
        self.default.set_tlsext_servername_callback(self._choose)

    def _choose(self, connection: SSL.Connection) -> None:
        asked = connection.get_servername()
        if not asked:
            return
        name = asked.decode("ascii", "replace").lower().rstrip(".")
        context = self._byName.get(name) or self._byName.get("*." + name.partition(".")[2])
        if context is not None:
            if context is not self.default:
                connection.set_context(context)
        elif self._refuseUnknown:
            # pyOpenSSL makes a fatal alert of any exception.
            raise UnknownName(name)


class UnknownName(Exception):
    """A client asked for a server that is not here."""


class CertificateStore:
    """
    Reads, watches and swaps the certificates of one listener.

    @ivar current: The L{Certificates} for new connections.
    """

    def __init__(
        self,
        context: IListenerContext,
        sources: Sources,
        makeContext: Callable[[Identity], SSL.Context],
        *,
        defaultName: str | None = None,
        refuseUnknown: bool = False,
    ) -> None:
        """
        Read the certificates.

        Args:
            context: The listener.
            sources: Where they are.
            makeContext: Makes the OpenSSL context that shows one.
            defaultName: Which a client is shown that names no server; the one
                whose file is the first when omitted.
            refuseUnknown: See L{Certificates}.

        Raises:
            EndpointError: There is none that can be used.
        """
        self._context = context
        self._sources = sources
        self._makeContext = makeContext
        self._defaultName = defaultName
        self._refuseUnknown = refuseUnknown
        self._poll = LoopingCall(self._look)
        self._poll.clock = context.reactor
        self._seen = self._loaded = sources.state()
        self._reminded: dict[Path, float] = {}
        self._built = context.reactor.seconds()
        self.current, self._problems = self._read()

    def start(self) -> None:
        """
        Say what is served, and begin to watch.
        """
        self._announce()
        self._remind()
        self._poll.start(POLL, now=False)

    def stop(self) -> None:
        """
        Watch no longer.
        """
        if self._poll.running:
            self._poll.stop()

    def reload(self) -> None:
        """
        Read the files now, changed or not.
        """
        self._seen = self._loaded = self._sources.state()
        self._swap()

    def _look(self) -> None:
        state = self._sources.state()
        settled = state == self._seen
        self._seen = state
        if settled and state != self._loaded:
            self._loaded = state
            self._swap()
        elif self._context.reactor.seconds() - self._built >= REBUILD:
            self._swap(quietly=True)
        self._remind()

    def _swap(self, *, quietly: bool = False) -> None:
        self._built = self._context.reactor.seconds()
        try:
            read, self._problems = self._read(strict=True)
        except EndpointError as error:
            if not quietly:
                self._reject(error)
            return
        self.current = read
        if not quietly:
            self._announce()

    def _read(self, *, strict: bool = False) -> tuple[Certificates, list[EndpointError]]:
        identities, problems = self._sources.read()
        now = utcNow(self._context.reactor.seconds())
        valid = []
        for identity in identities:
            problem = identity.problem(now)
            if problem is None:
                valid.append(identity)
            else:
                problems.append(EndpointError(f"{identity.file}: {problem}"))
        # At the start even an expired certificate is better than none, and
        # problems tells of it; later there is an older one, which serves on.
        usable = valid or ([] if strict else identities)
        if not usable:
            raise problems[0] if problems else EndpointError(self._nothing())
        # Of two for one name, the one that lasts.
        best = sorted(usable, key=lambda identity: identity.notAfter, reverse=True)
        certificates = Certificates(
            best,
            self._makeContext,
            default=self._default(usable),
            refuseUnknown=self._refuseUnknown,
        )
        return certificates, problems

    def _nothing(self) -> str:
        return f"{self._sources.certs}: no file here holds a certificate that has a key"

    def _default(self, identities: list[Identity]) -> Identity:
        if self._defaultName is None:
            return identities[0]
        for identity in identities:
            if self._defaultName.lower() in identity.names:
                return identity
        raise EndpointError(f'no certificate here holds the default name "{self._defaultName}"')

    def _announce(self) -> None:
        for error in self._problems:
            self._reject(error)
        for identity in self.current.identities:
            self._context.emit(
                CertificateLoaded(
                    self._context.service,
                    self._context.endpoint,
                    str(identity.file),
                    identity.names,
                    identity.notAfter.timestamp(),
                )
            )

    def _reject(self, error: EndpointError) -> None:
        self._context.emit(
            CertificateRejected(self._context.service, self._context.endpoint, str(error))
        )

    def _remind(self) -> None:
        now = self._context.reactor.seconds()
        for identity in self.current.identities:
            left = identity.notAfter.timestamp() - now
            last = self._reminded.get(identity.file)
            if left < EXPIRY_NOTICE and (last is None or now - last >= _DAY):
                self._reminded[identity.file] = now
                self._context.emit(
                    CertificateExpiring(
                        self._context.service, self._context.endpoint, str(identity.file), left
                    )
                )


def watched(paths: Iterable[Path | None]) -> tuple[Path, ...]:
    """
    Those of some optional paths that were given.
    """
    return tuple(path for path in paths if path is not None)


def chooseProtocols(context: SSL.Context, acceptable: Any) -> None:
    """
    Negotiate an application protocol (ALPN, RFC 7301).

    Args:
        context: A context that no connection uses yet.
        acceptable: What the service speaks, the best first; empty for none.
    """
    offered = list(acceptable or ())
    if not offered:
        return

    def select(connection: SSL.Connection, asked: list[bytes]) -> Any:
        for protocol in offered:
            if protocol in asked:
                return protocol
        return SSL.NO_OVERLAPPING_PROTOCOLS

    context.set_alpn_select_callback(select)
