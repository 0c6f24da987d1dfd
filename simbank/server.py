"""The running bank: HTTP, the booking loop and the webhook sender, until stopped."""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from aiohttp import web

from simbank.api import Api
from simbank.bank import Bank
from simbank.books import Books
from simbank.faults import FaultPlan
from simbank.webhooks import Target, WebhookSender

SHUTDOWN_S = 0.5  # a hanging request is a fault that was asked for: it need not be waited for


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """Where to listen (port 0: any free one) and how to behave."""

    host: str
    port: int
    api_key: str = field(repr=False)
    target: Target
    seed: int
    booking_delay_s: float


@contextlib.asynccontextmanager
async def serving(books: Books, settings: ServerSettings) -> AsyncIterator[str]:
    """Serve inside the `async with` block; gives the base URL. Raises OSError if it cannot bind."""
    faults = FaultPlan()
    # Two streams, so that what a webhook draws does not shift what a booking draws.
    sender = WebhookSender(
        books.account.account_id, settings.target, faults, _stream(settings, "webhook"), time.time
    )
    bank = Bank(
        books, sender.tell, time.time, _stream(settings, "booking"), settings.booking_delay_s
    )
    api = Api(bank, sender, faults)
    runner = web.AppRunner(
        api.application(settings.api_key), access_log=None, shutdown_timeout=SHUTDOWN_S
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, settings.host, settings.port).start()
        host, port = runner.addresses[0][:2]
        # A loop that fails takes the bank down with it: half a bank would only confuse.
        async with asyncio.TaskGroup() as group:
            loops = [
                group.create_task(sender.run()),
                group.create_task(_book(bank, api.accepted)),
            ]
            try:
                yield f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
            finally:
                for task in loops:
                    task.cancel()
    finally:
        await runner.cleanup()


async def _book(bank: Bank, accepted: asyncio.Event) -> None:
    """Settle payments when they are due, those left by an earlier run included."""
    while True:
        accepted.clear()
        bank.settle_due()
        # A payment accepted meanwhile may be due earlier than the one waited for.
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(accepted.wait(), bank.next_due_in_s())


def _stream(settings: ServerSettings, name: str) -> random.Random:
    return random.Random(f"{settings.seed}/{name}")  # noqa: S311  # for faults, not for secrets
