"""
C{myserv protocols NAME}: where a protocol can be served, and what it may be told.
"""

from __future__ import annotations

import textwrap

from myserv.cli.columns import WIDTH, describeOption, twoColumns
from myserv.discovery import descriptionOf, kindsOf
from myserv.errors import printable
from myserv.interfaces import IProtocolPlugin
from myserv.options.declare import describe
from myserv.tap.flags import serviceOptions


def tellProtocol(reference: str) -> str:
    """
    Tell what an operator has to know of a protocol.

    Args:
        reference: Its name, or C{"module:Attribute"}.

    Raises:
        PluginError: There is no such protocol, or it is broken.
    """
    command = f"twistd -n myserv {reference}"
    plugin = serviceOptions(reference, command).plugin
    title = (
        f"{plugin.name}: {descriptionOf(plugin)}. For {' and '.join(kindsOf(plugin))} endpoints."
    )
    lines = textwrap.wrap(printable(title), WIDTH)
    lines += ["", f"    {printable(command)} --listen ENDPOINT", ""]
    lines += _options(plugin)
    limits = getattr(plugin, "limits", None)
    if limits:
        said = ", ".join(f"{key} = {value}" for key, value in limits.items())
        text = f"Limits that suit it, unless you say otherwise: {said}."
        lines += ["", *textwrap.wrap(printable(text), WIDTH)]
    every = (
        "Every protocol has --listen, --name, --log-connections and --limit KEY=VALUE, too: "
        f'see "{command} --help".'
    )
    return "\n".join([*lines, "", *textwrap.wrap(printable(every), WIDTH)])


def _options(plugin: IProtocolPlugin) -> list[str]:
    specs = describe(plugin.optionsType)
    if not specs:
        return ["It has no options of its own."]
    rows = [
        (f"--{spec.flag}", describeOption(spec, f'in a file "{spec.name}"'))
        if spec.flag != spec.name
        else (f"--{spec.flag}", describeOption(spec))
        for spec in specs
    ]
    return twoColumns(rows)
