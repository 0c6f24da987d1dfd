"""What a node's refusal means. The only module of the indexer that reads nodes' error texts. Pure.

Nodes and providers agree on neither codes nor texts: -32005 is a rate limit for one and too many results for
another, -32602 means four different things. So the text decides, and the code only where the text says nothing.
The first rule that fits counts; ``tests/unit/indexer/test_limits.py`` has the real texts, with their products.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias


@dataclass(frozen=True, slots=True)
class RangeTooWide:
    """The logs of so many blocks are not given at once. ``max_blocks`` counts both ends; ``suggested`` is
    a first and last block that the node says it would take."""

    max_blocks: int | None = None
    suggested: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class TooManyResults:
    """The answer would be too large, or takes too long to make: fewer blocks may do."""

    suggested: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class RateLimited:
    """Asked too often; it says nothing about the request."""

    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class BehindHead:
    """The request names blocks above the node's head."""


@dataclass(frozen=True, slots=True)
class UnknownBlock:
    """The node does not have the block that the request names."""


@dataclass(frozen=True, slots=True)
class MethodMissing:
    """The node does not offer the method."""


@dataclass(frozen=True, slots=True)
class Other:
    """A refusal that says nothing about limits."""


Verdict: TypeAlias = (
    RangeTooWide | TooManyResults | RateLimited | BehindHead | UnknownBlock | MethodMissing | Other
)

MAX_TEXT: Final = 2000
MAX_RETRY_AFTER_S: Final = 600.0

REVERTED: Final = 3
METHOD_NOT_FOUND: Final = -32601
RATE_CODES: Final = frozenset({429, -32005, -32029})
TIMEOUT_CODE: Final = -32002
QUICKNODE_RANGE: Final = -32614
RATE_STATUS: Final = 429
TOO_LARGE_STATUSES: Final = frozenset({408, 413, 504, 524})


def _any(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(patterns))


_REVERT: Final = _any(r"execution revert", r"^revert", r"vm exception")
# A limit on size or time, even where the text also names a number of blocks that is never refused.
_MANY: Final = _any(
    r"response size (?:exceeded|limit exceeded|should not)",
    r"response (?:is )?too (?:large|big)",
    r"max message response size",
    r"(?:returned )?more than \d+ (?:results|logs)",
    r"exceeds max(?:imum)? results",
    r"request exceeds defined limit",
    r"logs matched by query exceeds",
    r"too many (?:logs|results|events)",
    r"(?:query|request) (?:timeout|timed out)",
    r"deadline exceeded",
    r"cancell?ed due to enabled timeout",
)
_RATE: Final = _any(
    r"\brate[- ]?limit",
    r"too many (?:concurrent )?request",
    r"request rate exceeded",
    r"request limit reached",
    r"\b(?:rps|qps) limit",
    r"compute units per second",
    r"capacity limit exceeded",
)
# Refusals that carry a rate limit's code and are none.
_NOT_RATE: Final = _any(r"gas limit", r"batch size", r"address", r"active filters")

_N: Final = r"(\d[\d,_]*k?)\b"
_RANGE_OF: Final = tuple(
    re.compile(pattern)
    for pattern in (
        rf"up to an? {_N} block range",
        rf"limited to (?:an? )?(?:0 - )?{_N}(?: blocks?)?(?: range)?",
        rf"max(?:imum)? block range\W{{0,5}}{_N}",
        rf"max range: {_N}",
        rf"ranges over {_N} blocks",
        rf"range .{{0,40}}exceeds (?:the )?limit(?: of)? {_N}",
        rf"bigger than range limit {_N}",
        rf"too many blocks .{{0,60}}maximum is set to {_N}",
        rf"maximum allowed is {_N} blocks",
        rf"range allowed for your plan \([\d,_]+ > {_N}\)",
        rf"query to at most {_N} blocks",
        rf"block range greater than {_N} max",
        rf"block range exceeds {_N}",
        rf"range is too large, max is {_N}",
        rf"range is too wide \(maximum {_N}\)",
        rf"blocks distance: {_N}",
        rf"too wide blocks range, the limit is {_N}",
        rf"block range exceeds server limit, narrow your filter: {_N}",
    )
)
# A limit on the number of blocks that speaks of the size too.
_RANGE_FOR_SIZE: Final = re.compile(rf"number of requested blocks is {_N}")
_RANGE: Final = _any(
    r"range (?:is )?too (?:wide|large|big|high)",
    r"range limit exceeded",
    r"range exceeds max",
    r"range is (?:bigger|larger) than",
    r"range threshold exceeded",
)
_BEHIND: Final = _any(
    r"beyond (?:the )?(?:current )?head",
    r"blockoutofrange",
    r"block is out of range",
    r"block not yet",
    r"invalid block range",
    r"^\d+ could not be found",
)
_UNKNOWN: Final = _any(
    r"unknown block",
    r"(?:block|header)\b.{0,90} not found",
    r"(?:cannot|could not) be found",
)
_MISSING: Final = _any(
    r"method .{0,60}(?:not found|does not exist|not available|not supported|not allowed|not whitelisted)",
    r"unsupported method",
    r"^[a-z]+_\w+ is not available",
    r"not included in your current plan",
)

_HEX_RANGE: Final = re.compile(r"\[\s*(0x[0-9a-f]{1,15})\s*,\s*(0x[0-9a-f]{1,15})\s*\]")
_DECIMAL_RANGE: Final = re.compile(r"with the range (\d{1,18})\s*-\s*(\d{1,18})\b")
_WAIT: Final = re.compile(
    r"(?:try[ _]again|retry)[ _](?:in|after)\W{0,4}([\d.]{1,12})\s*(ms|millisecond|s|sec|second|m|min|minute)s?\b"
)
_BACKOFF: Final = re.compile(r"backoff_seconds\W{0,4}([\d.]{1,12})")
_UNIT_S: Final = {"ms": 0.001, "millisecond": 0.001, "m": 60.0, "min": 60.0, "minute": 60.0}


def judge(
    code: int | None,
    message: str,
    http_status: int = 200,
    retry_after: str | None = None,
    data: object = None,
) -> Verdict:
    """``code``, ``message`` and ``data`` are of the JSON-RPC error; ``code`` is None for the text of a body
    that holds none. ``retry_after`` is the HTTP header of that name."""
    text = _text(message, data)
    if code == REVERTED or _REVERT.search(text):
        return Other()
    if http_status == RATE_STATUS:
        return RateLimited(_wait_s(text, retry_after))
    if code == METHOD_NOT_FOUND:
        return MethodMissing()
    capped = _RANGE_FOR_SIZE.search(text)
    if capped is not None:
        return RangeTooWide(_number(capped[1]))
    if _MANY.search(text) or (code == TIMEOUT_CODE and "timed out" in text):
        return TooManyResults(_suggested(text))
    if _RATE.search(text):
        return RateLimited(_wait_s(text, retry_after))
    wide = _too_wide(code, text)
    if wide is not None:
        return wide
    if _BEHIND.search(text):
        return BehindHead()
    if _UNKNOWN.search(text):
        return UnknownBlock()
    if _MISSING.search(text):
        return MethodMissing()
    if code in RATE_CODES and not _NOT_RATE.search(text):
        return RateLimited(_wait_s(text, retry_after))
    return TooManyResults() if http_status in TOO_LARGE_STATUSES else Other()


def _text(message: str, data: object) -> str:
    """What the node said, in lower case; some say it in ``data`` only."""
    parts = [message]
    if isinstance(data, Mapping):
        parts.append(str(dict(list(data.items())[:10])))
    elif isinstance(data, str) and not data.startswith("0x"):
        parts.append(data)
    return " ".join(part[:MAX_TEXT] for part in parts).lower()


def _too_wide(code: int | None, text: str) -> RangeTooWide | None:
    if "range" not in text and "block" not in text:
        return None
    for pattern in _RANGE_OF:
        found = pattern.search(text)
        if found is not None:
            return RangeTooWide(_number(found[1]), _suggested(text))
    if _RANGE.search(text) or code == QUICKNODE_RANGE:
        return RangeTooWide(None, _suggested(text))
    return None


def _number(text: str) -> int | None:
    """``10,000`` or ``2k``; None for 0, which limits nothing."""
    digits = text.rstrip("k").replace(",", "").replace("_", "")
    value = int(digits[:18]) * (1000 if text.endswith("k") else 1)
    return value or None


def _suggested(text: str) -> tuple[int, int] | None:
    found = _HEX_RANGE.search(text)
    base = 16
    if found is None:
        found, base = _DECIMAL_RANGE.search(text), 10
    if found is None:
        return None
    first, last = int(found[1], base), int(found[2], base)
    return (first, last) if first <= last else None


def _wait_s(text: str, retry_after: str | None) -> float | None:
    """How long to wait, bounded; the date that the header may hold instead of seconds is not read."""
    if retry_after is not None:
        seconds = _seconds(retry_after.strip())
        if seconds is not None:
            return seconds
    found = _WAIT.search(text)
    if found is not None:
        return _seconds(found[1], _UNIT_S.get(found[2], 1.0))
    found = _BACKOFF.search(text)
    return None if found is None else _seconds(found[1])


def _seconds(text: str, unit_s: float = 1.0) -> float | None:
    try:
        value = float(text) * unit_s
    except ValueError:
        return None
    return min(value, MAX_RETRY_AFTER_S) if value >= 0 else None
