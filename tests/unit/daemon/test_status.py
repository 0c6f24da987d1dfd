import io
import json

from rich.console import Console

from daemon import index_table
from daemon.health import LoopFacts
from daemon.index_status import percent, source_state
from daemon.metrics import Metrics
from daemon.status import Status
from daemon.status_table import render
from tests.unit.daemon.statuses import EMPTY, FULL, INDEX_ONLY, LOOPS, chain

OF_MAIN = '{chain="main"}'


def shown(status: Status) -> str:
    console = Console(width=120, file=io.StringIO(), record=True)
    console.print(render(status))
    return console.export_text()


def scraped(status: Status | None, loops: list[LoopFacts]) -> dict[str, float]:
    text = Metrics().render(status, loops).decode()
    samples = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in samples}


def test_amounts_travel_as_decimal_strings_and_come_back_exact() -> None:
    text = FULL.model_dump_json()
    assert json.loads(text)["bridge"]["supply"] == "1152921504606846976"
    assert Status.model_validate_json(text) == FULL


def test_the_table_shows_alarms_first_and_amounts_as_decimals() -> None:
    text = shown(FULL)
    assert text.startswith("HALTED (mint): the proof shows [drift] (by prover)")
    difference = (
        "DIFFERENCE 7: contract coin (version 2) differs from chain main in blocks 20 to 23"
    )
    assert text.splitlines()[1].strip() == difference
    assert "critical breaks open: 1" in text.splitlines()[2]
    assert "123.45 EUR" in text
    assert "settled 4, held 1" in text
    assert "final is what nodes call finalized, by 2 operators" in text


def test_the_table_of_a_daemon_that_has_read_nothing_yet_says_so() -> None:
    text = shown(EMPTY)
    assert "waiting" in text
    assert "not known yet" in text
    assert "HALTED" not in text


def test_the_table_of_an_index_has_chains_and_contracts_and_no_books() -> None:
    text = shown(INDEX_ONLY)
    assert "12,345" in text
    assert "50.0 %" in text
    assert "reserve" not in text


def test_a_rewritten_chain_is_said_before_anything_else() -> None:
    rewritten = chain(state="rewritten", error="DeepReorg: at block 80 [theirs]")
    text = shown(INDEX_ONLY.model_copy(update={"chains": [rewritten]}))
    assert text.startswith(
        "CHAIN main WAS REWRITTEN BELOW ITS FINALIZED BLOCK: DeepReorg: at block 80 [theirs]"
    )


def test_the_indexs_table_shows_providers_where_they_are_known() -> None:
    console = Console(width=120, file=io.StringIO(), record=True)
    console.print(index_table.render(FULL.chains))
    text = console.export_text()
    assert "it did not [answer]" in text
    assert "12 ms" in text


def test_what_is_covered_is_rounded_down_so_that_100_is_only_what_is_complete() -> None:
    assert percent(0, 99_998, 99_999) == 99.9
    assert percent(0, 99_999, 99_999) == 100.0
    assert percent(10, None, 19) == 0.0
    assert percent(10, 14, 19) == 50.0
    assert percent(10, 30, 19) == 100.0
    assert percent(20, None, 19) == 100.0
    assert percent(None, None, 19) == 0.0
    assert percent(0, 5, None) == 0.0


def test_a_version_waits_then_backfills_then_joins_and_ends() -> None:
    begun = {"wanted": True, "joined": False, "retired": False, "covered_to": None}
    assert source_state(begun) == "waiting"
    assert source_state({**begun, "covered_to": 5}) == "backfilling"
    assert source_state({**begun, "covered_to": 5, "joined": True}) == "joined"
    assert source_state({**begun, "joined": True, "wanted": False}) == "joined"
    assert source_state({**begun, "joined": True, "retired": True}) == "retired"
    assert source_state({**begun, "wanted": False, "covered_to": 5}) == "retired"


def test_metrics_have_the_statuss_numbers() -> None:
    samples = scraped(FULL, LOOPS)
    assert samples["landbridge_database_up"] == 1
    assert samples[f"landbridge_chain_head_block{OF_MAIN}"] == 90
    assert samples[f"landbridge_chain_synced{OF_MAIN}"] == 0
    assert samples[f"landbridge_chain_rewritten{OF_MAIN}"] == 0
    assert samples['landbridge_chain_consumer_lag_rows{chain="main",consumer="bridge"}'] == 2
    contract = '{chain="main",contract="coin",version="2"}'
    assert samples[f"landbridge_chain_contract_covered_ratio{contract}"] == 0.5
    assert samples[f"landbridge_chain_contract_joined{contract}"] == 0
    node = '{chain="main",provider="node.example"}'
    assert samples[f"landbridge_chain_provider_latency_seconds{node}"] == 0.0125
    assert samples[f"landbridge_chain_provider_requests_total{node}"] == 1000
    assert samples[f"landbridge_chain_heads_reconnects_total{OF_MAIN}"] == 2
    assert samples[f"landbridge_chain_audit_differences{OF_MAIN}"] == 1
    assert samples[f"landbridge_chain_audit_age_seconds{OF_MAIN}"] == 42
    assert samples[f"landbridge_chain_audit_ratio{OF_MAIN}"] == 0.125
    assert samples['landbridge_chain_audit_ranges{chain="main",outcome="exact"}'] == 10
    assert samples['landbridge_chain_audit_ranges{chain="main",outcome="unanswerable"}'] == 0
    assert samples['landbridge_operations{kind="issuance",state="settled"}'] == 4
    assert samples['landbridge_supply_minor{currency="EUR"}'] == 2**60
    assert samples['landbridge_proof_verdict{verdict="agree"}'] == 1
    assert samples['landbridge_proof_verdict{verdict="drift"}'] == 0
    assert samples['landbridge_halts{scope="mint"}'] == 1
    assert samples['landbridge_loop_restarts_total{loop="sender",role="submit"}'] == 3
    assert samples['landbridge_loop_failing{loop="sender",role="submit"}'] == 1


def test_a_version_that_has_ended_has_no_metrics() -> None:
    assert not [name for name in scraped(FULL, LOOPS) if 'version="1"' in name]


def test_a_rewritten_chain_is_a_metric_of_its_own() -> None:
    rewritten = FULL.model_copy(update={"chains": [chain(state="rewritten")]})
    assert scraped(rewritten, [])[f"landbridge_chain_rewritten{OF_MAIN}"] == 1


def test_a_number_that_is_not_known_has_no_sample_rather_than_a_zero() -> None:
    samples = scraped(EMPTY, LOOPS)
    unknown = (
        f"chain_head_block{OF_MAIN}",
        'supply_minor{currency="EUR"}',
        "proof_age_seconds",
        f"chain_heads_connected{OF_MAIN}",
    )
    assert not {f"landbridge_{name}" for name in unknown} & samples.keys()
    assert 'landbridge_loop_last_success_age_seconds{loop="sender",role="submit"}' not in samples


def test_an_index_has_no_metrics_of_books() -> None:
    samples = scraped(INDEX_ONLY, LOOPS)
    assert f"landbridge_chain_head_block{OF_MAIN}" in samples
    assert not [name for name in samples if name.startswith(("landbridge_supply", "landbridge_op"))]


def test_without_the_database_metrics_still_tell_of_the_process() -> None:
    samples = scraped(None, LOOPS)
    assert samples["landbridge_database_up"] == 0
    assert samples['landbridge_loop_running{loop="follower:main",role="follow:1"}'] == 1
    assert f"landbridge_chain_head_block{OF_MAIN}" not in samples


def test_webhook_refusals_are_counted_by_reason() -> None:
    metrics = Metrics()
    metrics.count_refusal("stale")
    metrics.count_refusal("stale")
    assert b'landbridge_webhook_refusals_total{reason="stale"} 2.0' in metrics.render(None, [])
