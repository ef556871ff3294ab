"""Why an endpoint could not be opened, in words."""

from __future__ import annotations

import errno
import os
import socket

import pytest
from OpenSSL import SSL
from twisted.internet.error import CannotListenError

from myserv.endpoints.failure import describeListenError, describeOpenSSLError
from myserv.errors import EndpointError, ListenError, Problem

PRIVILEGED = (
    "permission denied: a port below 1024 needs root or CAP_NET_BIND_SERVICE "
    "(started as root, twistd --uid drops it after it has bound)"
)


def cannotListen(number: int, port: object = 8080) -> CannotListenError:
    """What Twisted raises."""
    return CannotListenError("127.0.0.1", port, OSError(number, os.strerror(number)))


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (cannotListen(errno.EADDRINUSE), "the address is in use: another program listens there"),
        (cannotListen(errno.EADDRNOTAVAIL), "no interface of this machine has that address"),
        (cannotListen(errno.EACCES), "permission denied"),
        (cannotListen(errno.EPERM), "permission denied"),
        (cannotListen(errno.EACCES, 80), PRIVILEGED),
        (cannotListen(errno.EPERM, 1023), PRIVILEGED),
        (cannotListen(errno.EACCES, 1024), "permission denied"),
        (cannotListen(errno.EACCES, "/run/x.sock"), "permission denied"),
        (cannotListen(errno.ENOENT, "/x/y"), "there is no such directory"),
        (cannotListen(errno.ENOTDIR, "/x/y"), "a part of the path is not a directory"),
        (cannotListen(errno.EEXIST, "/x"), "there is a file at the path that is not a socket"),
        (
            cannotListen(errno.ENAMETOOLONG, "/x"),
            "the path is too long: that of a socket file may have 107 bytes",
        ),
        (
            cannotListen(errno.EMFILE),
            "this process may open no more files: raise its limit (ulimit -n)",
        ),
        # What has no words of ours has the system's.
        (cannotListen(errno.EAFNOSUPPORT), "Address family not supported by protocol"),
        (cannotListen(errno.EROFS, "/x"), "Read-only file system"),
        (
            CannotListenError("x", 1, socket.gaierror(socket.EAI_NONAME, "Name not known")),
            "Name not known",
        ),
        (OSError(errno.EADDRINUSE, "x"), "the address is in use: another program listens there"),
        (OSError("no number"), "no number"),
        (CannotListenError("x", 1, "Cannot acquire lock"), "Cannot acquire lock"),
        (ValueError("two words"), "two words"),
        (KeyError(), "KeyError"),
        (EndpointError("our words"), "our words"),
        (ListenError([Problem("one", ("key",)), Problem("two")]), "one; two"),
    ],
)
def test_reasons(error: Exception, told: str) -> None:
    """Each is one line that names no exception, if there is one."""
    assert describeListenError(error) == told


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (SSL.Error([("x509", "", "key values mismatch")]), "key values mismatch"),
        (SSL.Error([("a", "", "one"), ("b", "f", "two")]), "one, two"),
        (SSL.Error([]), "Error"),
        (SSL.Error(), "Error"),
    ],
)
def test_whatOpenSSLRefused(error: SSL.Error, told: str) -> None:
    """The reasons, without libraries and functions."""
    assert describeOpenSSLError(error) == told
    assert describeListenError(error) == told
