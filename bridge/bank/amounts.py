"""Decimal text, as banks write amounts, to integer minor units and back: exactly, or not at all.

"100.25" with a currency exponent of 2 is 10025 minor units. Fewer decimals than the exponent are
filled up ("100.2" is 10020); more are refused even when they are zeros, because a bank that writes
them means another currency or another exponent than we do.
"""

import re
from enum import StrEnum

from bridge.errors import BridgeError

MAX_DIGITS = 18  # ISO 20022 amounts have at most 18 digits; the result then fits a bigint too
MAX_EXPONENT = 8
_MAX_TEXT = MAX_DIGITS + 2  # a sign and a point
_PLAIN = re.compile(r"(-?)(0|[1-9][0-9]*)(?:\.([0-9]+))?", re.ASCII)
_WITH_EXPONENT = re.compile(r"[+-]?[0-9]*\.?[0-9]+[eE][+-]?[0-9]+", re.ASCII)


class AmountFault(StrEnum):
    """Why a text is not an amount; stable names, fit for a break's evidence."""

    OVER_LONG = "over_long"
    EXPONENT_NOTATION = "exponent_notation"
    NOT_NUMERIC = "not_numeric"
    TOO_MANY_DECIMALS = "too_many_decimals"
    ZERO = "zero"
    NEGATIVE = "negative"


class AmountError(BridgeError):
    """A text that is not an exact amount; `fault` says why."""

    def __init__(self, fault: AmountFault, detail: str) -> None:
        super().__init__(detail)
        self.fault = fault


def parse_amount(text: str, exponent: int) -> int:
    """Minor units of an entry or a payment, always above zero.

    Raises AmountError for anything else: zero, a sign, exponent notation, spaces, thousands
    separators, more decimals than `exponent`, more than 18 digits.
    """
    amount_minor = parse_balance(text, exponent)
    if text.startswith("-"):
        raise AmountError(AmountFault.NEGATIVE, f"amount {text} is negative")
    if amount_minor == 0:
        raise AmountError(AmountFault.ZERO, f"amount {text} is zero")
    return amount_minor


def parse_balance(text: str, exponent: int) -> int:
    """Minor units of a balance, which may be zero or below it. Raises AmountError."""
    _check_exponent(exponent)
    if len(text) > _MAX_TEXT:
        raise AmountError(
            AmountFault.OVER_LONG, f"amount of {len(text)} characters; at most {_MAX_TEXT}"
        )
    match = _PLAIN.fullmatch(text)
    if match is None:
        raise _not_plain(text)
    sign, whole, decimals = match.group(1), match.group(2), match.group(3) or ""
    if len(decimals) > exponent:
        raise AmountError(
            AmountFault.TOO_MANY_DECIMALS,
            f"amount {text} has {len(decimals)} decimals; its currency has {exponent}",
        )
    digits = whole + decimals.ljust(exponent, "0")
    if len(digits.lstrip("0")) > MAX_DIGITS:
        raise AmountError(
            AmountFault.OVER_LONG, f"amount {text} has more than {MAX_DIGITS} digits in minor units"
        )
    return -int(digits) if sign else int(digits)


def format_minor(amount_minor: int, exponent: int) -> str:
    """The decimal text of an amount, with exactly `exponent` decimals: 10025, 2 is "100.25"."""
    _check_exponent(exponent)
    sign = "-" if amount_minor < 0 else ""
    digits = str(abs(amount_minor)).rjust(exponent + 1, "0")
    if exponent == 0:
        return sign + digits
    return f"{sign}{digits[:-exponent]}.{digits[-exponent:]}"


def _check_exponent(exponent: int) -> None:
    if not 0 <= exponent <= MAX_EXPONENT:
        raise ValueError(f"currency exponent {exponent} is not between 0 and {MAX_EXPONENT}")


def _not_plain(text: str) -> AmountError:
    if _WITH_EXPONENT.fullmatch(text):
        return AmountError(
            AmountFault.EXPONENT_NOTATION, f"amount {text} is written with an exponent"
        )
    return AmountError(AmountFault.NOT_NUMERIC, f"amount {text!r} is not a plain decimal number")
