"""The deposit token and the bank account that backs it."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from bridge.calldata import TokenKind, load_abi
from bridge.errors import Fatal
from indexer.contract import Contract, Options
from indexer.database import Connection

STARTED = "SELECT chain_id, address, contract_name FROM bridge.token"
NEWEST = """
    SELECT version, fingerprint, definition, retired_seq FROM chain.source WHERE name = $1
    ORDER BY version DESC LIMIT 1"""


@dataclass(frozen=True, slots=True)
class Token:
    """One token on one chain, backed by one reserve account in one currency.

    ``contract_name`` names its event tables (``event.<contract_name>_minted``). One token unit is one
    minor unit of the currency: the token's decimals equal the currency's exponent, so no conversion
    can ever round.
    """

    chain_id: int
    address: bytes
    contract_name: str
    account_id: str
    currency: str
    decimals: int
    kind: TokenKind = "deposit"

    def event_table(self, event: str) -> str:
        """The qualified table of an event: ``minted`` is ``event.token_minted``."""
        return f'event."{self.contract_name}_{event}"'


def as_contract(token: Token, start_block: int | None = None) -> Contract:
    """The token as the indexer follows it: its logs are evidence, so they are kept raw and proved in full."""
    return Contract.from_abi(
        token.contract_name,
        token.chain_id,
        load_abi(token.kind),
        (token.address,),
        start_block=start_block,
        options=Options(raw=True, verify="full", index=("*",)),
    )


class TokenChangedError(Fatal):
    """The settings describe a token otherwise than the database does: a token's account and currency never change."""


class TokenVersionError(Fatal):
    """The settings make another version of the token's tables, or end the first one, which is what the bridge reads."""


async def require_first_version(connection: Connection, contract: Contract) -> None:
    """Raises :class:`TokenVersionError` if registering ``contract`` would make another version of the token that the
    bridge reads. To be called in the transaction that registers it."""
    started = await connection.fetchrow(STARTED)
    name = contract.name if started is None else started["contract_name"]
    newest = await connection.fetchrow(NEWEST, name)
    if newest is None:
        return
    stored = json.loads(newest["definition"])
    is_first = newest["version"] == 1 and newest["retired_seq"] is None
    if is_first and name == contract.name and newest["fingerprint"] == contract.fingerprint:
        return
    changed = changes(stored, contract.definition)
    remedies = ["set that back"] if changed else []
    remedies += ["give token.contract another name"] if started is None else []
    raise TokenVersionError(
        "token: the bridge reads the first version of its token's tables only, and these settings would make another "
        f"one: {'; '.join(changed) or 'that version has ended'}. Nothing was written: "
        f"{', or '.join([*remedies, 'use a new database'])}"
    )


async def require_kept(connection: Connection, names: Collection[str]) -> None:
    """Raises :class:`TokenVersionError` if the token of a bridge that has started is not among the contracts of these
    names any more. To be called in the transaction that registers them."""
    started = await connection.fetchrow(STARTED)
    if started is not None and started["contract_name"] not in names:
        raise TokenVersionError(
            f"token: this database is that of the bridge of {started['contract_name']}, which the settings do not "
            "have any more; without it the bridge could never go on. Nothing was written: put the section [token] "
            "back, or use a new database"
        )


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """What differs in two definitions of the token, each with its setting. Pure."""
    keys = {
        "chain_id": "the id of token.chain",
        "name": "token.contract",
        "addresses": "token.address",
        "start_block": "token.start_block",
    }
    found = [
        f"{setting} was {_shown(before[key])} and is {_shown(after[key])}"
        for key, setting in keys.items()
        if before[key] != after[key]
    ]
    if before["abi"] != after["abi"] or before["events"] != after["events"]:
        found.append("the token's ABI is another one than it was")
    if _options(before) != _options(after):
        found.append(f"{before['name']} was a contract like others, not kept raw as a token is")
    return found


def _options(definition: Mapping[str, Any]) -> dict[str, Any]:
    """Those that make a version."""
    return {k: v for k, v in definition["options"].items() if k not in ("verify", "index")}


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(value) or "any"
    return "not set" if value is None else str(value)


async def register(connection: Connection, token: Token) -> None:
    """Record the account and the token, once; raises :class:`TokenChangedError` if they differ."""
    await connection.execute(
        """INSERT INTO bank.account (account_id, currency, exponent) VALUES ($1, $2, $3)
           ON CONFLICT DO NOTHING""",
        token.account_id,
        token.currency,
        token.decimals,
    )
    await connection.execute(
        "INSERT INTO bank.poll_cursor (account_id, sequence) VALUES ($1, 0) ON CONFLICT DO NOTHING",
        token.account_id,
    )
    await connection.execute(
        """INSERT INTO bridge.token (chain_id, address, contract_name, account_id, currency, decimals, kind)
           VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING""",
        token.chain_id,
        token.address,
        token.contract_name,
        token.account_id,
        token.currency,
        token.decimals,
        token.kind,
    )
    kept = await connection.fetchrow(
        """SELECT t.contract_name, t.account_id, t.currency, t.decimals, t.kind,
                  a.currency AS account_currency, a.exponent
           FROM bridge.token t JOIN bank.account a USING (account_id)
           WHERE t.chain_id = $1 AND t.address = $2""",
        token.chain_id,
        token.address,
    )
    wanted = (
        token.contract_name,
        token.account_id,
        token.currency,
        token.decimals,
        token.kind,
        token.currency,
        token.decimals,
    )
    if kept is None or tuple(kept) != wanted:
        raise TokenChangedError(
            f"token 0x{token.address.hex()} stands in the database as {tuple(kept or ())}, "
            f"the settings say {wanted}: mend [token] and [bank], or use a new database"
        )
