"""
C{myserv endpoints}: what an endpoint string may begin with, and what may follow it.
"""

from __future__ import annotations

import textwrap
from typing import Final

from myserv.endpoints.described import Described, describePrefixes
from myserv.endpoints.prefixes import brokenPlugins
from myserv.errors import ConfigurationError, didYouMean, printable
from myserv.options.declare import OptionSpec, describe
from myserv.tap.mistakes import warn

_WIDTH: Final = 80
"""Columns of a terminal."""


def listEndpoints() -> str:
    """
    List every prefix that works here, a line each.

    Broken plugins for endpoints are named on standard error.
    """
    for problem in brokenPlugins():
        warn(problem)
    lines = ["Endpoint prefixes:"]
    lines += [printable(f"    {each.name:<14} {each.description}") for each in describePrefixes()]
    lines.append('Type "myserv endpoints PREFIX" for what may follow one.')
    return "\n".join(lines)


def tellEndpoint(name: str) -> str:
    """
    Tell what may follow a prefix.

    Args:
        name: The prefix, with or without its colon.

    Raises:
        ConfigurationError: There is no such prefix.
    """
    prefix = name.lower().removesuffix(":")
    known = {each.name: each for each in describePrefixes()}
    if prefix not in known:
        raise ConfigurationError(f'there is no prefix "{prefix}"{didYouMean(prefix, known)}')
    described = known[prefix]
    lines = [*textwrap.wrap(printable(f"{prefix}: {described.sentences}"), _WIDTH)]
    if described.example:
        lines += ["", f"    {printable(described.example)}"]
    return "\n".join([*lines, "", *_parameters(described)])


def _parameters(described: Described) -> list[str]:
    if described.optionsType is None:
        return [printable(f"It takes {described.takes}.")]
    specs = describe(described.optionsType)
    if not specs:
        return ["It takes nothing."]
    names = {spec.name: f"{spec.name}=" for spec in specs}
    column = max(map(len, names.values())) + 6
    lines = []
    for spec in specs:
        told = textwrap.wrap(_told(spec), _WIDTH - column)
        lines.append(f"    {names[spec.name]:<{column - 4}}{told[0]}")
        lines += [" " * column + line for line in told[1:]]
    positional = [spec.name for spec in specs if spec.positional]
    if positional:
        order = f"Without a name, in this order: {', '.join(positional)}."
        lines += ["", *textwrap.wrap(order, _WIDTH)]
    return lines


def _told(spec: OptionSpec) -> str:
    bounds = {"at least": spec.minimum, "at most": spec.maximum}
    parts = [f"list of {spec.type.name}" if spec.type.many else spec.type.name]
    parts += [
        f"{word} {spec.type.element(bound)}" for word, bound in bounds.items() if bound is not None
    ]
    if spec.required:
        parts.append("required")
    elif spec.defaultText:
        parts.append(f"default {spec.defaultText}")
    return printable(f"{spec.help} ({', '.join(parts)})")
