"""SIGHUP, with fake workers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from myserv.errors import ConfigurationError, Problem
from myserv.events import ConfigurationApplied, ConfigurationRejected
from myserv.testing.logged import LoggedFailures
from myserv.workers.blueprint import Blueprint
from myserv.workers.checking import CheckFailed
from myserv.workers.messages import ChangeLimits, Deaf, Failed
from myserv.workers.reloading import Reloader, readText
from tests.workers.stage import FakeProcess, Stage, blueprint, ready


class Reloading:
    """A server that is told to reload."""

    def __init__(self, file: Path) -> None:
        self.file = file
        file.write_text("a")
        self.stage = Stage(blueprint("a"))
        self.workers = self.stage.started()
        self.stage.events.clear()
        self.checks: list[tuple[str, Deferred[Blueprint]]] = []
        self.upgrades: list[Blueprint] = []
        self.whyNot: str | None = "no luck"
        self.over = 0
        self.reloader = Reloader(
            self.stage.supervisor, file, self.check, self.upgrade, self.reloaded
        )

    def check(self, text: str) -> Deferred[Blueprint]:
        """Begin a check."""
        checking: Deferred[Blueprint] = Deferred()
        self.checks.append((text, checking))
        return checking

    def upgrade(self, checked: Blueprint) -> str | None:
        """Replace the program."""
        self.upgrades.append(checked)
        return self.whyNot

    def reloaded(self) -> None:
        """Count."""
        self.over += 1

    def checked(self, **others: Any) -> None:
        """The check ends well."""
        text, checking = self.checks.pop(0)
        checking.callback(blueprint(text, **others))

    def serve(self) -> list[FakeProcess]:
        """The new workers are ready, and the old ones deaf."""
        new = self.stage.spawner.take(2)
        ready(*new)
        for each in self.workers:
            each.owner.received(Deaf())
        return new


@pytest.fixture
def reloading(tmp_path: Path) -> Reloading:
    """A server."""
    return Reloading(tmp_path / "a.toml")


def test_newWorkersServe(reloading: Reloading) -> None:
    """Also when the file is the same: what is installed may not be."""
    reloading.reloader.reload()
    reloading.checked()
    reloading.serve()
    assert reloading.stage.events[-1] == ConfigurationApplied("a.toml", (), (), 2)
    assert reloading.over == 1
    assert reloading.upgrades == []


def test_onlyLimitsDiffer(reloading: Reloading) -> None:
    """The workers that run take them."""
    reloading.file.write_text("b")
    reloading.reloader.reload()
    reloading.checked(changes=("limits.idle",))
    assert reloading.workers[0].said(ChangeLimits) == [ChangeLimits("b")]
    assert reloading.stage.events == [ConfigurationApplied("a.toml", ("limits.idle",), ())]
    reloading.file.write_text("c")
    reloading.reloader.reload()
    reloading.checked(structure="another")
    assert len(reloading.stage.spawner.processes) == 4
    assert reloading.over == 1


def test_severalAtOnce(reloading: Reloading) -> None:
    """Those that come during one are one more, with what the file holds then."""
    reloading.reloader.reload()
    reloading.file.write_text("b")
    for _ in range(5):
        reloading.reloader.reload()
    reloading.checked()
    assert len(reloading.checks) == 0
    reloading.serve()
    [(text, _)] = reloading.checks
    assert text == "b"


def test_whatIsWrong(reloading: Reloading) -> None:
    """Nothing changes, and everybody knows why."""
    reloading.reloader.reload()
    _, checking = reloading.checks.pop()
    checking.errback(ConfigurationError([Problem("one"), Problem("two")]))
    assert reloading.stage.events == [ConfigurationRejected("a.toml", ("one", "two"))]
    reloading.file.unlink()
    reloading.reloader.reload()
    [_, rejected] = reloading.stage.events
    assert isinstance(rejected, ConfigurationRejected)
    assert "there is no such file" in rejected.reasons[0]
    assert reloading.over == 2
    assert len(reloading.stage.spawner.processes) == 2


def test_noCheck(reloading: Reloading) -> None:
    """Nothing changes either, and nobody says that the file is wrong."""
    reloading.reloader.reload()
    _, checking = reloading.checks.pop()
    checking.errback(CheckFailed(Problem("it took too long", where="a.toml")))
    [rejected] = reloading.stage.events
    assert rejected == ConfigurationRejected("a.toml", ("it took too long",), isChecked=False)
    assert reloading.over == 1


def test_newWorkersThatDie(reloading: Reloading) -> None:
    """What they said is why."""
    reloading.reloader.reload()
    reloading.checked()
    first, _ = reloading.stage.spawner.take(2)
    first.owner.received(Failed("one\ntwo"))
    first.owner.ended("exit code 1")
    reasons = tuple(f"the new workers could not start: {each}" for each in ("one", "two"))
    assert reloading.stage.events[-1] == ConfigurationRejected("a.toml", reasons, isWrong=False)


def test_aBugIsNoMistake(reloading: Reloading, loggedErrors: LoggedFailures) -> None:
    """It is logged with its traceback; the next reload is not kept from it."""
    reloading.reloader.reload()
    _, checking = reloading.checks.pop()
    checking.errback(ZeroDivisionError())
    assert len(loggedErrors.take(ZeroDivisionError)) == 1
    assert reloading.stage.events == []
    assert reloading.over == 1
    reloading.reloader.reload()
    assert len(reloading.checks) == 1


def test_otherCodeOfOurs(reloading: Reloading) -> None:
    """The program is replaced; if it cannot be, the workers are new all the same."""
    reloading.reloader.reload()
    reloading.checked(fingerprint="2", changes=("one", "two"))
    assert [each.fingerprint for each in reloading.upgrades] == ["2"]
    reloading.serve()
    assert reloading.stage.events[-1] == ConfigurationApplied(
        "a.toml",
        ("one", "two"),
        ("the supervisor runs what was installed before: no luck",),
        2,
    )
    reloading.whyNot = None
    reloading.reloader.reload()
    reloading.checked(fingerprint="2")
    assert len(reloading.stage.spawner.processes) == 4


def test_theNextProgramBeginsWithAReload(reloading: Reloading) -> None:
    """Of what was checked before."""
    reloading.reloader.serveChecked(blueprint("b"))
    reloading.reloader.reload()
    assert reloading.checks == []
    reloading.serve()
    assert len(reloading.checks) == 1


def test_itStopsMeanwhile(reloading: Reloading) -> None:
    """Then nothing is begun any more."""
    reloading.reloader.reload()
    reloading.reloader.reload()
    reloading.stage.supervisor.stop()
    reloading.checked()
    assert len(reloading.stage.spawner.processes) == 2
    assert reloading.checks == []


def test_aFileThatIsNoText(tmp_path: Path) -> None:
    """It says so; a byte order mark is no mistake."""
    file = tmp_path / "a.toml"
    file.write_bytes(b"\xef\xbb\xbfa = 1")
    assert readText(file) == "a = 1"
    file.write_bytes(b"a\xff")
    with pytest.raises(ConfigurationError, match="is not UTF-8: the byte 0xff"):
        readText(file)


def test_stoppedDuringACheck(reloading: Reloading) -> None:
    """The check ends, and nobody is told."""
    reloading.reloader.stop()
    reloading.reloader.reload()
    [(_, checking)] = reloading.checks
    reloading.reloader.stop()
    assert checking.called
    assert reloading.stage.events == []
    assert reloading.over == 1
