"""Reading the files that options name."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

import pytest

from myserv.errors import FileError, printable
from myserv.options.files import readFile


def refusal(path: str | Path, maximum: int = 100) -> str:
    """Why a file is not read."""
    before = os.listdir("/proc/self/fd")
    with pytest.raises(FileError) as caught:
        readFile(path, maximum=maximum, key=("file",))
    # A listing of descriptors opens one itself, the same each time.
    assert os.listdir("/proc/self/fd") == before
    name = printable(str(path)) or '""'
    assert str(caught.value) == f"file: {name}: {caught.value.reason}"
    return caught.value.reason


@pytest.mark.parametrize("size", [0, 1, 99, 100])
def test_aFileIsRead(tmp_path: Path, size: int) -> None:
    """A path may be text or a Path."""
    file = tmp_path / "file"
    file.write_bytes(b"x" * size)
    assert readFile(file, maximum=100) == readFile(str(file), maximum=100) == b"x" * size


def test_aFileThatComesInPieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A system may give less than it was asked for."""
    file = tmp_path / "file"
    file.write_bytes(bytes(range(100)))
    read = os.read
    monkeypatch.setattr(os, "read", lambda descriptor, size: read(descriptor, min(size, 7)))
    assert readFile(file, maximum=100) == bytes(range(100))
    assert refusal(file, 99) == "is larger than 99B"


def test_aFileWithoutASize() -> None:
    """Files of the kernel's say that they are empty, and may be read nevertheless."""
    assert readFile("/proc/self/status", maximum=2**20).startswith(b"Name:")


def test_aFileThatIsTooLarge(tmp_path: Path) -> None:
    """No more of it is read than would be too much."""
    file = tmp_path / "file"
    with file.open("wb") as opened:
        opened.truncate(2**40)
    assert refusal(file, 2**20) == "is larger than 1MiB"


def test_whatIsNoRegularFile(tmp_path: Path) -> None:
    """Nobody waits for it, and nothing of it is read."""
    os.mkfifo(tmp_path / "fifo")
    assert refusal(tmp_path / "fifo") == "is a FIFO, not a regular file"
    assert refusal("/dev/zero") == "is a device, not a regular file"
    assert refusal(tmp_path) == "is a directory, not a file"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(tmp_path / "socket"))
        assert refusal(tmp_path / "socket") == "is not a regular file"


def test_whatIsNotThere(tmp_path: Path) -> None:
    """Or cannot be, in any file system."""
    (tmp_path / "file").touch()
    assert refusal(tmp_path / "none") == "there is no such file"
    assert refusal(tmp_path / "file" / "none") == "there is no such file"
    assert refusal("") == "there is no such file"
    assert refusal("a\0b") == "cannot be read: embedded null byte"
    assert refusal("a" * 300) == "cannot be read: File name too long"


def test_whatMayNotBeRead(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests may run as root, who may read everything."""

    def deny(path: object, flags: int) -> int:
        raise PermissionError(errno.EACCES, "Permission denied", path)

    monkeypatch.setattr(os, "open", deny)
    with pytest.raises(FileError, match=r"^f: cannot be read: this user has no permission to$"):
        readFile("f", maximum=1)
