"""A block's hash from its header: real blocks, every fork, and headers that are none."""

from __future__ import annotations

import msgspec
import pytest
import rlp
from hypothesis import given
from hypothesis import strategies as st

from indexer import wire
from indexer.block_hash import FIELDS, LENGTHS, NUMBER, block_hash
from indexer.hexadecimal import to_data
from indexer.keccak import keccak

GENESIS = {
    "number": "0x0",
    "hash": "0xd4e56740f876aef8c010b86a40d5f56745a118d0906a34e69aec8c0db1cb8fa3",
    "parentHash": "0x" + "0" * 64,
    "sha3Uncles": "0x1dcc4de8dec75d7aab85b567b6ccd41ad312451b948a7413f0a142fd40d49347",
    "miner": "0x" + "0" * 40,
    "stateRoot": "0xd7f8974fb5ac78d9ac099b9ad5018bedc2ce0a72dad1827a1709da30580f0544",
    "transactionsRoot": "0x56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421",
    "receiptsRoot": "0x56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421",
    "logsBloom": "0x" + "0" * 512,
    "difficulty": "0x400000000",
    "gasLimit": "0x1388",
    "gasUsed": "0x0",
    "timestamp": "0x0",
    "extraData": "0x11bbe8db4e347b4e8c937c1c8370e4b5ed33adb3db69cbdb7a38e1e50b1b82fa",
    "mixHash": "0x" + "0" * 64,
    "nonce": "0x0000000000000042",
}
# Sepolia's blocks 11856336 and 11856337: the last of Osaka, whose header is Prague's, and the first of Amsterdam.
PRAGUE = {
    "number": "0xb4e9d0",
    "hash": "0x862fbae116b7dca00b550ad371540de5ec8f627065bead949809ee6228b8f3eb",
    "parentHash": "0x23f39d93782a7abe322c5cb9d7b6593923707bb820c5b60a2036bb8d2249e231",
    "sha3Uncles": "0x1dcc4de8dec75d7aab85b567b6ccd41ad312451b948a7413f0a142fd40d49347",
    "miner": "0x3826539cbd8d68dcf119e80b994557b4278cec9f",
    "stateRoot": "0xff66f5ce6133dcfeecde6a245f25a90a45a9fbe9f8ffbd9bcd91dd2ddfa8f661",
    "transactionsRoot": "0xe2abd363466813991b91239e7b769cf8affbeb04735a882ff88421c307c104d4",
    "receiptsRoot": "0xe07bc5ed71c60394a4ba3703b036d77590615b8bcbd75e8d73a856d71c119c1e",
    "logsBloom": "0x"
    "0038a00c000010205058a0b88c0070c31142035408064a99218500a6260a040208cc280008424100f380b01398a08050"
    "610992064056100201410200007c35341011314401804360040ac88b8078002015c55748932d802080431000840800000"
    "e20100222680010098500450350094412408050e4ba250005180898008d00c6"
    "8ad02085a1556840a109091423846c8000003c8d0402800c910c01438480062088088020d010049a00480160486140bc"
    "060c2100204810c00a70273822a244a3d2c00802040216401c0120034070024321144232a20c001540e1250002166a854"
    "520010042826840881210092507a812a04006001843604892c10c00011b8118",
    "difficulty": "0x0",
    "gasLimit": "0x3938700",
    "gasUsed": "0x393635d",
    "timestamp": "0x6ac4fd54",
    "extraData": "0x626573752032362e392e31",
    "mixHash": "0x818202465d3aef939ea44285c3eb77f757d0898c075fdcedbb147650300d0ecd",
    "nonce": "0x0000000000000000",
    "baseFeePerGas": "0x36a00d50",
    "withdrawalsRoot": "0xe74d8b2f718b3fd5b3477417808731174c93ed89476383f245432e01731df27e",
    "blobGasUsed": "0x120000",
    "excessBlobGas": "0xc787614",
    "parentBeaconBlockRoot": "0x3bf00d7b97294e86fe1efe26971e3b250bfaa5c3de6ab6088b06dac10a62d2aa",
    "requestsHash": "0xe3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
}
AMSTERDAM = {
    "number": "0xb4e9d1",
    "hash": "0xa03f956aeb69d3fa234d9894c4309f4bb089cca9b6440cb45066c9ba39222588",
    "parentHash": "0x862fbae116b7dca00b550ad371540de5ec8f627065bead949809ee6228b8f3eb",
    "sha3Uncles": "0x1dcc4de8dec75d7aab85b567b6ccd41ad312451b948a7413f0a142fd40d49347",
    "miner": "0x3826539cbd8d68dcf119e80b994557b4278cec9f",
    "stateRoot": "0xfa3dce0649b084038be0d2e88b0740fdd50631fc32109c0f7766fa242baf2c39",
    "transactionsRoot": "0x4370e25f6d627e5e9efca9cb5405f38c5ae86043e5b400ea92992d51aba12b6c",
    "receiptsRoot": "0x636dbd7afafef168dee179457d140e251ddb3c203596d148338d1ee813f1f034",
    "logsBloom": "0x"
    "8014a800082084804806100090009a2028220011620000168200608488100546c288100801c811022248210a01200222"
    "421950128ec100000c2892242226031a711c0551a00a220002602a58404900c0e00002c06600081121030400948540010"
    "a20000122284012608548c102604c1830800040e00c22483468a51004090118"
    "a500008009344a0009a080504206014121402041100a20081084004504201641028000810000410a803001480001041e0"
    "0005000a0d0c1308a40020a02044001490f008601010220003d04004ba2000252120200040880384000800001c0694000"
    "d0101900b01810ac4814002ca0800450001800884500400207080200010208",
    "difficulty": "0x0",
    "gasLimit": "0x3938700",
    "gasUsed": "0xd1dda4",
    "timestamp": "0x6ac4fd60",
    "extraData": "0x626573752032362e392e31",
    "mixHash": "0x4ba9dfc9ce033a38b9f2d6d4b549e4b3a398dbcd8dd7c514d944f42c9a1a4405",
    "nonce": "0x0000000000000000",
    "baseFeePerGas": "0x3d7386e5",
    "withdrawalsRoot": "0x5127063b341e2ad8b2236316204563d3025b6b9b61290fec666a0a0bba4286a7",
    "blobGasUsed": "0x80000",
    "excessBlobGas": "0xc6e7614",
    "parentBeaconBlockRoot": "0xa982af12aa814307469427e140dd62cf6b6cbbcf0539fbab10336132e47b0743",
    "requestsHash": "0xec88bf0d3fe6b86b583cf638c5635cb64bc842fee1e220f0e8be964a4d368c15",
    "blockAccessListHash": "0xe6048b5d71a01b46691aa7d24238ba7880b789ae42173cab10a041b72e768a55",
    "slotNumber": "0xac6000",
}
FORKS = dict(
    zip(LENGTHS, ("first", "London", "Shanghai", "Cancun", "Prague", "Amsterdam"), strict=True)
)


def read(fields: dict[str, str]) -> wire.Block:
    block = wire.BLOCK.decode(msgspec.json.encode(fields))
    assert block is not None
    return block


def of_fork(length: int) -> dict[str, str]:
    """The newest header, with only the fields of an older fork."""
    names = {json_name for _, json_name, _ in FIELDS[:length]}
    return {name: text for name, text in AMSTERDAM.items() if name in names or name == "hash"}


def oracle(fields: dict[str, str]) -> bytes:
    """Field by field, as the package encodes values."""
    items: list[bytes | int] = [
        int(fields[name], 16) if size == NUMBER else bytes.fromhex(fields[name][2:])
        for _, name, size in FIELDS
        if name in fields
    ]
    return keccak(rlp.encode(items))


@pytest.mark.parametrize(
    "fields",
    [GENESIS, PRAGUE, AMSTERDAM],
    ids=["mainnet 0", "sepolia 11856336", "sepolia 11856337"],
)
def test_a_real_block_has_its_hash(fields: dict[str, str]) -> None:
    assert to_data(block_hash(read(fields))) == fields["hash"]


@pytest.mark.parametrize("length", LENGTHS, ids=FORKS.get)
def test_a_header_of_any_fork_is_hashed_as_the_package_encodes_it(length: int) -> None:
    fields = of_fork(length)
    assert block_hash(read(fields)) == oracle(fields)


@pytest.mark.parametrize("name", [name for _, name, _ in FIELDS])
def test_every_field_of_a_header_is_part_of_its_hash(name: str) -> None:
    text = AMSTERDAM[name]
    other = text[:-1] + ("0" if text[-1] != "0" else "1")
    assert block_hash(read(AMSTERDAM | {name: other})) != block_hash(read(AMSTERDAM))


ALWAYS_READ = ("number", "parentHash", "timestamp", "logsBloom")


@pytest.mark.parametrize("length", LENGTHS, ids=FORKS.get)
def test_a_field_that_the_fork_needs_is_named_when_it_is_missing(length: int) -> None:
    newest = LENGTHS[LENGTHS.index(length) - 1] if length > LENGTHS[0] else 0
    for place, (_, name, _) in enumerate(FIELDS[:length]):
        alone_in_its_fork = place >= newest and length - newest == 1
        if name in ALWAYS_READ or alone_in_its_fork:
            continue
        fields = of_fork(length)
        del fields[name]
        with pytest.raises(ValueError, match=f"no {name},"):
            block_hash(read(fields))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("stateRoot", "0x" + "0" * 63),
        ("stateRoot", "0x" + "0" * 66),
        ("stateRoot", "0x" + "0" * 63 + "g"),
        ("stateRoot", "0" * 66),
        ("stateRoot", "0x" + "0" * 63 + " "),
        ("stateRoot", "0x" + "0" * 63 + "_"),
        ("miner", "0x"),
        ("nonce", "0x0"),
        ("difficulty", "0x"),
        ("difficulty", "0"),
        ("difficulty", "0x1_0"),
        ("difficulty", "-0x1"),
        ("difficulty", "0x" + "f" * 65),
        ("gasUsed", "0x١"),
        ("extraData", "0x0"),
        ("extraData", ""),
        ("extraData", "0xzz"),
        ("baseFeePerGas", "1000000000"),
        ("slotNumber", "0x1 "),
    ],
)
def test_a_malformed_field_is_named(name: str, text: str) -> None:
    with pytest.raises(ValueError, match=name):
        block_hash(read(AMSTERDAM | {name: text}))


@given(st.integers(0, 2**64 - 1), st.binary(max_size=300))
def test_numbers_and_bytes_of_any_length_are_hashed_as_the_package_encodes_them(
    number: int, extra: bytes
) -> None:
    fields = of_fork(15) | {"gasUsed": hex(number), "extraData": to_data(extra)}
    assert block_hash(read(fields)) == oracle(fields)


def test_a_hash_with_leading_zeros_keeps_them() -> None:
    """Bytes are not numbers, even where real ones can hardly tell the two apart."""
    zeros = "0x" + "0" * 64
    for name in ("receiptsRoot", "requestsHash", "blockAccessListHash"):
        fields = AMSTERDAM | {name: zeros}
        assert block_hash(read(fields)) == oracle(fields)
