"""The pytest plugin fails tests that leave something behind, and no others."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LEAKY = Path(__file__).with_name("leaky_tests.py")

CONFTEST = 'pytest_plugins = ["myserv.testing.fixtures"]\n'


def runPytest(directory: Path, test: str, *arguments: str) -> str:
    """Run one test module with the fixtures in a process, and return the report."""
    (directory / "conftest.py").write_text(CONFTEST)
    (directory / "test_it.py").write_text(test)
    command = [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "300"}
    environment.pop("PYTEST_ADDOPTS", None)
    ran = subprocess.run(
        [*command, f"--rootdir={directory}"],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return ran.stdout


def expectedComplaints() -> dict[str, str]:
    """What each leaky test has to be told, by its name."""
    return {
        node.name: ast.get_docstring(node) or ""
        for node in ast.walk(ast.parse(LEAKY.read_text()))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and node.name.startswith("test_leaves")
    }


@pytest.mark.parametrize("without", [(), ("asynchronous",)], ids=["with it", "without it"])
def test_leaksFail(tmp_path: Path, without: tuple[str, ...]) -> None:
    """With pytest-twisted and without: every leak fails its test, and no other."""
    arguments = (
        ["-p", "no:twisted", "-k", "not Asynchronous and not asynchronous"] if without else []
    )
    report = runPytest(tmp_path, LEAKY.read_text(), *arguments)
    complaints = expectedComplaints()
    if without:
        complaints.pop("test_leavesAsynchronousCall")
    blamed = dict(re.findall(r"_ ERROR at teardown of (\S+) _+\nthe test left behind (.*)", report))
    assert sorted(blamed) == sorted(complaints), report
    for name, complaint in complaints.items():
        assert complaint in blamed[name], report
    assert " failed" not in report.splitlines()[-1], report
    assert f" {len(complaints)} errors" in report.splitlines()[-1], report


def test_noReactor(tmp_path: Path) -> None:
    """Looking for leaks installs no reactor."""
    test = (
        "import sys\n"
        "def test(): pass\n"
        "def test_again(): assert 'twisted.internet.reactor' not in sys.modules\n"
    )
    assert "2 passed" in runPytest(tmp_path, test, "-p", "no:twisted")
