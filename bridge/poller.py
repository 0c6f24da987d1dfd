"""The REST poll: the channel that finds what webhooks lost. It only keeps pages; ingest acts on them."""

import asyncio
from typing import Final

import asyncpg
import structlog

from bridge.bank.connector import BankConnector
from bridge.bank.errors import BankMessageError, BankUnavailable
from bridge.ingest import receive
from bridge.token import Token

log = structlog.get_logger()

# How long ingest has for a page before it is looked at again.
PAUSE_S: Final = 0.05
WAITS: Final = """
    SELECT EXISTS (SELECT FROM bank.waiting JOIN bank.raw USING (raw_id) WHERE channel = 'poll')"""


class Poller:
    """Asks for every entry after the last sequence without a gap, under the lease of role ``operate``."""

    def __init__(self, pool: asyncpg.Pool, bank: BankConnector, token: Token) -> None:
        self._pool = pool
        self._bank = bank
        self._token = token

    async def step(self) -> bool:
        """Ask for one page; answers whether the bank had something that was not kept yet.

        An unavailable bank is a warning: the next poll asks again from the same sequence.
        """
        if await self._pool.fetchval(WAITS):
            # The cursor does not know of it yet: the bank would show the same entries once more.
            await asyncio.sleep(PAUSE_S)
            return True
        after = await self._pool.fetchval(
            "SELECT sequence FROM bank.poll_cursor WHERE account_id = $1", self._token.account_id
        )
        try:
            page = await self._bank.entries(after)
        except (BankUnavailable, BankMessageError) as error:
            log.warning("bank_poll_failed", error=str(error))
            return False
        if not page.entries and not page.refused:
            return False
        async with self._pool.acquire() as connection:
            # A page is named by its content, so asking again for the same entries keeps nothing twice.
            return await receive(connection, "poll", page.digest, page.raw) == "new"
