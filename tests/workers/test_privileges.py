"""Whom a server runs as."""

from __future__ import annotations

import grp
import os
import pwd

import pytest

from myserv.config.model import ServerKeys
from myserv.errors import ConfigurationError
from myserv.options.structure import structure
from myserv.workers.privileges import Identity, readIdentity, requireRights


def keys(**values: str) -> ServerKeys:
    """The table C{[server]}."""
    made = structure(ServerKeys, values)
    assert made is not None
    return made


class System:
    """What was asked of the operating system."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, uid: int) -> None:
        self.asked: list[tuple[object, ...]] = []
        for name in ("getuid", "geteuid", "getgid", "getegid"):
            monkeypatch.setattr(os, name, lambda: uid)
        for name in ("initgroups", "setgroups", "setgid", "setuid"):
            monkeypatch.setattr(
                os, name, lambda *given, name=name: self.asked.append((name, *given))
            )


def test_usersAndGroups() -> None:
    """By name or number; a user brings its group."""
    nobody = pwd.getpwnam("nobody")
    whole = Identity(nobody.pw_uid, nobody.pw_gid, "nobody")
    assert readIdentity(keys()) == Identity()
    assert readIdentity(keys(user="nobody")) == readIdentity(keys(user=str(nobody.pw_uid))) == whole
    other = grp.getgrgid(0)
    assert readIdentity(keys(user="nobody", group=other.gr_name)) == Identity(
        nobody.pw_uid, 0, "nobody"
    )
    assert readIdentity(keys(group="0")) == Identity(None, 0, None)


def test_thoseThatAreNotThere() -> None:
    """Both are told of."""
    with pytest.raises(ConfigurationError) as raised:
        readIdentity(keys(user="none such", group="99999999999999999999"))
    assert [str(each) for each in raised.value.problems] == [
        "server.user: there is no user 'none such'",
        "server.group: there is no group '99999999999999999999'",
    ]


def test_namesThatNobodyCanHave() -> None:
    """The system is not even asked for them."""
    with pytest.raises(ConfigurationError) as raised:
        readIdentity(keys(user="a\0b", group="a\0b"))
    assert [str(each) for each in raised.value.problems] == [
        r"server.user: there is no user 'a\x00b'",
        r"server.group: there is no group 'a\x00b'",
    ]


@pytest.mark.parametrize(
    ("identity", "asked"),
    [
        (Identity(), []),
        (Identity(0, 0, "root"), []),
        (Identity(5, 6, "x"), [("initgroups", "x", 6), ("setgid", 6), ("setuid", 5)]),
        (Identity(None, 6), [("setgroups", [6]), ("setgid", 6)]),
    ],
)
def test_becomingSomebody(
    monkeypatch: pytest.MonkeyPatch, identity: Identity, asked: list[tuple[object, ...]]
) -> None:
    """The user last: after that there are no rights left."""
    system = System(monkeypatch, 0)
    requireRights(identity)
    identity.assume()
    assert system.asked == asked


def test_withoutRights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only root becomes somebody else; to stay who one is needs no rights."""
    System(monkeypatch, 5)
    requireRights(Identity(5, 5, "x"))
    for identity, key in ((Identity(6, 6, "y"), "user"), (Identity(None, 6), "group")):
        with pytest.raises(ConfigurationError) as raised:
            requireRights(identity)
        assert str(raised.value) == (
            f"server.{key}: only root can run a server as another {key}: start it as root, "
            "or leave it out"
        )
