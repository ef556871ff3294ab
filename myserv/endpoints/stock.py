"""
Endpoints that are Twisted's own or come from another package.

Their strings mean what Twisted says they mean; only their errors are ours.
"""

from __future__ import annotations

import inspect
from typing import Any, Final

from attrs import frozen
from OpenSSL import SSL, crypto
from twisted.internet.endpoints import StandardIOEndpoint, serverFromString
from twisted.internet.interfaces import IStreamServerEndpoint

from myserv.endpoints.failure import describeOpenSSLError
from myserv.endpoints.grammar import Parameter, join
from myserv.endpoints.tcp import BACKLOG, MAXIMUM_BACKLOG, checkInterface
from myserv.errors import Blaming, EndpointError, FileError, textOf
from myserv.options.declare import option
from myserv.options.files import readFile
from myserv.options.values import MAXIMUM_PORT

MAXIMUM_FILE: Final = 2**20
"""Bytes of a file that C{ssl:} reads: a certificate with its chain has some thousands."""


@frozen
class SSLOptions:
    """What may follow C{ssl:}, in Twisted's order."""

    port: int = option(
        help="the port; 0 lets the system choose", positional=True, minimum=0, maximum=MAXIMUM_PORT
    )
    privateKey: str = option("server.pem", help="a PEM file with the key", positional=True)
    certKey: str | None = option(
        None, help="a PEM file with the certificate, unless it is with the key", positional=True
    )
    sslmethod: str | None = option(
        None, help="the name of an OpenSSL method; leave it out", positional=True
    )
    interface: str = option(
        "", help="the address to bind; empty for every IPv4 address", positional=True
    )
    backlog: int = option(
        BACKLOG,
        help="connections that may wait to be accepted",
        positional=True,
        minimum=0,
        maximum=MAXIMUM_BACKLOG,
    )
    extraCertChain: str | None = option(
        None, help="a PEM file with the intermediate certificates", positional=True
    )
    dhParameters: str | None = option(
        None, help="a PEM file with Diffie-Hellman parameters", positional=True
    )

    def __attrs_post_init__(self) -> None:
        checkInterface(self.interface, hostname=True)


def openSSL(reactor: Any, options: SSLOptions) -> IStreamServerEndpoint:
    """
    Make the endpoint of C{ssl:}.

    Raises:
        EndpointError: A file is missing, or is not what it should be.
    """
    values = {
        "privateKey": options.privateKey,
        "certKey": options.certKey,
        "sslmethod": options.sslmethod,
        "interface": checkInterface(options.interface, hostname=True),
        "backlog": str(options.backlog),
        "extraCertChain": options.extraCertChain,
        "dhParameters": options.dhParameters,
    }
    for file in (options.privateKey, options.certKey, options.extraCertChain, options.dhParameters):
        if file is not None:
            # Twisted and OpenSSL would read on and on.
            _requireFile(file)
    parameters = [Parameter("ssl"), Parameter(str(options.port))]
    parameters += [Parameter(value, key) for key, value in values.items() if value is not None]
    return _fromString(reactor, join(tuple(parameters)))


def _requireFile(file: str) -> None:
    try:
        readFile(file, maximum=MAXIMUM_FILE)
    except FileError as error:
        raise EndpointError(error.problems) from None


def _fromString(reactor: Any, text: str) -> IStreamServerEndpoint:
    try:
        endpoint: Any = serverFromString(reactor, text)
        # Otherwise made when it listens, where it is too late for words.
        endpoint._sslContextFactory.getContext()
    except (SSL.Error, crypto.Error) as error:
        raise EndpointError(
            f"ssl: OpenSSL refuses these files: {describeOpenSSLError(error)}"
        ) from None
    except Exception as error:  # noqa: BLE001 - whatever Twisted raises at a bad file
        raise EndpointError(f"ssl: {str(error) or type(error).__name__}") from None
    opened: IStreamServerEndpoint = endpoint
    return opened


@frozen
class StdioOptions:
    """Nothing may follow C{stdio:}."""


def openStdio(reactor: Any, options: StdioOptions) -> IStreamServerEndpoint:
    """
    Make the endpoint of C{stdio:}.
    """
    return StandardIOEndpoint(reactor)


def callParser(
    method: Any, prefix: str, reactor: Any, positionals: tuple[str, ...], keys: dict[str, str]
) -> Any:
    """
    Let another package's parser make an endpoint.

    Args:
        method: Its C{parseStreamServer} or C{parseDatagramServer}.
        prefix: Its prefix.
        reactor: Where the endpoint will listen.
        positionals: The positional parameters.
        keys: The C{key=value} parameters.

    Raises:
        EndpointError: The parameters do not fit, or the parser refused them.
    """
    try:
        inspect.signature(method).bind(reactor, *positionals, **keys)
    except TypeError as error:
        raise EndpointError(f"{prefix} {_inWords(error)}") from None
    with Blaming(lambda error: EndpointError(f"{prefix}: {_inWords(error)}")):
        return method(reactor, *positionals, **keys)


_PARTS: Final = {
    "too many positional arguments": "takes fewer parameters without a name",
    "missing a required argument:": "needs the parameter",
    "got an unexpected keyword argument": "has no key",
    "got multiple values for argument": "was given twice:",
    "multiple values for argument": "was given twice:",
}


def _inWords(error: BaseException) -> str:
    text = textOf(error) or type(error).__name__
    for theirs, ours in _PARTS.items():
        text = text.replace(theirs, ours)
    return text


def declaredKeys(method: Any) -> frozenset[str] | None:
    """
    Find out which keys a parser's method claims.

    Returns:
        Their names; C{None} when it takes any.
    """
    parameters = list(inspect.signature(method).parameters.values())[1:]
    if any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters):
        return None
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return frozenset(each.name for each in parameters if each.kind in named)
