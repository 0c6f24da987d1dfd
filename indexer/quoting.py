"""Values as Postgres reads them in COPY's text format. Pure.

What leaves here is printable ASCII and holds no tab, so that a row can be joined with tabs and newlines:
in COPY's text a backslash introduces everything else, and stands for itself doubled. Arrays and JSON
have backslashes of their own, which are doubled once more.
"""

import json
from collections.abc import Iterable
from typing import Final

# Bytes that COPY or a terminal would take for something else, as COPY spells them.
SPELT: Final = {
    **{byte: f"\\x{byte:02x}" for byte in (*range(0x20), *range(0x7F, 0x100))},
    ord("\\"): "\\\\",
}


def text(value: str) -> str:
    """A ``text`` value; what is not ASCII goes as bytes of the database's encoding, UTF-8."""
    if value.isascii() and value.isprintable() and "\\" not in value:
        return value
    return value.encode().decode("latin-1").translate(SPELT)


def number(value: int, decimals: int) -> str:
    """A ``numeric`` of ``value`` / 10**``decimals``, exactly; ``decimals`` is not 0."""
    digits = str(abs(value)).zfill(decimals + 1)
    return f"{'-' * (value < 0)}{digits[:-decimals]}.{digits[-decimals:]}"


def boolean(value: bool) -> str:
    return "t" if value else "f"


def bytea(raw: bytes) -> str:
    return rf"\\x{raw.hex()}"


def array(elements: Iterable[str]) -> str:
    """An array of what was written for that already."""
    return "{" + ",".join(elements) + "}"


def text_in_array(value: str) -> str:
    quoted = value.replace("\\", "\\\\").replace('"', '\\"')
    return text(f'"{quoted}"')


def bytea_in_array(raw: bytes) -> str:
    return rf"\\\\x{raw.hex()}"


def jsonb(value: object) -> str:
    """JSON's own escapes leave printable ASCII; only their backslashes need another."""
    return json.dumps(value, separators=(",", ":")).replace("\\", "\\\\")
