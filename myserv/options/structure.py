"""
From what an operator wrote to an instance of an options class.

Values come as text (from a command line or an endpoint string) or as TOML's own
types; both are accepted everywhere, and every problem is collected before any
is reported.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Mapping
from datetime import date, time
from pathlib import Path
from typing import Any, Final, TypeVar

from myserv.errors import ConfigurationError, Problem, didYouMean
from myserv.options.declare import OptionSpec, describe
from myserv.options.values import (
    Duration,
    HostPort,
    IPAddress,
    IPNetwork,
    Size,
    parseIPAddress,
    parseIPNetwork,
)

T = TypeVar("T")

_TRUE: Final = frozenset({"true", "yes", "on", "1"})
_FALSE: Final = frozenset({"false", "no", "off", "0"})


def structure(optionsType: type[T] | None, values: Mapping[str, object]) -> T | None:
    """
    Make an options object.

    Args:
        optionsType: The frozen attrs class; C{None} takes no options.
        values: What the operator wrote, by option name.

    Raises:
        ConfigurationError: With one problem for each unknown name, missing
            option and wrong value; the C{key} of each starts with the option's
            name, and the caller says where that stands.
    """
    specs = {spec.name: spec for spec in describe(optionsType)}
    problems = []
    for name in values:
        if name not in specs:
            there = didYouMean(name, specs) or "; there are no options here"
            problems.append(Problem(f"unknown option{there}", (name,)))
    converted = {}
    for name, spec in specs.items():
        if name in values:
            try:
                converted[spec.attribute] = convert(spec, values[name])
            except ElementError as error:
                problems.append(Problem(str(error), (name, error.index)))
            except ValueError as error:
                problems.append(Problem(str(error), (name,)))
        elif spec.required:
            problems.append(Problem(f"is required: {spec.help}", (name,)))
        else:
            converted[spec.attribute] = spec.default
    if problems:
        raise ConfigurationError(problems)
    if optionsType is None:
        return None
    try:
        return optionsType(**converted)
    except ConfigurationError:
        # An EndpointError is a ValueError too, and has problems to keep.
        raise
    except ValueError as error:
        # A validator of the plugin author's, over several options perhaps.
        raise ConfigurationError(str(error)) from None


class ElementError(ValueError):
    """
    One value of a list is wrong.

    @ivar index: Which, from 0.
    """

    def __init__(self, index: int, message: str) -> None:
        super().__init__(message)
        self.index = index


def convert(spec: OptionSpec, value: object) -> Any:
    """
    Convert one value, or a list of them, to an option's type.

    Args:
        spec: The option.
        value: Text, or a TOML value.

    Raises:
        ValueError: It cannot be; the text tells the operator why.
        ElementError: The same of one value in a list.
    """
    if not spec.type.many:
        return _convertElement(spec, value)
    if not isinstance(value, (list, tuple)):
        return (_convertElement(spec, value),)
    converted = []
    for index, element in enumerate(value):
        try:
            converted.append(_convertElement(spec, element))
        except ValueError as error:
            raise ElementError(index, str(error)) from None
    return tuple(converted)


def _convertElement(spec: OptionSpec, value: object) -> Any:
    kind = spec.type.element
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return _toEnum(kind, value)
    converted = _CONVERTERS[kind](value)
    if spec.minimum is not None and converted < spec.minimum:
        raise ValueError(
            f"{written(value)} is too small: the least is {_bound(kind, spec.minimum)}"
        )
    if spec.maximum is not None and converted > spec.maximum:
        raise ValueError(f"{written(value)} is too large: the most is {_bound(kind, spec.maximum)}")
    return converted


def _bound(kind: Any, bound: float) -> str:
    return str(kind(bound))


def _toEnum(kind: type[enum.Enum], value: object) -> enum.Enum:
    if isinstance(value, kind):
        return value
    for member in kind:
        # The second for a number, which is text on a command line.
        if value in (member.value, str(member.value)):
            return member
    known = [str(member.value) for member in kind]
    raise ValueError(f"{written(value)} is not a choice here{didYouMean(str(value), known)}")


def _toText(value: object) -> str:
    if not isinstance(value, str):
        advice = "" if isinstance(value, (dict, list)) else ": put it in quotes"
        raise ValueError(f"{written(value)} is not text{advice}")
    return value


def _toBoolean(value: object) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in _TRUE | _FALSE:
        return value.lower() in _TRUE
    raise ValueError(f"{written(value)} is not a boolean: write true or false")


def _toNumber(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str):
        try:
            return int(value)
        except ValueError:
            pass
    raise ValueError(f"{written(value)} is not a whole number")


def _toDecimal(value: object) -> float:
    if isinstance(value, (int, float, str)) and not isinstance(value, bool):
        try:
            number = float(value)
        except (ValueError, OverflowError):
            number = math.nan
        # TOML and float() know nan and inf, which pass no comparison or every one.
        if math.isfinite(number):
            return number
    raise ValueError(f"{written(value)} is not a number")


def _toDuration(value: object) -> Duration:
    if isinstance(value, Duration):
        return value
    if isinstance(value, str) or (value == 0 and isinstance(value, int)):
        return Duration.parse(str(value))
    raise ValueError(
        f'{written(value)} is not a duration: write a number and a unit in quotes, such as "30s"'
    )


def _toSize(value: object) -> Size:
    if isinstance(value, str):
        return Size.parse(value)
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return Size(value)
    raise ValueError(f'{written(value)} is not a size: write bytes, or a unit such as "64KiB"')


def _toPath(value: object) -> Path:
    if isinstance(value, Path):
        return value
    if isinstance(value, str) and value and "\0" not in value:
        try:
            return Path(value).expanduser()
        except RuntimeError:
            raise ValueError(f"{value!r} is in the home of a user who has none") from None
    raise ValueError(f"{written(value)} is not a path")


def _toHostPort(value: object) -> HostPort:
    if isinstance(value, HostPort):
        return value
    return HostPort.parse(_toText(value))


def _toIPAddress(value: object) -> IPAddress:
    if isinstance(value, IPAddress):
        return value
    return parseIPAddress(_toText(value))


def _toIPNetwork(value: object) -> IPNetwork:
    if isinstance(value, IPNetwork):
        return value
    return parseIPNetwork(_toText(value))


def written(value: object) -> str:
    """
    Write a TOML value into a message; of a table or list only that it is one.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, (date, time)):
        return str(value)
    return repr(value)


_CONVERTERS: Final[dict[Any, Callable[[object], Any]]] = {
    str: _toText,
    bool: _toBoolean,
    int: _toNumber,
    float: _toDecimal,
    Duration: _toDuration,
    Size: _toSize,
    Path: _toPath,
    HostPort: _toHostPort,
    IPAddress: _toIPAddress,
    IPNetwork: _toIPNetwork,
}
