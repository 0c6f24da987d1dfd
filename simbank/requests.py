"""What may be sent to the bank: shapes and bounds of the request bodies."""

from datetime import datetime
from typing import Annotated, Literal

import msgspec

from simbank.faults import MAX_COUNT, MAX_DELAY_S

_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=140)]
_Iban = Annotated[str, msgspec.Meta(min_length=1, max_length=34, pattern=r"^[A-Za-z0-9]+\Z")]
_Amount = Annotated[str, msgspec.Meta(min_length=1, max_length=20)]
_Currency = Annotated[str, msgspec.Meta(pattern=r"^[A-Z]{3}\Z")]
_EndToEndId = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9-]{1,35}\Z")]
WebhookMode = Literal["normal", "twice", "never", "late"]


class Party(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A counterparty or creditor."""

    name: _Name
    iban: _Iban


class DepositRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Money in. With `raw`, amount and currency may be any text: see `Books.credit_rubbish`."""

    amount: Annotated[str, msgspec.Meta(max_length=200)]
    currency: Annotated[str, msgspec.Meta(max_length=64)]
    reference: Annotated[str, msgspec.Meta(max_length=140)]
    counterparty: Party
    webhook: WebhookMode = "normal"
    raw: bool = False


class PaymentRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Money out, not after `expires_at`."""

    end_to_end_id: _EndToEndId
    account: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    amount: _Amount
    currency: _Currency
    creditor: Party
    expires_at: Annotated[datetime, msgspec.Meta(tz=True)]


class FaultRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A fault for the next `count` uses of `operation`."""

    operation: str
    kind: str
    count: Annotated[int, msgspec.Meta(ge=1, le=MAX_COUNT)] = 1
    delay_s: Annotated[float, msgspec.Meta(ge=0.0, le=MAX_DELAY_S)] = 1.0
    reason: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9_]{1,64}\Z")] = "refused_by_policy"
