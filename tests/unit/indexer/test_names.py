"""Names that Postgres takes, that nothing else needs, and that do not hang on an order."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer import names
from indexer.keccak import keccak
from indexer.names import is_contract_name, snake_case
from tests.unit.indexer.abi_cases import UNHURRIED

LONGEST_SUFFIXES = ["__99_final", "__99_history"]
# Few letters, so that names clash often.
CLASHING = st.text("aAbB_$1ä", max_size=8)
TABLE_NAMES = st.one_of(
    CLASHING,
    st.sampled_from(["Seen", "SeenFinal", "seen_final", "SeenFinalHistory", "Seen__2", "s" * 70]),
)
COLUMN_PATHS = st.lists(
    st.one_of(CLASHING, st.sampled_from(["address", "txHash", "x" * 80, "ctid"])),
    min_size=1,
    max_size=3,
).map(tuple)


def tables(*listed: str) -> list[str]:
    return names.tables("token", [(name, f"{name}()") for name in listed])


@pytest.mark.parametrize(
    ("name", "snake"),
    [
        ("opId", "op_id"),
        ("RedeemRequested", "redeem_requested"),
        ("EIP712DomainChanged", "eip712_domain_changed"),
        ("_to", "to"),
        ("fiatRef", "fiat_ref"),
        ("a__b", "a_b"),
        ("x$y", "x_y"),
        ("$", ""),
        ("Überweisung", "berweisung"),
        ("転送", ""),
    ],
)
def test_names_become_snake_case(name: str, snake: str) -> None:
    assert snake_case(name) == snake


@UNHURRIED
@given(st.text(max_size=100))
def test_snake_case_leaves_only_what_needs_no_care(name: str) -> None:
    snake = snake_case(name)
    assert all(each in "abcdefghijklmnopqrstuvwxyz0123456789_" for each in snake)
    assert "__" not in snake
    assert snake_case(snake) == snake


@UNHURRIED
@given(st.lists(TABLE_NAMES, unique=True, max_size=8), st.randoms(use_true_random=False))
def test_tables_and_their_views_never_share_a_name_whatever_the_order(
    listed: list[str], shuffler: random.Random
) -> None:
    found = tables(*listed)
    views = [name + suffix for name in found for suffix in ("", *names.VIEW_SUFFIXES)]
    assert len(set(views)) == len(views)
    for name in found:
        assert name.startswith("token_")
        assert "__" not in name
        assert all(len(name + suffix) <= 63 for suffix in LONGEST_SUFFIXES)
    shuffled = shuffler.sample(listed, len(listed))
    assert dict(zip(shuffled, tables(*shuffled), strict=True)) == dict(
        zip(listed, found, strict=True)
    )


@UNHURRIED
@given(st.lists(COLUMN_PATHS, max_size=8))
def test_columns_never_share_a_name_nor_take_one_that_is_taken(
    paths: list[tuple[str, ...]],
) -> None:
    found = names.columns(paths)
    assert len(set(found)) == len(found) == len(paths)
    for name in found:
        assert 0 < len(name) <= 63
        assert name not in names.RESERVED


def test_a_table_is_named_after_its_contract_and_event() -> None:
    assert tables("Transfer", "RedeemRequested") == ["token_transfer", "token_redeem_requested"]


def test_overloads_end_with_the_beginning_of_their_topic() -> None:
    signatures = ["Sent(uint256)", "Sent(address)"]
    found = names.tables("token", [("Sent", text) for text in signatures])
    assert found == [f"token_sent_{keccak(text.encode()).hex()[:8]}" for text in signatures]


def test_only_the_table_that_would_be_anothers_view_gives_way() -> None:
    seen, final, other = tables("Seen", "SeenFinal", "RateFinal")
    assert (seen, other) == ("token_seen", "token_rate_final")
    assert final == f"token_seen_final_{keccak(b'SeenFinal()').hex()[:8]}"


def test_a_name_that_another_would_get_by_its_hash_gives_way_too() -> None:
    taken = f"Sent{keccak(b'Sent(bool)').hex()[:8]}"
    listed = [("Sent", "Sent(bool)"), ("Sent", "Sent(int8)"), (taken, f"{taken}()")]
    found = names.tables("token", listed)
    assert len(set(found)) == 3


def test_hashes_that_begin_alike_are_shown_longer() -> None:
    found = names.tables("token", [("Sent", "Sent80694()"), ("Sent", "Sent136975()")])
    assert found == ["token_sent_7a4add3ea", "token_sent_7a4add3e3"]


def test_long_names_keep_their_beginning() -> None:
    name = "TheQuickBrownFoxJumpsOverTheLazyDogAndThenSome"
    found = tables(name)[0]
    assert len(found) <= names.MAX_TABLE_BYTES
    assert found.startswith("token_the_quick_brown_fox_jumps_over_the_")
    assert found.endswith(keccak(f"{name}()".encode()).hex()[:8])


def test_names_without_a_letter_that_can_be_used_get_one() -> None:
    assert tables("$") == ["token_event"]
    assert names.columns([("$",)]) == ["arg"]
    assert len(set(names.columns([("$",), ("転送",)]))) == 2


def test_reserved_columns_get_an_underscore() -> None:
    assert names.columns([("address",), ("txHash",), ("xmin",), ("order", "maker")]) == [
        "address_",
        "tx_hash_",
        "xmin_",
        "order_maker",
    ]


def test_identities_that_are_the_same_are_a_mistake_not_a_loop() -> None:
    with pytest.raises(ValueError, match="same"):
        names.tables("token", [("A", "A()"), ("A", "A()")])


@pytest.mark.parametrize("name", ["token", "a", "usdc_2", "a1_b2", "c" * 32])
def test_contract_names_that_can_name_tables(name: str) -> None:
    assert is_contract_name(name)


@pytest.mark.parametrize(
    "name", ["Token", "1token", "to-ken", "", "_a", "a_", "a__b", "a\n", "c" * 33]
)
def test_contract_names_that_cannot_name_tables(name: str) -> None:
    assert not is_contract_name(name)
