"""
Quote of the day, as an operator finds it.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Final

from attrs import frozen
from twisted.internet.interfaces import IProtocolFactory

from myserv.plugin import IServerContext, ProtocolPlugin, ServiceFactory, Size, option, readFile
from myserv.protocols.qotd.codec import Quotes, parseQuotes
from myserv.protocols.qotd.protocol import DatagramQotd, Qotd
from myserv.protocols.qotd.proverbs import PROVERBS

MAXIMUM_FILE: Final = Size(4 * 2**20)
"""Bytes of a file of quotes: all that fortune(6) comes with are 3 MB."""


@frozen
class QotdOptions:
    """
    What an operator may say about quotes.
    """

    file: Path | None = option(
        None, help="a file of quotes with a line % between each two; without one, proverbs"
    )


def readQuotes(file: Path | None) -> Quotes:
    """
    Read what there is to quote.

    Args:
        file: Where; C{None} for proverbs.

    Raises:
        ConfigurationError: The file cannot be read, or does not hold quotes.
    """
    if file is None:
        return Quotes(parseQuotes(PROVERBS, "proverbs"), secrets.randbelow)
    data = readFile(file, maximum=MAXIMUM_FILE, key=("file",))
    return Quotes(parseQuotes(data, str(file)), secrets.randbelow)


def buildFactory(context: IServerContext, options: QotdOptions) -> IProtocolFactory:
    """
    Make the factory of one service; the file is read once.
    """
    quotes = readQuotes(options.file)
    return ServiceFactory(context, options, lambda: Qotd(quotes))


def buildDatagramProtocol(context: IServerContext, options: QotdOptions) -> DatagramQotd:
    """
    Make the protocol of one datagram endpoint.
    """
    return DatagramQotd(readQuotes(options.file))


qotd: Final = ProtocolPlugin(
    "qotd",
    "send a quote of the day (RFC 865)",
    factory=buildFactory,
    datagram=buildDatagramProtocol,
    optionsType=QotdOptions,
    answersAnything=True,
)
