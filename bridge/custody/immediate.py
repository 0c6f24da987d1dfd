"""What backends have in common that sign when they are polled, because nobody's consent is needed."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence

from bridge.custody.errors import CallbackRefusedError, SignatureUnreadableError
from bridge.custody.protocol import Outcome, Signed, SignRequest, Unknown
from bridge.custody.requests import OpenRequest, Requests
from bridge.custody.signature import finish
from bridge.custody.transaction import assemble


class ImmediateCustody(ABC):
    """One key. What is submitted is held until it is polled for, and signed then."""

    def __init__(self, address: bytes) -> None:
        self._address = address
        self._requests = Requests(address)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(0x{self._address.hex()})"

    @property
    def approving(self) -> None:
        return None

    async def identity(self) -> bytes:
        return self._address

    async def submit(self, requests: Sequence[SignRequest]) -> list[str]:
        return self._requests.add(requests)

    async def poll(self, tickets: Sequence[str]) -> list[Outcome]:
        taken = [self._requests.take(ticket) for ticket in tickets]
        wanted = [one for one in taken if isinstance(one, OpenRequest)]
        signed = iter(await self._sign(wanted) if wanted else ())
        return [next(signed) if isinstance(one, OpenRequest) else one for one in taken]

    async def cancel(self, ticket: str) -> bool:
        return self._requests.cancel(ticket)

    def parse_callback(self, headers: Mapping[str, str], raw: bytes) -> str:
        raise CallbackRefusedError("this signer answers at once: it sends no callbacks")

    @abstractmethod
    async def _sign(self, requests: Sequence[OpenRequest]) -> list[Outcome]:
        """An outcome for each, in their order."""


def finished(one: OpenRequest, r: int, s: int) -> Outcome:
    """The transaction with the numbers that a key gave for its digest."""
    try:
        signature = finish(one.digest, r, s, one.request.signer)
    except SignatureUnreadableError as error:
        return Unknown(f"what the key gave is of no use: {error}")
    return Signed(assemble(one.request, signature))


async def side_by_side(
    requests: Sequence[OpenRequest],
    sign: Callable[[OpenRequest], Awaitable[Outcome]],
    at_once: int,
) -> list[Outcome]:
    """What ``sign`` makes of each, so many at a time."""
    free = asyncio.Semaphore(at_once)

    async def one_by_one(one: OpenRequest) -> Outcome:
        async with free:
            return await sign(one)

    return list(await asyncio.gather(*map(one_by_one, requests)))
