"""Random types and values of Solidity, for tests against eth_abi, and a reader of COPY's text that owes
nothing to the code that writes it."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

# Types and values are deep, so that making one takes a while, longer still on a busy machine.
UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

Item = dict[str, Any]
Value = Any

# What breaks quoting somewhere: in COPY's text, in an array's, in JSON.
AWKWARD = [
    "",
    "\\",
    '"',
    "\\N",
    "\\.",
    "NULL",
    "{",
    "}",
    ",",
    "\t",
    "\n",
    "\r",
    "\x7f",
    "'",
    "ä",
    "\U0001f600",
]
TEXT = st.one_of(
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=70),
    st.lists(st.sampled_from(AWKWARD), max_size=6).map("".join),
)
UNESCAPED = re.compile(r"\\x([0-9a-f]{2})|\\(.)")
ELEMENT = re.compile(r'"((?:[^"\\]|\\.)*)"|([^,"{}]+)')


def elementary_types() -> st.SearchStrategy[str]:
    bits = st.integers(1, 32).map(lambda each: each * 8)
    return st.one_of(
        st.sampled_from(["address", "bool", "string", "bytes", "function"]),
        bits.map(lambda size: f"uint{size}"),
        bits.map(lambda size: f"int{size}"),
        st.integers(1, 32).map(lambda size: f"bytes{size}"),
        st.builds("{}{}x{}".format, st.sampled_from(["fixed", "ufixed"]), bits, st.integers(1, 80)),
    )


def items(depth: int = 3) -> st.SearchStrategy[Item]:
    """ABI inputs without names: elementary, arrays of such, tuples, arrays of tuples, and deeper."""
    simple = elementary_types().map(lambda name: {"type": name})
    if depth == 0:
        return simple
    return st.one_of(simple, _arrays(depth - 1), _tuples(depth - 1))


@st.composite
def _arrays(draw: st.DrawFn, depth: int) -> Item:
    element = draw(items(depth))
    length = draw(st.sampled_from(["", "", "1", "2", "3"]))
    return {**element, "type": f"{element['type']}[{length}]"}


@st.composite
def _tuples(draw: st.DrawFn, depth: int) -> Item:
    fields = draw(st.lists(items(depth), min_size=1, max_size=3))
    named = draw(st.booleans())
    components = [
        {**field, "name": f"field{place}" if named else ""} for place, field in enumerate(fields)
    ]
    return {"type": "tuple", "components": components}


def abi_name(item: Item) -> str:
    """The type as eth_abi names it."""
    kind: str = item["type"]
    if kind.startswith("tuple"):
        return f"({','.join(map(abi_name, item['components']))}){kind[len('tuple') :]}"
    return kind


@st.composite
def cases(draw: st.DrawFn, most: int = 4) -> tuple[list[Item], list[Value]]:
    """Inputs of an event, none of them indexed, and a value for each."""
    inputs = draw(st.lists(items(), max_size=most))
    for place, item in enumerate(inputs):
        item["name"] = f"value{place}"
    return inputs, [draw(values(item)) for item in inputs]


@st.composite
def values(draw: st.DrawFn, item: Item) -> Value:
    kind: str = item["type"]
    if kind.endswith("]"):
        inner, length = kind[:-1].rsplit("[", 1)
        count = int(length) if length else draw(st.integers(0, 3))
        return [draw(values({**item, "type": inner})) for _ in range(count)]
    if kind == "tuple":
        return tuple(draw(values(component)) for component in item["components"])
    return draw(elementary_values(kind))


def elementary_values(kind: str) -> st.SearchStrategy[Value]:
    simple: dict[str, st.SearchStrategy[Value]] = {
        "address": st.binary(min_size=20, max_size=20),
        "bool": st.booleans(),
        "string": TEXT,
        "bytes": st.binary(max_size=70),
        "function": st.binary(min_size=24, max_size=24),
    }
    if kind in simple:
        return simple[kind]
    if kind.startswith("bytes"):
        size = int(kind[len("bytes") :])
        return st.binary(min_size=size, max_size=size)
    bits, _, decimals = re.sub("[a-z]+", "", kind, count=1).partition("x")
    signed = not kind.startswith("u")
    low, high = (-(2 ** (int(bits) - 1)), 2 ** (int(bits) - 1)) if signed else (0, 2 ** int(bits))
    numbers = st.one_of(st.integers(low, high - 1), st.sampled_from([low, high - 1, 0]))
    return numbers if not decimals else numbers.map(lambda each: _decimal(each, int(decimals)))


def _decimal(number: int, decimals: int) -> Decimal:
    return Decimal((int(number < 0), tuple(map(int, str(abs(number)))), -decimals))


def stored(item: Item, value: Value) -> list[Value]:
    """What the columns of an input should hold: a struct has several, an array one."""
    if item["type"] == "tuple":
        pairs = zip(item["components"], value, strict=True)
        return [one for component, inner in pairs for one in stored(component, inner)]
    base, dimensions = _split(item["type"])
    if dimensions > 1 or (dimensions and base == "tuple"):
        return [_json(item, value)]
    return [value]


def _json(item: Item, value: Value) -> Value:
    kind: str = item["type"]
    if kind.endswith("]"):
        return [_json({**item, "type": kind[: kind.rindex("[")]}, one) for one in value]
    if kind == "tuple":
        fields = [_json(*pair) for pair in zip(item["components"], value, strict=True)]
        names = [component["name"] for component in item["components"]]
        return dict(zip(names, fields, strict=True)) if all(names) else fields
    if isinstance(value, bytes):
        return f"0x{value.hex()}"
    if isinstance(value, Decimal):
        return f"{value:f}"
    return value if isinstance(value, bool | str) else str(value)


def _split(kind: str) -> tuple[str, int]:
    base = kind.partition("[")[0]
    return base, kind.count("[")


def read_row(pg_types: list[str], fragment: str) -> list[Value]:
    """The values that a fragment of COPY's text has for columns of these types."""
    assert fragment.replace("\t", "").isascii()
    assert fragment.replace("\t", "").isprintable()
    fields = fragment.split("\t") if pg_types else []
    assert pg_types or not fragment
    return [_read(*pair) for pair in zip(pg_types, map(_unescape, fields), strict=True)]


def _unescape(field: str) -> str:
    raw = UNESCAPED.sub(lambda found: chr(int(found[1], 16)) if found[1] else found[2], field)
    return raw.encode("latin-1").decode()


def _read(pg_type: str, text: str) -> Value:
    if pg_type == "jsonb":
        return json.loads(text)
    if pg_type.endswith("[]"):
        assert text.startswith("{")
        assert text.endswith("}")
        found = (quoted or bare for quoted, bare in ELEMENT.findall(text[1:-1]))
        return [_read(pg_type[:-2], re.sub(r"\\(.)", r"\1", one, flags=re.DOTALL)) for one in found]
    if pg_type == "boolean":
        return {"t": True, "f": False}[text]
    if pg_type == "bytea":
        assert text.startswith("\\x")
        return bytes.fromhex(text[2:])
    return Decimal(text) if pg_type.startswith("numeric") else text
