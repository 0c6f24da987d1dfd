"""``/status`` and ``/metrics``: where everything stands, for people and for Prometheus."""

from collections.abc import Callable
from contextlib import suppress
from http import HTTPMethod

from aiohttp import web
from pydantic import ValidationError
from redis.asyncio import Redis

from daemon import metrics
from daemon.api.database import ApiDatabase
from daemon.api.layer import Reply, Route, Scope
from daemon.cache import StatusCache
from daemon.facts import ProcessFacts
from daemon.metrics import Metrics
from daemon.settings import Settings
from daemon.status import Status, as_seen_by, read_status
from daemon.stream_status import with_streams
from indexer.errors import DatabaseUnavailable


class ObservationRoutes:
    """Reads the status and shows it in both forms. What database and Redis say may come from the ``cache``."""

    def __init__(
        self,
        database: ApiDatabase,
        facts: Callable[[], ProcessFacts],
        settings: Settings,
        counted: Metrics,
        cache: StatusCache | None,
        redis: Redis | None,
    ) -> None:
        self._database = database
        self._facts = facts
        self._settings = settings
        self._counted = counted
        self._cache = cache
        self._redis = redis

    def routes(self) -> list[Route]:
        """Both routes."""
        return [
            Route(
                method=HTTPMethod.GET,
                path="/status",
                name="getStatus",
                summary="Where everything stands.",
                scope=Scope.OPEN,
                handle=self._status,
                replies={200: Status},
                problems=(503,),
            ),
            Route(
                method=HTTPMethod.GET,
                path="/metrics",
                name="getMetrics",
                summary="The same as numbers, for Prometheus.",
                scope=Scope.OPEN,
                handle=self._metrics,
                replies={200: metrics.CONTENT_TYPE},
            ),
        ]

    async def _status(self, _: web.Request) -> Reply:
        status = await self._kept()
        if status is None:
            async with self._database.required() as connection:
                status = await read_status(connection, self._settings)
            status = await self._completed(status)
        return Reply(as_seen_by(status, self._facts()))

    async def _metrics(self, _: web.Request) -> Reply:
        process = self._facts()
        status = await self._kept()
        if status is None:
            with suppress(DatabaseUnavailable):
                async with self._database.reached() as connection:
                    status = await read_status(connection, self._settings)
                status = await self._completed(status)
        if self._cache is not None:
            self._counted.cache_outcomes = {str(k): n for k, n in self._cache.outcomes.items()}
        seen = None if status is None else as_seen_by(status, process)
        return Reply(self._counted.render(seen, process.loops))

    async def _kept(self) -> Status | None:
        """What another daemon, or this one, has read a moment ago."""
        text = None if self._cache is None else await self._cache.get()
        if text is None:
            return None
        try:
            return Status.model_validate_json(text)
        except ValidationError:
            # Of another version of this program.
            return None

    async def _completed(self, status: Status) -> Status:
        """With what Redis knows; and kept there for others."""
        if self._redis is not None:
            status = await with_streams(status, self._redis)
        if self._cache is not None:
            await self._cache.set(status.model_dump_json())
        return status
