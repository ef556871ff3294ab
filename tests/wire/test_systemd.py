"""A server that systemd watches over, and that is told to read its certificates again."""

from __future__ import annotations

import os
import signal
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.endpoints.certificates import authority, issue
from tests.wire.processes import Processes, ServerProcess, freePort, waitFor


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    """Start processes; none outlives the test."""
    with Processes(tmp_path) as started:
        yield started


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    """The socket that systemd would listen on."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(20)
        yield listening


def heard(systemd: socket.socket) -> str:
    """The first word that systemd hears next, of what is no sign of life."""
    while True:
        word = systemd.recv(4096).decode().partition("\n")[0]
        if word != "WATCHDOG=1":
            return word


def serial(port: int) -> int:
    """The number of the certificate that a client is shown."""
    context = ssl.create_default_context(cadata=authority().certificatePEM.decode())
    with (
        socket.create_connection(("127.0.0.1", port), timeout=20) as raw,
        context.wrap_socket(raw, server_hostname="a.example") as client,
    ):
        shown = client.getpeercert()
        assert shown is not None
        return int(str(shown["serialNumber"]), 16)


def start(processes: Processes, tmp_path: Path, **environment: str) -> tuple[ServerProcess, int]:
    """Serve echo over TLS, with the certificates in a directory."""
    (tmp_path / "certs").mkdir()
    issue("a", "a.example", by=authority()).write(tmp_path / "certs")
    port = freePort()
    endpoint = f"tls:certs=certs:tcp:{port}:interface=127.0.0.1"
    server = processes.start(
        "twistd",
        "--pidfile=",
        "-n",
        "myserv",
        "echo",
        "--listen",
        endpoint,
        environment=environment,
    )
    return server.serving(), port


def test_aUnitOfTypeNotify(processes: Processes, tmp_path: Path, systemd: socket.socket) -> None:
    """Ready, reloading on SIGHUP, ready again, stopping; and alive all the time."""
    notify = str(tmp_path / "notify")
    server, _ = start(processes, tmp_path, NOTIFY_SOCKET=notify, WATCHDOG_USEC="200000")
    ready = systemd.recv(4096).decode().splitlines()
    assert ready[:2] == ["READY=1", "STATUS=serving echo on 1 endpoint(s)"]
    assert systemd.recv(4096) == b"WATCHDOG=1"
    assert systemd.recv(4096) == b"WATCHDOG=1"
    server.send(signal.SIGHUP)
    assert [heard(systemd), heard(systemd)] == ["RELOADING=1", "READY=1"]
    server.send(signal.SIGTERM)
    assert heard(systemd) == "STOPPING=1"
    assert server.ended().code == -signal.SIGTERM


def test_aCertificateIsRenewed(processes: Processes, tmp_path: Path) -> None:
    """A new file is noticed; a bad one leaves the old certificate serving, and is told of."""
    server, port = start(processes, tmp_path)
    first = serial(port)
    renewed = issue("a", "a.example", by=authority(), days=2)
    renewed.write(tmp_path, "new.pem")
    os.replace(tmp_path / "new.pem", tmp_path / "certs" / "server.pem")
    waitFor(lambda: serial(port) == renewed.certificate.serial_number, "the new certificate")
    assert first != renewed.certificate.serial_number
    (tmp_path / "certs" / "server.pem").write_text("half of a fi")
    server.send(signal.SIGHUP)
    waitFor(lambda: "a certificate was not taken" in server.output, "the bad file to be told of")
    assert serial(port) == renewed.certificate.serial_number
    assert server.stop().code == -signal.SIGTERM
    assert "Traceback" not in server.output + server.errors
