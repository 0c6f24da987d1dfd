"""The documents are true of the code, as far as a machine can tell."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from pydantic import BaseModel

from bridge.operations import BORN, TRANSITIONS, Kind
from daemon import settings
from daemon.settings import Settings
from daemon.status import Status

REPOSITORY: Final = Path(__file__).resolve().parents[2]
DOCS: Final = REPOSITORY / "docs"
ARCHITECTURE: Final = (DOCS / "architecture.md").read_text()
CONFIGURATION: Final = (DOCS / "configuration.md").read_text()
RUNBOOK: Final = (DOCS / "runbook.md").read_text()
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
    "LANDBRIDGE_CUSTODY__PASSWORD": "x",
}
PRODUCT: Final = ("indexer", "bridge", "daemon")
WRITES: Final = re.compile(r"\b(?:INSERT INTO|UPDATE) ([a-z]+\.[a-z_]+)")
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
    return demanded


def test_every_fence_is_documented() -> None:
    shown = {
        table: set(re.findall(r"`(\w+)`", row[3])) for table, row in documented_tables().items()
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
        if re.fullmatch(r"`[a-z]+\.[a-z_]+`", row[0])
    }


def fields() -> Iterator[tuple[str, str, str]]:
    """Key, variable and default of every setting, as they are documented."""
    for name, field in Settings.model_fields.items():
        model = field.annotation
        assert isinstance(model, type)
        assert issubclass(model, BaseModel)
        for key, setting in model.model_fields.items():
            variable = f"{settings.ENVIRONMENT_PREFIX}{name.upper()}__{key.upper()}"
            optional = "" if setting.default is None else f"`{setting.default}`"
            yield f"{name}.{key}", variable, "required" if setting.is_required() else optional


def test_every_setting_is_documented_with_its_variable_and_default() -> None:
    documented = setting_rows()
    expected = {key: [variable, default] for key, variable, default in fields()}
    shown = {key: [row[1].strip("`"), row[2]] for key, row in documented.items()}
    assert shown == expected


def test_the_example_configuration_is_valid(tmp_path: Path) -> None:
    example = re.search(r"```toml\n(.*?)```", CONFIGURATION, re.DOTALL)
    assert example is not None
    file = tmp_path / "landbridge.toml"
    file.write_text(example[1])
    assert settings.load(file, ENVIRONMENT).chain.id == 1


def test_the_development_settings_are_valid() -> None:
    loaded = settings.load(REPOSITORY / "deploy/development.toml", ENVIRONMENT)
    text = (REPOSITORY / "deploy/prepare_chain.py").read_text()
    assert f'CONTRACT = "0x{loaded.token.address.hex()}"'.lower() in text.lower()
    compose = (REPOSITORY / "docker-compose.yml").read_text()
    assert f"--account={loaded.bank.account_id}" in compose
    assert f"--currency={loaded.token.currency}" in compose
    assert f"--exponent={loaded.token.decimals}" in compose
    assert f"- --keystore={loaded.custody.keystore}" in compose


def test_containers_set_only_variables_that_exist() -> None:
    compose = (REPOSITORY / "docker-compose.yml").read_text()
    elsewhere = {
        "LANDBRIDGE_CONFIG",
        "LANDBRIDGE_DAEMON_PASSWORD",  # of the database's own container
        "LANDBRIDGE_SIMBANK_API_KEY",
        "LANDBRIDGE_SIMBANK_WEBHOOK_SECRET",
    }
    set_there = set(re.findall(r"^\s+(LANDBRIDGE_\w+):", compose, re.MULTILINE))
    assert set_there <= {variable for _, variable, _ in fields()} | elsewhere


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
    assert shown == set(Status.model_fields)


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


def test_the_readme_is_one_screen_and_names_the_two_commands() -> None:
    assert len(README.splitlines()) <= 60
    assert "make demo" in README
    assert "make test" in README
    targets = (REPOSITORY / "Makefile").read_text()
    for target in set(re.findall(r"`?make ([a-z]+)", README)):
        assert re.search(rf"^{target}:", targets, re.MULTILINE), target


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
