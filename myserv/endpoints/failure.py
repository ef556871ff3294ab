"""
Why an endpoint could not be opened, in words.
"""

from __future__ import annotations

import errno
from typing import Final

from OpenSSL import SSL, crypto
from twisted.internet.error import CannotListenError

from myserv.errors import ConfigurationError

_REASONS: Final = {
    errno.EADDRINUSE: "the address is in use: another program listens there",
    errno.EADDRNOTAVAIL: "no interface of this machine has that address",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.ENOENT: "there is no such directory",
    errno.EEXIST: "there is a file at the path that is not a socket",
    errno.ENAMETOOLONG: "the path is too long: that of a socket file may have 107 bytes",
    errno.ENOTDIR: "a part of the path is not a directory",
    errno.EMFILE: "this process may open no more files: raise its limit (ulimit -n)",
}

_FIRST_FREE_PORT: Final = 1024
_DENIED: Final = (errno.EACCES, errno.EPERM)


def describeOpenSSLError(error: Exception) -> str:
    """
    Say in one line what OpenSSL refused.

    Args:
        error: pyOpenSSL's C{SSL.Error} or C{crypto.Error}, which carries a list
            of library, function and reason.
    """
    if isinstance(error, SSL.SysCallError):
        return str(error.args[-1])
    reasons = error.args[0] if error.args else ()
    return ", ".join(reason for _, _, reason in reasons) or type(error).__name__


def describeListenError(error: Exception) -> str:
    """
    Say in one line why an endpoint could not be opened.

    Args:
        error: What its C{listen} failed with.
    """
    if isinstance(error, ConfigurationError):
        return "; ".join(each.message for each in error.problems)
    cause = error.socketError if isinstance(error, CannotListenError) else error
    if isinstance(cause, (SSL.Error, crypto.Error)):
        return describeOpenSSLError(cause)
    if not isinstance(cause, OSError):
        return str(cause) or type(cause).__name__
    port = getattr(error, "port", None)
    if cause.errno in _DENIED and isinstance(port, int) and port < _FIRST_FREE_PORT:
        return (
            "permission denied: a port below 1024 needs root or CAP_NET_BIND_SERVICE "
            "(started as root, twistd --uid drops it after it has bound)"
        )
    return _REASONS.get(cause.errno or 0) or cause.strerror or str(cause)
