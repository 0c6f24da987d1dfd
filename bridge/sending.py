"""Reads what a node answered to a transaction. The only module that knows node error texts.

A failed send means "maybe sent", so no answer here ever allows a new nonce: the worst that an answer
can do is make the lane wait or stop.
"""

import re
from enum import StrEnum
from typing import Final


class Answer(StrEnum):
    """What an answer to ``eth_sendRawTransaction`` means for the lane."""

    ACCEPTED = "accepted"
    KNOWN = "known"
    """The node has these very bytes already, pending or mined."""
    NONCE_USED = "nonce_used"
    """The nonce is mined: by one of our attempts, or by somebody else's hand."""
    UNDERPRICED = "underpriced"
    GAP = "gap"
    """The node refuses to queue behind a nonce that it has not seen: send the earlier ones again."""
    NO_FUNDS = "no_funds"
    MAYBE = "maybe"
    """No usable answer: the bytes may have arrived. Send the same bytes again later."""
    REFUSED = "refused"
    """The node read the transaction and will never take it, such as for a wrong chain id."""


_TEXTS: Final[tuple[tuple[re.Pattern[str], Answer], ...]] = tuple(
    (re.compile(pattern, re.IGNORECASE), answer)
    for pattern, answer in (
        (
            r"already known|known transaction|already imported|alreadyknown|already exists",
            Answer.KNOWN,
        ),
        (
            r"nonce too low|nonce is too low|oldnonce|invalid nonce; got|nonce has already",
            Answer.NONCE_USED,
        ),
        (r"nonce too high|nonce gap|noncegap|gapped", Answer.GAP),
        (
            r"underpriced|fee too low|max fee per gas less than block base fee|below (the )?base fee|feetoolow",
            Answer.UNDERPRICED,
        ),
        (r"insufficient funds|insufficientfunds|insufficient balance", Answer.NO_FUNDS),
        (
            r"invalid chain ?id|incorrect chain ?id|invalid sender|invalid signature|intrinsic gas|"
            r"exceeds block gas limit|gas limit (is )?too high|typed transaction too short|rlp",
            Answer.REFUSED,
        ),
    )
)


_REVERT_CODE: Final = 3  # geth, Anvil, Erigon, Nethermind
_REVERT_TEXT: Final = re.compile(r"revert", re.IGNORECASE)


def is_revert(code: int, message: str) -> bool:
    """Whether a refused simulation is the contract's own word, and not a fault of the node."""
    return code == _REVERT_CODE or _REVERT_TEXT.search(message) is not None


def read_error(message: str) -> Answer:
    """What a JSON-RPC error's text means; an unknown text is :attr:`Answer.MAYBE`."""
    for pattern, answer in _TEXTS:
        if pattern.search(message):
            return answer
    return Answer.MAYBE
