"""
What the supervisor and its workers say to each other: JSON objects, a line each.

Both ends are ours; that lines are bounded and their fields are checked keeps a bug, or
a worker that a peer has taken over, from becoming the other end's.
"""

from __future__ import annotations

import json
from typing import Any, Final

from attrs import asdict, field, fields_dict, frozen
from attrs.validators import deep_iterable, instance_of, optional

from myserv.errors import MyservError

MAXIMUM_MESSAGE: Final = 8 * 2**20
"""Bytes of a line: a configuration file of 1 MiB with every character escaped."""

BATCH: Final = 1000
"""Penalties in one message."""

_strings: Any = deep_iterable(instance_of(str), instance_of((list, tuple)))


class MessageError(MyservError):
    """What came is no message."""


def _arePenalties(instance: Any, attribute: Any, value: Any) -> None:
    isRight = isinstance(value, (list, tuple)) and all(
        isinstance(each, (list, tuple))
        and len(each) == 2
        and type(each[0]) is int
        and isinstance(each[1], (int, float))
        for each in value
    )
    if not isRight:
        raise TypeError("penalties are pairs of a number and seconds")


def _areSockets(instance: Any, attribute: Any, value: Any) -> None:
    isRight = isinstance(value, (list, tuple)) and all(
        isinstance(each, (list, tuple))
        and len(each) == 3
        and isinstance(each[0], str)
        and type(each[1]) is int
        and all(type(descriptor) is int for descriptor in each[2])
        for each in value
    )
    if not isRight:
        raise TypeError("sockets are triples of a service, an index and descriptors")


# To a worker.


@frozen
class Assignment:
    """
    What a worker is to serve; its first message.

    @ivar worker: Its place, from 1.
    @ivar workers: How many there are.
    @ivar generation: Counts the sets of workers, from 1.
    @ivar path: The configuration file, as the operator wrote it.
    @ivar text: What the file held when it was checked.
    @ivar sockets: For each endpoint: its service, its index and its descriptors.
    @ivar tallies: The descriptor of the shared memory; -1: there is none.
    @ivar slot: This worker's part of it, from 0.
    @ivar slots: How many parts it has.
    @ivar uid: Whom to run as; C{None}: as whom it was started.
    @ivar gid: The group, likewise.
    @ivar user: The user's name, for its groups.
    @ivar reactor: twistd's name of a reactor; empty: the best there is.
    @ivar searchPath: Where the supervisor finds modules.
    @ivar directory: Where it is to run.
    @ivar log: The descriptor that the log is written to.
    """

    worker: int = field(validator=instance_of(int))
    workers: int = field(validator=instance_of(int))
    generation: int = field(validator=instance_of(int))
    path: str = field(validator=instance_of(str))
    text: str = field(validator=instance_of(str))
    sockets: Any = field(validator=_areSockets)
    tallies: int = field(default=-1, validator=instance_of(int))
    slot: int = field(default=0, validator=instance_of(int))
    slots: int = field(default=1, validator=instance_of(int))
    uid: int | None = field(default=None, validator=optional(instance_of(int)))
    gid: int | None = field(default=None, validator=optional(instance_of(int)))
    user: str | None = field(default=None, validator=optional(instance_of(str)))
    reactor: str = field(default="", validator=instance_of(str))
    searchPath: Any = field(default=(), validator=_strings)
    directory: str = field(default="", validator=instance_of(str))
    log: int = field(default=2, validator=instance_of(int))


@frozen
class Drain:
    """Accept nothing more, let the connections end, and go."""


@frozen
class ChangeLimits:
    """
    Put other limits in force.

    @ivar text: The configuration file, which differs in nothing else.
    """

    text: str = field(validator=instance_of(str))


@frozen
class Ping:
    """Are you there?"""


# In both directions.


@frozen
class Penalties:
    """
    What misbehaviour has cost peers.

    @ivar penalties: Pairs of a peer's number and seconds.
    """

    penalties: Any = field(validator=_arePenalties)


# From a worker.


@frozen
class Ready:
    """
    Every endpoint is open.

    @ivar reactor: What the worker's reactor is called, for people.
    """

    reactor: str = field(default="", validator=instance_of(str))


@frozen
class Failed:
    """
    The worker cannot serve, or not go on.

    @ivar reason: Why, a line for each problem.
    """

    reason: str = field(validator=instance_of(str))


@frozen
class Deaf:
    """The worker has closed its sockets; connections may be left."""


@frozen
class Pong:
    """
    I am here.

    @ivar connections: How many there are.
    """

    connections: int = field(validator=instance_of(int))


Message = Assignment | Drain | ChangeLimits | Ping | Penalties | Ready | Failed | Deaf | Pong

_KINDS: Final[dict[str, type]] = {
    each.__name__: each
    for each in (Assignment, Drain, ChangeLimits, Ping, Penalties, Ready, Failed, Deaf, Pong)
}


def encode(message: Message) -> bytes:
    """
    Write a message.
    """
    return json.dumps({"kind": type(message).__name__, **asdict(message)}).encode() + b"\n"


def decode(line: bytes) -> Message:
    """
    Read a message.

    Args:
        line: Without its end.

    Raises:
        MessageError: It is none.
    """
    try:
        values = json.loads(line)
        kind = _KINDS[values.pop("kind")]
        # One that a newer version adds is no harm.
        known = fields_dict(kind)
        message: Message = kind(**{name: values[name] for name in values if name in known})
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise MessageError(f"not a message: {type(error).__name__}") from None
    return message


class MessageReader:
    """
    Makes messages of the bytes of a stream.

    @ivar buffer: What has come of a line that has not ended.
    """

    def __init__(self, buffer: bytes = b"") -> None:
        self.buffer = bytearray(buffer)

    def receiveData(self, data: bytes) -> list[Message]:
        """
        Take bytes, however they are cut.

        Returns:
            The messages that they complete.

        Raises:
            MessageError: A line is no message, or too long.
        """
        self.buffer += data
        if b"\n" not in data:
            if len(self.buffer) > MAXIMUM_MESSAGE:
                raise MessageError("a message is too long")
            return []
        *lines, rest = self.buffer.split(b"\n")
        self.buffer = rest
        return [decode(bytes(line)) for line in lines]
