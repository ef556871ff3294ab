r"""
The grammar of endpoint strings, and nothing of their meaning.

It is Twisted's: parameters between colons, C{key=value} for those with a name,
and a backslash before a colon, an equals sign or a backslash that is meant
literally.  Beyond it, an IPv6 address in brackets needs no backslashes, nor does a
network, alone or in a list: C{tcp:[::1]:80}, C{from=10.0.0.0/8,[2001:db8::]/32}.
"""

from __future__ import annotations

import re
from typing import Final

from attrs import frozen

from myserv.errors import EndpointError

# Only what looks like an address: C{unix:[a:mode=600} is Twisted's to split.
_BRACKETED: Final = re.compile(
    r"\[[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(?:%[\w.-]+)?\](?:/[0-9]{1,3})?(?=[:,]|\Z)"
)


@frozen
class Parameter:
    """
    One parameter of an endpoint string, unescaped.

    @ivar value: Its value.
    @ivar key: Its name; C{None} when it has none and its position counts.
    """

    value: str
    key: str | None = None

    def __str__(self) -> str:
        if self.key is None:
            return quote(self.value, positional=True)
        return f"{quote(self.key, positional=True)}={quote(self.value)}"


def quote(text: str, *, positional: bool = False) -> str:
    """
    Escape text so that it can stand in an endpoint string.

    Args:
        text: A value, or a key.
        positional: It stands where an equals sign would make it a key.
    """
    if _BRACKETED.fullmatch(text):
        return text
    quoted = text.replace("\\", "\\\\").replace(":", "\\:")
    return quoted.replace("=", "\\=") if positional else quoted


def split(text: str) -> tuple[Parameter, ...]:
    """
    Split an endpoint string into its parameters, the prefix first.

    Raises:
        EndpointError: It ends in a backslash that escapes nothing.
    """
    parameters: list[Parameter] = []
    key: str | None = None
    value: list[str] = []
    position = 0
    start = True
    while position < len(text):
        if start and (bracketed := _BRACKETED.match(text, position)):
            value.append(bracketed[0])
            position = bracketed.end()
            start = False
            continue
        start = False
        character = text[position]
        if character == "\\":
            position += 1
            if position == len(text):
                raise EndpointError(f"{text!r} ends in a backslash that escapes nothing")
            value.append(text[position])
        elif character == ":":
            parameters.append(Parameter("".join(value), key))
            key, value, start = None, [], True
        elif character == "=" and key is None:
            key, value, start = "".join(value), [], True
        else:
            value.append(character)
            # Of a list only: a positional parameter may be a path with a comma in it.
            start = character == "," and key is not None
        position += 1
    parameters.append(Parameter("".join(value), key))
    return tuple(parameters)


def join(parameters: tuple[Parameter, ...]) -> str:
    """
    Write parameters as the endpoint string that L{split} would split into them.
    """
    return ":".join(map(str, parameters))
