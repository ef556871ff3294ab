"""
The commands that twistd finds.

twistd imports this whatever it is asked to do, so the rest of the house is
imported when one of these commands is the one that was asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.application.service import IService, IServiceMaker
from twisted.plugin import IPlugin
from zope.interface import implementer

from myserv.tap.hangup import HANG_UP
from myserv.tap.mistakes import oneLinePerMistake
from myserv.tap.starting import making

if TYPE_CHECKING:
    from myserv.tap.flags import Options, ServiceOptions


@implementer(IPlugin, IServiceMaker)
class MyservCommand:
    """
    The command C{twistd myserv}.
    """

    tapname = "myserv"
    description = "Serve protocols on endpoints."

    @property
    def options(self) -> type[Options]:
        """
        The command's flags; twistd reads this when the command is given.
        """
        # Reading the rest of the house takes a while already.
        HANG_UP.expect()
        from myserv.tap.flags import Options

        return Options

    def makeService(self, options: Options) -> IService:
        """
        Build the server; twistd starts it.
        """
        with making():
            server: IService = options.makeServer()
            return server


@implementer(IPlugin, IServiceMaker)
class TwistdCommand:
    """
    A protocol as a twistd command of its own.

    One line in a C{twisted/plugins} drop-in makes one::

        quotes = TwistdCommand("quotes", "Serve quotes.")
    """

    def __init__(self, protocol: str, description: str, tapname: str | None = None) -> None:
        """
        Args:
            protocol: The protocol's name.
            description: One line for C{twistd --help}.
            tapname: The command, if it is not the protocol's name.
        """
        self.protocol = protocol
        self.description = description
        self.tapname = tapname or protocol

    def options(self) -> ServiceOptions:
        """
        Make the command's flags; twistd calls this when the command is given.

        Raises:
            SystemExit: The protocol is broken.
        """
        HANG_UP.expect()
        from myserv.tap.flags import serviceOptions

        with oneLinePerMistake():
            return serviceOptions(self.protocol, f"twistd [twistd options] {self.tapname}")

    def makeService(self, options: ServiceOptions) -> IService:
        """
        Build the server; twistd starts it.
        """
        with making():
            server: IService = options.makeServer()
            return server
