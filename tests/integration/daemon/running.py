"""The daemon as a process of its own, and the bank's counter, for tests of the whole.

`Configuration` is what an operator would write, `Daemon` a process of `landbridge run`, `Teller` asks
the bank simulator what its customers and auditors ask. The parts around them are in `world`.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import itertools
import json
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, TypeVar

import aiohttp

from bridge.bank.webhook import decode_secret
from daemon.demo.bank import ACCOUNT_ID, CURRENCY, as_minor
from daemon.embedded.log_tail import log_tail
from daemon.embedded.process import GuardedProcess

REPOSITORY = Path(__file__).resolve().parents[3]
HOST = "127.0.0.1"
COMMAND_TIMEOUT_S = 120.0
START_TIMEOUT_S = 90.0
POLL_S = 0.1

Tree = dict[str, dict[str, Any]]
T = TypeVar("T")

numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended."""

    status: int
    output: str
    errors: str

    @property
    def told(self) -> list[str]:
        """The lines for people on standard error: not the log, which is JSON."""
        return [line for line in self.errors.splitlines() if not line.startswith("{")]


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back from the daemon."""

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


@dataclass(frozen=True)
class Configuration:
    """Settings in a file of their own, and the secrets that come by environment. ``cwd`` is where everything is
    run, and where the embedded database is kept if the settings name none."""

    folder: Path
    tree: Tree
    environment: dict[str, str] = field(repr=False)
    cwd: Path = REPOSITORY

    def changed(
        self, environment: Mapping[str, str] | None = None, **sections: Any
    ) -> Configuration:
        """Another one, in another file; each section named is laid over the one here. Two underscores stand for
        the point in a section's name."""
        over = {name.replace("__", "."): keys for name, keys in sections.items()}
        names = dict.fromkeys([*self.tree, *over])
        tree = {name: {**self.tree.get(name, {}), **over.get(name, {})} for name in names}
        variables = {**self.environment, **(environment or {})}
        return Configuration(self.folder, tree, variables, self.cwd)

    def write(self) -> Path:
        path = self.folder / f"landbridge-{next(numbers)}.toml"
        lines = []
        for section, keys in self.tree.items():
            lines.append(f"[{section}]")
            # Of these types JSON is TOML, too.
            lines += [f"{key} = {json.dumps(value)}" for key, value in keys.items()]
        path.write_text("\n".join(lines) + "\n")
        return path

    async def command(self, *arguments: str) -> Ended:
        """Run `landbridge` to its end."""
        process = await asyncio.create_subprocess_exec(
            *_argv(self.write(), *arguments),
            env=self.environment,
            cwd=self.cwd,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(COMMAND_TIMEOUT_S):
                output, errors = await process.communicate()
        except BaseException:
            process.kill()
            await process.wait()
            raise
        return Ended(process.returncode or 0, output.decode(), errors.decode())


class Daemon:
    """A process of `landbridge run`. It may be started again after its end; the log is appended to."""

    module = "daemon"

    def __init__(self, configuration: Configuration, port: int, *command: str) -> None:
        """``command`` is ``run`` unless another one is given."""
        self.port = port
        self._command = command or ("run",)
        self.url = f"http://{HOST}:{self.port}"
        self.log_path = configuration.folder / f"daemon-{self.port}.log"
        self._environment = configuration.environment
        self._cwd = configuration.cwd
        self._path = configuration.changed(api={"port": self.port}).write()
        self._process: GuardedProcess | None = None
        self._session: aiohttp.ClientSession | None = None

    @property
    def pid(self) -> int:
        return self._running.pid

    @property
    def returncode(self) -> int | None:
        """Exit status, minus the signal that ended it, or None while it runs."""
        return self._running.returncode

    async def launch(self) -> None:
        """Start the process and wait for nothing."""
        self._process = await GuardedProcess.start(
            _argv(self._path, *self._command, module=self.module),
            env=self._environment,
            log_path=self.log_path,
            cwd=self._cwd,
        )

    async def start(self) -> None:
        """Start the process and wait until it serves."""
        await self.launch()
        await self.serves()

    async def serves(self) -> None:
        async def is_live() -> bool:
            assert self.returncode is None, self.tail()
            try:
                return (await self.get("/livez")).status == 200
            except aiohttp.ClientConnectorError:
                return False

        await eventually("the daemon serves", is_live, START_TIMEOUT_S, self.tail)

    async def stop(self) -> int:
        """SIGTERM; its exit status."""
        status = await self._running.stop()
        self._process = None
        return status

    async def kill(self) -> None:
        """SIGKILL, as a crash would end it."""
        self._running.kill()
        await self.stop()

    def signal(self, number: signal.Signals) -> None:
        self._running.send_signal(number)

    async def close(self) -> None:
        """Whatever it does: end it."""
        if self._session is not None:
            await self._session.close()
        if self._process is not None:
            self._process.kill()
            await self.stop()

    def log(self) -> list[dict[str, Any]]:
        """Every line of its log so far."""
        lines = self.log_path.read_text().splitlines() if self.log_path.exists() else []
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]

    def told(self) -> list[str]:
        """What it said that is not in the log's form: the one line of a start that failed."""
        lines = self.log_path.read_text().splitlines() if self.log_path.exists() else []
        return [line for line in lines if not line.startswith("{")]

    async def logs(self, text: str, since: int = 0, timeout_s: float = 60.0) -> dict[str, Any]:
        """Wait for a line that has this text in it, and answer with it."""

        async def found() -> dict[str, Any] | None:
            lines = self.log()[since:]
            return next((line for line in lines if text in json.dumps(line)), None)

        return await eventually(f"the log has {text!r}", found, timeout_s, self.tail)

    async def get(self, path: str) -> Answer:
        return await self._ask("GET", path)

    async def post(self, path: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        return await self._ask("POST", path, body, headers)

    async def _ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30))
        async with self._session.request(
            method, self.url + path, data=None if body is None else BytesIO(body), headers=headers
        ) as response:
            return Answer(response.status, dict(response.headers), await response.text())

    def tail(self) -> str:
        """Evidence, for who waits in vain."""
        return f"the end of its log:\n{log_tail(self.log_path)}"

    @property
    def _running(self) -> GuardedProcess:
        assert self._process is not None, "the daemon was not started"
        return self._process


class Teller:
    """What the bank's customers, and tests, ask of the simulator; the bank's own words come back."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self._url = url
        self._session = session

    async def pay_in(self, amount: str, iban: str, **changed: Any) -> dict[str, Any]:
        """Book a deposit; the entry as the bank shows it."""
        wanted = {
            "amount": amount,
            "currency": CURRENCY,
            "reference": "paid in",
            "counterparty": {"name": "A payer", "iban": iban},
            "webhook": "normal",
        }
        entry: dict[str, Any] = await self._ask("POST", "deposits", {**wanted, **changed})
        return entry

    async def entries(self) -> list[dict[str, Any]]:
        page = await self._ask("GET", f"accounts/{ACCOUNT_ID}/entries?limit=1000")
        return list(page["entries"])

    async def balance_minor(self) -> int:
        return as_minor((await self._ask("GET", f"accounts/{ACCOUNT_ID}/balance"))["balance"])

    async def payment_status(self, end_to_end_id: str) -> str:
        return str((await self._ask("GET", f"payments/{end_to_end_id}"))["status"])

    async def plan(self, operation: str, kind: str, count: int = 1, delay_s: float = 1.0) -> None:
        wanted = {"operation": operation, "kind": kind, "count": count, "delay_s": delay_s}
        await self._ask("POST", "faults", wanted)

    async def planned(self) -> dict[str, int]:
        return dict((await self._ask("GET", "stats"))["faults"])

    async def forgive(self) -> None:
        """No planned fault is played any more."""
        await self._ask("DELETE", "faults")

    async def _ask(self, method: str, path: str, body: object = None) -> Any:
        async with self._session.request(method, f"{self._url}/v1/{path}", json=body) as response:
            assert response.status < 300, f"{method} {path}: {await response.text()}"
            return await response.json()


async def eventually(
    what: str,
    look: Callable[[], Awaitable[T | None]],
    timeout_s: float,
    evidence: Callable[[], str] = str,
) -> T:
    """Look again and again until something true is seen; `evidence` is told if it never is."""
    deadline = time.monotonic() + timeout_s
    while True:
        found = await look()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"after {timeout_s:g} s it is not so that {what}; {evidence()}")
        await asyncio.sleep(POLL_S)


def event_body(entry: Mapping[str, Any], account: str = ACCOUNT_ID) -> bytes:
    """The body of the webhook that the bank sends about an entry of its books."""
    event = {
        "type": "entry.booked",
        "timestamp": entry["booked_at"],
        "data": {"account": account, "entry": dict(entry)},
    }
    return json.dumps(event).encode()


def signed(secret: str, body: bytes, message_id: str, age_s: int = 0) -> dict[str, str]:
    """The headers of a webhook that was signed `age_s` seconds ago."""
    at = str(int(time.time()) - age_s)
    content = f"{message_id}.{at}.".encode() + body
    signature = base64.b64encode(hmac.digest(decode_secret(secret), content, hashlib.sha256))
    return {
        "Webhook-Id": message_id,
        "Webhook-Timestamp": at,
        "Webhook-Signature": f"v1,{signature.decode()}",
        "Content-Type": "application/json",
    }


def _argv(config: Path, *arguments: str, module: str = "daemon") -> list[str]:
    return [sys.executable, "-m", module, "--config", str(config), *arguments]
