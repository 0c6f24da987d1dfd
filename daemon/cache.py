"""The rendered status, shared by daemons on one database, so that ten of them ask Postgres as often as one.

A cache may be slow, empty, wrong or away: each of these is a miss, which is counted, and the status is then
rendered anew. Nothing here ever fails.
"""

import asyncio
from collections import Counter
from typing import Final, Literal

import msgspec
import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from indexer.database import Connection, reachable

log = structlog.get_logger()

TTL_S: Final = 1.0
TIMEOUT_S: Final = 0.05
MAX_BYTES: Final = 1024 * 1024
KEY: Final = "landbridge:status:{database}:{schema_version}"
# A server's identity survives a change of its name or address; a restored copy has the same one until it is
# promoted, which the timeline tells.
IDENTITY: Final = """
    SELECT system_identifier || '-' || timeline_id || '-' || oid
    FROM pg_control_system(), pg_control_checkpoint(), pg_database WHERE datname = current_database()"""

Outcome = Literal["hit", "empty", "garbage", "unavailable", "kept", "not_kept"]


async def database_identity(connection: Connection) -> str:
    """What tells this database from every other one. Raises :class:`indexer.errors.DatabaseUnavailable`."""
    async with reachable():
        return str(await connection.fetchval(IDENTITY))


class StatusCache:
    """JSON objects under one key. ``outcomes`` counts how asking and keeping went, since the start."""

    def __init__(
        self,
        redis: Redis,
        database: str,
        schema_version: int,
        *,
        ttl_s: float = TTL_S,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        """``database`` is what :func:`database_identity` says, ``schema_version`` its newest migration."""
        self._redis = redis
        self._key = KEY.format(database=database, schema_version=schema_version)
        self._ttl_ms = max(1, round(ttl_s * 1000))
        self._timeout_s = timeout_s
        self.outcomes: Counter[Outcome] = Counter()

    async def get(self) -> str | None:
        """The text that some daemon kept at most ``ttl_s`` ago; None if there is none to be had in time."""
        try:
            async with asyncio.timeout(self._timeout_s):
                # Not more of it than a status can have, whatever stands there.
                found = await self._redis.getrange(self._key, 0, MAX_BYTES)
        except (RedisError, OSError, TimeoutError, UnicodeDecodeError) as error:
            self._miss("unavailable", error)
            return None
        if not found:
            self.outcomes["empty"] += 1
            return None
        text = _text(found)
        if text is None:
            self._miss("garbage", None)
            return None
        self.outcomes["hit"] += 1
        return text

    async def set(self, text: str) -> None:
        """Keep a status for ``ttl_s``."""
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._redis.set(self._key, text, px=self._ttl_ms)
        except (RedisError, OSError, TimeoutError) as error:
            self._miss("not_kept", error)
            return
        self.outcomes["kept"] += 1

    def _miss(self, outcome: Outcome, error: Exception | None) -> None:
        self.outcomes[outcome] += 1
        log.debug("status_cache_missed", outcome=outcome, error=repr(error) if error else None)


def _text(found: bytes | str) -> str | None:
    """The text, if it is a whole JSON object; None if it is anything else."""
    try:
        text = found.decode() if isinstance(found, bytes) else found
        value = msgspec.json.decode(text)
    except (UnicodeDecodeError, msgspec.DecodeError):
        return None
    return text if isinstance(value, dict) and len(found) <= MAX_BYTES else None
