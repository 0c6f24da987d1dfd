"""What says that a database is older than the world, and from where its nonces go on."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from bridge.state_loss import (
    Identity,
    SignerFacts,
    first_free_nonce,
    of_database,
    of_signer,
    unknown_payloads,
)

HERE = Identity(system_identifier=7, timeline_id=1, database_oid=16384)
SIGNER = b"S" * 20


def facts(
    next_nonce: int = 5,
    chain_nonce: int = 5,
    logged: Mapping[int, set[bytes]] | None = None,
    journalled: Mapping[int, set[bytes]] | None = None,
) -> SignerFacts:
    return SignerFacts(SIGNER, next_nonce, chain_nonce, logged or {}, journalled or {})


def test_the_same_database_has_lost_nothing() -> None:
    assert of_database(HERE, HERE) is None
    assert of_database(None, HERE) is None, "no money has moved in it yet"


@pytest.mark.parametrize(
    "moved",
    [
        replace(HERE, system_identifier=8),
        replace(HERE, timeline_id=2),
        replace(HERE, database_oid=16385),
    ],
)
def test_another_server_timeline_or_database_has(moved: Identity) -> None:
    said = of_database(HERE, moved)
    assert said is not None
    assert str(moved) in said
    assert "landbridge resume" in said


def test_a_chain_that_is_not_ahead_is_no_loss() -> None:
    assert of_signer(facts(next_nonce=5, chain_nonce=5)) == []
    assert of_signer(facts(next_nonce=5, chain_nonce=3)) == [], "they are under way"


def test_a_chain_that_is_ahead_is_told_in_words_that_stay() -> None:
    [said] = of_signer(facts(chain_nonce=6))
    assert "from nonce 5 on" in said
    assert of_signer(facts(chain_nonce=9)) == [said], "it is told once"


def test_custody_ahead_of_the_journal_is_a_loss() -> None:
    [said] = of_signer(facts(logged={4: {b"a"}, 5: {b"b"}}, journalled={4: {b"a"}}))
    assert "nonce 5" in said


def test_another_payload_for_a_known_nonce_is_a_loss() -> None:
    [said] = of_signer(facts(logged={4: {b"a", b"bumped"}}, journalled={4: {b"a"}}))
    assert "nonce 4" in said


def test_what_the_journal_has_and_was_not_asked_for_yet_is_none() -> None:
    assert of_signer(facts(logged={}, journalled={4: {b"a"}})) == []


def test_nonces_go_on_behind_all_that_anybody_knows() -> None:
    assert first_free_nonce(facts(next_nonce=5, chain_nonce=3)) == 5
    assert first_free_nonce(facts(next_nonce=5, chain_nonce=8)) == 8
    assert first_free_nonce(facts(chain_nonce=8, logged={10: {b"a"}})) == 11


def test_what_was_accepted_as_lost_is_not_told_again() -> None:
    assert unknown_payloads(facts(logged={4: {b"a"}}, journalled={4: {b"a"}})) == {}
