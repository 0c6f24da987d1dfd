"""Keys, requests and calls that the tests of custody share, and what eth-account makes of them."""

from dataclasses import replace
from typing import Any, Final

from coincurve import PrivateKey
from eth_account import Account
from eth_account.signers.local import LocalAccount

from bridge.calldata import Mint
from bridge.custody.protocol import SignRequest

SECRET: Final = bytes.fromhex("4c" * 32)
KEY: Final = PrivateKey(SECRET)
ACCOUNT: Final[LocalAccount] = Account.from_key(SECRET)
OTHER_KEY: Final = PrivateKey(bytes.fromhex("5d" * 32))
OTHER: Final[LocalAccount] = Account.from_key("0x" + "5d" * 32)
SIGNER: Final = bytes.fromhex(ACCOUNT.address[2:])
TOKEN: Final = b"t" * 20
CALL: Final = Mint(b"o" * 32, b"w" * 20, 100, b"r" * 32, 1_800_000_000).encode()
REQUEST: Final = SignRequest(
    request_id="1:aa:0:1",
    signer=SIGNER,
    chain_id=31337,
    nonce=3,
    to_address=TOKEN,
    data=CALL,
    gas_limit=100_000,
    max_fee_wei=20,
    priority_fee_wei=2,
)
LEGACY: Final = replace(REQUEST, request_id="1:aa:0:2", priority_fee_wei=None)


def fields_of(request: SignRequest) -> dict[str, Any]:
    """As eth-account wants them."""
    common = {
        "chainId": request.chain_id,
        "nonce": request.nonce,
        "to": request.to_address,
        "value": 0,
        "data": request.data,
        "gas": request.gas_limit,
    }
    if request.priority_fee_wei is None:
        return {**common, "gasPrice": request.max_fee_wei}
    return {
        **common,
        "type": 2,
        "maxFeePerGas": request.max_fee_wei,
        "maxPriorityFeePerGas": request.priority_fee_wei,
    }


def signed_by(account: LocalAccount, request: SignRequest, **changes: Any) -> bytes:
    """What eth-account signs, with other fields than the request's."""
    return bytes(account.sign_transaction({**fields_of(request), **changes}).raw_transaction)
