"""Logs: one JSON object a line on standard error, whoever wrote it, and no secret in any of them.

What the standard library's loggers say (asyncio, aiohttp, warnings) takes the same way. Operation ids
are fields (``operation_id``, ``op_id``), so that everything about one operation can be found.
"""

import logging
import re
import sys
from collections.abc import Mapping
from typing import Any, Final, TextIO

import structlog
from pydantic import SecretBytes, SecretStr
from structlog.typing import EventDict, Processor

REDACTED: Final = "[redacted]"
MAX_DEPTH: Final = 6
"""Values nested deeper than this are cut off; it also bounds what refers to itself."""

_SECRET_KEY: Final = re.compile(
    r"password|passwd|secret|api[-_]?key|private[-_]?key|authorization", re.IGNORECASE
)
_URL_CREDENTIALS: Final = re.compile(r"(?<=://)[^\s/@]*:[^\s/]*@")
_QUIET: Final = ("aiohttp.access",)


def configure(level: str, stream: TextIO | None = None) -> None:
    """Log from ``level`` (debug, info, warning, error) upwards, to standard error by default."""
    handler = logging.StreamHandler(sys.stderr if stream is None else stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_gather(),
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                redact,
                structlog.processors.JSONRenderer(default=_as_text, ensure_ascii=False),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    logging.captureWarnings(True)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_gather(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )


def redact(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """Blank out secrets: by their type, by the name of their key, and as credentials in a URL."""
    return {key: _redacted(key, value, MAX_DEPTH) for key, value in event.items()}


def _gather() -> list[Processor]:
    """What every record gets, ours and the standard library's."""
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]


def _redacted(key: str, value: Any, depth: int) -> Any:
    if _SECRET_KEY.search(key) or isinstance(value, SecretStr | SecretBytes):
        return REDACTED
    if isinstance(value, str):
        return _URL_CREDENTIALS.sub(f"{REDACTED}@", value)
    if isinstance(value, Mapping | list | tuple | set | frozenset):
        return _redacted_collection(key, value, depth - 1)
    return value


def _redacted_collection(key: str, value: Mapping[Any, Any] | Any, depth: int) -> Any:
    if depth == 0:
        return "[…]"
    if isinstance(value, Mapping):
        return {str(name): _redacted(str(name), item, depth) for name, item in value.items()}
    return [_redacted(key, item, depth) for item in value]


def _as_text(value: Any) -> str:
    """What JSON cannot say: bytes as hexadecimal, anything else by its ``repr`` without credentials."""
    if isinstance(value, bytes | bytearray | memoryview):
        return "0x" + bytes(value).hex()
    return _URL_CREDENTIALS.sub(f"{REDACTED}@", repr(value))
