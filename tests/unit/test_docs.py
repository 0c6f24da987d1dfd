"""The documents are true of the code, as far as a machine can tell."""

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from pydantic import BaseModel

import indexer.errors
from bridge.calldata import load_abi
from bridge.operations import BORN, TRANSITIONS, Kind
from daemon import environment, settings
from daemon.index_status import ChainStatus, SourceStatus
from daemon.metrics import Metrics
from daemon.settings import Settings
from daemon.signer_sections import KINDS, KeystoreSigner
from daemon.status import BridgeStatus, Status
from indexer.rows import LOG_TABLE
from tests.unit.daemon.statuses import FULL, LOOPS

REPOSITORY: Final = Path(__file__).resolve().parents[2]
DOCS: Final = REPOSITORY / "docs"
ARCHITECTURE: Final = (DOCS / "architecture.md").read_text()
CONFIGURATION: Final = (DOCS / "configuration.md").read_text()
RUNBOOK: Final = (DOCS / "runbook.md").read_text()
METRICS: Final = (DOCS / "metrics.md").read_text()
HAZARDS: Final = (DOCS / "hazards.md").read_text()
CONTRACT: Final = (DOCS / "contract.md").read_text()
GAS: Final = REPOSITORY / "contracts/snapshots/DepositToken.json"
HAZARD_TESTS: Final = REPOSITORY / "tests/integration/hazards"
README: Final = (REPOSITORY / "README.md").read_text()
DECISIONS: Final = sorted((DOCS / "decisions").glob("*.md"))
PAGES: Final = [
    REPOSITORY / "README.md",
    REPOSITORY / "CHANGELOG.md",
    *sorted(DOCS.glob("*.md")),
    *DECISIONS,
]
ENVIRONMENT: Final = {
    "LANDBRIDGE_DATABASE__URL": "postgresql://landbridge_daemon:x@localhost:5432/landbridge",
    "LANDBRIDGE_BANK__API_KEY": "x",
    "LANDBRIDGE_BANK__WEBHOOK_SECRETS": "whsec_ZGVtby13ZWJob29rLXNlY3JldC0zMi1ieXRlcyEh",
    "LANDBRIDGE_SIGNERS__MINTER__PASSWORD": "x",
}
PRODUCT: Final = ("indexer", "bridge", "daemon")
WRITES: Final = re.compile(r"\b(?:INSERT INTO|UPDATE) ([a-z]+\.[a-z_]+)")
FOLLOW: Final = "follow:<chain_id>"
# What a trigger's function says that asks for the fence of its row's chain.
ASKED: Final = {
    "chain.require_chain_fence(": FOLLOW,
    "<> 'audit:' || new.chain_id": "audit:<chain_id>",
}
COPIES: Final = re.compile(r'copy_records_to_table\(\s*"(\w+)",\s*schema_name="(\w+)"')
FLAGGED: Final = re.compile(r'\("(chain\.\w+)", "\w*hash"\)')


def tables() -> set[str]:
    """Every table that the migrations and their runner create."""
    sources = [*(REPOSITORY / "migrations").glob("*.sql"), REPOSITORY / "daemon/migrations.py"]
    text = "\n".join(source.read_text() for source in sources)
    return set(re.findall(r"CREATE TABLE (?:IF NOT EXISTS )?([a-z]+\.[a-z_]+)", text))


def writers() -> dict[str, set[str]]:
    """The modules of the product that have a statement which writes a table."""
    found: dict[str, set[str]] = {}
    for package in PRODUCT:
        for module in sorted((REPOSITORY / package).rglob("*.py")):
            text = module.read_text()
            written = {*WRITES.findall(text), *FLAGGED.findall(text)}
            written |= {f"{schema}.{table}" for table, schema in COPIES.findall(text)}
            if "copy_to_table(" in text:
                written.add(f"chain.{LOG_TABLE}")
            for table in written & tables():
                found.setdefault(table, set()).add(str(module.relative_to(REPOSITORY)))
    return found


def rows(page: str) -> Iterator[list[str]]:
    """The cells of every row of every table of a page."""
    for line in page.splitlines():
        if line.startswith("| ") and not line.startswith("| ---"):
            yield [cell.strip() for cell in line.strip().strip("|").split("|")]


def documented_tables() -> dict[str, list[str]]:
    return {
        row[0].strip("`"): row
        for row in rows(ARCHITECTURE)
        if re.fullmatch(r"`[a-z]+\.[a-z_]+`", row[0])
    }


def section(page: str, heading: str) -> str:
    """What stands under a heading, up to the next one."""
    start = page.index(f"\n{heading}\n") + len(heading) + 2
    following = re.search(r"^#+ ", page[start:], re.MULTILINE)
    return page[start : start + following.start()] if following else page[start:]


def test_every_table_is_in_the_architecture() -> None:
    assert set(documented_tables()) == tables()


def test_every_table_has_the_writer_that_is_documented() -> None:
    modules = writers()
    for table, row in documented_tables().items():
        named = set(re.findall(r"`((?:indexer|bridge|daemon)/[\w/]+\.py)`", row[2]))
        if table == "bridge.operation":
            ways = section(ARCHITECTURE, "## 3. Data")
            named = {line[0].strip("`") for line in rows(ways) if line[0].startswith("`bridge/")}
        if table == "ops.schema_version":
            assert named == {"daemon/migrations.py"}
            continue
        assert named == modules.get(table, set()), table


def fences() -> dict[str, set[str]]:
    """The roles whose fence the migrations demand of a table's writers."""
    demanded: dict[str, set[str]] = {}
    trigger = r"{table}\s+'?\s*'?FOR EACH \w+ EXECUTE FUNCTION ops\.require_fence\(([^)]*)\)"
    for migration in (REPOSITORY / "migrations").glob("*.sql"):
        text = migration.read_text()
        for table, roles in re.findall(trigger.format(table=r"ON ([a-z]+\.[a-z_]+)"), text):
            demanded[table] = set(re.findall(r"\w+", roles))
        for names, body in re.findall(r"ARRAY\[([^\]]+)\] LOOP(.*?)END LOOP", text, re.DOTALL):
            for schema, roles in re.findall(trigger.format(table=r"ON (\w+)\.%I"), body):
                for name in re.findall(r"'(\w+)'", names):
                    demanded[f"{schema}.{name}"] = set(re.findall(r"\w+", roles))
            if "chain.require_some_fence()" in body:
                demanded |= {f"chain.{name}": {FOLLOW} for name in re.findall(r"'(\w+)'", names)}
        # A trigger's function may ask for the fence of its row's chain itself.
        for function, body in re.findall(
            r"CREATE FUNCTION (\S+)\(\)(.*?)END \$\$;", text, re.DOTALL
        ):
            guarded = rf"CREATE TRIGGER \w+ BEFORE \w+ ON ([a-z.]+)\s+FOR EACH ROW EXECUTE FUNCTION {function}\("
            for asked, role in ASKED.items():
                if asked in body:
                    demanded |= {table: {role} for table in re.findall(guarded, text)}
    return demanded


def test_every_fence_is_documented() -> None:
    shown = {
        table: set(re.findall(r"`([^`]+)`", row[3])) for table, row in documented_tables().items()
    }
    assert {table: roles for table, roles in shown.items() if roles} == fences()


@pytest.mark.parametrize("kind", list(Kind))
def test_the_state_tables_are_the_transition_tables(kind: Kind) -> None:
    shown = {
        row[0].strip("*"): frozenset(row[2].split(", ")) - {""}
        for row in rows(section(ARCHITECTURE, f"### {kind.capitalize()}"))
        if row[0] != "state"
    }
    table = dict(TRANSITIONS[kind])
    table.pop(BORN)
    assert shown == table


def setting_rows() -> dict[str, list[str]]:
    return {
        row[0].strip("`"): row
        for row in rows(CONFIGURATION)
        if re.fullmatch(r"`[a-z]+(\.([a-z_]+|NAME))+`", row[0])
    }


def fields(
    model: type[BaseModel] = Settings, above: tuple[str, ...] = ()
) -> Iterator[tuple[str, str, str]]:
    """Key, variable and default of every setting, as they are documented; NAME stands for any name."""
    for key, field in model.model_fields.items():
        kind = environment.kind_of(field.annotation)
        path = (*above, key, *(["NAME"] if kind.shape == "named" else []))
        for one in kind.models:
            yield from fields(one, path)
        if kind.models:
            continue
        optional = "" if field.default is None else f"`{field.default}`"
        default = "required" if field.is_required() else optional
        yield ".".join(path), environment.variable(path), default


def test_every_setting_is_documented_with_its_variable_and_default() -> None:
    documented = setting_rows()
    expected = {key: [variable, default] for key, variable, default in fields()}
    shown = {key: [row[1].strip("`"), row[2]] for key, row in documented.items()}
    assert shown == expected


def test_errors_of_the_indexer_name_settings_that_exist() -> None:
    """With its section, so that one can look it up; the chain's name is filled in where it is known."""
    told = "\n".join(
        error.__doc__ or ""
        for error in vars(indexer.errors).values()
        if isinstance(error, type) and issubclass(error, indexer.errors.IndexerError)
    )
    sections = "|".join([*Settings.model_fields, "chain", "contract"])
    named = set(re.findall(rf"\b(?:{sections})\.(?:\w+\.)*\w+", told))
    assert named, "they name some"
    assert named <= {key for key, _, _ in fields()}


def test_the_example_configurations_are_valid(tmp_path: Path) -> None:
    examples = re.findall(r"```toml\n(.*?)```", CONFIGURATION, re.DOTALL)
    file = tmp_path / "landbridge.toml"
    bridges = []
    for example in examples:
        file.write_text(example)
        loaded = settings.load(file, ENVIRONMENT if "[bank]" in example else {})
        assert loaded.chains["mainnet"].id == 1
        bridges.append(loaded.bridge is not None)
    assert bridges == [False, False, True]


def test_the_signers_in_the_documentation_are_valid(tmp_path: Path) -> None:
    """One of each kind, in place of the one in the configuration's example."""
    page = (DOCS / "custody.md").read_text()
    (bridge,) = (
        one for one in re.findall(r"```toml\n(.*?)```", CONFIGURATION, re.DOTALL) if "[bank]" in one
    )
    before, _, rest = bridge.partition("[signers.minter]")
    _, _, after = rest.partition("[sender]")
    variables = {name: value for name, value in ENVIRONMENT.items() if "SIGNERS" not in name}
    shown: set[str] = set()
    for example in re.findall(r"```toml\n(.*?)```", page, re.DOTALL):
        file = tmp_path / "landbridge.toml"
        file.write_text(f"{before}{example}[sender]{after}")
        kind = tomllib.loads(example)["signers"]["minter"]["kind"]
        secret = {"keystore": "PASSWORD", "pkcs11": "PIN", "approval": "API_KEY"}.get(kind)
        given = {} if secret is None else {f"LANDBRIDGE_SIGNERS__MINTER__{secret}": "x"}
        loaded = settings.load(file, {**variables, **given}).bridge
        assert loaded is not None
        shown.update(signer.kind for signer in loaded.signers.values())
    assert shown == set(KINDS)


def test_the_development_settings_are_valid() -> None:
    bridge = settings.load(REPOSITORY / "deploy/development.toml", ENVIRONMENT).bridge
    assert bridge is not None
    text = (REPOSITORY / "deploy/prepare_chain.py").read_text()
    assert f'CONTRACT = "0x{bridge.token.address.hex()}"'.lower() in text.lower()
    compose = (REPOSITORY / "docker-compose.yml").read_text()
    assert f"--account={bridge.bank.account_id}" in compose
    assert f"--currency={bridge.token.currency}" in compose
    assert f"--exponent={bridge.token.decimals}" in compose
    (signer,) = bridge.signers.values()
    assert isinstance(signer, KeystoreSigner)
    assert f"- --keystore={signer.keystore}" in compose


def test_every_metric_is_documented_with_its_labels_and_no_other() -> None:
    shown = {
        row[0].strip("`"): set(re.findall(r"`(\w+)`", row[1]))
        for row in rows(METRICS)
        if row[0].startswith("`landbridge_")
    }
    counted = Metrics()
    counted.count_refusal("stale")
    counted.count_callback_refusal("minter")
    counted.cache_outcomes = {"hit": 1}
    found: dict[str, set[str]] = {}
    for line in counted.render(FULL, LOOPS).decode().splitlines():
        sample = re.fullmatch(r"(landbridge_\w+?)(_created)?(?:\{(.*)\})? \S+", line)
        if sample is not None and sample[2] is None:
            found.setdefault(sample[1], set()).update(re.findall(r'(\w+)="', sample[3] or ""))
    assert shown == found


def test_containers_set_only_variables_that_exist() -> None:
    compose = (REPOSITORY / "docker-compose.yml").read_text()
    elsewhere = {
        "LANDBRIDGE_CONFIG",
        "LANDBRIDGE_DAEMON_PASSWORD",  # of the database's own container
        "LANDBRIDGE_SIMBANK_API_KEY",
        "LANDBRIDGE_SIMBANK_WEBHOOK_SECRET",
    }
    set_there = set(re.findall(r"^\s+(LANDBRIDGE_\w+):", compose, re.MULTILINE))
    assert environment.merge({}, dict.fromkeys(set_there - elsewhere, "x"), Settings) == []


def test_containers_take_every_secret_from_the_environment() -> None:
    compose = (REPOSITORY / "docker-compose.yml").read_text()
    given = (REPOSITORY / "deploy/development.env").read_text()
    names = set(re.findall(r"^(\w+)=", given, re.MULTILINE))
    assert set(re.findall(r"\$\{(\w+)", compose)) == names
    for published in re.findall(r'^\s+- "([\d.:]+)"$', compose, re.MULTILINE):
        assert published.startswith("127.0.0.1:")


def test_every_break_kind_is_in_the_runbook() -> None:
    recon = (REPOSITORY / "migrations/0008_create_recon.sql").read_text()
    listed = re.search(r"kind text NOT NULL CHECK \(kind IN \((.*?)\)\)", " ".join(recon.split()))
    assert listed is not None
    shown = {row[0].strip("`") for row in rows(section(RUNBOOK, "## Breaks")) if row[0] != "kind"}
    assert shown == set(re.findall(r"'(\w+)'", listed[1]))


def test_every_field_of_the_status_is_in_the_runbook() -> None:
    part = section(RUNBOOK, "## What `/status` says")
    shown = {
        name for row in rows(part) if row[0] != "field" for name in re.findall(r"`(\w+)`", row[0])
    }
    known = {name for model in (Status, ChainStatus, BridgeStatus) for name in model.model_fields}
    assert shown == known
    (sources,) = (row for row in rows(part) if row[0] == "`sources`")
    assert set(SourceStatus.model_fields) <= set(re.findall(r"`(\w+)`", sources[1]))


def slug(heading: str) -> str:
    """The anchor that a heading gets where Markdown is shown."""
    kept = re.sub(r"[^\w\- ]", "", heading.replace("`", "").strip().lower())
    return kept.replace(" ", "-")


def test_links_resolve() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)]+)\)", page.read_text()):
            path, _, anchor = target.partition("#")
            file = page if not path else (page.parent / path).resolve()
            assert file.exists(), f"{page.name}: {target}"
            if anchor:
                headings = re.findall(r"^#+ (.+)$", file.read_text(), re.MULTILINE)
                assert anchor in {slug(one) for one in headings}, f"{page.name}: {target}"


def test_modules_and_files_that_are_named_exist() -> None:
    named = re.compile(
        r"`((?:indexer|bridge|daemon|simbank|contracts|migrations|tests|deploy|docs)/[\w./]*)`"
    )
    for page in PAGES:
        for name in named.findall(page.read_text()):
            assert (REPOSITORY / name).exists(), f"{page.name}: {name}"


def test_functions_and_triggers_that_are_named_exist() -> None:
    sql = "\n".join(one.read_text() for one in (REPOSITORY / "migrations").glob("*.sql"))
    functions = set(re.findall(r"CREATE FUNCTION (\w+\.\w+)", sql))
    indexes = set(re.findall(r"CREATE UNIQUE INDEX (\w+)", sql))
    invariants = section(ARCHITECTURE, "## 9. Invariants, and what holds each")
    for name in re.findall(r"`((?:bridge|bank|chain|ledger|recon|ops)\.[a-z_]+)`", invariants):
        assert name in functions | tables(), name
    for name in re.findall(r"index `(\w+)`", invariants):
        assert name in indexes, name


def names_of_tests(file: Path) -> set[str]:
    return set(re.findall(r"^(?:async )?def (test_\w+)", file.read_text(), re.MULTILINE))


def test_every_hazard_names_its_tests_and_every_test_of_one_is_named() -> None:
    shown: set[str] = set()
    for row in rows(HAZARDS):
        named = re.findall(r"`([\w/]+\.py)::(\w+)`", row[2])
        assert named or row[0] == "hazard", row[0]
        for name, test in named:
            file = REPOSITORY / name if "/" in name else HAZARD_TESTS / name
            assert test in names_of_tests(file), f"{name}::{test}"
            shown.add(test)
    written = [names_of_tests(file) for file in HAZARD_TESTS.glob("test_*.py")]
    assert set().union(*written) <= shown


def written_in(folder: str) -> str:
    """The token's own sources, or those of its tests."""
    files = (REPOSITORY / "contracts" / folder).glob("*.sol")
    return "\n".join(file.read_text() for file in files)


@pytest.mark.parametrize(("kind", "heading"), [("function", "Functions"), ("event", "Events")])
def test_every_function_and_event_of_the_token_is_documented(kind: str, heading: str) -> None:
    shown = set(re.findall(r"`(\w+)\(", section(CONTRACT, f"## {heading}")))
    declared = set(re.findall(rf"^    {kind} (\w+)\(", written_in("src"), re.MULTILINE))
    own = declared & {item["name"] for item in load_abi() if item["type"] == kind}
    assert own - {"decimals"} <= shown
    assert shown <= declared | {"permit"}


def test_every_role_of_the_token_is_documented() -> None:
    part = section(CONTRACT, "## Roles and keys")
    shown = {name for row in rows(part) for name in re.findall(r"`(\w+_ROLE)`", row[0])}
    declared = set(re.findall(r"constant (\w+_ROLE) =", written_in("src")))
    assert shown == declared | {"DEFAULT_ADMIN_ROLE"}


def test_every_reason_to_pass_over_an_item_is_documented() -> None:
    part = section(CONTRACT, "## Batches")
    shown = {name for row in rows(part) for name in re.findall(r"`([A-Z]\w+)`", row[1])}
    tested = set(re.findall(r"(\w+)\.selector", written_in("test")))
    errors = {item["name"] for item in load_abi() if item["type"] == "error"}
    events = {"MintRefused", "OperationReplayed", "SettleRefused"}
    assert shown <= (errors & tested) | events


def test_the_gas_of_the_token_is_what_its_tests_measure() -> None:
    shown = {
        row[0]: row[1:] for row in rows(section(CONTRACT, "## Gas")) if row[0] != "transaction"
    }
    measured = json.loads(GAS.read_text())
    expected = {}
    for name, gas in measured.items():
        of = re.search(r" of (\d+)", name)
        items = 1 if of is None else int(of[1])
        expected[name] = [f"{int(gas):,}", f"{int(gas) // items:,}" if items > 1 else ""]
    assert shown == expected
    asked = set(re.findall(r'"DepositToken", "([^"]+)"', written_in("test")))
    assert asked <= set(measured)


def test_the_readme_is_short_and_names_the_two_commands() -> None:
    assert len(README.splitlines()) <= 120
    assert "make demo" in README
    assert "make test" in README
    assert README.index("make demo") < README.index("landbridge run")
    targets = (REPOSITORY / "Makefile").read_text()
    for target in set(re.findall(r"`?make ([a-z]+)", README)):
        assert re.search(rf"^{target}:", targets, re.MULTILINE), target


def test_the_configuration_in_the_readme_indexes_with_nothing_else(tmp_path: Path) -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)
    file = tmp_path / "landbridge.toml"
    file.write_text(example)
    loaded = settings.load(file, {})
    assert list(loaded.contracts) == ["factory", "pair"]
    assert (loaded.database, loaded.bridge) == (None, None)


def test_decisions_are_numbered_in_order_and_say_why() -> None:
    for number, page in enumerate(DECISIONS, start=1):
        text = page.read_text()
        assert page.name.startswith(f"{number:04}-")
        assert text.startswith(f"# {number}. ")
        for heading in ("## Status", "## Context", "## Choice", "## Consequences"):
            assert f"\n{heading}\n" in text, f"{page.name}: {heading}"
        assert f"decisions/{page.name}" in ARCHITECTURE


def test_the_changelog_has_this_version() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    assert f"## [{project['project']['version']}]" in (REPOSITORY / "CHANGELOG.md").read_text()
