"""What is said of each prefix, those of other packages among them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.interfaces import IStreamServerEndpointStringParser

from myserv.endpoints import prefixes
from myserv.endpoints.described import Described, describePrefixes
from myserv.endpoints.parse import parseEndpoint
from myserv.endpoints.prefixes import BUILT_IN, WRAPPERS, knownPrefixes
from myserv.interfaces import IDatagramServerEndpointStringParser, IEndpointWrapper
from tests.endpoints.layers import (
    PLAIN,
    ZIP,
    AnyStreamParser,
    DatagramParser,
    RecordingWrapper,
    StrictStreamParser,
    ZipOptions,
)


def installed(monkeypatch: pytest.MonkeyPatch, **plugins: Any) -> dict[str, Described]:
    """What is said of the prefixes when some plugins are installed beside Twisted's."""
    extra: dict[Any, list[Any]] = {
        IEndpointWrapper: plugins.get("wrappers", []),
        IStreamServerEndpointStringParser: plugins.get("streams", []),
        IDatagramServerEndpointStringParser: plugins.get("datagrams", []),
    }
    found: Callable[[Any], Any] = vars(prefixes)["getPlugins"]
    known = {interface: [*found(interface), *each] for interface, each in extra.items()}
    monkeypatch.setattr(prefixes, "getPlugins", known.__getitem__)
    return {each.name: each for each in describePrefixes()}


def test_everyPrefix() -> None:
    """Places first, then layers, then others'; each has an example that works."""
    described = describePrefixes()
    names = [each.name for each in described]
    assert names == [*BUILT_IN, *WRAPPERS, "haproxy"]
    assert set(names) == knownPrefixes()
    for each in described:
        assert str(parseEndpoint(each.example)).startswith(each.name)
        assert each.package == ("twisted" if each.name == "haproxy" else "myserv")


def test_sentences() -> None:
    """The description is a phrase, and becomes one."""
    told = {each.name: each.sentences for each in describePrefixes()}
    assert told["fd"] == (
        "A listening socket that this process was started with. "
        "A place to listen, for a stream or datagram protocol."
    )
    assert told["dtls"] == (
        "DTLS 1.2 over any datagram endpoint. "
        "A layer over datagrams: what it wraps comes after it in the string."
    )
    assert Described("x", "", "a place").sentences == "A place."
    assert Described("x", "it ends in a dot.", "a place").sentences == "It ends in a dot. A place."


def test_thoseOfOthers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Layers say what they take; of parsers, their signatures do."""
    told = installed(
        monkeypatch,
        wrappers=[ZIP],
        streams=[AnyStreamParser(), StrictStreamParser()],
        datagrams=[DatagramParser()],
    )
    assert told["zip"] == Described(
        "zip",
        "for tests",
        "a layer over streams: what it wraps comes after it in the string",
        optionsType=ZipOptions,
        package="tests",
    )
    assert told["anystream"].takes == "what that package says"
    assert told["strict"].takes == "room, seats"
    assert told["postcard"].takes == "stamp"
    assert told["postcard"].role == "a place to listen, for a datagram protocol"
    assert told["postcard"].description == "an endpoint of the package tests"
    assert list(told)[-5:] == ["anystream", "haproxy", "postcard", "strict", "zip"]


def test_oursGoFirst(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that has a name of ours is never found, and not told of."""
    told = installed(monkeypatch, wrappers=[RecordingWrapper("tls", ZipOptions)])
    assert told["tls"].description == "TLS over any stream endpoint"


def test_whatCannotBeDescribed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Is left out, and keeps no other from being told of."""

    class NoOptions:
        """Not stated as they have to be."""

    told = installed(monkeypatch, wrappers=[RecordingWrapper("odd", NoOptions), PLAIN])
    assert "odd" not in told
    assert "plain" in told
