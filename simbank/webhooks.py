"""Telling the customer about entries: signed as Standard Webhooks says, and badly on purpose.

Messages become due at seeded moments within a short spread, so they arrive out of order; a message
keeps its id through retries and repetitions. What was not delivered when the simulator stops is
lost: the customer finds those entries by polling.
"""

import asyncio
import base64
import hashlib
import heapq
import hmac
import itertools
import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import aiohttp

from simbank.faults import FaultPlan
from simbank.records import Entry, timestamp

MAX_QUEUED = 100_000
MAX_AT_ONCE = 8
MAX_ATTEMPTS = 8
FIRST_RETRY_S = 0.5
LONGEST_RETRY_S = 30.0
ANSWER_TIMEOUT_S = 5.0
_PREFIX = "whsec_"


def secret_key(text: str) -> bytes:
    """The key inside whsec_<base64>; raises ValueError without repeating the secret."""
    try:
        key = base64.b64decode(text.removeprefix(_PREFIX), validate=True)
    except ValueError:
        key = b""
    if not text.startswith(_PREFIX) or not 24 <= len(key) <= 64:
        raise ValueError("the webhook secret must be whsec_ and the base64 of 24 to 64 bytes")
    return key


def sign(key: bytes, message_id: str, at_s: int, body: bytes) -> dict[str, str]:
    """The three headers of Standard Webhooks."""
    signed = f"{message_id}.{at_s}.".encode() + body
    signature = base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(at_s),
        "webhook-signature": f"v1,{signature}",
    }


@dataclass(frozen=True, slots=True, order=True)
class _Delivery:
    due_at_s: float
    order: int
    message_id: str = field(compare=False)
    body: bytes = field(compare=False)
    attempt: int = field(compare=False, default=1)


@dataclass(frozen=True, slots=True)
class Target:
    """Where messages go, and how they are signed and delayed."""

    url: str | None
    key: bytes = field(repr=False)
    spread_s: float
    late_s: float


class WebhookSender:
    """A bounded queue of messages and the loop that delivers it; `now_s` is wall-clock time."""

    def __init__(
        self,
        account_id: str,
        target: Target,
        faults: FaultPlan,
        chance: random.Random,
        now_s: Callable[[], float],
    ) -> None:
        self._account_id = account_id
        self._target = target
        self._faults = faults
        self._chance = chance
        self._now_s = now_s
        self._queue: list[_Delivery] = []
        self._order = itertools.count()
        self._wake = asyncio.Event()
        self._slots = asyncio.Semaphore(MAX_AT_ONCE)
        self.stats = dict.fromkeys(
            ("queued", "delivered", "failed_attempts", "given_up", "never", "overflowed"), 0
        )

    def tell(self, entry: Entry, mode: str) -> None:
        """Queue the message about an entry; `mode` is normal, twice, never or late."""
        delays_s = self._delays_s(mode)
        if self._target.url is None or not delays_s:
            self.stats["never"] += 1
            return
        now_s = self._now_s()
        body = json.dumps(
            {
                "type": "entry.booked",
                "timestamp": timestamp(now_s),
                "data": {"account": self._account_id, "entry": entry.as_json()},
            },
            separators=(",", ":"),
        ).encode()
        for delay_s in delays_s:
            self._push(
                _Delivery(now_s + delay_s, next(self._order), f"msg_{entry.entry_key}", body)
            )

    def planned(self) -> list[tuple[float, str]]:
        """Moment and id of the messages still to be sent, in the order in which they will be."""
        return [(delivery.due_at_s, delivery.message_id) for delivery in sorted(self._queue)]

    async def run(self) -> None:
        """Deliver for ever; stops when cancelled."""
        if self._target.url is None:
            return
        timeout = aiohttp.ClientTimeout(total=ANSWER_TIMEOUT_S)
        async with aiohttp.ClientSession(timeout=timeout) as session, asyncio.TaskGroup() as group:
            while True:
                delivery = await self._next_due()
                await self._slots.acquire()
                group.create_task(self._deliver(session, self._target.url, delivery))

    def _delays_s(self, mode: str) -> list[float]:
        """One delay for each time the message is sent."""
        fault = self._faults.take("webhook") if mode == "normal" else None
        if mode == "never" or (fault is not None and fault.kind == "drop"):
            return []
        spread_s = self._target.spread_s
        if fault is not None and fault.kind == "shuffle":
            spread_s += fault.delay_s
        times = 2 if mode == "twice" or (fault is not None and fault.kind == "twice") else 1
        start_s = self._target.late_s if mode == "late" else 0.0
        return [start_s + self._chance.uniform(0.0, spread_s) for _ in range(times)]

    def _push(self, delivery: _Delivery) -> None:
        if len(self._queue) >= MAX_QUEUED:
            self.stats["overflowed"] += 1
            return
        heapq.heappush(self._queue, delivery)
        self.stats["queued"] = len(self._queue)
        self._wake.set()

    async def _next_due(self) -> _Delivery:
        while True:
            wait_s = self._queue[0].due_at_s - self._now_s() if self._queue else None
            if wait_s is not None and wait_s <= 0:
                delivery = heapq.heappop(self._queue)
                self.stats["queued"] = len(self._queue)
                return delivery
            self._wake.clear()
            try:
                # A message that is pushed meanwhile may be due earlier than the one waited for.
                await asyncio.wait_for(self._wake.wait(), wait_s)
            except TimeoutError:
                continue

    async def _deliver(self, session: aiohttp.ClientSession, url: str, delivery: _Delivery) -> None:
        try:
            delivered = await self._post(session, url, delivery)
        finally:
            self._slots.release()
        if delivered:
            self.stats["delivered"] += 1
            return
        self.stats["failed_attempts"] += 1
        if delivery.attempt >= MAX_ATTEMPTS:
            self.stats["given_up"] += 1
            return
        backoff_s = min(LONGEST_RETRY_S, FIRST_RETRY_S * 2 ** (delivery.attempt - 1))
        due_at_s = self._now_s() + backoff_s * self._chance.uniform(0.5, 1.0)
        self._push(replace(delivery, due_at_s=due_at_s, attempt=delivery.attempt + 1))

    async def _post(self, session: aiohttp.ClientSession, url: str, delivery: _Delivery) -> bool:
        headers = sign(self._target.key, delivery.message_id, int(self._now_s()), delivery.body)
        headers["Content-Type"] = "application/json"
        try:
            async with session.post(
                url, data=delivery.body, headers=headers, allow_redirects=False
            ) as response:
                return 200 <= response.status < 300
        except (aiohttp.ClientError, TimeoutError, OSError):
            return False
