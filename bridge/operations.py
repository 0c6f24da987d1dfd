"""What an operation may become: one transition table, in which an unlisted move is an error.

An *issuance* turns booked money into tokens. It is born ``funded`` when the bank's entry has been
attributed to a beneficiary, or ``requested`` when the customer asked before paying. ``approved`` says
that policy agrees, ``reserved`` that the mint gate was open and the amount is held in the ledger.
``signed`` means that the transaction's bytes are in the journal, ``submitted`` that a node was given
them, ``mined`` that the mint's log stands in a block, ``final`` that this block can no longer go, and
``settled`` that deposit and mint are matched for good. A reorg takes ``mined`` back to ``submitted``:
the transaction is still ours and is sent again. A transaction that did nothing for it and is
final (it reverted, a nonce that custody refused was filled with another, a batch passed over it) takes the operation
back to ``approved``, where the next one is considered afresh. One that two people have cancelled goes on to ``voiding``
once no transaction carries it, and to ``returning`` once the contract has consumed its id without a mint, for good. A
plain token has no ids: there it is ``returning`` as soon as no transaction carries it.

A *redemption* turns escrowed tokens into a payout. ``requested`` is only the word of an unfinished
chain, so a reorg makes it ``dropped`` and nothing reached the bank. From ``request_final`` on the bank
may hear of it: ``payout_prepared`` is the order in the journal, ``sent`` the intent to call, after
which the outcome is ``accepted``, a definite refusal, or ``payout_unknown``: asked again by the same
end-to-end id, never paid afresh. ``booked`` money allows the burn: ``burning`` until its log is final,
then ``settled``. A refusal ends in ``rejecting`` and, once the contract gave the escrow back for good,
``refunded``.

A mint that this database has lost, and that stands in a final block, is taken from ``reserved`` to ``mined`` once
two people have agreed to go on after a state loss.

``held`` waits for something outside to change: a beneficiary to be registered, an account unfrozen, the
gate reopened. The database holds the same table (``bridge.transition_allowed``) and refuses by itself.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class Kind(StrEnum):
    """What an operation does."""

    ISSUANCE = "issuance"
    REDEMPTION = "redemption"


BORN: Final = ""
"""The state before the first one."""

TRANSITIONS: Final[Mapping[Kind, Mapping[str, frozenset[str]]]] = MappingProxyType(
    {
        Kind.ISSUANCE: MappingProxyType(
            {
                BORN: frozenset({"requested", "funded"}),
                "requested": frozenset({"awaiting_funds"}),
                "awaiting_funds": frozenset({"funded", "expired"}),
                "funded": frozenset({"approved", "held"}),
                "approved": frozenset({"reserved", "held", "voiding", "returning"}),
                "held": frozenset({"approved", "returning", "voiding"}),
                "reserved": frozenset(
                    {"signed", "held", "approved", "mined", "voiding", "returning"}
                ),
                "signed": frozenset({"submitted", "mined", "approved"}),
                "submitted": frozenset({"mined", "approved"}),
                "mined": frozenset({"submitted", "final"}),
                "final": frozenset({"settled"}),
                "voiding": frozenset({"returning"}),
                "returning": frozenset({"returned"}),
                "settled": frozenset(),
                "expired": frozenset(),
                "returned": frozenset(),
            }
        ),
        Kind.REDEMPTION: MappingProxyType(
            {
                BORN: frozenset({"requested"}),
                "requested": frozenset({"request_final", "dropped"}),
                "dropped": frozenset({"requested"}),
                "request_final": frozenset({"approved", "held"}),
                "approved": frozenset({"payout_prepared", "held"}),
                "held": frozenset({"approved", "rejecting"}),
                "payout_prepared": frozenset({"sent", "held"}),
                "sent": frozenset({"accepted", "booked", "payout_unknown", "rejecting"}),
                "payout_unknown": frozenset({"sent", "accepted", "booked", "rejecting"}),
                "accepted": frozenset({"booked", "rejecting"}),
                "booked": frozenset({"burning"}),
                "burning": frozenset({"booked", "settled"}),
                "rejecting": frozenset({"refunded"}),
                "settled": frozenset(),
                "refunded": frozenset(),
            }
        ),
    }
)

TERMINAL: Final[Mapping[Kind, frozenset[str]]] = MappingProxyType(
    {
        kind: frozenset(state for state, onward in table.items() if not onward)
        for kind, table in TRANSITIONS.items()
    }
)


class IllegalTransitionError(Exception):
    """An operation was asked to make a move that its transition table does not list."""

    def __init__(self, kind: Kind, from_state: str, to_state: str) -> None:
        super().__init__(f"{kind} may not go from {from_state!r} to {to_state!r}")


def check(kind: Kind, from_state: str, to_state: str) -> None:
    """Raise :class:`IllegalTransitionError` unless the table lists the move."""
    if to_state not in TRANSITIONS[kind].get(from_state, frozenset()):
        raise IllegalTransitionError(kind, from_state, to_state)
