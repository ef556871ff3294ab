"""
C{myserv check}: everything that starting a server would find, and no socket.
"""

from __future__ import annotations

from myserv.tap import planFile, serveFile


def check(path: str) -> str:
    """
    Validate a configuration file.

    Files that it names are read and factories are built; nothing listens.

    Returns:
        What it would serve, for people.

    Raises:
        ConfigurationError: With every mistake at its place in the file.
    """
    _, plans, _ = planFile(path)
    serveFile(path)
    endpoints = sum(len(plan.endpoints) for plan in plans)
    lines = [f"{path}: ok: {_count(len(plans), 'service')}, {_count(endpoints, 'endpoint')}"]
    for plan in plans:
        where = ", ".join(str(planned.endpoint) for planned in plan.endpoints)
        lines.append(f"  {plan.name}: {plan.plugin.name} on {where}")
    return "\n".join(lines)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
