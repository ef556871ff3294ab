"""Which code runs."""

from __future__ import annotations

import platform
import sys
from pathlib import Path
from types import ModuleType

import pytest
import twisted

import myserv
from myserv.discovery import installedPlugins
from myserv.server.fingerprint import codeOf

ALWAYS = {
    "Python": platform.python_version(),
    "Twisted": twisted.__version__,
    "myserv": myserv.__version__,
}


def test_distributions() -> None:
    """A protocol's version is that of what offers it; nothing offers what is not there."""
    assert codeOf(["echo", "nope"], installedPlugins()) == {
        **ALWAYS,
        "the protocol echo": f"myserv {myserv.__version__}",
    }


def test_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is of no distribution is known by its file, if it has one that can be read."""
    file = tmp_path / "mine.py"
    file.write_text("one")
    for name in ("mine", "gone", "builtin"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setattr(sys.modules["mine"], "__file__", str(file), raising=False)
    monkeypatch.setattr(sys.modules["gone"], "__file__", str(tmp_path / "gone"), raising=False)
    references = ["mine:A", "gone:B", "builtin:C", "never_imported:D"]
    before = codeOf(references, installedPlugins())
    assert before.keys() == {*ALWAYS, "the module mine"}
    assert codeOf(references, installedPlugins()) == before
    file.write_text("two")
    assert codeOf(references, installedPlugins()) != before
