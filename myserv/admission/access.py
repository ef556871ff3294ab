"""
Who may come in: networks, and the users and groups of a UNIX socket.
"""

from __future__ import annotations

import grp
import pwd
from collections.abc import Iterable
from typing import Any

from myserv.admission.addresses import Remembered, hostOf, readHost, readNetwork
from myserv.admission.reasons import CREDENTIALS, NETWORK
from myserv.admission.rule import Rule
from myserv.errors import ConfigurationError, Problem
from myserv.interfaces import IArrival, IPeerCredentials
from myserv.options.values import IPNetwork


class Networks:
    """
    Some networks, each let in or not; the longest that an address is in decides.

    There is a dictionary for each length of a prefix: a question costs as many
    look-ups as there are lengths, however many networks there are.

    @ivar find: Of a host, whether it is let in; C{None}: it is in none of them.
    """

    __slots__ = ("_tables", "find")

    def __init__(self, allow: Iterable[IPNetwork], deny: Iterable[IPNetwork] = ()) -> None:
        """
        Args:
            allow: Those that are let in.
            deny: Those that are not; the same network in both is not.
        """
        tables: dict[int, dict[int, dict[int, bool]]] = {}
        for networks, verdict in ((allow, True), (deny, False)):
            for network in networks:
                bits, length, prefix = readNetwork(network)
                tables.setdefault(bits, {}).setdefault(length, {})[prefix] = verdict
        # By the bits of an address: what to shift it by, the longest prefix first.
        self._tables = {
            bits: tuple((bits - length, table[length]) for length in sorted(table, reverse=True))
            for bits, table in tables.items()
        }
        self.find = Remembered(self._search)

    def _search(self, host: str | None) -> bool | None:
        address = readHost(host)
        if address is None:
            return None
        bits, number = address
        for shift, table in self._tables.get(bits, ()):
            verdict = table.get(number >> shift)
            if verdict is not None:
                return verdict
        return None


class NetworkRule(Rule):
    """
    C{allow} and C{deny}.
    """

    __slots__ = ("_find", "_isOpen")

    def __init__(self, allow: tuple[IPNetwork, ...], deny: tuple[IPNetwork, ...]) -> None:
        """
        Args:
            allow: Where it is empty, everybody is let in whom C{deny} does not name.
            deny: See L{Networks}.
        """
        self._find = Networks(allow, deny).find
        self._isOpen = not allow

    def admit(self, arrival: IArrival) -> str | None:
        """
        Look where the arrival comes from.
        """
        host = hostOf(arrival.address)
        if host is None and hasNoNetwork(arrival.address):
            return None
        return self.refusalOf(host)

    def refusalOf(self, host: str | None) -> str | None:
        """
        Say why a host is not let in; C{None}: it is.
        """
        verdict = self._find[host]
        if verdict is None:
            verdict = self._isOpen
        return None if verdict else NETWORK


def hasNoNetwork(address: Any) -> bool:
    """
    Say whether an address is of something that no network leads to.

    Such are UNIX sockets and pipes.  Neither is an address that is not known, nor
    one with the name of a host: who is only let in from some networks is not let in
    from nowhere.
    """
    return address is not None and not hasattr(address, "host") and not hasattr(address, "hostname")


class CredentialsRule(Rule):
    """
    C{users} and C{groups}: either is enough.

    They are looked up once, when the limits are applied: a look-up may ask a
    directory on another machine.
    """

    __slots__ = ("_gids", "_uids")

    def __init__(self, users: tuple[str, ...], groups: tuple[str, ...]) -> None:
        """
        Args:
            users: By name or number.
            groups: Likewise; those whose process has one, and those who are listed
                as its members, whatever their process has.

        Raises:
            ConfigurationError: There is no such user or group.
        """
        problems: list[Problem] = []
        self._uids: set[int] = set()
        self._gids: set[int] = set()
        for user in users:
            try:
                self._uids.add(int(user) if _isNumber(user) else pwd.getpwnam(user).pw_uid)
            except KeyError:
                problems.append(Problem(f'there is no user "{user}"', ("users",)))
        for group in groups:
            try:
                self._addGroup(group)
            except KeyError:
                problems.append(Problem(f'there is no group "{group}"', ("groups",)))
        if problems:
            raise ConfigurationError(problems)

    def _addGroup(self, group: str) -> None:
        if not _isNumber(group):
            entry = grp.getgrnam(group)
        else:
            self._gids.add(int(group))
            try:
                entry = grp.getgrgid(int(group))
            except KeyError:
                # A number without a name is a group without listed members.
                return
        self._gids.add(entry.gr_gid)
        for member in entry.gr_mem:
            try:
                self._uids.add(pwd.getpwnam(member).pw_uid)
            except KeyError:
                # Users who are gone stay on such lists.
                continue

    def admit(self, arrival: IArrival) -> str | None:
        """
        Look who it is, if it did not come over a network.
        """
        if hostOf(arrival.address) is not None:
            return None
        return None if self._isLetIn(arrival.credentials) else CREDENTIALS

    def _isLetIn(self, credentials: IPeerCredentials | None) -> bool:
        return credentials is not None and (
            credentials.uid in self._uids or not self._gids.isdisjoint(credentials.groups)
        )


def _isNumber(name: str) -> bool:
    return name.isascii() and name.isdigit()
