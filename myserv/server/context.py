"""
What a plugin may touch of the server.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.cred.portal import Portal
from zope.interface import implementer

from myserv.events import Event, Offence, Peer, PeerPenalized
from myserv.interfaces import IServerContext


@implementer(IServerContext)
class ServiceContext:
    """
    The context of one service.
    """

    def __init__(
        self,
        name: str,
        reactor: Any,
        emit: Callable[[Event], None],
        directory: Path,
        portal: Portal | None = None,
        penalize: Callable[[str, Peer, str, Offence], None] | None = None,
    ) -> None:
        """
        Args:
            name: The service's name.
            reactor: The reactor that serves.
            emit: Takes the events.
            directory: Where the server keeps files; the service gets a
                directory of its own beneath it.
            portal: Where peers log in.
            penalize: Counts misbehaviour.
        """
        self._penalize = penalize
        self.name = name
        self.reactor = reactor
        self.emit = emit
        self.portal = portal
        self._directory = directory / name

    @property
    def directory(self) -> Path:
        """
        Where this service may keep files.

        Raises:
            OSError: It cannot be made.
        """
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        return self._directory

    def penalize(self, peer: Peer, reason: str, offence: Offence = Offence.PROTOCOL) -> None:
        """
        Count misbehaviour against a peer.
        """
        if self._penalize is None:
            self.emit(PeerPenalized(self.name, peer, reason, offence))
        else:
            self._penalize(self.name, peer, reason, offence)
