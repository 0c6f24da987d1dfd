"""Reads what a node answered to a transaction. The only module that knows node error texts.

Every answer is one of :class:`Answer`, and none of them says that the bytes are nowhere. A node that refuses may have
passed them on, a node behind the same address may hold them, and a refusal is one node's word. So an operation keeps
its nonce whatever is answered: there is no value here by which a caller could give it another. What an answer can do
is make the lane go on, wait, ask somebody else, offer more for the same nonce, or stop.

Nodes agree on neither codes nor texts, and the same code means opposite things to two of them (-32003 is a refused
transaction, a daily limit, and an answer that was too long). So the text decides, and what no rule fits is
:attr:`Answer.MAYBE`. ``tests/unit/bridge/node_answers.py`` has the real answers, with their products.
"""

import re
from collections.abc import Mapping
from enum import StrEnum
from itertools import islice
from typing import Final

from indexer import limits
from indexer.errors import RpcMalformed, RpcRateLimited, RpcUnavailable
from indexer.hexadecimal import from_data


class Answer(StrEnum):
    """What an answer to ``eth_sendRawTransaction`` means for the lane."""

    ACCEPTED = "accepted"
    """The node named our own hash."""
    KNOWN = "known"
    """The node has these very bytes already."""
    NONCE_USED = "nonce_used"
    """The nonce is mined: by one of our attempts, or by somebody else's hand. The chain says by which."""
    GAP = "gap"
    """The node takes nothing behind a nonce that it has not seen: send the earlier ones again."""
    UNDERPRICED = "underpriced"
    """Too little to enter the pool, or to replace what has this nonce there: offer more for the same nonce."""
    NO_FUNDS = "no_funds"
    """The signer cannot pay for it, with what is pending before it."""
    REVERTED = "reverted"
    """The node ran it, and the contract refused. Some nodes say so of a transaction that they have just mined."""
    MAYBE = "maybe"
    """No usable answer: the bytes may have arrived. Send the same bytes again later."""
    ELSEWHERE = "elsewhere"
    """This node cannot or will not, for a reason of its own: give the same bytes to another, or to it later."""
    REFUSED = "refused"
    """The node says that no block can ever hold it, such as for a wrong chain id. One node's word: a node of
    another chain says the same of every good transaction."""


_REVERT_WORDS: Final = r"\brevert(?:ed)?\b"
# Looked for in this order, in words without capitals and signs: Nethermind's "NonceGap" is "nonce gap".
_RULES: Final = tuple(
    (re.compile("|".join(patterns)), answer)
    for answer, patterns in (
        # First, because the contract chooses what its reason says.
        (Answer.REVERTED, (_REVERT_WORDS,)),
        (
            Answer.KNOWN,
            (r"\balready ?(?:known|imported)\b", r"\bknown transaction\b", r"\bsame hash\b"),
        ),
        (Answer.NONCE_USED, (r"\bnonce (?:is )?too low\b", r"\bold nonce\b")),
        (
            Answer.GAP,
            (
                r"\bnonce (?:is )?too (?:high|far in|distant)\b",
                r"\bnonce gap\b",
                r"\bgapped nonce\b",
                r"\blower nonce exists\b",
                r"\bfuture transaction tries to replace\b",
            ),
        ),
        (
            Answer.UNDERPRICED,
            (
                r"\bunderpriced\b",
                r"\bfee too low\b",
                r"\bgas price (?:\w+ ){0,2}too low\b",
                r"\bless than block base fee\b",
                r"\bbelow (?:the )?(?:current |configured )?(?:base fee|minimum)\b",
                r"\breplace existing\b",
                r"\breplacement not allowed\b",
            ),
        ),
        (
            Answer.NO_FUNDS,
            (
                r"\binsufficient (?:funds|balance)\b",
                r"\bexceeds account balance\b",
                r"\bnot enough funds\b",
            ),
        ),
        (
            Answer.ELSEWHERE,
            (
                r"pool (?:is )?(?:full|not enabled)\b",
                r"\btoo many transactions\b",
                r"\baccount limit\b",
                r"\btransaction limit reached\b",
                r"\bspammer\b",
                r"\bsyncing\b",
                r"\bsync is\b",
                r"\btransaction type\b",
                r"\btx type\b",
                r"\bby the current hardfork\b",
                r"\bexceeds the configured cap\b",
                r"\bfee cap exceeded\b",
                r"\balready reserved\b",
                r"\bhas pending transaction\b",
                r"\bpending txs of\b",
                r"\breplay protected\b",
                r"\bnot (?:authorized|permitted)\b",
                r"\bbanned\b",
                r"\bplugin\b",
                r"\bno nodes available\b",
            ),
        ),
        (
            Answer.REFUSED,
            (
                r"\b(?:invalid|wrong) (?:tx )?chain id\b",
                r"\bchain id (?:is required|not supported)\b",
                r"\bsigned for another chain\b",
                r"\binvalid (?:tx |transaction )?(?:sender|signature|v r s values)\b",
                r"\bto (?:recover|resolve) (?:the )?(?:sender|signer)\b",
                r"\bsender (?:is )?(?:not an eoa|contract)\b",
                r"\bintrinsic gas\b",
                r"\bfloor data\b",
                r"\btransaction gas is too low\b",
                r"\bgas limit (?:is |cap )?(?:too high|reached|exceeded|greater)\b",
                r"\bexceeds (?:\w+ ){0,3}gas limit\b",
                r"\bgas is beyond limit\b",
                r"\boversized data\b",
                r"\btransaction (?:is )?too (?:large|big)\b",
                r"\bfee per gas (?:higher than|exceeds|cannot be higher)\b",
                r"\b(?:uint|uint64|int256|cost) overflow\b",
                r"\bmax value\b",
                r"\brlp\b",
                r"\btransaction too short\b",
                r"\bdecode (?:signed )?transaction\b",
            ),
        ),
    )
)
_HUMP: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_SIGNS: Final = re.compile(r"[\W_]+")

# What a gateway answers to a request that it does not pass on: no key, not paid, not allowed, no such path, too
# large, too often. Any other status may come from behind it, after the bytes arrived.
_TURNED_AWAY: Final = frozenset({401, 402, 403, 404, 405, 413, 429})

_REVERT_CODE: Final = 3
_REVERT_DATA: Final = "Reverted"
_DATA_FIELDS: Final = ("data", "result", "return")
_MAX_DEPTH: Final = 3
_MAX_ENTRIES: Final = 20


ASK_ANOTHER: Final = frozenset({Answer.ELSEWHERE, Answer.REFUSED})
"""What one node's word is not enough for."""


def verdict(first: Answer, second: Answer) -> Answer:
    """What the answers of two nodes to the same bytes mean, where the first one is of :data:`ASK_ANOTHER`: two have to
    say that no block can ever hold them."""
    if second not in ASK_ANOTHER:
        return second
    return Answer.REFUSED if first is second is Answer.REFUSED else Answer.ELSEWHERE


def read_result(result: object, tx_hash: bytes) -> Answer:
    """A result is an acceptance only if it names our own hash."""
    try:
        return Answer.ACCEPTED if from_data(result, 32) == tx_hash else Answer.MAYBE
    except ValueError:
        return Answer.MAYBE


def read_error(code: int, message: str, data: object = None) -> Answer:
    """What a JSON-RPC error means. ``data`` is the error's field of that name, in whatever shape it came."""
    for text in (message, _said_in(data)):
        words = _words(text)
        for pattern, answer in _RULES:
            if pattern.search(words):
                return answer
    if code == _REVERT_CODE:
        return Answer.REVERTED
    verdict = limits.judge(code, message, data=data)
    if isinstance(verdict, limits.RateLimited | limits.MethodMissing):
        return Answer.ELSEWHERE
    return Answer.MAYBE


def read_failure(error: RpcUnavailable | RpcMalformed) -> Answer:
    """What it means that there was no JSON-RPC answer that could be used."""
    turned_away = isinstance(error, RpcRateLimited) or error.http_status in _TURNED_AWAY
    return Answer.ELSEWHERE if turned_away else Answer.MAYBE


def is_revert(code: int, message: str, data: object = None) -> bool:
    """Whether a refused simulation is the contract's own word, and not a fault of the node."""
    if code == _REVERT_CODE or (isinstance(data, str) and data.startswith(_REVERT_DATA)):
        return True
    return re.search(_REVERT_WORDS, _words(message)) is not None


def revert_data(data: object) -> bytes | None:
    """The bytes with which a contract refused, from wherever in an error's ``data`` a node puts them; None if
    there are none. geth, Erigon, reth, Besu and Anvil give them plainly; older Nethermind after "Reverted";
    Hardhat and Ganache inside an object, Ganache 2 under the transaction's hash."""
    return _find_data(data, _MAX_DEPTH)


def _find_data(data: object, depth: int) -> bytes | None:
    if isinstance(data, str):
        try:
            return from_data(data.removeprefix(_REVERT_DATA).strip())
        except ValueError:
            return None
    if not isinstance(data, Mapping) or depth == 0:
        return None
    inner = [data[field] for field in _DATA_FIELDS if field in data]
    inner += [value for value in islice(data.values(), _MAX_ENTRIES) if isinstance(value, Mapping)]
    found = (_find_data(value, depth - 1) for value in inner)
    return next((value for value in found if value is not None), None)


def _said_in(data: object) -> str:
    """The text in an error's ``data``, for nodes that say it there and "Internal error" in the message."""
    if isinstance(data, Mapping):
        data = data.get("message")
    return data if isinstance(data, str) and not data.startswith("0x") else ""


def _words(text: str) -> str:
    return _SIGNS.sub(" ", _HUMP.sub(" ", text[: limits.MAX_TEXT])).lower()
