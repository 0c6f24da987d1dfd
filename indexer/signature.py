"""Events as people write them, ``Transfer(address indexed from, address indexed to, uint256 value)``,
read into an item of an ABI. Pure.

A leading ``event``, a trailing ``anonymous`` and semicolon, names and line breaks are optional. A struct
is written out, ``(address maker, uint256 amount)[] orders``, with ``tuple`` before it or not.
"""

import re
from collections.abc import Mapping
from typing import Any, Final, NoReturn, TypeAlias

from indexer.solidity import (
    ALIASES,
    MAX_NESTING,
    TypeUnknownError,
    elementary,
    shown,
    solidity_type,
)

# An ABI's item, as JSON values.
Item: TypeAlias = dict[str, Any]

MAX_CHARACTERS: Final = 10_000
TOKEN: Final = re.compile(r"[^\W\d][\w$]*|\$[\w$]*|[0-9]+|\S")
WORD: Final = re.compile(r"[^\W\d]|\$")
LENGTH: Final = re.compile(r"[1-9][0-9]{0,77}\Z")
# Words of the language, so no names: one of them in a name's place is a mistake.
KEYWORDS: Final = frozenset(
    {"event", "indexed", "anonymous", "payable", "memory", "calldata", "storage"}
)
END: Final = ""


class SignatureError(ValueError):
    """A text that is no event's signature; it says what is wrong and at which character."""


def parse(text: str) -> Item:
    """The ABI's item: type, name, inputs with their components, anonymous. Raises :class:`SignatureError`."""
    if len(text) > MAX_CHARACTERS:
        raise SignatureError(f"the signature has more than {MAX_CHARACTERS} characters")
    return _Parser(text).event()


def canonical(item: Mapping[str, object]) -> str:
    """The text whose hash is the event's topic. Raises :class:`TypeUnknownError`."""
    inputs = item.get("inputs")
    if not isinstance(inputs, list) or not all(isinstance(one, dict) for one in inputs):
        raise TypeUnknownError("it has no list of inputs")
    return f"{item.get('name')}({','.join(solidity_type(one).name for one in inputs)})"


class _Parser:
    """Reads from left to right, one token ahead."""

    def __init__(self, text: str) -> None:
        self._tokens = [(found.group(), found.start()) for found in TOKEN.finditer(text)]
        self._tokens.append((END, len(text)))
        self._place = 0

    def event(self) -> Item:
        self._skip("event")
        name = self._word("the event's name")
        inputs = self._parameters(0)
        anonymous = self._skip("anonymous")
        self._skip(";")
        if self._next != END:
            self._fail("the end")
        return {"type": "event", "name": name, "inputs": inputs, "anonymous": anonymous}

    @property
    def _next(self) -> str:
        return self._tokens[self._place][0]

    def _parameters(self, depth: int) -> list[Item]:
        """With both parentheses. Those at depth 0 are the event's own, and may be none or indexed."""
        if depth > MAX_NESTING:
            self._fail(f"tuples at most {MAX_NESTING} deep")
        if not self._skip("("):
            self._fail("'('")
        if depth == 0 and self._skip(")"):
            return []
        found = [self._parameter(depth)]
        while self._skip(","):
            found.append(self._parameter(depth))
        if not self._skip(")"):
            self._fail("',' or ')'")
        return found

    def _parameter(self, depth: int) -> Item:
        item = self._type(depth)
        if depth == 0:
            item["indexed"] = self._skip("indexed")
        item["name"] = self._word("a name") if WORD.match(self._next) else ""
        return item

    def _type(self, depth: int) -> Item:
        if self._next == "tuple":
            self._place += 1
            if self._next != "(":
                self._fail("'(' and the tuple's fields")
        if self._next == "(":
            components = self._parameters(depth + 1)
            return {"type": f"tuple{self._dimensions()}", "components": components}
        return {"type": f"{self._elementary()}{self._dimensions()}"}

    def _elementary(self) -> str:
        name = self._next
        if elementary(name) is None:
            self._fail(
                "a type (for an enum write uint8, for a contract address, for a struct its fields "
                "in parentheses)"
            )
        self._place += 1
        if name == "address":
            self._skip("payable")
        return ALIASES.get(name, name)

    def _dimensions(self) -> str:
        found = ""
        while self._skip("["):
            length = self._next if LENGTH.match(self._next) else ""
            self._place += bool(length)
            if not self._skip("]"):
                self._fail("']', or a length of at least 1 and ']'")
            found += f"[{length}]"
        if found.count("[") > MAX_NESTING:
            self._fail(f"at most {MAX_NESTING} dimensions")
        return found

    def _word(self, wanted: str) -> str:
        word = self._next
        if not WORD.match(word) or word in KEYWORDS:
            self._fail(wanted)
        self._place += 1
        return word

    def _skip(self, token: str) -> bool:
        """Step over the next token if it is this one."""
        if self._next != token:
            return False
        self._place += 1
        return True

    def _fail(self, wanted: str) -> NoReturn:
        found, start = self._tokens[self._place]
        there = shown(found) if found else "the text ends"
        raise SignatureError(f"at character {start + 1}: expected {wanted}, but found {there}")
