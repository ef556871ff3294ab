"""
Who may know whom: the contracts hold, and each of them can fail.

The contracts are import-linter's, in pyproject.toml.  A contract that no
violation breaks protects nothing, so every one of them is shown a copy of the
package with a violation planted in it.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from attrs import frozen

ROOT = Path(__file__).parent.parent
LINT_IMPORTS = Path(sys.executable).parent / "lint-imports"


@frozen
class Violation:
    """
    An import that a contract forbids.

    @ivar contract: The id of the contract.
    @ivar importer: The module that is made to import, made too if there is none.
    @ivar statement: What it is made to say.
    @ivar imported: Modules to make if there are none, so that there is
        something to import.
    @ivar said: What the report has to name.
    """

    contract: str
    importer: str
    statement: str
    said: str
    imported: tuple[str, ...] = ()


VIOLATIONS = [
    Violation("rooms", "events", "import myserv.plugin", "myserv.events -> myserv.plugin"),
    Violation("rooms", "errors", "import myserv.events", "myserv.errors -> myserv.events"),
    Violation(
        "rooms",
        "endpoints.planted",
        "import myserv.server.planted",
        "myserv.endpoints.planted -> myserv.server.planted",
        imported=("server.planted",),
    ),
    Violation(
        "rooms",
        "config.planted",
        "def late(): from myserv.observe import planted",
        "myserv.config.planted -> myserv.observe.planted",
        imported=("observe.planted",),
    ),
    Violation(
        "rooms",
        "server.planted",
        "import myserv.testing.planted",
        "myserv.server.planted -> myserv.testing.planted",
        imported=("testing.planted",),
    ),
    Violation(
        "rooms",
        "reactor.planted",
        "import myserv.errors",
        "myserv.reactor.planted -> myserv.errors",
    ),
    Violation("rooms", "attic", "", "myserv.attic"),
    Violation(
        "built-ins",
        "protocols.planted.protocol",
        "import myserv.options.values",
        "myserv.protocols.planted.protocol -> myserv.options.values",
    ),
    Violation(
        "built-ins",
        "protocols.planted.plugin",
        "import myserv.server.planted",
        "myserv.protocols.planted.plugin -> myserv.server.planted",
        imported=("server.planted",),
    ),
    Violation(
        "independence",
        "protocols.planted.protocol",
        "import myserv.protocols.other.codec",
        "myserv.protocols.planted.protocol -> myserv.protocols.other.codec",
        imported=("protocols.other.codec",),
    ),
    Violation(
        "codecs",
        "protocols.planted.codec",
        "from twisted.internet.defer import Deferred",
        "myserv.protocols.planted.codec -> twisted",
    ),
    Violation(
        "codecs",
        "protocols.planted.codec",
        "import time",
        "myserv.protocols.planted.codec -> time",
    ),
    Violation(
        "codecs",
        "protocols.planted.codec",
        "import myserv.plugin",
        "myserv.plugin -> twisted",
    ),
    Violation(
        "reactor",
        "server.planted",
        "import myserv.reactor.core",
        "myserv.server.planted -> myserv.reactor.core",
    ),
    Violation(
        "reactor",
        "server.planted",
        "import myserv.reactor.batches",
        "myserv.server.planted -> myserv.reactor.batches",
    ),
    Violation(
        "reactor",
        "endpoints.receiving",
        "import myserv.reactor.stream",
        "myserv.endpoints.receiving -> myserv.reactor.stream",
    ),
    Violation(
        "rooms",
        "admission.planted",
        "import myserv.config.planted",
        "myserv.admission.planted -> myserv.config.planted",
        imported=("config.planted",),
    ),
    Violation(
        "plugins",
        "server.planted",
        "import myserv.protocols.planted.plugin",
        "myserv.server.planted -> myserv.protocols.planted.plugin",
        imported=("protocols.planted.plugin",),
    ),
]


def lintImports(directory: Path, *contracts: str) -> subprocess.CompletedProcess[str]:
    """Check the package in a directory, all contracts or those given by id."""
    command = [
        str(LINT_IMPORTS),
        "--no-logo",
        "--no-cache",
        "--config",
        str(ROOT / "pyproject.toml"),
    ]
    for contract in contracts:
        command += ["--contract", contract]
    return subprocess.run(
        command,
        cwd=directory,
        # It breaks long lines, and the package has to be the one in the directory.
        env={"COLUMNS": "200", "PYTHONPATH": str(directory), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def makeModule(package: Path, name: str) -> Path:
    """Find a module's file, or make it and the packages around it."""
    *rooms, module = name.split(".")
    folder = package
    for room in rooms:
        folder /= room
        folder.mkdir(exist_ok=True)
        (folder / "__init__.py").touch()
    file = folder / f"{module}.py"
    file.touch()
    return file


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A copy of the package, to be spoiled."""
    copy = tmp_path / "myserv"
    shutil.copytree(ROOT / "myserv", copy, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


def test_theContractsHold() -> None:
    """What is in the repository breaks no contract."""
    result = lintImports(ROOT)
    assert result.returncode == 0, result.stdout + result.stderr
    assert " 0 broken" in result.stdout


@pytest.mark.parametrize("violation", VIOLATIONS, ids=lambda v: f"{v.contract}: {v.said}")
def test_aPlantedViolationFails(package: Path, violation: Violation) -> None:
    """One forbidden import breaks its contract, and the report names the import."""
    for name in violation.imported:
        makeModule(package, name)
    with makeModule(package, violation.importer).open("a") as file:
        file.write(f"\n{violation.statement}\n")

    result = lintImports(package.parent, violation.contract)

    assert result.returncode == 1, result.stdout + result.stderr
    assert "1 broken" in result.stdout
    assert violation.said in result.stdout


def test_aPermittedImportPasses(package: Path) -> None:
    """What breaks the planted copies is the violation and not the planting."""
    makeModule(package, "protocols.planted.codec").write_text("import struct\n")
    makeModule(package, "protocols.planted.plugin").write_text(
        "import myserv.errors, myserv.interfaces, myserv.plugin\n"
        "from myserv.protocols.planted import codec\n"
    )
    makeModule(package, "server.planted").write_text("import myserv.plugin\n")

    result = lintImports(package.parent)

    assert result.returncode == 0, result.stdout + result.stderr


def test_everyContractHasAViolation() -> None:
    """No contract is without its proof."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        contracts = tomllib.load(file)["tool"]["importlinter"]["contracts"]
    assert {each["id"] for each in contracts} == {each.contract for each in VIOLATIONS}
