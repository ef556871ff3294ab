"""Reading a TOML file, and saying what is wrong with it at its place."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from myserv.config.document import (
    BEGINNING,
    MAXIMUM_DOCUMENT_BYTES,
    Document,
    parseDocument,
    readDocument,
)
from myserv.config.shape import MAXIMUM_KEY_PARTS, MAXIMUM_NESTING, findTooDeep
from myserv.errors import ConfigurationError, KeyPath, Problem

SAMPLE = """\
[server]
directory = "/srv"

[services.echo]
listen = [
  "tcp:7",
  "udp:7",
]
"""


def sample() -> Document:
    """Read L{SAMPLE}."""
    return parseDocument("myserv.toml", SAMPLE.encode())


def refusal(content: bytes) -> str:
    """Read a wrong document, and return what the operator is told."""
    with pytest.raises(ConfigurationError) as caught:
        parseDocument("f.toml", content)
    assert len(caught.value.problems) == 1
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("key", "where"),
    [
        (("server", "directory"), "myserv.toml:2:1"),
        (("services", "echo", "listen"), "myserv.toml:5:1"),
        (("services", "echo", "listen", 1), "myserv.toml:7:3"),
        (("services", "echo", "listen", 9), "myserv.toml:5:1"),
        (("services", "echo", "protocol"), "myserv.toml:4:11"),
        (("services", "chat", "options", "x"), "myserv.toml:4:2"),
        (("directory",), "myserv.toml:1:1"),
        ((), "myserv.toml:1:1"),
    ],
)
def test_locateFindsTheNearestEnclosingKey(key: KeyPath, where: str) -> None:
    """A key is located at itself, a missing one at what would enclose it."""
    assert sample().locate(key) == where


def test_positionOfNothing() -> None:
    """What is missing altogether is missed at the beginning, before all else."""
    document = sample()
    assert document.position(("chat",)) == BEGINNING
    assert min(document.positions.values()) >= BEGINNING


def test_valuesAreTomllibs() -> None:
    """The document has the values, and the path as it was written."""
    assert sample().path == "myserv.toml"
    assert sample().values == {
        "server": {"directory": "/srv"},
        "services": {"echo": {"listen": ["tcp:7", "udp:7"]}},
    }


def test_reportPutsProblemsInTheOrderOfTheFile() -> None:
    """Each problem gets its place; those without one come first, equals keep their order."""
    error = sample().report(
        [
            Problem("fourth", ("services", "echo", "listen", 1)),
            Problem("third", ("services", "echo", "protocol")),
            Problem("second", ("server", "directory")),
            Problem("first", ("tls",)),
            Problem("third too", ("services", "echo", "optoins")),
        ]
    )
    assert isinstance(error, ConfigurationError)
    assert str(error).splitlines() == [
        "myserv.toml:1:1: tls: first",
        "myserv.toml:2:1: server.directory: second",
        "myserv.toml:4:11: services.echo.protocol: third",
        "myserv.toml:4:11: services.echo.optoins: third too",
        "myserv.toml:7:3: services.echo.listen[1]: fourth",
    ]


def test_reportSortsByNumber() -> None:
    """Line 10 comes after line 9, and column 10 after column 9."""
    text = "\n" * 8 + "a = [1, 2, 3]\nb = 1\n"
    document = parseDocument("f", text.encode())
    keys: list[KeyPath] = [("b",), ("a", 2), ("a", 1)]
    error = document.report(Problem("x", key) for key in keys)
    assert [problem.where for problem in error.problems] == ["f:9:9", "f:9:12", "f:10:1"]


def test_reportKeepsAPlaceThatIsKnown() -> None:
    """A problem that lies in another file, a certificate say, keeps its place."""
    error = sample().report([Problem("has expired", ("server",), where="cert.pem")])
    assert str(error) == "cert.pem: server: has expired"


def test_aFileIsRead(tmp_path: Path) -> None:
    """A path may be text or a Path, and is kept as it was written."""
    file = tmp_path / "a.toml"
    file.write_text(SAMPLE)
    assert readDocument(file) == readDocument(str(file))
    assert readDocument(file).locate(("server",)) == f"{file}:1:2"


def test_theDocumentMayBeEmpty() -> None:
    """An empty file is a document; what it lacks is not decided here."""
    assert parseDocument("f", b"").values == {}


def test_aByteOrderMarkIsNoText() -> None:
    """A BOM takes no column, also of a mistake."""
    assert parseDocument("f", b"\xef\xbb\xbfa = 1").locate(("a",)) == "f:1:1"
    assert refusal(b"\xef\xbb\xbfa = \xff").startswith("f.toml:1:5: is not UTF-8")


def test_missingFile(tmp_path: Path) -> None:
    """A file that is not there is named as the operator named it."""
    with pytest.raises(ConfigurationError) as caught:
        readDocument(f"{tmp_path}/../no.toml")
    assert str(caught.value) == f"{tmp_path}/../no.toml: there is no such file"


def test_noNameAtAll() -> None:
    """Of an empty name there is something to see."""
    with pytest.raises(ConfigurationError) as caught:
        readDocument("")
    assert str(caught.value) == '"": there is no such file'


@pytest.mark.parametrize("name", ["fifo", "/dev/zero"])
def test_whatNeverEnds(name: str, tmp_path: Path) -> None:
    """Nobody waits for what is no regular file."""
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(ConfigurationError, match=r": is a (FIFO|device), not a regular file$"):
        readDocument(tmp_path / name)


def test_directory(tmp_path: Path) -> None:
    """A directory is not a file."""
    with pytest.raises(ConfigurationError) as caught:
        readDocument(tmp_path)
    assert str(caught.value) == f"{tmp_path}: is a directory, not a file"


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.EACCES, "cannot be read: this user has no permission to"),
        (errno.EIO, "cannot be read: Input/output error"),
    ],
)
def test_fileThatCannotBeRead(number: int, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the system refuses is said in a line."""

    def refuse(path: object, flags: int) -> None:
        raise OSError(number, os.strerror(number), path)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(ConfigurationError) as caught:
        readDocument("f.toml")
    monkeypatch.undo()
    assert str(caught.value) == f"f.toml: {message}"


def test_pathThatNoSystemHas() -> None:
    """A NUL byte in the path is one more reason not to be read."""
    with pytest.raises(ConfigurationError, match="cannot be read: embedded null byte"):
        readDocument("a\0b")


def test_theLargestDocument(tmp_path: Path) -> None:
    """A file of exactly the limit is read, and one byte more is refused."""
    file = tmp_path / "large.toml"
    file.write_bytes(b"#" * MAXIMUM_DOCUMENT_BYTES)
    assert readDocument(file).values == {}
    file.write_bytes(b"#" * (MAXIMUM_DOCUMENT_BYTES + 1))
    with pytest.raises(ConfigurationError) as caught:
        readDocument(file)
    assert str(caught.value) == f"{file}: is larger than 1MiB"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b'a = 1\nb = "\xc3\xa9\xe9"', "2:7: is not UTF-8: the byte 0xe9 cannot stand here"),
        (b"\xff\xfea\0", "1:1: is not UTF-8: the byte 0xff cannot stand here"),
        (b"a = '\xe2\x82", "1:6: is not UTF-8: the byte 0xe2 cannot stand here"),
        (b"a = 1\n[b", "2:3: is not TOML: expected ']' at the end of a table declaration"),
        (b"a = echo", "1:5: is not TOML: a value must stand here; text needs quotes"),
        (b"a = ", "1:5: is not TOML: a value must stand here; text needs quotes"),
        (b"a = 1\r\nb = \r\n", "2:5: is not TOML: a value must stand here; text needs quotes"),
        (b"a", "1:2: is not TOML: a key needs = and a value"),
        (b"a = 1 b = 2", "1:7: is not TOML: the line must end here"),
        (b'\n\na = "x\n', "3:7: is not TOML: the quotes are not closed on this line"),
        (b"a = 'x\nb = ''", "1:7: is not TOML: the quotes are not closed on this line"),
        (b"a = 'x\n", "2:1: is not TOML: the quotes are not closed"),
        (b"a = '''x\n''", "2:3: is not TOML: the quotes are not closed"),
        (b'a = """x\n\n', "3:1: is not TOML: the quotes are not closed"),
        (b"a = [1 2]", "1:8: is not TOML: a list needs a comma or ] here"),
        (b"a = [1,\n2", "2:2: is not TOML: a list needs a comma or ] here"),
        (b"a = {b = 1 c = 2}", "1:12: is not TOML: a table needs a comma or } here"),
        (b"= 1", "1:1: is not TOML: a key or a [table] must stand here"),
        (b"[]", "1:2: is not TOML: a key must stand here"),
        (b"a = 1\na = 2", "2:6: is not TOML: this was given a value before"),
        (b"a = {b = 1, b = 2}", "1:18: is not TOML: this was given a value before"),
        (b"[a]\n[a]", "2:3: is not TOML: this table was begun before"),
        (b"[a.b]\n[a]\nb.c = 1", "3:8: is not TOML: this table was begun before"),
        (b"a = []\n[[a]]", "2:4: is not TOML: what was written in one piece cannot be added to"),
        (b"a = 1\0", "1:6: is not TOML: the line must end here"),
        (b'a = "\0"', "1:6: is not TOML: illegal character '\\x00'"),
        (b'a = "\\q"', "1:8: is not TOML: unescaped '\\' in a string"),
        (b"a = 2024-02-31", "1:5: is not TOML: invalid date or datetime"),
    ],
)
def test_whatIsNotTOML(content: bytes, expected: str) -> None:
    """A mistake of writing is one line with its place, in an operator's words."""
    assert refusal(content) == f"f.toml:{expected}"


def test_whatPythonCannotRead() -> None:
    """TOML that is beyond Python is refused in a line like any other."""
    assert refusal(b"a = " + b"9" * 5000) == (
        "f.toml: is not TOML that can be read: a number has too many digits"
    )


@pytest.mark.parametrize("line", ["{} = 1", "[{}]", "[[{}]]", "x = {{ {} = 1 }}"])
def test_aKeyOfManyParts(line: str) -> None:
    """Is read up to a number of parts, of which a string that has dots is one."""
    most = "'a.b'" + "".join(f" . b{i}" for i in range(MAXIMUM_KEY_PARTS - 1))
    assert parseDocument("f", line.format(most).encode()).values
    text = line.format(f"{most} . c")
    told = f"f.toml:1:{text.rindex('.') + 1}: a key may have 16 parts at most"
    assert refusal(text.encode()) == told
    assert refusal(line.format("a." * 20_000 + "b").encode()).endswith("parts at most")


@pytest.mark.parametrize(("before", "after"), [("[", "]"), ("{a = ", "}")])
def test_deepNesting(before: str, after: str) -> None:
    """Is read up to a depth; brackets in strings and comments have none."""
    value = before * MAXIMUM_NESTING + "'[['" + after * MAXIMUM_NESTING
    assert parseDocument("f", f"# [[[\na = {value}\nb = {value}".encode()).values
    text = "a = 1\nb = " + before * (MAXIMUM_NESTING + 1)
    column = 5 + MAXIMUM_NESTING * len(before)
    told = f"f.toml:2:{column}: lists and tables may be nested 16 deep at most"
    assert refusal(text.encode()) == told


@pytest.mark.parametrize(
    "hard", ['"""a"\\', "'''a'", '"', "'", "a ", ".", "]", "{}", '"""', "'''", "#", "\\", "#\n"]
)
def test_theDepthIsFoundInOnePass(hard: str) -> None:
    """A text of the largest size, made to be read again and again, is read once."""
    before = time.process_time()
    findTooDeep(hard * (MAXIMUM_DOCUMENT_BYTES // len(hard)))
    assert time.process_time() - before < 10


@given(st.binary(max_size=60) | st.text("[]{}=.,#'\"\\\n\ra1 ").map(str.encode))
def test_arbitraryBytesAreReadOrRefused(content: bytes) -> None:
    """Nothing in a file raises anything but one problem in one line."""
    told = None
    try:
        document = parseDocument("f", content)
    except ConfigurationError as error:
        told = error
    if told is None:
        assert set(document.values) <= {key[0] for key in document.positions}
    else:
        assert len(told.problems) == 1
        assert str(told).startswith("f:")
        assert "\n" not in str(told)
