"""New heads by WebSocket: the wake-up call of the follower, and the headers themselves.

Nothing depends on it: polling goes on without it, and takes over where a socket is closed, or open but mute. A
socket is mute when no head came for three block times, as long as a block takes by the heads that were seen. Then,
as after every failure, the next provider that has a ws_url is connected to, after a pause that doubles each time.
"""

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import structlog
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from indexer import wire
from indexer.block import Header
from indexer.budget import Clock, Sleep
from indexer.errors import HeaderForged, RpcMalformed
from indexer.provider import Provider
from indexer.pulse import Pulse

log = structlog.get_logger()

MAX_MESSAGE_BYTES: Final = 256 * 1024
MAX_QUEUE: Final = 16
MAX_BUFFERED: Final = 64
MAX_MESSAGES_PER_S: Final = 200
TOLERATED_RUBBISH: Final = 3
CONNECT_TIMEOUT_S: Final = 10.0
CLOSE_TIMEOUT_S: Final = 1.0
PING_INTERVAL_S: Final = 15.0
PING_TIMEOUT_S: Final = 15.0
FIRST_PAUSE_S: Final = 0.5
MAX_PAUSE_S: Final = 30.0
# While no provider can be listened to.
NOBODY_PAUSE_S: Final = 1.0

SUBSCRIBE: Final = b'{"jsonrpc":"2.0","id":1,"method":"eth_subscribe","params":["newHeads"]}'


@dataclass(frozen=True, slots=True)
class SeenHead:
    """A header that a provider pushed."""

    header: Header
    provider: Provider


@dataclass(frozen=True, slots=True)
class HeadsFacts:
    """``mute``: no head came for three block times, and none since."""

    connected: bool
    mute: bool
    provider: str | None
    last_head_age_s: float | None
    block_time_s: float | None
    heads_total: int
    reconnects: int
    last_failure: str | None


class SocketFailed(Exception):
    """The socket is of no more use; the text says why."""


class Socket(connect):
    """A connection that follows no redirect, which could lead the key in the URL elsewhere."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


class Heads:
    """:meth:`run` as a task; it never raises but for cancellation, and returns if no provider has a ws_url."""

    def __init__(
        self,
        providers: Sequence[Provider],
        *,
        clock: Clock = time.monotonic,
        sleep: Sleep = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._providers = [one for one in providers if one.settings.ws_url]
        self._clock = clock
        self._sleep = sleep
        self._jitter = jitter
        self._pulse = Pulse()
        self._buffer: deque[SeenHead] = deque(maxlen=MAX_BUFFERED)
        self._wake = asyncio.Event()
        self._current: Provider | None = None
        self._connected = False
        self._mute = False
        self._heads_total = 0
        self._connects = 0
        self._last_failure: str | None = None

    async def run(self) -> None:
        """Connect, listen, and start over with the next provider whenever that ends."""
        turn, pause_s = 0, FIRST_PAUSE_S
        while self._providers:
            provider = self._from(turn)
            if provider is None:
                await self._sleep(NOBODY_PAUSE_S)
                continue
            turn = self._providers.index(provider) + 1
            before = self._heads_total
            try:
                await self._listen(provider)
            except (SocketFailed, WebSocketException, OSError, ValueError) as error:
                # A library's own text may hold the URL.
                self._lost(
                    provider, str(error) if isinstance(error, SocketFailed) else _kind(error)
                )
            except Exception as error:
                self._lost(provider, _kind(error))
                log.exception("heads_failed", provider=provider.name)
            finally:
                self._connected = False
            pause_s = FIRST_PAUSE_S if self._heads_total > before else pause_s
            await self._sleep(pause_s * (0.5 + self._jitter()))
            pause_s = min(pause_s * 2, MAX_PAUSE_S)

    async def wait(self, timeout_s: float) -> bool:
        """Until a head comes that was not taken yet: True; False after ``timeout_s``."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._wake.wait()
        except TimeoutError:
            return False
        return True

    def take(self) -> list[SeenHead]:
        """Heads since last taken, oldest first: the newest ``MAX_BUFFERED`` of them."""
        taken = list(self._buffer)
        self._buffer.clear()
        self._wake.clear()
        return taken

    def facts(self) -> HeadsFacts:
        """Plain values for /status, metrics, and whoever decides how often to poll."""
        return HeadsFacts(
            connected=self._connected,
            mute=self._mute,
            provider=None if self._current is None else self._current.name,
            last_head_age_s=self._pulse.age_s(self._clock()),
            block_time_s=self._pulse.block_time_s,
            heads_total=self._heads_total,
            reconnects=max(0, self._connects - 1),
            last_failure=self._last_failure,
        )

    def _from(self, turn: int) -> Provider | None:
        """The next one that is known to follow the right chain, and answers questions too."""
        count = len(self._providers)
        turns = (self._providers[(turn + offset) % count] for offset in range(count))
        return next((one for one in turns if _may_lead(one)), None)

    def _lost(self, provider: Provider, reason: str) -> None:
        self._last_failure = f"{provider.name}: {reason}"
        log.warning("heads_lost", provider=provider.name, reason=reason)

    async def _listen(self, provider: Provider) -> None:
        """Until the socket ends or is given up, which is raised."""
        self._current = provider
        async with Socket(
            provider.settings.ws_url or "",
            max_size=MAX_MESSAGE_BYTES,
            max_queue=MAX_QUEUE,
            open_timeout=CONNECT_TIMEOUT_S,
            close_timeout=CLOSE_TIMEOUT_S,
            ping_interval=PING_INTERVAL_S,
            ping_timeout=PING_TIMEOUT_S,
            compression=None,
            proxy=None,
            logger=_silent_logger(),
        ) as socket:
            self._connects += 1
            subscription = await self._subscribe(socket)
            self._connected = True
            await self._hear(socket, provider, subscription)

    async def _subscribe(self, socket: ClientConnection) -> str:
        await socket.send(SUBSCRIBE, text=True)
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                answer = wire.SUBSCRIBED.decode(await socket.recv())
        except TimeoutError:
            raise SocketFailed("it does not answer eth_subscribe") from None
        except wire.DecodeError:
            raise SocketFailed("its answer to eth_subscribe is malformed") from None
        if answer.error is not None:
            raise SocketFailed(f"it refused eth_subscribe: {wire.shortened(answer.error.message)}")
        if not isinstance(answer.result, str):
            raise SocketFailed("its answer to eth_subscribe is malformed")
        return answer.result

    async def _hear(self, socket: ClientConnection, provider: Provider, subscription: str) -> None:
        deadline_s = self._clock() + self._pulse.patience_s
        rubbish, second_s, messages = 0, self._clock(), 0
        while True:
            message = await self._receive(socket, deadline_s)
            now_s = self._clock()
            messages = messages + 1 if now_s - second_s < 1.0 else 1
            second_s = second_s if messages > 1 else now_s
            if not _may_lead(provider):
                raise SocketFailed("it does not answer questions")
            if messages > MAX_MESSAGES_PER_S:
                raise SocketFailed(f"it sends more than {MAX_MESSAGES_PER_S} messages a second")
            header = self._header(provider, subscription, message)
            if header is not None:
                self._seen(SeenHead(header, provider), now_s)
                deadline_s, rubbish = now_s + self._pulse.patience_s, 0
            else:
                rubbish += 1
                if rubbish > TOLERATED_RUBBISH:
                    raise SocketFailed("it sends what is no head")

    async def _receive(self, socket: ClientConnection, deadline_s: float) -> str | bytes:
        try:
            async with asyncio.timeout(max(0.0, deadline_s - self._clock())):
                return await socket.recv()
        except TimeoutError:
            self._mute = True
            raise SocketFailed(
                f"it is mute: no head for {self._pulse.patience_s:.1f} s, three block times"
            ) from None

    def _header(self, provider: Provider, subscription: str, message: str | bytes) -> Header | None:
        """None for what is no head, or a malformed one."""
        try:
            notice = wire.NOTICE.decode(message)
            if notice.params is None or notice.params.subscription != subscription:
                return None
            return provider.rpc.pushed_header(notice.params.result)
        except (wire.DecodeError, RpcMalformed):
            return None
        except HeaderForged as error:
            provider.failed(error)
            return None

    def _seen(self, head: SeenHead, now_s: float) -> None:
        self._pulse.beat(head.header.number, now_s)
        self._mute = False
        self._heads_total += 1
        self._buffer.append(head)
        self._wake.set()


def _may_lead(provider: Provider) -> bool:
    """Whoever acts on a pushed head asks its provider for the rest."""
    return provider.is_right is True and not provider.standing.is_shut


def _kind(error: Exception) -> str:
    return type(error).__name__


def _silent_logger() -> logging.Logger:
    """The library would log the URL, whose path may be a key."""
    logger = logging.Logger("heads.socket")
    logger.addHandler(logging.NullHandler())
    logger.propagate = False
    return logger
