"""The bank's REST routes: read a request, ask the bank, write the answer, play the faults."""

import asyncio

from aiohttp import web

from simbank.bank import Bank, OrderConflict
from simbank.faults import Fault, FaultPlan, FaultRefused
from simbank.http import (
    MAX_BODY_BYTES,
    Problem,
    json_answer,
    problems,
    read_body,
    require_key,
    whole_number,
)
from simbank.money import MoneyError, to_minor, to_text
from simbank.records import Counterparty, Order, Payment
from simbank.requests import DepositRequest, FaultRequest, PaymentRequest
from simbank.webhooks import WebhookSender

MAX_PAGE = 1000
DEFAULT_PAGE = 100


class Api:
    """The routes over one bank. `accepted` is set whenever a payment was taken in."""

    def __init__(self, bank: Bank, sender: WebhookSender, faults: FaultPlan) -> None:
        self._bank = bank
        self._sender = sender
        self._faults = faults
        self.accepted = asyncio.Event()

    def application(self, api_key: str) -> web.Application:
        """The aiohttp application; every route asks for the key."""
        app = web.Application(
            client_max_size=MAX_BODY_BYTES, middlewares=[problems, require_key(api_key)]
        )
        app.add_routes(
            [
                web.post("/v1/deposits", self.deposit),
                web.post("/v1/payments", self.pay),
                web.get("/v1/payments/{end_to_end_id}", self.payment),
                web.get("/v1/accounts/{account}/entries", self.entries),
                web.get("/v1/accounts/{account}/balance", self.balance),
                web.post("/v1/faults", self.plan_fault),
                web.delete("/v1/faults", self.clear_faults),
                web.get("/v1/stats", self.stats),
            ]
        )
        return app

    async def deposit(self, request: web.Request) -> web.StreamResponse:
        wanted = await read_body(request, DepositRequest)
        party = Counterparty(wanted.counterparty.name, wanted.counterparty.iban)
        if wanted.raw:
            entry = self._bank.deposit_rubbish(
                wanted.amount, wanted.currency, wanted.reference, party, wanted.webhook
            )
        else:
            amount_minor = self._amount_minor(wanted.amount, wanted.currency)
            entry = self._bank.deposit(amount_minor, wanted.reference, party, wanted.webhook)
        return json_answer(entry.as_json(), status=201)

    async def pay(self, request: web.Request) -> web.StreamResponse:
        wanted = await read_body(request, PaymentRequest)
        fault = await self._trouble(request, "payments")
        payment = self._take_in(wanted, fault)
        self.accepted.set()
        await _hide_answer(request, fault)
        # A retry of an order that is booked by now gets the answer of the first time.
        if payment.state == "rejected":
            raise Problem(422, payment.reason or "", "the payment is refused for good")
        return json_answer(
            {"end_to_end_id": wanted.end_to_end_id, "status": "accepted"}, status=202
        )

    async def payment(self, request: web.Request) -> web.StreamResponse:
        await self._trouble(request, "payment_status")
        payment = self._bank.find_payment(request.match_info["end_to_end_id"])
        if payment is None:
            raise Problem(404, "not_found", "the bank knows no payment of this id")
        return json_answer(payment.as_json())

    async def entries(self, request: web.Request) -> web.StreamResponse:
        await self._trouble(request, "entries")
        self._check_account(request.match_info["account"])
        after = whole_number(request, "after", 0, 0, 10**18 - 1)
        limit = whole_number(request, "limit", DEFAULT_PAGE, 1, MAX_PAGE)
        entries = self._bank.books.entries(after, limit)
        next_after = entries[-1].sequence if entries else after
        return json_answer(
            {"entries": [entry.as_json() for entry in entries], "next_after": next_after}
        )

    async def balance(self, request: web.Request) -> web.StreamResponse:
        await self._trouble(request, "balance")
        self._check_account(request.match_info["account"])
        account, cut = self._bank.books.account, self._bank.books.cut()
        return json_answer(
            {
                "balance": to_text(cut.balance_minor, account.exponent),
                "currency": account.currency,
                "last_sequence": cut.last_sequence,
            }
        )

    async def plan_fault(self, request: web.Request) -> web.StreamResponse:
        wanted = await read_body(request, FaultRequest)
        fault = Fault(wanted.operation, wanted.kind, wanted.delay_s, wanted.reason)
        try:
            self._faults.add(fault, wanted.count)
        except FaultRefused as refused:
            raise Problem(400, "invalid_request", str(refused)) from refused
        return json_answer({"faults": self._faults.remaining()}, status=201)

    async def clear_faults(self, request: web.Request) -> web.StreamResponse:
        self._faults.clear()
        return json_answer({"faults": self._faults.remaining()})

    async def stats(self, request: web.Request) -> web.StreamResponse:
        counts = self._bank.books.counts()
        return json_answer(
            {
                "entries": {name: counts[name] for name in ("credit", "debit")},
                "payments": {name: counts[name] for name in ("accepted", "rejected", "booked")},
                "webhooks": self._sender.stats,
                "faults": self._faults.remaining(),
            }
        )

    async def _trouble(self, request: web.Request, operation: str) -> Fault | None:
        """Play the faults that take nothing in; the others are returned to be played later."""
        fault = self._faults.take(operation)
        if fault is not None and fault.kind == "error_500":
            raise Problem(500, "internal_error", "a planned fault")
        if fault is not None and fault.kind == "hang":
            await _break_off(request, fault.delay_s)
        return fault

    def _take_in(self, wanted: PaymentRequest, fault: Fault | None) -> Payment:
        """Raises Problem 404 or 422 for an order that could never be, 409 for a reused id."""
        conflict = Problem(
            409, "end_to_end_id_reused", "another order was sent under this id before"
        )
        try:
            self._check_account(wanted.account)
            amount_minor = self._amount_minor(wanted.amount, wanted.currency)
        except Problem:
            # A plain refusal would say that no money moves under this id; some may.
            if self._bank.books.payment(wanted.end_to_end_id) is not None:
                raise conflict from None
            raise
        order = Order(
            end_to_end_id=wanted.end_to_end_id,
            amount_minor=amount_minor,
            creditor=Counterparty(wanted.creditor.name, wanted.creditor.iban),
            expires_at_s=wanted.expires_at.timestamp(),
        )
        try:
            return self._bank.order(order, fault)
        except OrderConflict:
            raise conflict from None

    def _check_account(self, account_id: str) -> None:
        if account_id != self._bank.books.account.account_id:
            raise Problem(404, "account_not_found", "the bank has no account of this id")

    def _amount_minor(self, amount: str, currency: str) -> int:
        account = self._bank.books.account
        if currency != account.currency:
            raise Problem(422, "currency_refused", f"the account is in {account.currency}")
        try:
            return to_minor(amount, account.exponent)
        except MoneyError as error:
            raise Problem(422, error.reason, str(error)) from error


async def _hide_answer(request: web.Request, fault: Fault | None) -> None:
    """The order was taken in (or refused); keep the customer from learning it."""
    if fault is None:
        return
    if fault.kind == "accept_then_500":
        raise Problem(500, "internal_error", "a planned fault")
    if fault.kind == "accept_then_timeout":
        await _break_off(request, fault.delay_s)
    if fault.kind == "not_found_then_book":
        await _break_off(request, 0.0)


async def _break_off(request: web.Request, after_s: float) -> None:
    """Say nothing for a while, then cut the connection."""
    await asyncio.sleep(after_s)
    if request.transport is not None:
        request.transport.abort()
    raise Problem(500, "internal_error", "nobody is there to read this")
