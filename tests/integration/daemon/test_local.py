"""The embedded database: ten lines of TOML and `landbridge run` are enough, and several processes share it."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import shutil
import stat
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio
from redis.asyncio import Redis

from daemon.embedded.account import new_temporary_path, unprivileged_account
from daemon.embedded.postgres import free_port
from daemon.embedded.process import GuardedProcess
from daemon.errors import StartError
from daemon.local import LocalDatabase
from tests.integration.daemon.echo import TRANSFER
from tests.integration.daemon.indexing import WAIT_S, Site, shows, site, tree_of, values
from tests.integration.daemon.running import HOST, Configuration, Daemon, eventually

TEN = list(range(10))


@pytest.fixture
def folder() -> Iterator[Path]:
    """Where `nobody` can enter; pytest's own folders are closed to others."""
    path = new_temporary_path(unprivileged_account())
    path.mkdir(mode=0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def main() -> AsyncIterator[Site]:
    async with site("main", 3001) as made:
        yield made


def in_folder(folder: Path, one: Site) -> Configuration:
    return Configuration(folder, tree_of(one), {"PATH": "/usr/bin:/bin"}, cwd=folder)


async def url_of(folder: Path) -> str:
    """The database of a running process, as its owner."""
    port = json.loads((folder / ".landbridge/state.json").read_text())["port"]
    password = (folder / ".landbridge/postgres/password").read_text().strip()
    return f"postgresql://postgres:{password}@{HOST}:{port}/landbridge"


async def test_ten_lines_and_one_command_index_a_contract(folder: Path, main: Site) -> None:
    (folder / "landbridge.toml").write_text(f"""\
[chains.main]
id = {main.chain_id}
rpc_urls = ["{main.anvil.url}"]

[contracts.coin]
address = "{main.coin.address}"
events = ["{TRANSFER}"]
""")
    # As a person would: no --config, in the folder of the file.
    process = await GuardedProcess.start(
        [sys.executable, "-m", "daemon", "run"],
        env={"PATH": "/bin", "LANDBRIDGE_API__PORT": str(free_port())},
        log_path=folder / "log",
        cwd=folder,
    )
    async with process:

        async def is_indexed() -> bool:
            try:
                return await values(await url_of(folder), "coin_transfer") == TEN
            except (OSError, asyncpg.PostgresError):
                return False

        await eventually("it is indexed", is_indexed, WAIT_S, (folder / "log").read_text)
        reader = await asyncpg.connect((folder / ".landbridge/reader-url").read_text().strip())
        assert await reader.fetchval("SELECT count(*) FROM v1.coin_transfer_final") == 10
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await reader.fetchval("SELECT count(*) FROM event.coin_transfer")
        await reader.close()
        assert await process.stop() == 0


async def test_others_use_the_database_of_the_process_that_runs_it(
    folder: Path, main: Site
) -> None:
    configuration = in_folder(folder, main)
    daemon = Daemon(configuration, free_port())
    try:
        await daemon.start()
        await shows(await url_of(folder), "main_coin_transfer", TEN, daemon)
        asking = configuration.changed(api={"port": daemon.port})
        told = json.loads((await asking.command("index", "status", "--json")).output)
        (chain,) = told["chains"]
        assert (chain["state"], chain["sources"][0]["state"]) == ("synced", "joined")
        assert (await asking.command("index", "verify")).status == 0
        assert (await asking.command("check")).status == 0
        assert (await asking.command("migrate")).status == 0
        assert (await daemon.get("/livez")).status == 200
    finally:
        await daemon.close()


async def test_after_a_kill_the_next_start_goes_on_at_the_same_port(
    folder: Path, main: Site
) -> None:
    daemon = Daemon(in_folder(folder, main), free_port())
    try:
        await daemon.start()
        url = await url_of(folder)
        await shows(url, "main_coin_transfer", TEN, daemon)
        await daemon.kill()
        await daemon.start()
        assert await url_of(folder) == url
        assert await values(url, "main_coin_transfer") == TEN
    finally:
        await daemon.close()


async def test_when_the_process_that_runs_it_is_killed_another_one_runs_it_on(
    folder: Path, main: Site
) -> None:
    configuration = in_folder(folder, main)
    first, second = Daemon(configuration, free_port()), Daemon(configuration, free_port())
    try:
        await first.start()
        url = await url_of(folder)
        await shows(url, "main_coin_transfer", TEN, first)
        await second.start()
        await first.kill()
        await second.logs("embedded_database_taken_over")
        assert await url_of(folder) == url

        async def is_ready() -> bool:
            return (await second.get("/readyz")).status == 200

        await eventually("the other one works on", is_ready, WAIT_S, second.tail)
        assert await values(url, "main_coin_transfer") == TEN
    finally:
        await first.close()
        await second.close()


async def test_the_feed_has_a_stream_unless_it_is_switched_off(folder: Path, main: Site) -> None:
    configuration = in_folder(folder, main)
    daemon = Daemon(configuration, free_port())
    try:
        await daemon.start()
        await shows(await url_of(folder), "main_coin_transfer", TEN, daemon)
        redis = Redis.from_url((folder / ".landbridge/redis-url").read_text().strip())

        async def has_entries() -> bool:
            return bool(await redis.xlen(f"landbridge:feed:{main.chain_id}"))

        await eventually("the stream has entries", has_entries, WAIT_S, daemon.tail)
        again = await configuration.command("index", "replay", "--from", "1", "--stream", "mine")
        assert again.status == 0, again.errors
        assert await redis.xlen("mine")
        await redis.aclose()
        await daemon.stop()
        alone = await configuration.command("index", "replay", "--from", "1", "--stream", "mine")
        assert "start `landbridge run` first" in alone.told[-1]
    finally:
        await daemon.close()
    off = Daemon(configuration.changed(redis={"enabled": False}), free_port())
    try:
        await off.start()
        names = {loop["name"] for loop in (await off.get("/status")).json["loops"]}
        assert names == {"follower:main", "backfill:main", "upkeep:main", "auditor:main"}
    finally:
        await off.close()


async def test_passwords_are_for_their_owner_only_and_in_no_log(folder: Path, main: Site) -> None:
    daemon = Daemon(in_folder(folder, main), free_port())
    try:
        await daemon.start()
        kept = folder / ".landbridge"
        names = ("postgres/password", "landbridge_daemon-password", "reader-url", "redis-url")
        for path in (kept / name for name in names):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
            assert path.read_text().strip() not in daemon.log_path.read_text()
        assert (kept / ".gitignore").read_text() == "*\n"
    finally:
        await daemon.close()


async def test_a_second_one_in_this_process_attaches_and_inherits(folder: Path) -> None:
    first = await LocalDatabase(folder / "db").__aenter__()
    second = await LocalDatabase(folder / "db").__aenter__()
    try:
        assert (first.is_ours, second.is_ours) == (True, False)
        assert first.url == second.url
        await first.close()

        async def is_inherited() -> bool:
            return second.is_ours

        await eventually("it is inherited", is_inherited, WAIT_S)
        connection = await asyncpg.connect(second.url)
        assert await connection.fetchval("SELECT current_user") == "landbridge_daemon"
        await connection.close()
    finally:
        await first.close()
        await second.close()


async def test_a_lost_password_is_told_with_its_remedy(folder: Path) -> None:
    async with LocalDatabase(folder / "db"):
        pass
    (folder / "db/postgres/password").unlink()
    with pytest.raises(Exception, match="is missing"):
        await LocalDatabase(folder / "db").__aenter__()


async def test_a_folder_that_is_held_without_a_database_is_told_in_time(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daemon.local.START_TIMEOUT_S", 1.0)
    (folder / "db").mkdir()
    fd = os.open(folder / "db/lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(fd, fcntl.LOCK_EX)
    try:
        async with asyncio.timeout(20):
            with pytest.raises(StartError, match="another process holds it"):
                await LocalDatabase(folder / "db").__aenter__()
    finally:
        os.close(fd)
