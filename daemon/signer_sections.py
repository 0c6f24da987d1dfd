"""The sections ``[signers.NAME]``: who holds a key, by its kind. Each kind has settings of its own."""

from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field, SecretStr

from bridge.journal import Purpose
from bridge.rules import PURPOSES
from daemon.sections import MintLimits, Section
from daemon.setting_types import Address, Addresses, HttpUrl, PublicKeys, WebhookSecrets

_Text = Annotated[str, Field(min_length=1, max_length=300)]
_Timeout = Annotated[float, Field(gt=0, le=120)]


class RuledSigner(Section):
    """What every kind has: which functions the key may call, for whom it may mint (nobody named: for anybody), and
    how much."""

    functions: tuple[Purpose, ...] = Field(default=PURPOSES, min_length=1)
    recipients: Addresses = ()
    limits: MintLimits = MintLimits()


class KeystoreSigner(RuledSigner):
    """An encrypted file, whose key is in memory while the daemon runs."""

    kind: Literal["keystore"]
    keystore: Path
    password: SecretStr


class AwsKmsSigner(RuledSigner):
    """A key in AWS KMS. Credentials come as they do to AWS's own tools."""

    kind: Literal["aws_kms"]
    key_id: _Text
    region: _Text
    endpoint_url: HttpUrl | None = None
    timeout_s: _Timeout = 10.0


class Pkcs11Signer(RuledSigner):
    """A key in a hardware security module, by its vendor's library."""

    kind: Literal["pkcs11"]
    module: Path
    token_label: _Text
    key_label: _Text
    pin: SecretStr
    timeout_s: _Timeout = 10.0


class RemoteSigner(RuledSigner):
    """A signer that speaks JSON-RPC, such as Web3Signer."""

    kind: Literal["remote"]
    url: HttpUrl
    address: Address
    timeout_s: _Timeout = 10.0
    ca_certificate: Path | None = None
    client_certificate: Path | None = None
    client_key: Path | None = None


class ApprovalSigner(RuledSigner):
    """A custodian whose people approve what is signed. ``poll_interval_s``: how often it is asked about what waits."""

    kind: Literal["approval"]
    url: HttpUrl
    address: Address
    account: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,100}$")]
    api_key: SecretStr
    callback_secrets: WebhookSecrets = Field(default=(), max_length=2)
    callback_public_keys: PublicKeys = Field(default=(), max_length=2)
    poll_interval_s: float = Field(default=1.0, gt=0, le=3600)
    timeout_s: _Timeout = 10.0
    ca_certificate: Path | None = None
    client_certificate: Path | None = None
    client_key: Path | None = None


Signer = Annotated[
    KeystoreSigner | AwsKmsSigner | Pkcs11Signer | RemoteSigner | ApprovalSigner,
    Field(discriminator="kind"),
]
KINDS: Final[dict[str, type[Section]]] = {
    "keystore": KeystoreSigner,
    "aws_kms": AwsKmsSigner,
    "pkcs11": Pkcs11Signer,
    "remote": RemoteSigner,
    "approval": ApprovalSigner,
}
