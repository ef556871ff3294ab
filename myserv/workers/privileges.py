"""
Whom a server runs as: C{user} and C{group} of C{[server]}.
"""

from __future__ import annotations

import grp
import os
import pwd
from typing import Final

from attrs import frozen

from myserv.config.model import ServerKeys
from myserv.errors import ConfigurationError, Problem

_NOBODY: Final = (KeyError, OverflowError, ValueError)
"""What Python raises for a name or a number that nobody has, or can have."""


@frozen
class Identity:
    """
    A user and a group.

    @ivar uid: The user's number; C{None}: it stays.
    @ivar gid: The group's, likewise.
    @ivar name: The user's name, which says what other groups it has.
    """

    uid: int | None = None
    gid: int | None = None
    name: str | None = None

    @property
    def isOther(self) -> bool:
        """It takes a change to become it."""
        isUser = self.uid is None or self.uid == os.getuid() == os.geteuid()
        isGroup = self.gid is None or self.gid == os.getgid() == os.getegid()
        return not (isUser and isGroup)

    def assume(self) -> None:
        """
        Become it, for good.

        Raises:
            PermissionError: This process may not.
        """
        if not self.isOther:
            return
        if os.geteuid() == 0:
            # First of all: only root may.
            if self.name is not None and self.gid is not None:
                os.initgroups(self.name, self.gid)
            elif self.gid is not None:
                os.setgroups([self.gid])
        if self.gid is not None:
            os.setgid(self.gid)
        if self.uid is not None:
            os.setuid(self.uid)


def readIdentity(keys: ServerKeys) -> Identity:
    """
    Look up the user and the group that an operator named.

    Args:
        keys: The table C{[server]}.

    Raises:
        ConfigurationError: There is no such user or group.
    """
    problems: list[Problem] = []
    uid = gid = name = None
    if keys.user is not None:
        try:
            entry = _number(keys.user)
            found = pwd.getpwnam(keys.user) if entry is None else pwd.getpwuid(entry)
            uid, gid, name = found.pw_uid, found.pw_gid, found.pw_name
        except _NOBODY:
            problems.append(Problem(f"there is no user {keys.user!r}", ("server", "user")))
    if keys.group is not None:
        try:
            entry = _number(keys.group)
            gid = (grp.getgrnam(keys.group) if entry is None else grp.getgrgid(entry)).gr_gid
        except _NOBODY:
            problems.append(Problem(f"there is no group {keys.group!r}", ("server", "group")))
    if problems:
        raise ConfigurationError(problems)
    return Identity(uid, gid, name)


def requireRights(identity: Identity) -> None:
    """
    See that this process can become somebody.

    Raises:
        ConfigurationError: It cannot.
    """
    if identity.isOther and os.geteuid() != 0:
        key = "group" if identity.uid in (None, os.getuid()) else "user"
        message = f"only root can run a server as another {key}: start it as root, or leave it out"
        raise ConfigurationError(Problem(message, ("server", key)))


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() else None
