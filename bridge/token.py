"""The deposit token and the bank account that backs it."""

from dataclasses import dataclass

from bridge.calldata import load_abi
from bridge.errors import Fatal
from indexer.contract import Contract, Options
from indexer.database import Connection


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

    def event_table(self, event: str) -> str:
        """The qualified table of an event: ``minted`` is ``event.token_minted``."""
        return f'event."{self.contract_name}_{event}"'


def as_contract(token: Token, start_block: int | None = None) -> Contract:
    """The token as the indexer follows it: its logs are evidence, so they are kept raw and proved in full."""
    return Contract.from_abi(
        token.contract_name,
        token.chain_id,
        load_abi(),
        (token.address,),
        start_block=start_block,
        options=Options(raw=True, verify="full", index=("*",)),
    )


class TokenChangedError(Fatal):
    """The settings describe a token otherwise than the database does: a token's account and currency never change."""


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
        """INSERT INTO bridge.token (chain_id, address, contract_name, account_id, currency, decimals)
           VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING""",
        token.chain_id,
        token.address,
        token.contract_name,
        token.account_id,
        token.currency,
        token.decimals,
    )
    kept = await connection.fetchrow(
        """SELECT t.contract_name, t.account_id, t.currency, t.decimals, a.currency AS account_currency, a.exponent
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
        token.currency,
        token.decimals,
    )
    if kept is None or tuple(kept) != wanted:
        raise TokenChangedError(
            f"token 0x{token.address.hex()} stands in the database as {tuple(kept or ())}, "
            f"the settings say {wanted}: mend [token] and [bank], or use a new database"
        )
