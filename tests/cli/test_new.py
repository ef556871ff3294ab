"""New packages: the names they take and refuse, and what they are made of."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from myserv import __version__
from myserv.cli import new
from myserv.cli.new import MAXIMUM_NAME, createPackage, summary
from myserv.discovery import Candidate, Registry
from myserv.errors import ConfigurationError

RUFF = Path(sys.executable).parent / "ruff"

LONG = "a" + "-bcd" * 9 + "xyz"
"""As long as a name may be."""


def filesOf(directory: Path) -> list[str]:
    """The files of a package, relative to it."""
    found = (path for path in directory.rglob("*") if path.is_file())
    return sorted(path.relative_to(directory).as_posix() for path in found)


def refusal(name: str, parent: Path) -> str:
    """Why a package was not made; and it was not."""
    before = list(parent.iterdir()) if parent.is_dir() else []
    with pytest.raises(ConfigurationError) as raised:
        createPackage(name, parent)
    assert (list(parent.iterdir()) if parent.is_dir() else []) == before
    assert len(raised.value.problems) == 1
    return str(raised.value)


def test_files(tmp_path: Path) -> None:
    """A package is a project of its own, with everything that it takes to ship it."""
    path = createPackage("my-quotes", tmp_path)
    assert path == tmp_path / "my-quotes"
    assert filesOf(path) == [
        ".gitignore",
        "README.md",
        "my_quotes/__init__.py",
        "my_quotes/plugin.py",
        "my_quotes/protocol.py",
        "my_quotes/py.typed",
        "pyproject.toml",
        "tests/conftest.py",
        "tests/test_plugin.py",
        "tests/test_protocol.py",
        "twisted_plugins/my_quotes_plugin.py",
    ]


def test_project(tmp_path: Path) -> None:
    """The project offers the protocol to every myserv from this one on."""
    path = createPackage("my-quotes", tmp_path)
    project = tomllib.loads((path / "pyproject.toml").read_text())["project"]
    assert project["name"] == "my-quotes"
    assert project["dependencies"] == [f"myserv>={__version__}"]
    assert project["entry-points"] == {
        "myserv.protocols": {"my-quotes": "my_quotes.plugin:my_quotes"}
    }


def test_classes(tmp_path: Path) -> None:
    """Classes are called after the protocol."""
    path = createPackage("my-quotes", tmp_path)
    tree = ast.parse((path / "my_quotes" / "protocol.py").read_text())
    assert [node.name for node in tree.body if isinstance(node, ast.ClassDef)] == [
        "MyQuotesOptions",
        "MyQuotesProtocol",
        "MyQuotesDatagramProtocol",
    ]


@pytest.mark.parametrize("name", ["x", "quotes", "my-quotes", LONG])
def test_code_is_clean(name: str, tmp_path: Path) -> None:
    """Its own settings of ruff find nothing to say, whatever the name."""
    path = createPackage(name, tmp_path)
    for command in (["check"], ["format", "--check"]):
        ran = subprocess.run(
            [RUFF, *command, "--no-cache"], cwd=path, capture_output=True, text=True, check=False
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize("name", ["quotes", LONG])
def test_protocol_passes_its_tests(name: str, tmp_path: Path) -> None:
    """The tests of the protocol pass before it is installed, too."""
    path = createPackage(name, tmp_path)
    root = Path(__file__).parent.parent.parent
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_protocol.py"],
        cwd=path,
        env=os.environ | {"PYTHONPATH": f"{root}{os.pathsep}{path}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "Quotes",
            "'Quotes' cannot be a protocol's name: use lower case, digits and hyphens",
        ),
        (
            "../quotes",
            "'../quotes' cannot be a protocol's name: use lower case, digits and hyphens",
        ),
        ("", "'' cannot be a protocol's name: use lower case, digits and hyphens"),
        (
            "my_quotes",
            "'my_quotes' cannot be a protocol's name: use lower case, digits and hyphens",
        ),
        (LONG + "x", f'"{LONG}x" is too long: use at most 40 characters'),
        ("import", '"import" is a word of Python\'s: choose another name'),
        ("json", '"json" is a module of Python\'s own: choose another name'),
        (
            "tests",
            (
                '"tests" is a directory that the package needs for something else:'
                " choose another name"
            ),
        ),
        (
            "twisted-plugins",
            (
                '"twisted-plugins" is a directory that the package needs for something else:'
                " choose another name"
            ),
        ),
        ("twisted", '"twisted" is a module that is installed already: choose another name'),
        ("myserv", '"myserv" is a module that is installed already: choose another name'),
    ],
)
def test_name_refused(name: str, said: str, tmp_path: Path) -> None:
    """A name that would get in somebody's way is refused, in one line."""
    assert refusal(name, tmp_path) == said


def test_longest_name() -> None:
    """The longest name that is tried here is the longest that is allowed."""
    assert len(LONG) == MAXIMUM_NAME


def test_name_of_an_installed_protocol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two protocols of one name could not be told apart."""
    registry = Registry([Candidate("echoes", "echoes 1.0", "echoes:echoes")])
    monkeypatch.setattr(new, "installedPlugins", lambda: registry)
    assert refusal("echoes", tmp_path) == (
        '"echoes" is a protocol that is installed already: choose another name'
    )


def test_module_without_a_spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that the import machinery did not make is one all the same."""
    monkeypatch.setitem(sys.modules, "quotes", type(sys)("quotes"))
    assert refusal("quotes", tmp_path) == (
        '"quotes" is a module that is installed already: choose another name'
    )


def test_directory_on_the_path_is_no_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A directory without modules, which Python could import, gets in nobody's way."""
    (tmp_path / "path" / "quotes").mkdir(parents=True)
    monkeypatch.syspath_prepend(str(tmp_path / "path"))
    assert createPackage("quotes", tmp_path).is_dir()


def test_directory_exists(tmp_path: Path) -> None:
    """What is there already is left alone."""
    (tmp_path / "quotes").mkdir()
    assert refusal("quotes", tmp_path) == (f"{tmp_path}/quotes exists already: choose another name")
    assert filesOf(tmp_path) == []


def test_parent_is_missing(tmp_path: Path) -> None:
    """A package is made in a directory that there is."""
    parent = tmp_path / "nowhere"
    assert refusal("quotes", parent) == f"cannot make {parent}/quotes: No such file or directory"


def test_failure_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk does not leave half a package."""
    written: list[Path] = []

    def write(self: Path, text: str, encoding: str) -> int:
        if written:
            raise OSError(28, "No space left on device", str(self))
        written.append(self)
        return len(text)

    monkeypatch.setattr(Path, "write_text", write)
    said = refusal("quotes", tmp_path)
    assert said.startswith(f"cannot write {tmp_path}/quotes/")
    assert said.endswith(": No space left on device")


def test_summary(tmp_path: Path) -> None:
    """Whoever made a package is told what to type."""
    assert summary(tmp_path / "my-quotes") == (
        f"Made {tmp_path}/my-quotes: a protocol that works, for you to change. Next:\n"
        "\n"
        f"    cd {tmp_path}/my-quotes\n"
        "    pip install -e '.[test]'\n"
        "    pytest\n"
        "    twistd -n my-quotes --listen tcp:7000 --listen udp:7000\n"
        "\n"
        "Begin with answer() in my_quotes/protocol.py; README.md has the rest."
    )
