"""What the simulated chain is about: the contracts that are indexed, and the logs that their like emit.

Each log is made together with what it means, so that nothing has to be decoded to know what should be stored.
Many are hostile: they have the topic of an event and do not fit it, or are the right event at the wrong place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from random import Random
from typing import Final, TypeAlias, cast

from indexer.abi import Abi
from indexer.contract import Contract, Factory, Options, Verify
from indexer.keccak import keccak
from indexer.signature import parse

CHAIN_ID: Final = 777
COIN: Final = b"c" * 20
GOLD: Final = b"g" * 20
FACTORY: Final = b"f" * 20
ELSEWHERE: Final = b"e" * 20
ZERO: Final = bytes(20)
HOLDERS: Final = tuple(bytes([0xA0 + place]) * 20 for place in range(4))
CHILDREN: Final = tuple(keccak(b"child %d" % place)[:20] for place in range(6))
HUGE: Final = 2**256 - 1
# So high gold is deployed; nothing of it is emitted below.
GOLD_BLOCK: Final = 7
PONG_START: Final = 5

TRANSFER: Final = "Transfer(address indexed from, address indexed to, uint256 value)"
RENAMED: Final = "Transfer(address indexed sender, address indexed recipient, uint256 amount)"
SENT: Final = "Sent(address indexed who, uint256 value, string note)"
MADE: Final = "Made(address indexed child, uint256 number)"
PING: Final = "Ping(uint256 value)"
PONG: Final = "Pong(uint256 value)"
NOTE: Final = "Note(uint256 value)"

# Columns of an event's row, as Postgres writes them in JSON.
Value: TypeAlias = int | str | None
Topics: TypeAlias = tuple[bytes, ...]


def topic(canonical_signature: str) -> bytes:
    return keccak(canonical_signature.encode())


TRANSFER_TOPIC: Final = topic("Transfer(address,address,uint256)")
SENT_TOPIC: Final = topic("Sent(address,uint256,string)")
MADE_TOPIC: Final = topic("Made(address,uint256)")
PING_TOPIC: Final = topic("Ping(uint256)")
PONG_TOPIC: Final = topic("Pong(uint256)")
NOTE_TOPIC: Final = topic("Note(uint256)")


@dataclass(frozen=True, slots=True)
class Emission:
    """A log as a contract emits it. ``event`` is that of its first topic, empty for one that nobody follows;
    ``values`` are its columns, None if it does not fit the event."""

    address: bytes
    topics: Topics
    data: bytes
    event: str = ""
    values: tuple[Value, ...] | None = None


def word(value: int) -> bytes:
    return value.to_bytes(32, "big")


def shown(value: bytes) -> str:
    """Bytes as Postgres writes them in JSON."""
    return "\\x" + value.hex()


def padded(address: bytes) -> bytes:
    return bytes(12) + address


def transfer(token: bytes, sender: bytes, recipient: bytes, amount: int) -> Emission:
    topics = (TRANSFER_TOPIC, padded(sender), padded(recipient))
    values = (shown(sender), shown(recipient), amount)
    return Emission(token, topics, word(amount), "transfer", values)


def sent(who: bytes, value: int, note: bytes) -> Emission:
    """``note`` need not be text; if it is none that Postgres can store, the log does not fit."""
    data = word(value) + word(64) + word(len(note)) + note + bytes(-len(note) % 32)
    try:
        text: str | None = note.decode()
    except UnicodeDecodeError:
        text = None
    values = None if text is None or "\0" in text else (shown(who), value, text)
    return Emission(GOLD, (SENT_TOPIC, padded(who)), data, "sent", values)


def made(child: bytes, number: int) -> Emission:
    values = (shown(child), number)
    return Emission(FACTORY, (MADE_TOPIC, padded(child)), word(number), "made", values)


def counted(address: bytes, event: str, value: int) -> Emission:
    """An event with one number: ``ping``, ``pong`` or ``note``."""
    own = {"ping": PING_TOPIC, "pong": PONG_TOPIC, "note": NOTE_TOPIC}[event]
    return Emission(address, (own,), word(value), event, (value,))


def spoilt(emission: Emission, random: Random) -> Emission:
    """The same with its event's topic, and not fitting it."""
    ways = [
        # Of a string, more than its padding.
        replace(emission, data=emission.data[: -33 if emission.event == "sent" else -1]),
        replace(emission, topics=(*emission.topics, word(1))[:4]),
    ]
    if len(emission.topics) > 1:
        dirty = b"\x01" + emission.topics[1][1:]
        ways.append(
            replace(emission, topics=(emission.topics[0], dirty, *emission.topics[2:])),
        )
    return replace(random.choice(ways), values=None)


def nameless(address: bytes, random: Random) -> Emission:
    """A log of an event that no ABI has, or of none."""
    topics = (word(random.getrandbits(256)),) if random.random() < 0.7 else ()
    return Emission(address, topics, word(random.getrandbits(64)))


def emission(random: Random, number: int, huge: float = 0.01) -> Emission:
    """Any log of a block at this height; the share ``huge`` of transfers moves all that a number can hold."""
    value = random.randrange(1_000)
    child = random.choice(CHILDREN)
    kind = random.choices(
        ("coin", "gold", "sent", "made", "ping", "pong", "note", "nameless"),
        (26, 14, 8, 14, 22, 10, 6, 6),
    )[0]
    if kind in ("gold", "sent") and number < GOLD_BLOCK:
        kind = "coin"
    if kind in ("coin", "gold"):
        token = COIN if kind == "coin" else GOLD
        amount = HUGE if random.random() < huge else value
        made_ = transfer(token, _holder(random), _holder(random), amount)
    elif kind == "sent":
        notes = (
            b"",
            b"hello",
            b"tab\tand\nline\\.",
            "é€😀".encode(),
            b"a\0b",
            b"\xff\xfe",
            b"x" * 40,
        )
        made_ = sent(_holder(random), value, random.choice(notes))
    elif kind == "made":
        made_ = made(COIN if random.random() < 0.02 else child, value)
    elif kind in ("ping", "pong"):
        made_ = counted(COIN if random.random() < 0.02 else child, kind, value)
    elif kind == "note":
        made_ = counted(random.choice((ELSEWHERE, COIN, child)), "note", value)
    else:
        address = random.choice((COIN, FACTORY, child, GOLD if number >= GOLD_BLOCK else COIN))
        return nameless(address, random)
    return spoilt(made_, random) if random.random() < 0.06 else made_


def _holder(random: Random) -> bytes:
    return ZERO if random.random() < 0.15 else random.choice(HOLDERS)


def _contract(name: str, *signatures: str, **more: object) -> Contract:
    abi = cast(Abi, [parse(one) for one in signatures])
    return Contract.from_abi(name, CHAIN_ID, abi, **more)  # type: ignore[arg-type]


def contracts() -> dict[str, Contract]:
    """By the name that they have here: ``renamed`` is what replaces ``coin``, and is called so too."""
    born = Factory("factory", "Made", "child")
    every = Options(transactions=True, receipts=True)
    raw = Options(raw=True, balances=True, partition_blocks=64, index=("*",))
    return {
        "coin": _contract(
            "coin", TRANSFER, addresses=(COIN,), start_block=0, options=Options(balances=True)
        ),
        "renamed": _contract(
            "coin", RENAMED, addresses=(COIN,), start_block=0, options=Options(balances=True)
        ),
        "factory": _contract("factory", MADE, addresses=(FACTORY,), start_block=0, options=every),
        "child": _contract("child", PING, factory=born, start_block=0),
        "pong": _contract("pong", PONG, factory=born, start_block=PONG_START),
        # Its start has to be found.
        "gold": _contract("gold", TRANSFER, SENT, addresses=(GOLD,), options=raw),
        "note": _contract("note", NOTE, start_block=0),
    }


def verified(contract: Contract, verify: Verify) -> Contract:
    return replace(contract, options=replace(contract.options, verify=verify))


# What a view shows: the source, and the events or what else it shows of it.
VIEWS: Final[Mapping[str, str]] = {
    "coin_transfer": "coin",
    "coin_balance_change": "coin",
    "factory_made": "factory",
    "factory_transaction": "factory",
    "factory_receipt": "factory",
    "child_ping": "child",
    "pong_pong": "pong",
    "gold_transfer": "gold",
    "gold_sent": "gold",
    "gold_balance_change": "gold",
    "note_note": "note",
}
