"""``LANDBRIDGE_…`` variables as settings: ``LANDBRIDGE_BANK__API_KEY`` is ``[bank] api_key``, and
``LANDBRIDGE_CHAINS__MAINNET__RPC_URLS`` is ``[chains.mainnet] rpc_urls``. Pure.

Two underscores part section, name and key. A list is written with commas; those inside parentheses, as events
have them, part nothing.
"""

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

from pydantic import BaseModel

PREFIX: Final = "LANDBRIDGE_"
CONFIG_VARIABLE: Final = "LANDBRIDGE_CONFIG"
SEPARATOR: Final = "__"
ANY_NAME: Final = "NAME"
"""Stands in a path for the name of a chain, contract or provider."""

Tree = dict[str, Any]
Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Kind:
    """What stands at a key: a value, a list, a section, or sections by name. A section is of one of ``models``."""

    shape: Literal["value", "list", "section", "named"]
    models: tuple[type[BaseModel], ...] = ()


def kind_of(annotation: Any) -> Kind:
    """What a field's type makes of its key."""
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) in (Union, UnionType):
        options = [kind_of(one) for one in get_args(annotation) if one is not NoneType]
        if len(options) == 1:
            return options[0]
        if all(one.shape == "section" for one in options):
            return Kind("section", tuple(model for one in options for model in one.models))
        return Kind("value")
    if get_origin(annotation) is dict:
        return Kind("named", kind_of(get_args(annotation)[1]).models)
    if get_origin(annotation) is tuple:
        return Kind("list")
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return Kind("section", (annotation,))
    return Kind("value")


def keys(model: type[BaseModel], above: Path = ()) -> Iterator[tuple[Path, Kind]]:
    """Every key with a value, as the path that leads to it; ``NAME`` stands for any name."""
    for key, field in model.model_fields.items():
        kind = kind_of(field.annotation)
        path = (*above, key, *([ANY_NAME] if kind.shape == "named" else []))
        for one in kind.models:
            yield from keys(one, path)
        if not kind.models:
            yield path, kind


def variable(path: Iterable[str]) -> str:
    """The name of the variable for a key."""
    return PREFIX + SEPARATOR.join(path).upper()


def merge(tree: Tree, environment: Mapping[str, str], model: type[BaseModel]) -> list[str]:
    """Lay the environment over the file's ``tree``; answers with the faults found on the way."""
    known = dict(keys(model))
    faults = []
    for name in sorted(environment):
        if not name.startswith(PREFIX) or name == CONFIG_VARIABLE:
            continue
        path = tuple(name.removeprefix(PREFIX).lower().split(SEPARATOR))
        kind = _find(path, known)
        if kind is None:
            close = nearest(
                name.removeprefix(PREFIX), _candidates(path, known, tree), PREFIX, cutoff=0.8
            )
            faults.append(f"{name}: there is no such setting{close}")
            continue
        value: object = environment[name]
        _set(tree, path, split(environment[name]) if kind.shape == "list" else value)
    return faults


def split(text: str) -> list[str]:
    """The parts of a list between its commas; empty ones are left out."""
    parts, depth = [""], 0
    for each in text:
        depth += (each == "(") - (each == ")")
        if each == "," and depth <= 0:
            parts.append("")
        else:
            parts[-1] += each
    return [part.strip() for part in parts if part.strip()]


def nearest(name: str, known: Iterable[str], prefix: str = "", *, cutoff: float = 0.6) -> str:
    """``; did you mean …?``, or nothing if nothing known is like it."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=cutoff)
    return f"; did you mean {prefix}{close[0]}?" if close else ""


def names_at(models: Iterable[type[BaseModel]], path: Path) -> list[str]:
    """What may stand in the section at a path of sections and names; nothing if a value stands there, or nothing."""
    if not path:
        return [name for model in models for name in model.model_fields]
    found = []
    for model in models:
        field = model.model_fields.get(path[0])
        kind = Kind("value") if field is None else kind_of(field.annotation)
        if kind.shape != "named":
            found += names_at(kind.models, path[1:])
        elif len(path) > 1:
            found += names_at(kind.models, path[2:])
    return found


def _find(path: Path, known: Mapping[Path, Kind]) -> Kind | None:
    return next((kind for key, kind in known.items() if _fits(path, key)), None)


def _fits(path: Path, key: Path) -> bool:
    return len(path) == len(key) and all(
        part == wanted or (wanted == ANY_NAME and part != "")
        for part, wanted in zip(path, key, strict=True)
    )


def _candidates(path: Path, known: Mapping[Path, Kind], tree: Tree) -> list[str]:
    """The variables that one could have meant: any name is taken from the path itself, or from the file.

    What all variables begin with would make all of them look alike, so it is left out of account.
    """
    found = []
    for key in known:
        for names in _names(key, path, tree):
            filled = iter(names)
            parts = [next(filled) if part == ANY_NAME else part for part in key]
            found.append(SEPARATOR.join(parts).upper())
    return found


def _names(key: Path, path: Path, tree: Tree) -> list[Path]:
    places = [place for place, part in enumerate(key) if part == ANY_NAME]
    own = tuple((path[place] if place < len(path) else "") or ANY_NAME for place in places)
    if len(places) != 1:
        return [own]
    section = tree.get(key[0])
    in_file = [(str(name),) for name in section] if isinstance(section, dict) else []
    return [own, *in_file]


def _set(tree: Tree, path: Path, value: object) -> None:
    """A section that the file has as something else stays as it is, and is told of as a fault."""
    branch: Any = tree
    for part in path[:-1]:
        branch = branch.setdefault(part, {})
        if not isinstance(branch, dict):
            return
    branch[path[-1]] = value
