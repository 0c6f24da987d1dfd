"""SQL names for what an ABI names. Pure; the same ABI gives the same names, whatever its order.

Nothing is refused: a name that is too long, that is taken, or that two would need gets a part of a hash
of what it stands for as its end. Tables take it from the event's signature, so that the end of
``token_transfer_ddf252ad`` is the beginning of the event's topic.
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from indexer.keccak import keccak

MAX_COLUMN_BYTES: Final = 63
# Leaves room for a version's suffix and, behind it, a view's.
MAX_TABLE_BYTES: Final = MAX_COLUMN_BYTES - len("__99_history")
MAX_CONTRACT_BYTES: Final = 32
HASH_DIGITS: Final = 8

FINAL_SUFFIX: Final = "_final"
HISTORY_SUFFIX: Final = "_history"
VIEW_SUFFIXES: Final = (FINAL_SUFFIX, HISTORY_SUFFIX)

# Columns that every event table or its views have by themselves, and those that Postgres keeps.
RESERVED: Final = frozenset(
    {
        *("chain_id", "block_number", "block_hash", "block_timestamp_s", "log_index", "tx_hash"),
        *("tx_index", "address", "ordinal", "canonical", "finality"),
        *("tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"),
    }
)
# No two underscores in a row: they are left to the version's suffix, as in `token_transfer__2`.
CONTRACT: Final = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*\Z")
WORD_START: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
UNUSABLE: Final = re.compile(r"[^a-z0-9]+")


def snake_case(name: str) -> str:
    """``opId`` is ``op_id``, ``EIP712DomainChanged`` is ``eip712_domain_changed``, ``_to`` is ``to``.

    Only ``a-z``, ``0-9`` and single underscores are left, which may be nothing at all.
    """
    return UNUSABLE.sub("_", WORD_START.sub("_", name).lower()).strip("_")


def is_contract_name(name: str) -> bool:
    """Whether tables can begin with it."""
    return bool(CONTRACT.match(name)) and len(name) <= MAX_CONTRACT_BYTES


def tables(contract: str, events: Sequence[tuple[str, str]]) -> list[str]:
    """Names of at most 51 bytes for a contract's events, each given as its name and its identity.

    The identities must differ. With or without a view's suffix, no name is another's.
    """

    def is_taken(name: str, names: Mapping[str, int]) -> bool:
        return any(
            name.endswith(suffix) and name.removesuffix(suffix) in names for suffix in VIEW_SUFFIXES
        )

    labels = [f"{contract}_{snake_case(name) or 'event'}" for name, _ in events]
    return _distinct(labels, [identity for _, identity in events], MAX_TABLE_BYTES, is_taken)


def columns(paths: Sequence[tuple[str, ...]]) -> list[str]:
    """Names of at most 63 bytes for an event's columns, each given as the names that lead to it: the
    parameter's and, inside tuples, the fields'."""
    labels = ["_".join(filter(None, map(snake_case, path))) or "arg" for path in paths]
    labels = [f"{label}_" if label in RESERVED else label for label in labels]
    # Two unnamed parameters can have one path, but not one place.
    identities = [f"{place} {'.'.join(path)}" for place, path in enumerate(paths)]
    return _distinct(labels, identities, MAX_COLUMN_BYTES, lambda _name, _names: False)


def _distinct(
    labels: Sequence[str],
    identities: Sequence[str],
    max_bytes: int,
    is_taken: Callable[[str, Mapping[str, int]], bool],
) -> list[str]:
    """The labels, those that cannot stand with a hash of their identity. All of a clash get one: which
    of them came first does not matter."""
    if len(set(identities)) < len(identities):
        raise ValueError("two of the identities are the same")
    hashes = [keccak(identity.encode()).hex() for identity in identities]
    hashed = {place for place, label in enumerate(labels) if len(label) > max_bytes}
    digits = HASH_DIGITS
    while True:
        names = [
            _hashed(label, hashes[place][:digits], max_bytes) if place in hashed else label
            for place, label in enumerate(labels)
        ]
        counts = Counter(names)
        clashing = {
            place for place, name in enumerate(names) if counts[name] > 1 or is_taken(name, counts)
        }
        if not clashing:
            return names
        if clashing <= hashed:
            digits += 1
        hashed |= clashing


def _hashed(label: str, digest: str, max_bytes: int) -> str:
    return f"{label[: max_bytes - 1 - len(digest)].rstrip('_')}_{digest}"
