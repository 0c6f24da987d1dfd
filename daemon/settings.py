"""Settings: one TOML file plus ``LANDBRIDGE_…`` environment variables, which win. All faults are told at once.

``LANDBRIDGE_BANK__API_KEY`` is ``[bank] api_key``. A name that does not exist is refused, in the file
and in the environment alike.
"""

import difflib
import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
)

from bridge.bank.webhook import decode_secret

ENVIRONMENT_PREFIX: Final = "LANDBRIDGE_"
CONFIG_VARIABLE: Final = "LANDBRIDGE_CONFIG"
MAX_FILE_BYTES: Final = 1024 * 1024


def _address(value: object) -> object:
    if isinstance(value, str):
        if not re.fullmatch(r"0x[0-9a-fA-F]{40}", value):
            raise ValueError("an address is 0x and 40 hexadecimal digits")
        return bytes.fromhex(value[2:])
    return value


def _without_credentials(value: str) -> str:
    if "@" in urlsplit(value).netloc:
        raise ValueError("must not hold a user or password; what opens the bank is bank.api_key")
    return value


def _webhook_secrets(values: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
    for value in values:
        decode_secret(value.get_secret_value())
    return values


def _true(value: object) -> object:
    """An environment variable can only say it as text."""
    return True if isinstance(value, str) and value.lower() in ("true", "1", "yes") else value


Address = Annotated[bytes, BeforeValidator(_address)]
WebhookSecrets = Annotated[tuple[SecretStr, ...], AfterValidator(_webhook_secrets)]
HttpUrl = Annotated[str, Field(pattern=r"^https?://\S+$", max_length=2048)]
BankUrl = Annotated[HttpUrl, AfterValidator(_without_credentials)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,30}$")]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Database(_Section):
    """Where the books are. ``url`` is the daemon's own role; ``owner_url`` is used by ``migrate`` alone."""

    url: SecretStr
    owner_url: SecretStr | None = None
    pool_size: int = Field(default=10, ge=4, le=100)


class Chain(_Section):
    """The chain to follow. ``finality_depth_blocks`` replaces the node's ``finalized`` tag where it has none."""

    id: int = Field(gt=0)
    rpc_url: HttpUrl = Field(repr=False)
    timeout_s: float = Field(default=15.0, gt=0, le=120)
    start_block: int = Field(default=0, ge=0)
    poll_interval_s: float = Field(default=0.5, gt=0, le=60)
    finality_depth_blocks: int | None = Field(default=None, ge=1)
    single_provider: Annotated[Literal[True], BeforeValidator(_true)] = Field(
        description="must be true: finality then rests on the word of this one provider"
    )


class Token(_Section):
    """The deposit token. Its decimals must equal the exponent of the bank account's currency."""

    address: Address
    contract: Name = "token"
    currency: str = Field(pattern=r"^[A-Z]{3}$")
    decimals: int = Field(ge=0, le=8)


class Bank(_Section):
    """The reserve account and how to reach its bank. One or two live webhook secrets (``whsec_…``)."""

    base_url: BankUrl = Field(repr=False)
    account_id: str = Field(min_length=1, max_length=64)
    api_key: SecretStr
    webhook_secrets: WebhookSecrets = Field(min_length=1, max_length=2)
    timeout_s: float = Field(default=10.0, gt=0, le=120)
    poll_interval_s: float = Field(default=2.0, gt=0, le=3600)
    ask_after_s: float = Field(default=5.0, gt=0, le=3600)


class Custody(_Section):
    """The encrypted keystore that holds the signing key."""

    keystore: Path
    password: SecretStr


class Sender(_Section):
    """What transactions may cost, in wei per unit of gas, and how patient the lane is."""

    max_fee_wei: int = Field(default=500 * 10**9, gt=0)
    priority_fee_wei: int = Field(default=10**9, ge=0)
    mint_deadline_s: int = Field(default=3600, ge=60, le=86400)
    resend_after_s: float = Field(default=10.0, gt=0, le=3600)


class Api(_Section):
    """Where the daemon listens."""

    host: str = "127.0.0.1"
    port: int = Field(default=8546, ge=0, le=65535)


class Daemon(_Section):
    """The process itself. ``recheck_held_s``: how often a held operation is judged again."""

    lease_ttl_s: float = Field(default=6.0, ge=1, le=300)
    recheck_held_s: float = Field(default=15.0, ge=1, le=3600)
    log_level: Literal["debug", "info", "warning", "error"] = "info"


class Settings(_Section):
    """Everything that an operator decides."""

    database: Database
    chain: Chain
    token: Token
    bank: Bank
    custody: Custody
    sender: Sender = Sender()
    api: Api = Api()
    daemon: Daemon = Daemon()


class SettingsError(Exception):
    """The settings have faults; the text lists every one, with its key."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


def load(path: Path | None, environment: Mapping[str, str] | None = None) -> Settings:
    """Read the file and the environment; raises :class:`SettingsError` with every fault at once."""
    environment = os.environ if environment is None else environment
    tree, unreadable = _read_file(path)
    faults = unreadable + _merge_environment(tree, environment)
    for section in _sections():
        # A section that is absent altogether then lacks each of its keys by name.
        tree.setdefault(section, {})
    try:
        settings = Settings.model_validate(tree)
    except ValidationError as error:
        found = error.errors(include_url=False)
        if unreadable:
            # What the file would have said is not missing.
            found = [each for each in found if each["type"] != "missing"]
        raise SettingsError(faults + [_fault(each) for each in found]) from None
    if faults:
        raise SettingsError(faults)
    return settings


def _read_file(path: Path | None) -> tuple[dict[str, Any], list[str]]:
    if path is None:
        return {}, []
    try:
        with path.open("rb") as file:
            text = file.read(MAX_FILE_BYTES + 1)
        if len(text) > MAX_FILE_BYTES:
            return {}, [f"{path}: over {MAX_FILE_BYTES} bytes; is this the right file?"]
        return tomllib.loads(text.decode()), []
    except OSError as error:
        return {}, [f"{path}: cannot be read: {error.strerror}"]
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        return {}, [f"{path}: not a TOML file: {error}"]


def _merge_environment(tree: dict[str, Any], environment: Mapping[str, str]) -> list[str]:
    """Lay the environment over the file's tree; answers with the faults found on the way."""
    known = _variables()
    faults = []
    for name in sorted(environment):
        if not name.startswith(ENVIRONMENT_PREFIX) or name == CONFIG_VARIABLE:
            continue
        if name not in known:
            faults.append(f"{name}: there is no such setting{_nearest_variable(name, known)}")
            continue
        section, key = known[name]
        value: object = environment[name]
        if key == "webhook_secrets":
            value = [part for part in environment[name].split(",") if part]
        branch = tree.setdefault(section, {})
        if isinstance(branch, dict):
            branch[key] = value
    return faults


def _sections() -> dict[str, type[BaseModel]]:
    """The sections of the file, by name."""
    models = {name: field.annotation for name, field in Settings.model_fields.items()}
    return {
        name: model
        for name, model in models.items()
        if isinstance(model, type) and issubclass(model, BaseModel)
    }


def _variables() -> dict[str, tuple[str, str]]:
    return {
        _variable(section, key): (section, key)
        for section, model in _sections().items()
        for key in model.model_fields
    }


def _variable(section: str, key: str) -> str:
    return f"{ENVIRONMENT_PREFIX}{section.upper()}__{key.upper()}"


def _nearest_variable(name: str, known: Iterable[str]) -> str:
    """What all names begin with would make all of them look alike, so it is left out of account."""
    short = [each.removeprefix(ENVIRONMENT_PREFIX) for each in known]
    return _nearest(name.removeprefix(ENVIRONMENT_PREFIX), short, ENVIRONMENT_PREFIX, cutoff=0.8)


def _nearest(name: str, known: Iterable[str], prefix: str = "", *, cutoff: float = 0.6) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=cutoff)
    return f"; did you mean {prefix}{close[0]}?" if close else ""


def _fault(error: Any) -> str:
    path = [str(part) for part in error["loc"]]
    key = ".".join(path)
    if error["type"] == "missing":
        return f"{key}: is missing; set it in the file or as {_variable(*path[:2])}"
    if error["type"] == "extra_forbidden":
        return f"{key}: there is no such setting{_nearest_key(path)}"
    return f"{key}: {error['msg'].removeprefix('Value error, ')}"


def _nearest_key(path: list[str]) -> str:
    sections = _sections()
    section, *keys = path
    if not keys:
        return _nearest(section, sections)
    return _nearest(keys[0], sections[section].model_fields, f"{section}.")
