"""The daemon of the demo: its settings, its set-up by the command line, its process."""

from __future__ import annotations

import asyncio
import json
import secrets
import shlex
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from eth_account import Account

from daemon.demo.bank import ACCOUNT_ID, CURRENCY, EXPONENT, REPOSITORY, BankSecrets
from daemon.demo.scenario import Holder
from daemon.demo.token import as_hex
from daemon.demo.wallet import Wallet
from daemon.embedded.log_tail import log_tail
from daemon.embedded.process import GuardedProcess

HOST = "127.0.0.1"
COMMAND_TIMEOUT_S = 60.0
READY_TIMEOUT_S = 30.0
POLL_S = 0.1
REQUEST_TIMEOUT_S = 5.0
# The weakest that the format takes: the key guards worthless tokens and lives as long as the demo.
KEYSTORE_ITERATIONS = 2
LEASE_TTL_S = 2.0


class LandbridgeFailedError(Exception):
    """The daemon, or a command of it, did not do what it should."""


@dataclass(frozen=True, slots=True)
class DatabaseUrls:
    """The database as its owner and as the daemon's role, passwords included."""

    owner: str = field(repr=False)
    daemon: str = field(repr=False)
    daemon_password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Site:
    """Where everything is that the daemon connects to."""

    rpc_url: str
    chain_id: int
    token_address: bytes
    start_block: int
    bank_url: str
    port: int

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"


class Landbridge:
    """The daemon, its files in a folder, killed and started as the demo likes."""

    def __init__(
        self, folder: Path, site: Site, urls: DatabaseUrls, shared: BankSecrets, signer: Wallet
    ) -> None:
        """Write the settings and the keystore; nothing runs yet."""
        self.site = site
        self.config = folder / "landbridge.toml"
        self.environment_file = folder / "environment"
        self.log_path = folder / "landbridge.log"
        self.restarts = 0
        self._folder = folder
        self._process: GuardedProcess | None = None
        self._is_killed = False
        password = secrets.token_urlsafe(24)
        keystore = folder / "keystore.json"
        keystore.touch(mode=0o600)
        keystore.write_text(json.dumps(_encrypted(signer, password)))
        self.config.write_text(_toml(site, keystore))
        self._environment = {
            "PATH": "/usr/bin:/bin",
            "LANDBRIDGE_DATABASE__URL": urls.daemon,
            "LANDBRIDGE_BANK__API_KEY": shared.api_key,
            "LANDBRIDGE_BANK__WEBHOOK_SECRETS": shared.webhook_secret,
            "LANDBRIDGE_SIGNERS__MINTER__PASSWORD": password,
        }
        self._owner_environment = {
            **self._environment,
            "LANDBRIDGE_DATABASE__OWNER_URL": urls.owner,
        }
        self._write_environment()

    async def migrate(self) -> None:
        """Bring the empty database to the schema, as its owner."""
        await self._command("migrate", environment=self._owner_environment)

    async def register(self, holders: tuple[Holder, ...]) -> None:
        """Enter the holders in the register of beneficiaries, as two people would."""
        file = self._folder / "beneficiaries.json"
        file.write_text(
            json.dumps(
                [
                    {
                        "wallet": as_hex(holder.wallet.address),
                        "iban": holder.iban,
                        "name": holder.name,
                        "proof": "the demo made this wallet itself",
                    }
                    for holder in holders
                ]
            )
        )
        people = ("--proposed-by", "demo-clerk", "--approved-by", "demo-second-clerk")
        await self._command("beneficiaries", "add", str(file), *people)

    async def start(self) -> None:
        """Start the process and wait until it answers; its log is appended to."""
        self._is_killed = False
        self._process = await GuardedProcess.start(
            _argv("--config", str(self.config), "run"),
            env=self._environment,
            log_path=self.log_path,
            cwd=REPOSITORY,
        )
        await self._answers()

    async def kill(self) -> None:
        """SIGKILL, as a crash would end it; `start` again afterwards."""
        self._is_killed = True
        if self._process is not None:
            self._process.kill()
            await self._process.stop()
            self._process = None
        self.restarts += 1

    async def stop(self) -> int:
        """End it in order, as SIGTERM does; its exit status."""
        self._is_killed = True
        if self._process is None:
            return 0
        status = await self._process.stop()
        self._process = None
        return status

    def check_alive(self) -> None:
        """Raise LandbridgeFailedError if the process ended without being told to."""
        if self._process is None or self._is_killed or self._process.returncode is None:
            return
        raise LandbridgeFailedError(
            f"the daemon ended with status {self._process.returncode}. The end of its log: "
            f"{log_tail(self.log_path)}"
        )

    async def status(self) -> dict[str, Any]:
        """What GET /status says; raises aiohttp.ClientError or TimeoutError while it is down."""
        timeout = aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_S)
        async with (
            aiohttp.ClientSession(timeout=timeout, raise_for_status=True) as session,
            session.get(f"{self.site.url}/status") as response,
        ):
            answer: dict[str, Any] = await response.json()
            return answer

    async def _answers(self) -> None:
        deadline = time.monotonic() + READY_TIMEOUT_S
        while time.monotonic() < deadline:
            self.check_alive()
            try:
                _, writer = await asyncio.open_connection(HOST, self.site.port)
            except OSError:
                await asyncio.sleep(POLL_S)
                continue
            writer.close()
            return
        raise LandbridgeFailedError(
            f"the daemon did not answer at {self.site.url} in {READY_TIMEOUT_S:.0f} s. "
            f"The end of its log: {log_tail(self.log_path)}"
        )

    async def _command(self, *arguments: str, environment: Mapping[str, str] | None = None) -> None:
        log_path = self._folder / f"{arguments[0]}.log"
        process = await GuardedProcess.start(
            _argv("--config", str(self.config), *arguments),
            env=environment or self._environment,
            log_path=log_path,
            cwd=REPOSITORY,
            stop_signal=signal.SIGINT,
        )
        async with process, asyncio.timeout(COMMAND_TIMEOUT_S):
            status = await process.wait()
        if status != 0:
            raise LandbridgeFailedError(
                f"`landbridge {arguments[0]}` ended with status {status}: {log_tail(log_path)}"
            )

    def _write_environment(self) -> None:
        """A file to source in a shell, for the commands that a visitor wants to try."""
        self.environment_file.touch(mode=0o600)
        wanted = {**self._owner_environment, "LANDBRIDGE_CONFIG": str(self.config)}
        lines = [
            f"export {name}={shlex.quote(value)}\n"
            for name, value in wanted.items()
            if name != "PATH"
        ]
        self.environment_file.write_text("".join(lines))


def _argv(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "daemon", *arguments]


def _encrypted(signer: Wallet, password: str) -> dict[str, Any]:
    encrypted: dict[str, Any] = Account.encrypt(
        signer.account.key, password, kdf="pbkdf2", iterations=KEYSTORE_ITERATIONS
    )
    return encrypted


def _toml(site: Site, keystore: Path) -> str:
    """The settings; secrets come by environment variables."""
    return f"""\
[chains.local]
id = {site.chain_id}
rpc_urls = ["{site.rpc_url}"]
poll_interval_s = 0.25
single_provider = true

[token]
address = "{as_hex(site.token_address)}"
start_block = {site.start_block}
currency = "{CURRENCY}"
decimals = {EXPONENT}

[bank]
base_url = "{site.bank_url}"
account_id = "{ACCOUNT_ID}"
poll_interval_s = 1.0
ask_after_s = 2.0

[signers.minter]
kind = "keystore"
keystore = {json.dumps(str(keystore))}

[sender]
resend_after_s = 3.0

[api]
host = "{HOST}"
port = {site.port}

[daemon]
lease_ttl_s = {LEASE_TTL_S}
custody_log = {json.dumps(str(keystore.with_name("custody.log")))}
recheck_held_s = 2.0
"""
