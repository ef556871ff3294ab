"""Real WebSocket clients against a real server: Node's ws, Chromium and curl."""

from __future__ import annotations

import functools
import http.server
import json
import re
import shutil
import signal
import subprocess
import threading
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.endpoints.certificates import authority, issue
from tests.snippets.page import WriteFile, readPage
from tests.wire.processes import Processes, ServerProcess, freePort, waitFor

pytestmark = pytest.mark.wire

HERE: Final = Path(__file__).parent / "websocket"
FOREGROUND: Final = ("twistd", "-n", "--pidfile=")
LOOPBACK: Final = "interface=127.0.0.1"
TIMEOUT: Final = 60
"""Seconds that a client may take; a browser takes two."""

CHROMIUM: Final = (
    "chromium",
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--ignore-certificate-errors",
    "--dump-dom",
)


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    """Processes that end with the test."""
    with Processes(tmp_path) as running:
        yield running


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the client and what it needs."""
    directory = tmp_path_factory.mktemp("node")
    for file in HERE.iterdir():
        shutil.copy(file, directory)
    ran = subprocess.run(
        ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=TIMEOUT * 2,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return directory


@pytest.fixture
def pages(tmp_path: Path) -> Iterator[int]:
    """
    A web server that has the page, and those of C{tmp_path / "pages"}; its port.

    A page is loaded when what it asked for has come, C{hold} among it, and that
    comes when the page asks for C{done}.
    """
    shutil.copytree(HERE, tmp_path / "pages")
    done = threading.Event()

    class Pages(http.server.SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/hold":
                done.wait(TIMEOUT / 2)
            elif self.path == "/done":
                done.set()
            super().do_GET()

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    handler = functools.partial(Pages, directory=str(tmp_path / "pages"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        done.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """One for localhost."""
    (tmp_path / "root.pem").write_bytes(authority().certificatePEM)
    return issue("localhost", "localhost", by=authority()).write(tmp_path)


def serve(processes: Processes, endpoint: str) -> ServerProcess:
    """Serve an echo."""
    return processes.start(*FOREGROUND, "myserv", "echo", "--listen", endpoint).serving()


def gracefully(server: ServerProcess) -> None:
    """Stop a server, and see that nothing went wrong in it."""
    assert "Traceback" not in server.stop().output


# --- Node's ws ------------------------------------------------------------------


EXPECTED: Final = {
    "sizes": [True] * 6 + [1005],
    "text": [True, 4000],
    "fragments": ["between", "one two three"],
    "compressed": ["permessage-deflate", True, True, True, True],
    "tooLarge": [1009, "a message has more than 1MiB"],
    "origin": [403],
    "many": [True],
}
"""What comes of each conversation in client.js."""


@pytest.mark.parametrize("below", ["", "tls:cert={}:"])
def test_node(processes: Processes, node: Path, certificate: Path, below: str) -> None:
    """It says everything that it can say, plainly and over TLS, and hears the server go."""
    port = freePort()
    server = serve(
        processes,
        f"websocket:path=/echo:compress=true:{below.format(certificate)}tcp:{port}:{LOOPBACK}",
    )
    scheme = "wss" if below else "ws"
    output = node / f"output-{scheme}"
    with output.open("w") as file:
        client = subprocess.Popen(
            [
                "node",
                "client.js",
                f"{scheme}://127.0.0.1:{port}/echo",
                certificate.parent / "root.pem",
            ],
            cwd=node,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    try:
        waitFor(
            lambda: "waiting" in output.read_text() or client.poll() is not None,
            "the client",
            TIMEOUT,
        )
        gracefully(server)
        client.wait(TIMEOUT)
    finally:
        client.kill()
        client.wait()
    results, _, last = output.read_text().splitlines()
    assert json.loads(results) == EXPECTED
    assert json.loads(last) == {"goingAway": [1001]}


# --- a browser ------------------------------------------------------------------


def browse(tmp_path: Path, page: str) -> list[str]:
    """The lines that a browser shows in the C{pre} of a page."""
    ran = subprocess.run(
        [
            *CHROMIUM,
            f"--user-data-dir={tmp_path / 'chromium'}",
            page,
        ],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    shown = re.search(r"<pre[^>]*>(.*?)</pre>", ran.stdout, re.DOTALL)
    assert shown is not None, ran.stdout + ran.stderr
    return shown[1].splitlines()


def pageFor(pages: int, url: str) -> str:
    """The page that connects to a URL."""
    return f"http://127.0.0.1:{pages}/page.html?{urllib.parse.quote(url)}"


@pytest.mark.parametrize("below", ["", "tls:cert={}:"])
def test_chromium(
    processes: Processes, pages: int, certificate: Path, tmp_path: Path, below: str
) -> None:
    """A page of a site that may connect talks to the echo, plainly and over TLS."""
    port = freePort()
    server = serve(
        processes,
        rf"websocket:origins=http\://127.0.0.1\:{pages}:compress=true"
        f":{below.format(certificate)}tcp:{port}:{LOOPBACK}",
    )
    scheme = "wss" if below else "ws"
    assert browse(tmp_path, pageFor(pages, f"{scheme}://127.0.0.1:{port}/")) == [
        "open permessage-deflate; client_max_window_bits=12",
        "message aß水𝄞",
        "received 300010",
        "close 3000 true",
    ]
    gracefully(server)


def test_aForeignPage(processes: Processes, pages: int, tmp_path: Path) -> None:
    """A page of another site gets nowhere, unless the operator says so."""
    port = freePort()
    server = serve(processes, f"websocket:tcp:{port}:{LOOPBACK}")
    assert browse(tmp_path, pageFor(pages, f"ws://127.0.0.1:{port}/")) == ["close 1006 false"]
    output = server.stop().output
    assert "403: pages of this origin may not connect" in output
    assert "Traceback" not in output


TYPING: Final = """
<img src="hold" alt="">
<script>
  socket.addEventListener("open", () => {
    form.elements[0].value = "hello";
    form.requestSubmit();
  });
  socket.addEventListener("message", () => fetch("done"));
</script>
"""
"""What does as a reader would, at the end of the page that the how-to shows."""


def test_theHowTo(processes: Processes, pages: int, tmp_path: Path) -> None:
    """Its chat is one, in a browser."""
    howTo = Path(__file__).parent.parent.parent / "docs" / "howto" / "websocket.md"
    files = {
        each.name: each.text for each in readPage(howTo.read_text()) if isinstance(each, WriteFile)
    }
    port = freePort()
    (tmp_path / "chat.py").write_text(files["chat.py"])
    page = files["chat.html"].replace("7402", str(port)) + TYPING
    (tmp_path / "pages" / "chat.html").write_text(page)
    server = processes.start(
        *(*FOREGROUND, "myserv", "chat:Chat", "--listen"),
        rf"websocket:path=/chat:origins=http\://127.0.0.1\:{pages}:tcp:{port}:{LOOPBACK}",
    ).serving()
    assert browse(tmp_path, f"http://127.0.0.1:{pages}/chat.html") == ["hello"]
    gracefully(server)


# --- HTTP -----------------------------------------------------------------------


def curl(*words: str) -> subprocess.CompletedProcess[str]:
    """Ask with curl."""
    return subprocess.run(
        ["curl", "--silent", "--show-error", "--noproxy", "*", "--max-time", "20", *words],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (
            426,
            "426 Upgrade Required: this is a WebSocket, to be opened by a script.\n",
            ["{}/echo"],
        ),
        (426, "", ["--head", "{}/echo"]),
        (404, "404 Not Found: there is nothing at this path.\n", ["{}/other"]),
        (405, "405 Method Not Allowed: only GET is allowed.\n", ["--data", "@{file}", "{}/echo"]),
        (
            431,
            "431 Request Header Fields Too Large: the head of the request is too large.\n",
            ["--header", "X: " + "y" * 9000, "{}/echo"],
        ),
        (
            403,
            "403 Forbidden: pages of this origin may not connect.\n",
            [
                *("--header", "Upgrade: websocket", "--header", "Connection: Upgrade"),
                *("--header", "Sec-WebSocket-Version: 13"),
                *("--header", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="),
                *("--header", "Origin: https://evil.example", "{}/echo"),
            ],
        ),
        (
            426,
            "426 Upgrade Required: this is a WebSocket, to be opened by a script.\n",
            ["-0", "{}/echo"],
        ),
    ],
    ids=["426", "HEAD", "404", "405", "431", "403", "HTTP/1.0"],
)
def test_curl(
    processes: Processes, tmp_path: Path, status: int, body: str, words: list[str]
) -> None:
    """Who asks in HTTP is answered in HTTP, also behind a large body."""
    port = freePort()
    file = tmp_path / "body"
    file.write_bytes(b"x" * 3_000_000)
    server = serve(processes, f"websocket:path=/echo:tcp:{port}:{LOOPBACK}")
    asked = [word.format(f"http://127.0.0.1:{port}", file=file) for word in words]
    ran = curl("--include", *asked)
    assert ran.returncode == 0, ran.stderr
    head, _, rest = ran.stdout.replace("\r\n", "\n").rpartition("\n\n")
    assert f"HTTP/1.1 {status} " in head
    assert re.search("(?m)^Connection: .*close$", head)
    assert rest == body
    gracefully(server)


def test_curlSpeaksWebSocket(processes: Processes) -> None:
    """A stream that was upgraded by hand."""
    port = freePort()
    server = serve(processes, f"websocket:tcp:{port}:{LOOPBACK}")
    ran = curl(
        *("--include", "--http1.1", "--max-time", "1"),
        *("--header", "Upgrade: websocket", "--header", "Connection: Upgrade"),
        *("--header", "Sec-WebSocket-Version: 13"),
        *("--header", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="),
        f"http://127.0.0.1:{port}/",
    )
    assert "101 Switching Protocols" in ran.stdout
    assert "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in ran.stdout
    server.send(signal.SIGTERM)
    assert "Traceback" not in server.ended().output
