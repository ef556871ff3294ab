"""Where each key and value of a TOML text stands."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from myserv.config.positions import Position, scanPositions
from myserv.errors import KeyPath

CASES: dict[str, tuple[str, dict[KeyPath, Position]]] = {
    "nothing": ("", {}),
    "only comments": ("# a = 1\n\n  # [b]", {}),
    "a bare key": ("a-B_9 = 1", {("a-B_9",): (1, 1)}),
    "indented with spaces and tabs": (" \t a = 1", {("a",): (1, 4)}),
    "a key in double quotes": (
        '"a.\\"\\u00e9\\" = #" = 1\nb = 2',
        {('a."é" = #',): (1, 1), ("b",): (2, 1)},
    ),
    "a key in single quotes": ("'a\\.]' = 1\nb = 2", {("a\\.]",): (1, 1), ("b",): (2, 1)}),
    "an empty key": ('"" = 1\nb = 2', {("",): (1, 1), ("b",): (2, 1)}),
    "a dotted key": (
        "a . 'b' .c = 1\na.d = 2",
        {("a",): (1, 1), ("a", "b"): (1, 5), ("a", "b", "c"): (1, 10), ("a", "d"): (2, 3)},
    ),
    "a key that is a number": ("3.14 = 1", {("3",): (1, 1), ("3", "14"): (1, 3)}),
    "a table": ("[ a ] # b = 1\nb = 1", {("a",): (1, 3), ("a", "b"): (2, 1)}),
    "a dotted header": (
        '[a."b.c"]\nd=1',
        {("a",): (1, 2), ("a", "b.c"): (1, 4), ("a", "b.c", "d"): (2, 1)},
    ),
    "a table after its subtable": (
        "[a.b]\n[a]\nc = 1",
        {("a",): (2, 2), ("a", "b"): (1, 4), ("a", "c"): (3, 1)},
    ),
    "a table between others": (
        "[a]\nx = 1\n[b]\nx = 2\n[a.c]\nx = 3",
        {
            ("a",): (1, 2),
            ("a", "x"): (2, 1),
            ("b",): (3, 2),
            ("b", "x"): (4, 1),
            ("a", "c"): (5, 4),
            ("a", "c", "x"): (6, 1),
        },
    ),
    "an array of tables": (
        "[[a]]\nb = 1\n[[ a ]]\nb = 2",
        {
            ("a",): (1, 3),
            ("a", 0): (1, 3),
            ("a", 0, "b"): (2, 1),
            ("a", 1): (3, 4),
            ("a", 1, "b"): (4, 1),
        },
    ),
    "nested arrays of tables": (
        "[[a]]\n[[a.b]]\nc = 1\n[[a.b]]\n[a.b.d]\ne = 1\n[[a]]\n[[a.b]]\nc = 2\n[a.f]",
        {
            ("a",): (1, 3),
            ("a", 0): (1, 3),
            ("a", 0, "b"): (2, 5),
            ("a", 0, "b", 0): (2, 5),
            ("a", 0, "b", 0, "c"): (3, 1),
            ("a", 0, "b", 1): (4, 5),
            ("a", 0, "b", 1, "d"): (5, 6),
            ("a", 0, "b", 1, "d", "e"): (6, 1),
            ("a", 1): (7, 3),
            ("a", 1, "b"): (8, 5),
            ("a", 1, "b", 0): (8, 5),
            ("a", 1, "b", 0, "c"): (9, 1),
            ("a", 1, "f"): (10, 4),
        },
    ),
    "an array": (
        "a = [ 1,'x' ,]\nb = []",
        {("a",): (1, 1), ("a", 0): (1, 7), ("a", 1): (1, 9), ("b",): (2, 1)},
    ),
    "an array across lines with comments": (
        "a = [ # [\n  1, # ]\n  # 2,\n\n\t[3,\n4],\n]",
        {
            ("a",): (1, 1),
            ("a", 0): (2, 3),
            ("a", 1): (5, 2),
            ("a", 1, 0): (5, 3),
            ("a", 1, 1): (6, 1),
        },
    ),
    "an inline table": (
        "a = { b = 1, c.d = {}, 'e' = [ { f = 2 } ] }",
        {
            ("a",): (1, 1),
            ("a", "b"): (1, 7),
            ("a", "c"): (1, 14),
            ("a", "c", "d"): (1, 16),
            ("a", "e"): (1, 24),
            ("a", "e", 0): (1, 32),
            ("a", "e", 0, "f"): (1, 34),
        },
    ),
    "values with what ends a value in them": (
        'a = ["#,]", \',]}#\', "\\"]", \'\\\', 1]',
        {
            ("a",): (1, 1),
            ("a", 0): (1, 6),
            ("a", 1): (1, 13),
            ("a", 2): (1, 21),
            ("a", 3): (1, 28),
            ("a", 4): (1, 33),
        },
    ),
    "values that are not text": (
        "a=[-1_0,0xff,+1.5e-3,inf,-nan,true,1979-05-27 07:32:00Z,07:32:00,1979-05-27]\nb=1",
        {
            ("a",): (1, 1),
            ("a", 0): (1, 4),
            ("a", 1): (1, 9),
            ("a", 2): (1, 14),
            ("a", 3): (1, 22),
            ("a", 4): (1, 26),
            ("a", 5): (1, 31),
            ("a", 6): (1, 36),
            ("a", 7): (1, 57),
            ("a", 8): (1, 66),
            ("b",): (2, 1),
        },
    ),
    "a date with a space before a comment": (
        "a = 1979-05-27 07:32:00 # x\nb = 1",
        {("a",): (1, 1), ("b",): (2, 1)},
    ),
    "long text": (
        'a = """\nb = 1\n[c]\n\\""\\" \\\n  "" """ # """\ne = 1',
        {("a",): (1, 1), ("e",): (6, 1)},
    ),
    "long literal text": (
        "a = '''\nb = 1\n'' \\''' # '''\ne = 1",
        {("a",): (1, 1), ("e",): (4, 1)},
    ),
    "long text that ends in quotes": (
        "a = [\"\"\"\"x\"\"\"\"\", 1]\nb = [''''x''''', 1]\nc = [\"\"\"\"\"\", '''''', 1]",
        {
            ("a",): (1, 1),
            ("a", 0): (1, 6),
            ("a", 1): (1, 18),
            ("b",): (2, 1),
            ("b", 0): (2, 6),
            ("b", 1): (2, 18),
            ("c",): (3, 1),
            ("c", 0): (3, 6),
            ("c", 1): (3, 14),
            ("c", 2): (3, 22),
        },
    ),
    "lines that end in CRLF": (
        '[a]\r\nb = [\r\n1]\r\nc = """\r\nx"""\r\nd = 1\r\n',
        {
            ("a",): (1, 2),
            ("a", "b"): (2, 1),
            ("a", "b", 0): (3, 1),
            ("a", "c"): (4, 1),
            ("a", "d"): (6, 1),
        },
    ),
    "columns in characters": (
        '"ключ".b = ["𝄞é", 1]',
        {
            ("ключ",): (1, 1),
            ("ключ", "b"): (1, 8),
            ("ключ", "b", 0): (1, 13),
            ("ключ", "b", 1): (1, 19),
        },
    ),
}


@pytest.mark.parametrize(("text", "expected"), CASES.values(), ids=CASES.keys())
def test_everyKeyAndElementIsFound(text: str, expected: dict[KeyPath, Position]) -> None:
    """Each key and each element of an array has its place, and nothing else has one."""
    values = tomllib.loads(text)
    assert scanPositions(text) == expected
    assert set(_paths(values, ())) == set(expected)


def test_depthThatTomllibTakes() -> None:
    """What tomllib could nest is scanned too, to the last level that it takes."""
    for opening, value, closing in (("[", "1", "]"), ("{a=", "1", "}"), ("[{a=", "1", "}]")):
        accepted = 0
        for depth in range(10, 2000, 10):
            text = "k = " + opening * depth + value + closing * depth
            try:
                tomllib.loads(text)
            except RecursionError:
                break
            accepted = depth
            assert len(scanPositions(text)) == 1 + depth * opening.count("[") + (
                depth * opening.count("{")
            )
        assert accepted > 50


def _paths(value: object, path: KeyPath) -> Iterator[KeyPath]:
    if path:
        yield path
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _paths(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _paths(inner, (*path, index))


class Writer:
    """Writes TOML in many spellings and notes where it put each key and element."""

    def __init__(self, data: st.DataObject) -> None:
        self.draw = data.draw
        self.text = ""
        self.expected: dict[KeyPath, Position] = {}

    def put(self, text: str) -> None:
        self.text += text

    def note(self, path: KeyPath) -> None:
        lines = self.text.split("\n")
        self.expected[path] = (len(lines), len(lines[-1]) + 1)

    def space(self) -> None:
        self.put(self.draw(st.sampled_from(["", " ", "\t ", "  "])))

    def gap(self) -> None:
        self.put(self.draw(st.sampled_from(["", " ", "\n", "\r\n\t", "# ] } é\n", "\n#'''\n\n"])))

    def key(self, name: str) -> None:
        spellings = [json.dumps(name).replace("\x7f", "\\u007f")]
        if name.isascii() and name.isalnum():
            spellings.append(name)
        if name.isprintable() and "'" not in name:
            spellings.append(f"'{name}'")
        self.put(self.draw(st.sampled_from(spellings)))

    def pairs(self, table: dict[str, object], path: KeyPath) -> None:
        for name, value in table.items():
            if isinstance(value, dict) and self.draw(st.booleans()):
                continue
            if _isTables(value):
                continue
            self.pair(name, value, path)
            self.put(self.draw(st.sampled_from(["\n", " \t# = [\n", "\r\n\r\n"])))
            table[name] = None

    def pair(self, name: str, value: object, path: KeyPath) -> None:
        self.space()
        self.note((*path, name))
        self.key(name)
        while isinstance(value, dict) and len(value) == 1 and self.draw(st.booleans()):
            path = (*path, name)
            [(name, value)] = value.items()
            self.space()
            self.put(".")
            self.space()
            self.note((*path, name))
            self.key(name)
        self.space()
        self.put("=")
        self.space()
        self.value(value, (*path, name))

    def value(self, value: object, path: KeyPath) -> None:
        if isinstance(value, dict):
            self.put("{")
            for number, (name, inner) in enumerate(value.items()):
                self.put("," if number else "")
                self.pair(name, inner, path)
                self.space()
            self.put("}")
        elif isinstance(value, list):
            self.put("[")
            for index, inner in enumerate(value):
                self.gap()
                self.note((*path, index))
                self.value(inner, (*path, index))
                self.gap()
                if index < len(value) - 1 or self.draw(st.booleans()):
                    self.put(",")
            self.gap()
            self.put("]")
        else:
            assert isinstance(value, str)
            self.put(value)

    def tables(self, table: dict[str, object], path: KeyPath, header: tuple[str, ...]) -> None:
        for name, value in table.items():
            if isinstance(value, dict):
                self.header("[", "]", (*path, name), (*header, name))
                self.body(value, (*path, name), (*header, name))
            elif _isTables(value):
                for index, inner in enumerate(value):  # type: ignore[arg-type,var-annotated]
                    self.header("[[", "]]", (*path, name, index), (*header, name))
                    self.body(inner, (*path, name, index), (*header, name))

    def header(self, opening: str, closing: str, path: KeyPath, names: tuple[str, ...]) -> None:
        self.space()
        self.put(opening)
        for number, name in enumerate(names):
            self.space()
            if number == len(names) - 1:
                if isinstance(path[-1], int) and path[:-1] not in self.expected:
                    self.note(path[:-1])
                self.note(path)
            self.key(name)
            self.space()
            self.put("." if number < len(names) - 1 else "")
        self.put(closing)
        self.put(self.draw(st.sampled_from(["\n", " # [x]\n"])))

    def body(self, table: dict[str, object], path: KeyPath, header: tuple[str, ...]) -> None:
        table = dict(table)
        self.pairs(table, path)
        self.tables(table, path, header)


def _isTables(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(v, dict) for v in value)


SCALARS = st.sampled_from(
    [
        *("1", "-0.5e9", "true", "1979-05-27 07:32:00", "nan", "0x1F", "07:32:00.5"),
        *('""', '"a\\"]"', "'}\\'", '"""\n"" x = 1\n\\""""""', "'''\n[a]\n'# é'''''", '"é𝄞"'),
    ]
)
KEYS = st.text("ab9é\"'.] \\\n", max_size=3)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=12,
)


@given(st.data(), st.dictionaries(KEYS, VALUES, max_size=4))
def test_placesAreThoseTheWriterUsed(data: st.DataObject, table: dict[str, object]) -> None:
    """However a document is spelt, each key is found where it was written."""
    writer = Writer(data)
    writer.body(table, (), ())
    tomllib.loads(writer.text)
    assert scanPositions(writer.text) == writer.expected


FRAGMENTS = st.lists(
    st.sampled_from(
        [
            *("[", "]", "{", "}", ",", "=", ".", "#", "\n", "\r\n", " ", "\t", '"', "'", "\\"),
            *('"""', "'''", "a", "b", "a = ", "1", "[a]", "[[a]]", "1.5", "\\n", "é", "true"),
        ]
    ),
    max_size=40,
).map("".join)


@given(st.text() | FRAGMENTS)
def test_whateverTomllibAcceptsIsScanned(text: str) -> None:
    """Arbitrary text that tomllib accepts is scanned without an error, and completely."""
    try:
        values = tomllib.loads(text)
    except ValueError:
        return
    assert set(scanPositions(text)) == set(_paths(values, ()))
