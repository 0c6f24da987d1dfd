"""``/livez`` and ``/readyz``: should this process be restarted, should it be relied on?"""

import asyncio
import time
from collections.abc import Callable
from http import HTTPMethod
from typing import Final

from aiohttp import web
from pydantic import BaseModel

from daemon import migrations
from daemon.api.database import ApiDatabase
from daemon.api.layer import Reply, Route, Scope
from daemon.health import (
    DatabaseFacts,
    Facts,
    Judgement,
    Lease,
    Limits,
    LoopFacts,
    State,
    judge_liveness,
    judge_readiness,
)
from daemon.settings import Chain
from indexer.database import Connection
from indexer.errors import DatabaseUnavailable

LONGEST_TURN_S: Final = 5.0
LAG_LIMIT_BLOCKS: Final = 20
POLLS_MISSED: Final = 20
SHORTEST_HEAD_AGE_S: Final = 15.0


class Health(BaseModel):
    """The judgement, and every reason why it is not a better one."""

    status: State
    reasons: list[str]


def limits(chain: Chain) -> Limits:
    """A head may miss some polls, and at least some seconds, before it is stale."""
    age_s = max(POLLS_MISSED * chain.poll_interval_s, SHORTEST_HEAD_AGE_S)
    return Limits(lag_blocks=LAG_LIMIT_BLOCKS, head_age_s=age_s)


class ProbeRoutes:
    """Gathers the facts and answers with the judgement."""

    def __init__(
        self, database: ApiDatabase, facts: Callable[[], list[LoopFacts]], holder: str, chain: Chain
    ) -> None:
        self._database = database
        self._facts = facts
        self._holder = holder
        self._chain = chain
        self._limits = limits(chain)
        self._migrations = migrations.load()

    def routes(self) -> list[Route]:
        """Both probes: 200 if all is well, 503 with the reasons if not."""
        return [
            Route(
                method=HTTPMethod.GET,
                path="/livez",
                name="getLiveness",
                summary="Whether the process turns.",
                scope=Scope.OPEN,
                handle=self._liveness,
                replies={200: Health, 503: Health},
            ),
            Route(
                method=HTTPMethod.GET,
                path="/readyz",
                name="getReadiness",
                summary="Whether this daemon's part of the work is being done.",
                scope=Scope.OPEN,
                handle=self._readiness,
                replies={200: Health, 503: Health},
            ),
        ]

    async def _liveness(self, _: web.Request) -> Reply:
        began = time.monotonic()
        await asyncio.sleep(0)
        return _reply(judge_liveness(time.monotonic() - began, LONGEST_TURN_S))

    async def _readiness(self, _: web.Request) -> Reply:
        try:
            async with self._database.reached() as connection:
                database = await self._ask(connection)
        except DatabaseUnavailable:
            database = None
        facts = Facts(holder=self._holder, loops=self._facts(), database=database)
        return _reply(judge_readiness(facts, self._limits))

    async def _ask(self, connection: Connection) -> DatabaseFacts:
        fault = await self._schema_fault(connection)
        if fault is not None:
            return DatabaseFacts(schema_fault=fault, leases=(), lag_blocks=None)
        leases = await connection.fetch(
            "SELECT role, holder FROM ops.lease WHERE expires_at > clock_timestamp()"
        )
        lag_blocks = await connection.fetchval(
            """SELECT greatest(coalesce(node_head_number, head_number) - head_number, 0)
               FROM chain.cursor WHERE chain_id = $1 AND head_number IS NOT NULL""",
            self._chain.id,
        )
        return DatabaseFacts(
            schema_fault=None,
            leases=[Lease(row["role"], row["holder"]) for row in leases],
            lag_blocks=lag_blocks,
        )

    async def _schema_fault(self, connection: Connection) -> str | None:
        try:
            await migrations.check(connection, self._migrations)
        except migrations.MigrationError as error:
            return str(error)
        return None


def _reply(judgement: Judgement) -> Reply:
    well = judgement.state in (State.LIVE, State.READY)
    body = Health(status=judgement.state, reasons=list(judgement.reasons))
    return Reply(body, 200 if well else 503)
