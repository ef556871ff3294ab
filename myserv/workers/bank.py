"""
The sockets that workers serve: opened once, and kept while anybody may need them.

Closing one of the sockets that share a port resets the connections that wait in its
queue (unless C{net.ipv4.tcp_migrate_req} is set), so a group never shrinks: where there
are fewer workers than sockets, some serve more than one.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Mapping, Sequence
from typing import Any, Final

from attrs import Factory, define
from twisted.internet.error import CannotListenError

from myserv.endpoints.claim import Claim
from myserv.endpoints.failure import describeListenError
from myserv.endpoints.parse import Place, parseEndpoint
from myserv.endpoints.tcp import BACKLOG, checkInterface
from myserv.endpoints.unix import SocketFile
from myserv.errors import ConfigurationError, ListenError, Problem
from myserv.workers.blueprint import WantedPlace
from myserv.workers.shareable import Sharing

Key = tuple[Any, ...]
"""What tells one place from another, whichever service it is of."""

_DATAGRAM: Final = frozenset({"udp", "udp6", "unixgram"})


@define
class Group:
    """
    The sockets of one place.

    @ivar key: Which place.
    @ivar sharing: How workers share it.
    @ivar sockets: One, or one for each worker.
    @ivar path: The socket file, if it has one.
    @ivar inode: The file's number, by which it is known again.
    """

    key: Key
    sharing: Sharing
    sockets: list[socket.socket] = Factory(list)
    path: str = ""
    inode: int = 0

    def descriptorsFor(self, worker: int, workers: int) -> list[int]:
        """
        Say which of them a worker serves.

        Args:
            worker: Its place, from 1.
            workers: How many there are.
        """
        if self.sharing is Sharing.COMMON or (self.sharing is Sharing.FIRST and worker == 1):
            return [self.sockets[0].fileno()]
        if self.sharing is Sharing.FIRST:
            return []
        return [each.fileno() for each in self.sockets[worker - 1 :: workers]]

    @property
    def isLost(self) -> bool:
        """Its file is gone, or another's: nobody can reach it any more."""
        try:
            return bool(self.path) and os.stat(self.path).st_ino != self.inode
        except OSError:
            return True

    def close(self) -> None:
        """
        Close the sockets and remove the file.
        """
        for each in self.sockets:
            each.close()
        if self.path:
            with contextlib.suppress(OSError):
                if not self.isLost:
                    os.unlink(self.path)


class Bank:
    """
    Every socket that is open.

    @ivar groups: By place.
    """

    def __init__(self, groups: Sequence[Group] = ()) -> None:
        self.groups: dict[Key, Group] = {each.key: each for each in groups}

    def open(self, wanted: Sequence[WantedPlace], workers: int) -> Opening:
        """
        Open what is wanted and not open yet.

        Args:
            wanted: The places.
            workers: How many workers there will be.

        Raises:
            ListenError: With a problem for each that cannot be opened; none of the
                others stays open that was not before.
        """
        opening = Opening(self)
        problems: list[Problem] = []
        for each in wanted:
            try:
                opening.open(each, workers)
            except (OSError, CannotListenError, ConfigurationError) as error:
                reason = describeListenError(error)
                text = f"cannot listen on {each.endpoint}: {reason}"
                problems.append(Problem(text, each.key, each.where))
        if problems:
            opening.undo()
            raise ListenError(problems)
        return opening

    def close(self) -> None:
        """
        Close everything.
        """
        for group in self.groups.values():
            group.close()
        self.groups.clear()


class Opening:
    """
    Sockets for a new set of workers, until it is known whether they are needed.

    @ivar groups: By service and index, the sockets of each endpoint.
    """

    def __init__(self, bank: Bank) -> None:
        self._bank = bank
        self.groups: dict[tuple[str, int], Group] = {}
        self._added: list[tuple[Group, socket.socket]] = []
        self._new: list[Group] = []

    def open(self, wanted: WantedPlace, workers: int) -> None:
        """
        Open what one endpoint needs.

        Raises:
            OSError: The system refused.
            CannotListenError: Likewise.
            ConfigurationError: A socket that was to be there is not.
        """
        place = parseEndpoint(wanted.place).place
        assert isinstance(place, Place)
        sharing = Sharing(wanted.sharing)
        key = _keyOf(place, wanted)
        group = self._bank.groups.get(key)
        if group is not None and group.isLost:
            # It stays where it is until nobody accepts from it any more.
            group.key = (*key, group.inode)
            self._bank.groups[group.key] = self._bank.groups.pop(key)
            group = None
        if group is None:
            # At once, so that what was opened is closed whatever fails.
            group = self._bank.groups[key] = Group(key, sharing)
            self._new.append(group)
        self.groups[wanted.service, wanted.index] = group
        if sharing is Sharing.GROUP:
            self._openGroup(group, place, workers)
        elif not group.sockets:
            _openOne(group, place)
        elif place.prefix.name == "unix":
            group.sockets[0].listen(place.options.backlog)
        if group.path:
            os.chmod(group.path, int(place.options.mode, 8))

    def _openGroup(self, group: Group, place: Place, workers: int) -> None:
        isStream = place.prefix.name not in _DATAGRAM
        backlog = getattr(place.options, "backlog", BACKLOG)
        if isStream:
            for each in group.sockets:
                each.listen(backlog)
        interface = checkInterface(place.options.interface, hostname=isStream)
        port = place.options.port
        while len(group.sockets) < workers:
            if group.sockets:
                port = group.sockets[0].getsockname()[1]
            # The first asks for the port alone, so that nobody else has it: a server
            # that was started twice would otherwise share it with itself.
            isAlone = not group.sockets and not self._sharesOwn(group)
            isAlone = isAlone and not getattr(place.options, "reusePort", False)
            sock = _bind(interface, port, isStream, isAlone)
            self._added.append((group, sock))
            group.sockets.append(sock)
            if isStream:
                sock.listen(backlog)

    def _sharesOwn(self, group: Group) -> bool:
        # One of our own places may have the port on all interfaces, or on one of them.
        claim = _claimOf(group.key)
        return group.key[1] != 0 and any(
            each.sockets and each.sharing is Sharing.GROUP and claim.conflicts(_claimOf(each.key))
            for each in self._bank.groups.values()
            if each is not group
        )

    def undo(self) -> None:
        """
        Close again what was opened.
        """
        for group, sock in self._added:
            group.sockets.remove(sock)
            sock.close()
        for group in self._new:
            self._bank.groups.pop(group.key, None)
            group.close()
        self._added.clear()
        self._new.clear()

    def keep(self) -> list[Group]:
        """
        The sockets are needed.

        Returns:
            Those that are not needed any more, to be closed when nobody accepts
            from them; the bank does not know them any more.
        """
        needed = {id(group) for group in self.groups.values()}
        dropped = [each for each in self._bank.groups.values() if id(each) not in needed]
        for group in dropped:
            del self._bank.groups[group.key]
        return dropped


def _claimOf(key: Key) -> Claim:
    transport, port, interface, *_ = key
    return Claim("port", (transport, port), interface)


def _keyOf(place: Place, wanted: WantedPlace) -> Key:
    name, options = place.prefix.name, place.options
    if name in ("unix", "unixgram"):
        return (name, os.path.abspath(options.address))
    if name in ("fd", "systemd"):
        return (name, wanted.place)
    transport = "udp" if name in _DATAGRAM else "tcp"
    interface = checkInterface(options.interface, hostname=transport == "tcp") or "0.0.0.0"  # noqa: S104
    if options.port == 0 or getattr(options, "reusePort", False):
        # Each that asks gets one of its own.
        return (transport, options.port, interface, wanted.service, wanted.index)
    return (transport, options.port, interface)


def _openOne(group: Group, place: Place) -> None:
    name, options = place.prefix.name, place.options
    if name in ("fd", "systemd"):
        # What it is, the worker that listens on it finds out.
        group.sockets.append(socket.socket(fileno=os.dup(place.open(None)._find())))
        return
    file = SocketFile(
        socket.SOCK_STREAM if name == "unix" else socket.SOCK_DGRAM,
        options.address,
        options.mode,
        options.lockfile,
        backlog=options.backlog if name == "unix" else None,
    )
    group.sockets.append(file.socket)
    group.path = os.path.abspath(options.address)
    group.inode = os.stat(group.path).st_ino


def _bind(interface: str, port: int, isStream: bool, isAlone: bool) -> socket.socket:
    family = socket.AF_INET6 if ":" in interface else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM if isStream else socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        if isStream:
            # As Twisted: connections of a server before this one may still fade away.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if not isAlone:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        # An IPv6 address may name its link.
        address = (
            socket.getaddrinfo(interface, port, family, flags=socket.AI_NUMERICHOST)[0][4]
            if family == socket.AF_INET6
            else (interface, port)
        )
        sock.bind(address)
        # Once it has it, others of ours may join it.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    except OSError as error:
        sock.close()
        raise CannotListenError(interface, port, error) from None
    return sock


def describeGroups(groups: Mapping[Key, Group]) -> list[dict[str, Any]]:
    """
    Write down what is open, for the same process's next program.
    """
    return [
        {
            "key": list(group.key),
            "sharing": group.sharing.value,
            "descriptors": [each.fileno() for each in group.sockets],
            "path": group.path,
            "inode": group.inode,
        }
        for group in groups.values()
    ]


def adoptGroups(described: Sequence[Mapping[str, Any]]) -> Bank:
    """
    Take over what this process's last program had open.
    """
    return Bank(
        [
            Group(
                tuple(each["key"]),
                Sharing(each["sharing"]),
                [_adopt(number) for number in each["descriptors"]],
                each["path"],
                each["inode"],
            )
            for each in described
        ]
    )


def _adopt(descriptor: int) -> socket.socket:
    os.set_inheritable(descriptor, False)
    sock = socket.socket(fileno=descriptor)
    sock.setblocking(False)
    return sock
