"""
Finds plugins: by the name of an entry point, or as C{package.module:attribute}.

Whatever a plugin does wrong is told as one line that names its distribution, and
takes nothing else with it: a server with ten protocols installed serves the
other nine.

C{registry} knows what is installed, C{reference} imports what a reference names,
C{served} makes a plugin of what that was.
"""

from myserv.discovery.registry import (
    GROUP,
    Candidate,
    Listed,
    Registry,
    installedPlugins,
    pluginOf,
)
from myserv.discovery.served import Unusable, descriptionOf, kindsOf

__all__ = [
    "GROUP",
    "Candidate",
    "Listed",
    "Registry",
    "Unusable",
    "descriptionOf",
    "installedPlugins",
    "kindsOf",
    "pluginOf",
]
