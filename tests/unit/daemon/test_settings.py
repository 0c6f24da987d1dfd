"""Settings: file and environment become one value, or every fault is told at once and no secret is."""

import base64
from collections.abc import Mapping
from pathlib import Path

import pytest

from daemon import environment
from daemon.sections import Bank, Database, Token
from daemon.settings import Settings, SettingsError, load
from daemon.signer_sections import ApprovalSigner, KeystoreSigner

SECRET = "hunter2-never-to-be-seen"
WEBHOOK_SECRET = "whsec_" + base64.b64encode(b"w" * 32).decode()
OTHER_WEBHOOK_SECRET = "whsec_" + base64.b64encode(b"o" * 32).decode()

ENVIRONMENT = {
    "LANDBRIDGE_DATABASE__URL": f"postgresql://daemon:{SECRET}@127.0.0.1/landbridge",
    "LANDBRIDGE_BANK__API_KEY": SECRET,
    "LANDBRIDGE_BANK__WEBHOOK_SECRETS": WEBHOOK_SECRET,
    "LANDBRIDGE_SIGNERS__MINTER__PASSWORD": SECRET,
}
FILE = f"""
[chains.local]
id = 31337
rpc_urls = ["http://user:{SECRET}@127.0.0.1:8545/{SECRET}"]
single_provider = true

[token]
address = "0x{"ab" * 20}"
currency = "EUR"
decimals = 2

[bank]
base_url = "http://127.0.0.1:9000"
account_id = "DE89"

[signers.minter]
kind = "keystore"
keystore = "keystore.json"
"""
INDEX = f"""
[chains.local]
id = 31337
rpc_urls = ["http://127.0.0.1:8545/{SECRET}"]

[contracts.coin]
address = "0x{"ab" * 20}"
events = ["Transfer(address indexed from, address indexed to, uint256 value)"]
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
    bridge = load(file, ENVIRONMENT).bridge
    assert bridge is not None
    assert (bridge.chain_name, bridge.chain.id) == ("local", 31337)
    assert bridge.token.address == b"\xab" * 20
    assert bridge.bank.api_key.get_secret_value() == SECRET
    ((name, signer),) = bridge.signers.items()
    assert isinstance(signer, KeystoreSigner)
    assert (name, signer.keystore) == ("minter", Path("keystore.json"))


def test_ten_lines_are_enough_to_index_and_need_no_database_and_no_bridge(tmp_path: Path) -> None:
    path = tmp_path / "landbridge.toml"
    path.write_text(INDEX)
    assert len(INDEX.strip().splitlines()) <= 10
    settings = load(path, {})
    assert settings.database is None
    assert settings.bridge is None
    assert list(settings.contracts) == ["coin"]


def test_the_environment_alone_is_enough() -> None:
    everything = {
        **ENVIRONMENT,
        "LANDBRIDGE_CHAINS__MAIN_NET__ID": "1",
        "LANDBRIDGE_CHAINS__MAIN_NET__RPC_URLS": "https://node.example,https://another.example/x",
        "LANDBRIDGE_CHAINS__MAIN_NET__PROVIDERS__OURS__HTTP_URL": "http://ours:8545",
        "LANDBRIDGE_CHAINS__MAIN_NET__PROVIDERS__OURS__REQUESTS_PER_S": "2.5",
        "LANDBRIDGE_CONTRACTS__COIN__ADDRESSES": f"0x{'11' * 20}, 0x{'22' * 20}",
        "LANDBRIDGE_CONTRACTS__COIN__EVENTS": "Sent(address to, uint256 value),Paused(address by)",
        "LANDBRIDGE_CONTRACTS__CHILD__FACTORY__CONTRACT": "coin",
        "LANDBRIDGE_CONTRACTS__CHILD__FACTORY__EVENT": "Sent",
        "LANDBRIDGE_CONTRACTS__CHILD__FACTORY__PARAMETER": "to",
        "LANDBRIDGE_CONTRACTS__CHILD__EVENTS": "Done()",
        "LANDBRIDGE_CONTRACTS__CHILD__RAW": "true",
        "LANDBRIDGE_TOKEN__ADDRESS": "0x" + "00" * 20,
        "LANDBRIDGE_TOKEN__CURRENCY": "EUR",
        "LANDBRIDGE_TOKEN__DECIMALS": "2",
        "LANDBRIDGE_BANK__BASE_URL": "https://bank.example",
        "LANDBRIDGE_BANK__ACCOUNT_ID": "DE89",
        "LANDBRIDGE_SIGNERS__MINTER__KIND": "keystore",
        "LANDBRIDGE_SIGNERS__MINTER__KEYSTORE": "/keystore.json",
        "LANDBRIDGE_API__PORT": "0",
    }
    settings = load(None, everything)
    chain = settings.chains["main_net"]
    assert (chain.id, len(chain.rpc_urls), settings.api.port) == (1, 2, 0)
    assert chain.providers["ours"].requests_per_s == 2.5
    assert settings.contracts["coin"].addresses == (b"\x11" * 20, b"\x22" * 20)
    assert settings.contracts["coin"].events == (
        "Sent(address to, uint256 value)",
        "Paused(address by)",
    )
    child = settings.contracts["child"]
    assert child.factory is not None
    assert (child.factory.contract, child.raw) == ("coin", True)


def test_the_environment_wins_over_the_file(file: Path) -> None:
    settings = load(file, {**ENVIRONMENT, "LANDBRIDGE_CHAINS__LOCAL__ID": "5"})
    assert settings.chains["local"].id == 5


def test_two_webhook_secrets_in_one_variable_are_parted_by_a_comma(file: Path) -> None:
    both = f"{WEBHOOK_SECRET},{OTHER_WEBHOOK_SECRET}"
    settings = load(file, {**ENVIRONMENT, "LANDBRIDGE_BANK__WEBHOOK_SECRETS": both})
    assert settings.bank is not None
    found = [secret.get_secret_value() for secret in settings.bank.webhook_secrets]
    assert found == [WEBHOOK_SECRET, OTHER_WEBHOOK_SECRET]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", []),
        ("a", ["a"]),
        (" a , b ,", ["a", "b"]),
        ("A(uint256 x, uint256 y),B()", ["A(uint256 x, uint256 y)", "B()"]),
        ("A((uint8 a, uint8 b) s, uint256 y), B()", ["A((uint8 a, uint8 b) s, uint256 y)", "B()"]),
        ("A),B", ["A)", "B"]),
    ],
)
def test_a_list_is_parted_by_the_commas_outside_parentheses(text: str, parts: list[str]) -> None:
    assert environment.split(text) == parts


def test_variables_of_other_programs_are_nobodys_business(file: Path) -> None:
    load(file, {**ENVIRONMENT, "PATH": "/bin", "LANDBRIDGE_CONFIG": str(file)})


def test_all_faults_are_told_at_once_and_each_names_its_key(file: Path) -> None:
    changed(file, "id = 31337", "id = 0")
    changed(file, "decimals = 2", "decimals = 30")
    changed(file, f'address = "0x{"ab" * 20}"', 'address = "0x12"')
    changed(file, "account_id", "acount_id")
    environment = {
        **ENVIRONMENT,
        "LANDBRIDGE_API__PRT": "1",
        "LANDBRIDGE_API__PORT": "no",
        "LANDBRIDGE_CONTRACTS__COIN__ABI": "/nowhere.json",
    }
    del environment["LANDBRIDGE_SIGNERS__MINTER__PASSWORD"]
    faults = faults_of(file, environment)
    assert {fault.partition(": ")[0] for fault in faults} == {
        "LANDBRIDGE_API__PRT",
        "api.port",
        "bank.account_id",
        "bank.acount_id",
        "chains.local.id",
        "contracts.coin.address",
        "contracts.coin.abi",
        "signers.minter.password",
        "token.address",
        "token.decimals",
    }
    assert "token.address: an address is 0x and 40 hexadecimal digits" in faults


def test_without_anything_it_says_what_to_begin_with() -> None:
    assert faults_of(None, {}) == [
        "chains: is missing; describe a chain in a section [chains.NAME] with its id and rpc_urls, in "
        "landbridge.toml in this folder, or in the file that --config names",
        "contracts: nothing is to be indexed; describe a contract in a section [contracts.NAME]",
    ]


def test_a_part_of_the_bridge_asks_for_the_rest_with_the_variables_that_can_hold_it() -> None:
    faults = faults_of(None, {"LANDBRIDGE_BANK__TIMEOUT_S": "5"})
    assert "bank.api_key: is missing; set it in the file or as LANDBRIDGE_BANK__API_KEY" in faults
    required = {
        f"{section}.{key}"
        for section, model in (
            ("database", Database),
            ("token", Token),
            ("bank", Bank),
        )
        for key, field in model.model_fields.items()
        if field.is_required()
    }
    told = {fault.partition(": ")[0] for fault in faults}
    assert required <= told
    assert told - required == {"token", "chains"}
    assert len(required) == 8


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
            "[signers.minter]",
            "[signer.minter]",
            "signer: there is no such setting; did you mean signers?",
            id="section",
        ),
        pytest.param(
            "keystore =",
            "keystor =",
            'signers.minter.keystor: there is no such setting of kind = "keystore"; did you mean '
            "signers.minter.keystore?",
            id="key of a signer",
        ),
        pytest.param(
            "rpc_urls",
            "rpc_url",
            "chains.local.rpc_url: there is no such setting; did you mean chains.local.rpc_urls?",
            id="key of a named section",
        ),
        pytest.param(
            "[bank]", "[bank]\nzzz = 1", "bank.zzz: there is no such setting", id="nothing like it"
        ),
        pytest.param(
            "[bank]",
            '[contracts.a.factory]\nevnt = "E"\n[bank]',
            "contracts.a.factory.evnt: there is no such setting; did you mean contracts.a.factory.event?",
            id="deep down",
        ),
        pytest.param(
            "[chains.local]",
            "x = 1\n[chains.local]",
            "x: there is no such setting",
            id="no section",
        ),
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
        (
            "LANDBRIDGE_CHAINS__BASE__RPC_URL",
            "; did you mean LANDBRIDGE_CHAINS__BASE__RPC_URLS?",
        ),
        ("LANDBRIDGE_CHAIN__LOCAL__ID", "; did you mean LANDBRIDGE_CHAINS__LOCAL__ID?"),
        ("LANDBRIDGE_CHAINS__LOCAL", "; did you mean LANDBRIDGE_CHAINS__LOCAL__ID?"),
        (
            "LANDBRIDGE_CHAINS__LOCAL__PROVIDERS__OURS__OPERATER",
            "; did you mean LANDBRIDGE_CHAINS__LOCAL__PROVIDERS__OURS__OPERATOR?",
        ),
        (
            "LANDBRIDGE_SIGNERS__MINTER__KEY_LABL",
            "; did you mean LANDBRIDGE_SIGNERS__MINTER__KEY_LABEL?",
        ),
        ("LANDBRIDGE_CHAINS____ID", "; did you mean LANDBRIDGE_CHAINS__NAME__ID?"),
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
        pytest.param(b"a = " + b"[" * 100_000, "not a TOML file: ", id="too deep"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_fault_and_hides_no_other(
    tmp_path: Path, content: bytes | None, fault: str
) -> None:
    path = tmp_path / "landbridge.toml"
    if content is not None:
        path.write_bytes(content)
    variables = {"LANDBRIDGE_BANK__API_KY": "x", "LANDBRIDGE_CHAINS__LOCAL__ID": "x"}
    faults = faults_of(path, {**variables, "LANDBRIDGE_BANK__TIMEOUT_S": "1"})
    assert faults[0].startswith(f"{path}: {fault}")
    assert [each.partition(":")[0] for each in faults[1:]] == [
        "LANDBRIDGE_BANK__API_KY",
        "chains.local.id",
    ]


@pytest.mark.parametrize(
    ("section", "fault"),
    [
        ("chains = 5", "chains: "),
        ("[chains]\nlocal = 5", "chains.local: "),
        ('[contracts]\ncoin = "x"', "contracts.coin: "),
        ("bank = []", "bank: "),
        ("api = true", "api: "),
    ],
)
def test_a_section_that_is_something_else_is_a_fault_of_its_own(
    tmp_path: Path, section: str, fault: str
) -> None:
    path = tmp_path / "landbridge.toml"
    path.write_text(section)
    variables = {"LANDBRIDGE_CHAINS__LOCAL__ID": "1", "LANDBRIDGE_CONTRACTS__COIN__RAW": "true"}
    assert any(each.startswith(fault) for each in faults_of(path, variables))


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


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("CHAINS__LOCAL__RPC_URLS", f"ftp://host/{SECRET}"),
        ("CHAINS__LOCAL__RPC_URLS", f"https:///{SECRET}"),
        ("CHAINS__LOCAL__RPC_URLS", f"https://host:99999/{SECRET}"),
        ("CHAINS__LOCAL__RPC_URLS", f"https://host/{SECRET} x"),
        ("CHAINS__LOCAL__RPC_URLS", f"https://host/{SECRET}" + "x" * 2048),
        ("CHAINS__LOCAL__RPC_URLS", f"https://h/{SECRET},https://h/{SECRET}"),
        ("CHAINS__LOCAL__WS_URLS", f"https://host/{SECRET}"),
        ("CHAINS__LOCAL__PROVIDERS__OURS__HTTP_URL", f"wss://host/{SECRET}"),
        ("REDIS__URL", f"https://host/{SECRET}"),
    ],
)
def test_a_url_that_cannot_work_is_refused_without_showing_it(
    file: Path, name: str, url: str
) -> None:
    faults = faults_of(file, {**ENVIRONMENT, f"LANDBRIDGE_{name}": url})
    key = name.lower().replace("__", ".")
    assert [fault for fault in faults if fault.startswith(key)]


def test_no_secret_shows_in_the_value_itself(file: Path) -> None:
    environment = {
        **ENVIRONMENT,
        "LANDBRIDGE_REDIS__URL": f"redis://:{SECRET}@host/0",
        "LANDBRIDGE_CHAINS__LOCAL__WS_URLS": f"wss://host/{SECRET}",
        "LANDBRIDGE_CHAINS__LOCAL__PROVIDERS__OURS__HTTP_URL": f"https://host/{SECRET}",
    }
    settings: Settings = load(file, environment)
    assert settings.bridge is not None
    for text in (repr(settings), str(settings), settings.model_dump_json(), repr(settings.bridge)):
        assert SECRET not in text
        assert WEBHOOK_SECRET not in text


def test_the_limits_of_the_streams_agree_with_one_another(tmp_path: Path) -> None:
    path = tmp_path / "landbridge.toml"
    path.write_text(f"{INDEX}[redis]\nmax_entries = 50\nmax_unread_entries = 50\n")
    redis = load(path, {}).redis
    assert redis is not None
    assert (redis.limits.max_entries, redis.limits.max_unread_entries) == (50, 50)
    (fault,) = faults_of(path, {"LANDBRIDGE_REDIS__MAX_ENTRIES": "51"})
    assert fault.startswith("redis.max_unread_entries: is less than redis.max_entries")
    (fault,) = faults_of(path, {"LANDBRIDGE_REDIS__MAX_BYTES": "1000"})
    assert fault.startswith("redis.max_bytes: ")


REMOTE = f"""
[signers.minter]
kind = "remote"
url = "https://signer.example"
address = "0x{"cd" * 20}"
"""


def with_signer(file: Path, section: str) -> Path:
    """The file with another section in place of the keystore's."""
    before, _, _ = file.read_text().partition("[signers.minter]")
    file.write_text(before + section)
    return file


def without_password(more: Mapping[str, str] | None = None) -> dict[str, str]:
    kept = {name: value for name, value in ENVIRONMENT.items() if "SIGNERS" not in name}
    return {**kept, **(more or {})}


@pytest.mark.parametrize(
    ("section", "fault"),
    [
        pytest.param(
            '[signers.minter]\nkeystore = "x"\n',
            "signers.minter.kind: is missing; it is one of keystore, aws_kms, pkcs11, remote, approval",
            id="no kind",
        ),
        pytest.param(
            '[signers.minter]\nkind = "vault"\n',
            "signers.minter.kind: is none that there is; it is one of keystore, aws_kms, pkcs11, remote, approval",
            id="no such kind",
        ),
        pytest.param(
            '[signers.minter]\nkind = "aws_kms"\nkey_id = "x"\n',
            "signers.minter.region: is missing; set it in the file or as LANDBRIDGE_SIGNERS__MINTER__REGION",
            id="a key of the kind is missing",
        ),
        pytest.param(
            f"{REMOTE}password = 'x'\n",
            'signers.minter.password: there is no such setting of kind = "remote"',
            id="a key of another kind",
        ),
        pytest.param(
            f"{REMOTE}client_key = 'x'\n",
            "signers.minter.client_certificate: is missing; a certificate and its key belong together",
            id="half a pair",
        ),
        pytest.param(
            REMOTE.replace("https", "http"),
            "signers.minter.url: what is to be signed must not travel in the open; write https://",
            id="in the open",
        ),
        pytest.param(
            f"{REMOTE.replace('minter', 'Minter')}",
            "signers.Minter: a name is of small letters, digits and single underscores, begins with a letter, and "
            "has at most 31 characters",
            id="no name",
        ),
    ],
)
def test_what_is_wrong_with_a_signer_is_told_by_its_kind(
    file: Path, section: str, fault: str
) -> None:
    assert fault in faults_of(with_signer(file, section), without_password())


def test_a_signer_elsewhere_on_this_machine_needs_no_tls(file: Path) -> None:
    for host in ("localhost", "127.0.0.1", "[::1]"):
        section = REMOTE.replace("https://signer.example", f"http://{host}:9000")
        assert load(with_signer(file, section), without_password()).bridge is not None


def test_the_secrets_of_a_custodian_show_nowhere(file: Path) -> None:
    section = REMOTE.replace('"remote"', '"approval"') + 'account = "vault-1"\n'
    variables = without_password(
        {
            "LANDBRIDGE_SIGNERS__MINTER__API_KEY": SECRET,
            "LANDBRIDGE_SIGNERS__MINTER__CALLBACK_SECRETS": WEBHOOK_SECRET,
        }
    )
    settings = load(with_signer(file, section), variables)
    assert settings.bridge is not None
    assert isinstance(settings.bridge.signers["minter"], ApprovalSigner)
    for text in (repr(settings), settings.model_dump_json(), repr(settings.bridge)):
        assert SECRET not in text
        assert WEBHOOK_SECRET not in text
    faults = faults_of(
        file, {**variables, "LANDBRIDGE_SIGNERS__MINTER__CALLBACK_PUBLIC_KEYS": f"whpk_{SECRET}"}
    )
    assert faults == [
        "signers.minter.callback_public_keys: a public key is whpk_ and base64 of the 32 bytes of an Ed25519 key"
    ]
