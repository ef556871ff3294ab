"""
OpenSSL's work on records: to open what came, and to seal what goes out.

pyOpenSSL's own methods allocate a buffer for each call, and ask for errors after each:
they need three times as long as OpenSSL itself.  L{DirectSeal} calls the same functions
of the same library, and asks pyOpenSSL only where one did not do what was wanted: to
make an exception of that.

This is the one module that knows what pyOpenSSL keeps to itself: L{PRIVATE} and
L{SIGNATURES}.  Where any of it is not there, or not what it was, L{Seal} does the same
with what is public.
"""

from __future__ import annotations

import contextlib
from typing import Any, Final

from OpenSSL import SSL

from myserv.endpoints.tls.records import MAXIMUM_PLAIN

PIECE: Final = MAXIMUM_PLAIN + 256
"""Bytes that are taken from OpenSSL at a time: the longest record, sealed, and room for
what OpenSSL says by itself."""

SIGNATURES: Final = {
    "BIO_write": "int(*)(BIO *, void *, int)",
    "BIO_read": "int(*)(BIO *, void *, int)",
    "SSL_read": "int(*)(SSL *, void *, int)",
    "SSL_write": "int(*)(SSL *, void *, int)",
}
"""What is called of C{SSL._lib}."""

PRIVATE: Final = {"_ssl": "SSL *", "_into_ssl": "BIO *", "_from_ssl": "BIO *"}
"""What is used of C{SSL.Connection} and not public: OpenSSL's connection, and the memory
from and to which that reads and writes records."""


def sealOf(connection: SSL.Connection) -> Seal:
    """
    Make what seals and opens a connection's records, the best there is.

    Args:
        connection: On memory.
    """
    known = _buffer is not None and _typesOf(SSL, connection, PRIVATE) == PRIVATE
    return DirectSeal(connection) if known else Seal(connection)


def _typesOf(module: Any, holder: Any, names: Any) -> dict[str, str]:
    # In C's words: what has the same name and the same type is what we know.
    try:
        return {name: module._ffi.typeof(getattr(holder, name)).cname for name in names}
    except (AttributeError, TypeError):
        return {}


def _direct(module: Any) -> tuple[Any, ...]:
    # The functions, a buffer of C's, and the same for Python.
    library = getattr(module, "_lib", None)
    if _typesOf(module, library, SIGNATURES) != SIGNATURES:
        return (None,) * (len(SIGNATURES) + 2)
    buffer = module._ffi.new("char[]", PIECE)
    functions = (getattr(library, name) for name in SIGNATURES)
    return (*functions, buffer, module._ffi.buffer(buffer))


# One buffer for all connections: they are served by one thread, and what is in it is
# copied before anything else is done.
_feed, _take, _open, _seal, _buffer, _view = _direct(SSL)


class Seal:
    """
    What seals and opens one connection's records.

    @ivar held: While what is sealed is to wait: how much data does; otherwise C{None}.
        Whoever seals keeps it, here because it is read for each message: as an
        attribute of a layer, which looks up what it lacks elsewhere, it takes longer.
    """

    __slots__ = ("_connection", "held")

    held: int | None

    def __init__(self, connection: SSL.Connection) -> None:
        """
        Args:
            connection: On memory.
        """
        self._connection = connection
        self.held = None

    def feed(self, data: bytes) -> None:
        """
        Take what came from the wire.
        """
        self._connection.bio_write(data)

    def open(self) -> bytes:
        """
        Open the next record.

        Returns:
            All the data that is in it.

        Raises:
            SSL.WantReadError: It has not come yet, or had no data.
            SSL.ZeroReturnError: The peer has said goodbye.
            SSL.Error: The peer has broken the rules, or has sent an alert.
        """
        return self._connection.recv(MAXIMUM_PLAIN)

    def seal(self, data: bytes) -> None:
        """
        Seal data in a record, which waits until it is taken.

        Args:
            data: From 1 to L{MAXIMUM_PLAIN} bytes.

        Raises:
            SSL.WantReadError: OpenSSL can write nothing now.
            SSL.Error: It never will.
        """
        self._connection.send(data)

    def waiting(self) -> bytes:
        """
        Take what was sealed, and what OpenSSL has to say by itself.

        Returns:
            The next piece of it; if that has L{PIECE} bytes there is more.
        """
        with contextlib.suppress(SSL.WantReadError):
            return self._connection.bio_read(PIECE)
        return b""


class DirectSeal(Seal):
    """
    The same by the shortest way.
    """

    __slots__ = ("_input", "_output", "_ssl")

    def __init__(self, connection: SSL.Connection) -> None:
        """
        Args:
            connection: On memory, and as it is known here.
        """
        super().__init__(connection)
        # OpenSSL's connection owns the memory.
        self._ssl, self._input, self._output = (getattr(connection, name) for name in PRIVATE)

    def feed(self, data: bytes) -> None:
        """
        See L{Seal.feed}.
        """
        if _feed(self._input, data, len(data)) <= 0:
            super().feed(data)

    def open(self) -> bytes:
        """
        See L{Seal.open}.
        """
        size = _open(self._ssl, _buffer, MAXIMUM_PLAIN)
        # What failed fails once more, and pyOpenSSL knows what that means.
        return _view[:size] if size > 0 else super().open()

    def seal(self, data: bytes) -> None:
        """
        See L{Seal.seal}.
        """
        try:
            sealed = _seal(self._ssl, data, len(data))
        except TypeError:
            # Not bytes, but as good: any other buffer.
            sealed = 0
        if sealed <= 0:
            super().seal(data)

    def waiting(self) -> bytes:
        """
        See L{Seal.waiting}.
        """
        size = _take(self._output, _buffer, PIECE)
        return _view[:size] if size > 0 else b""
