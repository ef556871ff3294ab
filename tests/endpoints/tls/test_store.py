"""Certificates that change while they are served."""

from __future__ import annotations

import contextlib
import gc
import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.ocsp import (
    OCSPCertStatus,
    OCSPResponderEncoding,
    OCSPResponseBuilder,
    OCSPResponseStatus,
)
from OpenSSL import SSL

from myserv.endpoints.tls.store import POLL
from myserv.errors import EndpointError
from myserv.events import (
    CertificateExpiring,
    CertificateLoaded,
    CertificateRejected,
    HandshakeFailed,
)
from tests.endpoints.certificates import Issued, authority, intermediate, issue
from tests.endpoints.tls.stage import Stage, certificate, clientCA, clientContext, staged

DAY = 86400.0

SOON = 3 * POLL
"""Until then a change is noticed."""


def write(issued: Issued, file: Path) -> None:
    """Change a file so that it is noticed, however quick the test is."""
    issued.write(file.parent, file.name)
    touch(file)


_times = iter(range(10**9, 2 * 10**9))


def touch(file: Path) -> None:
    """Give a file another time."""
    when = next(_times)
    os.utime(file, (when, when))


def shown(stage: Stage, name: str | None = None) -> str:
    """Whose certificate a client is shown."""
    return stage.client(name).go().shown[0]


def changed(stage: Stage) -> list[Any]:
    """What became known of the certificates since the last time."""
    stage.reactor.advance(SOON)
    kinds = (CertificateLoaded, CertificateRejected)
    return [event for event in stage.observer.take() if isinstance(event, kinds)]


def rejected(stage: Stage) -> list[str]:
    """The same, where nothing is loaded."""
    events = changed(stage)
    assert all(isinstance(event, CertificateRejected) for event in events)
    return [event.reason for event in events]


def test_whatIsServedIsSaid(tmp_path: Path) -> None:
    """At the start, of each certificate."""
    file = certificate(tmp_path, "a.example", "b.example")
    with staged(certs=tmp_path) as stage:
        [event] = stage.events(CertificateLoaded)
        assert event.file == str(file)
        assert event.names == ("a.example", "b.example")
        assert event.notAfter > stage.reactor.seconds()
        assert stage.events(CertificateRejected) == []


@pytest.mark.parametrize("option", ["certs", "cert"])
def test_renewal(option: str, tmp_path: Path) -> None:
    """New connections are shown the new one; those that are open go on."""
    file = tmp_path / "x.pem"
    write(issue("old", "a.example", days=60), file)
    with staged(**{option: tmp_path if option == "certs" else file}) as stage:
        open_ = stage.client().go()
        assert open_.shown == ["old"]
        stage.observer.take()
        write(issue("new", "a.example", days=60), file)
        [event] = changed(stage)
        assert isinstance(event, CertificateLoaded)
        assert shown(stage) == "new"
        assert open_.send(b"still here").received == b"still here"
        assert changed(stage) == []


def test_aNewName(tmp_path: Path) -> None:
    """Is served as soon as its files are there; only it is told of."""
    certificate(tmp_path, "a.example")
    with staged(certs=tmp_path) as stage:
        stage.observer.take()
        assert shown(stage, "b.example") == "a.example"
        live = tmp_path / "b.example"
        issued = issue("b.example", "b.example", days=60)
        live.mkdir()
        (live / "fullchain.pem").write_bytes(issued.certificatePEM)
        # Without its key it is nobody's certificate.
        assert changed(stage) == []
        (live / "privkey.pem").write_bytes(issued.keyPEM)
        [event] = changed(stage)
        assert event.names == ("b.example",)
        assert shown(stage, "b.example") == "b.example"


def test_kubernetes(tmp_path: Path) -> None:
    """The links are swapped, all at once."""

    def version(name: str) -> None:
        directory = tmp_path / f"..{name}"
        directory.mkdir()
        issued = issue(name, "a.example", days=60)
        (directory / "tls.crt").write_bytes(issued.certificatePEM)
        (directory / "tls.key").write_bytes(issued.keyPEM)
        (tmp_path / "..data_tmp").symlink_to(directory.name)
        (tmp_path / "..data_tmp").rename(tmp_path / "..data")

    version("old")
    for name in ("tls.crt", "tls.key"):
        (tmp_path / name).symlink_to(f"..data/{name}")
    with staged(certs=tmp_path) as stage:
        assert shown(stage) == "old"
        version("new")
        shutil.rmtree(tmp_path / "..old")
        changed(stage)
        assert shown(stage) == "new"


def test_aFileThatIsBeingWritten(tmp_path: Path) -> None:
    """Is read when it has stopped changing."""
    file = tmp_path / "x.pem"
    write(issue("old", "a.example", days=60), file)
    new = issue("new", "a.example", days=60)
    whole = new.chainPEM + new.keyPEM
    with staged(cert=file) as stage:
        stage.observer.take()
        for size in range(100, len(whole), 100):
            file.write_bytes(whole[:size])
            touch(file)
            stage.reactor.advance(POLL)
            assert shown(stage) == "old"
        assert stage.events(CertificateRejected) == []
        file.write_bytes(whole)
        changed(stage)
        assert shown(stage) == "new"


def test_aFileThatIsLeftHalfWritten(tmp_path: Path) -> None:
    """Leaves the old one serving, and is told of once; so is the next state of it."""
    file = tmp_path / "x.pem"
    old = issue("old", "a.example", days=60)
    write(old, file)
    with staged(cert=file) as stage:
        stage.observer.take()
        file.write_bytes(old.chainPEM[:-40])
        [reason] = rejected(stage)
        assert reason == (
            f"{file}: a certificate in this file is not whole: it is cut off, or is not PEM"
        )
        stage.reactor.advance(100)
        assert rejected(stage) == []
        file.unlink()
        assert rejected(stage) == [f"{file}: there is no such file"]
        assert shown(stage) == "old"
        write(old, file)
        assert changed(stage) == []
        write(issue("new", "a.example", days=60), file)
        assert len(changed(stage)) == 1
        assert shown(stage) == "new"


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: issue("bad", "b.example", expired=True), "it expired on "),
        (
            lambda: Issued(issue("bad").key, issue("bad", "b.example").certificate),
            "no file here holds the key to the certificate in this file",
        ),
        (
            lambda: issue("bad", "b.example", key=rsa.generate_private_key(65537, 1024)),
            "OpenSSL refuses the certificate",
        ),
        (
            lambda: Issued(
                (good := issue("bad", "b.example", by=intermediate())).key,
                good.certificate,
                (authority().certificate,),
            ),
            "the chain in this file is not in order",
        ),
    ],
)
def test_oneOfManyIsBad(make: Any, reason: str, tmp_path: Path) -> None:
    """It is told of once; its names are served by what was there before."""
    certificate(tmp_path, "a.example")
    bad = certificate(tmp_path, "b.example")
    third = certificate(tmp_path, "c.example")
    with staged(certs=tmp_path) as stage:
        stage.observer.take()
        write(make(), bad)
        [told] = rejected(stage)
        assert told.startswith(f"{bad}: ")
        assert reason in told
        assert shown(stage, "b.example") == "b.example"
        # Another change does not tell of it again.
        write(issue("third", "c.example", days=60), third)
        [event] = changed(stage)
        assert isinstance(event, CertificateLoaded)
        assert shown(stage, "b.example") == "b.example"
        assert shown(stage, "c.example") == "third"
        # To ask is to be told.
        stage.wrapped.reload()
        assert len(changed(stage)) == 4


def test_oneOfManyIsBadAtTheStart(tmp_path: Path) -> None:
    """It is passed over and told of, and the others are served."""
    certificate(tmp_path, "a.example")
    weak = rsa.generate_private_key(65537, 1024)
    issue("weak", "b.example", key=weak).write(tmp_path, "b.pem")
    (tmp_path / "c.pem").write_bytes(b"-----BEGIN CERTIFICATE-----\nno\n")
    with staged(certs=tmp_path) as stage:
        reasons = stage.reasons(CertificateRejected)
        assert [reason.split(":")[0] for reason in reasons] == [
            str(tmp_path / "c.pem"),
            str(tmp_path / "b.pem"),
        ]
        assert shown(stage, "b.example") == "a.example"


def test_whatVanishes(tmp_path: Path) -> None:
    """Serves on, until an operator asks for what is there."""
    certificate(tmp_path, "a.example")
    gone = certificate(tmp_path, "b.example")
    with staged(certs=tmp_path) as stage:
        stage.observer.take()
        gone.unlink()
        assert rejected(stage) == [f"{gone}: there is no such file"]
        assert shown(stage, "b.example") == "b.example"
        stage.wrapped.reload()
        assert shown(stage, "b.example") == "a.example"


def test_namesThatACertificateNoLongerHolds(tmp_path: Path) -> None:
    """Are as its file says, not as they were."""
    certificate(tmp_path, "a.example")
    file = certificate(tmp_path, "b.example", "c.example")
    with staged(certs=tmp_path) as stage:
        write(issue("new", "b.example", days=60), file)
        changed(stage)
        assert shown(stage, "b.example") == "new"
        assert shown(stage, "c.example") == "a.example"


def test_aKeyThatIsNotThere(tmp_path: Path) -> None:
    """Neither another's nor none is the certificate's: which of the two files is told."""
    certificate(tmp_path, "a.example")
    issued = issue("b.example", "b.example", days=60)
    (tmp_path / "b.crt").write_bytes(issued.certificatePEM)
    key = tmp_path / "b.key"
    key.write_bytes(issued.keyPEM)
    told = f"{tmp_path}/b.crt: no file here holds the key to the certificate in this file"
    with staged(certs=tmp_path) as stage:
        stage.observer.take()
        key.write_bytes(issue("other").keyPEM)
        touch(key)
        assert rejected(stage) == [told]
        assert shown(stage, "b.example") == "b.example"
        key.unlink()
        assert rejected(stage) == []
        # What is wrong with another file is another matter.
        (tmp_path / "c.crt").write_bytes(issued.certificatePEM[:-40])
        assert rejected(stage) == [
            f"{tmp_path}/c.crt: a certificate in this file is not whole: it is cut off, or is not PEM"
        ]
        stage.observer.take()
        (tmp_path / "b.crt").write_text("nothing")
        assert rejected(stage) == [
            f"{tmp_path}/b.crt: there is no certificate in this file any more"
        ]
        assert shown(stage, "b.example") == "b.example"


@pytest.mark.parametrize("content", [b"", b"-----BEGIN CERTIFICATE-----\nMIIB"])
def test_theDefaultIsHalfWritten(content: bytes, tmp_path: Path) -> None:
    """A client that names nobody is shown what it was shown before."""
    first = certificate(tmp_path, "a.example")
    other = certificate(tmp_path, "b.example")
    with staged(certs=tmp_path) as stage:
        assert shown(stage) == "a.example"
        first.write_bytes(content)
        touch(first)
        changed(stage)
        assert shown(stage) == "a.example"
        write(issue("new b", "b.example", days=60), other)
        changed(stage)
        assert shown(stage) == "a.example"
        assert shown(stage, "b.example") == "new b"
        stage.wrapped.reload()
        assert shown(stage) == "a.example"
        wait(stage, 1.1)
        assert shown(stage) == "a.example"


def test_theDirectoryVanishes(tmp_path: Path) -> None:
    """And comes back."""
    certs = tmp_path / "certs"
    certificate(certs, "a.example")
    with staged(certs=certs) as stage:
        stage.observer.take()
        certs.rename(tmp_path / "away")
        assert rejected(stage) == [f"{certs}: there is no such directory of certificates"]
        stage.wrapped.reload()
        assert shown(stage) == "a.example"
        certs.mkdir()
        stage.observer.take()
        stage.reactor.advance(SOON)
        stage.observer.take()
        certificate(certs, "new.example", days=20)
        loaded, gone = sorted(changed(stage), key=lambda event: type(event).__name__)
        assert loaded.names == ("new.example",)
        assert gone.reason == f"{certs}/a.example.pem: there is no such file"
        assert shown(stage, "new.example") == "new.example"
        assert shown(stage) == shown(stage, "a.example") == "a.example"
        stage.wrapped.reload()
        assert shown(stage) == shown(stage, "a.example") == "new.example"


def test_aDirectoryOfADirectoryVanishes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two looks at it."""
    certificate(tmp_path, "a.example")
    (tmp_path / "b").mkdir()
    scandir = os.scandir

    def vanishing(path: Path) -> Any:
        if path == tmp_path / "b":
            raise FileNotFoundError(2, "No such file or directory", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", vanishing)
    with staged(certs=tmp_path) as stage:
        stage.reactor.advance(SOON)
        assert shown(stage) == "a.example"


def test_reload(tmp_path: Path) -> None:
    """Reads at once, and says what is served, changed or not."""
    file = certificate(tmp_path)
    with staged(cert=file) as stage:
        stage.observer.take()
        stage.wrapped.reload()
        assert len(stage.events(CertificateLoaded)) == 1
        write(issue("new", "a.example", days=60), file)
        stage.wrapped.reload()
        assert shown(stage) == "new"


def test_openingAgain(tmp_path: Path) -> None:
    """A listener that was closed for a while serves what is there then."""
    file = certificate(tmp_path)
    with staged(cert=file) as stage:
        stage.listener.stop()
        stage.reactor.advance(1)
        assert stage.reactor.getDelayedCalls() == []
        write(issue("new", "a.example", days=60), file)
        stage.reactor.advance(1000)
        stage.listener.start()
        stage.reactor.settle()
        assert shown(stage) == "new"


def test_stoppingBeforeStarting(tmp_path: Path) -> None:
    """An endpoint that never opened has nothing to stop."""
    with staged(cert=certificate(tmp_path)) as stage:
        stage.wrapped._store.stop()
        stage.wrapped._store.stop()
        stage.wrapped._store.start()


def wait(stage: Stage, days: float) -> None:
    """Let days go by in one look."""
    stage.reactor.rightNow += days * DAY
    stage.reactor.advance(POLL)


def test_expiry(tmp_path: Path) -> None:
    """Is told of once a day, from two weeks before it, and after it."""
    file = certificate(tmp_path, days=60)
    with staged(cert=file) as stage:
        wait(stage, 45.9)
        assert stage.events(CertificateExpiring) == []
        wait(stage, 0.2)
        wait(stage, 0.9)
        [event] = stage.events(CertificateExpiring)
        assert event.file == str(file)
        assert 13 * DAY < event.left < 14 * DAY
        wait(stage, 0.2)
        assert len(stage.events(CertificateExpiring)) == 2
        stage.observer.take()
        wait(stage, 20)
        [event] = stage.events(CertificateExpiring)
        assert event.left < 0
        # It is served all the same.
        assert shown(stage) == "a.example"


def test_expiryOfWhatNeverLastsLong(tmp_path: Path) -> None:
    """Is told of in the last third of its life."""
    issue("short", "a.example", days=4).write(tmp_path, "x.pem")
    with staged(certs=tmp_path) as stage:
        wait(stage, 1.9)
        assert stage.events(CertificateExpiring) == []
        wait(stage, 0.2)
        assert len(stage.events(CertificateExpiring)) == 1


def test_theKeyOfTicketsDoesNotLiveForever(tmp_path: Path) -> None:
    """A session of yesterday cannot be resumed; nobody hears of it."""
    certificate(tmp_path, "a.example")
    certificate(tmp_path, "b.example")
    with staged(certs=tmp_path) as stage:
        before = stage.wrapped._store.current
        stage.observer.take()
        wait(stage, 0.99)
        assert stage.wrapped._store.current is before
        wait(stage, 0.02)
        assert stage.wrapped._store.current is not before
        assert stage.observer.take() == []
        assert shown(stage) == "a.example"
        assert shown(stage, "b.example") == "b.example"


def test_rebuildingWithoutTheClientsAuthority(tmp_path: Path) -> None:
    """Changes nothing; that it is gone was told when it went."""
    authorities = clientCA(tmp_path)
    with staged(cert=certificate(tmp_path), clientCA=authorities) as stage:
        before = stage.wrapped._store.current
        stage.observer.take()
        authorities.unlink()
        assert rejected(stage) == [f"{authorities}: there is no such file"]
        wait(stage, 1.1)
        assert stage.wrapped._store.current is before


def test_theClientsAuthorityChanges(tmp_path: Path) -> None:
    """As a certificate does."""
    authorities = clientCA(tmp_path)
    with staged(cert=certificate(tmp_path), clientCA=authorities) as stage:
        [_, told] = stage.events(CertificateLoaded)
        assert (told.file, told.names) == (str(authorities), ("CN=A root",))
        other = issue("Another root", isAuthority=True)
        authorities.write_bytes(
            # What stands there beside is nobody's certificate.
            other.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
            + other.certificatePEM
        )
        stage.observer.take()
        [told] = changed(stage)
        assert (told.file, told.names) == (str(authorities), ("CN=Another root",))
        assert told.notAfter == other.certificate.not_valid_after_utc.timestamp()
        touch(authorities)
        assert changed(stage) == []
        stage.wrapped.reload()
        assert len(changed(stage)) == 2
        client = clientContext(issue("new", by=other), version=SSL.TLS1_2_VERSION)
        assert stage.client(context=client).go().isOpen
        client = clientContext(issue("old", by=authority()), version=SSL.TLS1_2_VERSION)
        assert not stage.client(context=client).go().isOpen
        assert len(stage.events(HandshakeFailed)) == 1


def response(issued: Issued, hours: float) -> bytes:
    """What the authority says of a certificate."""
    now = datetime.now(UTC)
    builder = OCSPResponseBuilder().add_response(
        cert=issued.certificate,
        issuer=authority().certificate,
        algorithm=SHA256(),
        cert_status=OCSPCertStatus.GOOD,
        this_update=now,
        next_update=now + timedelta(hours=hours),
        revocation_time=None,
        revocation_reason=None,
    )
    builder = builder.responder_id(OCSPResponderEncoding.HASH, authority().certificate)
    key: Any = authority().key
    return builder.sign(key, SHA256()).public_bytes(Encoding.DER)


@pytest.mark.parametrize("content", [b"no response", response(issue("other", by=authority()), 1)])
@pytest.mark.parametrize("option", ["certs", "cert", "ocsp"])
def test_stapling(option: str, content: bytes, tmp_path: Path) -> None:
    """A response beside the certificate, or where ocsp= says, is sent to who asks."""
    issued = issue("a.example", "a.example", by=authority())
    file = issued.write(tmp_path, "a.example.pem")
    beside = tmp_path / ("a.example.ocsp" if option != "ocsp" else "elsewhere")
    first, second = response(issued, 1), response(issued, 2)
    beside.write_bytes(first)
    options: dict[str, Any] = {"certs": tmp_path} if option == "certs" else {"cert": file}
    if option == "ocsp":
        options["ocsp"] = beside
    with staged(**options) as stage:
        assert stapled(stage) == [first]
        beside.write_bytes(second)
        touch(beside)
        stage.reactor.advance(SOON)
        assert stapled(stage) == [second]
        stage.observer.take()
        beside.write_bytes(content)
        reasons = [
            event.reason for event in changed(stage) if isinstance(event, CertificateRejected)
        ]
        assert reasons == [
            f"{beside}: there is no OCSP response, in DER, to the certificate in this file"
        ]
        # Of a directory the certificate is served without it.
        assert stapled(stage) == [b"" if option == "certs" else second]


def test_aResponseThatIsARefusal(tmp_path: Path) -> None:
    """Is not sent."""
    file = certificate(tmp_path)
    refusal = OCSPResponseBuilder.build_unsuccessful(OCSPResponseStatus.TRY_LATER)
    (tmp_path / "r").write_bytes(refusal.public_bytes(Encoding.DER))
    with (
        pytest.raises(EndpointError, match="there is no OCSP response"),
        staged(cert=file, ocsp=tmp_path / "r"),
    ):
        pass


def stapled(stage: Stage) -> list[bytes]:
    """What a client is sent."""
    got: list[bytes] = []

    def response(connection: SSL.Connection, data: bytes, extra: Any) -> bool:
        got.append(data)
        return True

    context = clientContext()
    context.set_ocsp_client_callback(response)
    client = stage.client("a.example", context=context)
    client.ssl.request_ocsp()
    assert client.go().isOpen
    return got


def test_certificatesThatAreNoLongerInForce(tmp_path: Path) -> None:
    """Choose nothing any more: a handshake that needs them keeps them."""
    certificate(tmp_path, "a.example")
    certificate(tmp_path, "b.example")
    with staged(certs=tmp_path) as stage:
        server = SSL.Connection(stage.wrapped._store.current.default, None)
        server.set_accept_state()
        stage.wrapped.reload()
        gc.collect()
        client = SSL.Connection(clientContext(), None)
        client.set_connect_state()
        client.set_tlsext_host_name(b"b.example")
        for each, other in ((client, server), (server, client), (client, server)):
            with contextlib.suppress(SSL.WantReadError):
                each.do_handshake()
            other.bio_write(each.bio_read(65536))
        chain = client.get_peer_cert_chain(as_cryptography=True)
        assert chain is not None
        assert chain[0].subject.rfc4514_string() == "CN=a.example"


def test_manyCertificates(tmp_path: Path) -> None:
    """Are told apart by name, and read in a time that does not square with them."""
    names = [f"n{number}.example" for number in range(100)]
    for name in names:
        certificate(tmp_path, name)
    with staged(certs=tmp_path) as stage:
        assert shown(stage, "n73.example") == "n73.example"
        assert len(stage.wrapped._store.current.identities) == 100
