"""What a custodian shows of a request, read as an outcome. Pure. What cannot be read is no outcome: ask again."""

from typing import Any, Final

import msgspec

from bridge.custody.intent import Approval
from bridge.custody.protocol import (
    Approved,
    Expired,
    IntentOutcome,
    Outcome,
    Pending,
    Rejected,
    Signed,
    Unknown,
)
from bridge.custody.wire import said

_NEVER: Final = frozenset({"rejected", "cancelled", "failed"})


NotTold = Pending | Rejected | Expired | Unknown
Told = dict[str, Any] | NotTold
"""What was shown, or an outcome where nothing was."""


class Callback(msgspec.Struct):
    """What a callback is about."""

    id: str


class _Approval(msgspec.Struct):
    approver: str
    signature: str


def signing_outcome(told: Told) -> Outcome:
    """Of a transaction."""
    if not isinstance(told, dict):
        return told
    if told.get("status") != "signed":
        return _undone(told)
    try:
        return Signed(_bytes(told.get("raw")))
    except ValueError:
        return Unknown("what the custodian signed is not hexadecimal")


def intent_outcome(told: Told) -> IntentOutcome:
    """Of an intent."""
    if not isinstance(told, dict):
        return told
    if told.get("status") != "approved":
        return _undone(told)
    try:
        listed = msgspec.convert(told.get("approvals"), list[_Approval])
        return Approved(tuple(Approval(one.approver, _bytes(one.signature)) for one in listed))
    except (msgspec.ValidationError, ValueError):
        return Unknown("the custodian's approvals cannot be read")


def _undone(told: dict[str, Any]) -> NotTold:
    status = told.get("status")
    if status == "pending":
        return Pending()
    if status == "expired":
        return Expired()
    if status in _NEVER:
        return Rejected(said(told.get("reason") or status))
    return Unknown(f"the custodian's status is not known here; {said(status)}")


def _bytes(text: object) -> bytes:
    if not isinstance(text, str) or not text.startswith("0x"):
        raise ValueError("not hexadecimal")
    return bytes.fromhex(text[2:])
