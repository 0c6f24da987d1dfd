"""Completes a status with what only Redis knows: how far the streams and their consumer groups are.

Redis may be away, or slow: then that part is missing, and nothing else.
"""

import asyncio
from typing import Final

from redis.asyncio import Redis

from daemon.index_status import ChainStatus, StreamStatus
from daemon.status import Status
from indexer.stream.lags import stream_lag

TIMEOUT_S: Final = 0.5


async def with_streams(status: Status, redis: Redis) -> Status:
    """The same, with a stream for each chain that has one in Redis."""
    chains = await asyncio.gather(*(_with_stream(chain, redis) for chain in status.chains))
    return status.model_copy(update={"chains": list(chains)})


async def _with_stream(chain: ChainStatus, redis: Redis) -> ChainStatus:
    try:
        async with asyncio.timeout(TIMEOUT_S):
            found = await stream_lag(redis, chain.id, chain.feed_seq, TIMEOUT_S)
    except TimeoutError:
        return chain
    stream = None if found is None else StreamStatus.model_validate(found)
    return chain.model_copy(update={"stream": stream})
