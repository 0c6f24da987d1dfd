"""Another custody, whose every request is in the log before it can be signed."""

from collections.abc import Mapping, Sequence

from bridge.custody.errors import CustodyUnavailableError
from bridge.custody.log import CustodyLog
from bridge.custody.protocol import Approving, Capabilities, Custody, Health, Outcome, SignRequest


class RecordedCustody:
    """Asks ``custody`` once ``log`` has it."""

    def __init__(self, custody: Custody, log: CustodyLog) -> None:
        self._custody = custody
        self._log = log

    def __repr__(self) -> str:
        return f"RecordedCustody({self._custody!r})"

    @property
    def capabilities(self) -> Capabilities:
        return self._custody.capabilities

    @property
    def approving(self) -> Approving | None:
        return self._custody.approving

    async def identity(self) -> bytes:
        return await self._custody.identity()

    async def submit(self, requests: Sequence[SignRequest]) -> list[str]:
        try:
            await self._log.append(requests)
        except OSError as error:
            raise CustodyUnavailableError(
                f"nothing is signed that is not in custody's log, and {self._log.path} cannot be written: "
                f"{error.strerror}"
            ) from None
        return await self._custody.submit(requests)

    async def poll(self, tickets: Sequence[str]) -> list[Outcome]:
        return await self._custody.poll(tickets)

    async def cancel(self, ticket: str) -> bool:
        return await self._custody.cancel(ticket)

    def parse_callback(self, headers: Mapping[str, str], raw: bytes) -> str:
        return self._custody.parse_callback(headers, raw)

    async def health(self) -> Health:
        return await self._custody.health()

    async def close(self) -> None:
        await self._custody.close()
