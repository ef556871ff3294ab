"""
What README.md and the documentation tell the reader to do works.

The convention for writers is in docs/discussion/contributing.md.
"""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.snippets.page import (
    CheckText,
    Interrupt,
    RunCommand,
    SnippetError,
    StartServer,
    WriteFile,
    readPage,
)
from tests.snippets.reader import followPage, matches

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
NOT_WRITTEN_BY_HAND = (DOCS / "_build", DOCS / "reference" / "generated")

PAGES = [
    page
    for page in (ROOT / "README.md", *sorted(DOCS.rglob("*.md")))
    if page.exists() and not any(page.is_relative_to(each) for each in NOT_WRITTEN_BY_HAND)
]

SERVER = """
Save this as `server.py`:

```python
import os, pathlib, signal, socket, sys

pathlib.Path("pid").write_text(str(os.getpid()))
signal.signal(signal.SIGTERM, lambda *_: sys.exit())
with socket.create_server(("127.0.0.1", int(sys.argv[1]))) as listener:
    print("listening", flush=True)
    try:
        while True:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b"hello\\n")
    except KeyboardInterrupt:
        print("goodbye", flush=True)
```

and this as `client.py`:

```python
import socket, sys

with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as connection:
    print(connection.recv(100).decode(), end="")
```
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """An empty directory, the reader's."""
    reader = tmp_path / "reader"
    reader.mkdir()
    return reader


@pytest.fixture
def port() -> int:
    """A TCP port that nobody uses."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def console(*lines: str, mark: str = "") -> str:
    """Write a console block."""
    comment = f"<!-- snippet: {mark} -->\n" if mark else ""
    return "\n".join([f"\n{comment}```console", *lines, "```\n"])


@pytest.mark.wire
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_thePageIsTrue(page: Path, directory: Path) -> None:
    """Every command of a page succeeds and prints what the page shows."""
    followPage(page.read_text(), directory, ROOT)


def test_theDocumentationBuilds(tmp_path: Path) -> None:
    """The documentation builds without a warning."""
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html"]
    result = subprocess.run(
        [*command, "-d", str(tmp_path / "doctrees"), str(DOCS), str(tmp_path / "html")],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "html" / "index.html").exists()


class TestReadPage:
    """The convention."""

    def test_aBlockAfterAFileName(self) -> None:
        """A block is the file that the line before it names."""
        [file, checked] = readPage("Save this as `a/b.py`:\n\n```python\nx = 1\n```\n")
        assert file == WriteFile(3, "a/b.py", "x = 1\n")
        assert isinstance(checked, CheckText)

    def test_aBlockWithACaption(self) -> None:
        """A code-block is the file of its caption."""
        [file] = readPage("```{code-block} text\n:caption: a.txt\n\nhello\n```\n")
        assert file == WriteFile(1, "a.txt", "hello\n")

    def test_aConsoleBlock(self) -> None:
        """Commands may go on for lines and have output, or none."""
        block = console("$ cat \\", "> file", "some", "", "text", "$ true")
        [first, second] = readPage(block)
        assert first == RunCommand(3, "cat \\\nfile", "some\n\ntext")
        assert second == RunCommand(8, "true", None)

    @pytest.mark.parametrize(
        "command",
        [
            "twistd -n myserv echo",
            "twistd --pidfile= -noy server.tac",
            ".venv/bin/twistd --reactor epoll -n myserv",
        ],
    )
    def test_twistdIsAServer(self, command: str) -> None:
        """A twistd that stays in the foreground is a server, and ^C ends it."""
        assert readPage(console(f"$ {command}", "...", "^C", "bye")) == [
            StartServer(3, command, "..."),
            Interrupt(5, "bye"),
        ]

    def test_twistdsHelpIsACommand(self) -> None:
        """A twistd that prints its help is not a server."""
        assert isinstance(readPage(console("$ twistd -n myserv --help"))[0], RunCommand)

    def test_marks(self) -> None:
        """A comment says what a block does not."""
        assert readPage(console("$ true", "$ false", mark="exits 1")) == [
            RunCommand(4, "true", None),
            RunCommand(5, "false", None, 1),
        ]
        assert readPage(console("$ make run", mark="in the checkout, server")) == [
            StartServer(4, "make run", None, True)
        ]
        assert readPage(console("$ reboot", mark="not run: it needs root")) == []

    def test_aMarkIsForTheNextBlockOnly(self) -> None:
        """Text between a mark and a block parts them."""
        page = "<!-- snippet: not run: no -->\ntext\n" + console("$ true")
        assert readPage(page) == [RunCommand(5, "true", None)]

    def test_blocksInDirectives(self) -> None:
        """A directive holds blocks; a block that shows Markdown does not."""
        inside = console("$ true")
        assert len(readPage(f"````{{note}}\n{inside}````\n")) == 1
        assert len(readPage(f":::{{note}}\n{inside}:::\n")) == 1
        assert readPage(f"````markdown\n{inside}````\n") == []

    def test_indentedBlocks(self) -> None:
        """A block in a list is indented with it."""
        page = "1. Save `a.txt`:\n\n   ```text\n   one\n     two\n   ```\n"
        assert readPage(page) == [WriteFile(3, "a.txt", "one\n  two\n")]

    @pytest.mark.parametrize(
        ("page", "complaint"),
        [
            (console("hello"), 'starts with "\\$ "'),
            (console("$ true", mark="sever"), "no mark 'sever'"),
            (console("$ true", mark="not run"), "say why"),
            ("```console\n$ true\n", "does not end"),
            ("```bash\ntrue\n```\n", "in a console block"),
            ("<!-- snippet: server -->\n```python\n```\n", "for console blocks"),
        ],
    )
    def test_whatIsNotTheConvention(self, page: str, complaint: str) -> None:
        """A page that strays from the convention is refused rather than skipped."""
        with pytest.raises(SnippetError, match=complaint):
            readPage(page)


class TestMatches:
    """What a page shows against what was printed."""

    @pytest.mark.parametrize(
        ("expected", "printed"),
        [
            ("", ""),
            ("one", "one\n"),
            ("one\ntwo", "one  \ntwo\n\n"),
            ("at ... o'clock", "at 3 o'clock\n"),
            ("...", ""),
            ("one\n...\nfour", "one\ntwo\nthree\nfour"),
            ("one\n...\nfour", "one\nfour"),
            ("...\nend", "a\nend\nend"),
        ],
    )
    def test_same(self, expected: str, printed: str) -> None:
        """These are what the page shows."""
        assert matches(expected, printed)

    @pytest.mark.parametrize(
        ("expected", "printed"),
        [
            ("", "one"),
            ("one", "one\ntwo"),
            ("on", "one"),
            ("a...b", "a\nb"),
            ("one\n...", "two\none"),
            (".", "x"),
        ],
    )
    def test_other(self, expected: str, printed: str) -> None:
        """These are something else."""
        assert not matches(expected, printed)


@pytest.mark.wire
class TestFollowPage:
    """A page that is not true fails, and one that is does not."""

    def test_cdAndExportLast(self, directory: Path) -> None:
        """Commands share a directory and an environment, as in a terminal."""
        page = console("$ mkdir a && cd a", "$ export GREETING='hi there'", "$ echo 1 >b; ls", "b")
        page += console('$ echo "$GREETING" from $(basename "$PWD")', "hi there from a")
        assert followPage(page, directory, ROOT) == 4

    def test_inTheCheckout(self, directory: Path) -> None:
        """A command can be the project's, and leaves the reader where it was."""
        page = console("$ cd docs && ls conf.py", "conf.py", mark="in the checkout")
        followPage(page + console("$ ls"), directory, ROOT)

    @pytest.mark.parametrize(
        ("page", "complaint"),
        [
            (console("$ true", "$ false"), r"line 4: \$ false\nexits with 1, not 0"),
            (console("$ true", mark="exits 1"), "exits with 0, not 1"),
            (console("$ no-such-program"), "exits with 127.*\n.*not found"),
            (console("$ echo one", "two"), r"(?s)prints something else:.*-two\n\+one"),
            (console("$ cat", "hello"), r"(?s)prints something else"),
            (console("^C"), "no server is running"),
            ("`a.toml`:\n```toml\na =\n```\n", "it is not toml"),
            ("```python\nx = (\n```\n", "it is not python"),
            ("```json\n{'a': 1}\n```\n", "it is not json"),
            ("```pycon\n>>> 1 + 1\n3\n```\n", "(?s)exits with 1.*Got:\n +2"),
            ("`../a.txt`:\n```text\n```\n", "outside"),
        ],
    )
    def test_whatIsNotTrue(self, directory: Path, page: str, complaint: str) -> None:
        """The error shows the line, what was typed and what it printed."""
        with pytest.raises(SnippetError, match=complaint):
            followPage(page, directory, ROOT)

    def test_aServerServesUntilTheEnd(self, directory: Path, port: int) -> None:
        """A page goes on when its server listens, and stops it at the end."""
        page = SERVER + console(f"$ python server.py {port}", "listening", mark="server")
        page += console(f"$ python client.py {port}", "hello")
        followPage(page, directory, ROOT)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), 5)

    def test_aServerIsStoppedByAnErrorToo(self, directory: Path, port: int) -> None:
        """Nothing is left of a page that failed."""
        page = SERVER + console(f"$ python server.py {port}", mark="server")
        with pytest.raises(SnippetError):
            followPage(page + console("$ false"), directory, ROOT)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), 5)

    def test_controlC(self, directory: Path, port: int) -> None:
        """What a server prints when it is interrupted can be shown."""
        start = f"$ python server.py {port}"
        twice = console(start, "listening", mark="server") + console("^C", "goodbye")
        followPage(SERVER + twice + twice, directory, ROOT)

    @pytest.mark.parametrize(
        ("command", "complaint"),
        [
            ("python -c 'print(1)'", "ends with 0 at once; it printed:\n1"),
            ("python -c 'exit(3)'", "ends with 3 at once"),
            ("sleep 60", "does not listen"),
        ],
    )
    def test_noServer(
        self, directory: Path, monkeypatch: pytest.MonkeyPatch, command: str, complaint: str
    ) -> None:
        """A server that does not serve is said to be none."""
        monkeypatch.setattr("tests.snippets.reader.START_TIMEOUT", 1.0)
        with pytest.raises(SnippetError, match=complaint):
            followPage(console(f"$ {command}", mark="server"), directory, ROOT)

    def test_aServerThatDied(self, directory: Path, port: int) -> None:
        """A server has to live until it is stopped."""
        page = SERVER + console(f"$ python server.py {port}", mark="server")
        page += console("$ kill $(cat pid); sleep 0.2")
        with pytest.raises(SnippetError, match="the server had ended"):
            followPage(page, directory, ROOT)

    def test_aCommandThatDoesNotEnd(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A command that waits for ever is given up."""
        monkeypatch.setattr("tests.snippets.reader.COMMAND_TIMEOUT", 0.5)
        with pytest.raises(SnippetError, match=r"takes longer than 0\.5 s; it printed:\nonce"):
            followPage(console("$ echo once; sleep 60"), directory, ROOT)
