"""A running daemon's surroundings, and what people do in them. `staging` sets them up; a `World` remembers
what people did, and `audit` looks at what came of it.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Any

import asyncpg

from bridge.beneficiaries import Beneficiary, register
from bridge.identity import operation_id
from bridge.operations import Kind
from daemon.demo.bank import ACCOUNT_ID, BankSecrets, as_text
from daemon.demo.scenario import Holder
from daemon.demo.token import REQUESTED, Token, confirm, fund
from daemon.demo.wallet import Wallet
from daemon.embedded.anvil import Anvil
from daemon.embedded.log_tail import log_tail
from indexer.database import Connection
from tests.faultproxy import FaultProxy
from tests.integration.daemon.running import (
    Answer,
    Configuration,
    Daemon,
    Teller,
    event_body,
    eventually,
    numbers,
    signed,
)

SETTLED_TIMEOUT_S = 180.0
WEBHOOK = "/v1/bank/webhook"


@dataclass(frozen=True, slots=True)
class Deposit:
    """Money that was paid in and must be minted."""

    holder: Holder
    amount_minor: int
    entry_key: str


@dataclass(frozen=True, slots=True)
class Redemption:
    """Tokens that were given into escrow and must be paid out and burned."""

    holder: Holder
    amount_minor: int
    redemption_id: bytes


@dataclass(repr=False)
class World:
    """All parts, and what people did.

    `suspended_minor` is money that stays at the bank unminted; `foreseen` are the subjects of
    critical breaks that a test brought about and that stay open.
    """

    chain: Anvil
    token: Token
    officer: Wallet
    holders: list[Holder]
    teller: Teller
    owner: asyncpg.Pool
    owner_dsn: str
    configuration: Configuration
    secrets: BankSecrets
    node_proxy: FaultProxy
    bank_proxy: FaultProxy
    database_proxy: FaultProxy
    daemon: Daemon
    deposits: list[Deposit] = field(default_factory=list)
    redemptions: list[Redemption] = field(default_factory=list)
    suspended_minor: int = 0
    foreseen: set[str] = field(default_factory=set)

    async def pay_in(self, holder: Holder, amount_minor: int, webhook: str = "normal") -> Deposit:
        entry = await self.teller.pay_in(as_text(amount_minor), holder.iban, webhook=webhook)
        deposit = Deposit(holder, amount_minor, entry["entry_key"])
        self.deposits.append(deposit)
        return deposit

    async def pay_in_and_tell(self, holder: Holder, amount_minor: int) -> Deposit:
        """The same, with the bank's message sent at once."""
        entry = await self.teller.pay_in(as_text(amount_minor), holder.iban, webhook="never")
        deposit = Deposit(holder, amount_minor, entry["entry_key"])
        self.deposits.append(deposit)
        answer = await self.send(event_body(entry), f"msg_{secrets.token_hex(8)}")
        assert answer.status == 202, answer.text
        return deposit

    async def redeem(self, holder: Holder, amount_minor: int) -> Redemption:
        """Ask for a redemption on the chain; answers once it is in a block."""
        return await self.requested(holder, amount_minor, await self.request(holder, amount_minor))

    async def request(self, holder: Holder, amount_minor: int) -> bytes:
        """Send the request; the hash of its transaction."""
        return await self.token.send(
            holder.wallet, "requestRedeem(uint256,bytes32)", amount_minor, secrets.token_bytes(32)
        )

    async def requested(self, holder: Holder, amount_minor: int, sent: bytes) -> Redemption:
        await confirm(self.chain, sent)
        (request,) = [
            event
            for event in await self.token.events()
            if event.kind == REQUESTED and event.tx_hash == sent
        ]
        redemption = Redemption(holder, amount_minor, request.topics[0])
        self.redemptions.append(redemption)
        return redemption

    async def command_of_officer(self, signature: str, *arguments: object) -> None:
        """A transaction of the token's officer, mined, and read by the daemon."""
        sent = await self.token.send(self.officer, signature, *arguments)
        block = int((await confirm(self.chain, sent))["blockNumber"], 16)

        async def is_read() -> bool:
            head = await self.owner.fetchval("SELECT head_number FROM chain.cursor")
            return head is not None and head >= block

        await eventually("the daemon has read the block", is_read, 90.0, self._tail)

    async def new_holder(self, *, allowed: bool = True, registered: bool = True) -> Holder:
        holder = new_person()
        await fund(self.chain, holder.wallet.address)
        if allowed:
            await self.command_of_officer("setAllowed(address,bool)", holder.wallet.address, True)
        if registered:
            await self.register(holder)
        return holder

    async def register(self, holder: Holder) -> None:
        async with self.owner.acquire() as connection:
            await register_people(connection, [holder])

    async def state(self, entry_key: str) -> str | None:
        """The state of the issuance of an entry."""
        found: str | None = await self.owner.fetchval(
            """SELECT o.state FROM bridge.operation o JOIN bank.entry e USING (entry_id)
               WHERE e.entry_key = $1""",
            entry_key,
        )
        return found

    async def state_of_redemption(self, redemption_id: bytes) -> str | None:
        found: str | None = await self.owner.fetchval(
            "SELECT state FROM bridge.operation WHERE redemption_id = $1", redemption_id
        )
        return found

    async def reaches(
        self, deposit: Deposit, states: tuple[str, ...], timeout_s: float = 90.0
    ) -> None:
        """Wait until the issuance of a deposit is in one of these states."""

        async def is_there() -> bool:
            return await self.state(deposit.entry_key) in states

        await eventually(f"a deposit is {states}", is_there, timeout_s, self._tail)

    async def minted(self, deposit: Deposit, timeout_s: float = 90.0) -> None:
        """Wait until the holder has the tokens; `settled` sees to it that they stay."""
        await self.reaches(deposit, ("mined", "final", "settled"), timeout_s)

    async def breaks(self, kind: str | None = None) -> list[dict[str, Any]]:
        rows = await self.owner.fetch(
            """SELECT kind, severity, subject, detail, raw_id, closed_at IS NULL AS is_open
               FROM recon.break WHERE kind = coalesce($1, kind) ORDER BY break_id""",
            kind,
        )
        return [dict(row) for row in rows]

    async def halts(self) -> list[str]:
        rows = await self.owner.fetch(
            "SELECT scope || ': ' || reason AS said FROM ops.halt WHERE closed_at IS NULL"
        )
        return [row["said"] for row in rows]

    async def send(
        self, body: bytes, message_id: str, *, age_s: int = 0, signature: str | None = None
    ) -> Answer:
        """Post a webhook to the daemon, signed as the bank would sign it."""
        headers = signed(self.secrets.webhook_secret, body, message_id, age_s)
        if signature is not None:
            headers["Webhook-Signature"] = signature
        return await self.daemon.post(WEBHOOK, body, headers)

    async def settled(self, timeout_s: float = SETTLED_TIMEOUT_S) -> None:
        """Wait until everything that people did is settled, each transaction has its outcome (the lane's to say,
        which may rest after a failure), and a proof after it agrees."""
        keys = [deposit.entry_key for deposit in self.deposits]
        ids = [redemption.redemption_id for redemption in self.redemptions]

        async def is_settled() -> bool:
            minted = await self.owner.fetchval(
                """SELECT count(*) FROM bridge.operation o JOIN bank.entry e USING (entry_id)
                   WHERE o.state = 'settled' AND e.entry_key = ANY($1)""",
                keys,
            )
            burned = await self.owner.fetchval(
                """SELECT count(*) FROM bridge.operation
                   WHERE state = 'settled' AND redemption_id = ANY($1)""",
                ids,
            )
            return bool((minted, burned) == (len(keys), len(ids)))

        await eventually("everything is settled", is_settled, timeout_s, self._tail)

        async def is_resolved() -> bool:
            return not await self.owner.fetchval(
                "SELECT EXISTS (SELECT FROM bridge.tx WHERE outcome IS NULL)"
            )

        await eventually("each transaction has its outcome", is_resolved, timeout_s, self._tail)
        before = await self.owner.fetchval("SELECT coalesce(max(proof_id), 0) FROM recon.proof")

        async def is_proved() -> bool:
            verdict = await self.owner.fetchval(
                """SELECT verdict FROM recon.proof WHERE proof_id > $1
                   ORDER BY proof_id DESC LIMIT 1""",
                before,
            )
            return bool(verdict == "agree")

        await eventually("a proof agrees", is_proved, timeout_s, self._tail)

    def op_id(self, entry_key: str) -> bytes:
        return operation_id(
            chain_id=self.token.chain_id,
            token=self.token.address,
            reserve_account=ACCOUNT_ID,
            stable_entry_key=entry_key,
            kind=Kind.ISSUANCE,
        )

    def _tail(self) -> str:
        return f"the end of the daemon's log:\n{log_tail(self.daemon.log_path)}"


async def register_people(connection: Connection, people: list[Holder]) -> None:
    """Enter them in the register of beneficiaries, as two people would."""
    for holder in people:
        beneficiary = Beneficiary(holder.wallet.address, holder.iban, holder.name, "a test")
        await register(connection, beneficiary, proposed_by="maker", approved_by="checker")


def new_person() -> Holder:
    """Somebody with a wallet and a bank account; nobody knows of them yet."""
    number = next(numbers)
    return Holder(number, Wallet.new(), f"DE00TEST{number:010d}", f"Holder {number}")
