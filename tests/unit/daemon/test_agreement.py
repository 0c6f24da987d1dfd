"""Chains, providers, contracts and token of the settings agree with one another, or each fault is told by its key."""

import json
from pathlib import Path

import pytest

from daemon.contracts import contracts_of
from daemon.providers import operators_of, providers_of
from daemon.sections import Chain
from daemon.setting_types import checksummed
from daemon.settings import Settings, SettingsError, load
from indexer.contract import Contract, Factory

CHAIN = """
[chains.main]
id = 1
rpc_urls = ["https://one.example/k3y"]
"""
SECOND_CHAIN = """
[chains.side]
id = 2
rpc_urls = ["https://two.example/k3y"]
"""
FACTORY = f"""
[contracts.factory]
address = "0x{"11" * 20}"
events = ["Made(address indexed newOne, uint256 number)", "Made(uint256 number)", "Old() anonymous"]
"""
BRIDGE = """
[database]
url = "postgresql://x"
[bank]
base_url = "http://bank"
account_id = "DE89"
api_key = "x"
webhook_secrets = ["whsec_ZGVtby13ZWJob29rLXNlY3JldC0zMi1ieXRlcyEh"]
[signers.minter]
kind = "keystore"
keystore = "keystore.json"
password = "x"
"""
TOKEN = f"""
[token]
address = "0x{"ab" * 20}"
currency = "EUR"
decimals = 2
"""
COIN = f"""
[contracts.coin]
address = "0x{"22" * 20}"
events = ["Transfer(address indexed from, address indexed to, uint256 value)", "Said(string text)"]
"""
CHILD = 'factory = { contract = "factory", event = "Made(address,uint256)", parameter = "newOne" }'
ABI = [
    {"type": "constructor", "inputs": []},
    {"type": "event", "name": "A", "inputs": [{"name": "tokenId", "type": "uint256"}]},
    {"type": "event", "name": "B", "inputs": []},
]
USDC = "0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48"


def loaded(folder: Path, *parts: str) -> Settings:
    path = folder / "landbridge.toml"
    path.write_text("".join(parts))
    return load(path, {})


def faults_of(folder: Path, *parts: str) -> list[str]:
    with pytest.raises(SettingsError) as refused:
        loaded(folder, *parts)
    assert "k3y" not in str(refused.value)
    return refused.value.faults


def built(settings: Settings) -> dict[str, Contract]:
    made = contracts_of(settings.chains, settings.contracts, settings.token)
    return {contract.name: contract for contract in made}


def of_chain(more: str) -> str:
    return CHAIN + more + "\n"


def child(more: str = CHILD, events: str = '["Done()"]') -> str:
    return f"[contracts.child]\nevents = {events}\n{more}\n"


@pytest.mark.parametrize(
    ("parts", "fault"),
    [
        pytest.param(
            ["[chains.main]\nid = 1\n", COIN],
            "chains.main.rpc_urls: is missing; set it in the file or as LANDBRIDGE_CHAINS__MAIN__RPC_URLS, or "
            "describe providers in sections [chains.main.providers.NAME]",
            id="no provider",
        ),
        pytest.param(
            [CHAIN, SECOND_CHAIN.replace("id = 2", "id = 1"), COIN],
            "chains.side.id: is the id of chains.main too; name all its providers in one section",
            id="one chain twice",
        ),
        pytest.param(
            [of_chain('ws_urls = ["wss://a/", "wss://b/"]'), COIN],
            "chains.main.ws_urls: has 2 URLs for 1 of rpc_urls; the first belongs to the first, and so on",
            id="more sockets than nodes",
        ),
        pytest.param(
            [of_chain("quorum = 2"), COIN],
            "chains.main.quorum: 2 operators must agree on what is final, and there are 1 (one.example); add a "
            "provider of another one",
            id="too few operators",
        ),
        pytest.param(
            [of_chain("quorum = 2\nsingle_provider = true"), COIN],
            "chains.main.single_provider: contradicts quorum = 2; remove one of the two",
            id="single and several",
        ),
        pytest.param(
            [CHAIN, BRIDGE, TOKEN],
            "chains.main.quorum: 2 operators must agree on what is final, and there are 1 (one.example); add a "
            "provider of another one, or say single_provider = true if one operator's word is to do",
            id="money on one operator's word",
        ),
        pytest.param(
            [of_chain("quorum = 1"), BRIDGE, TOKEN],
            "chains.main.quorum: money moves on what at least 2 operators call final; raise it, or say "
            "single_provider = true if one operator's word is to do",
            id="money and a quorum of one",
        ),
        pytest.param(
            [CHAIN, SECOND_CHAIN, COIN],
            "contracts.coin.chain: is missing; it is one of main, side",
            id="which chain",
        ),
        pytest.param(
            [CHAIN, COIN + 'chain = "man"'],
            "contracts.coin.chain: there is no chain man; did you mean main?",
            id="no such chain",
        ),
        pytest.param(
            [of_chain("single_provider = true"), BRIDGE, TOKEN + 'chain = "other"'],
            "token.chain: there is no chain other",
            id="no such chain for the token",
        ),
        pytest.param(
            [CHAIN, '[contracts.coin]\nevents = ["A()"]'],
            'contracts.coin.address: is missing; give an address, several addresses, a factory, or "*" for any '
            "contract",
            id="no address",
        ),
        pytest.param(
            [CHAIN, COIN + f'addresses = ["0x{"33" * 20}"]'],
            "contracts.coin.addresses: contradicts address; give one of the two",
            id="address and addresses",
        ),
        pytest.param(
            [CHAIN, FACTORY, COIN + CHILD],
            "contracts.coin.factory: contradicts address; give one of the two",
            id="address and factory",
        ),
        pytest.param(
            [CHAIN, FACTORY, child(CHILD.replace('"factory"', '"factori"'))],
            "contracts.child.factory.contract: there is no contract factori; did you mean factory?",
            id="no such factory",
        ),
        pytest.param(
            [
                CHAIN,
                SECOND_CHAIN,
                FACTORY + 'chain = "main"',
                "\n",
                child(CHILD + '\nchain = "side"'),
            ],
            "contracts.child.factory.contract: factory is on another chain",
            id="a factory elsewhere",
        ),
        pytest.param(
            [CHAIN, child(CHILD.replace('"factory"', '"child"'))],
            "contracts.child.factory.contract: child comes from a factory itself; a factory needs an address of its "
            "own",
            id="a factory of itself",
        ),
        pytest.param(
            [CHAIN, FACTORY.replace(f"0x{'11' * 20}", "*"), child()],
            "contracts.child.factory.contract: factory is any contract; a factory needs an address of its own",
            id="any factory",
        ),
        pytest.param(
            [CHAIN, FACTORY, child(CHILD.replace("Made(address,uint256)", "Mode"))],
            "contracts.child.factory.event: factory follows no event 'Mode'; did you mean Made?",
            id="no such event of the factory",
        ),
        pytest.param(
            [CHAIN, FACTORY, child(CHILD.replace("Made(address,uint256)", "Made"))],
            "contracts.child.factory.event: factory has several; write Made(address,uint256) or Made(uint256)",
            id="several such events",
        ),
        pytest.param(
            [CHAIN, FACTORY, child(CHILD.replace("Made(address,uint256)", "Old"))],
            "contracts.child.factory.event: Old is anonymous, so it cannot tell of contracts",
            id="an anonymous event",
        ),
        pytest.param(
            [CHAIN, FACTORY, child(CHILD.replace("newOne", "newone"))],
            "contracts.child.factory.parameter: Made has no parameter 'newone'; did you mean new_one?",
            id="no such parameter",
        ),
        pytest.param(
            [CHAIN, FACTORY, child(CHILD.replace("newOne", "number"))],
            "contracts.child.factory.parameter: is of the type uint256, not an address",
            id="a parameter that is no address",
        ),
        pytest.param(
            [CHAIN, COIN.replace("0x" + "22" * 20, USDC.replace("A0b", "a0b"))],
            "contracts.coin.address: its capital letters are not its checksum (EIP-55), so a digit is wrong: copy "
            "the address again, or write all of it in small letters if you are sure of it",
            id="checksum",
        ),
        pytest.param(
            [
                CHAIN,
                f'[contracts.coin]\nevents = ["A()"]\naddresses = ["{USDC}", "{USDC.lower()}"]',
            ],
            "contracts.coin.addresses: number 2 of the list stands there twice",
            id="an address twice",
        ),
        pytest.param(
            [of_chain("single_provider = true"), BRIDGE, TOKEN, COIN.replace(".coin]", ".token]")],
            "contracts.token: is what the deposit token is called (token.contract), which is indexed without a "
            "section of its own; give this contract another name",
            id="the token's name",
        ),
        pytest.param(
            [CHAIN, COIN.replace(".coin]", ".a]"), COIN.replace(".coin]", ".b_]")],
            "contracts.b_: a name is of small letters, digits and single underscores, begins with a letter, and has "
            "at most 31 characters",
            id="a name",
        ),
        pytest.param(
            [
                CHAIN,
                f'[contracts.a]\naddress = "0x{"11" * 20}"\nevents = ["BC()"]\n',
                f'[contracts.a_bc]\naddress = "0x{"11" * 20}"\nevents = ["Final()"]\n',
            ],
            "contracts.a_bc: needs the table a_bc_final, as contracts.a does; give one of them another name",
            id="one table for two",
        ),
        pytest.param(
            [CHAIN, f'[contracts.coin]\naddress = "0x{"11" * 20}"\n'],
            "contracts.coin.abi: is missing; give the file of an ABI, or write the events out in contracts.coin.events",
            id="no events",
        ),
        pytest.param(
            [CHAIN, f'[contracts.coin]\naddress = "0x{"11" * 20}"\nevents = ["Sent"]\n'],
            "contracts.coin.events: 'Sent': at character 5: expected '(', but found the text ends; without an ABI an "
            "event is written out in full",
            id="a name instead of a signature",
        ),
        pytest.param(
            [CHAIN, f'[contracts.coin]\naddress = "0x{"11" * 20}"\nevents = ["Sent(uint7 a)"]\n'],
            "contracts.coin.events: 'Sent(uint7 a)': at character 6: expected a type (for an enum write uint8, for a "
            "contract address, for a struct its fields in parentheses), but found 'uint7'",
            id="no such type",
        ),
        pytest.param(
            [CHAIN, COIN + 'index = ["vlue"]'],
            "contracts.coin.index: no event has a column 'vlue'; did you mean value?",
            id="no such column",
        ),
        pytest.param(
            [CHAIN, COIN + 'index = ["text"]'],
            "contracts.coin.index: 'text' can be of any length, so an index on it could stop the chain",
            id="an index on any text",
        ),
        pytest.param(
            [CHAIN, COIN + "partition_blocks = 10"],
            "contracts.coin.partition_blocks: Input should be greater than or equal to 1000",
            id="millions of partitions",
        ),
        pytest.param(
            [CHAIN, COIN + 'verify = "some"'],
            "contracts.coin.verify: Input should be 'none', 'bloom' or 'full'",
            id="no such way to verify",
        ),
    ],
)
def test_what_does_not_agree_is_told_by_its_key(
    tmp_path: Path, parts: list[str], fault: str
) -> None:
    assert fault in faults_of(tmp_path, *parts)


@pytest.mark.parametrize(
    ("written", "fault"),
    [
        (None, "cannot be read: No such file or directory"),
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("5", 'is neither an ABI, a list of objects, nor has one as "abi"'),
        ("[5]", 'is neither an ABI, a list of objects, nor has one as "abi"'),
        ('{"abi": {}}', 'is neither an ABI, a list of objects, nor has one as "abi"'),
        (" " * (16 * 1024 * 1024 + 1), "has over 16777216 bytes; is this the right file?"),
    ],
)
def test_an_abi_that_cannot_be_read_is_a_fault(
    tmp_path: Path, written: str | None, fault: str
) -> None:
    if written is not None:
        (tmp_path / "coin.json").write_text(written)
    coin = f'[contracts.coin]\naddress = "0x{"11" * 20}"\nabi = "coin.json"\n'
    assert faults_of(tmp_path, CHAIN, coin) == [
        f"contracts.coin.abi: {tmp_path / 'coin.json'} {fault}"
    ]


@pytest.mark.parametrize(
    ("abi", "more", "begins"),
    [
        ([ABI[0]], "", "contracts.coin.abi: has no event"),
        (ABI, 'events = ["C"]', "contracts.coin.events: The contract has no event 'C'"),
        (ABI, "balances = true", "contracts.coin.balances: The ABI of contract coin"),
        (
            [{"type": "event", "name": "A", "inputs": [{"name": "a", "type": "uint7"}]}],
            "",
            "contracts.coin.abi: The ABI of contract",
        ),
    ],
)
def test_an_abi_that_does_not_fit_is_a_fault(
    tmp_path: Path, abi: object, more: str, begins: str
) -> None:
    (tmp_path / "coin.json").write_text(json.dumps(abi))
    coin = f'[contracts.coin]\naddress = "0x{"11" * 20}"\nabi = "coin.json"\n{more}\n'
    (fault,) = faults_of(tmp_path, CHAIN, coin)
    assert fault.startswith(begins)


def test_a_faulty_section_raises_no_faults_about_those_that_name_it(tmp_path: Path) -> None:
    chain = CHAIN.replace("id = 1", "id = 0")
    factory = FACTORY.replace("11" * 20, "1")
    assert [each.partition(": ")[0] for each in faults_of(tmp_path, chain, factory, child())] == [
        "chains.main.id",
        "contracts.factory.address",
    ]


def test_every_fault_of_one_contract_is_told(tmp_path: Path) -> None:
    coin = (
        COIN + 'index = ["vlue"]\nfactory = { contract = "factory", event = "X", parameter = "y" }'
    )
    told = [each.partition(": ")[0] for each in faults_of(tmp_path, CHAIN, FACTORY, coin)]
    assert told == [
        "contracts.coin.factory",
        "contracts.coin.factory.event",
        "contracts.coin.index",
    ]


@pytest.mark.parametrize("wrapped", [False, True])
def test_an_abi_stands_beside_the_file_that_names_it_with_all_its_events_or_some(
    tmp_path: Path, wrapped: bool
) -> None:
    (tmp_path / "abis").mkdir()
    content = {"abi": ABI, "bytecode": "0x"} if wrapped else ABI
    (tmp_path / "abis/coin.json").write_text(json.dumps(content))
    coin = f'[contracts.coin]\naddress = "0x{"11" * 20}"\nabi = "abis/coin.json"\n'
    whole = built(loaded(tmp_path, CHAIN, coin))["coin"]
    assert [event.name for event in whole.events] == ["A", "B"]
    some = built(loaded(tmp_path, CHAIN, coin, 'events = ["A"]\nindex = ["tokenId"]'))["coin"]
    assert [event.name for event in some.events] == ["A"]
    assert some.options.index == ("token_id",)


@pytest.mark.parametrize("parameter", ["newOne", "new_one"])
def test_a_factorys_parameter_is_named_as_in_the_abi_or_as_its_column(
    tmp_path: Path, parameter: str
) -> None:
    settings = loaded(tmp_path, CHAIN, child(CHILD.replace("newOne", parameter)), FACTORY)
    made = built(settings)
    assert list(made) == ["child", "factory"]
    assert made["child"].factory == Factory("factory", "Made(address,uint256)", "new_one")


def test_the_deposit_token_is_indexed_raw_proven_and_with_every_index(tmp_path: Path) -> None:
    chain = of_chain('single_provider = true\nverify = "bloom"')
    settings = loaded(tmp_path, chain, BRIDGE, TOKEN + "start_block = 7\n", COIN)
    token, coin = built(settings).values()
    assert (token.name, token.addresses, token.start_block) == ("token", (b"\xab" * 20,), 7)
    assert (token.options.raw, token.options.verify, token.options.index) == (True, "full", ("*",))
    assert (coin.options.verify, coin.chain_id) == ("bloom", 1)
    assert settings.quorum("main") == 1


def test_money_asks_for_two_operators_and_an_index_for_one(tmp_path: Path) -> None:
    two = CHAIN.replace("k3y", 'k3y", "https://two.example')
    assert loaded(tmp_path, two, COIN).quorum("main") == 1
    assert loaded(tmp_path, two, BRIDGE, TOKEN).quorum("main") == 2


def test_nobody_can_approve_what_has_no_name_on_the_chain(tmp_path: Path) -> None:
    approvals = """
        [bank.approvals]
        above = "100"
        needed = 1
        [bank.approvals.approvers]
        ada = "0x1111111111111111111111111111111111111111"
        """
    minting = BRIDGE.replace("[signers.minter]", '[signers.minter]\nfunctions = ["mint"]')
    plain = TOKEN + 'kind = "plain"\n'
    single = CHAIN + "single_provider = true\n"
    (fault,) = faults_of(tmp_path, single, minting, plain, approvals)
    assert fault.startswith("bank.approvals: a mint of a plain token names no operation")
    loaded(tmp_path, single, minting, plain)
    faults = faults_of(tmp_path, single, minting, TOKEN, approvals)
    assert [one.partition(",")[0] for one in faults] == [
        f"signers: none of them may call {purpose}" for purpose in ("settle", "reject", "void")
    ]


def test_any_contract_has_no_addresses(tmp_path: Path) -> None:
    made = built(loaded(tmp_path, CHAIN, COIN.replace(f"0x{'22' * 20}", "*")))
    assert made["coin"].addresses == ()


def test_a_provider_is_named_after_its_host_which_is_its_operator() -> None:
    chain = Chain.model_validate(
        {
            "id": 1,
            "rpc_urls": ["https://a.example/k3y", "http://127.0.0.1:1", "http://127.0.0.1:2"],
            "ws_urls": ["wss://a.example/k3y"],
            "providers": {
                "ours": {"http_url": "http://10.0.0.1", "max_blocks": 5},
                "paid": {"http_url": "https://b.example/k3y", "operator": "B"},
            },
        }
    )
    found = providers_of(chain)
    assert [(one.name, one.operator) for one in found] == [
        ("a.example", "a.example"),
        ("127.0.0.1", "127.0.0.1"),
        ("127.0.0.1-2", "127.0.0.1"),
        ("ours", "10.0.0.1"),
        ("paid", "B"),
    ]
    assert [one.ws_url for one in found] == ["wss://a.example/k3y", None, None, None, None]
    assert found[3].max_blocks == 5
    assert operators_of(chain) == ("a.example", "127.0.0.1", "10.0.0.1", "B")
    assert "k3y" not in repr(found)


@pytest.mark.parametrize(
    "address",
    [
        USDC,
        "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
        "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
    ],
)
def test_checksums_are_those_of_eip_55(address: str) -> None:
    assert checksummed(bytes.fromhex(address[2:])) == address
