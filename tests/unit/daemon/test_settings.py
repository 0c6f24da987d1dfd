"""Settings: file and environment become one value, or every fault is told at once and no secret is."""

import base64
from collections.abc import Mapping
from pathlib import Path

import pytest

from daemon.settings import Settings, SettingsError, load

SECRET = "hunter2-never-to-be-seen"
WEBHOOK_SECRET = "whsec_" + base64.b64encode(b"w" * 32).decode()
OTHER_WEBHOOK_SECRET = "whsec_" + base64.b64encode(b"o" * 32).decode()

ENVIRONMENT = {
    "LANDBRIDGE_DATABASE__URL": f"postgresql://daemon:{SECRET}@127.0.0.1/landbridge",
    "LANDBRIDGE_BANK__API_KEY": SECRET,
    "LANDBRIDGE_BANK__WEBHOOK_SECRETS": WEBHOOK_SECRET,
    "LANDBRIDGE_CUSTODY__PASSWORD": SECRET,
}
FILE = f"""
[chain]
id = 31337
rpc_url = "http://user:{SECRET}@127.0.0.1:8545/{SECRET}"
single_provider = true

[token]
address = "0x{"ab" * 20}"
currency = "EUR"
decimals = 2

[bank]
base_url = "http://127.0.0.1:9000"
account_id = "DE89"

[custody]
keystore = "keystore.json"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "landbridge.toml"
    path.write_text(FILE)
    return path


def faults_of(path: Path | None, environment: Mapping[str, str]) -> list[str]:
    with pytest.raises(SettingsError) as refused:
        load(path, environment)
    assert SECRET not in str(refused.value)
    return refused.value.faults


def changed(file: Path, before: str, after: str) -> Path:
    text = file.read_text()
    assert before in text
    file.write_text(text.replace(before, after))
    return file


def test_the_file_and_the_environment_make_one_value(file: Path) -> None:
    settings = load(file, ENVIRONMENT)
    assert settings.token.address == b"\xab" * 20
    assert settings.bank.api_key.get_secret_value() == SECRET
    assert settings.custody.keystore == Path("keystore.json")
    assert settings.daemon.lease_ttl_s > 0


def test_the_environment_alone_is_enough() -> None:
    everything = {
        **ENVIRONMENT,
        "LANDBRIDGE_CHAIN__ID": "1",
        "LANDBRIDGE_CHAIN__RPC_URL": "https://node.example",
        "LANDBRIDGE_CHAIN__SINGLE_PROVIDER": "true",
        "LANDBRIDGE_TOKEN__ADDRESS": "0x" + "00" * 20,
        "LANDBRIDGE_TOKEN__CURRENCY": "EUR",
        "LANDBRIDGE_TOKEN__DECIMALS": "2",
        "LANDBRIDGE_BANK__BASE_URL": "https://bank.example",
        "LANDBRIDGE_BANK__ACCOUNT_ID": "DE89",
        "LANDBRIDGE_CUSTODY__KEYSTORE": "/keystore.json",
        "LANDBRIDGE_API__PORT": "0",
    }
    settings = load(None, everything)
    assert (settings.chain.id, settings.chain.single_provider, settings.api.port) == (1, True, 0)


def test_the_environment_wins_over_the_file(file: Path) -> None:
    assert load(file, {**ENVIRONMENT, "LANDBRIDGE_CHAIN__ID": "5"}).chain.id == 5


def test_two_webhook_secrets_in_one_variable_are_parted_by_a_comma(file: Path) -> None:
    both = f"{WEBHOOK_SECRET},{OTHER_WEBHOOK_SECRET}"
    settings = load(file, {**ENVIRONMENT, "LANDBRIDGE_BANK__WEBHOOK_SECRETS": both})
    found = [secret.get_secret_value() for secret in settings.bank.webhook_secrets]
    assert found == [WEBHOOK_SECRET, OTHER_WEBHOOK_SECRET]


def test_variables_of_other_programs_are_nobodys_business(file: Path) -> None:
    load(file, {**ENVIRONMENT, "PATH": "/bin", "LANDBRIDGE_CONFIG": str(file)})


def test_all_faults_are_told_at_once_and_each_names_its_key(file: Path) -> None:
    changed(file, "id = 31337", "id = 0")
    changed(file, "decimals = 2", "decimals = 30")
    changed(file, f'address = "0x{"ab" * 20}"', 'address = "0x12"')
    changed(file, "account_id", "acount_id")
    environment = {**ENVIRONMENT, "LANDBRIDGE_API__PRT": "1", "LANDBRIDGE_API__PORT": "no"}
    del environment["LANDBRIDGE_CUSTODY__PASSWORD"]
    faults = faults_of(file, environment)
    assert {fault.partition(": ")[0] for fault in faults} == {
        "LANDBRIDGE_API__PRT",
        "api.port",
        "bank.account_id",
        "bank.acount_id",
        "chain.id",
        "custody.password",
        "token.address",
        "token.decimals",
    }
    assert "token.address: an address is 0x and 40 hexadecimal digits" in faults


def test_what_is_missing_is_told_with_the_variable_that_can_hold_it() -> None:
    faults = faults_of(None, {})
    assert ("bank.api_key: is missing; set it in the file or as LANDBRIDGE_BANK__API_KEY") in faults
    required = {
        f"{section}.{key}"
        for section, field in Settings.model_fields.items()
        for key, of_section in field.annotation.model_fields.items()  # type: ignore[union-attr]
        if of_section.is_required()
    }
    assert {fault.partition(": ")[0] for fault in faults} == required
    assert len(required) == 13


@pytest.mark.parametrize(
    ("before", "after", "fault"),
    [
        pytest.param(
            "account_id =",
            "acount_id =",
            "bank.acount_id: there is no such setting; did you mean bank.account_id?",
            id="key",
        ),
        pytest.param(
            "[custody]",
            "[custdy]",
            "custdy: there is no such setting; did you mean custody?",
            id="section",
        ),
        pytest.param(
            "[bank]", "[bank]\nzzz = 1", "bank.zzz: there is no such setting", id="nothing like it"
        ),
        pytest.param("[chain]", "x = 1\n[chain]", "x: there is no such setting", id="no section"),
    ],
)
def test_a_misspelt_name_in_the_file_is_refused_with_a_suggestion(
    file: Path, before: str, after: str, fault: str
) -> None:
    assert fault in faults_of(changed(file, before, after), ENVIRONMENT)


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("LANDBRIDGE_BANK__API_KY", "; did you mean LANDBRIDGE_BANK__API_KEY?"),
        ("LANDBRIDGE_BANK_API_KEY", "; did you mean LANDBRIDGE_BANK__API_KEY?"),
        ("LANDBRIDGE_DATABASE__FOO", ""),
    ],
)
def test_a_misspelt_variable_is_refused_with_a_suggestion(
    file: Path, name: str, suggestion: str
) -> None:
    faults = faults_of(file, {**ENVIRONMENT, name: SECRET})
    assert faults == [f"{name}: there is no such setting{suggestion}"]


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        pytest.param(None, "cannot be read: No such file or directory", id="missing"),
        pytest.param(f"[bank]\napi_key = {SECRET}\n".encode(), "not a TOML file: ", id="no TOML"),
        pytest.param(b"\xff\xfe", "not a TOML file: ", id="no text"),
        pytest.param(b"# long\n" * 200_000, "over 1048576 bytes", id="too long"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_fault_and_hides_no_other(
    tmp_path: Path, content: bytes | None, fault: str
) -> None:
    path = tmp_path / "landbridge.toml"
    if content is not None:
        path.write_bytes(content)
    faults = faults_of(path, {"LANDBRIDGE_BANK__API_KY": "x", "LANDBRIDGE_CHAIN__ID": "x"})
    assert faults[0].startswith(f"{path}: {fault}")
    assert [each.partition(":")[0] for each in faults[1:]] == [
        "LANDBRIDGE_BANK__API_KY",
        "chain.id",
    ]


@pytest.mark.parametrize(
    "secrets", [SECRET, f"whsec_{SECRET}", "whsec_c2hvcnQ=", "", ",".join([WEBHOOK_SECRET] * 3)]
)
def test_webhook_secrets_that_cannot_work_are_refused_without_showing_them(
    file: Path, secrets: str
) -> None:
    environment = {**ENVIRONMENT, "LANDBRIDGE_BANK__WEBHOOK_SECRETS": secrets}
    (fault,) = faults_of(file, environment)
    assert fault.startswith("bank.webhook_secrets")


def test_a_bank_url_with_credentials_is_refused_without_showing_them(file: Path) -> None:
    changed(file, "http://127.0.0.1:9000", f"http://user:{SECRET}@127.0.0.1:9000")
    (fault,) = faults_of(file, ENVIRONMENT)
    assert fault.startswith("bank.base_url: must not hold a user or password")


def test_single_provider_must_be_said_and_be_true(file: Path) -> None:
    for said in ("false", "no", ""):
        environment = {**ENVIRONMENT, "LANDBRIDGE_CHAIN__SINGLE_PROVIDER": said}
        assert faults_of(file, environment)[0].startswith("chain.single_provider: ")


def test_no_secret_shows_in_the_value_itself(file: Path) -> None:
    settings = load(file, ENVIRONMENT)
    for text in (repr(settings), str(settings), settings.bank.model_dump_json()):
        assert SECRET not in text
        assert WEBHOOK_SECRET not in text
