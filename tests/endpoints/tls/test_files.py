"""The files of certificates: what keeps one from being read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from myserv.endpoints.tls.identity import MAXIMUM_FILE, readIdentity
from myserv.errors import EndpointError
from tests.endpoints.certificates import issue


def refusal(certificate: Path, key: Path, ocsp: Path | None = None) -> str:
    """Why a certificate and its key are not taken."""
    with pytest.raises(EndpointError) as caught:
        readIdentity(certificate, key, ocsp)
    return str(caught.value)


@pytest.mark.parametrize("position", [0, 1, 2])
def test_filesThatNeverEnd(tmp_path: Path, position: int) -> None:
    """Nobody waits for one, whether it is for the certificate, the key or the OCSP response."""
    good = issue("x").write(tmp_path)
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for path, kind in ((fifo, "FIFO"), (Path("/dev/zero"), "device")):
        files = [good, good, good]
        files[position] = path
        assert refusal(*files) == f"{path}: is a {kind}, not a regular file"


def test_aFileThatIsNotThere(tmp_path: Path) -> None:
    """Is named."""
    good, missing = issue("x").write(tmp_path), tmp_path / "missing"
    assert refusal(missing, good) == f"{missing}: there is no such file"
    assert refusal(good, missing) == f"{missing}: there is no such file"
    assert refusal(tmp_path, good) == f"{tmp_path}: is a directory, not a file"


def test_aFileThatIsTooLarge(tmp_path: Path) -> None:
    """To hold certificates."""
    large = tmp_path / "large"
    large.write_bytes(b"x" * (MAXIMUM_FILE + 1))
    assert refusal(large, large) == f"{large}: is larger than 1MiB"


def test_theKeyIsElsewhere(tmp_path: Path) -> None:
    """Who names one file is told how to name the other."""
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    certificate.write_bytes(issue("x").certificatePEM)
    key.touch()
    told = "there is no private key in this file"
    hint = "name the file that has it with key=FILE"
    assert refusal(certificate, certificate) == f"{certificate}: {told}: {hint}"
    assert refusal(certificate, key) == f"{key}: {told}"
