"""
What has to be made before anything is measured, and where it is put.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from attrs import frozen

from bench.errors import BenchError
from bench.roster import Peer, Service, program

HERE: Final = Path(__file__).parent


def missingTLS() -> str | None:
    """
    Say why TLS cannot be measured here, if so.
    """
    if shutil.which("openssl") is None:
        return "there is no openssl on this machine"
    if not Path("/usr/include/openssl/ssl.h").exists():
        return "OpenSSL's headers are not installed (libssl-dev)"
    return None


@frozen
class Workshop:
    """
    A directory for the load generator and for what peers are built into.
    """

    directory: Path

    @property
    def load(self) -> str:
        """
        The load generator.
        """
        return str(self.directory / "load")

    def start(self, peer: Peer, service: Service, port: int) -> list[str]:
        """
        Say what starts a peer; its configuration is written where it has one.
        """
        config = peer.configs.get(service)
        path = self.directory / f"{port}.toml"
        if config is not None:
            filled = config.replace("<port>", str(port)).replace("<build>", str(self.directory))
            path.write_text(filled, encoding="utf-8")
        return self._fillIn(peer.commands[service], port=port, config=path)

    def _fillIn(self, words: tuple[str, ...], **others: object) -> list[str]:
        places = {
            "peers": HERE / "peers",
            "build": self.directory,
            "bin": Path(sys.executable).parent,
            "python": sys.executable,
            **others,
        }
        return [word.format_map(places) for word in words]

    def makeLoad(self) -> None:
        """
        Compile the load generator.

        Raises:
            BenchError: It cannot be compiled here.
        """
        missing = program("cc")()
        if missing:
            raise BenchError(f"the load generator is a C program: {missing}")
        compile_ = ["cc", "-O2", "-std=c11", "-o", self.load, str(HERE / "load.c")]
        if not missingTLS():
            compile_ += ["-DWITH_TLS", "-lssl", "-lcrypto"]
            self._makeCertificate()
        self._run(compile_)

    def _makeCertificate(self) -> None:
        key, certificate = self.directory / "key.pem", self.directory / "cert.pem"
        self._run(
            [
                *("openssl", "req", "-x509", "-nodes", "-newkey", "ec"),
                *("-pkeyopt", "ec_paramgen_curve:P-256", "-subj", "/CN=localhost"),
                *("-addext", "subjectAltName=DNS:localhost", "-days", "90"),
                *("-keyout", str(key), "-out", str(certificate)),
            ]
        )
        both = certificate.read_bytes() + key.read_bytes()
        (self.directory / "tls.pem").write_bytes(both)

    def makePeer(self, peer: Peer) -> None:
        """
        Build a peer, if it has to be.

        Raises:
            BenchError: It cannot be built here.
        """
        if peer.build:
            self._run(self._fillIn(peer.build))

    def _run(self, command: list[str]) -> None:
        done = subprocess.run(
            command, cwd=self.directory, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise BenchError(f"{' '.join(command)} failed:\n{done.stderr.strip()}")
