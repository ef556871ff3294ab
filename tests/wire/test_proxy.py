"""C{proxy:} behind the balancers that people run: HAProxy and nginx."""

from __future__ import annotations

import json
import shutil
import socket
import ssl
import textwrap
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Final

import pytest

from tests.endpoints.certificates import authority, issue
from tests.wire.processes import Processes, ServerProcess, freePort, isAlive, waitFor

pytestmark = pytest.mark.wire

REPORT: Final = '''
    import json

    from twisted.internet.protocol import Protocol


    def words(address):
        host = getattr(address, "host", None)
        return [host, address.port] if host else [address.name and address.name.decode()]


    class Report(Protocol):
        """Says what it was told of its peer, and echoes."""

        def connectionMade(self):
            header = self.transport.proxyHeader
            details = header.details
            tls = details.ssl
            report = {
                "peer": words(self.transport.getPeer()),
                "host": words(self.transport.getHost()),
                "version": header.version,
                "command": header.command.name,
                "family": header.family.name,
                "alpn": details.alpn and details.alpn.decode(),
                "authority": details.authority,
                "id": details.uniqueID and details.uniqueID.decode(),
                "checked": details.checked,
                "tls": tls and {
                    "verified": tls.verified,
                    "version": tls.version,
                    "name": tls.commonName,
                    "cipher": tls.cipher,
                    "signature": tls.signatureAlgorithm,
                    "key": tls.keyAlgorithm,
                },
            }
            self.transport.write(json.dumps(report).encode() + b"\\n")

        def dataReceived(self, data):
            self.transport.write(data)
'''

HAPROXY: Final = """
    global
        maxconn 100
    defaults
        mode tcp
        timeout connect 2s
        timeout client 20s
        timeout server 20s
        unique-id-format visit-%pid-%rt
"""

_LISTENING: Final = "0A"


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    """Start processes; none outlives the test."""
    with Processes(tmp_path) as started:
        yield started


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """What the server shows."""
    return issue("server", "example.org").write(tmp_path, "server.pem")


def program(name: str) -> Path:
    """Where a balancer is; Debian puts them where only root looks."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    assert found, f"{name} is not installed: make clients"
    return Path(found)


def isOpen(port: int) -> bool:
    """Somebody listens; without connecting, which the balancer would pass on."""
    rows = [
        line.split()
        for table in ("tcp", "tcp6")
        for line in Path("/proc/net", table).read_text().splitlines()[1:]
    ]
    return any(row[1].endswith(f":{port:04X}") and row[3] == _LISTENING for row in rows)


class Front:
    """
    A server behind a balancer.

    @ivar server: The server.
    @ivar port: Where the balancer listens.
    """

    def __init__(self, processes: Processes, directory: Path) -> None:
        self._processes = processes
        self._directory = directory
        self.port = freePort()
        self.backend = freePort()
        (directory / "report.py").write_text(textwrap.dedent(REPORT))

    def serve(self, endpoint: str) -> ServerProcess:
        """Start twistd, and wait until it serves."""
        self.server = self._processes.start(
            *("twistd", "--pidfile=", "-n", "myserv", "report:Report"),
            *("--log-connections", "--listen", endpoint),
        ).serving()
        return self.server

    def tcp(self, source: str = "127.0.0.1") -> str:
        """The endpoint string that the balancer's backend is at."""
        return f"proxy:from={source}:tcp:{self.backend}:interface=127.0.0.1"

    def haproxy(self, text: str) -> None:
        """Start HAProxy, and wait until it listens."""
        file = self._directory / "haproxy.cfg"
        file.write_text(textwrap.dedent(HAPROXY) + textwrap.dedent(text))
        self._balance(program("haproxy"), "-db", "-f", file)

    def nginx(self, text: str) -> None:
        """Start nginx with its stream module, and wait until it listens."""
        file = self._directory / "nginx.conf"
        module = Path("/usr/lib/nginx/modules/ngx_stream_module.so")
        file.write_text(
            (f"load_module {module};\n" if module.exists() else "")
            + "daemon off; master_process off; pid nginx.pid;\n"
            + "error_log stderr;\nevents {}\n"
            + textwrap.dedent(text)
        )
        place = self._directory
        self._balance(program("nginx"), "-p", place, "-e", "stderr", "-c", file)

    def _balance(self, *words: Any) -> None:
        balancer = self._processes.start(*words)

        def opened() -> bool:
            assert isAlive(balancer.pid), balancer.output + balancer.errors
            return isOpen(self.port)

        waitFor(opened, f"{words[0]} to listen")

    def connect(self, host: str = "127.0.0.1") -> socket.socket:
        """Connect to the balancer."""
        return socket.create_connection((host, self.port), timeout=10)

    def lines(self, word: str) -> list[str]:
        """What the server logged."""
        return [line for line in self.server.output.splitlines() if word in line]


@pytest.fixture
def front(processes: Processes, tmp_path: Path) -> Front:
    """A server behind a balancer, neither of them started."""
    return Front(processes, tmp_path)


def report(client: socket.socket) -> dict[str, Any]:
    """What the server says at first; then it echoes."""
    with client.makefile("rb") as lines:
        told: dict[str, Any] = json.loads(lines.readline())
        client.sendall(b"hello\n")
        assert lines.readline() == b"hello\n"
        return told


def isOf(told: dict[str, Any], client: socket.socket) -> None:
    """The report is of this client, and of where it connected to."""
    assert told["peer"] == list(client.getsockname()[:2])
    assert told["host"] == list(client.getpeername()[:2])
    assert told["command"] == "PROXY"


# --- HAProxy --------------------------------------------------------------------------


@pytest.mark.parametrize(("keyword", "version"), [("send-proxy", 1), ("send-proxy-v2", 2)])
def test_haproxy(front: Front, keyword: str, version: int) -> None:
    """Both versions, from clients over IPv4 and IPv6."""
    front.serve(front.tcp())
    front.haproxy(f"""
        listen front
            bind 127.0.0.1:{front.port}
            bind [::1]:{front.port}
            server myserv 127.0.0.1:{front.backend} {keyword}
    """)
    for host, family in (("127.0.0.1", "INET"), ("::1", "INET6")):
        with front.connect(host) as client:
            told = report(client)
            isOf(told, client)
            assert (told["version"], told["family"]) == (version, family)
    assert "Traceback" not in front.server.stop().output


def test_everythingThatHAProxyCanTell(front: Front, tmp_path: Path, certificate: Path) -> None:
    """Its TLS, the client's certificate, the name asked for, a unique ID and a checksum."""
    front.serve(front.tcp())
    (tmp_path / "ca.pem").write_bytes(authority().certificatePEM)
    mine = issue("Jürgen", by=authority()).write(tmp_path, "client.pem")
    options = "ssl,cert-cn,ssl-cipher,cert-sig,cert-key,authority,crc32c,unique-id"
    front.haproxy(f"""
        listen front
            bind 127.0.0.1:{front.port} ssl crt {certificate} alpn chat,http/1.1 \
ca-file {tmp_path}/ca.pem verify optional
            server myserv 127.0.0.1:{front.backend} send-proxy-v2 proxy-v2-options {options}
    """)
    context = ssl.create_default_context(cafile=certificate)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["chat"])
    reports = []
    for hasCertificate in (False, True):
        if hasCertificate:
            context.load_cert_chain(mine)
        with context.wrap_socket(front.connect(), server_hostname="example.org") as client:
            told = report(client)
            isOf(told, client)
            cipher = client.cipher()
            assert cipher is not None
            assert (told["tls"]["version"], told["tls"]["cipher"]) == ("TLSv1.3", cipher[0])
            reports.append(told)
    for told in reports:
        assert (told["alpn"], told["authority"], told["checked"]) == ("chat", "example.org", True)
        assert told["id"].startswith("visit-")
        assert told["tls"]["key"]
        assert told["tls"]["signature"]
    assert [(each["tls"]["verified"], each["tls"]["name"]) for each in reports] == [
        (False, None),
        (True, "Jürgen"),
    ]
    assert reports[0]["id"] != reports[1]["id"]


def test_throughUNIXSockets(front: Front, tmp_path: Path) -> None:
    """Whoever may open the socket's file is trusted, if the operator says so."""
    path = tmp_path / "backend.sock"
    front.serve(f"proxy:from=unix:unix:{path}:mode=600")
    front.haproxy(f"""
        listen front
            bind 127.0.0.1:{front.port}
            server myserv unix@{path} send-proxy-v2
    """)
    with front.connect() as client:
        isOf(report(client), client)


def test_whoComesToHAProxyThroughAUNIXSocket(front: Front, tmp_path: Path) -> None:
    """Has no address that HAProxy would tell: those of the connection hold."""
    path = tmp_path / "front.sock"
    front.serve(front.tcp())
    front.haproxy(f"""
        listen front
            bind unix@{path}
            bind 127.0.0.1:{front.port}
            server myserv 127.0.0.1:{front.backend} send-proxy-v2
    """)
    with closing(socket.socket(socket.AF_UNIX)) as client:
        client.settimeout(10)
        client.connect(str(path))
        told = report(client)
    assert (told["version"], told["command"]) == (2, "LOCAL")
    assert told["host"] == ["127.0.0.1", front.backend]


@pytest.mark.parametrize(
    ("keyword", "without"),
    [("send-proxy", False), ("send-proxy-v2", False), ("send-proxy-v2", True)],
    ids=["1", "2", "without a header"],
)
def test_healthChecks(front: Front, keyword: str, without: bool) -> None:
    """They find the server alive, and the log says nothing of them."""
    front.serve(front.tcp())
    front.haproxy(f"""
        listen front
            bind 127.0.0.1:{front.port}
            server myserv 127.0.0.1:{front.backend} {keyword} \
check inter 50ms rise 2 fall 2 {f"port {front.backend}" if without else ""}
    """)
    time.sleep(1.5)
    with front.connect() as client:
        isOf(report(client), client)
    log = front.server.stop().output
    assert "did not get through" not in log
    assert log.count(": connection ") == 2, log


def test_aHealthCheckThatReadsTheGreeting(front: Front) -> None:
    """It is one of the connections, since it stays for an answer."""
    front.serve(front.tcp())
    front.haproxy(f"""
        listen front
            bind 127.0.0.1:{front.port}
            option tcp-check
            tcp-check connect send-proxy
            tcp-check expect string LOCAL
            server myserv 127.0.0.1:{front.backend} send-proxy-v2 check inter 300ms rise 1 fall 1
    """)
    waitFor(lambda: len(front.lines(" ended after ")) >= 2, "two checks")
    with front.connect() as client:
        isOf(report(client), client)


def test_aBalancerThatIsNotTrusted(front: Front) -> None:
    """Its clients are cut, and the log says who is not trusted."""
    front.serve(front.tcp("10.0.0.0/8"))
    front.haproxy(f"""
        listen front
            bind 127.0.0.1:{front.port}
            retries 0
            server myserv 127.0.0.1:{front.backend} send-proxy
    """)
    with front.connect() as client, suppress(ConnectionResetError):
        assert client.recv(100) == b""
    [line] = front.lines("did not get through proxy")
    assert line.endswith(": it is not a trusted proxy")


def test_theBalancerForgetsTheHeader(front: Front) -> None:
    """Or a client comes past it: the log says what it began with."""
    front.serve(front.tcp())
    with socket.create_connection(("127.0.0.1", front.backend), timeout=10) as client:
        client.sendall(b"GET / HTTP/1.1\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            client.recv(100)
    [line] = front.lines("did not get through proxy")
    assert "it began with b'GET / HTTP/1.1\\r\\n', which is no PROXY header" in line


@pytest.mark.parametrize("keyword", ["send-proxy", "send-proxy-v2"])
def test_TLSThroughHAProxy(front: Front, certificate: Path, keyword: str) -> None:
    """The header is before TLS, which ends at the server."""
    front.serve(f"tls:cert={certificate}:{front.tcp()}")
    front.haproxy(f"""
        listen front
            bind 127.0.0.1:{front.port}
            server myserv 127.0.0.1:{front.backend} {keyword}
    """)
    with tls(front.connect()) as client:
        told = report(client)
        isOf(told, client)
        assert told["tls"] is None


def test_TLSFromHAProxy(front: Front, certificate: Path) -> None:
    """HAProxy sends its header before its own TLS, too."""
    front.serve(f"tls:cert={certificate}:{front.tcp()}")
    front.haproxy(f"""
        listen front
            bind 127.0.0.1:{front.port}
            server myserv 127.0.0.1:{front.backend} send-proxy-v2 ssl verify none
    """)
    with front.connect() as client:
        isOf(report(client), client)


def tls(connected: socket.socket) -> ssl.SSLSocket:
    """Speak TLS over a connection; who is there is not the subject."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(connected, server_hostname="example.org")


# --- nginx ----------------------------------------------------------------------------


def test_nginx(front: Front) -> None:
    """Its stream module sends version 1."""
    front.serve(front.tcp())
    front.nginx(f"""
        stream {{
            server {{
                listen 127.0.0.1:{front.port};
                listen [::1]:{front.port};
                proxy_pass 127.0.0.1:{front.backend};
                proxy_protocol on;
            }}
        }}
    """)
    for host in ("127.0.0.1", "::1"):
        with front.connect(host) as client:
            told = report(client)
            isOf(told, client)
            assert told["version"] == 1


def test_TLSAtNginx(front: Front, tmp_path: Path, certificate: Path) -> None:
    """TLS ends at nginx, and the way on is through a UNIX socket."""
    path = tmp_path / "backend.sock"
    front.serve(f"proxy:from=unix:unix:{path}:mode=600")
    front.nginx(f"""
        stream {{
            server {{
                listen 127.0.0.1:{front.port} ssl;
                ssl_certificate {certificate};
                ssl_certificate_key {certificate};
                proxy_pass unix:{path};
                proxy_protocol on;
            }}
        }}
    """)
    with tls(front.connect()) as client:
        isOf(report(client), client)


def test_TLSThroughNginx(front: Front, certificate: Path) -> None:
    """TLS ends at the server."""
    front.serve(f"tls:cert={certificate}:{front.tcp()}")
    front.nginx(f"""
        stream {{
            server {{
                listen 127.0.0.1:{front.port};
                proxy_pass 127.0.0.1:{front.backend};
                proxy_protocol on;
            }}
        }}
    """)
    with tls(front.connect()) as client:
        isOf(report(client), client)
