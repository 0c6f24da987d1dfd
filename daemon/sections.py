"""The sections of the settings, one class each: what keys there are, and what each of them may be.

How sections must agree with one another is ``daemon.agreement``'s.
"""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from bridge.calldata import TokenKind
from daemon.setting_types import (
    Address,
    Addresses,
    AddressOrAny,
    BankUrl,
    BlockNumber,
    HttpUrl,
    HttpUrls,
    MinorUnits,
    Name,
    RedisUrl,
    Texts,
    WebhookSecrets,
    WsUrl,
    WsUrls,
)
from indexer.contract import Verify
from indexer.stream.trim import StreamLimits

MIN_PARTITION_BLOCKS = 1000
MAX_CHAIN_ID = 2**53
MAX_STREAM_ENTRIES = 100_000_000
MIB = 1024 * 1024


class Section(BaseModel):
    """Unknown keys are refused, and no value stands in an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Database(Section):
    """Where the tables are. ``url`` is the daemon's own role; ``owner_url`` is used by ``migrate`` alone."""

    url: SecretStr
    owner_url: SecretStr | None = None
    pool_size: int = Field(default=10, ge=4, le=100)


class Redis(Section):
    """Redis or Valkey, which hold nothing that may not be lost. How much is kept is of each chain's stream."""

    url: RedisUrl | None = None
    enabled: bool = True
    max_entries: int = Field(default=10_000, ge=1, le=MAX_STREAM_ENTRIES)
    max_unread_entries: int = Field(default=100_000, ge=1, le=MAX_STREAM_ENTRIES)
    max_bytes: int = Field(default=128 * MIB, ge=MIB, le=1024 * 1024 * MIB)

    @property
    def limits(self) -> StreamLimits:
        return StreamLimits(self.max_entries, self.max_unread_entries, self.max_bytes)


class Provider(Section):
    """One node. Its ``operator``, by default the URL's host, is whom a quorum counts."""

    http_url: HttpUrl
    ws_url: WsUrl | None = None
    operator: str | None = Field(default=None, min_length=1, max_length=100)
    requests_per_s: float | None = Field(default=None, gt=0, le=100_000)
    concurrency: int = Field(default=8, ge=1, le=256)
    max_blocks: int | None = Field(default=None, ge=1, le=10_000_000)
    timeout_s: float = Field(default=15.0, gt=0, le=120)


class Chain(Section):
    """A chain to follow. ``finality_depth_blocks`` replaces the nodes' ``finalized`` tag where they have none;
    ``quorum`` says how many operators must agree on what is final; ``verify`` holds for its contracts. Of
    ``audit_blocks_per_hour`` 0 switches the auditor off. ``keep_days``: how long the feed and what was orphaned
    are kept; for ever where it is not set."""

    id: int = Field(gt=0, lt=MAX_CHAIN_ID)
    rpc_urls: HttpUrls = ()
    ws_urls: WsUrls = ()
    providers: dict[Name, Provider] = Field(default_factory=dict)
    poll_interval_s: float = Field(default=0.5, gt=0, le=60)
    finality_depth_blocks: int | None = Field(default=None, ge=1, le=1_000_000)
    quorum: int | None = Field(default=None, ge=1, le=100)
    single_provider: bool = False
    verify: Verify = "none"
    audit_blocks_per_hour: int = Field(default=1200, ge=0, le=1_000_000_000)
    keep_days: int | None = Field(default=None, ge=1, le=36_500)


class Factory(Section):
    """Where a contract's addresses come from: a parameter of an event of another contract."""

    contract: Name
    event: str = Field(min_length=1, max_length=10_000)
    parameter: str = Field(min_length=1, max_length=300)


class Contract(Section):
    """What to index. Its events come from ``abi``, of which ``events`` may choose some, or are written out
    in ``events``."""

    chain: Name | None = None
    address: AddressOrAny | None = None
    addresses: Addresses = ()
    factory: Factory | None = None
    abi: Path | None = None
    events: Texts = ()
    start_block: BlockNumber | None = None
    raw: bool = False
    transactions: bool = False
    receipts: bool = False
    balances: bool = False
    verify: Verify | None = None
    partition_blocks: int | None = Field(default=None, ge=MIN_PARTITION_BLOCKS, le=2**40)
    index: Texts = ()


class Token(Section):
    """The deposit token. Its decimals must equal the exponent of the bank account's currency. A ``plain`` one has
    ``mint(address,uint256)`` and knows no operations."""

    chain: Name | None = None
    address: Address
    contract: Name = "token"
    kind: TokenKind = "deposit"
    start_block: BlockNumber | None = None
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
    decimals: int = Field(ge=0, le=8)


class MintLimits(Section):
    """The most that is minted at once, in an hour and in a day, in minor units."""

    operation: MinorUnits | None = None
    hour: MinorUnits | None = None
    day: MinorUnits | None = None


class Approvals(Section):
    """Who must approve a mint of more than ``above`` minor units, by name and address, and how many of them."""

    above: MinorUnits
    needed: int = Field(default=2, ge=1, le=20)
    approvers: dict[Name, Address]

    @model_validator(mode="after")
    def _different_people(self) -> Self:
        if len(set(self.approvers.values())) < len(self.approvers):
            raise ValueError(
                "two approvers have the same address, so one person could approve twice"
            )
        if self.needed > len(self.approvers):
            raise ValueError(f"{self.needed} must approve, and {len(self.approvers)} may")
        return self


class Bank(Section):
    """The reserve account and how to reach its bank. One or two live webhook secrets (``whsec_…``). ``limits`` hold
    for all that is minted against the account."""

    base_url: BankUrl = Field(repr=False)
    account_id: str = Field(min_length=1, max_length=64)
    api_key: SecretStr
    webhook_secrets: WebhookSecrets = Field(min_length=1, max_length=2)
    timeout_s: float = Field(default=10.0, gt=0, le=120)
    poll_interval_s: float = Field(default=2.0, gt=0, le=3600)
    ask_after_s: float = Field(default=5.0, gt=0, le=3600)
    limits: MintLimits = MintLimits()
    approvals: Approvals | None = None


class Sender(Section):
    """What transactions may cost: in wei per unit of gas, and each, and all of a signer in a day. How many operations
    each carries, how patient a lane is, and when a signer's gas money is low."""

    max_fee_wei: int = Field(default=500 * 10**9, gt=0)
    priority_fee_wei: int = Field(default=10**9, ge=0)
    max_tx_wei: int | None = Field(default=None, gt=0)
    max_day_wei: int | None = Field(default=None, gt=0)
    alarm_below_transactions: int = Field(default=100, ge=0, le=1_000_000)
    alarm_below_s: int = Field(default=86_400, ge=0, le=31_536_000)
    mint_deadline_s: int = Field(default=3600, ge=60, le=86400)
    resend_after_s: float = Field(default=10.0, gt=0, le=3600)
    bump_after_s: float = Field(default=60.0, gt=0, le=86400)
    batch_items: int = Field(default=250, ge=1, le=1000)
    batch_window_s: float = Field(default=0.03, ge=0, le=60)
    intent_valid_s: int = Field(default=86_400, ge=60, le=30 * 86_400)
    max_in_flight: int = Field(default=64, ge=1, le=10_000)


class Api(Section):
    """Where the daemon listens."""

    host: str = "127.0.0.1"
    port: int = Field(default=8546, ge=0, le=65535)


class Daemon(Section):
    """The process itself. ``recheck_held_s``: how often a held operation is judged again. ``custody_log``: what was
    to be signed, outside the database."""

    lease_ttl_s: float = Field(default=6.0, ge=1, le=300)
    recheck_held_s: float = Field(default=15.0, ge=1, le=3600)
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    custody_log: Path = Path(".landbridge/custody.log")
