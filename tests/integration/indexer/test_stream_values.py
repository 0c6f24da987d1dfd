"""Every kind of value that an event can have, from a log through Postgres into an entry."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio
from eth_abi.abi import encode

from daemon.embedded.valkey import EmbeddedValkey
from indexer.contract import Contract
from indexer.keccak import keccak
from tests.conftest import Database
from tests.integration.indexer.feed_chain import CHAIN_ID, TOKEN, Emitted
from tests.integration.indexer.rig import Rig, new_rig

MAX = 2**256 - 1
MANY = 120
# Names that SQL or the question for the events could mistake for its own.
STRANGE = ("a", "one", "at", "args", "row", "Row", "place", "select", "bytesBefore", "e")
TYPES = ("uint8", "int256", "bool", "string", "bytes", "address", "bytes4")
LISTS = (
    "uint256[]",
    "int8[2]",
    "address[]",
    "bytes32[]",
    "bytes[]",
    "string[]",
    "bool[]",
    "uint256[][]",
)
PAIR = [{"name": "who", "type": "address"}, {"name": "count", "type": "uint256"}]
ABI: list[dict[str, object]] = [
    {
        "type": "event",
        "name": "Simple",
        "inputs": [{"name": kind + "Value", "type": kind} for kind in TYPES],
    },
    {
        "type": "event",
        "name": "Listed",
        "inputs": [{"name": f"list{place}", "type": kind} for place, kind in enumerate(LISTS)]
        + [{"name": "pairs", "type": "tuple[]", "components": PAIR}],
    },
    {
        "type": "event",
        "name": "Strange",
        "inputs": [{"name": name, "type": "uint256"} for name in STRANGE],
    },
    {"type": "event", "name": "Empty", "inputs": []},
    {
        "type": "event",
        "name": "Wide",
        "inputs": [{"name": f"value{place}", "type": "uint256"} for place in range(MANY)],
    },
    {
        "type": "event",
        "name": "Hashed",
        "inputs": [{"name": "text", "type": "string", "indexed": True}],
    },
]


@pytest_asyncio.fixture(loop_scope="session")
async def rig(database: Database, valkey: EmbeddedValkey) -> AsyncIterator[Rig]:
    async with new_rig(database, valkey.url) as found:
        await found.chain.open(Contract.from_abi("odd", CHAIN_ID, ABI, (TOKEN,), start_block=0))
        yield found


async def told(
    rig: Rig, signature: str, types: list[str], values: list[object]
) -> dict[str, object]:
    """The arguments of one log's event, as the stream tells them."""
    log = Emitted((keccak(signature.encode()),), encode(types, values))
    await rig.chain.grow(1, [log])
    await rig.run()
    [event] = (await rig.events())[-1]["data"]["events"]
    args: dict[str, object] = event["args"]
    return args


async def test_numbers_are_decimal_texts_and_bytes_hexadecimal(rig: Rig) -> None:
    text = 'quote " backslash \\ tab \t newline \n bell \x07 umlaut ü clef 𝄞 line \u2028'
    values: list[object] = [
        255,
        -(2**255),
        True,
        text,
        b"\x00\xff",
        b"\xaa" * 20,
        b"\x01\x02\x03\x04",
    ]
    signature = f"Simple({','.join(TYPES)})"
    assert await told(rig, signature, list(TYPES), values) == {
        "uint8_value": "255",
        "int256_value": str(-(2**255)),
        "bool_value": True,
        "string_value": text,
        "bytes_value": "0x00ff",
        "address_value": "0x" + "aa" * 20,
        "bytes4_value": "0x01020304",
    }


async def test_lists_are_lists_of_the_same(rig: Rig) -> None:
    types = [*LISTS, "(address,uint256)[]"]
    signature = f"Listed({','.join(types)})"
    values: list[object] = [
        *([0, MAX], [-128, 127], [b"\xaa" * 20], [b"\x01" * 32, bytes(32)], [b"", b"\x07"]),
        *(['a "b"', "", "c,d"], [True, False], [[1, MAX], []]),
        [(b"\xbb" * 20, MAX)],
    ]
    assert list((await told(rig, signature, types, values)).values()) == [
        *(["0", str(MAX)], ["-128", "127"], ["0x" + "aa" * 20]),
        *(["0x" + "01" * 32, "0x" + "00" * 32], ["0x", "0x07"]),
        *(['a "b"', "", "c,d"], [True, False], [["1", str(MAX)], []]),
        [{"who": "0x" + "bb" * 20, "count": str(MAX)}],
    ]
    empty: list[object] = [[], [0, 0], [], [], [], [], [], [], []]
    assert list((await told(rig, signature, types, empty)).values()) == [
        *([], ["0", "0"], [], [], [], [], [], [], [])
    ]


async def test_no_name_of_a_parameter_is_mistaken_for_another(rig: Rig) -> None:
    signature = f"Strange({','.join(['uint256'] * len(STRANGE))})"
    found = await told(rig, signature, ["uint256"] * len(STRANGE), list(range(len(STRANGE))))
    assert list(found.values()) == [str(place) for place in range(len(STRANGE))]
    assert list(found)[:3] == ["a", "one", "at"]


async def test_an_event_may_have_no_arguments(rig: Rig) -> None:
    assert await told(rig, "Empty()", [], []) == {}


async def test_an_event_may_have_very_many_arguments(rig: Rig) -> None:
    signature = f"Wide({','.join(['uint256'] * MANY)})"
    found = await told(rig, signature, ["uint256"] * MANY, list(range(MANY)))
    assert found == {f"value{place}": str(place) for place in range(MANY)}


async def test_an_indexed_text_is_its_hash(rig: Rig) -> None:
    await rig.chain.grow(1, [Emitted((keccak(b"Hashed(string)"), keccak(b"text")), b"")])
    await rig.run()
    [event] = (await rig.events())[-1]["data"]["events"]
    assert event["args"] == {"text_hash": "0x" + keccak(b"text").hex()}
    assert (event["contract"], event["event"], event["table"]) == ("odd", "Hashed", "odd_hashed")
    assert event["address"] == "0x" + TOKEN.hex()
