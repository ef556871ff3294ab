"""
Reading the files that options name.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Final

from myserv.errors import FileError, KeyPath
from myserv.options.values import Size

_KINDS: Final = {
    stat.S_IFDIR: "is a directory, not a file",
    stat.S_IFIFO: "is a FIFO, not a regular file",
    stat.S_IFCHR: "is a device, not a regular file",
    stat.S_IFBLK: "is a device, not a regular file",
}
"""What can be opened like a file; a socket cannot."""

_REASONS: Final = {
    errno.ENOENT: "there is no such file",
    errno.ENOTDIR: "there is no such file",
    errno.EACCES: "cannot be read: this user has no permission to",
    # What open(2) says of a socket.
    errno.ENXIO: "is not a regular file",
}


def readFile(path: str | Path, *, maximum: int, key: KeyPath = ()) -> bytes:
    """
    Read a whole file, one that an operator named.

    It never waits for a writer and never reads without end, as a FIFO or
    C{/dev/zero} would have it.

    Args:
        path: Where it is.
        maximum: Bytes that it may have.
        key: The option that names it, for the error: C{("file",)}.

    Returns:
        Its content.

    Raises:
        FileError: It cannot be read, is not a regular file or is too large.
    """
    # An empty path would leave no trace in a line of text.
    name = str(path) or '""'
    try:
        # Without O_NONBLOCK, opening a FIFO waits for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        try:
            mode = os.fstat(descriptor).st_mode
            if not stat.S_ISREG(mode):
                reason = _KINDS[stat.S_IFMT(mode)]
                raise FileError(name, reason, key)
            content = _readUpTo(maximum + 1, descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        reason = _REASONS.get(error.errno or 0) or f"cannot be read: {error.strerror}"
        raise FileError(name, reason, key) from None
    except ValueError as error:
        # A path that holds a NUL byte, or what no file system could encode.
        raise FileError(name, f"cannot be read: {error}", key) from None
    if len(content) > maximum:
        raise FileError(name, f"is larger than {Size(maximum)}", key)
    return content


def _readUpTo(size: int, descriptor: int) -> bytes:
    content = bytearray()
    while len(content) < size and (more := os.read(descriptor, size - len(content))):
        content += more
    return bytes(content)
