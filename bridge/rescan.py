"""After a state loss: what chain, bank and custody's own log know and this database does not, and what going on would
do about each of it. Only reads.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import asyncpg

from bridge.bank.connector import BankConnector
from bridge.bank.errors import BankError
from bridge.finality import consumed_finality
from bridge.identity import end_to_end_id
from bridge.mints import NOBODY
from bridge.state_loss import Identity, SignerFacts, first_free_nonce, unknown_payloads
from bridge.token import Token
from bridge.watch import Watch, live_identity, recorded_identity
from indexer.database import Connection

# A mint whose transaction is not among those that carry its operation, of an issuance that is not further.
MINTS: Final = """
    SELECT e.op_id, e.tx_hash, e.ordinal, e.block_hash, e.block_number, e.log_index, o.operation_id, o.state,
           o.amount_minor, o.entry_id, o.chain_id, o.wallet = e."to" AND o.amount_minor = e.amount AS is_equal,
           EXISTS (SELECT FROM bridge.tx_operation l JOIN bridge.tx t USING (tx_id)
                   WHERE l.op_id = e.op_id AND NOT l.released AND t.outcome IS NULL) AS is_carried
    FROM {minted} e LEFT JOIN bridge.operation o ON o.op_id = e.op_id AND o.kind = 'issuance'
    WHERE e.canonical AND (o.state IS NULL OR o.state NOT IN ('mined', 'final', 'settled'))
      AND NOT EXISTS (SELECT FROM bridge.tx_operation l JOIN bridge.tx_attempt a USING (tx_id)
                      WHERE l.op_id = e.op_id AND a.hash = e.tx_hash)
    ORDER BY e.block_number, e.log_index"""
# A plain token does not say which deposit it was for. Deposits of one amount to one wallet are worth the same, so the
# oldest that waits and has no transaction is taken for it.
PLAIN_MINTS: Final = """
    WITH lost AS (
        SELECT e.*, row_number() OVER (PARTITION BY e."to", e.value ORDER BY e.block_number, e.log_index) AS place
        FROM {transfer} e
        WHERE e.canonical AND e."from" = $3
          AND NOT EXISTS (SELECT FROM bridge.tx_attempt a WHERE a.hash = e.tx_hash)
          AND NOT EXISTS (SELECT FROM bridge.operation o WHERE o.chain_id = $1 AND o.token = $2
                          AND o.event_block_hash = e.block_hash AND o.event_log_index = e.log_index)),
    owed AS (
        SELECT o.*, row_number() OVER (PARTITION BY o.wallet, o.amount_minor ORDER BY o.operation_id) AS place
        FROM bridge.operation o
        WHERE o.chain_id = $1 AND o.token = $2 AND o.kind = 'issuance' AND o.state = ANY ($4)
          AND NOT EXISTS (SELECT FROM bridge.tx_operation l JOIN bridge.tx t USING (tx_id)
                          WHERE l.op_id = o.op_id AND NOT l.released AND t.outcome IS NULL))
    SELECT o.op_id, e.tx_hash, e.ordinal, e.block_hash, e.block_number, e.log_index, o.operation_id, o.state,
           o.amount_minor, o.entry_id, o.chain_id, true AS is_equal, false AS is_carried
    FROM lost e LEFT JOIN owed o ON o.wallet = e."to" AND o.amount_minor = e.value AND o.place = e.place
    ORDER BY e.block_number, e.log_index"""
# A redemption that was settled after its payout was booked, by a transaction of nobody's that is known.
BURNS: Final = """
    SELECT o.operation_id, e.tx_hash, e.block_number, o.state,
           EXISTS (SELECT FROM bridge.tx_operation l JOIN bridge.tx t USING (tx_id)
                   WHERE l.op_id = o.op_id AND NOT l.released AND t.outcome IS NULL) AS is_carried
    FROM {settled} e JOIN bridge.operation o ON o.redemption_id = e.id
    WHERE e.canonical AND o.state NOT IN ('burning', 'settled')
    ORDER BY e.block_number, e.log_index"""
PAYOUTS: Final = """
    SELECT o.operation_id, o.redemption_id, o.state,
           (SELECT count(*) FROM bank.payout_attempt a WHERE a.op_id = o.op_id) AS attempts
    FROM bridge.operation o WHERE o.chain_id = $1 AND o.token = $2 AND o.kind = 'redemption'
      AND o.state NOT IN ('booked', 'burning', 'settled', 'refunded', 'dropped')
    ORDER BY o.operation_id"""
BEHIND: Final = """
    SELECT c.node_head_number - c.head_number AS blocks, c.feed_seq - n.seq AS rows
    FROM chain.cursor c LEFT JOIN chain.consumer n ON n.chain_id = c.chain_id AND n.name = 'bridge'
    WHERE c.chain_id = $1"""
HEAD_SLACK_BLOCKS: Final = 2

# From these the mint is entered as it stands on the chain.
ADOPTABLE: Final = frozenset({"funded", "held", "approved", "reserved", "signed", "submitted"})


@dataclass(frozen=True, slots=True)
class Mint:
    """A mint that the journal does not explain. ``row``: its event beside its operation, where there is one."""

    op_id: str | None
    tx_hash: str
    block_number: int
    does: str
    adopts: bool
    row: asyncpg.Record


@dataclass(frozen=True, slots=True)
class Burn:
    """A settlement that the journal does not explain."""

    operation_id: int
    tx_hash: str
    block_number: int
    does: str
    adopts: bool


@dataclass(frozen=True, slots=True)
class Payout:
    """What the bank says of an order that may have been given."""

    operation_id: int
    state: str
    end_to_end_id: str
    bank_says: str


@dataclass(frozen=True, slots=True)
class Rescan:
    """What would be done. ``waits`` says why it cannot be done yet."""

    recorded: Identity | None
    live: Identity
    signers: tuple[SignerFacts, ...]
    mints: tuple[Mint, ...]
    burns: tuple[Burn, ...]
    payouts: tuple[Payout, ...]
    waits: tuple[str, ...]

    def shown(self) -> dict[str, Any]:
        """As JSON, for people and for the proposal."""
        return {
            "database": None if self.recorded == self.live else f"from now on {self.live}",
            "signers": {
                f"0x{one.address.hex()}": {
                    "next_nonce": one.next_nonce,
                    "goes_on_at": first_free_nonce(one),
                    "lost_requests": sum(map(len, unknown_payloads(one).values())),
                }
                for one in self.signers
            },
            "mints": [
                {"op_id": one.op_id, "transaction": one.tx_hash, "does": one.does}
                for one in self.mints
            ],
            "burns": [
                {"operation_id": one.operation_id, "transaction": one.tx_hash, "does": one.does}
                for one in self.burns
            ],
            "payouts": [asdict(one) for one in self.payouts],
        }

    def decided(self) -> dict[str, Any]:
        """What two people agree on; what the bank says of its own side may change meanwhile."""
        return {name: each for name, each in self.shown().items() if name != "payouts"}


async def rescan(pool: asyncpg.Pool, watch: Watch, bank: BankConnector, token: Token) -> Rescan:
    """Ask everybody. Raises :class:`indexer.errors.Retryable` if the node cannot be asked."""
    signers = await watch.facts()
    async with pool.acquire() as connection:
        final = await consumed_finality(connection, token)
        final_number = -1 if final is None else final.number
        mints = await _mints(connection, token)
        burns = await _burns(connection, token)
        waits = [*await _behind(connection, token)]
        recorded, live = await recorded_identity(connection), await live_identity(connection)
        rows = await connection.fetch(PAYOUTS, token.chain_id, token.address)
    events: list[Mint | Burn] = [*mints, *burns]
    waits += [
        f"transaction {one.tx_hash} stands in block {one.block_number}, which is not final yet"
        for one in events
        if one.block_number > final_number
    ]
    payouts, doubts = await _payouts(bank, token, rows)
    bank_doubts = await _bank_behind(pool, bank, token)
    return Rescan(
        recorded,
        live,
        tuple(signers),
        tuple(mints),
        tuple(burns),
        tuple(payouts),
        (*waits, *doubts, *bank_doubts),
    )


async def _mints(connection: Connection, token: Token) -> list[Mint]:
    if token.kind == "plain":
        query = PLAIN_MINTS.format(transfer=token.event_table("transfer"))
        rows = await connection.fetch(query, token.chain_id, token.address, NOBODY, list(ADOPTABLE))
    else:
        rows = await connection.fetch(MINTS.format(minted=token.event_table("minted")))
    return [_mint(row) for row in rows]


def _mint(row: asyncpg.Record) -> Mint:
    does, adopts = _of_mint(row)
    op_id = None if row["op_id"] is None else "0x" + row["op_id"].hex()
    return Mint(op_id, "0x" + row["tx_hash"].hex(), row["block_number"], does, adopts, row)


def _of_mint(row: asyncpg.Record) -> tuple[str, bool]:
    """What going on would do about it, and whether that enters it."""
    operation = f"operation {row['operation_id']}"
    if row["operation_id"] is None:
        return "no deposit explains it: it stays as a break, and is for you to settle", False
    if not row["is_equal"]:
        return f"it differs from {operation} in wallet or amount: for you to settle", False
    if row["is_carried"]:
        return f"{operation} has a transaction of its own, which is waited for", False
    if row["state"] not in ADOPTABLE:
        return f"{operation} is {row['state']}, and stays so: for you to settle", False
    return f"{operation}, which is {row['state']}, is entered as minted by it", True


async def _burns(connection: Connection, token: Token) -> list[Burn]:
    if token.kind == "plain":
        return []
    rows = await connection.fetch(BURNS.format(settled=token.event_table("redeem_settled")))
    found = []
    for row in rows:
        adopts = row["state"] == "booked" and not row["is_carried"]
        does = (
            "is entered as burned by it"
            if adopts
            else f"is {row['state']}, and is never paid again: its payout is for you to find at the bank"
        )
        tx_hash = "0x" + row["tx_hash"].hex()
        found.append(Burn(row["operation_id"], tx_hash, row["block_number"], does, adopts))
    return found


async def _behind(connection: Connection, token: Token) -> Sequence[str]:
    row = await connection.fetchrow(BEHIND, token.chain_id)
    if row is None or row["rows"] is None:
        return ["the chain has not been followed yet: run `landbridge run`, which moves no money"]
    waits = []
    if row["blocks"] is None or row["blocks"] > HEAD_SLACK_BLOCKS:
        waits.append(f"the chain is read up to {row['blocks']} blocks below the node's head")
    if row["rows"] > 0:
        waits.append(f"{row['rows']} rows of the feed are not acted on yet")
    return waits


async def _bank_behind(pool: asyncpg.Pool, bank: BankConnector, token: Token) -> Sequence[str]:
    try:
        balance = await bank.balance()
    except BankError as error:
        return [f"the bank cannot be asked: {error}"]
    read: int | None = await pool.fetchval(
        "SELECT sequence FROM bank.poll_cursor WHERE account_id = $1", token.account_id
    )
    if (read or 0) < balance.last_sequence:
        return [
            f"the bank is at entry {balance.last_sequence}, and they are read up to {read or 0}"
        ]
    return []


async def _payouts(
    bank: BankConnector, token: Token, rows: Sequence[asyncpg.Record]
) -> tuple[list[Payout], list[str]]:
    """Of each redemption that is not paid the orders that it has, and the one that it would have next."""
    found: list[Payout] = []
    for row in rows:
        for attempt in range(1, row["attempts"] + 2):
            name = end_to_end_id(
                account_id=token.account_id,
                chain_id=token.chain_id,
                token=token.address,
                redemption_id=row["redemption_id"],
                attempt=attempt,
            )
            try:
                report = await bank.payment_status(name)
            except BankError as error:
                return found, [f"the bank cannot be asked about payment {name}: {error}"]
            found.append(Payout(row["operation_id"], row["state"], name, str(report.status)))
    return found, []
