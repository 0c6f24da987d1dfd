"""What goes over the wire to signers, and how their own words are taken. Pure."""

from typing import Final

from bridge.custody.protocol import SignRequest

MAX_WORDS: Final = 200


def transaction(request: SignRequest) -> dict[str, str]:
    """The request in JSON-RPC's words."""
    fields = {
        "from": f"0x{request.signer.hex()}",
        "to": f"0x{request.to_address.hex()}",
        "gas": hex(request.gas_limit),
        "value": "0x0",
        "nonce": hex(request.nonce),
        "data": f"0x{request.data.hex()}",
        "chainId": hex(request.chain_id),
    }
    if request.priority_fee_wei is None:
        return {**fields, "gasPrice": hex(request.max_fee_wei)}
    return {
        **fields,
        "maxFeePerGas": hex(request.max_fee_wei),
        "maxPriorityFeePerGas": hex(request.priority_fee_wei),
    }


def said(message: object) -> str:
    """Somebody else's words, as far as they may be shown and stored."""
    text = "".join(each for each in str(message)[: 2 * MAX_WORDS] if each.isprintable())
    return f"the signer says: {text[:MAX_WORDS]}"
