"""The register of who stands behind a wallet: wallet and bank account, proven, agreed by two people."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from indexer.database import Connection


@dataclass(frozen=True, slots=True)
class Beneficiary:
    """A wallet, and the bank account that pays in for it and is paid out to."""

    wallet: bytes
    iban: str = field(repr=False)
    name: str = field(repr=False)
    proof: str


def read(item: Mapping[str, object]) -> Beneficiary:
    """A beneficiary from ``{wallet, iban, name, proof}``; raises ValueError saying what is wrong."""
    texts = {key: item[key] for key in ("wallet", "iban", "name", "proof")}
    for key, text in texts.items():
        if not isinstance(text, str) or not 0 < len(text) <= 200:
            raise ValueError(f"{key} must be a text of 1 to 200 characters")
    wallet, iban = str(texts["wallet"]), str(texts["iban"]).replace(" ", "").upper()
    if not re.fullmatch(r"0x[0-9a-fA-F]{40}", wallet):
        raise ValueError(f"wallet {wallet!r} is not 0x and 40 hexadecimal digits")
    if not re.fullmatch(r"[A-Z0-9]{5,34}", iban):
        raise ValueError("iban must be 5 to 34 letters and digits")
    return Beneficiary(bytes.fromhex(wallet[2:]), iban, str(texts["name"]), str(texts["proof"]))


class BeneficiaryConflictError(Exception):
    """A wallet or an account is registered already, with another counterpart."""


async def register(
    connection: Connection, found: Beneficiary, *, proposed_by: str, approved_by: str
) -> int:
    """Add one beneficiary, or answer with the identical one that is there. Postgres refuses one person alone."""
    known = await connection.fetchrow(
        """SELECT beneficiary_id, wallet, iban FROM bridge.beneficiary
           WHERE (wallet = $1 OR iban = $2) AND valid_to IS NULL""",
        found.wallet,
        found.iban,
    )
    if known is not None:
        if (known["wallet"], known["iban"]) != (found.wallet, found.iban):
            raise BeneficiaryConflictError(
                f"wallet 0x{found.wallet.hex()} or its account is registered with another counterpart"
            )
        return int(known["beneficiary_id"])
    added: int = await connection.fetchval(
        """INSERT INTO bridge.beneficiary (wallet, iban, name, proof, proposed_by, approved_by)
           VALUES ($1, $2, $3, $4, $5, $6) RETURNING beneficiary_id""",
        found.wallet,
        found.iban,
        found.name,
        found.proof,
        proposed_by,
        approved_by,
    )
    return added
