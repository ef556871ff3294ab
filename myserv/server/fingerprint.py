"""
Which code runs, or would run in a new interpreter.
"""

from __future__ import annotations

import hashlib
import platform
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

import twisted

import myserv


class Distributions(Protocol):
    """What knows whose a protocol is: a L{myserv.discovery.Registry}."""

    def distributionOf(self, name: str) -> str:
        """Name and version of what offers a protocol; empty when nothing does."""


def codeOf(references: Iterable[str], registry: Distributions) -> dict[str, str]:
    """
    Say which code this interpreter runs, as far as that can change under it.

    Ask when the protocols have just been loaded: what is installed is read from disk.

    Args:
        references: What the protocols are called, see
            L{myserv.server.plan.ServicePlan.reference}.
        registry: Knows what is installed.

    Returns:
        The version of each part.  A module that is of no distribution has none, and
        a few digits of its file's hash stand for it.
    """
    code = {
        "Python": platform.python_version(),
        "Twisted": twisted.__version__,
        "myserv": myserv.__version__,
    }
    for reference in references:
        module, isReference, _ = reference.partition(":")
        found = _digestOf(module) if isReference else registry.distributionOf(reference)
        if found:
            code[f"the module {module}" if isReference else f"the protocol {module}"] = found
    return code


def _digestOf(module: str) -> str:
    file = getattr(sys.modules.get(module), "__file__", None)
    try:
        return hashlib.sha256(Path(file).read_bytes()).hexdigest()[:8] if file else ""
    except OSError:
        return ""
