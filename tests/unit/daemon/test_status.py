import io
import json

import pytest
from rich.console import Console

from daemon.health import LoopFacts
from daemon.metrics import Metrics
from daemon.settings import Chain
from daemon.status import Status, provider
from daemon.status_table import render
from tests.unit.daemon.statuses import EMPTY, FULL, LOOPS


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
    assert json.loads(text)["supply"] == "1152921504606846976"
    assert Status.model_validate_json(text) == FULL


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("http://127.0.0.1:8545", "http://127.0.0.1:8545"),
        ("https://user:hunter2@node.example/v3/hunter2?key=hunter2", "https://node.example"),
        ("https://[::1]:8545/hunter2#hunter2", "https://[::1]:8545"),
    ],
)
def test_of_a_providers_url_only_scheme_host_and_port_are_told(url: str, told: str) -> None:
    found = provider(Chain(id=1, rpc_url=url, single_provider=True))
    assert found.rpc_url == told
    assert found.finality == "tag"


def test_finality_by_depth_is_told_with_its_depth() -> None:
    chain = Chain(id=1, rpc_url="http://node", single_provider=True, finality_depth_blocks=12)
    assert (provider(chain).finality, provider(chain).finality_depth_blocks) == ("depth", 12)


def test_the_table_shows_alarms_first_and_amounts_as_decimals() -> None:
    text = shown(FULL.model_copy(update={"loops": []}))
    assert text.startswith("HALTED (mint): the proof shows [drift] (by prover)")
    assert "critical breaks open: 1" in text.splitlines()[1]
    assert "123.45 EUR" in text
    assert "settled 4, held 1" in text


def test_the_table_of_a_daemon_that_has_read_nothing_yet_says_so() -> None:
    text = shown(EMPTY)
    assert "nothing read yet" in text
    assert "not known yet" in text
    assert "HALTED" not in text


def test_metrics_have_the_statuss_numbers() -> None:
    samples = scraped(FULL, LOOPS)
    assert samples["landbridge_database_up"] == 1
    assert samples["landbridge_chain_head_block"] == 90
    assert samples['landbridge_feed_lag_rows{consumer="bridge"}'] == 2
    assert samples['landbridge_operations{kind="issuance",state="settled"}'] == 4
    assert samples['landbridge_supply_minor{currency="EUR"}'] == 2**60
    assert samples['landbridge_proof_verdict{verdict="agree"}'] == 1
    assert samples['landbridge_proof_verdict{verdict="drift"}'] == 0
    assert samples['landbridge_halts{scope="mint"}'] == 1
    assert samples['landbridge_loop_restarts_total{loop="sender",role="submit"}'] == 3
    assert samples['landbridge_loop_failing{loop="sender",role="submit"}'] == 1


def test_a_number_that_is_not_known_has_no_sample_rather_than_a_zero() -> None:
    samples = scraped(EMPTY, LOOPS)
    unknown = ("chain_head_block", 'supply_minor{currency="EUR"}', "proof_age_seconds")
    assert not {f"landbridge_{name}" for name in unknown} & samples.keys()
    assert 'landbridge_loop_last_success_age_seconds{loop="sender",role="submit"}' not in samples


def test_without_the_database_metrics_still_tell_of_the_process() -> None:
    samples = scraped(None, LOOPS)
    assert samples["landbridge_database_up"] == 0
    assert samples['landbridge_loop_running{loop="follower",role="follow"}'] == 1
    assert "landbridge_chain_head_block" not in samples


def test_webhook_refusals_are_counted_by_reason() -> None:
    metrics = Metrics()
    metrics.count_refusal("stale")
    metrics.count_refusal("stale")
    assert b'landbridge_webhook_refusals_total{reason="stale"} 2.0' in metrics.render(None, [])
