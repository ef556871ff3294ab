"""Who may come in: networks, users and groups."""

from __future__ import annotations

import grp
import ipaddress
import pwd
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.address import HostnameAddress, UNIXAddress

from myserv.admission.access import Networks
from myserv.admission.reasons import CREDENTIALS, NETWORK
from myserv.errors import ConfigurationError
from tests.admission.kit import Hall, letIn, limitsOf, tryIn

UNIX = UNIXAddress(b"/run/x")


class StrangeAddress:
    """Has a host that is none."""

    host = "somewhere"


def who(uid: int = 4711, gid: int = 4711, *others: int) -> SimpleNamespace:
    """Credentials of a process."""
    return SimpleNamespace(pid=1, uid=uid, gid=gid, groups=(gid, *others))


@pytest.mark.parametrize(
    ("peer", "isLetIn"),
    [
        ("10.1.1.1", True),
        ("10.2.1.1", False),
        ("10.2.3.1", True),
        ("::ffff:10.2.1.1", False),
        ("10.9.9.9", False),
        ("192.0.2.1", False),
        ("2001:db8::1", True),
        ("2001:db8:1::1", False),
        ("fe80::1%eth0", True),
        (StrangeAddress(), False),
        (HostnameAddress(b"example.org", 1), False),
        (None, False),
        (UNIX, True),
    ],
)
def test_theLongestPrefixDecides(peer: Any, isLetIn: bool) -> None:
    """Between allow and deny, whichever comes first; deny where both say the same."""
    admission = Hall().service(
        allow=["10.0.0.0/8", "10.2.3.0/24", "10.9.0.0/16", "2001:db8::/32", "fe80::/10"],
        deny=["10.2.0.0/16", "10.9.0.0/16", "2001:db8:1::/48"],
    )
    assert (tryIn(admission, peer) != NETWORK) == isLetIn
    assert admission.refusals == ({} if isLetIn else {NETWORK: 1})


@pytest.mark.parametrize("peer", ["192.0.2.1", "::1", StrangeAddress(), None, UNIX])
def test_whoIsNotDeniedIsLetInWhereNobodyIsAllowedByName(peer: Any) -> None:
    """A deny alone refuses only those it names."""
    admission = Hall().service(deny=["10.0.0.0/8"])
    letIn(admission, peer)
    assert tryIn(admission, "10.0.0.1") == NETWORK


def test_allOfIPv6IsNoneOfIPv4() -> None:
    """A mapped address counts as IPv4, so ::/0 does not let it in."""
    admission = Hall().service(allow=["::/0"])
    letIn(admission, "2001:db8::1")
    assert tryIn(admission, "::ffff:192.0.2.1") == NETWORK


NETWORKS = st.one_of(
    # Few bits, so that they meet.
    st.builds(
        lambda number, length: ipaddress.ip_network((number << 28, length), strict=False),
        st.integers(0, 15),
        st.integers(0, 4),
    ),
    st.builds(
        lambda number, length: ipaddress.ip_network((number << 124, length), strict=False),
        st.integers(0, 15),
        st.integers(0, 4),
    ),
)


@given(st.lists(NETWORKS), st.lists(NETWORKS), st.integers(0, 15), st.booleans())
def test_networksDecideAsASearchThroughAllOfThemWould(
    allow: Any, deny: Any, number: int, isIPv4: bool
) -> None:
    """The longest match, and among equals the refusal."""
    address = ipaddress.ip_address(number << 28) if isIPv4 else ipaddress.IPv6Address(number << 124)
    matches = [
        (network.prefixlen, isDenied)
        for networks, isDenied in ((allow, 1), (deny, 2))
        for network in networks
        if network.version == address.version and address in network
    ]
    expected = max(matches)[1] == 1 if matches else None
    assert Networks(allow, deny).find[str(address)] is expected


def test_onlyNamedUsersComeInOverAUnixSocket() -> None:
    """By number or name; and those over a network are not asked who they are."""
    me = pwd.getpwuid(0)
    admission = Hall().service(users=[me.pw_name, "4711"])
    assert admission.needsCredentials
    letIn(admission, UNIX, who(uid=0))
    letIn(admission, UNIX, who(uid=4711))
    assert tryIn(admission, UNIX, who(uid=4712)) == CREDENTIALS
    assert tryIn(admission, UNIX) == CREDENTIALS
    assert tryIn(admission, None) == CREDENTIALS
    letIn(admission, "192.0.2.1")
    assert not Hall().service().needsCredentials


def test_membersOfANamedGroupComeIn(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the group of their process, or because they are listed."""
    groups = {
        "staff": grp.struct_group(("staff", "x", 50, ["ann", "gone"])),
        "200": grp.struct_group(("wheel", "x", 200, ["ben"])),
    }
    users = {"ann": 1001, "ben": 1002}

    def user(name: str) -> Any:
        return SimpleNamespace(pw_uid=users[name])

    monkeypatch.setattr(grp, "getgrnam", groups.__getitem__)
    monkeypatch.setattr(grp, "getgrgid", lambda gid: groups[str(gid)])
    monkeypatch.setattr(pwd, "getpwnam", user)
    admission = Hall().service(groups=["staff", "200", "300"])
    for allowed in (who(gid=50), who(uid=1001), who(gid=200), who(uid=1002), who(gid=300)):
        letIn(admission, UNIX, allowed)
    letIn(admission, UNIX, who(1003, 51, 52, 300))
    assert tryIn(admission, UNIX, who(1003, 51, 52)) == CREDENTIALS
    assert tryIn(admission, UNIX, who(uid=1003, gid=51)) == CREDENTIALS
    # Who has become a member since is one when the limits are applied again.
    users["gone"] = 1003
    assert admission.apply(admission.limits) == ()
    letIn(admission, UNIX, who(uid=1003, gid=51))


def test_userThatIsNotThereIsAMistake() -> None:
    """It is said before anything changes, and for all of them at once."""
    hall = Hall()
    with pytest.raises(ConfigurationError) as caught:
        hall.service(users=["no-such-user"], groups=["no-such-group"])
    assert [str(problem) for problem in caught.value.problems] == [
        'users: there is no user "no-such-user"',
        'groups: there is no group "no-such-group"',
    ]
    admission = hall.service(deny=["10.0.0.0/8"])
    before = admission.limits
    with pytest.raises(ConfigurationError):
        admission.apply(limitsOf(users=["no-such-user"]))
    assert admission.limits is before
    assert tryIn(admission, "10.0.0.1") == NETWORK
    letIn(admission, "192.0.2.1")
