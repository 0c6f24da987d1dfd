"""What nodes answer, and what that means: by :mod:`tests.unit.bridge.node_answers`."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.sending import (
    ASK_ANOTHER,
    Answer,
    is_revert,
    read_error,
    read_failure,
    read_result,
    revert_data,
    verdict,
)
from indexer import limits
from indexer.errors import (
    RpcMalformed,
    RpcRateLimited,
    RpcTimeout,
    RpcTooLong,
    RpcUnavailable,
)
from tests.unit.bridge.node_answers import (
    HASH,
    NODE_ANSWERS,
    SIMULATION_ERRORS,
    NodeAnswer,
    SimulationError,
)

ROWS = pytest.mark.parametrize(
    "row", NODE_ANSWERS, ids=lambda row: f"{row.node}: {row.message}"[:70]
)
SIMULATIONS = pytest.mark.parametrize("row", SIMULATION_ERRORS, ids=lambda row: row.node)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.just("data"), inner),
    max_leaves=20,
)


@ROWS
def test_a_real_answer_is_read(row: NodeAnswer) -> None:
    assert read_error(row.code, row.message, row.data) is row.answer


@ROWS
def test_what_is_put_around_a_text_does_not_change_its_meaning(row: NodeAnswer) -> None:
    for message in (f"call failed: {row.message}", f"{row.message} (trace 4b1f)"):
        assert read_error(row.code, message, row.data) is row.answer


@ROWS
def test_the_text_decides_and_not_the_code(row: NodeAnswer) -> None:
    if row.answer not in (Answer.MAYBE, Answer.ELSEWHERE):
        for code in (-32000, -32003, -32010, -32603, 3, 0):
            assert read_error(code, row.message, row.data) is row.answer


@ROWS
def test_the_reading_of_limits_takes_no_judgement_away(row: NodeAnswer) -> None:
    """An error that :mod:`indexer.limits` takes for a rate limit never arrives here as an error."""
    verdict = limits.judge(row.code, row.message, data=row.data)
    if isinstance(verdict, limits.RateLimited | limits.MethodMissing):
        assert row.answer is Answer.ELSEWHERE


def test_the_table_is_of_every_node_and_every_answer() -> None:
    assert len(NODE_ANSWERS) >= 80
    assert {row.answer for row in NODE_ANSWERS} == set(Answer) - {Answer.ACCEPTED}
    for node in ("geth", "Erigon", "Nethermind", "Besu", "reth", "Anvil"):
        answers = {row.answer for row in NODE_ANSWERS if row.node.startswith(node)}
        assert {Answer.KNOWN, Answer.NONCE_USED, Answer.UNDERPRICED, Answer.NO_FUNDS} <= answers
    for provider in ("Alchemy", "Infura", "QuickNode", "Ankr"):
        assert any(row.node == provider for row in NODE_ANSWERS)


def test_no_answer_says_that_the_bytes_are_nowhere() -> None:
    """Whoever adds an answer has to say here what it lets the lane do with the nonce: never give it up."""
    goes_on = {Answer.ACCEPTED, Answer.KNOWN, Answer.NONCE_USED}
    sends_the_same_bytes_again = {
        Answer.GAP,
        Answer.NO_FUNDS,
        Answer.REVERTED,
        Answer.MAYBE,
        Answer.ELSEWHERE,
    }
    offers_more_for_the_same_nonce = {Answer.UNDERPRICED}
    stops = {Answer.REFUSED}
    assert set(Answer) == (
        goes_on | sends_the_same_bytes_again | offers_more_for_the_same_nonce | stops
    )


@given(st.integers(), st.text(), JSON)
def test_whatever_a_node_answers_is_read(code: int, message: str, data: object) -> None:
    assert read_error(code, message, data) in Answer
    is_revert(code, message, data)
    assert isinstance(revert_data(data), bytes | None)


@given(
    st.integers().filter(lambda code: code not in (3, 429, -32005, -32029, -32601)),
    st.text(alphabet="0123456789 .:-\n"),
)
def test_what_is_not_understood_may_have_been_sent(code: int, message: str) -> None:
    assert read_error(code, message) is Answer.MAYBE


@pytest.mark.parametrize(
    ("result", "answer"),
    [
        (HASH, Answer.ACCEPTED),
        (HASH.upper().replace("0X", "0x"), Answer.ACCEPTED),
        ("0x" + "33" * 32, Answer.MAYBE),
        (HASH[:-2], Answer.MAYBE),
        (HASH[2:], Answer.MAYBE),
        ("0x", Answer.MAYBE),
        (None, Answer.MAYBE),
        (True, Answer.MAYBE),
        ({"hash": HASH}, Answer.MAYBE),
    ],
)
def test_only_our_own_hash_is_an_acceptance(result: object, answer: Answer) -> None:
    assert read_result(result, bytes.fromhex(HASH[2:])) is answer


def with_status(error: RpcUnavailable | RpcMalformed, status: int) -> RpcUnavailable | RpcMalformed:
    error.http_status = status
    return error


METHOD = "eth_sendRawTransaction"


@pytest.mark.parametrize(
    ("failure", "answer"),
    [
        (RpcTimeout(endpoint="http://node", method=METHOD, reason="15 s"), Answer.MAYBE),
        (RpcUnavailable(endpoint="http://node", method=METHOD, reason="reset"), Answer.MAYBE),
        (RpcMalformed(method=METHOD, reason="not JSON"), Answer.MAYBE),
        (RpcTooLong(method=METHOD, reason="it is longer than 1 byte"), Answer.MAYBE),
        (RpcRateLimited(endpoint="http://node", method=METHOD, reason="slow"), Answer.ELSEWHERE),
    ],
    ids=lambda value: type(value).__name__,
)
def test_no_answer_is_read(failure: RpcUnavailable | RpcMalformed, answer: Answer) -> None:
    assert read_failure(failure) is answer


@pytest.mark.parametrize(
    ("status", "answer"),
    [
        *((status, Answer.ELSEWHERE) for status in (401, 402, 403, 404, 405, 413, 429)),
        *((status, Answer.MAYBE) for status in (200, 204, 400, 408, 500, 502, 503, 504, 524)),
    ],
)
def test_a_status_is_read(status: int, answer: Answer) -> None:
    failure = RpcUnavailable(endpoint="http://node", method=METHOD, reason=f"HTTP status {status}")
    assert read_failure(with_status(failure, status)) is answer
    too_long = RpcTooLong(method=METHOD, reason=f"HTTP status {status}")
    assert read_failure(with_status(too_long, status)) is answer


@SIMULATIONS
def test_a_refused_simulation_is_the_contracts_word_or_the_nodes(row: SimulationError) -> None:
    assert is_revert(row.code, row.message, row.data) is row.is_revert


@SIMULATIONS
def test_what_the_contract_said_is_found_in_every_shape(row: SimulationError) -> None:
    assert revert_data(row.data) == row.revert_data


def test_the_search_in_an_error_is_bounded() -> None:
    deep: object = "0x01"
    for _ in range(50):
        deep = {"data": deep}
    assert revert_data(deep) is None
    assert revert_data({str(number): {} for number in range(10_000)}) is None


@pytest.mark.parametrize("first", sorted(ASK_ANOTHER))
@pytest.mark.parametrize("second", list(Answer))
def test_only_two_nodes_together_can_say_that_no_block_will_ever_hold_it(
    first: Answer, second: Answer
) -> None:
    together = verdict(first, second)
    assert (together is Answer.REFUSED) == (first is second is Answer.REFUSED)
    if second not in ASK_ANOTHER:
        assert together is second
