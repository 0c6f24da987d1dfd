"""Settings: one TOML file plus ``LANDBRIDGE_…`` environment variables, which win. All faults are told at once.

A name that does not exist is refused, in the file and in the environment alike.
"""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import Field, ValidationError

from daemon import agreement, contracts, environment
from daemon.environment import CONFIG_VARIABLE, Tree
from daemon.errors import SettingsError
from daemon.sections import (
    Api,
    Bank,
    Chain,
    Contract,
    Daemon,
    Database,
    Redis,
    Section,
    Sender,
    Token,
)
from daemon.setting_types import Name
from daemon.signer_sections import KINDS, Signer

MAX_FILE_BYTES: Final = 1024 * 1024
BRIDGE: Final = ("token", "bank", "signers")
NAMED: Final = ("chains", "contracts", "signers")
"""What there are sections of by name."""

__all__ = ["CONFIG_VARIABLE", "Bridge", "Settings", "SettingsError", "load"]


@dataclass(frozen=True, slots=True)
class Bridge:
    """What the bridge is set up with. ``chain_name`` names the token's chain."""

    chain_name: str
    chain: Chain
    token: Token
    bank: Bank
    signers: Mapping[str, Signer]
    sender: Sender


class Settings(Section):
    """Everything that an operator decides. Without ``database``, an embedded one is used."""

    database: Database | None = None
    redis: Redis | None = None
    chains: dict[Name, Chain] = Field(default_factory=dict)
    contracts: dict[Name, Contract] = Field(default_factory=dict)
    token: Token | None = None
    bank: Bank | None = None
    signers: dict[Name, Signer] = Field(default_factory=dict)
    sender: Sender = Sender()
    api: Api = Api()
    daemon: Daemon = Daemon()

    @property
    def bridge(self) -> Bridge | None:
        """None where only an index is wanted."""
        if self.token is None or self.bank is None or not self.signers:
            return None
        name = agreement.chain_name(self.token.chain, self.chains)
        if name is None:
            raise ValueError("token.chain: names no chain")
        return Bridge(name, self.chains[name], self.token, self.bank, self.signers, self.sender)

    def quorum(self, chain_name: str) -> int:
        """How many operators must agree on what is final on a chain."""
        bridge = self.bridge
        money = bridge is not None and bridge.chain_name == chain_name
        return agreement.quorum(self.chains[chain_name], money=money)


def load(path: Path | None, variables: Mapping[str, str] | None = None) -> Settings:
    """Read the file and the environment; raises :class:`SettingsError` with every fault at once."""
    tree, unreadable = _read_file(path)
    faults = unreadable + environment.merge(
        tree, os.environ if variables is None else variables, Settings
    )
    _anchor(tree, Path() if path is None else path.parent)
    if not unreadable:
        _complete(tree, faults)
    settings, found, faulty = _validated(tree)
    if unreadable:
        # What the file would have said is not missing, and what it would have named is not unknown.
        raise SettingsError(faults + [_fault(each) for each in found if each["type"] != "missing"])
    faults += [_fault(each) for each in found]
    if settings.redis is not None:
        faults += _redis_faults(settings.redis, embedded=settings.database is None)
    faults += agreement.faults(settings.chains, settings.contracts, settings.token, faulty)
    faults += agreement.signer_faults(settings.signers, settings.token)
    faults += agreement.approval_faults(settings.token, settings.bank)
    faults += contracts.build(settings.chains, settings.contracts, settings.token, faulty)[1]
    if faults:
        raise SettingsError(faults)
    return settings


def _read_file(path: Path | None) -> tuple[Tree, list[str]]:
    if path is None:
        return {}, []
    try:
        with path.open("rb") as file:
            text = file.read(MAX_FILE_BYTES + 1)
        if len(text) > MAX_FILE_BYTES:
            return {}, [f"{path}: over {MAX_FILE_BYTES} bytes; is this the right file?"]
        return tomllib.loads(text.decode()), []
    except OSError as error:
        return {}, [f"{path}: cannot be read: {error.strerror}"]
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        return {}, [f"{path}: not a TOML file: {error}"]
    except RecursionError:
        return {}, [f"{path}: not a TOML file: it is nested too deeply"]


def _anchor(tree: Tree, folder: Path) -> None:
    """A path to an ABI counts from the file that names it."""
    sections = tree.get("contracts")
    for section in sections.values() if isinstance(sections, dict) else ():
        if isinstance(section, dict) and isinstance(section.get("abi"), str):
            section["abi"] = folder / section["abi"]


def _complete(tree: Tree, faults: list[str]) -> None:
    """What a part of the bridge is there for needs the rest, whose keys are then missing each by its name."""
    if not any(section in tree for section in BRIDGE):
        return
    absent = [section for section in BRIDGE if section not in tree]
    if absent:
        faults.append(
            f"{absent[0]}: is missing; the bridge needs [token], [bank] and [signers.NAME], and a daemon that "
            "only indexes has none of them"
        )
    for section in (*absent, "database"):
        tree.setdefault(section, {})


def _validated(tree: Tree) -> tuple[Settings, list[Any], set[tuple[str, ...]]]:
    """The settings without the sections that have faults, the faults, and where those sections are."""
    try:
        return Settings.model_validate(tree), [], set()
    except ValidationError as error:
        found = error.errors(include_url=False)
    faulty = {_section_of(each["loc"]) for each in found}
    kept = {
        name: {key: value for key, value in section.items() if (name, key) not in faulty}
        if name in NAMED and isinstance(section, dict)
        else section
        for name, section in tree.items()
        if (name,) not in faulty
    }
    return Settings.model_validate(kept), list(found), faulty


def _section_of(location: tuple[int | str, ...]) -> tuple[str, ...]:
    depth = 2 if location[0] in NAMED else 1
    return tuple(str(part) for part in location[:depth])


def _redis_faults(redis: Redis, *, embedded: bool) -> list[str]:
    """Beside an embedded database there is an embedded Valkey; beside another one there is none."""
    faults = []
    if redis.url is None and redis.enabled and not embedded:
        faults.append(
            f"redis.url: is missing; set it in the file or as {environment.variable(('redis', 'url'))}, or say "
            "redis.enabled = false"
        )
    if redis.max_unread_entries < redis.max_entries:
        faults.append(
            f"redis.max_unread_entries: is less than redis.max_entries, which is {redis.max_entries}; entries that "
            "nobody waits for are not kept longer than the others"
        )
    return faults


def _fault(error: Any) -> str:
    location = tuple(str(part) for part in error["loc"] if part != "[key]")
    path, kind = _without_kind(location)
    key = ".".join(path)
    if error["type"] == "missing":
        return f"{key}: is missing; set it in the file or as {environment.variable(path)}"
    if error["type"] in ("union_tag_not_found", "union_tag_invalid"):
        what = "is missing" if error["type"] == "union_tag_not_found" else "is none that there is"
        return f"{key}.kind: {what}; it is one of {', '.join(KINDS)}"
    if error["type"] == "extra_forbidden" and kind is not None:
        near = environment.nearest(path[-1], KINDS[kind].model_fields, ".".join(path[:-1]) + ".")
        return f'{key}: there is no such setting of kind = "{kind}"{near}'
    if error["type"] == "extra_forbidden":
        return f"{key}: there is no such setting{_nearest_key(path)}"
    return f"{key}: {error['msg'].removeprefix('Value error, ')}"


def _without_kind(location: tuple[str, ...]) -> tuple[tuple[str, ...], str | None]:
    """A key of a signer, whose place has the signer's kind in it, without that, and the kind."""
    if location[0] == "signers" and len(location) > 2 and location[2] in KINDS:
        return location[:2] + location[3:], location[2]
    return location, None


def _nearest_key(path: tuple[str, ...]) -> str:
    prefix = "".join(f"{part}." for part in path[:-1])
    return environment.nearest(path[-1], environment.names_at((Settings,), path[:-1]), prefix)
