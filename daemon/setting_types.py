"""The kinds of values that settings have. What refuses one says what would be right, and never repeats it:
a URL may hold a key."""

import re
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, PlainSerializer, PlainValidator, SecretStr

from bridge.bank.webhook import decode_public_key, decode_secret
from indexer.keccak import keccak

MAX_NAME: Final = 31
MAX_URL: Final = 2048
MAX_BLOCK: Final = 2**60
ADDRESS: Final = re.compile(r"0x[0-9a-fA-F]{40}")
NAME: Final = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
MINOR_UNITS: Final = re.compile(r"0|[1-9][0-9]{0,17}")
ANY: Final = "*"

AnyAddress = Literal["*"]


def host_of(url: str) -> str:
    """The host that a URL names, which is all of it that may be shown; empty if it names none."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def checksummed(address: bytes) -> str:
    """0x and 40 digits, whose capitals are the checksum of EIP-55."""
    digits = address.hex()
    digest = keccak(digits.encode()).hex()
    return "0x" + "".join(
        each.upper() if int(weight, 16) >= 8 else each
        for each, weight in zip(digits, digest, strict=False)
    )


def _address(value: object) -> bytes:
    if isinstance(value, bytes) and len(value) == 20:
        return value
    if not isinstance(value, str) or not ADDRESS.fullmatch(value):
        raise ValueError("an address is 0x and 40 hexadecimal digits")
    address = bytes.fromhex(value[2:])
    has_checksum = not (value[2:].islower() or value[2:].isupper() or value[2:].isdigit())
    if has_checksum and value != checksummed(address):
        raise ValueError(
            "its capital letters are not its checksum (EIP-55), so a digit is wrong: copy the address again, "
            "or write all of it in small letters if you are sure of it"
        )
    return address


def _address_or_any(value: object) -> bytes | AnyAddress:
    return "*" if value == ANY else _address(value)


def _minor_units(value: object) -> int:
    if not isinstance(value, str) or not MINOR_UNITS.fullmatch(value):
        raise ValueError('an amount is a text of digits, in minor units: "1000000"')
    return int(value)


def _name(value: str) -> str:
    if len(value) > MAX_NAME or not NAME.fullmatch(value):
        raise ValueError(
            f"a name is of small letters, digits and single underscores, begins with a letter, and has at most "
            f"{MAX_NAME} characters"
        )
    return value


def _url(value: SecretStr, schemes: tuple[str, ...], example: str) -> SecretStr:
    text = value.get_secret_value()
    try:
        parts = urlsplit(text)
        well = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:
        well = False
    if not well or len(text) > MAX_URL or any(each.isspace() for each in text):
        raise ValueError(f"not such a URL; write {example}, at most {MAX_URL} characters")
    return value


def _http_url(value: SecretStr) -> SecretStr:
    return _url(value, ("http", "https"), "https://host/path")


def _ws_url(value: SecretStr) -> SecretStr:
    return _url(value, ("ws", "wss"), "wss://host/path")


def _redis_url(value: SecretStr) -> SecretStr:
    return _url(value, ("redis", "rediss"), "redis://:password@host:6379/0")


def _without_credentials(value: str) -> str:
    if "@" in urlsplit(value).netloc:
        raise ValueError("must not hold a user or password; what opens the bank is bank.api_key")
    return value


def _webhook_secrets(values: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
    for value in values:
        decode_secret(value.get_secret_value())
    return values


def _public_keys(values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        decode_public_key(value)
    return values


def _distinct(values: tuple[object, ...]) -> tuple[object, ...]:
    for place, value in enumerate(values):
        if value in values[:place]:
            raise ValueError(f"number {place + 1} of the list stands there twice")
    return values


def _written(value: bytes | str) -> str:
    return value if isinstance(value, str) else checksummed(value)


_AS_TEXT: Final = PlainSerializer(_written, return_type=str, when_used="json")

Address = Annotated[bytes, PlainValidator(_address), _AS_TEXT]
AddressOrAny = Annotated[bytes | AnyAddress, PlainValidator(_address_or_any), _AS_TEXT]
Addresses = Annotated[tuple[Address, ...], AfterValidator(_distinct)]
BankUrl = Annotated[
    str, Field(pattern=r"^https?://\S+$", max_length=MAX_URL), AfterValidator(_without_credentials)
]
BlockNumber = Annotated[int, Field(ge=0, le=MAX_BLOCK)]
HttpUrl = Annotated[SecretStr, AfterValidator(_http_url)]
HttpUrls = Annotated[tuple[HttpUrl, ...], AfterValidator(_distinct)]
MinorUnits = Annotated[int, PlainValidator(_minor_units)]
Name = Annotated[str, AfterValidator(_name)]
PublicKeys = Annotated[tuple[str, ...], AfterValidator(_public_keys)]
RedisUrl = Annotated[SecretStr, AfterValidator(_redis_url)]
Texts = Annotated[tuple[str, ...], AfterValidator(_distinct)]
WebhookSecrets = Annotated[tuple[SecretStr, ...], AfterValidator(_webhook_secrets)]
WsUrl = Annotated[SecretStr, AfterValidator(_ws_url)]
WsUrls = Annotated[tuple[WsUrl, ...], AfterValidator(_distinct)]
