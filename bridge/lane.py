"""A lane: one signer and its nonces, the only user of both, under the lease of role ``submit``.

Each step commits before the next one begins, so a kill between any two of them leaves a journal from
which the following start goes on: a nonce without bytes is signed, bytes without an answer are sent
again, and nothing is ever sent that the journal does not hold.
"""

import asyncpg

from bridge import journal
from bridge.custody.protocol import Custody
from bridge.node import Node
from bridge.resolver import Resolver
from bridge.sender import Sender
from bridge.taker import LaneSettings, Taker
from bridge.token import Token
from indexer.lease import Fence, fenced


class Lane:
    """Sees transactions through, sends what is journalled, then takes more; again and again."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        node: Node,
        custody: Custody,
        token: Token,
        signer: bytes,
        settings: LaneSettings,
    ) -> None:
        self._pool = pool
        self._token = token
        self._signer = signer
        self._resolver = Resolver(pool, node, token, signer)
        self._taker = Taker(pool, node, token, signer, settings)
        self._sender = Sender(pool, node, custody, token, signer, settings)

    async def open(self, fence: Fence, key_id: str) -> None:
        """Open the signer's journal; raises SignerUnknownError if the chain has seen more of it."""
        async with fenced(self._pool, fence) as connection:
            next_nonce = await journal.open_signer(
                connection, self._token.chain_id, self._signer, key_id
            )
        await self._resolver.refuse_unknown_nonces(next_nonce)

    async def step(self, fence: Fence) -> bool:
        """One round; answers whether there was anything to do."""
        resolved = await self._resolver.step(fence)
        # First what is journalled already: that taking fails must not keep it back.
        sent = await self._sender.step(fence)
        taken = await self._taker.step(fence)
        if taken:
            await self._sender.step(fence)
        return resolved or sent or taken
