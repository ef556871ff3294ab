"""Every test here is followed by a look at what it left behind."""

from __future__ import annotations

from myserv.testing.fixtures import _frozenImports, _nothingLeft, loggedErrors

__all__ = ["_frozenImports", "_nothingLeft", "loggedErrors"]
