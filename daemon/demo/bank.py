"""The bank of the demo: the simulator's process, and what its customers and auditors ask of it."""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
import sys
import time
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Self

import aiohttp

from daemon.demo.scenario import Deposit
from daemon.embedded.log_tail import log_tail
from daemon.embedded.process import GuardedProcess

REPOSITORY = Path(__file__).resolve().parents[2]
ACCOUNT_ID = "DE02120300000000202051"
CURRENCY, EXPONENT = "EUR", 2
READY_TIMEOUT_S = 30.0
POLL_S = 0.05
REQUEST_TIMEOUT_S = 10.0
PAGE = 1000
# Webhooks wait up to this long, so that they arrive in another order than they were booked.
WEBHOOK_SPREAD_S = 1.5
WEBHOOK_LATE_S = 4.0
BOOKING_DELAY_S = 0.3


class BankFailedError(Exception):
    """The bank simulator did not do what it was asked."""


@dataclass(frozen=True, slots=True)
class BankSecrets:
    """What the bank and its customer, our daemon, share."""

    api_key: str = field(repr=False)
    webhook_secret: str = field(repr=False)

    @classmethod
    def new(cls) -> Self:
        key = base64.b64encode(secrets.token_bytes(32)).decode()
        return cls(secrets.token_urlsafe(24), f"whsec_{key}")


@dataclass(frozen=True, slots=True)
class BankEntry:
    """One line of the account, as the bank shows it. Amounts in minor units."""

    entry_key: str
    direction: str
    amount_minor: int
    end_to_end_id: str | None
    iban: str


class Bank:
    """A running simulator; `start` is the way to make one."""

    def __init__(self, process: GuardedProcess, url: str, session: aiohttp.ClientSession) -> None:
        self.url = url
        self._process = process
        self._session = session

    @classmethod
    async def start(cls, folder: Path, shared: BankSecrets, webhook_url: str) -> Self:
        """Start the program in a process of its own; its books lie in `folder`."""
        log_path = folder / "simbank.log"
        process = await GuardedProcess.start(
            [
                *(sys.executable, "-m", "simbank", "--account", ACCOUNT_ID),
                *("--currency", CURRENCY, "--exponent", str(EXPONENT)),
                *("--books", str(folder / "simbank.sqlite"), "--webhook-url", webhook_url),
                *("--webhook-spread-s", str(WEBHOOK_SPREAD_S)),
                *("--webhook-late-s", str(WEBHOOK_LATE_S)),
                *("--booking-delay-s", str(BOOKING_DELAY_S)),
            ],
            env={
                "PATH": "/usr/bin:/bin",
                "LANDBRIDGE_SIMBANK_API_KEY": shared.api_key,
                "LANDBRIDGE_SIMBANK_WEBHOOK_SECRET": shared.webhook_secret,
            },
            log_path=log_path,
            cwd=REPOSITORY,
        )
        try:
            url = await _listening_url(process, log_path)
        except BaseException:
            await process.stop()
            raise
        session = aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {shared.api_key}"},
            timeout=aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_S),
        )
        return cls(process, url, session)

    async def stop(self) -> None:
        await self._session.close()
        await self._process.stop()

    async def book(self, deposit: Deposit) -> str:
        """Pay in; the key that the bank gave the entry."""
        entry = await self._ask(
            "POST",
            "/v1/deposits",
            {
                "amount": as_text(deposit.amount_minor),
                "currency": CURRENCY,
                "reference": f"deposit {deposit.number}",
                "counterparty": {"name": deposit.holder.name, "iban": deposit.holder.iban},
                "webhook": deposit.webhook,
            },
        )
        return str(entry["entry_key"])

    async def entries(self) -> list[BankEntry]:
        """Every line of the account, oldest first."""
        found: list[BankEntry] = []
        after = 0
        while True:
            path = f"/v1/accounts/{ACCOUNT_ID}/entries?after={after}&limit={PAGE}"
            page = await self._ask("GET", path)
            if not page["entries"]:
                return found
            found += [_entry(entry) for entry in page["entries"]]
            after = page["next_after"]

    async def balance_minor(self) -> int:
        answer = await self._ask("GET", f"/v1/accounts/{ACCOUNT_ID}/balance")
        return as_minor(answer["balance"])

    async def payment_status(self, end_to_end_id: str) -> str:
        answer = await self._ask("GET", f"/v1/payments/{end_to_end_id}")
        return str(answer["status"])

    async def _ask(self, method: str, path: str, body: object = None) -> Any:
        async with self._session.request(method, self.url + path, json=body) as response:
            if response.status >= 300:
                text = (await response.text())[:500]
                raise BankFailedError(f"{method} {path} was answered {response.status}: {text}")
            return await response.json()


def as_text(amount_minor: int) -> str:
    """Minor units as the decimal text that banks use: 1234 is 12.34."""
    return str(Decimal(amount_minor).scaleb(-EXPONENT))


def as_minor(amount: str) -> int:
    """The other way round; raises BankFailedError for a text that is not whole minor units."""
    minor = Decimal(amount).scaleb(EXPONENT)
    if minor != minor.to_integral_value():
        raise BankFailedError(f"the bank's amount {amount} has too many decimals")
    return int(minor)


def _entry(entry: dict[str, Any]) -> BankEntry:
    return BankEntry(
        entry_key=entry["entry_key"],
        direction=entry["direction"],
        amount_minor=as_minor(entry["amount"]),
        end_to_end_id=entry["end_to_end_id"],
        iban=entry["counterparty"]["iban"],
    )


async def _listening_url(process: GuardedProcess, log_path: Path) -> str:
    """The address that the simulator prints once it is ready."""
    deadline = time.monotonic() + READY_TIMEOUT_S
    while time.monotonic() < deadline and process.returncode is None:
        for line in log_tail(log_path).splitlines():
            if line.startswith('{"listening"'):
                return str(json.loads(line)["listening"])
        await asyncio.sleep(POLL_S)
    raise BankFailedError(
        f"the bank simulator did not start. The end of its log: {log_tail(log_path)}"
    )
