import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from daemon.cli import main


@pytest.fixture(autouse=True)
def unchanged(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """An empty folder, no settings, and the recursion limit as it was."""
    monkeypatch.chdir(tmp_path)
    limit = sys.getrecursionlimit()
    yield
    sys.setrecursionlimit(limit)


def test_every_command_is_there_and_says_what_it_does() -> None:
    told = CliRunner().invoke(main, ["--help"]).output
    for command in (
        *("run", "backfill", "check", "migrate", "status", "index"),
        *("halt", "resume", "operations", "beneficiaries", "demo"),
    ):
        assert f"  {command} " in told
    told = CliRunner().invoke(main, ["index", "--help"]).output
    for command in ("status", "verify", "resync"):
        assert f"  {command} " in told


@pytest.mark.parametrize(
    "command",
    [
        *(["run"], ["backfill"], ["check"], ["migrate"], ["status"], ["index", "status"]),
        *(["index", "verify"], ["index", "resync", "--contract", "x", "--from", "5"]),
    ],
)
def test_without_settings_every_command_says_what_to_begin_with(command: list[str]) -> None:
    ended = CliRunner().invoke(main, command)
    assert ended.exit_code == 2
    assert "chains: is missing; describe a chain in a section [chains.NAME]" in ended.output
    assert "Traceback" not in ended.output


def test_a_file_in_the_folder_is_found_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "landbridge.toml").write_text("[chains.main]\nid = 0\n")
    assert "chains.main.id: Input should be" in CliRunner().invoke(main, ["check"]).output


def test_nobody_waits_for_the_import_of_what_only_a_bridge_needs() -> None:
    """eth-account computes a curve's constants when it is imported."""
    imported = subprocess.run(
        [sys.executable, "-c", "import daemon.app, sys; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert "daemon.app" in imported
    assert not {"eth_account", "py_ecc", "daemon.demo"} & set(imported)


def test_deeply_nested_json_cannot_overflow_the_stack() -> None:
    sys.setrecursionlimit(100_000)
    CliRunner().invoke(main, ["check"])
    assert sys.getrecursionlimit() == 1000
