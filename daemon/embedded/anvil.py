"""Anvil, a local EVM chain, as a child process."""

from __future__ import annotations

import asyncio
import re
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import aiohttp

from daemon.embedded.account import new_temporary_path
from daemon.embedded.errors import (
    AnvilFailedError,
    AnvilRpcError,
    AnvilUnreachableError,
    BinaryMissingError,
)
from daemon.embedded.guard import Command, Guard
from daemon.embedded.log_tail import log_tail

HOST = "127.0.0.1"
REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGES = REPOSITORY / "contracts" / "node_modules" / "@foundry-rs"
DEFAULT_CHAIN_ID = 31_337
DEFAULT_ACCOUNTS = 10
# The development mnemonic of Hardhat and Anvil: public, and worth nothing on any real chain.
DEFAULT_MNEMONIC = "test test test test test test test test test test test junk"
READY_TIMEOUT_S = 30.0
RPC_TIMEOUT_S = 30.0
POLL_S = 0.02
LISTENING = re.compile(rf"^Listening on {re.escape(HOST)}:(\d+)", re.MULTILINE)
# The banner ends with the line LISTENING; it grows with the number of accounts.
BANNER_BYTES = 1_000_000


class Anvil:
    """One chain. Start and stop it, or use it as an async context manager.

    `block_time_s` mines at that interval, fractions included; None mines nothing by itself, and
    `mine` is called. With `slots_in_an_epoch` n, `safe` is n and `finalized` 2n blocks behind the
    head. `port` 0 lets the system choose, so that two chains never collide. `tx_gas_limit` holds a
    transaction to 16,777,216 gas (EIP-7825), as chains do since Osaka.
    """

    def __init__(
        self,
        *,
        block_time_s: float | None = None,
        slots_in_an_epoch: int = 2,
        chain_id: int = DEFAULT_CHAIN_ID,
        accounts: int = DEFAULT_ACCOUNTS,
        mnemonic: str = DEFAULT_MNEMONIC,
        port: int = 0,
        tx_gas_limit: bool = True,
        extra_args: Sequence[str] = (),
    ) -> None:
        self.port = port
        self.pid = 0
        mining = ["--no-mining"] if block_time_s is None else ["--block-time", str(block_time_s)]
        self._arguments = [
            *("--host", HOST, "--port", str(port), "--order", "fifo", *mining),
            *("--slots-in-an-epoch", str(slots_in_an_epoch), "--chain-id", str(chain_id)),
            *("--accounts", str(accounts), "--mnemonic", mnemonic),
            *(["--enable-tx-gas-limit"] if tx_gas_limit else []),
            *extra_args,
        ]
        self._guard: Guard | None = None
        self._session: aiohttp.ClientSession | None = None

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    async def start(self) -> Self:
        """Answer when the chain does. Raises an EmbeddedError that says what is wrong."""
        binary = find_anvil()
        folder = new_temporary_path(None)
        log_path = folder / "anvil.log"
        guard = self._guard = await Guard.open(folder)
        try:
            self.pid = await guard.start(
                Command(
                    argv=[str(binary), *self._arguments],
                    # Its caches go into the temporary folder, and no ANVIL_* variable interferes.
                    env={"HOME": str(folder), "PATH": "/usr/bin:/bin", "NO_COLOR": "1"},
                    log_path=log_path,
                )
            )
            self.port = await self._port_of_banner(guard, log_path)
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=RPC_TIMEOUT_S)
            )
            # From here on it would log every request, without end.
            await self.rpc("anvil_setLoggingEnabled", False)
        except BaseException:
            await self.stop()
            raise
        return self

    async def stop(self) -> None:
        """End the chain; its state is gone. May be called twice."""
        if self._session is not None:
            await self._session.close()
            self._session = None
        if self._guard is not None:
            await self._guard.close()
            self._guard = None

    async def rpc(self, method: str, *params: object) -> Any:
        """Result of a JSON-RPC call. Raises AnvilRpcError for a refusal, AnvilUnreachableError."""
        if self._session is None:
            raise AnvilUnreachableError(url=self.url, method=method, reason="it is not running")
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}
        try:
            async with self._session.post(self.url, json=request) as response:
                answer = await response.json(content_type=None)
        except (aiohttp.ClientError, TimeoutError) as error:
            reason = str(error) or type(error).__name__
            raise AnvilUnreachableError(url=self.url, method=method, reason=reason) from error
        if "error" in answer:
            raise AnvilRpcError(method=method, **answer["error"])
        return answer["result"]

    async def mine(self, blocks: int = 1) -> None:
        """Mine that many blocks; the waiting transactions go into the first."""
        for _ in range(blocks):
            await self.rpc("evm_mine")

    async def _port_of_banner(self, guard: Guard, log_path: Path) -> int:
        deadline = time.monotonic() + READY_TIMEOUT_S
        while time.monotonic() < deadline and guard.returncode is None:
            banner = LISTENING.search(_read_banner(log_path))
            if banner is not None:
                return int(banner[1])
            await asyncio.sleep(POLL_S)
        reason = "it was too slow"
        if guard.returncode is not None:
            reason = f"it ended with status {guard.returncode}"
        raise AnvilFailedError(reason=reason, log=log_tail(log_path))

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.stop()


def find_anvil() -> Path:
    """The program that npm installed for this platform, else the one on PATH."""
    installed = sorted(PACKAGES.glob("anvil-*/bin/anvil"))
    if installed:
        return installed[0]
    found = shutil.which("anvil")
    if found is None:
        raise BinaryMissingError(program="anvil", searched=PACKAGES)
    return Path(found)


def _read_banner(log_path: Path) -> str:
    with log_path.open("rb") as log:
        return log.read(BANNER_BYTES).decode(errors="replace")
