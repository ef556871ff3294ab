"""
The certificates of one listener, kept fresh.

Files are looked at every L{POLL} seconds.  What changed is read when it has
stopped changing, checked, and swapped in for new connections; connections that
are open keep what they have.  What is wrong leaves the old certificate serving,
and one event says why.
"""

from __future__ import annotations

import contextlib
import os
import weakref
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from attrs import frozen
from cryptography import x509
from OpenSSL import SSL
from twisted.internet.task import LoopingCall

from myserv.endpoints.tls.identity import (
    OCSP_SUFFIX,
    Identity,
    filesOf,
    readAuthorities,
    readDirectory,
    readIdentity,
    subjectOf,
    utcNow,
    whyUnused,
)
from myserv.errors import EndpointError
from myserv.events import CertificateExpiring, CertificateLoaded, CertificateRejected
from myserv.interfaces import IListenerContext

POLL: Final = 2.0
"""Seconds between two looks at the files."""

EXPIRY_NOTICE: Final = 14 * 86400.0
"""Seconds before its end that an event reminds of a certificate, once a day, but
no more than the last third of its life; certbot renews 30 days before, or a
third, so something is amiss by then."""

REBUILD: Final = 86400.0
"""Seconds after which contexts are made anew, so that the key of OpenSSL's session
tickets does not live for ever and past sessions stay secret."""

_DAY: Final = 86400.0

State = tuple[tuple[str, int, int, int], ...]

Shown = tuple[Identity, SSL.Context]


@frozen
class Sources:
    """
    Where certificates come from: one of these.

    @ivar certs: A directory.
    @ivar cert: A file with a certificate, and C{key} the file with its key.
    @ivar ocsp: A file with the OCSP response for C{cert}.
    @ivar made: Identities that are in no file.
    @ivar clientCA: A file with the certificates of those who sign clients'.
    """

    certs: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    ocsp: Path | None = None
    made: tuple[Identity, ...] = ()
    clientCA: Path | None = None

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
        files = [each for each in (self.cert, self.key, self.ocsp) if each is not None]
        if self.certs is not None:
            # Of a directory that is gone, too, there is one state.
            with contextlib.suppress(EndpointError):
                files += filesOf(self.certs)
        files += [file.with_suffix(OCSP_SUFFIX) for file in files if file.suffix != ".key"]
        found = []
        if self.clientCA is not None:
            files.append(self.clientCA)
        for file in files:
            try:
                status = os.stat(file)
            except OSError:
                continue
            found.append((str(file), status.st_mtime_ns, status.st_size, status.st_ino))
        return tuple(found)

    def authorities(self) -> tuple[x509.Certificate, ...]:
        """
        Read who may have signed a client's certificate.
        """
        return () if self.clientCA is None else readAuthorities(self.clientCA)


class Certificates:
    """
    The contexts of a listener at one time, chosen by the name a client asks for.

    @ivar identities: What is shown, what lasts longest first.
    @ivar default: The context that every handshake starts with.
    """

    def __init__(
        self, shown: Sequence[Shown], *, defaultName: str | None, refuseUnknown: bool
    ) -> None:
        """
        Args:
            shown: Each identity and a context of its own that shows it, at
                least one.
            defaultName: Whose identity a client is shown that names no server;
                that of the first when omitted.
            refuseUnknown: A client that names another server is to be refused.

        Raises:
            EndpointError: None is for the default name.
        """
        # An exception in OpenSSL's callback would refuse a client, too, and print
        # a traceback; a context without a certificate only refuses.
        self._nobody = SSL.Context(SSL.TLS_SERVER_METHOD) if refuseUnknown else None
        # Of two for one name, the one that lasts.
        best = sorted(shown, key=lambda each: each[0].notAfter, reverse=True)
        self.identities = [identity for identity, _ in best]
        self._byName: dict[str, SSL.Context] = {}
        for identity, context in best:
            for name in identity.names:
                self._byName.setdefault(name, context)
        self.default = self._default(shown, defaultName)
        itself = weakref.ref(self)

        def choose(connection: SSL.Connection) -> None:
            # By a weak reference: contexts live as long as their connections,
            # and those of last month need not keep all others of last month.
            certificates = itself()
            if certificates is not None:
                certificates._choose(connection)

        self.default.set_tlsext_servername_callback(choose)

    def _default(self, shown: Sequence[Shown], name: str | None) -> SSL.Context:
        if name is not None:
            found = self._find(name.lower())
            if found is None:
                raise EndpointError(f'no certificate here holds the default name "{name}"')
            return found
        first, context = shown[0]
        return self._byName[first.names[0]] if first.names else context

    def _find(self, name: str) -> SSL.Context | None:
        return self._byName.get(name) or self._byName.get("*." + name.partition(".")[2])

    def _choose(self, connection: SSL.Connection) -> None:
        name = _askedName(connection)
        context = self._find(name) or (self._nobody if name else None)
        if context is not None and context is not self.default:
            connection.set_context(context)

    def refused(self, connection: SSL.Connection) -> bool:
        """
        Say whether a client asked for a server that is not here, which is why
        its handshake failed.
        """
        return self._nobody is not None and connection.get_context() is self._nobody


def _askedName(connection: SSL.Connection) -> str:
    asked = connection.get_servername() or b""
    return asked.decode("ascii", "replace").lower().rstrip(".")


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
        self._problems: list[str] = []
        self._authorities: tuple[x509.Certificate, ...] = ()
        self.current = self._read(inForce=[])

    def start(self) -> None:
        """
        Say what is served, and begin to watch.
        """
        if self._sources.state() != self._loaded:
            # It was closed for a while, and opens again.
            self.reload()
        else:
            self._announce(self.current.identities, self._problems)
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
        Read the files now, changed or not, and say all there is to say.

        A certificate whose file is gone is dropped, which a mere change of the
        files does not do.
        """
        self._seen = self._loaded = self._sources.state()
        inForce = self.current.identities
        still = [each for each in inForce if each.file.exists()]
        if self._swap(still or inForce):
            self._announce(self.current.identities, self._problems)

    def _look(self) -> None:
        state = self._sources.state()
        settled = state == self._seen
        self._seen = state
        if settled and state != self._loaded:
            self._loaded = state
            self._changed()
        elif self._context.reactor.seconds() - self._built >= REBUILD:
            self._rebuild()
        self._remind()

    def _changed(self) -> None:
        before, told = self.current.identities, self._problems
        if self._swap(before):
            chains = {identity.chain for identity in before}
            news = [each for each in self.current.identities if each.chain not in chains]
            known = self._authorities
            self._announce(news, [each for each in self._problems if each not in told], known)

    def _rebuild(self) -> None:
        self._built = self._context.reactor.seconds()
        shown = self._makeContexts(self.current.identities, [])
        if len(shown) == len(self.current.identities):
            self.current = self._certificates(shown)

    def _swap(self, inForce: list[Identity]) -> bool:
        try:
            self.current = self._read(inForce=inForce)
        except EndpointError as error:
            self._problems = [str(error)]
            self._reject(self._problems)
            return False
        return True

    def _read(self, inForce: list[Identity]) -> Certificates:
        self._built = self._context.reactor.seconds()
        identities, errors = self._sources.read()
        problems = [str(error) for error in errors]
        now = utcNow(self._built)
        good: list[Identity] = []
        poor: list[Identity] = []
        for identity in identities:
            problem = identity.problem(now)
            (good if problem is None else poor).append(identity)
            if problem is not None:
                problems.append(f"{identity.file}: {problem}")
        shown = self._makeContexts(good, problems)
        # For a name that nobody is left for, what was in force stays so; and when
        # nothing was, at the start, even an expired certificate is better than none.
        spare = _notCovered(inForce or poor, [identity for identity, _ in shown])
        if inForce:
            problems += self._whyNotRead(spare, identities, problems)
        shown += self._makeContexts(spare, problems)
        problems = list(dict.fromkeys(problems))
        if not shown:
            raise EndpointError(problems[0] if problems else self._nothing())
        certificates = self._certificates(shown)
        self._problems = problems
        return certificates

    def _whyNotRead(
        self, spare: list[Identity], read: list[Identity], problems: list[str]
    ) -> list[str]:
        # Of those that were read, and of broken files, the problems are known.
        files = {each.file for each in read}
        return [
            whyUnused(each.file)
            for each in spare
            if each.file not in files
            and not any(problem.startswith(f"{each.file}: ") for problem in problems)
        ]

    def _makeContexts(self, identities: Iterable[Identity], problems: list[str]) -> list[Shown]:
        shown = []
        for identity in identities:
            try:
                shown.append((identity, self._makeContext(identity)))
            except EndpointError as error:
                problems.append(str(error))
        return shown

    def _certificates(self, shown: list[Shown]) -> Certificates:
        # In the order of their files, whose first is the default: one that is kept in
        # force although its file is broken keeps its place, too.
        shown = sorted(shown, key=lambda each: each[0].file)
        return Certificates(shown, defaultName=self._defaultName, refuseUnknown=self._refuseUnknown)

    def _nothing(self) -> str:
        return f"{self._sources.certs}: no file here holds a certificate that has a key"

    def _announce(
        self,
        identities: list[Identity],
        problems: list[str],
        known: tuple[x509.Certificate, ...] = (),
    ) -> None:
        self._reject(problems)
        for identity in identities:
            self._tell(identity.file, identity.names, identity.notAfter)
        authorities = self._authorities = self._sources.authorities()
        if authorities and authorities != known:
            names = tuple(map(subjectOf, authorities))
            ends = min(each.not_valid_after_utc for each in authorities)
            assert self._sources.clientCA is not None
            self._tell(self._sources.clientCA, names, ends)

    def _tell(self, file: Path, names: tuple[str, ...], notAfter: datetime) -> None:
        where = self._context
        self._context.emit(
            CertificateLoaded(where.service, where.endpoint, str(file), names, notAfter.timestamp())
        )

    def _reject(self, problems: list[str]) -> None:
        for problem in problems:
            self._context.emit(
                CertificateRejected(self._context.service, self._context.endpoint, problem)
            )

    def _remind(self) -> None:
        now = self._context.reactor.seconds()
        for identity in self.current.identities:
            left = identity.notAfter.timestamp() - now
            last = self._reminded.get(identity.file)
            notice = min(EXPIRY_NOTICE, identity.lifetime / 3)
            if left < notice and (last is None or now - last >= _DAY):
                self._reminded[identity.file] = now
                self._context.emit(
                    CertificateExpiring(
                        self._context.service, self._context.endpoint, str(identity.file), left
                    )
                )


def _notCovered(candidates: list[Identity], shown: list[Identity]) -> list[Identity]:
    # What stands in a file that was read anew is as the operator wants it.
    files = {identity.file for identity in shown}
    names = {name for identity in shown for name in identity.names}
    return [
        each
        for each in candidates
        if each.file not in files and (not shown or not names.issuperset(each.names))
    ]


def chooseProtocols(context: SSL.Context, acceptable: Any) -> None:
    """
    Negotiate an application protocol (ALPN, RFC 7301).

    A client that offers others only is refused, as the RFC asks: it takes this
    server for another one, or is made to (https://alpaca-attack.com).

    Args:
        context: A context that no connection uses yet.
        acceptable: What the service speaks, the best first; empty for none.
    """
    offered: list[bytes] = list(acceptable or ())
    if not offered:
        return

    def select(connection: SSL.Connection, asked: list[bytes]) -> bytes:
        for protocol in offered:
            if protocol in asked:
                return protocol
        # pyOpenSSL raises it again where the handshake is made.
        raise SSL.Error([("SSL routines", "", "no application protocol in common")])

    context.set_alpn_select_callback(select)
