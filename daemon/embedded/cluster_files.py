"""The files of one database cluster, and how they are first made."""

from __future__ import annotations

import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path

from daemon.embedded.account import Account
from daemon.embedded.errors import (
    FolderUnreachableError,
    InitdbFailedError,
    PasswordMissingError,
)
from daemon.embedded.guard import Command, Guard
from daemon.embedded.log_tail import log_tail

PASSWORD_BYTES = 24
# Nothing of our own environment, whose PG* variables would mislead the server.
SERVER_ENV = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}


@dataclass(frozen=True, slots=True)
class ClusterFiles:
    """A folder with `data`, `password` and `postgres.log` in it.

    Run by root, the folder and the password stay root's and only `data` is the account's.
    """

    folder: Path
    account: Account | None

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def log(self) -> Path:
        return self.folder / "postgres.log"

    @property
    def password_file(self) -> Path:
        return self.folder / "password"

    def is_made(self) -> bool:
        return self.data.exists()

    def password(self) -> str:
        """The superuser's password, kept with the data so that a later run can enter."""
        if not self.password_file.exists():
            raise PasswordMissingError(path=self.password_file)
        return self.password_file.read_text().strip()

    def check_reachable(self) -> None:
        """Raise FolderUnreachableError if the account cannot get at the data."""
        if self.account is not None and not self.account.can_write_in(self.data):
            raise FolderUnreachableError(path=self.folder)

    async def make(self, guard: Guard, bin_dir: Path, *, fsync: bool) -> None:
        """Run initdb. The data folder appears under its name only when it is complete."""
        draft = self._draft()
        password_file = self._write_password()
        log = self.folder / "initdb.log"
        await guard.start(
            Command(
                argv=[
                    *(str(bin_dir / "initdb"), "-D", str(draft), "--username=postgres"),
                    *("--auth=scram-sha-256", f"--pwfile={password_file}"),
                    *("--encoding=UTF8", "--locale=C", "--no-instructions"),
                    *(() if fsync else ("--no-sync",)),
                ],
                env=SERVER_ENV,
                log_path=log,
                user=None if self.account is None else self.account.ids,
            )
        )
        status = await guard.wait()
        if status != 0:
            raise InitdbFailedError(status=status, log=log_tail(log))
        password_file.rename(self.password_file)
        draft.rename(self.data)

    def _draft(self) -> Path:
        """An empty folder for initdb; one that an earlier run did not finish is thrown away."""
        self.folder.mkdir(parents=True, exist_ok=True)
        draft = self.folder / "data.unfinished"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        if self.account is not None:
            self.folder.chmod(0o711)
            self.account.own(draft)
            if not self.account.can_write_in(draft):
                draft.rmdir()
                raise FolderUnreachableError(path=self.folder)
        return draft

    def _write_password(self) -> Path:
        path = self.folder / "password.unfinished"
        path.unlink(missing_ok=True)
        path.touch(mode=0o600)
        path.write_text(secrets.token_urlsafe(PASSWORD_BYTES) + "\n")
        if self.account is not None:
            self.account.own(path)
        return path
