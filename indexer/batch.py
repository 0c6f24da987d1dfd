"""Many calls in few requests: JSON-RPC batches, as large as the node takes them, else one call a request."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Generic, TypeVar

import msgspec

from indexer import wire
from indexer.errors import RpcError, RpcMalformed, RpcRateLimited, RpcTimeout, RpcUnavailable
from indexer.gate import MAX_BATCH, Gate
from indexer.jsonrpc import Call, Clock, JsonRpc

# A node that refused batches of some size is asked again for larger ones after this time.
REFUSED_S: Final = 900.0
# So many requests of one question are under way at once: a long one leaves room for others.
AT_A_TIME: Final = 8

A = TypeVar("A")
T = TypeVar("T")
R = TypeVar("R")


class BatchSize:
    """How many calls a request may hold: 1 means that the node takes no batches. Pure but for its clock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._size = MAX_BATCH
        self._ceiling = MAX_BATCH
        self._ceiling_until_s = 0.0

    @property
    def calls(self) -> int:
        if self._ceiling < MAX_BATCH and self._clock() >= self._ceiling_until_s:
            self._ceiling = self._size = MAX_BATCH
        return self._size

    def refused(self, calls: int) -> None:
        """A batch of so many calls failed where the same calls succeeded one by one."""
        self._ceiling = self._size = max(1, calls // 4)
        self._ceiling_until_s = self._clock() + REFUSED_S

    def timed_out(self, calls: int) -> None:
        self._size = max(1, calls // 2)

    def answered(self) -> None:
        self._size = min(self._ceiling, self._size * 2)


@dataclass(frozen=True, slots=True)
class Questions(Generic[T, R]):
    """Calls of one kind. ``read`` makes a value of a call's index and its decoded result; a ``ValueError`` of
    its means that the answer is malformed."""

    calls: Sequence[Call]
    decoder: msgspec.json.Decoder[T]
    read: Callable[[int, T], R]


class Batches:
    """Asks one node. Answers come back in the order of the questions, whatever the order of the node's."""

    def __init__(self, node: JsonRpc, gate: Gate, clock: Clock) -> None:
        self._node = node
        self._gate = gate
        self._size = BatchSize(clock)

    @property
    def size_calls(self) -> int:
        """Most calls of one request now: 1 if the node takes no batches."""
        return min(self._size.calls, self._gate.largest_batch)

    async def ask(self, questions: Questions[T, R]) -> list[R]:
        """Some requests are sent at the same time; the first failure is raised once all have ended."""
        step, count = self.size_calls, len(questions.calls)
        chunks = [range(first, min(first + step, count)) for first in range(0, count, step)]
        parts = await together(partial(self._chunk, questions), chunks)
        return [value for part in parts for value in part]

    async def ask_in_order(self, questions: Questions[T, R]) -> list[R | None]:
        """The same in one request, else one after the other; None for what the node refuses."""
        indexes = range(len(questions.calls))
        found = await self._batch(questions, indexes) if self.size_calls >= len(indexes) else {}
        values: list[R | None] = []
        for index in indexes:
            if index in found:
                answer = found[index]
                values.append(None if isinstance(answer, RpcError) else answer)
            else:
                single = await self._tolerated(questions, index)
                values.append(single)
        return values

    async def _chunk(self, questions: Questions[T, R], indexes: range) -> list[R]:
        """What a batch leaves out or refuses is asked for alone, and that answer counts."""
        found = await self._batch(questions, indexes) if len(indexes) > 1 else {}
        values = {index: value for index, value in found.items() if not isinstance(value, RpcError)}
        alone = [index for index in indexes if index not in values]
        values.update(zip(alone, await self._singles(questions, alone), strict=True))
        if len(alone) == len(indexes) > 1:
            self._size.refused(len(indexes))
        return [values[index] for index in indexes]

    async def _batch(self, questions: Questions[T, R], indexes: range) -> dict[int, R | RpcError]:
        """Values and refusals by index. Empty if the batch failed for what may be its being one: whoever asks
        alone next learns what it was."""
        calls = [questions.calls[index] for index in indexes]

        def read(place: int, answer: wire.Envelope) -> R | RpcError:
            if answer.error is not None:
                return self._node.refusal(calls[place][0], answer.error)
            return questions.read(indexes[place], questions.decoder.decode(answer.result))

        try:
            found = await self._node.ask_together(calls, read)
        except (RpcRateLimited, RpcTimeout) as error:
            if isinstance(error, RpcTimeout):
                self._size.timed_out(len(calls))
            raise
        except (RpcError, RpcMalformed, RpcUnavailable):
            return {}
        self._size.answered()
        return {indexes[place]: value for place, value in found.items()}

    async def _tolerated(self, questions: Questions[T, R], index: int) -> R | None:
        try:
            single: R = await self._single(questions, index)
        except RpcError:
            return None
        return single

    async def _singles(self, questions: Questions[T, R], indexes: Sequence[int]) -> list[R]:
        return await together(partial(self._single, questions), indexes)

    async def _single(self, questions: Questions[T, R], index: int) -> R:
        method, params = questions.calls[index]

        def read(raw: msgspec.Raw, _: bytearray) -> R:
            return questions.read(index, questions.decoder.decode(raw))

        return await self._node.ask(method, params, wire.RAW_ANSWER, read)


async def together(ask: Callable[[A], Awaitable[R]], about: Iterable[A]) -> list[R]:
    """Ask about each; all answers in order, or the first failure once every call has ended. A few at a time."""
    places = asyncio.Semaphore(AT_A_TIME)

    async def in_turn(one: A) -> R:
        async with places:
            return await ask(one)

    outcomes = await asyncio.gather(*map(in_turn, about), return_exceptions=True)
    answers = []
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
        answers.append(outcome)
    return answers
