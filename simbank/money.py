"""The bank's amounts: decimal text outside, integer minor units in the books."""

import re

MAX_MINOR = 10**15 - 1  # sums of a million such entries still fit SQLite's 64-bit integers
_DECIMAL = re.compile(r"(0|[1-9][0-9]{0,15})(?:\.([0-9]{1,8}))?", re.ASCII)


class MoneyError(Exception):
    """A text that is not an amount of this currency; `reason` is its machine-readable name."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


def to_minor(text: str, exponent: int) -> int:
    """Minor units of a positive decimal text; raises MoneyError."""
    match = _DECIMAL.fullmatch(text)
    if match is None:
        raise MoneyError("amount_invalid", "amount is not a positive plain decimal number")
    whole, decimals = match.group(1), match.group(2) or ""
    if len(decimals) > exponent:
        raise MoneyError("amount_decimals", f"amount has more than {exponent} decimals")
    amount_minor = int(whole + decimals.ljust(exponent, "0"))
    if not 0 < amount_minor <= MAX_MINOR:
        raise MoneyError("amount_out_of_range", "amount is zero or too large")
    return amount_minor


def to_text(amount_minor: int, exponent: int) -> str:
    """Decimal text with all decimals of the currency, negative amounts included."""
    sign = "-" if amount_minor < 0 else ""
    whole, part = divmod(abs(amount_minor), 10**exponent)
    return f"{sign}{whole}.{part:0{exponent}d}" if exponent else f"{sign}{whole}"
