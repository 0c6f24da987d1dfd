"""The two ways in which Ethereum's JSON-RPC writes numbers and bytes, read strictly.

Raises ``ValueError`` with the reason when a text is neither.
"""

MAX_QUANTITY_BITS = 256


def to_quantity(value: int) -> str:
    """``0x0`` for 0: hex without leading zeros."""
    if value < 0:
        raise ValueError(f"{value} is negative, which no quantity is")
    return hex(value)


def from_quantity(text: object, bits: int = MAX_QUANTITY_BITS) -> int:
    """A number below 2**bits."""
    if (
        not isinstance(text, str)
        or not text.startswith("0x")
        or not 3 <= len(text) <= 2 + bits // 4
    ):
        raise ValueError(f"{shown(text)} is not a quantity of at most {bits} bits")
    # int() alone would also take signs, spaces and underscores.
    if not text[2:].isalnum() or not text.isascii():
        raise ValueError(f"{shown(text)} is not hexadecimal")
    return int(text[2:], 16)


def to_data(value: bytes) -> str:
    return "0x" + value.hex()


def from_data(text: object, length_bytes: int | None = None) -> bytes:
    """Bytes, of exactly ``length_bytes`` if given."""
    if not isinstance(text, str) or not text.startswith("0x"):
        raise ValueError(f"{shown(text)} is not 0x and hexadecimal digits")
    if not text.isascii() or (len(text) > 2 and not text[2:].isalnum()):
        raise ValueError(f"{shown(text)} is not hexadecimal")
    value = bytes.fromhex(text[2:])
    if length_bytes is not None and len(value) != length_bytes:
        raise ValueError(f"{shown(text)} is not {length_bytes} bytes long")
    return value


def shown(value: object) -> str:
    """The value in an error's text, cut to a length that fits there."""
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
