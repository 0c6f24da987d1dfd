"""The rule of geth's pool at the door of Anvil, which takes a replacement that offers a twentieth more."""

from dataclasses import dataclass, field
from typing import Any

from eth_account import Account
from eth_account.typed_transactions.typed_transaction import TypedTransaction
from hexbytes import HexBytes

from daemon.embedded.anvil import Anvil

UNDERPRICED = {"error": {"code": -32000, "message": "replacement transaction underpriced"}}
FIELDS = ("maxFeePerGas", "maxPriorityFeePerGas")


@dataclass
class GethPool:
    """A judge for :class:`NodeProxy`. ``refused`` has the bytes that geth would not have let in, and ``taken`` those
    that it did."""

    anvil: Anvil
    refused: list[str] = field(default_factory=list)
    taken: list[str] = field(default_factory=list)
    _held: dict[tuple[str, int], str] = field(default_factory=dict)

    async def __call__(self, method: str, params: list[Any]) -> dict[str, Any] | None:
        if method != "eth_sendRawTransaction":
            return None
        raw = params[0]
        signer, nonce = Account.recover_transaction(raw), _fields(raw)["nonce"]
        held = self._held.get((signer, nonce))
        mined = int(await self.anvil.rpc("eth_getTransactionCount", signer, "latest"), 16)
        if nonce < mined or held == raw:
            return None
        if held is not None and any(
            _fields(raw)[one] * 10 < _fields(held)[one] * 11 for one in FIELDS
        ):
            self.refused.append(raw)
            return UNDERPRICED
        self._held[signer, nonce] = raw
        self.taken.append(raw)
        return None


def _fields(raw: str) -> dict[str, Any]:
    found: dict[str, Any] = TypedTransaction.from_bytes(HexBytes(raw)).as_dict()
    return found
