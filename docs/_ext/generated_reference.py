"""
Writes the reference pages that the code itself can tell.

They are made anew at each build, in reference/generated/, which is not kept in
the repository: what the pages say is what the code does.  A part of the code
that cannot be described is a warning, and so fails the build.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import inspect
import re
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import attrs
from clients import CLIENTS
from epytext import takeApart, toMarkdown, toRst
from sphinx.ext.napoleon import GoogleDocstring
from sphinx.util import logging
from zope.interface.interface import InterfaceClass, Method

from myserv.discovery import kindsOf
from myserv.limits import Limits, PenaltyLimits
from myserv.options.declare import OptionSpec, describe

logger = logging.getLogger(__name__)

Pages = dict[str, str]
"""The text of pages by their paths, under reference/generated/."""

API: Final = {
    "myserv.plugin": "What the author of a protocol imports.",
    "myserv.interfaces": "The contracts.",
    "myserv.app": "What a `.tac` file imports.",
    "myserv.testing": "The kit for testing a protocol.",
}
"""The modules whose names others may import."""

# --- options ------------------------------------------------------------------


def optionsTable(optionsType: type | None, heading: str, spell: Callable[[OptionSpec], str]) -> str:
    """
    Tabulate the options of a class.

    Args:
        optionsType: The options class.
        heading: What the first column is called.
        spell: How an option is written there.
    """
    specs = describe(optionsType)
    if not specs:
        return "None.\n"
    rows = [(heading, "Type", "Default", "What it does"), ("---",) * 4]
    for spec in specs:
        kind = spec.type.name.replace("|", " or ")
        if spec.type.many:
            kind = f"list of {kind}"
        default = "required" if spec.required else f"`{spec.defaultText}`"
        rows.append((spell(spec), kind, default if default != "``" else "", _help(spec)))
    return "\n".join("| " + " | ".join(_cell(each) for each in row) + " |" for row in rows) + "\n"


def _help(spec: OptionSpec) -> str:
    bounds = {"at least": spec.minimum, "at most": spec.maximum}
    limits = [
        f"{word} {spec.type.element(bound)}" for word, bound in bounds.items() if bound is not None
    ]
    text = toMarkdown(" ".join(spec.help.split())).rstrip(".")
    return text + (f" ({', '.join(limits)})" if limits else "")


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


# --- configuration ------------------------------------------------------------


def configurationPages() -> Pages:
    """One page: the tables of the configuration file and their keys."""
    model = _importOptional("myserv.config.model")
    if model is None:
        return {}
    parts = ["# Configuration keys\n", _CONFIGURATION]
    for table in _classesOf(model):
        try:
            keys = optionsTable(table, "Key", lambda spec: f"`{spec.name}`")
        except TypeError:
            continue  # Not an options class: what is made from them.
        prose, _ = takeApart(table)
        named = re.search(r"`(\[.*?\])`", prose)
        title = f"`{named[1]}`" if named else table.__name__
        parts += [f"## {title}\n", prose + "\n", keys]
    for title, table, more in _LIMITS:
        prose, _ = takeApart(table)
        keys = optionsTable(table, "Key", lambda spec: f"`{spec.name}`")
        parts += [f"## {title}\n", f"{prose}\n", f"{more}\n", keys]
    return {"configuration.md": "\n".join(parts)}


_CONFIGURATION: Final = """\
A configuration file is written in TOML. Durations, sizes, addresses and paths are text, in quotes:
`"30s"`, `"64KiB"`, `"[::1]:80"`. What stands under a service's `options` is for
[its protocol](protocols.md) to say.
"""


_LIMITS: Final = (
    (
        "`[limits]` and `[services.NAME.limits]`",
        Limits,
        """\
`[limits]` is for all services. What a service's own table says goes before it, and both before what the
protocol recommends; [](../../discussion/limits.md) says what each does and why it is what it is. On a command
line, each is a `--limit KEY=VALUE`.
""",
    ),
    (
        "`[penalties]`",
        PenaltyLimits,
        "[](../../howto/limits.md) tries them out.\n",
    ),
)
"""Tables of limits: their titles, what they are made of, and what else is to be said."""


def _fieldsList(valueType: type, fields: Mapping[str, str]) -> str:
    lines = []
    for name, annotation in _fieldsOf(valueType):
        told = f": {fields[name]}" if name in fields else ""
        lines.append(f"- `{name}` ({annotation}){told}")
    return "\n".join(lines) + "\n"


def _fieldsOf(valueType: type) -> Iterator[tuple[str, str]]:
    for field in attrs.fields(valueType):
        annotation = (
            field.type if isinstance(field.type, str) else inspect.formatannotation(field.type)
        )
        yield field.name, f"`{annotation}`"


# --- protocols ------------------------------------------------------------------


def protocolPages() -> Pages:
    """One page for each built-in protocol, and their list."""
    pages = {}
    for entry in importlib.metadata.entry_points(group="myserv.protocols"):
        if entry.dist is None or entry.dist.name != "myserv":
            continue
        try:
            plugin = entry.load()
        except (ImportError, AttributeError) as error:
            logger.warning("the protocol %s cannot be described: %s", entry.name, error)
            continue
        pages[f"protocols/{plugin.name}.md"] = _protocolPage(plugin)
    if not pages:
        logger.warning("there are no built-in protocols; is myserv installed?")
    return pages | {"protocols.md": _contents("Built-in protocols", "protocols/*")}


def _protocolPage(plugin: Any) -> str:
    parts = [
        f"# {plugin.name}\n",
        f"{_sentence(plugin.description)} Endpoints: {' and '.join(kindsOf(plugin))}.\n",
    ]
    if getattr(plugin, "answersAnything", False):
        parts.append(_ANSWERS_ANYTHING)
    parts += ["## Options\n", _spellings(plugin.optionsType), _EVERY_PROTOCOL]
    return "\n".join(parts)


_EVERY_PROTOCOL: Final = """\
Every protocol has these flags besides: `--listen ENDPOINT`, `--name NAME`, `--log-connections`, and
`--limit KEY=VALUE` for [each of the limits](../configuration.md), such as `--limit idle=30s`; `--listen` and
`--limit` may be repeated.
"""


_ANSWERS_ANYTHING: Final = """\
It answers whatever it is sent, so it is not given datagrams from a privileged port or from one that is
known to answer too: two such servers could keep each other busy for ever (CVE-2024-2169).
"""


def _sentence(text: str) -> str:
    text = toMarkdown(text).rstrip(".")
    return f"{text[0].upper()}{text[1:]}."


def _spellings(optionsType: type | None) -> str:
    note = "On the command line and as keys of the service's table in the configuration file.\n\n"
    table = optionsTable(optionsType, "Option", lambda spec: f"`--{spec.flag}`, `{spec.name}`")
    return (note if optionsType is not None else "") + table


# --- endpoints ------------------------------------------------------------------


def endpointPages() -> Pages:
    """One page for each prefix of an endpoint string, and their list."""
    described = _importOptional("myserv.endpoints.described")
    if described is None:
        return {}
    pages = {
        f"endpoints/{each.name}.md": _endpointPage(each)
        for each in described.describePrefixes()
        # What else is installed where this is built is no part of myserv.
        if each.package in ("myserv", "twisted")
    }
    return pages | {"endpoints.md": _contents("Endpoint prefixes", "endpoints/*")}


def _endpointPage(described: Any) -> str:
    name = described.name
    parts = [f"# {name}\n", toMarkdown(described.sentences) + "\n"]
    if described.example:
        parts.append(f"```text\n{described.example}\n```\n")
    if name in CLIENTS:
        parts += ["## What a client does\n", CLIENTS[name] + "\n"]
    else:
        logger.warning("docs/_ext/clients.py does not say what a client of %s: does", name)
    takes = f"It takes {described.takes}.\n"
    if described.optionsType is not None:
        takes = optionsTable(described.optionsType, "Parameter", _parameter)
    return "\n".join([*parts, "## Parameters\n", takes])


def _parameter(spec: OptionSpec) -> str:
    return f"`{spec.name}=`" + (" or by position" if spec.positional else "")


# --- events ---------------------------------------------------------------------


def eventPages() -> Pages:
    """One page: every event and its fields."""
    events = importlib.import_module("myserv.events")
    prose, _ = takeApart(events)
    parts = ["# Events\n", prose + "\n"]
    for event in typing.get_args(events.Event):
        prose, fields = takeApart(event)
        parts += [f"## {event.__name__}\n", prose + "\n", _fieldsList(event, fields)]
    return {"events.md": "\n".join(parts)}


# --- the interface for programs -------------------------------------------------


def apiPages(config: Any) -> Pages:
    """One page for each module whose names others may import, and their list."""
    pages = {}
    for name, summary in API.items():
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.origin is not None:
            pages[f"api/{name}.rst"] = _apiPage(name, summary, config)
    return pages | {"api.md": _contents("Python", "api/*")}


def _apiPage(name: str, summary: str, config: Any) -> str:
    module = importlib.import_module(name)
    parts = [
        f"{name}\n{'=' * len(name)}",
        toRst(inspect.cleandoc(module.__doc__ or summary)),
        f".. py:module:: {name}",
    ]
    for attribute in _exportsOf(module):
        thing = getattr(module, attribute)
        path = f"{name}.{attribute}"
        if typing.get_origin(thing) in (types.UnionType, typing.Union):
            members = ", ".join(f"``{member.__name__}``" for member in typing.get_args(thing))
            parts.append(f".. py:type:: {attribute}\n\n   One of {members}.")
        elif isinstance(thing, InterfaceClass):
            if thing.__module__ == name:
                parts.append(_interface(thing, config))
            else:
                parts.append(f":py:class:`{thing.__module__}.{attribute}`")
        elif inspect.isclass(thing):
            parts.append(f".. autoclass:: {path}\n   :members:\n   :show-inheritance:")
        elif callable(thing):
            parts.append(f".. autofunction:: {path}")
        elif not inspect.ismodule(thing):
            # What autodoc would show of a number is Python's own description of it.
            parts.append(f".. py:data:: {attribute}\n   :value: {thing!r}")
    return "\n\n".join(parts) + "\n"


def _interface(interface: InterfaceClass, config: Any) -> str:
    bases = ", ".join(base.__name__ for base in interface.__bases__ if base.__name__ != "Interface")
    parts = [f".. py:class:: {interface.__name__}" + (f"({bases})" if bases else "")]
    parts.append(_indent(_napoleon(interface.__doc__, config)))
    for name, member in interface.namesAndDescriptions():
        if isinstance(member, Method):
            parts.append(_indent(f".. py:method:: {name}{member.getSignatureString()}"))
        else:
            parts.append(_indent(f".. py:attribute:: {name}"))
        parts.append(_indent(_indent(_napoleon(member.__doc__, config))))
    return "\n\n".join(parts)


def _napoleon(docstring: str | None, config: Any) -> str:
    return str(GoogleDocstring(toRst(inspect.cleandoc(docstring or "")), config))


def _indent(text: str) -> str:
    return "\n".join("   " + line if line else "" for line in text.split("\n"))


# --- pages ----------------------------------------------------------------------


def _exportsOf(module: types.ModuleType) -> Iterable[str]:
    if hasattr(module, "__all__"):
        return [str(name) for name in module.__all__]
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
    ]


def _classesOf(module: types.ModuleType) -> list[type]:
    return [
        value
        for name, value in vars(module).items()
        if inspect.isclass(value) and value.__module__ == module.__name__ and name[0] != "_"
    ]


def _importOptional(name: str) -> types.ModuleType | None:
    parent = name.rpartition(".")[0]
    if importlib.util.find_spec(parent) is None or importlib.util.find_spec(name) is None:
        return None
    return importlib.import_module(name)


def _contents(title: str, pattern: str) -> str:
    return f"# {title}\n\n```{{toctree}}\n:glob:\n:maxdepth: 1\n\n{pattern}\n```\n"


def _write(app: Any) -> None:
    pages = (
        configurationPages()
        | protocolPages()
        | endpointPages()
        | eventPages()
        | apiPages(app.config)
    )
    directory = Path(app.srcdir) / "reference" / "generated"
    for path, text in pages.items():
        page = directory / path
        page.parent.mkdir(parents=True, exist_ok=True)
        # An unchanged page keeps its time, so that Sphinx need not read it again.
        if not page.exists() or page.read_text() != text:
            page.write_text(text)
    for page in directory.rglob("*.*"):
        if page.relative_to(directory).as_posix() not in pages:
            page.unlink()


def setup(app: Any) -> dict[str, bool]:
    """Write the pages before Sphinx looks for them."""
    app.connect("builder-inited", _write)
    return {"parallel_read_safe": True}
