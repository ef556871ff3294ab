"""
A configuration file with one mistake: wrong for certain, and on a line that is known.

Each mutation is made of a right file, so that the mistake is the only one; a server
has to refuse all of them, naming the line, and go on as before.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Final

from attrs import frozen

Mutate = Callable[[list[str], random.Random], int]
"""Makes a mistake in the lines, and says in which, from 0."""


@frozen
class Mutation:
    """
    A file with a mistake in it.

    @ivar name: What kind of mistake.
    @ivar text: The file.
    @ivar line: Where the mistake is told of, from 1.
    """

    name: str
    text: str
    line: int


def mutatedConfigurations(text: str, count: int, seed: int) -> Iterator[Mutation]:
    """
    Make wrong files of a right one.

    Args:
        text: The right one, which has to begin with C{[server]}, have C{[limits]}, two
            services at least, and a line of its own for each key.
        count: How many, each of them another.
        seed: Files of one seed are the same.
    """
    chance = random.Random(seed)
    seen = {text}
    while True:
        for name, mutate in chance.sample(list(_KINDS.items()), len(_KINDS)):
            if len(seen) > count:
                return
            lines = text.splitlines()
            place = mutate(lines, chance)
            mutated = "\n".join(lines) + "\n"
            if mutated not in seen:
                seen.add(mutated)
                yield Mutation(name, mutated, place + 1)


def _any(lines: list[str], chance: random.Random, *starts: str) -> int:
    return chance.choice([i for i, line in enumerate(lines) if line.startswith(starts)])


def _keys(lines: list[str]) -> list[int]:
    return [i for i, line in enumerate(lines) if " = " in line]


def _unknownKey(lines: list[str], chance: random.Random) -> int:
    place = _any(lines, chance, "[")
    letters = "".join(chance.choices("abcdefghij", k=6))
    lines.insert(place + 1, f"{letters}X = {chance.randrange(100)}")
    return place + 1


def _doubledKey(lines: list[str], chance: random.Random) -> int:
    place = chance.choice(_keys(lines))
    lines.insert(place + 1, lines[place])
    return place + 1


def _doubledTable(lines: list[str], chance: random.Random) -> int:
    lines.append(lines[_any(lines, chance, "[")])
    return len(lines) - 1


def _noValue(lines: list[str], chance: random.Random) -> int:
    place = chance.choice(_keys(lines))
    lines[place] = lines[place].partition(" = ")[0] + " ="
    return place


def _noEqualsSign(lines: list[str], chance: random.Random) -> int:
    place = chance.choice(_keys(lines))
    lines[place] = lines[place].replace(" = ", " ", 1)
    return place


def _openQuote(lines: list[str], chance: random.Random) -> int:
    place = _any(lines, chance, "protocol")
    lines[place] = lines[place].rstrip('"')
    return place


def _openTable(lines: list[str], chance: random.Random) -> int:
    place = _any(lines, chance, "[services")
    lines[place] = lines[place].rstrip("]")
    return place


def _unquoted(lines: list[str], chance: random.Random) -> int:
    place = _any(lines, chance, "protocol")
    lines[place] = lines[place].replace('"', "")
    return place


def _wrongType(lines: list[str], chance: random.Random) -> int:
    place = chance.choice(_keys(lines))
    value = chance.choice(["{a = 1}", "1979-05-27", "nan", "[[]]"])
    lines[place] = lines[place].partition(" = ")[0] + f" = {value}"
    return place


def _unknownProtocol(lines: list[str], chance: random.Random) -> int:
    place = _any(lines, chance, "protocol")
    name = "".join(chance.choices("qxz", k=8))
    lines[place] = f'protocol = "{name}"'
    return place


def _unknownModule(lines: list[str], chance: random.Random) -> int:
    place = _any(lines, chance, "protocol")
    lines[place] = f'protocol = "nowhere{chance.randrange(10**6)}:Protocol"'
    return place


def _unknownPrefix(lines: list[str], chance: random.Random) -> int:
    place = _any(lines, chance, "listen")
    lines[place] = lines[place].replace("tcp:", chance.choice(["tpc:", "tcp7:", "http:", "7:"]))
    return place


def _wrongPort(lines: list[str], chance: random.Random) -> int:
    place = _any(lines, chance, "listen")
    port = chance.choice(["65536", "-1", "http", "99999999999999999999", "7.5", ""])
    lines[place] = f'listen = "tcp:{port}:interface=127.0.0.1"'
    return place


def _wrongInterface(lines: list[str], chance: random.Random) -> int:
    place = _any(lines, chance, "listen")
    wrong = chance.choice(["127.0.0.256", "127.0.0", "1.2.3.4.5", "300.1.1.1"])
    lines[place] = lines[place].replace("127.0.0.1", wrong)
    return place


def _unknownEndpointKey(lines: list[str], chance: random.Random) -> int:
    place = _any(lines, chance, "listen")
    lines[place] = lines[place].replace("interface=", "interfaec=")
    return place


def _noListen(lines: list[str], chance: random.Random) -> int:
    place = _any(lines, chance, "listen")
    lines[place] = "listen = []"
    return place


def _datagrams(lines: list[str], chance: random.Random) -> int:
    place = _any(lines, chance, "listen")
    lines[place] = 'listen = "tls:selfSigned=localhost:udp:1:interface=127.0.0.1"'
    return place


def _missingCertificates(lines: list[str], chance: random.Random) -> int:
    place = _any(lines, chance, "listen")
    lines[place] = 'listen = "tls:certs=/nowhere/at/all:tcp:1:interface=127.0.0.1"'
    return place


def _endpointTwice(lines: list[str], chance: random.Random) -> int:
    one, two = chance.sample([i for i, line in enumerate(lines) if line.startswith("listen")], 2)
    lines[one] = lines[two]
    return max(one, two)


def _unknownOption(lines: list[str], chance: random.Random) -> int:
    place = _any(lines, chance, "protocol")
    lines.insert(place + 1, f"options.option{chance.randrange(10**6)} = 1")
    return place + 1


def _limitOfAnotherKind(lines: list[str], chance: random.Random) -> int:
    place = _any(lines, chance, "protocol")
    lines.insert(place + 1, 'limits.establish = "5s"')
    return place + 1


def _wrongLimit(lines: list[str], chance: random.Random) -> int:
    place = _any(lines, chance, "[limits]")
    wrong = [
        "drain = 5",
        'lifetime = "soon"',
        'firstByte = "-1s"',
        "maxConnectionsPerPeer = -1",
        "peerPrefix4 = 33",
        'whenFull = "explode"',
        'allow = ["10.0.0.0/40"]',
        'maxUnsent = "1 elephant"',
        "acceptRate = inf",
        'users = "nobody-knows"',
    ]
    key = chance.choice(wrong)
    lines.insert(place + 1, key)
    return place + 1


def _wrongServerKey(lines: list[str], chance: random.Random) -> int:
    wrong = ["group = []", 'logConnections = "often"', "workers = 0", "user = []"]
    lines.insert(1, chance.choice(wrong))
    return 1


def _wrongName(lines: list[str], chance: random.Random) -> int:
    place = _any(lines, chance, "[services")
    lines[place] = chance.choice(['[services."a b"]', '[services.".."]', '[services."-x"]'])
    return place


def _noTOML(lines: list[str], chance: random.Random) -> int:
    place = chance.randrange(len(lines))
    lines.insert(place, chance.choice(["}{", "= 5", "]", "a..b = 1", '"', "\x01"]))
    return place


_KINDS: Final[dict[str, Mutate]] = {
    each.__name__.lstrip("_"): each
    for each in (
        _unknownKey,
        _doubledKey,
        _doubledTable,
        _noValue,
        _noEqualsSign,
        _openQuote,
        _openTable,
        _unquoted,
        _wrongType,
        _unknownProtocol,
        _unknownModule,
        _unknownPrefix,
        _wrongPort,
        _wrongInterface,
        _unknownEndpointKey,
        _noListen,
        _datagrams,
        _missingCertificates,
        _endpointTwice,
        _unknownOption,
        _limitOfAnotherKind,
        _wrongLimit,
        _wrongServerKey,
        _wrongName,
        _noTOML,
    )
}

KINDS: Final = tuple(_KINDS)
"""The names of all kinds of mistakes."""


def rightConfiguration(ports: tuple[int, int]) -> str:
    """
    Write the right file that wrong ones may be made of.

    Args:
        ports: Where its two services listen: C{echo} and C{daytime}.
    """
    return f"""\
[server]
maxConnections = 1000
[limits]
idle = "5m"
[services.said]
protocol = "echo"
listen = "tcp:{ports[0]}:interface=127.0.0.1"
[services.told]
protocol = "daytime"
listen = "tcp:{ports[1]}:interface=127.0.0.1"
"""
