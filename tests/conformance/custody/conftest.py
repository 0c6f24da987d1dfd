"""Starts the real thing behind each backend: files, moto's KMS, SoftHSM2, Anvil, the simulated custodian."""

import itertools
import json
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from coincurve import PrivateKey
from eth_account import Account
from pydantic import SecretStr

from bridge.custody.pkcs11 import Pkcs11Settings
from bridge.custody.signature import address_of
from bridge.custody.simulator.custodian import Custodian
from bridge.custody.simulator.server import SimulatedCustodian, SimulatorSettings
from daemon.embedded.anvil import Anvil
from tests.conformance.custody import moto_kms, softhsm
from tests.conformance.custody.kms_keys import REGION, make_key
from tests.conformance.custody.subjects import (
    TIMEOUT_S,
    Approval,
    AwsKms,
    Clock,
    Keystore,
    Pkcs11,
    Remote,
    Subject,
)
from tests.faultproxy import HOST, FaultProxy

TOKEN_LABEL = "bridge"
PIN = "123456"
API_KEY = "simulated-api-key"
CALLBACK_KEY = b"c" * 32
KINDS = ("keystore", "aws_kms", "pkcs11", "remote", "approval")

_numbers = itertools.count(1)


@dataclass(frozen=True)
class Token:
    """A token of SoftHSM2, and a session that may write."""

    module: Path
    session: Any

    def settings(self, key_label: str, **changes: Any) -> Pkcs11Settings:
        given: dict[str, Any] = {
            "section": "signers.test",
            "module": self.module,
            "token_label": TOKEN_LABEL,
            "key_label": key_label,
            "pin": SecretStr(PIN),
            "timeout_s": TIMEOUT_S,
        }
        return Pkcs11Settings(**{**given, **changes})

    def generate(self, label: str, curve: str = "secp256k1", **attributes: bool) -> bytes:
        """Make a pair of keys; answers with its address."""
        import pkcs11
        from pkcs11.util.ec import encode_named_curve_parameters

        template = {pkcs11.Attribute[name]: value for name, value in attributes.items()}
        parameters = self.session.create_domain_parameters(
            pkcs11.KeyType.EC,
            {pkcs11.Attribute.EC_PARAMS: encode_named_curve_parameters(curve)},
            local=True,
        )
        public, _ = parameters.generate_keypair(
            store=True,
            label=label,
            capabilities=pkcs11.MechanismFlag.SIGN | pkcs11.MechanismFlag.VERIFY,
            private_template=template,
        )
        return address_of(bytes(public[pkcs11.Attribute.EC_POINT])[-64:])


@pytest.fixture(scope="session")
def token(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Token]:
    """One for the process: a PKCS#11 library is loaded once."""
    import pkcs11

    try:
        module = softhsm.library()
    except softhsm.SoftHsmMissingError as missing:
        pytest.fail(str(missing))
    folder = tmp_path_factory.mktemp("softhsm")
    (folder / "tokens").mkdir()
    settings = folder / "softhsm2.conf"
    settings.write_text(f"directories.tokendir = {folder}/tokens\nlog.level = ERROR\n")
    softhsm.initialize_token(module, settings, TOKEN_LABEL, PIN)
    os.environ["SOFTHSM2_CONF"] = str(settings)
    held = pkcs11.lib(str(module)).get_token(token_label=TOKEN_LABEL)
    with held.open(user_pin=PIN, rw=True) as session:
        yield Token(module, session)


@pytest.fixture(scope="session")
def kms_port() -> Iterator[int]:
    """Moto's, which signs digests as AWS does."""
    os.environ["AWS_ACCESS_KEY_ID"] = os.environ["AWS_SECRET_ACCESS_KEY"] = "test"
    with moto_kms.serving() as port:
        yield port


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def signing_chain() -> AsyncIterator[Anvil]:
    """A chain whose accounts sign by JSON-RPC, and which takes what others signed."""
    async with Anvil() as chain:
        yield chain


@pytest.fixture
def keystore(tmp_path: Path) -> Keystore:
    key, password = PrivateKey(), "password"
    path = tmp_path / "keystore.json"
    path.write_text(json.dumps(Account.encrypt(key.secret, password, kdf="pbkdf2", iterations=2)))
    return Keystore(path, password, address_of(key.public_key.format(compressed=False)[1:]))


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def kms_key(kms_port: int) -> tuple[str, bytes]:
    """Its id and its address."""
    return await make_key(kms_port)


@pytest_asyncio.fixture(loop_scope="session")
async def aws_kms(kms_port: int, kms_key: tuple[str, bytes]) -> AsyncIterator[AwsKms]:
    key_id, address = kms_key
    async with FaultProxy(HOST, kms_port) as proxy:
        yield AwsKms(address, proxy, key_id, REGION)


@pytest.fixture
def pkcs11(token: Token) -> Pkcs11:
    label = f"minter-{next(_numbers)}"
    address = token.generate(label)
    return Pkcs11(address, token.settings(label))


@pytest_asyncio.fixture(loop_scope="session")
async def remote(signing_chain: Anvil) -> AsyncIterator[Remote]:
    accounts = await signing_chain.rpc("eth_accounts")
    async with FaultProxy(HOST, signing_chain.port) as proxy:
        yield Remote(bytes.fromhex(accounts[next(_numbers) % len(accounts)][2:]), proxy)


@pytest_asyncio.fixture(loop_scope="session")
async def approval() -> AsyncIterator[Approval]:
    clock = Clock()
    approvers = {name: PrivateKey() for name in ("first", "second", "third")}
    custodian = Custodian("vault-1", PrivateKey(), approvers, quorum=2, now_s=clock)
    settings = SimulatorSettings(api_key=API_KEY, decide_after_s=0.02, callback_key=CALLBACK_KEY)
    async with AsyncExitStack() as stack:
        simulator = await stack.enter_async_context(SimulatedCustodian(custodian, settings))
        proxy = await stack.enter_async_context(FaultProxy(HOST, simulator.port))
        yield Approval(simulator, proxy, clock)


@pytest.fixture(params=KINDS)
def subject(request: pytest.FixtureRequest) -> Subject:
    """Each backend in turn."""
    found: Subject = request.getfixturevalue(request.param)
    return found
