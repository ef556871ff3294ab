"""C{tls:}: which certificate a client is shown, and what is wrong with a file."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa, x25519
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtensionOID
from OpenSSL import SSL

from myserv.endpoints.parse import Layer, parseEndpoint
from myserv.errors import EndpointError
from myserv.events import HandshakeFailed
from tests.endpoints.certificates import Issued, authority, intermediate, issue
from tests.endpoints.tls.stage import certificate, staged


@contextmanager
def serving(**options: Any) -> Iterator[Callable[..., list[x509.Certificate]]]:
    """The chain that a client is shown who asks for a name."""
    with staged(**options) as stage:

        def shown(name: str | None = None) -> list[x509.Certificate]:
            client = stage.client(name).go()
            chain = client.ssl.get_peer_cert_chain(as_cryptography=True)
            assert chain is not None
            return list(chain)

        yield shown


def shownOf(name: str | None = None, **options: Any) -> list[x509.Certificate]:
    """The chain that a client is shown of a server that shows it only once."""
    with serving(**options) as shown:
        return shown(name)


def refused(**options: Any) -> str:
    """What an operator is told of files that cannot be served."""
    with pytest.raises(EndpointError) as caught, staged(**options):
        pass
    return str(caught.value)


# --- which is shown -----------------------------------------------------------


def test_theNameChooses(tmp_path: Path) -> None:
    """Each certificate serves the names that it holds, in whatever case; the first, all others."""
    one = issue("1", "one.example", "Also.Example")
    two = issue("2", "two.example")
    three = issue("3", "*.three.example")
    for index, each in enumerate((one, two, three)):
        each.write(tmp_path, f"{index}.pem")
    expectations: dict[str, Issued] = {
        "one.example": one,
        "also.example": one,
        "ALSO.EXAMPLE": one,
        "two.example": two,
        "Two.Example": two,
        "www.three.example": three,
        # A wildcard stands for one label, and not for none.
        "three.example": one,
        "a.b.three.example": one,
        "unknown.example": one,
        "localhost": one,
    }
    with serving(certs=tmp_path) as shown:
        for name, expected in expectations.items():
            assert shown(name) == [expected.certificate], name
        assert shown() == [one.certificate]


def test_theWholeNameIsBeforeTheWildcard(tmp_path: Path) -> None:
    """The certificate that says exactly this name is the one meant."""
    wild, exact = issue("wild", "*.example.org"), issue("exact", "www.example.org")
    wild.write(tmp_path, "a.pem")
    exact.write(tmp_path, "b.pem")
    with serving(certs=tmp_path) as shown:
        assert shown("www.example.org") == [exact.certificate]
        assert shown("ftp.example.org") == [wild.certificate]


def test_theOneThatLasts(tmp_path: Path) -> None:
    """Of two certificates for a name, the one that lasts longer is shown; without a name, too."""
    short, long = issue("1", "example.org", days=30), issue("2", "example.org", days=60)
    other = issue("3", "example.net", days=90)
    short.write(tmp_path, "a.pem")
    long.write(tmp_path, "b.pem")
    other.write(tmp_path, "c.pem")
    with serving(certs=tmp_path) as shown:
        assert shown("example.org") == [long.certificate]
        assert shown() == [long.certificate]
        assert shown("example.net") == [other.certificate]


def test_theDefaultName(tmp_path: Path) -> None:
    """Is whose certificate is shown to clients that ask for none, a wildcard's too."""
    one, two = issue("1", "one.example"), issue("2", "*.two.example")
    one.write(tmp_path, "a.pem")
    two.write(tmp_path, "b.pem")
    assert shownOf(certs=tmp_path) == [one.certificate]
    assert shownOf(certs=tmp_path, defaultName="WWW.two.example") == [two.certificate]
    assert refused(certs=tmp_path, defaultName="three.example") == (
        'no certificate here holds the default name "three.example"'
    )


def test_unknownNames(tmp_path: Path) -> None:
    """May be refused: the client is told why, and the log has one line."""
    certificate(tmp_path, "one.example")
    certificate(tmp_path, "two.example")
    with staged(certs=tmp_path, unknownName="refuse") as stage:
        for name in ("one.example", "two.example", None):
            assert stage.client(name).go().isOpen
        for version in (SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION):
            client = stage.client("three.example", version=version).go()
            assert "unrecognized name" in str(client.error)
        reasons = stage.reasons(HandshakeFailed)
        assert reasons == ["it asked for a name that is not here"] * 2
        assert stage.client("two.example").go().isOpen


def test_aCertificateWithoutNames(tmp_path: Path) -> None:
    """Its common name is nothing to a client of today, but it can be the first."""
    plain, named = issue("plain.example"), issue("named", "named.example")
    plain.write(tmp_path, "a.pem")
    named.write(tmp_path, "b.pem")
    with serving(certs=tmp_path) as shown:
        assert shown("plain.example") == [plain.certificate]
        assert shown("named.example") == [named.certificate]


def test_anExpiredCertificateIsShown(tmp_path: Path) -> None:
    """If there is no other for a name: what to make of it is the client's to decide."""
    expired = issue("x", "example.org", expired=True)
    assert shownOf("example.org", cert=expired.write(tmp_path)) == [expired.certificate]
    good = issue("y", "example.org", "example.net")
    good.write(tmp_path, "a.pem")
    other = issue("z", "example.com", expired=True)
    other.write(tmp_path, "z.pem")
    with serving(certs=tmp_path) as shown:
        assert shown("example.org") == [good.certificate]
        assert shown("example.com") == [other.certificate]


def test_theChainIsSent(tmp_path: Path) -> None:
    """What stands behind the certificate in its file, in that order."""
    leaf = issue("leaf", "example.org", by=intermediate())
    chain = [leaf.certificate, intermediate().certificate]
    file = leaf.write(tmp_path)
    assert shownOf(certs=tmp_path) == chain
    assert shownOf(cert=file) == chain
    issue("another", "example.net").write(tmp_path, "a.pem")
    assert shownOf("example.org", certs=tmp_path) == chain


def test_certbotsDirectories(tmp_path: Path) -> None:
    """Of two files with one certificate, the one that has the chain is served."""
    for name in ("example.net", "example.org"):
        leaf = issue(name, name, by=intermediate())
        live, archive = tmp_path / "live" / name, tmp_path / "elsewhere" / name
        live.mkdir(parents=True)
        archive.mkdir(parents=True)
        for file, content in {
            "cert.pem": leaf.certificatePEM,
            "chain.pem": intermediate().certificatePEM,
            "fullchain.pem": leaf.chainPEM,
            "privkey.pem": leaf.keyPEM,
        }.items():
            (archive / file).write_bytes(content)
            (live / file).symlink_to(archive / file)
    (tmp_path / "live" / "README").write_text("what this is")
    for name in ("example.net", "example.org"):
        chain = shownOf(name, certs=tmp_path / "live")
        assert [each.subject.rfc4514_string() for each in chain] == [
            f"CN={name}",
            "CN=An intermediate",
        ]


def test_whatADirectoryMayHoldBeside(tmp_path: Path) -> None:
    """Keys without a certificate, certificates without a key, and other files."""
    served = issue("served", "example.org")
    served.write(tmp_path, "deep/z.pem")
    (tmp_path / "a-key.pem").write_bytes(issue("x").keyPEM)
    (tmp_path / "b-certificate.pem").write_bytes(authority().certificatePEM)
    (tmp_path / "empty.pem").touch()
    (tmp_path / "text.pem").write_text("-----BEGIN NOTHING-----\n")
    (tmp_path / "broken.txt").write_text("-----BEGIN CERTIFICATE-----\n")
    (tmp_path / "directory.pem").mkdir()
    (tmp_path / "gone.pem").symlink_to(tmp_path / "nowhere")
    assert shownOf(certs=tmp_path) == [served.certificate]


@pytest.mark.parametrize(
    "content",
    [
        lambda each: each.keyPEM + each.certificatePEM,
        lambda each: b"Bag Attributes\n\n" + each.certificatePEM + b"\ntext\n" + each.keyPEM,
        lambda each: (each.certificatePEM + each.keyPEM).replace(b"\n", b"\r\n"),
        lambda each: (each.certificatePEM + each.keyPEM).rstrip(),
    ],
)
def test_howAFileMayBeWritten(content: Any, tmp_path: Path) -> None:
    """In any order, with text around, from Windows, without a last line end."""
    issued = issue("x", "example.org")
    (tmp_path / "x.pem").write_bytes(content(issued))
    assert shownOf(certs=tmp_path) == [issued.certificate]
    assert shownOf(cert=tmp_path / "x.pem") == [issued.certificate]


def test_aKeyInAFileOfItsOwn(tmp_path: Path) -> None:
    """Beside the certificate, or wherever key= says."""
    issued = issue("x", "example.org")
    (tmp_path / "x.pem").write_bytes(issued.certificatePEM)
    (tmp_path / "key.pem").write_bytes(issued.keyPEM)
    assert shownOf(certs=tmp_path) == [issued.certificate]
    assert shownOf(cert=tmp_path / "x.pem", key=tmp_path / "key.pem") == [issued.certificate]


def test_filesAreReadEachTime(tmp_path: Path) -> None:
    """A listener that is opened again shows what the files hold then."""
    old, new = issue("old"), issue("new")
    file = old.write(tmp_path)
    layer = parseEndpoint(f"tls:cert={file}:tcp:443").layers[0]
    assert isinstance(layer, Layer)
    assert shownOf(cert=layer.options.cert) == [old.certificate]
    new.write(tmp_path)
    assert shownOf(cert=layer.options.cert) == [new.certificate]


# --- what is wrong ------------------------------------------------------------


def broken(issued: Issued) -> bytes:
    """A certificate that lost its middle."""
    lines = issued.certificatePEM.splitlines(keepends=True)
    return b"".join(lines[:2] + lines[-2:])


def test_noDirectory(tmp_path: Path) -> None:
    """It is missing, a file, or empty of certificates."""
    told = f"{tmp_path}/x: there is no such directory of certificates"
    assert refused(certs=tmp_path / "x") == told
    (tmp_path / "x").touch()
    assert refused(certs=tmp_path / "x") == told
    told = f"{tmp_path}: no file here holds a certificate that has a key"
    assert refused(certs=tmp_path) == told
    (tmp_path / "a.pem").write_bytes(issue("x").certificatePEM)
    (tmp_path / "b.pem").write_bytes(issue("y").keyPEM)
    assert refused(certs=tmp_path) == told


def test_aDirectoryThatMayNotBeRead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Says so, rather than that it is not there."""

    def deny(path: Path) -> Any:
        raise PermissionError(13, "Permission denied", str(path))

    # The tests may run as root, who may read everything.
    monkeypatch.setattr(os, "scandir", deny)
    assert refused(certs=tmp_path) == f"{tmp_path}: Permission denied"


def test_noFile(tmp_path: Path) -> None:
    """Of certificate or key."""
    missing = tmp_path / "x.pem"
    assert refused(cert=missing) == f"{missing}: there is no such file"
    assert refused(cert=tmp_path) == f"{tmp_path}: is a directory, not a file"
    file = issue("x").write(tmp_path)
    assert refused(cert=file, key=missing) == f"{missing}: there is no such file"


def test_filesWithoutWhatIsSought(tmp_path: Path) -> None:
    """A file that has no certificate, or no key."""
    issued = issue("x")
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    certificate.write_bytes(issued.certificatePEM)
    key.write_bytes(issued.keyPEM)
    assert refused(cert=key) == f"{key}: there is no certificate in this file"
    assert refused(cert=certificate) == (
        f"{certificate}: there is no private key in this file: "
        "name the file that has it with key=FILE"
    )
    empty = tmp_path / "empty.pem"
    empty.touch()
    assert refused(cert=certificate, key=empty) == f"{empty}: there is no private key in this file"


def test_aKeyOfAnotherCertificate(tmp_path: Path) -> None:
    """Is named, and so is the certificate."""
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    certificate.write_bytes(issue("x").certificatePEM)
    key.write_bytes(issue("y").keyPEM)
    assert refused(cert=certificate, key=key) == (
        f"{key}: this key is not that of the certificate in {certificate}"
    )


@pytest.mark.parametrize("option", ["certs", "cert"])
def test_brokenFiles(option: str, tmp_path: Path) -> None:
    """Name the file and what is wrong with it, wherever they were found."""
    issued = issue("x")
    file = tmp_path / "x.pem"
    where = {option: file if option == "cert" else tmp_path}
    file.write_bytes(broken(issued) + issued.keyPEM)
    assert refused(**where) == f"{file}: a certificate in this file is broken"
    whole = "is not whole: it is cut off, or is not PEM"
    file.write_bytes(issued.certificatePEM[:-40])
    assert refused(**where) == f"{file}: a certificate in this file {whole}"
    file.write_bytes(issued.certificatePEM + issued.keyPEM[:60] + b"\n-----END PRIVATE KEY-----\n")
    assert refused(**where) == f"{file}: a key in this file is broken"
    file.write_bytes(issued.certificatePEM + issued.keyPEM[:-40])
    assert refused(**where) == f"{file}: a key in this file {whole}"
    file.write_bytes(issued.certificatePEM + issued.encryptedKeyPEM)
    assert refused(**where) == (
        f"{file}: the key in this file is encrypted, and there is nobody to ask for its password"
    )


P256 = bytes.fromhex("2a8648ce3d030107")
ANOTHER_CURVE = P256[:-1] + b"\6"
"""Both as DER writes them; the second, prime239v3, is nobody's any more."""


@pytest.mark.parametrize("option", ["certs", "cert"])
def test_keysThatNobodyCanUse(option: str, tmp_path: Path) -> None:
    """Certificates and keys on a curve that the library does not know."""
    issued = issue("x", "example.org")
    der = issued.certificate.public_bytes(Encoding.DER)
    certificate = x509.load_der_x509_certificate(der.replace(P256, ANOTHER_CURVE))
    file = Issued(issued.key, certificate).write(tmp_path)
    where = {option: file if option == "cert" else tmp_path}
    assert refused(**where).startswith(f"{file}: the certificate in this file is broken: Curve ")
    der = issued.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    key = base64.encodebytes(der.replace(P256, ANOTHER_CURVE))
    file.write_bytes(
        issued.certificatePEM
        + b"-----BEGIN PRIVATE KEY-----\n"
        + key
        + b"-----END PRIVATE KEY-----\n"
    )
    assert refused(**where).startswith(f"{file}: a key in this file cannot be used: ")


NONSENSE = x509.UnrecognizedExtension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, b"nonsense")


@pytest.mark.parametrize("times", [1, 2])
def test_namesThatCannotBeRead(times: int, tmp_path: Path) -> None:
    """A certificate whose names are nonsense, or there twice."""
    template = issue("x").certificate
    key = generate_private_key(SECP256R1())
    certificate = x509.CertificateBuilder(
        issuer_name=template.subject,
        subject_name=template.subject,
        public_key=key.public_key(),
        serial_number=1,
        not_valid_before=template.not_valid_before_utc.replace(tzinfo=None),
        not_valid_after=template.not_valid_after_utc.replace(tzinfo=None),
        # add_extension() takes none twice.
        extensions=[x509.Extension(NONSENSE.oid, False, NONSENSE)] * times,
    ).sign(key, SHA256())
    file = Issued(key, certificate).write(tmp_path)
    assert refused(cert=file).startswith(f"{file}: the certificate in this file is broken: ")


def test_aCertificateThatTLSCannotUse(tmp_path: Path) -> None:
    """Its key agrees on secrets, and signs nothing."""
    key: Any = x25519.X25519PrivateKey.generate()
    file = issue("x", by=authority(), key=key).write(tmp_path)
    assert refused(cert=file) == (
        f"{file}: OpenSSL refuses the certificate in this file: unknown certificate type"
    )


def test_aKeyThatIsTooShort(tmp_path: Path) -> None:
    """OpenSSL has an opinion of that, which is told before the first client comes."""
    file = issue("x", key=rsa.generate_private_key(65537, 1024)).write(tmp_path)
    assert refused(cert=file) == (
        f"{file}: OpenSSL refuses the certificate in this file: ee key too small"
    )


@pytest.mark.parametrize("size", [1024, 2048])
def test_anRSAKeyThatIsBroken(size: int, tmp_path: Path) -> None:
    """It belongs to the certificate, and does not sign as it should."""
    key = rsa.generate_private_key(65537, size)
    good = key.private_numbers()
    bad: Any = rsa.RSAPrivateNumbers(
        p=good.p,
        q=good.q,
        d=good.d ^ 0x50,
        dmp1=good.dmp1 ^ 0x50,
        dmq1=good.dmq1,
        iqmp=good.iqmp,
        public_numbers=good.public_numbers,
    ).private_key(unsafe_skip_rsa_key_validation=True)
    file = Issued(bad, issue("x", "example.org", key=key).certificate).write(tmp_path)
    assert refused(cert=file) == f"{file}: the key to this certificate is broken"
    issue("y", key=key).write(tmp_path)
    if size == 2048:
        assert len(shownOf(certs=tmp_path)) == 1


def test_aKeyThatSignsNothing(tmp_path: Path) -> None:
    """A key of a kind that has no certificate is any other key."""
    file = issue("x").write(tmp_path)
    other = tmp_path / "other.pem"
    other.write_bytes(
        x25519.X25519PrivateKey.generate().private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
        )
    )
    assert refused(cert=file, key=other) == (
        f"{other}: this key is not that of the certificate in {file}"
    )
    assert len(shownOf(certs=tmp_path)) == 1
