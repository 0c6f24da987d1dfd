"""``/status`` and ``/metrics``: where both ledgers stand, for people and for Prometheus."""

from collections.abc import Callable
from http import HTTPMethod

from aiohttp import web

from bridge.token import Token
from daemon import metrics
from daemon.api.database import ApiDatabase
from daemon.api.layer import Reply, Route, Scope
from daemon.health import LoopFacts
from daemon.metrics import Metrics
from daemon.settings import Settings
from daemon.status import Status, read_status
from indexer.errors import DatabaseUnavailable


class ObservationRoutes:
    """Reads the status and shows it in both forms."""

    def __init__(
        self,
        database: ApiDatabase,
        token: Token,
        facts: Callable[[], list[LoopFacts]],
        settings: Settings,
        counted: Metrics,
    ) -> None:
        self._database = database
        self._token = token
        self._facts = facts
        self._settings = settings
        self._counted = counted

    def routes(self) -> list[Route]:
        """Both routes."""
        return [
            Route(
                method=HTTPMethod.GET,
                path="/status",
                name="getStatus",
                summary="Where both ledgers stand.",
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
        async with self._database.required() as connection:
            return Reply(await read_status(connection, self._token, self._settings, self._facts()))

    async def _metrics(self, _: web.Request) -> Reply:
        status: Status | None
        try:
            async with self._database.reached() as connection:
                status = await read_status(connection, self._token, self._settings, self._facts())
        except DatabaseUnavailable:
            status = None
        return Reply(self._counted.render(status, self._facts()))
