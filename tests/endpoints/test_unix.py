"""What may follow C{unix:} and C{unixgram:}; the sockets are tested over the wire."""

from __future__ import annotations

import pytest

from myserv.endpoints.unix import UNIXDatagramOptions, UNIXOptions


@pytest.mark.parametrize("options", [UNIXOptions, UNIXDatagramOptions])
@pytest.mark.parametrize("mode", ["0", "7", "600", "0600", "0o600", "777"])
def test_modes(options: type[UNIXOptions], mode: str) -> None:
    """Permissions in octal."""
    assert options("/x", mode).mode == mode


@pytest.mark.parametrize("options", [UNIXOptions, UNIXDatagramOptions])
@pytest.mark.parametrize("mode", ["", "rw", "-1", "8", "6.0", "1000", "0x1ff", "u=rw"])
def test_whatIsNoMode(options: type[UNIXOptions], mode: str) -> None:
    """Anything else, and the bits that a socket has no use for."""
    with pytest.raises(ValueError, match="is not octal permissions"):
        options("/x", mode)


@pytest.mark.parametrize("options", [UNIXOptions, UNIXDatagramOptions])
@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("", "the path of the socket file is empty"),
        ("\0x", r"the path '\\x00x' holds a zero byte: write one in the file system"),
        ("/x\0", r"the path '/x\\x00' holds a zero byte: write one in the file system"),
    ],
)
def test_whatIsNoPath(options: type[UNIXOptions], path: str, told: str) -> None:
    """Nothing, and Linux' abstract names, which have no permissions."""
    with pytest.raises(ValueError, match=f"^{told}$"):
        options(path)
