"""The operating-system account that PostgreSQL runs as, and the folders that it can reach."""

from __future__ import annotations

import os
import pwd
import secrets
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

CHECK_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Account:
    """An unprivileged account that root hands a program to."""

    uid: int
    gid: int

    @property
    def ids(self) -> tuple[int, int]:
        return self.uid, self.gid

    def own(self, path: Path) -> None:
        os.chown(path, self.uid, self.gid)

    def can_write_in(self, folder: Path) -> bool:
        return self._succeeds('cd -- "$0" && test -w .', folder)

    def can_enter(self, folder: Path) -> bool:
        return self._succeeds('cd -- "$0"', folder)

    def can_execute(self, path: Path) -> bool:
        return self._succeeds('test -x "$0"', path)

    def _succeeds(self, script: str, path: Path) -> bool:
        """Ask the kernel as that account: modes, owners, ACLs and every parent folder count."""
        done = subprocess.run(
            ["/bin/sh", "-c", script, str(path)],
            user=self.uid,
            group=self.gid,
            extra_groups=[],
            cwd="/",
            capture_output=True,
            timeout=CHECK_TIMEOUT_S,
        )
        return done.returncode == 0


def unprivileged_account() -> Account | None:
    """The account `nobody` when we are root, because PostgreSQL refuses to be root; else None."""
    if os.geteuid() != 0:
        return None
    nobody = pwd.getpwnam("nobody")
    return Account(nobody.pw_uid, nobody.pw_gid)


def new_temporary_path(account: Account | None) -> Path:
    """A path that does not exist yet, in a temporary folder that the account can enter.

    Root's TMPDIR may be a folder of its own, hence the other two.
    """
    parents = [Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp")]  # noqa: S108
    enterable = (parent for parent in parents if account is None or account.can_enter(parent))
    return next(enterable, parents[0]) / f"landbridge-{secrets.token_hex(8)}"
