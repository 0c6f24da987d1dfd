"""What a custodian decides: who must approve, what is signed without asking, which ids it refuses. No IO."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import msgspec
from coincurve import PrivateKey

from bridge.custody.calls import CallUnreadableError, read_call
from bridge.custody.intent import Intent, describes
from bridge.custody.protocol import SignRequest
from bridge.custody.signature import Signature, address_of
from bridge.custody.transaction import assemble, digest, is_noop

Status = Literal["pending", "signed", "approved", "rejected", "cancelled", "expired"]
_V_OFFSET: Final = 27


class RefusedError(Exception):
    """A request that is not taken: ``status`` is the HTTP status, ``code`` is for programs."""

    def __init__(self, status: int, code: str, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.code = code


class Asked(msgspec.Struct):
    """What arrives to be approved."""

    id: str
    account: str
    payload: str
    kind: Literal["transaction", "intent"]
    transaction: dict[str, str] | None = None
    typed_data: dict[str, Any] | None = None
    intent: str | None = None


@dataclass(slots=True)
class Entry:
    """One request for ever: an id is never used again."""

    asked: Asked
    payload: bytes
    what: SignRequest | Intent
    until_s: float
    status: Status = "pending"
    reason: str | None = None
    raw: bytes | None = None
    approvals: dict[str, bytes] = field(default_factory=dict)

    def shown(self) -> dict[str, Any]:
        told: dict[str, Any] = {
            "id": self.asked.id,
            "payload": f"0x{self.payload.hex()}",
            "status": self.status,
        }
        if self.reason is not None:
            told["reason"] = self.reason
        if self.raw is not None:
            told["raw"] = f"0x{self.raw.hex()}"
        told["approvals"] = [
            {"approver": name, "signature": f"0x{signature.hex()}"}
            for name, signature in self.approvals.items()
        ]
        return told


class Custodian:
    """Holds one account's key, and those of its approvers, ``quorum`` of whom must agree."""

    def __init__(
        self,
        account: str,
        key: PrivateKey,
        approvers: Mapping[str, PrivateKey],
        *,
        quorum: int,
        expires_after_s: float = 3600.0,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self.account = account
        self.address = address_of(key.public_key.format(compressed=False)[1:])
        self.approvers = {
            name: address_of(one.public_key.format(compressed=False)[1:])
            for name, one in approvers.items()
        }
        self.entries: dict[str, Entry] = {}
        self._key = key
        self._approver_keys = dict(approvers)
        self._quorum = quorum
        self._expires_after_s = expires_after_s
        self._now_s = now_s

    def create(self, body: bytes) -> Entry:
        """Take a request. Raises :class:`RefusedError`."""
        try:
            asked = msgspec.json.decode(body, type=Asked)
        except msgspec.DecodeError as error:
            raise RefusedError(422, "unreadable", str(error)) from None
        if asked.id in self.entries:
            raise RefusedError(409, "duplicate_id", "there is a request with this id already")
        if asked.account != self.account:
            raise RefusedError(422, "refused", "there is no such account")
        what = self._read(asked)
        payload = what.hash if isinstance(what, Intent) else digest(what)
        if asked.payload != f"0x{payload.hex()}":
            raise RefusedError(422, "refused", "the payload is not what is described")
        entry = Entry(asked, payload, what, self._now_s() + self._expires_after_s)
        self.entries[asked.id] = entry
        if isinstance(what, SignRequest) and self._needs_nobody(what):
            self._complete(entry)
        return entry

    def look(self, request_id: str) -> Entry | None:
        """The request as it is now."""
        entry = self.entries.get(request_id)
        if entry is not None and entry.status == "pending" and self._now_s() > entry.until_s:
            entry.status = "expired"
        return entry

    def approve(self, request_id: str, approver: str) -> Entry:
        """One approver's consent; the quorum completes it."""
        entry = self.look(request_id)
        if entry is None:
            raise KeyError(request_id)
        if entry.status == "pending":
            compact = self._approver_keys[approver].sign_recoverable(entry.payload, hasher=None)
            entry.approvals[approver] = compact[:64] + bytes((_V_OFFSET + compact[64],))
            if len(entry.approvals) >= self._quorum:
                self._complete(entry)
        return entry

    def reject(self, request_id: str, reason: str) -> Entry:
        """One approver's refusal is enough."""
        entry = self.look(request_id)
        if entry is None:
            raise KeyError(request_id)
        if entry.status == "pending":
            entry.status, entry.reason = "rejected", reason
        return entry

    def cancel(self, request_id: str) -> bool:
        """Whether it is cancelled now."""
        entry = self.look(request_id)
        if entry is None or entry.status not in ("pending", "cancelled"):
            return False
        entry.status = "cancelled"
        return True

    def _read(self, asked: Asked) -> SignRequest | Intent:
        try:
            if asked.kind == "intent":
                return _intent(asked.typed_data or {})
            return _transaction(asked, self.address)
        except (KeyError, ValueError, TypeError) as error:
            raise RefusedError(422, "unreadable", f"{type(error).__name__}") from None

    def _needs_nobody(self, request: SignRequest) -> bool:
        """A noop only fills a nonce; and what was approved as an intent is not approved again."""
        if is_noop(request):
            return True
        if request.intent is None:
            return False
        try:
            call = read_call(request.data)
        except CallUnreadableError:
            return False
        return any(
            entry.status == "approved"
            and isinstance(entry.what, Intent)
            and entry.payload == request.intent
            and self._now_s() <= entry.what.valid_until_s
            and describes(entry.what, request.chain_id, request.to_address, call)
            for entry in self.entries.values()
        )

    def _complete(self, entry: Entry) -> None:
        if isinstance(entry.what, Intent):
            entry.status = "approved"
            return
        compact = self._key.sign_recoverable(entry.payload, hasher=None)
        r, s = int.from_bytes(compact[:32], "big"), int.from_bytes(compact[32:64], "big")
        entry.raw = assemble(entry.what, Signature(r, s, compact[64]))
        entry.status = "signed"


def _transaction(asked: Asked, signer: bytes) -> SignRequest:
    fields = asked.transaction or {}
    if _bytes(fields["from"]) != signer or _number(fields["value"]) != 0:
        raise ValueError("another sender, or a value")
    is_legacy = "gasPrice" in fields
    return SignRequest(
        request_id=asked.id,
        signer=signer,
        chain_id=_number(fields["chainId"]),
        nonce=_number(fields["nonce"]),
        to_address=_bytes(fields["to"]),
        data=_bytes(fields["data"]),
        gas_limit=_number(fields["gas"]),
        max_fee_wei=_number(fields["gasPrice" if is_legacy else "maxFeePerGas"]),
        priority_fee_wei=None if is_legacy else _number(fields["maxPriorityFeePerGas"]),
        intent=None if asked.intent is None else _bytes(asked.intent),
    )


def _intent(typed_data: dict[str, Any]) -> Intent:
    domain, message = typed_data["domain"], typed_data["message"]
    return Intent(
        chain_id=int(domain["chainId"]),
        token=_bytes(domain["verifyingContract"]),
        function=str(message["function"]),
        ids_digest=_bytes(message["ids"]),
        count=int(message["count"]),
        amount=int(message["amount"]),
        valid_until_s=int(message["validUntil"]),
    )


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))


def _number(text: str) -> int:
    return int(text, 16)
