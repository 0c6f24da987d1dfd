"""What a call does, read from the bytes that would be signed, whoever says what they are. Pure.

Nothing is skipped: a call with a byte too many, or with an offset elsewhere than where the compiler puts it, is not
read, since another reader could see another call in it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from bridge.errors import BridgeError
from indexer.keccak import keccak

WORD: Final = 32
MAX_ITEMS: Final = 1000
_MINT_OP: Final = "(bytes32,address,uint256,bytes32,uint64)"
_MINT_OP_WORDS: Final = 5


class CallUnreadableError(BridgeError):
    """These bytes are no call that is known, or not exactly one."""


@dataclass(frozen=True, slots=True)
class Movement:
    """Tokens that are made for somebody; the amount is in the token's smallest units."""

    recipient: bytes
    amount: int


@dataclass(frozen=True, slots=True)
class Call:
    """``ids``: the operations or redemptions that it ends, in their order."""

    function: str
    ids: tuple[bytes, ...] = ()
    movements: tuple[Movement, ...] = ()

    @property
    def amount(self) -> int:
        return sum(movement.amount for movement in self.movements)


def selector(signature: str) -> bytes:
    """The four bytes that a call of the function begins with."""
    return keccak(signature.encode())[:4]


def read_call(data: bytes) -> Call:
    """Raises :class:`CallUnreadableError`."""
    found = _FUNCTIONS.get(data[:4])
    if found is None:
        raise CallUnreadableError(f"there is no known function behind 0x{data[:4].hex()}")
    name, read = found
    arguments = data[4:]
    if len(arguments) % WORD:
        raise CallUnreadableError(f"the arguments of {name} are no whole words")
    words = [arguments[at : at + WORD] for at in range(0, len(arguments), WORD)]
    return read(name, words)


def _mint(name: str, words: list[bytes]) -> Call:
    _require(name, words, _MINT_OP_WORDS)
    return Call(name, (words[0],), (_movement(name, words[1], words[2]),))


def _mint_plain(name: str, words: list[bytes]) -> Call:
    _require(name, words, 2)
    return Call(name, (), (_movement(name, words[0], words[1]),))


def _mint_batch(name: str, words: list[bytes]) -> Call:
    items = _array(name, words, _MINT_OP_WORDS)
    movements = tuple(_movement(name, item[1], item[2]) for item in items)
    return Call(name, tuple(item[0] for item in items), movements)


def _settle_batch(name: str, words: list[bytes]) -> Call:
    return Call(name, tuple(item[0] for item in _array(name, words, 2)))


def _one_id(name: str, words: list[bytes]) -> Call:
    _require(name, words, 1)
    return Call(name, (words[0],))


def _one_id_and_reference(name: str, words: list[bytes]) -> Call:
    _require(name, words, 2)
    return Call(name, (words[0],))


def _array(name: str, words: list[bytes], item_words: int) -> list[list[bytes]]:
    """The items of a single argument that is an array of structs of whole words."""
    if len(words) < 2 or _number(words[0]) != WORD:
        raise CallUnreadableError(f"the array of {name} is not where it belongs")
    count = _number(words[1])
    if count > MAX_ITEMS:
        raise CallUnreadableError(f"{name} has {count} items, over {MAX_ITEMS}")
    _require(name, words, 2 + count * item_words)
    return [words[at : at + item_words] for at in range(2, 2 + count * item_words, item_words)]


def _require(name: str, words: list[bytes], count: int) -> None:
    if len(words) != count:
        raise CallUnreadableError(f"{name} has {len(words)} words of arguments, not {count}")


def _movement(name: str, recipient: bytes, amount: bytes) -> Movement:
    if any(recipient[:12]):
        raise CallUnreadableError(f"a recipient of {name} is no address")
    return Movement(recipient[12:], _number(amount))


def _number(word: bytes) -> int:
    return int.from_bytes(word, "big")


_READERS: Final[dict[str, Callable[[str, list[bytes]], Call]]] = {
    f"mint({_MINT_OP})": _mint,
    f"mintBatch({_MINT_OP}[])": _mint_batch,
    "mint(address,uint256)": _mint_plain,
    "settleRedeem(bytes32,bytes32)": _one_id_and_reference,
    "settleBatch((bytes32,bytes32)[])": _settle_batch,
    "rejectRedeem(bytes32,bytes32)": _one_id_and_reference,
    "voidOperation(bytes32)": _one_id,
}
_FUNCTIONS: Final = {
    selector(signature): (signature.partition("(")[0], read) for signature, read in _READERS.items()
}
