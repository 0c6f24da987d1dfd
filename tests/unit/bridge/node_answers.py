"""What nodes and providers really answer, with the product that was seen answering so, and what is made of it.

The texts are facts of those products: geth (core/txpool, core, internal/ethapi), Erigon (txpoolcfg and its RPC),
Nethermind (TxPool, before and after it took geth's words), Besu (RpcErrorType, and its answers in geth's words), reth
(rpc-eth-types), Anvil, OpenEthereum, Hardhat, Ganache; of chains and hosted providers as their documents and users
report them.
"""

from dataclasses import dataclass
from typing import Final

from bridge.sending import Answer

HASH: Final = "0x" + "11" * 32
ADDRESS: Final = "0x" + "22" * 20
# Error(string) of "no".
REASON: Final = "08c379a0" + "20".rjust(64, "0") + "02".rjust(64, "0") + "6e6f".ljust(64, "0")


@dataclass(frozen=True, slots=True)
class NodeAnswer:
    """One JSON-RPC error to ``eth_sendRawTransaction``."""

    node: str
    code: int
    message: str
    answer: Answer
    data: object = None


@dataclass(frozen=True, slots=True)
class SimulationError:
    """One JSON-RPC error to ``eth_estimateGas`` or ``eth_call``; ``revert_data`` is what the contract gave."""

    node: str
    code: int
    message: str
    data: object
    revert_data: bytes | None
    is_revert: bool


def _rows(
    answer: Answer, *rows: tuple[str, int, str] | tuple[str, int, str, object]
) -> list[NodeAnswer]:
    return [NodeAnswer(row[0], row[1], row[2], answer, *row[3:]) for row in rows]


NODE_ANSWERS: Final = [
    *_rows(
        Answer.KNOWN,
        ("geth", -32000, "already known"),
        ("geth, before 1.9.19", -32000, f"known transaction: {HASH[2:]}"),
        ("Erigon", -32000, "ALREADY_EXISTS: already known"),
        ("Erigon", -32000, "INTERNAL_ERROR: existing tx with same hash"),
        ("Erigon 3", -32000, "INTERNAL_ERROR: existing txn with same hash"),
        ("Nethermind", -32000, "already known"),
        ("Nethermind, before 2026", -32010, "AlreadyKnown"),
        ("Gnosis, by Nethermind", -32010, "alreadyknown"),
        ("Besu", -32000, "Known transaction"),
        ("reth", -32000, "already known"),
        ("Anvil", -32003, "transaction already imported"),
        ("OpenEthereum", -32010, "Transaction with the same hash was already imported."),
        (
            "zkSync",
            3,
            f"known transaction. transaction with hash {HASH} is already in the system",
            "0x",
        ),
        (
            "Mantle",
            -32000,
            "failed to forward tx to sequencer, please try again. Error message: 'already known'",
        ),
    ),
    *_rows(
        Answer.NONCE_USED,
        ("geth", -32000, "nonce too low: next nonce 5, tx nonce 3"),
        ("geth, before 1.13", -32000, "nonce too low"),
        ("Erigon", -32000, "INTERNAL_ERROR: nonce too low"),
        ("Nethermind", -32000, "nonce too low"),
        (
            "Nethermind, before 2026",
            -32010,
            "OldNonce, Current nonce: 22, nonce of rejected tx: 17",
        ),
        ("Besu", -32001, "Nonce too low"),
        ("reth", -32000, "nonce too low: next nonce 5, tx nonce 3"),
        ("Anvil", -32003, "nonce too low"),
        ("OpenEthereum", -32010, "Transaction nonce is too low. Try incrementing the nonce."),
        ("Arbitrum", -32000, f"nonce too low: address {ADDRESS}, tx: 8089 state: 8090"),
        (
            "Avalanche",
            -32000,
            f"nonce too low: address {ADDRESS} current nonce (5833) > tx nonce (5511)",
        ),
        ("zkSync", 3, "nonce too low. allowed nonce range: 427 - 447, actual: 426", "0x"),
        ("a gateway that speaks in data", -32603, "Internal error", "nonce too low"),
        (
            "a gateway that speaks in data",
            -32603,
            "Internal JSON-RPC error.",
            {"code": -32000, "message": "nonce too low"},
        ),
    ),
    *_rows(
        Answer.GAP,
        ("geth, blob pool", -32000, "nonce too high: tx nonce 7, gapped nonce 5"),
        ("geth", -32000, "gapped-nonce tx from delegated accounts"),
        ("geth, full", -32000, "future transaction tries to replace pending"),
        ("Nethermind", -32000, "nonce too high"),
        ("Nethermind", -32000, "nonce too far in future"),
        ("Nethermind", -32000, "delegation nonce gap"),
        ("Nethermind, before 2026", -32010, "NonceGap, Future nonce. Expected nonce: 10"),
        ("Nethermind, before 2026", -32010, "NonceTooFarInFuture"),
        ("Besu", -32006, "Nonce too high"),
        ("Besu", -32000, "Transaction nonce is too distant from current sender nonce"),
        ("Besu", -32000, "An invalid transaction with a lower nonce exists"),
        ("Anvil", -32003, "Nonce too high"),
        ("Arbitrum", -32000, f"nonce too high: address {ADDRESS}, tx: 8092 state: 8090"),
        ("zkSync", 3, "nonce too high. allowed nonce range: 427 - 477, actual: 527", "0x"),
    ),
    *_rows(
        Answer.UNDERPRICED,
        ("geth", -32000, "replacement transaction underpriced"),
        ("geth, full", -32000, "transaction underpriced"),
        ("geth, before 1.16", -32000, "transaction underpriced: tip needed 1, tip permitted 0"),
        (
            "geth",
            -32000,
            "transaction gas price below minimum: gas tip cap 0, minimum needed 1",
        ),
        ("Erigon", -32000, "FEE_TOO_LOW: underpriced"),
        ("Erigon", -32000, "FEE_TOO_LOW: fee too low"),
        ("Erigon", -32000, "FEE_TOO_LOW: replacement transaction underpriced"),
        ("Erigon, also through Ankr", -32000, "INTERNAL_ERROR: could not replace existing tx"),
        ("Nethermind", -32000, "transaction underpriced"),
        ("Nethermind, before 2026", -32010, "FeeTooLowToCompete"),
        (
            "Nethermind, before 2026",
            -32010,
            "FeeTooLow, EffectivePriorityFeePerGas too low 10 < 20, BaseFee: 30",
        ),
        ("Nethermind, before 2026", -32010, "ReplacementNotAllowed"),
        ("Besu", -32000, "Replacement transaction underpriced"),
        ("Besu", -32009, "Gas price below configured minimum gas price"),
        ("Besu", -32009, "Gas price below current base fee"),
        ("reth", -32003, "transaction priority fee below minimum required priority fee 1000000"),
        ("reth", -32000, "max fee per gas less than block base fee"),
        ("Anvil", -32003, "replacement transaction underpriced"),
        ("Anvil", -32003, "max fee per gas less than block base fee"),
        (
            "OpenEthereum",
            -32010,
            "Transaction gas price 100wei is too low. There is another transaction with same nonce in the queue with"
            " gas price 150wei. Try increasing the gas price or incrementing the nonce.",
        ),
        (
            "OpenEthereum",
            -32010,
            "Transaction gas price is too low. It does not satisfy your node's minimal gas price (minimal: 100 got:"
            " 50). Try increasing the gas price.",
        ),
        ("Arbitrum", -32000, "gas price too low"),
        ("Astar", -32603, "gas price less than block base fee"),
    ),
    *_rows(
        Answer.NO_FUNDS,
        (
            "geth",
            -32000,
            "insufficient funds for gas * price + value: balance 0, tx cost 21000, overshot 21000",
        ),
        ("geth", -32000, "insufficient funds for transfer"),
        ("Erigon", -32000, "INTERNAL_ERROR: insufficient funds"),
        ("Nethermind", -32000, "insufficient funds for gas * price + value"),
        (
            "Nethermind, before 2026",
            -32010,
            "InsufficientFunds, Account balance: 4740799, cumulative cost: 22019342",
        ),
        ("Besu", -32004, "Upfront cost exceeds account balance"),
        ("reth", -32003, "insufficient funds for gas * price + value: have 1 want 2"),
        ("Anvil", -32003, "Insufficient funds for gas * price + value"),
        (
            "OpenEthereum",
            -32010,
            "Insufficient funds. The account you tried to send transaction from does not have enough funds. Required"
            " 200 and got: 100.",
        ),
        ("Arbitrum", -32000, "not enough funds for gas"),
        ("Monad", -32603, "Signer had insufficient balance"),
    ),
    *_rows(
        Answer.REVERTED,
        ("Arbitrum", -32000, "execution reverted"),
        ("a reason that sounds like a node", 3, "execution reverted: nonce too low", "0x" + REASON),
        (
            "Hardhat, of a transaction that it has mined",
            -32603,
            "Error: VM Exception while processing transaction: reverted with reason string 'no'",
            {"message": "reverted", "txHash": HASH, "data": "0x" + REASON},
        ),
        (
            "Ganache, of a transaction that it has mined",
            -32000,
            "VM Exception while processing transaction: revert no",
            {
                "hash": HASH,
                "programCounter": 1,
                "result": HASH,
                "reason": "no",
                "message": "revert",
            },
        ),
    ),
    *_rows(
        Answer.ELSEWHERE,
        ("geth", -32000, "txpool is full"),
        ("geth, blob pool", -32000, "account limit exceeded: pooled 16 txs"),
        ("geth", -32000, "in-flight transaction limit reached for delegated accounts"),
        ("geth", -32000, "address already reserved"),
        ("geth", -32000, "tx fee (1.10 ether) exceeds the configured cap (1.00 ether)"),
        ("geth", -32000, "only replay-protected (EIP-155) transactions allowed over RPC"),
        ("geth", -32000, "transaction type not supported: tx type 3 not supported by this pool"),
        ("geth", -32601, "the method eth_sendRawTransaction does not exist/is not available"),
        ("Erigon", -32000, "INTERNAL_ERROR: pending sub-pool is full"),
        ("Erigon", -32000, "INTERNAL_ERROR: baseFee sub-pool is full"),
        ("Erigon", -32000, "INTERNAL_ERROR: spammer"),
        (
            "Erigon",
            -32000,
            "INVALID: fork supporting this transaction type is not activated yet",
        ),
        ("Nethermind", -32000, "node is syncing"),
        ("Nethermind", -32000, "unsupported transaction type"),
        ("Nethermind", -32000, "pending transaction type conflict"),
        ("Nethermind", -32000, "delegation authority has pending transaction"),
        (
            "Nethermind",
            -32000,
            "transaction invalid, InvalidTxType: Transaction type in Berlin is not supported.",
        ),
        ("Nethermind, before 2026", -32010, "Syncing"),
        ("Besu", -32008, "Initial sync is still in progress"),
        (
            "Besu",
            -32002,
            "Transaction pool not enabled. (Either txpool explicitly disabled, or node not yet in sync).",
        ),
        ("Besu", -32000, "Transaction fee cap exceeded"),
        ("Besu", -32007, "Sender account not authorized to send transactions"),
        ("Besu", -32000, "Plugin has marked the transaction as invalid"),
        ("Besu", -32602, "Invalid transaction type"),
        ("Besu", -32601, "Method not found"),
        ("reth", -32003, "txpool is full"),
        ("reth", -32000, "tx fee (110 wei) exceeds the configured cap (100 wei)"),
        (
            "Anvil, before London",
            -32602,
            "EIP-1559 style fee params (maxFeePerGas or maxPriorityFeePerGas) received but they are not supported by"
            " the current hardfork. You can use them by running anvil with '--hardfork london' or later.",
        ),
        (
            "OpenEthereum",
            -32010,
            "There are too many transactions in the queue. Your transaction was dropped due to limit. Try increasing"
            " the fee.",
        ),
        ("OpenEthereum", -32010, "Sender is banned in local queue."),
        ("OpenEthereum", -32010, "Transaction is not permitted."),
        ("zkSync Era", -32000, "sequencer pending tx pool full, please try again"),
        (
            "Alchemy",
            429,
            "Your app has exceeded its compute units per second capacity. If you have retries enabled, you can safely"
            " ignore this message.",
        ),
        ("Alchemy", -32000, "Monthly capacity limit exceeded."),
        (
            "Infura",
            -32005,
            "daily request count exceeded, request rate limited",
            {"rate": {"allowed_rps": 1, "backoff_seconds": 30}, "see": "the dashboard"},
        ),
        ("Infura", 429, "Too Many Requests"),
        (
            "QuickNode",
            -32007,
            "50/second request limit reached - reduce calls per second or upgrade your account at quicknode.com",
        ),
        (
            "QuickNode",
            -32003,
            "daily request limit reached - upgrade your account at quicknode.com",
        ),
        (
            "Ankr",
            -32090,
            "Too many requests, reason: call rate limit exhausted, retry in 10s",
        ),
        ("Ankr", -32055, "No nodes available", {"trace_id": "4b1f"}),
        ("Chainstack", -32005, "You've exceeded the RPS limit available on the current plan."),
    ),
    *_rows(
        Answer.REFUSED,
        ("geth", -32000, "invalid sender: invalid chain id for signer: have 2 want 1"),
        ("geth", -32000, "invalid sender: invalid transaction v, r, s values"),
        ("geth", -32000, "intrinsic gas too low: gas 20000, minimum needed 21000"),
        (
            "geth",
            -32000,
            "insufficient gas for floor data gas cost: gas 25000, minimum needed 31000",
        ),
        ("geth", -32000, "exceeds block gas limit"),
        (
            "geth",
            -32000,
            "transaction gas limit too high (cap: 16777216, tx: 20000000)",
        ),
        ("geth", -32000, "oversized data: transaction size 138074, limit 131072"),
        ("geth", -32000, "max priority fee per gas higher than max fee per gas"),
        ("geth", -32000, "gas uint64 overflow"),
        ("geth", -32000, "nonce has max value"),
        ("geth", -32000, "sender not an eoa"),
        ("geth", -32000, "typed transaction too short"),
        ("geth", -32000, "rlp: value size exceeds available input length"),
        ("Erigon", -32000, "invalid chain id, expected: 1 got: 2"),
        ("Erigon", -32000, "INVALID: invalid sender"),
        ("Erigon", -32000, "INVALID: RLPTooLong"),
        ("Erigon", -32000, "INTERNAL_ERROR: IntrinsicGas"),
        ("Erigon", -32000, "INTERNAL_ERROR: gas limit is too high"),
        ("Erigon", -32000, "INTERNAL_ERROR: GasUintOverflow"),
        ("Nethermind", -32000, "transaction invalid, InvalidTxChainId: Expected 1, got 2."),
        (
            "Nethermind",
            -32000,
            "transaction invalid, InvalidTxSignature: Signature is invalid.",
        ),
        ("Nethermind", -32000, "transaction invalid, intrinsic gas too low"),
        ("Nethermind", -32000, "transaction invalid, gas below floor data cost"),
        (
            "Nethermind",
            -32000,
            "transaction invalid, TxGasLimitCapExceeded: Gas limit 20000000 exceeded cap of 16777216.",
        ),
        (
            "Nethermind",
            -32000,
            "transaction invalid, InvalidMaxPriorityFeePerGas: Cannot be higher than maxFeePerGas.",
        ),
        ("Nethermind", -32000, "gas limit reached"),
        ("Nethermind", -32000, "transaction too large"),
        ("Nethermind", -32000, "transaction cost overflow"),
        ("Nethermind", -32000, "failed to recover sender"),
        ("Nethermind", -32000, "Invalid RLP."),
        (
            "Nethermind, before 2026",
            -32010,
            "GasLimitExceeded, Gas limit: 100, gas limit of rejected tx: 150",
        ),
        ("Nethermind, before 2026", -32010, "FailedToResolveSender"),
        ("Nethermind, before 2026", -32010, "SenderIsContract"),
        ("Nethermind, before 2026", -32010, "Int256Overflow"),
        ("Besu", -32000, "Wrong chainId"),
        ("Besu", -32000, "ChainId is required"),
        ("Besu", -32002, "Invalid signature"),
        ("Besu", -32003, "Intrinsic gas exceeds gas limit"),
        ("Besu", -32005, "Transaction gas limit exceeds block gas limit"),
        ("Besu", -32000, "Max priority fee per gas exceeds max fee per gas"),
        ("reth", -32000, "invalid chain ID"),
        ("reth", -32602, "invalid transaction signature"),
        ("reth", -32602, "failed to decode signed transaction"),
        ("reth", -32000, "exceeds max transaction gas limit"),
        ("reth", -32003, "gas limit too high"),
        ("reth", -32003, "sender is not an EOA"),
        ("Anvil", -32003, "invalid chain id for signer"),
        ("Anvil", -32003, "Incompatible EIP-155 transaction, signed for another chain"),
        ("Anvil", -32000, "intrinsic gas too low"),
        (
            "Anvil",
            -32000,
            "intrinsic gas too high -- tx.gas_limit > env.block.gas_limit",
        ),
        (
            "Anvil",
            -32000,
            "intrinsic gas too high -- tx.gas_limit > env.cfg.tx_gas_limit_cap",
        ),
        ("Anvil", -32003, "max priority fee per gas higher than max fee per gas"),
        ("Anvil", -32602, "Failed to recover the signer"),
        (
            "Anvil, after 1.7",
            -32003,
            "Transaction gas limit is greater than the block gas limit, gas_limit: 20000000, cap: 16777216",
        ),
        ("Anvil", -32602, "Failed to decode transaction"),
        ("OpenEthereum", -32010, "Invalid chain id."),
        ("OpenEthereum", -32010, "Supplied gas is beyond limit."),
        (
            "OpenEthereum",
            -32010,
            "Transaction gas is too low. There is not enough gas to cover minimal cost of the transaction (minimal:"
            " 100 got: 50) Try increasing supplied gas.",
        ),
        (
            "OpenEthereum",
            -32010,
            "Transaction cost exceeds current gas limit. Limit: 50, got: 100. Try decreasing supplied gas.",
        ),
        (
            "OpenEthereum",
            -32010,
            "Transaction is too big, see chain specification for the limit.",
        ),
        ("OpenEthereum", -32010, "Invalid RLP data: RlpIsTooShort"),
    ),
    *_rows(
        Answer.MAYBE,
        ("geth", -32002, "request timed out"),
        ("geth", -32000, "context deadline exceeded"),
        ("geth", -32003, "response too large"),
        ("geth", -32603, "internal server error caused by a broken database"),
        ("Erigon", -32000, "INTERNAL_ERROR: not set"),
        ("Nethermind", -32016, "Request was canceled due to enabled timeout."),
        ("Nethermind, before 2026", -32010, "OwnNonceAlreadyUsed"),
        ("Nethermind, before 2026", -32010, "Invalid"),
        ("Besu", -32603, "Timeout expired"),
        ("Besu", -32602, "Invalid transaction params (missing or incorrect)"),
        ("reth", -32603, "internal blocking task error"),
        ("Anvil", -32602, "Empty transaction data"),
        (
            "Anvil, after it took it",
            -32603,
            "Transaction confirmation timeout",
        ),
        ("OpenEthereum", -32010, "Unknown error when sending transaction."),
        ("Alchemy", -32002, "Transaction simulation failed"),
        ("Ankr", -32056, "Proxy error", {"trace_id": "4b1f"}),
        ("Ankr", -32071, "Request timeout", {"trace_id": "4b1f"}),
        ("any gateway", -32603, "Internal error"),
        ("any gateway", -32603, "an unknown transaction"),
        ("any gateway", -32000, "header not found"),
        ("any gateway", 0, ""),
    ),
]

# Ganache 2 names the hash of the transaction that it made for the call.
_GANACHE_2: Final = {
    HASH: {"error": "revert", "program_counter": 1, "return": "0x" + REASON, "reason": "no"},
    "stack": "RuntimeError: VM Exception while processing transaction: revert no",
    "name": "RuntimeError",
}
_GANACHE_7: Final = {
    "hash": HASH,
    "programCounter": 1,
    "result": "0x" + REASON,
    "reason": "no",
    "message": "revert",
}
_SAID: Final = bytes.fromhex(REASON)

SIMULATION_ERRORS: Final = [
    SimulationError("geth", 3, "execution reverted: no", "0x" + REASON, _SAID, True),
    SimulationError("geth, nothing said", 3, "execution reverted", "0x", b"", True),
    SimulationError("Erigon", 3, "execution reverted: no", "0x" + REASON, _SAID, True),
    SimulationError("Nethermind", 3, "execution reverted: no", "0x" + REASON, _SAID, True),
    SimulationError(
        "Nethermind, 2021", -32015, "VM execution error.", "Reverted 0x" + REASON, _SAID, True
    ),
    SimulationError(
        "OpenEthereum", -32015, "VM execution error.", "Reverted 0x" + REASON, _SAID, True
    ),
    SimulationError("Besu", -32000, "Execution reverted", "0x" + REASON, _SAID, True),
    SimulationError("reth", 3, "execution reverted: no", "0x" + REASON, _SAID, True),
    SimulationError("reth, nothing said", 3, "execution reverted", None, None, True),
    SimulationError("Anvil", 3, "execution reverted: no", "0x" + REASON, _SAID, True),
    SimulationError("Arbitrum", -32000, "execution reverted: no", None, None, True),
    SimulationError(
        "Hardhat",
        -32603,
        "Error: VM Exception while processing transaction: reverted with reason string 'no'",
        {"message": "Error: VM Exception", "data": "0x" + REASON},
        _SAID,
        True,
    ),
    SimulationError(
        "Hardhat, through a wallet",
        -32603,
        "Internal JSON-RPC error: reverted",
        {"code": 3, "data": {"message": "Error: VM Exception", "data": "0x" + REASON}},
        _SAID,
        True,
    ),
    SimulationError(
        "Ganache 7",
        -32000,
        "VM Exception while processing transaction: revert no",
        _GANACHE_7,
        _SAID,
        True,
    ),
    SimulationError(
        "Ganache 2",
        -32000,
        "VM Exception while processing transaction: revert no",
        _GANACHE_2,
        _SAID,
        True,
    ),
    SimulationError("geth", -32000, "gas required exceeds allowance (30000000)", None, None, False),
    SimulationError("geth", -32000, "invalid opcode: INVALID", None, None, False),
    SimulationError("geth", -32000, "insufficient funds for transfer", None, None, False),
    SimulationError("geth", -32000, "header not found", None, None, False),
    SimulationError("Nethermind, 2021", -32015, "VM execution error.", "OutOfGas", None, False),
    SimulationError("OpenEthereum", -32015, "VM execution error.", "Out of gas", None, False),
    SimulationError("Anvil", -32603, "EVM error InvalidFEOpcode", None, None, False),
    SimulationError("any gateway", -32603, "Internal error", {"trace_id": "4b1f"}, None, False),
    SimulationError("any gateway", -32603, "Internal error", [1, 2], None, False),
]
