"""What the bench takes for myserv with every rule off, and with all of them on."""

from __future__ import annotations

import tomllib
from typing import Any

from attrs import fields

from bench.ours import NO_LIMITS, ourConfig
from bench.roster import PEERS, Service
from myserv.config.document import readDocument
from myserv.config.model import readConfig
from myserv.limits import DEFAULT_LIMITS, Limits

NO_RULES = {
    "allow", "deny", "users", "groups",  # nothing unless somebody says so
    "whenFull", "peerPrefix4", "peerPrefix6",  # how another rule counts
    "drain",  # how it ends
}  # fmt: skip


def test_every_limit_is_off() -> None:
    """Whatever can be limited is named, so a new limit has to be added there."""
    off: dict[str, Any] = tomllib.loads(NO_LIMITS)["limits"]
    assert set(off) == {field.name for field in fields(Limits)} - NO_RULES
    assert {value for value in off.values() if not isinstance(value, str)} == {0}
    assert {value for value in off.values() if isinstance(value, str)} == {"0s"}


def test_what_is_not_named_is_no_rule_by_default() -> None:
    """The lists of who may come in have nobody in them."""
    assert not any(getattr(DEFAULT_LIMITS, name) for name in ("allow", "deny", "users", "groups"))


def test_the_configurations_are_right(tmp_path: Any) -> None:
    """Myserv has nothing to object to in any of them."""
    for peer in PEERS:
        for service, text in peer.configs.items():
            path = tmp_path / f"{service.value}.toml"
            path.write_text(text.replace("<port>", "7007").replace("<build>", str(tmp_path)))
            config, problems = readConfig(readDocument(path))
            assert not problems
            assert config.server.workerCount == peer.workers


def test_limits_are_left_alone() -> None:
    """With the limits on, the file says nothing about them."""
    values = tomllib.loads(ourConfig("echo", ("tcp:7007",), limited=True, workers=1))
    assert set(values) == {"server", "services"}
    unlimited = tomllib.loads(ourConfig("echo", ("tcp:7007",), limited=False, workers=1))
    assert unlimited["penalties"] == {"enabled": False}


def test_everybody_serves_plain_echo() -> None:
    """Nobody is on the roster without what most scenarios measure."""
    assert all(Service.PLAIN in peer.commands for peer in PEERS)
    assert len({peer.name for peer in PEERS}) == len(PEERS)
