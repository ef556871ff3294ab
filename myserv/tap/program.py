"""
How this program was started: what its next one has to be told again.
"""

from __future__ import annotations

import os
from typing import Any

from twisted.python import usage
from twisted.scripts._twistd_unix import ServerOptions


class TwistdFlags(ServerOptions):
    """
    twistd's own flags, for whoever was not asked when they were read.
    """

    subCommands = ()

    def opt_reactor(self, name: str) -> None:
        """Which reactor to use"""
        self["reactor"] = name

    opt_r = opt_reactor

    def opt_spew(self) -> None:
        """Print everything that happens"""

    def opt_debug(self) -> None:
        """Run in Python's debugger"""
        self["debug"] = True

    opt_b = opt_debug

    def parseArgs(self, *words: str) -> None:
        """
        Leave the command alone.
        """


def readFlags(arguments: list[str]) -> dict[str, Any] | None:
    """
    Read twistd's flags.

    Args:
        arguments: Those of the process.

    Returns:
        They; C{None} when it is not twistd that runs.
    """
    flags = TwistdFlags()
    try:
        flags.parseOptions(arguments)
    except (usage.UsageError, SystemExit):
        return None
    return dict(flags)


def inheritedBySystemd() -> tuple[dict[str, str], list[int]]:
    """
    Say again what systemd said when it started this process.

    Returns:
        The environment, and the sockets it speaks of.
    """
    # Twisted has taken them out of the environment.
    from twisted.plugins.twisted_core import systemdEndpointParser

    handed = systemdEndpointParser._sddaemon
    descriptors = handed.inheritedDescriptors()
    if not descriptors:
        return {}, []
    names = {number: name for name, number in handed.inheritedNamedDescriptors().items()}
    return {
        "LISTEN_PID": str(os.getpid()),
        "LISTEN_FDS": str(len(descriptors)),
        "LISTEN_FDNAMES": ":".join(names.get(each, "unknown") for each in descriptors),
    }, list(descriptors)
