"""
How a class states its options, and how a program reads the statement.

The statement is made once, with L{option}, in a frozen attrs class.  L{describe}
turns it into plain rows, from which come the command line's flags, the TOML
keys, C{--help} and the reference pages.
"""

from __future__ import annotations

import enum
import functools
import types
import typing
from pathlib import Path
from typing import Any, Final

import attrs

from myserv.options.values import Duration, HostPort, IPAddress, IPNetwork, Size

REQUIRED: Final = attrs.NOTHING
"""The default of an option that has none: the operator must give it."""

_METADATA: Final = "myserv.option"


@attrs.frozen
class _Statement:
    help: str
    minimum: float | None
    maximum: float | None
    metavar: str | None
    positional: bool
    name: str | None


def option(
    default: Any = REQUIRED,
    *,
    help: str,
    minimum: float | None = None,
    maximum: float | None = None,
    metavar: str | None = None,
    positional: bool = False,
    name: str | None = None,
) -> Any:
    """
    State one option of a frozen attrs class.

    Args:
        default: The value when the operator gives none.  Text where the type
            is not text is read as the operator's would be, so C{"30s"} is the
            default of a C{Duration}.  Without one the option is required.
        help: One line: what it does, without the type or the default, which
            are printed beside it.
        minimum: The least a number may be.
        maximum: The most a number may be.
        metavar: The word that stands for the value in help; derived from the
            type when omitted.
        positional: In an endpoint string, the value may be given by position.
        name: What an operator calls it, where that is not the attribute's name:
            C{from} is a word of Python's.

    Raises:
        TypeError: One of these is of the wrong type.
    """
    _checkType(str, help=help)
    _checkType(str | None, metavar=metavar, name=name)
    _checkType(int | float | None, minimum=minimum, maximum=maximum)
    statement = _Statement(help, minimum, maximum, metavar, positional, name)
    return attrs.field(default=default, metadata={_METADATA: statement}, kw_only=False)


def _checkType(kind: Any, **arguments: object) -> None:
    for name, value in arguments.items():
        if not isinstance(value, kind):
            raise TypeError(f"option() was given {name}={value!r}")


@attrs.frozen
class OptionType:
    """
    The type of an option, taken apart.

    @ivar element: The type of one value.
    @ivar many: A list of values is wanted; the instance gets a tuple.
    @ivar optional: C{None} is allowed, and only as a default.
    """

    element: Any
    many: bool = False
    optional: bool = False

    @property
    def name(self) -> str:
        """What an operator calls one value of it: C{duration}, C{path}."""
        if isinstance(self.element, type) and issubclass(self.element, enum.Enum):
            return "|".join(str(member.value) for member in self.element)
        return _NAMES[self.element]


_NAMES: Final[dict[Any, str]] = {
    str: "text",
    bool: "boolean",
    int: "number",
    float: "decimal",
    Duration: "duration",
    Size: "size",
    Path: "path",
    HostPort: "host:port",
    IPAddress: "address",
    IPNetwork: "network",
}


@attrs.frozen
class OptionSpec:
    """
    One option, described.

    @ivar name: What an operator calls it, which is also the TOML key: C{maxLine}.
    @ivar attribute: The attribute that holds it, of the same name unless the
        class says otherwise.
    @ivar type: Its type, taken apart.
    @ivar default: The default, converted; L{REQUIRED} when there is none.
    @ivar help: One line.
    """

    name: str
    type: OptionType
    default: Any
    help: str
    minimum: float | None
    maximum: float | None
    metavar: str
    positional: bool
    attribute: str

    @property
    def required(self) -> bool:
        """The operator must give it."""
        return self.default is REQUIRED

    @property
    def flag(self) -> str:
        """The command line's spelling: C{max-line} for C{maxLine}."""
        spelled = "".join("-" + c.lower() if c.isupper() else c for c in self.name)
        return spelled.replace("_", "-")

    @property
    def defaultText(self) -> str:
        """The default as an operator would write it; empty when there is none."""
        if self.required or self.default is None:
            return ""
        if self.type.many:
            return ", ".join(formatValue(value) for value in self.default)
        return formatValue(self.default)


def formatValue(value: object) -> str:
    """
    Write one value as an operator would.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, enum.Enum):
        return str(value.value)
    return str(value)


def describe(optionsType: type | None) -> tuple[OptionSpec, ...]:
    """
    Describe every option of an options class, in the order it states them.

    Args:
        optionsType: A frozen attrs class; C{None} has no options.

    Raises:
        TypeError: The class is not one, a field was not stated with
            L{option}, or has a type that no operator could write.  This is the
            plugin author's mistake; the text names class and field.
    """
    return _describe(optionsType)


@functools.cache
def _describe(optionsType: type | None) -> tuple[OptionSpec, ...]:
    # Defaults are converted by what converts an operator's values.
    from myserv.options.structure import convert

    if optionsType is None:
        return ()
    if not attrs.has(optionsType):
        raise TypeError(f"{optionsType.__qualname__} is not an attrs class")
    hints = typing.get_type_hints(optionsType)
    specs = []
    for field in attrs.fields(optionsType):
        at = f"{optionsType.__qualname__}.{field.name}"
        statement = field.metadata.get(_METADATA)
        if statement is None:
            raise TypeError(f"{at} is not stated with option()")
        kind = _takeApart(hints[field.name], at)
        spec = OptionSpec(
            name=statement.name or field.name,
            type=kind,
            default=REQUIRED,
            help=statement.help,
            minimum=statement.minimum,
            maximum=statement.maximum,
            metavar=statement.metavar or kind.name.upper(),
            positional=statement.positional,
            attribute=field.name,
        )
        default = field.default
        if isinstance(default, attrs.Factory):  # type: ignore[arg-type]
            raise TypeError(f"{at} has a default that only a call can tell")
        if default is not REQUIRED and default is not None:
            try:
                default = convert(spec, default)
            except ValueError as error:
                raise TypeError(f"{at} has a wrong default: {error}") from None
        elif default is None and not kind.optional:
            raise TypeError(f"{at} has the default None, which its type does not allow")
        specs.append(attrs.evolve(spec, default=default))
    return tuple(specs)


def _takeApart(hint: Any, at: str) -> OptionType:
    optional = False
    if hint not in (IPAddress, IPNetwork) and typing.get_origin(hint) in (
        types.UnionType,
        typing.Union,
    ):
        members = [each for each in typing.get_args(hint) if each is not types.NoneType]
        optional = len(members) < len(typing.get_args(hint))
        hint = functools.reduce(lambda a, b: a | b, members)
    many = False
    if typing.get_origin(hint) is tuple:
        arguments = typing.get_args(hint)
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            many, hint = True, arguments[0]
    isEnum = isinstance(hint, type) and issubclass(hint, enum.Enum)
    if not isEnum and hint not in _NAMES:
        raise TypeError(
            f"{at} has the type {hint!r}, which no operator could write: "
            "it may be str, bool, int, float, Duration, Size, Path, HostPort, IPAddress, "
            "IPNetwork, an Enum, tuple[X, ...] of these, or X | None"
        )
    return OptionType(hint, many, optional)
