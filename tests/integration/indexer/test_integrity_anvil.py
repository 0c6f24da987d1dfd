"""Hashes, receipts roots and blooms that we compute, against a real node's: every kind of transaction, log and fork."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import msgspec
import pytest
import rlp
from eth_account import Account
from eth_account.signers.local import LocalAccount

from daemon.embedded.anvil import DEFAULT_CHAIN_ID, DEFAULT_MNEMONIC, Anvil
from indexer import bloom, proof, wire
from indexer.block import Header
from indexer.block_hash import block_hash
from indexer.errors import ReceiptsForged
from indexer.hexadecimal import to_data
from indexer.receipts import receipts_root

GAS = 15_000_000
FEE_WEI = 10**11
DATA_LENGTHS = (0, 1, 31, 32, 55, 56, 57, 300, 70_000)
SHAPES = tuple((topics, length) for topics in range(5) for length in DATA_LENGTHS)
DYNAMIC_FEE: dict[str, Any] = {"maxFeePerGas": FEE_WEI, "maxPriorityFeePerGas": 1}
FORKS = ("frontier", "berlin", "london", "shanghai", "cancun", "prague", "osaka")
BLOB_BYTES = 4096 * 32

STOP, REVERT, RETURN, CODECOPY, MSTORE, LOG0 = 0x00, 0xFD, 0xF3, 0x39, 0x52, 0xA0


def push(value: int, length_bytes: int) -> bytes:
    return bytes((0x5F + length_bytes,)) + value.to_bytes(length_bytes, "big")


def logging(shapes: Sequence[tuple[int, int]], end: bytes = bytes((STOP,))) -> bytes:
    """Code that emits a log of each shape (number of topics, bytes of data), then does ``end``."""
    code = b"".join(
        push(int.from_bytes(bytes((0x80 + word,)) * 32, "big"), 32)
        + push(32 * word, 2)
        + bytes((MSTORE,))
        for word in range(10)
    )
    for topics, length in shapes:
        words = b"".join(push(topic << 248 | length, 32) for topic in range(topics, 0, -1))
        code += words + push(length, 3) + push(0, 1) + bytes((LOG0 + topics,))
    return code + end


def deploying(code: bytes) -> bytes:
    """Code that creates a contract with ``code``."""
    length = push(len(code), 2)
    copies = length + push(14, 1) + push(0, 1) + bytes((CODECOPY,))
    return copies + length + push(0, 1) + bytes((RETURN,)) + code


async def send(chain: Anvil, **fields: str | int) -> str:
    """A transaction of the first account, in the next block."""
    sender = (await chain.rpc("eth_accounts"))[0]
    call = {name: hex(one) if isinstance(one, int) else one for name, one in fields.items()}
    sent: str = await chain.rpc(
        "eth_sendTransaction", {"from": sender, "gas": hex(GAS), "gasPrice": hex(FEE_WEI), **call}
    )
    return sent


async def deploy(chain: Anvil, code: bytes) -> str:
    """Mines a block with the contract; its address."""
    sent = await send(chain, data=to_data(deploying(code)))
    await chain.mine()
    receipt = await chain.rpc("eth_getTransactionReceipt", sent)
    assert receipt["status"] == "0x1"
    address: str = receipt["contractAddress"]
    return address


async def read(chain: Anvil, number: int) -> tuple[wire.Block, list[wire.Receipt]]:
    block = await chain.rpc("eth_getBlockByNumber", hex(number), False)
    receipts = await chain.rpc("eth_getBlockReceipts", hex(number))
    return msgspec.convert(block, wire.Block), msgspec.convert(receipts, list[wire.Receipt])


async def proven(chain: Anvil, number: int) -> tuple[Header, list[wire.Receipt], list[wire.Log]]:
    """Holds a block to everything that can be proven of it, and to the node's own search for logs."""
    block, receipts = await read(chain, number)
    header = block.header()
    assert block_hash(block) == header.hash
    assert receipts_root(receipts) == header.receipts_root
    logs = proof.verified_logs(header, receipts)
    assert bloom.of_logs(logs) == header.logs_bloom
    query = {"fromBlock": hex(number), "toBlock": hex(number)}
    answered = msgspec.convert(await chain.rpc("eth_getLogs", query), list[wire.Log])
    assert proof.missing(answered, logs).is_empty
    return header, receipts, logs


async def head(chain: Anvil) -> int:
    return int(await chain.rpc("eth_blockNumber"), 16)


def signer() -> LocalAccount:
    """Anvil's last account, which sends nothing else."""
    Account.enable_unaudited_hdwallet_features()
    account: LocalAccount = Account.from_mnemonic(DEFAULT_MNEMONIC, account_path="m/44'/60'/0'/0/9")
    return account


async def send_signed(chain: Anvil, **fields: Any) -> None:
    await chain.rpc("eth_sendRawTransaction", to_data(signed(**fields)))


def signed(**fields: Any) -> bytes:
    transaction = {"chainId": DEFAULT_CHAIN_ID, "gas": 1_000_000, "value": 0, "data": b"", **fields}
    return bytes(signer().sign_transaction(transaction).raw_transaction)


async def send_blob(chain: Anvil, **fields: Any) -> None:
    """A transaction with a blob of zeros, whose commitment and proof are the point at infinity: so nothing has
    to be computed, for which the library would load its setup for some ten seconds."""
    infinity = b"\xc0" + bytes(47)
    versioned_hash = b"\x01" + sha256(infinity).digest()[1:]
    raw = signed(type=3, maxFeePerBlobGas=FEE_WEI, blobVersionedHashes=[versioned_hash], **fields)
    body = rlp.decode(raw[1:])
    sent = b"\x03" + rlp.encode([body, [bytes(BLOB_BYTES)], [infinity], [infinity]])
    await chain.rpc("eth_sendRawTransaction", to_data(sent))


@pytest.mark.parametrize("fork", FORKS)
async def test_a_block_of_any_fork_has_the_hash_that_we_compute(fork: str) -> None:
    async with Anvil(extra_args=["--hardfork", fork]) as chain:
        await send(chain, data=to_data(logging([(2, 32), (0, 1)])))
        await chain.mine(2)
        parent = (await read(chain, 0))[0].header().hash
        headers = [(await proven(chain, number))[0] for number in (1, 2)]
        proof.headers_linked(headers, parent, headers[-1].hash)


async def test_logs_of_every_shape_are_proven(anvil: Anvil) -> None:
    """Emitted while a contract is created, and by a call."""
    contract = await deploy(anvil, logging(SHAPES))
    await send(anvil, data=to_data(logging(SHAPES)))
    await send(anvil, to=contract)
    await anvil.mine()
    _, receipts, logs = await proven(anvil, await head(anvil))
    assert [receipt.status for receipt in receipts] == ["0x1", "0x1"]
    shapes = [(len(log.topics), len(log.data) // 2 - 1) for log in logs]
    assert shapes == [*SHAPES, *SHAPES]


async def test_transactions_of_every_type_are_proven(anvil: Anvil) -> None:
    """Legacy, access list, dynamic fee, blobs, and an account that takes on a contract's code."""
    contract = bytes.fromhex((await deploy(anvil, logging([(3, 32)])))[2:])
    account = signer()
    access = [{"address": to_data(contract), "storageKeys": [to_data(bytes(32))]}]
    authorization = account.sign_authorization(
        {"chainId": DEFAULT_CHAIN_ID, "address": contract, "nonce": 5}
    )
    await send_signed(anvil, nonce=0, to=contract, gasPrice=FEE_WEI)
    await send_signed(anvil, nonce=1, to=contract, gasPrice=FEE_WEI, accessList=access)
    await send_signed(anvil, nonce=2, to=contract, **DYNAMIC_FEE)
    await send_blob(anvil, nonce=3, to=contract, **DYNAMIC_FEE)
    delegating = {"authorizationList": [authorization], **DYNAMIC_FEE}
    await send_signed(anvil, nonce=4, to=account.address, type=4, **delegating)
    await anvil.mine()
    _, receipts, logs = await proven(anvil, await head(anvil))
    assert [receipt.type for receipt in receipts] == ["0x0", "0x1", "0x2", "0x3", "0x4"]
    assert [log.transaction_index for log in logs] == ["0x0", "0x1", "0x2", "0x3", "0x4"]
    assert logs[4].address == account.address.lower()


async def test_a_block_with_more_transactions_than_one_byte_counts_is_proven(anvil: Anvil) -> None:
    """From the 129th on the keys of the trie are longer, from the 257th on longer again."""
    contract = await deploy(anvil, logging([(1, 1)]))
    for _ in range(300):
        await send(anvil, to=contract, gas=60_000)
    await anvil.mine()
    _, receipts, logs = await proven(anvil, await head(anvil))
    assert len(receipts) == len(logs) == 300


async def test_receipts_that_leave_something_out_are_refused(anvil: Anvil) -> None:
    await send(anvil, data=to_data(logging([(1, 32), (2, 0)])))
    await send(anvil, data=to_data(logging([(1, 32)])))
    await anvil.mine()
    number = await head(anvil)
    header, receipts, logs = await proven(anvil, number)
    for forged in (
        [],
        receipts[:1],
        receipts[::-1],
        [msgspec.structs.replace(receipts[0], logs=logs[:1]), receipts[1]],
        [msgspec.structs.replace(receipts[0], logs=logs[:2][::-1]), receipts[1]],
    ):
        with pytest.raises(ReceiptsForged):
            proof.verified_logs(header, forged)
    block, _ = await read(anvil, number)
    empty = "0x56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421"
    for forged_header in (
        msgspec.structs.replace(block, receipts_root=empty),
        msgspec.structs.replace(block, logs_bloom="0x" + "00" * 256),
    ):
        assert block_hash(forged_header) != header.hash


async def test_reverted_and_creating_transactions_are_proven(anvil: Anvil) -> None:
    """A reverted one has a receipt and none of its logs."""
    reverting = logging([(1, 32)], push(0, 1) + push(0, 1) + bytes((REVERT,)))
    contract = await deploy(anvil, reverting)
    await send(anvil, to=contract)
    await send(anvil, data=to_data(reverting))
    await send(anvil, data=to_data(logging([(1, 32)])))
    await anvil.mine()
    _, receipts, logs = await proven(anvil, await head(anvil))
    assert [receipt.status for receipt in receipts] == ["0x0", "0x0", "0x1"]
    assert [log.transaction_index for log in logs] == ["0x2"]


async def test_a_block_without_transactions_is_proven_to_be_empty(anvil: Anvil) -> None:
    await anvil.mine()
    header, receipts, logs = await proven(anvil, await head(anvil))
    assert receipts == []
    assert logs == []
    assert proof.absent(header, [bloom.mask(b"\1" * 20)], None)
