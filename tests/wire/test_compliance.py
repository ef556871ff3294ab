"""What an outside scanner says of our TLS."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.endpoints.certificates import authority, issue
from tests.wire.packages import Environment
from tests.wire.processes import Processes, freePort


@pytest.fixture(scope="module")
def scanner(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment of its own for sslyze, which wants an older cryptography."""
    environment = Environment.make(tmp_path_factory.mktemp("scanner") / "env")
    environment.run("pip", "install", "--quiet", "sslyze>=6.3.1")
    return environment


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    """Start processes; none outlives the test."""
    with Processes(tmp_path) as started:
        yield started


@pytest.mark.parametrize("profile", ["intermediate", "modern"])
def test_mozillasRecommendations(
    scanner: Environment, processes: Processes, tmp_path: Path, profile: str
) -> None:
    """Sslyze finds each profile to be what Mozilla means by its name."""
    (tmp_path / "certs").mkdir()
    issue("localhost", "localhost", by=authority(), days=80).write(tmp_path / "certs")
    (tmp_path / "ca.pem").write_bytes(authority().certificatePEM)
    port = freePort()
    endpoint = f"tls:certs=certs:profile={profile}:tcp:{port}:interface=127.0.0.1"
    words = ("twistd", "--pidfile=", "-n", "myserv", "echo", "--listen", endpoint)
    server = processes.start(*words).serving()
    said = scanner.run(
        "sslyze",
        f"--mozilla_config={profile}",
        "--certinfo_ca_file",
        tmp_path / "ca.pem",
        f"localhost:{port}",
    ).stdout
    assert f"localhost:{port}: OK - Compliant." in said, said
    assert "VULNERABLE" not in said
    assert "Traceback" not in server.stop().output
