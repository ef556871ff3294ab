"""C{myserv check} as a server that runs asks it, before it reads its file again."""

from __future__ import annotations

from pathlib import Path

import pytest

import myserv
from myserv.cli import main
from myserv.server.fresh import readVerdict


def test_aFileThatIsRight(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """It is told which code would serve it."""
    file = tmp_path / "a.toml"
    file.write_text('[services.a]\nprotocol = "echo"\nlisten = "tcp:7"\n')
    assert main(["check", "--json", str(file)]) == 0
    verdict = readVerdict(capfd.readouterr().out.encode())
    assert verdict is not None
    assert verdict.reasons == ()
    assert verdict.code["the protocol echo"] == f"myserv {myserv.__version__}"


def test_aFileThatIsWrong(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Each mistake is a reason; the exit code is that of a check that was made."""
    file = tmp_path / "a.toml"
    file.write_text('[services.a]\nprotocol = "ehco"\nlisten = "tpc:7"\n')
    assert main(["check", "--json", str(file)]) == 0
    output, errors = capfd.readouterr()
    verdict = readVerdict(output.encode())
    assert verdict is not None
    assert [each.split(": ")[0] for each in verdict.reasons] == [f"{file}:2:1", f"{file}:3:1"]
    assert verdict.code == {}
    assert errors == ""


def test_nobodyElseIsTold(capfd: pytest.CaptureFixture[str]) -> None:
    """The flag is between the two of them."""
    with pytest.raises(SystemExit):
        main(["check", "--help"])
    assert "json" not in capfd.readouterr().out


def test_aPluginThatPrints(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it prints is not in front of the verdict."""
    (tmp_path / "prints.py").write_text(
        "import os\nfrom twisted.internet.protocol import Protocol\n"
        "print('loading', end='')\nos.write(1, b'...')\nclass Quiet(Protocol): pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    file = tmp_path / "a.toml"
    file.write_text('[services.a]\nprotocol = "prints:Quiet"\nlisten = "tcp:7"\n')
    assert main(["check", "--json", str(file)]) == 0
    output = capfd.readouterr().out
    assert output.startswith("{")
    assert output.count("\n") == 1
