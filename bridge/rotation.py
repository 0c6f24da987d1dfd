"""Takes a signer out of work: it drains, seeing through what it has, and then retires for good."""

from dataclasses import dataclass
from typing import Literal

from indexer.database import Connection

State = Literal["active", "draining", "retired"]

SIGNERS = """
    SELECT s.name, s.address, s.state, s.next_nonce,
           (SELECT count(*) FROM bridge.tx t
            WHERE t.chain_id = s.chain_id AND t.signer = s.address AND t.outcome IS NULL) AS open_transactions,
           (SELECT count(*) FROM bridge.intent i WHERE i.chain_id = s.chain_id AND i.signer = s.address
            AND i.state IN ('proposed', 'approved')) AS open_intents,
           EXISTS (SELECT FROM ops.lease l WHERE l.role = 'submit:0x' || encode(s.address, 'hex')
                   AND l.expires_at > clock_timestamp()) AS worked
    FROM bridge.signer s WHERE s.chain_id = $1 ORDER BY s.state = 'retired', s.name, s.address"""
# Postgres refuses whatever the order of states does not allow, and to retire one that has open transactions.
MOVE = "UPDATE bridge.signer SET state = $3 WHERE chain_id = $1 AND address = $2"


@dataclass(frozen=True, slots=True)
class SignerStanding:
    """A signer as the database has it, with its transactions without an outcome, and its intents without a decision or
    a nonce. ``worked``: whether some daemon holds the lease of its lane now."""

    name: str
    address: bytes
    state: State
    next_nonce: int
    open_transactions: int
    open_intents: int
    worked: bool

    @property
    def is_busy(self) -> bool:
        """Whether it has something to see through."""
        return self.open_transactions + self.open_intents > 0

    @property
    def burden(self) -> str:
        """What it has to see through, for people."""
        return f"{self.open_transactions} transactions without an outcome and {self.open_intents} intents"


async def signers(connection: Connection, chain_id: int) -> list[SignerStanding]:
    """All that there ever were, the retired ones last."""
    return [SignerStanding(*row) for row in await connection.fetch(SIGNERS, chain_id)]


async def move(connection: Connection, chain_id: int, address: bytes, state: State) -> None:
    """Let a signer drain, work again, or retire."""
    await connection.execute(MOVE, chain_id, address, state)
