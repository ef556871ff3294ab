"""C{tls:} as an operator runs it, and the clients of others."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import ssl
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from OpenSSL import SSL

from tests.endpoints.certificates import Issued, authority, intermediate, issue
from tests.wire.processes import PROGRAMS, Processes, ServerProcess, freePort, waitFor

pytestmark = pytest.mark.wire

NAME: Final = "a.example"

PATIENCE: Final = 20

MUCH: Final = 10 * 1024 * 1024

REACTORS: Final = pytest.mark.parametrize("reactor", ["default", "uvloop"])


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    """Those of one test."""
    with Processes(tmp_path) as started:
        yield started


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Whom clients trust."""
    file = tmp_path / "root.crt"
    file.write_bytes(authority().certificatePEM)
    return file


class Served:
    """
    A server with TLS.

    @ivar certs: Its certificates' directory.
    """

    def __init__(
        self,
        processes: Processes,
        directory: Path,
        protocol: str,
        keys: str,
        reactor: str = "default",
    ) -> None:
        self.port = freePort()
        self.certs = directory / "certs"
        renew(self.certs, NAME)
        self.process: ServerProcess = processes.start(
            "twistd",
            *("-n", "--pidfile=", "--reactor", reactor, "myserv", protocol, "--listen"),
            f"tls:certs={self.certs}{keys}:tcp:{self.port}:interface=127.0.0.1",
        ).serving()

    @property
    def address(self) -> str:
        """For clients' command lines."""
        return f"127.0.0.1:{self.port}"

    def end(self) -> str:
        """Stop it; its log, in which no traceback is."""
        output = self.process.stop().output
        assert "Traceback" not in output
        return output


def renew(certs: Path, name: str, issued: Issued | None = None) -> Issued:
    """Put a certificate where certbot would, as certbot does."""
    issued = issued or issue(name, name, by=intermediate(), days=60)
    archive = certs.parent / "archive" / name
    live = certs / name
    archive.mkdir(parents=True, exist_ok=True)
    live.mkdir(parents=True, exist_ok=True)
    number = len(list(archive.iterdir())) // 4 + 1
    for word, content in {
        "privkey": issued.keyPEM,
        "cert": issued.certificatePEM,
        "chain": intermediate().certificatePEM,
        "fullchain": issued.chainPEM,
    }.items():
        file = archive / f"{word}{number}.pem"
        file.write_bytes(content)
        link = live / f"{word}.pem"
        link.unlink(missing_ok=True)
        link.symlink_to(os.path.relpath(file, live))
    return issued


def run(*command: str | Path, typed: bytes = b"") -> str:
    """What a client prints."""
    done = subprocess.run(
        [*map(str, command)],
        input=typed,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=PATIENCE,
        check=False,
    )
    return done.stdout.decode(errors="replace")


def openssl(served: Served, *options: str | Path, typed: bytes = b"") -> str:
    """What OpenSSL's client prints."""
    return run("openssl", "s_client", "-connect", served.address, *options, typed=typed)


def converse(served: Served, root: Path, *options: str, lines: tuple[str, ...]) -> str:
    """Type lines to OpenSSL's client, each after the echo of the one before."""
    with subprocess.Popen(
        [
            *("openssl", "s_client", "-connect", served.address),
            *("-CAfile", str(root), "-servername", NAME, *options),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as client:
        assert client.stdin is not None
        assert client.stdout is not None
        watchdog = threading.Timer(PATIENCE, client.kill)
        watchdog.start()
        try:
            printed = []
            for line in lines:
                client.stdin.write(line + "\n")
                client.stdin.flush()
                awaited = {"k": "KEYUPDATE", "K": "KEYUPDATE"}.get(line, line)
                for said in iter(client.stdout.readline, ""):
                    printed.append(said)
                    if awaited in said:
                        break
            client.stdin.close()
            printed += client.stdout
            return "".join(printed)
        finally:
            watchdog.cancel()


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
@REACTORS
def test_openssl(
    reactor: str, version: str, processes: Processes, root: Path, tmp_path: Path
) -> None:
    """OpenSSL's client trusts what it is shown, and hears its echo."""
    served = Served(processes, tmp_path, "echo", "", reactor)
    said = converse(served, root, version, lines=("hello", "again"))
    assert "Verify return code: 0 (ok)" in said or "Verification: OK" in said
    assert said.count("again") == 1
    served.end()


@REACTORS
def test_newKeys(reactor: str, processes: Processes, root: Path, tmp_path: Path) -> None:
    """A client may ask for new keys, and have us make new ones, while it talks."""
    served = Served(processes, tmp_path, "echo", "", reactor)
    said = converse(served, root, "-tls1_3", lines=("one", "k", "two", "K", "three", "K", "four"))
    for word in ("one", "two", "three", "four"):
        assert word in said
    assert "1 in, 0 B out" not in served.end()


def test_renegotiation(processes: Processes, root: Path, tmp_path: Path) -> None:
    """Is not done."""
    served = Served(processes, tmp_path, "echo", "")
    said = openssl(served, "-tls1_2", typed=b"R\n")
    assert "no renegotiation" in said
    served.end()


def test_theKeyExchange(processes: Processes, tmp_path: Path) -> None:
    """What Mozilla recommends, and nothing else that OpenSSL could."""
    served = Served(processes, tmp_path, "echo", "")
    # In TLS 1.2 a client without the curve of an ECDSA key would go for that alone.
    key = rsa.generate_private_key(65537, 2048)
    renew(served.certs, NAME, issue("rsa", NAME, by=intermediate(), key=key, days=60))
    waitFor(lambda: served.process.output.count("for a.example, until") == 2, "the other key")
    for version in ("-tls1_2", "-tls1_3"):
        for groups in ("X25519:P-256", "P-256", "P-384:P-256", "P-521:P-256", "X448:P-256"):
            assert "Cipher is (NONE)" not in openssl(served, version, "-groups", groups)
        for groups in ("X448", "P-521", "X448:P-521"):
            said = openssl(served, version, "-groups", groups)
            assert "Cipher is (NONE)" in said
            assert "alert" in said
    output = served.end()
    assert output.count("did not get through tls: the key exchange") == 6


def test_helloRetry(processes: Processes, tmp_path: Path) -> None:
    """A client that guessed a key exchange that we like less is asked again."""
    served = Served(processes, tmp_path, "echo", "")
    said = openssl(served, "-tls1_3", "-groups", "P-384:X25519", "-msg")
    assert "Cipher is (NONE)" not in said
    assert said.count(", ClientHello") in {1, 2}
    served.end()


def test_gnutls(processes: Processes, root: Path, tmp_path: Path) -> None:
    """GnuTLS's client trusts what it is shown, and hears its echo."""
    served = Served(processes, tmp_path, "echo", "")
    said = run(
        *("gnutls-cli", "--x509cafile", root, "--verify-hostname", NAME, "--sni-hostname", NAME),
        *("--port", str(served.port), "127.0.0.1"),
        typed=b"hello\n",
    )
    assert "The certificate is trusted" in said
    assert "\nhello\n" in said
    served.end()


def test_curl(processes: Processes, root: Path, tmp_path: Path) -> None:
    """Curl reads to the end, which is marked as it should be."""
    served = Served(processes, tmp_path, "daytime", "")
    said = run(
        *("curl", "--silent", "--show-error", "--http0.9", "--no-alpn", "--cacert", root),
        *("--resolve", f"{NAME}:{served.port}:127.0.0.1", f"https://{NAME}:{served.port}/"),
    )
    assert re.search(r"20\d\d", said), said
    assert "error" not in said.lower()
    served.end()


def test_plainHTTP(processes: Processes, root: Path, tmp_path: Path) -> None:
    """Is told of, and is no bug."""
    served = Served(processes, tmp_path, "echo", "")
    run("curl", "--silent", "--max-time", "5", f"http://{served.address}/")
    assert "did not get through tls: http request" in served.end()


@REACTORS
def test_clientCertificates(reactor: str, processes: Processes, root: Path, tmp_path: Path) -> None:
    """Those of the authority, and no others."""
    served = Served(processes, tmp_path, "echo", f":clientCA={root}", reactor)
    client = issue("a client", by=authority()).write(tmp_path, "client.pem")
    stranger = issue("a stranger").write(tmp_path, "stranger.pem")
    said = converse(served, root, "-cert", str(client), "-key", str(client), lines=("hello",))
    assert "hello" in said
    for options in (("-tls1_2",), ("-tls1_2", "-cert", stranger, "-key", stranger)):
        assert "alert" in openssl(served, *options)
    output = served.end()
    assert "peer did not return a certificate" in output


@REACTORS
def test_renewalUnderLoad(reactor: str, processes: Processes, root: Path, tmp_path: Path) -> None:
    """While clients come all the time, and a bad renewal comes first: none is lost."""
    served = Served(processes, tmp_path, "echo", "", reactor)
    first = (served.certs / NAME / "cert.pem").read_bytes()
    context = ssl.create_default_context(cafile=str(root))
    seen: list[bytes] = []
    failures: list[Exception] = []
    over = threading.Event()

    def come() -> None:
        while not over.is_set():
            try:
                with (
                    socket.create_connection(("127.0.0.1", served.port), PATIENCE) as bare,
                    context.wrap_socket(bare, server_hostname=NAME) as client,
                ):
                    client.sendall(b"hello")
                    assert client.recv(10) == b"hello"
                    shown = client.getpeercert(binary_form=True)
                    assert shown is not None
                    seen.append(shown)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is counted
                failures.append(error)

    clients = [threading.Thread(target=come) for _ in range(4)]
    for each in clients:
        each.start()
    try:
        waitFor(lambda: len(seen) > 50, "clients")
        (served.certs / NAME / "fullchain.pem").unlink()
        (served.certs / NAME / "fullchain.pem").write_bytes(first[:300])
        (served.certs / NAME / "cert.pem").unlink()
        waitFor(lambda: "a certificate was not taken" in served.process.output, "the bad one")
        renew(served.certs, NAME)
        waitFor(lambda: len(set(seen)) == 2, "the good one")
        renew(served.certs, "b.example")
        waitFor(lambda: "b.example" in served.process.output, "another name")
        renew(served.certs, NAME)
        waitFor(lambda: len(set(seen)) == 3, "the next one")
    finally:
        over.set()
        for each in clients:
            each.join()
    assert failures == []
    assert served.process.output.count("a certificate was not taken") == 1
    served.end()


@REACTORS
def test_muchBothWays(reactor: str, processes: Processes, tmp_path: Path) -> None:
    """Ten megabytes there and back, to a client that is slow to read: nothing is lost."""
    served = Served(processes, tmp_path, "echo", "", reactor)
    much = os.urandom(MUCH)
    (tmp_path / "much").write_bytes(much)
    with (
        (tmp_path / "much").open("rb") as typed,
        subprocess.Popen(
            ["openssl", "s_client", "-connect", served.address, "-quiet"],
            stdin=typed,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        ) as client,
    ):
        assert client.stdout is not None
        watchdog = threading.Timer(PATIENCE, client.kill)
        watchdog.start()
        time.sleep(0.5)
        received = bytearray()
        while len(received) < MUCH and (piece := os.read(client.stdout.fileno(), 1 << 16)):
            received += piece
            if len(received) < MUCH // 8:
                time.sleep(0.01)
        watchdog.cancel()
        client.kill()
    assert len(received) == MUCH
    assert bytes(received) == much, "it came in another order"
    served.end()


class BareClient:
    """
    A client that says when its connection ends, and how.

    @ivar ssl: Its TLS.
    @ivar socket: Its socket.
    """

    def __init__(self, served: Served) -> None:
        self.ssl = SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD), None)
        self.ssl.set_connect_state()
        self.socket = socket.create_connection(("127.0.0.1", served.port), PATIENCE)
        while True:
            try:
                self.ssl.do_handshake()
                break
            except SSL.WantReadError:
                self.send(self.flight())
                self.ssl.bio_write(self.socket.recv(65536))

    def flight(self, *messages: bytes, goodbye: bool = False) -> bytes:
        """What goes over the wire for some messages."""
        for message in messages:
            self.ssl.sendall(message)
        if goodbye:
            self.ssl.shutdown()
        pieces = []
        with contextlib.suppress(SSL.WantReadError):
            while True:
                pieces.append(self.ssl.bio_read(65536))
        return b"".join(pieces)

    def send(self, data: bytes) -> None:
        """Put it on the wire."""
        self.socket.sendall(data)

    def hear(self, size: int) -> bytes:
        """Read until there is so much, or the server says goodbye."""
        received = b""
        while len(received) < size:
            try:
                received += self.ssl.recv(65536)
            except SSL.WantReadError:
                came = self.socket.recv(65536)
                assert came, "the server left without a goodbye"
                self.ssl.bio_write(came)
            except SSL.ZeroReturnError:
                break
        return received


@REACTORS
def test_halfClose(reactor: str, processes: Processes, tmp_path: Path) -> None:
    """A client that has said goodbye gets all its answers, the goodbye, and the end."""
    served = Served(processes, tmp_path, "echo", "", reactor)
    client = BareClient(served)
    last = bytes(range(256)) * 2000
    client.send(client.flight(b"hello", last, goodbye=True))
    client.socket.shutdown(socket.SHUT_WR)
    assert client.hear(MUCH) == b"hello" + last
    assert client.socket.recv(1) == b""
    client.socket.close()
    served.end()


@REACTORS
def test_manyRecordsAtOnce(reactor: str, processes: Processes, tmp_path: Path) -> None:
    """However records and segments fall, each is answered, in its order."""
    served = Served(processes, tmp_path, "echo", "", reactor)
    client = BareClient(served)
    client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    messages = [b"%d," % number for number in range(500)]
    stream = client.flight(*messages)
    for size in (1, 5, 6, 29, 1000, 3000):
        client.send(stream[:size])
        stream = stream[size:]
        # A segment of its own.
        time.sleep(0.01)
    client.send(stream)
    expected = b"".join(messages)
    assert client.hear(len(expected)) == expected
    client.socket.close()
    served.end()


@REACTORS
@pytest.mark.parametrize("reset", [False, True])
def test_abruptEnd(reset: bool, reactor: str, processes: Processes, tmp_path: Path) -> None:
    """It costs nobody anything, and is no bug."""
    served = Served(processes, tmp_path, "echo", "", reactor)
    for _ in range(5):
        client = BareClient(served)
        client.send(client.flight(b"hello"))
        assert client.hear(5) == b"hello"
        client.send(client.flight(b"half of it")[:-4])
        if reset:
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.socket.close()
    other = BareClient(served)
    other.send(other.flight(b"still there?"))
    assert other.hear(12) == b"still there?"
    other.socket.close()
    assert "misbehaved" not in served.end()


EXTENSIONS: Final = f"""
subjectAltName=DNS:localhost,DNS:{NAME}
basicConstraints=critical,CA:FALSE
keyUsage=critical,digitalSignature
extendedKeyUsage=serverAuth
subjectKeyIdentifier=hash
authorityKeyIdentifier=keyid
"""


@pytest.mark.slow
@pytest.mark.parametrize("profile", ["intermediate", "modern"])
def test_mozilla(profile: str, processes: Processes, tmp_path: Path) -> None:
    """Sslyze finds that what is negotiated is what Mozilla recommends."""
    curve = ("-pkeyopt", "ec_paramgen_curve:P-256")
    here = tmp_path / "authority"
    here.mkdir()
    (here / "extensions").write_text(EXTENSIONS)
    run(
        *("openssl", "req", "-x509", "-newkey", "ec", *curve, "-nodes", "-days", "3650"),
        *("-subj", "/CN=A root", "-addext", "keyUsage=critical,keyCertSign"),
        *("-keyout", here / "root.key", "-out", here / "root.crt"),
    )
    run(
        *("openssl", "req", "-newkey", "ec", *curve, "-nodes", "-subj", "/CN=localhost"),
        *("-keyout", here / "leaf.key", "-out", here / "leaf.csr"),
    )
    run(
        *("openssl", "x509", "-req", "-in", here / "leaf.csr", "-CA", here / "root.crt"),
        *("-CAkey", here / "root.key", "-CAcreateserial", "-days", "80"),
        *("-extfile", here / "extensions", "-out", here / "leaf.crt"),
    )
    served = Served(processes, tmp_path, "echo", f":profile={profile}")
    shutil.rmtree(served.certs / NAME)
    shutil.copy(here / "leaf.crt", served.certs / "leaf.crt")
    shutil.copy(here / "leaf.key", served.certs / "leaf.key")
    waitFor(lambda: "for localhost" in served.process.output, "the certificate")
    judge = PROGRAMS.parent / "sslyze" / "bin" / "python"
    done = subprocess.run(
        [
            *(str(judge), "-m", "sslyze", f"--mozilla_config={profile}"),
            *(f"--certinfo_ca_file={here / 'root.crt'}", f"localhost:{served.port}"),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "OK - Compliant" in done.stdout, done.stdout[-3000:]
    served.end()


@pytest.mark.slow
def test_testssl(processes: Processes, root: Path, tmp_path: Path) -> None:
    """testssl.sh finds both versions offered, and nothing to change but what is the authority's."""
    served = Served(processes, tmp_path, "echo", "")
    renew(served.certs, NAME, issue("localhost", "localhost", by=intermediate(), days=90))
    waitFor(lambda: "for localhost" in served.process.output, "the certificate")
    findings = tmp_path / "findings.json"
    done = subprocess.run(
        [
            # Protocols, kinds of ciphers, what is shown, and vulnerabilities.
            *("testssl", "-p", "-s", "-S", "-U", "--quiet", "--color=0"),
            *("--warnings=off", "--severity", "MEDIUM", "--jsonfile", str(findings)),
            *(f"--add-ca={root}", "--ip=127.0.0.1", f"localhost:{served.port}"),
        ],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    severe = {
        found["id"]: found["finding"]
        for found in json.loads(findings.read_text())
        if found["severity"] in {"MEDIUM", "HIGH", "CRITICAL"}
    }
    # Where to ask whether it was revoked is for the authority to say.
    assert severe.pop("cert_revocation", "").startswith("Neither CRL nor OCSP")
    assert severe == {}, done.stdout
    for expected in ("TLS 1.2    offered (OK)", "TLS 1.3    offered (OK)", "Chain of trust"):
        assert expected in done.stdout, done.stdout
    served.end()
