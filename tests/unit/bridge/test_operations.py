"""The transition table: complete, closed, and the only way to move."""

import itertools

import pytest

from bridge.operations import (
    BORN,
    TERMINAL,
    TRANSITIONS,
    IllegalTransitionError,
    Kind,
    check,
)


@pytest.mark.parametrize("kind", list(Kind))
def test_every_state_that_can_be_entered_has_a_row_of_its_own(kind: Kind) -> None:
    table = TRANSITIONS[kind]
    entered = set(itertools.chain.from_iterable(table.values()))
    assert entered == set(table) - {BORN}


@pytest.mark.parametrize("kind", list(Kind))
def test_every_state_can_be_reached_from_birth_and_can_reach_an_end(kind: Kind) -> None:
    table = TRANSITIONS[kind]
    reached, frontier = {BORN}, [BORN]
    while frontier:
        for onward in table[frontier.pop()] - reached:
            reached.add(onward)
            frontier.append(onward)
    assert reached == set(table)
    ending = set(TERMINAL[kind])
    while grown := {s for s, onward in table.items() if onward & ending} - ending:
        ending |= grown
    assert ending == set(table)


@pytest.mark.parametrize("kind", list(Kind))
def test_an_unlisted_move_is_an_error(kind: Kind) -> None:
    states = list(TRANSITIONS[kind])
    for from_state, to_state in itertools.product(states, states):
        if to_state in TRANSITIONS[kind][from_state]:
            check(kind, from_state, to_state)
        else:
            with pytest.raises(IllegalTransitionError):
                check(kind, from_state, to_state)


def test_nothing_leaves_a_terminal_state() -> None:
    assert TERMINAL[Kind.ISSUANCE] == {"settled", "expired", "returned"}
    assert TERMINAL[Kind.REDEMPTION] == {"settled", "refunded"}


def test_no_redemption_reaches_the_bank_before_its_request_is_final() -> None:
    before = {"", "requested", "dropped"}
    for state in before:
        onward = TRANSITIONS[Kind.REDEMPTION][state]
        assert onward <= before | {"request_final"}


def test_no_burn_before_the_payout_is_booked() -> None:
    table = TRANSITIONS[Kind.REDEMPTION]
    assert {s for s, onward in table.items() if "burning" in onward} == {"booked"}
    assert "rejecting" not in table["booked"] | table["burning"]
