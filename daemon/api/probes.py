"""``/livez`` and ``/readyz``: should this process be restarted, should it be relied on?"""

import asyncio
import time
from collections.abc import Callable, Mapping
from http import HTTPMethod
from typing import Final

from aiohttp import web
from pydantic import BaseModel

from daemon import migrations
from daemon.api.database import ApiDatabase
from daemon.api.layer import Reply, Route, Scope
from daemon.facts import ProcessFacts
from daemon.health import (
    LAG_LIMIT_BLOCKS,
    ChainFacts,
    DatabaseFacts,
    Facts,
    Judgement,
    Lease,
    Limits,
    State,
    judge_liveness,
    judge_readiness,
)
from daemon.sections import Chain
from daemon.settings import Settings
from indexer.database import Connection
from indexer.errors import DatabaseUnavailable
from indexer.follower import role

LONGEST_TURN_S: Final = 5.0
POLLS_MISSED: Final = 20
# With a WebSocket the follower rests for up to 15 s between two looks.
SHORTEST_HEAD_AGE_S: Final = 45.0

LEASES: Final = "SELECT role, holder FROM ops.lease WHERE expires_at > clock_timestamp()"
LAGS: Final = """
    SELECT chain_id, greatest(coalesce(node_head_number, head_number) - head_number, 0) AS lag_blocks
    FROM chain.cursor WHERE chain_id = ANY ($1::bigint[]) AND head_number IS NOT NULL"""


class Health(BaseModel):
    """The judgement, and every reason why it is not a better one."""

    status: State
    reasons: list[str]


def limits(chains: Mapping[str, Chain]) -> Limits:
    """A head may miss some polls, and at least some seconds, before it is stale."""
    age_s = {
        name: max(POLLS_MISSED * chain.poll_interval_s, SHORTEST_HEAD_AGE_S)
        for name, chain in chains.items()
    }
    return Limits(lag_blocks=LAG_LIMIT_BLOCKS, head_age_s=age_s)


class ProbeRoutes:
    """Gathers the facts and answers with the judgement."""

    def __init__(
        self, database: ApiDatabase, facts: Callable[[], ProcessFacts], settings: Settings
    ) -> None:
        self._database = database
        self._facts = facts
        self._chains = settings.chains
        self._limits = limits(settings.chains)
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
        process = self._facts()
        facts = Facts(holder=process.holder, loops=process.loops, database=database)
        return _reply(judge_readiness(facts, self._limits))

    async def _ask(self, connection: Connection) -> DatabaseFacts:
        fault = await self._schema_fault(connection)
        if fault is not None:
            return DatabaseFacts(schema_fault=fault, leases=(), chains=())
        leases = await connection.fetch(LEASES)
        ids = [chain.id for chain in self._chains.values()]
        lags = {row["chain_id"]: row["lag_blocks"] for row in await connection.fetch(LAGS, ids)}
        return DatabaseFacts(
            schema_fault=None,
            leases=[Lease(row["role"], row["holder"]) for row in leases],
            chains=[
                ChainFacts(name=name, role=role(chain.id), lag_blocks=lags.get(chain.id))
                for name, chain in self._chains.items()
            ],
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
