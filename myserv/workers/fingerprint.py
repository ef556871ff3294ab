"""
Whether the code that is installed is the code that runs.
"""

from __future__ import annotations

import hashlib
import platform
import sys
from pathlib import Path

import attrs
import twisted

import myserv


def fingerprint() -> str:
    """
    Say what the supervisor's own code is.

    Returns:
        A digest of the versions of Python, Twisted and attrs, and of myserv's files.
    """
    digest = hashlib.sha256()
    for part in (sys.executable, platform.python_version(), twisted.__version__, attrs.__version__):
        digest.update(f"{part}\n".encode())
    root = Path(myserv.__file__).parent
    for file in sorted(root.rglob("*.py")):
        # What cannot be read is about to be replaced.
        try:
            content = file.read_bytes()
        except OSError:
            continue
        digest.update(f"{file.relative_to(root)} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()
