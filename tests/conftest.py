"""Real parts for the tests: PostgreSQL, Anvil, the compiled token. Each is started when first asked
for, on a port of its own, and is gone when the tests end, however they end."""

from __future__ import annotations

import asyncio
import itertools
import json
import secrets
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

import asyncpg
import pytest
import pytest_asyncio
from hypothesis import HealthCheck, settings

from daemon import migrations
from daemon.embedded.anvil import PACKAGES, Anvil
from daemon.embedded.postgres import EmbeddedPostgres
from daemon.embedded.valkey import EmbeddedValkey

# How long an example takes says how busy the machine is.
settings.register_profile("landbridge", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("landbridge")

REPOSITORY = Path(__file__).resolve().parents[1]
TOKEN_ARTIFACT = REPOSITORY / "contracts" / "out" / "DepositToken.sol" / "DepositToken.json"
FORGE_TIMEOUT_S = 300.0
TEMPLATE = "landbridge_template"
DAEMON_ROLE = "landbridge_daemon"

_database_numbers = itertools.count(1)


@dataclass(frozen=True)
class Template:
    """A migrated database that each test gets a copy of."""

    name: str
    daemon_password: str = field(repr=False)


@dataclass(frozen=True)
class Database:
    """A test's own database: as its owner, who may do everything, and as the daemon's role."""

    name: str
    owner_dsn: str = field(repr=False)
    daemon_dsn: str = field(repr=False)


class TokenArtifact(TypedDict):
    """What forge made of DepositToken. `bytecode` is its creation code, 0x and hex."""

    abi: list[dict[str, object]]
    bytecode: str


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def postgres() -> AsyncIterator[EmbeddedPostgres]:
    """One server for the whole run. Its data is thrown away, so it does not wait for the disk."""
    async with EmbeddedPostgres(fsync=False) as server:
        yield server


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def template(postgres: EmbeddedPostgres) -> Template:
    return await migrated(postgres)


async def migrated(postgres: EmbeddedPostgres) -> Template:
    """The migrations, run once on a server."""
    password = secrets.token_urlsafe(24)
    await execute(postgres, f'CREATE DATABASE "{TEMPLATE}"')
    await migrations.migrate(postgres.dsn(TEMPLATE))
    await execute(postgres, f"ALTER ROLE {DAEMON_ROLE} LOGIN PASSWORD '{password}'")
    return Template(TEMPLATE, password)


@asynccontextmanager
async def new_database(postgres: EmbeddedPostgres, template: Template) -> AsyncIterator[Database]:
    """A fresh, migrated database; dropped afterwards, connections that are still open included."""
    name = f"test_{next(_database_numbers)}"
    # Copying files takes some 8 ms without fsync; the default, through the write-ahead log, more.
    await execute(postgres, f'CREATE DATABASE "{name}" TEMPLATE "{TEMPLATE}" STRATEGY FILE_COPY')
    yield Database(
        name=name,
        owner_dsn=postgres.dsn(name),
        daemon_dsn=postgres.dsn(name, DAEMON_ROLE, template.daemon_password),
    )
    await execute(postgres, f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest_asyncio.fixture(loop_scope="session")
async def database(postgres: EmbeddedPostgres, template: Template) -> AsyncIterator[Database]:
    """A test's own."""
    async with new_database(postgres, template) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="session")
async def empty_database(postgres: EmbeddedPostgres) -> AsyncIterator[str]:
    """URL, as its owner, of a database in which nothing was migrated."""
    name = f"test_{next(_database_numbers)}"
    await execute(postgres, f'CREATE DATABASE "{name}"')
    yield postgres.dsn(name)
    await execute(postgres, f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest_asyncio.fixture(loop_scope="session")
async def anvil() -> AsyncIterator[Anvil]:
    """A chain of the test's own that mines only when told to; `finalized` is 4 blocks behind."""
    async with Anvil() as chain:
        yield chain


@pytest.fixture(scope="session")
def token_artifact() -> TokenArtifact:
    """DepositToken, compiled from the sources as they are now."""
    forge = next(iter(sorted(PACKAGES.glob("forge-*/bin/forge"))), None)
    if forge is None:
        pytest.fail(f"forge was not found in {PACKAGES}: run `make setup`")
    built = subprocess.run(
        [str(forge), "build", "--skip", "test", "--skip", "script"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=FORGE_TIMEOUT_S,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    artifact = json.loads(TOKEN_ARTIFACT.read_text())
    return TokenArtifact(abi=artifact["abi"], bytecode=artifact["bytecode"]["object"])


async def execute(postgres: EmbeddedPostgres, statement: str) -> None:
    """Run one statement as the superuser, outside a transaction."""
    connection = await asyncpg.connect(postgres.dsn())
    try:
        await asyncio.wait_for(connection.execute(statement), 60.0)
    finally:
        await connection.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def valkey() -> AsyncIterator[EmbeddedValkey]:
    """One server for the whole run, empty at first; its data is in memory only."""
    async with EmbeddedValkey() as server:
        yield server
