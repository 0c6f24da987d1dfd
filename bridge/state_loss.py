"""Whether this database is older than the world. Pure: facts in, texts out, each of them about one thing that it
does not know. A text stays the same for as long as the loss does, so that it is told once.
"""

from collections.abc import Mapping, Set
from dataclasses import dataclass

Payloads = Mapping[int, Set[bytes]]
"""By nonce, the digests that were to be signed."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Which database this is: of the server, of its history, and of the database in it."""

    system_identifier: int
    timeline_id: int
    database_oid: int

    def __str__(self) -> str:
        return f"server {self.system_identifier}, timeline {self.timeline_id}, database {self.database_oid}"


@dataclass(frozen=True, slots=True)
class SignerFacts:
    """What the journal, the chain and custody's own log say of a signer.

    ``next_nonce``: the journal's. ``chain_nonce``: how many of its transactions stand in blocks. ``logged``: what
    custody was asked for, of nonces without an outcome; of these ``journalled`` are in the journal, or accepted as
    lost.
    """

    address: bytes
    next_nonce: int
    chain_nonce: int
    logged: Payloads
    journalled: Payloads


def of_database(recorded: Identity | None, live: Identity) -> str | None:
    """Why this is not the database that was accepted; None if it is, or if none has been yet."""
    if recorded is None or recorded == live:
        return None
    return (
        f"this is {live}, and money moved in {recorded}: it was restored, copied, or failed over to a standby, and "
        "nobody knows how much it has lost. Let it catch up with chain and bank, then `landbridge resume`"
    )


def of_signer(facts: SignerFacts) -> list[str]:
    """What was done with a key that this database does not know."""
    signer = f"signer 0x{facts.address.hex()}"
    found = []
    if facts.chain_nonce > facts.next_nonce:
        found.append(
            f"{signer}: the chain has transactions of it from nonce {facts.next_nonce} on that are not in the journal. "
            "If the database was restored, let it catch up, then `landbridge resume`; if the key was used elsewhere, "
            "retire it"
        )
    unknown = unknown_payloads(facts)
    if unknown:
        found.append(
            f"{signer}: custody's own log has what it was asked to sign for nonce {min(unknown)} and maybe for later "
            "ones, which is not in the journal: the database was restored. Let it catch up, then `landbridge resume`"
        )
    return found


def unknown_payloads(facts: SignerFacts) -> dict[int, set[bytes]]:
    """What custody was asked for that is neither in the journal nor accepted as lost, by nonce."""
    unknown = {
        nonce: set(payloads) - facts.journalled.get(nonce, frozenset())
        for nonce, payloads in facts.logged.items()
    }
    return {nonce: payloads for nonce, payloads in unknown.items() if payloads}


def first_free_nonce(facts: SignerFacts) -> int:
    """The lowest nonce that nobody can have used, by all that is known."""
    return max([facts.next_nonce, facts.chain_nonce, *(nonce + 1 for nonce in facts.logged)])


def foreign_nonce(signer: bytes, nonce: int) -> str:
    """The loss of a nonce that is final without a transaction of ours."""
    return (
        f"signer 0x{signer.hex()}: nonce {nonce} is final with a transaction that is not in the journal. If the "
        "database was restored, let it catch up, then `landbridge resume`; if the key was used elsewhere, retire it"
    )


def foreign_mint(op_id: bytes | None, tx_hash: bytes, why: str) -> str:
    """The loss of a mint that the journal does not explain; a plain token's has no ``op_id``."""
    what = "" if op_id is None else f" operation 0x{op_id.hex()}"
    return (
        f"transaction 0x{tx_hash.hex()} minted{what}, and {why}. If the database was restored, let "
        "it catch up, then `landbridge resume`; if it was not, find whose key minted, and take its role away"
    )


def replay(op_id: bytes, tx_hash: bytes) -> str:
    """The loss that shows in a second mint, which the token passed over."""
    return (
        f"transaction 0x{tx_hash.hex()} asked for operation 0x{op_id.hex()} a second time, and the token passed over "
        "it: this database has lost the first one. Let it catch up, then `landbridge resume`"
    )


def used_operation(operation_id: int) -> str:
    """The loss that shows when the token refuses an operation as used."""
    return (
        f"the token knows operation {operation_id}, and no transaction of this journal has it. Let the database catch "
        "up, then `landbridge resume`"
    )
