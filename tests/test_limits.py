"""What an operator may limit, and where its value comes from."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from attrs import evolve

from myserv.errors import ConfigurationError
from myserv.events import Offence
from myserv.limits import DEFAULT_LIMITS, Limits, PenaltyLimits, WhenFull, structureLimits
from myserv.options.declare import describe
from myserv.options.structure import structure
from myserv.plugin import Duration, Size


def test_nothingIsSaid() -> None:
    """The defaults are those that the documentation has."""
    assert structureLimits() == structureLimits({}, {}) == DEFAULT_LIMITS == Limits()
    assert DEFAULT_LIMITS.idle == Duration(600)
    assert DEFAULT_LIMITS.maxUnsent == Size(64 * 2**20)
    assert DEFAULT_LIMITS.whenFull is WhenFull.WAIT
    assert DEFAULT_LIMITS.maxConnectionsPerPeer is None


@pytest.mark.parametrize("table", [Limits, PenaltyLimits])
def test_defaultsAreTyped(table: type) -> None:
    """An object that a program makes is the one that a file without keys makes."""
    assert structure(table, {}) == table()
    for spec in describe(table):
        assert not spec.required


def test_theLastWordCounts() -> None:
    """What a plugin recommends, what is said of all services, what is said of one."""
    plugin = {"idle": "1h", "firstByte": "5s", "deny": ["10.0.0.0/8"]}
    general = {"idle": "30m", "maxConnections": 10}
    service = {"maxConnections": "20", "deny": "192.0.2.0/24"}
    assert structureLimits(plugin, general, service) == evolve(
        DEFAULT_LIMITS,
        idle=Duration(1800),
        firstByte=Duration(5),
        maxConnections=20,
        deny=(ip_network("192.0.2.0/24"),),
    )


def test_everythingWrongIsTold() -> None:
    """Each key once, wherever it was said."""
    with pytest.raises(ConfigurationError) as caught:
        structureLimits({"idle": "soon"}, {"idel": "1s", "maxConnections": "-1"})
    assert [str(each.key[0]) for each in caught.value.problems] == [
        "idel",
        "maxConnections",
        "idle",
    ]


def test_everyOffenceHasItsPrice() -> None:
    """In the table's own order of badness."""
    penalties = PenaltyLimits(protocol=Duration(7))
    assert {each: penalties.costOf(each) for each in Offence} == {
        Offence.AUTHENTICATION: 5.0,
        Offence.PROTOCOL: 7.0,
        Offence.HANDSHAKE: 1.0,
        Offence.TIMEOUT: 10.0,
        Offence.ABUSE: 90.0,
    }


@pytest.mark.parametrize("zero", [0, "0", "0s"])
def test_noLimit(zero: object) -> None:
    """However it is written."""
    assert structureLimits({"idle": zero}).idle == Duration(0)
