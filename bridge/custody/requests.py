"""What was asked of a backend that signs at once: held from the asking to the signing, within bounds.

A request id is remembered for longer than its request, by the digest of its payload, so that it never stands for
another one. A restart forgets all of it; what the ids stand for is in the journal then.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from bridge.custody.errors import CustodyUnavailableError, RequestConflictError
from bridge.custody.protocol import Expired, Outcome, Rejected, SignRequest, Unknown
from bridge.custody.transaction import digest

TTL_S: Final = 600.0
MAX_OPEN: Final = 10_000
MAX_KNOWN: Final = 100_000


@dataclass(frozen=True, slots=True)
class OpenRequest:
    """A request that is to be signed: ``digest`` is what a key signs of it."""

    request: SignRequest
    digest: bytes
    since_s: float


class Requests:
    """Of one key, whose address is ``signer``."""

    def __init__(
        self,
        signer: bytes,
        *,
        now_s: Callable[[], float] = time.monotonic,
        ttl_s: float = TTL_S,
        max_open: int = MAX_OPEN,
        max_known: int = MAX_KNOWN,
    ) -> None:
        self._signer = signer
        self._now_s = now_s
        self._ttl_s = ttl_s
        self._max_open = max_open
        self._max_known = max_known
        self._open: OrderedDict[str, OpenRequest] = OrderedDict()
        self._known: OrderedDict[str, tuple[bytes, bytes]] = OrderedDict()
        self._cancelled: set[str] = set()

    def add(self, requests: Sequence[SignRequest]) -> list[str]:
        """Remember all of them or none; the ticket of each is its id."""
        now_s = self._now_s()
        self._expire(now_s)
        asked: dict[str, OpenRequest] = {}
        for request in requests:
            one = OpenRequest(request, digest(request), now_s)
            payload = (request.signer, one.digest)
            before = asked.get(request.request_id)
            known = (
                self._known.get(request.request_id, payload)
                if before is None
                else (before.request.signer, before.digest)
            )
            if known != payload:
                raise RequestConflictError(
                    f"custody was asked to sign another payload as {request.request_id}"
                )
            asked[request.request_id] = one
        if len(self._open) + len(asked) > self._max_open:
            raise CustodyUnavailableError(
                f"{len(self._open)} requests wait to be signed already, {self._max_open} are held"
            )
        for ticket, one in asked.items():
            self._open.setdefault(ticket, one)
            self._remember(ticket, (one.request.signer, one.digest))
        return [request.request_id for request in requests]

    def take(self, ticket: str) -> OpenRequest | Outcome:
        """The request, which is then no longer held; or what became of it otherwise."""
        one = self._open.pop(ticket, None)
        if ticket in self._cancelled:
            return Rejected("it was cancelled")
        if one is None:
            return Unknown()
        if self._now_s() - one.since_s > self._ttl_s:
            return Expired()
        if one.request.signer != self._signer:
            return Rejected("this is another key than the one that shall sign")
        return one

    def cancel(self, ticket: str) -> bool:
        """Whether it was still held; it is never signed then, asked again or not."""
        if self._open.pop(ticket, None) is None:
            return False
        self._cancelled.add(ticket)
        return True

    def clear(self) -> None:
        """Forget what is held."""
        self._open.clear()

    def _remember(self, ticket: str, payload: tuple[bytes, bytes]) -> None:
        self._known[ticket] = payload
        self._known.move_to_end(ticket)
        while len(self._known) > self._max_known:
            forgotten, _ = self._known.popitem(last=False)
            self._cancelled.discard(forgotten)

    def _expire(self, now_s: float) -> None:
        """Let go of what nobody came back for, and not only when somebody does."""
        while self._open:
            ticket, one = next(iter(self._open.items()))
            # Twice the time: whoever polls a little late shall still hear that it expired.
            if now_s - one.since_s <= 2 * self._ttl_s:
                return
            del self._open[ticket]
