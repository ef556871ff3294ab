"""
C{myserv endpoints}: what an endpoint string may begin with, and what may follow it.
"""

from __future__ import annotations

import textwrap

from myserv.cli.columns import WIDTH, describeOption, twoColumns
from myserv.endpoints.described import Described, describePrefixes
from myserv.endpoints.prefixes import brokenPlugins
from myserv.errors import ConfigurationError, didYouMean, printable
from myserv.options.declare import describe
from myserv.tap.mistakes import warn


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
    lines = [*textwrap.wrap(printable(f"{prefix}: {described.sentences}"), WIDTH)]
    if described.example:
        lines += ["", f"    {printable(described.example)}"]
    return "\n".join([*lines, "", *_parameters(described)])


def _parameters(described: Described) -> list[str]:
    if described.optionsType is None:
        return [printable(f"It takes {described.takes}.")]
    specs = describe(described.optionsType)
    if not specs:
        return ["It takes nothing."]
    lines = twoColumns((f"{spec.name}=", describeOption(spec)) for spec in specs)
    positional = [spec.name for spec in specs if spec.positional]
    if positional:
        order = f"Without a name, in this order: {', '.join(positional)}."
        lines += ["", *textwrap.wrap(order, WIDTH)]
    return lines
