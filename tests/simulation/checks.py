"""What must hold of the database, at any moment and at the end."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from tests.simulation.chain import Chain
from tests.simulation.content import VIEWS, shown
from tests.simulation.stage import Stage, fetch
from tests.simulation.tree import Block
from tests.simulation.truth import RAW, STARTS, Row, Truth

SHOWN: Final = ", ".join(f'(SELECT json_agg(t) FROM v1."{view}" t) AS "{view}"' for view in VIEWS)
# One statement: whoever reads so sees one moment.
MOMENT: Final = f"""
    SELECT (SELECT to_json(c) FROM chain.cursor c) AS cursor,
        (SELECT json_agg(s ORDER BY s.source_id) FROM (
            SELECT source_id, name, version, joined_seq, retired_seq, published_at IS NOT NULL AS published,
                start_block FROM chain.source) s) AS sources,
        (SELECT json_agg(json_build_array(s.name || ' ' || s.version, l.block_number, l.block_hash, l.log_index,
                l.tx_hash, l.tx_index, l.ordinal, l.address, array_to_string(l.topics, '|'), l.data,
                (l.decode_error IS NULL)::int))
            FROM chain.log l JOIN chain.source s USING (source_id)
            WHERE l.canonical AND s.joined_seq IS NOT NULL AND s.retired_seq IS NULL) AS raw,
        {SHOWN}"""
COMMITTED: Final = """
    SELECT feed_seq, head_hash, finalized_number, finalized_hash,
        ARRAY(SELECT source_id FROM chain.source WHERE joined_seq IS NOT NULL AND retired_seq IS NULL) AS joined
    FROM chain.cursor"""
MAX_SHOWN: Final = 4


class Finding(AssertionError):
    """The product did what it must not, or did not what it must."""


@dataclass(frozen=True, slots=True)
class Commit:
    """What was believed after a transaction. ``joined``: the sources for which the feed's rows speak."""

    seq: int
    head: Block | None
    joined: frozenset[int]


class Reader:
    """Reads what others see, and holds it against the truth. ``forsaken`` are contracts that nobody wants any
    more: nobody says what their views must show."""

    def __init__(self, stage: Stage, chain: Chain, truth: Truth) -> None:
        self.stage = stage
        self.chain = chain
        self.truth = truth
        self.commits: list[Commit] = []
        self.forsaken: set[str] = set()
        self.finding: Finding | None = None
        self.looks = 0

    def look(self, *, complete: bool) -> None:
        """Hold the views against the branch of the cursor's head; ``complete``: now is the end, so raise."""
        self.looks += 1
        try:
            self._look(complete=complete)
        except Finding as finding:
            self.finding = self.finding or finding
            if complete:
                raise

    def committed(self) -> None:
        """Take note of what a transaction has left."""
        rows = fetch(self.stage, COMMITTED)
        if not rows:
            return
        row = rows[0]
        head = self._block(row["head_hash"])
        self.commits.append(Commit(row["feed_seq"], head, frozenset(row["joined"])))
        final = self._block(row["finalized_hash"])
        if final is not None and not self._is_final(final):
            finding = Finding(
                f"block {final} was made final, where {self.chain.final} is the final one"
            )
            self.finding = self.finding or finding

    def _is_final(self, block: Block) -> bool:
        return self.chain.final is not None and self.chain.final.has(block)

    def _look(self, *, complete: bool) -> None:
        [record] = fetch(self.stage, MOMENT)
        moment = {key: json.loads(value) for key, value in record.items() if value is not None}
        cursor = moment.get("cursor")
        if cursor is None:
            return
        head = (
            None
            if cursor["head_hash"] is None
            else self._block(bytes.fromhex(cursor["head_hash"][2:]))
        )
        sources = {(one["name"], one["version"]): one for one in moment["sources"]}
        for view, name in VIEWS.items():
            shows = self._shown_version(sources, name)
            if name in self.forsaken or shows is None:
                continue
            wanted = list(self.truth.rows(head, view)) if shows["joined_seq"] is not None else []
            final, safe = cursor["finalized_number"], cursor["safe_number"]
            expected = [(*row, _finality(row[1], final, safe)) for row in wanted]
            found = [tuple(row.values()) for row in moment.get(view, ())]
            _compare(f"v1.{view}", expected, found, head)
        self._compare_raw(sources, moment.get("raw", ()), head)
        if complete:
            self._check_balances(sources, head)

    def _shown_version(self, sources: dict[Any, Any], name: str) -> dict[str, Any] | None:
        """The version that a contract's views show; None while one has ended and its heir is not shown yet."""
        second = sources.get((name, 2))
        if second is not None and second["published"]:
            return dict(second)
        first = dict(sources[name, 1])
        return None if first["retired_seq"] is not None else first

    def _compare_raw(
        self, sources: dict[Any, Any], found: Iterable[list[Any]], head: Block | None
    ) -> None:
        expected: list[Row] = []
        for (name, version), source in sources.items():
            if source["joined_seq"] is not None and source["retired_seq"] is None:
                rows = self.truth.rows(head, f"{RAW} {name}")
                expected += [(f"{name} {version}", *row) for row in rows]
        _compare("chain.log", expected, [tuple(row) for row in found], head)

    def _check_balances(self, sources: dict[Any, Any], head: Block | None) -> None:
        for name, _address in (("coin", "c"), ("gold", "g")):
            shows = self._shown_version(sources, name)
            if (
                head is None
                or name in self.forsaken
                or shows is None
                or shows["joined_seq"] is None
            ):
                continue
            for block in head.path[:: max(1, head.number // 3)]:
                self._check_balances_at(
                    name,
                    block,
                    f'v1."{name}_balance_at"({block.number})',
                    f'v1."{name}_supply_at"({block.number})',
                )
            self._check_balances_at(name, head, f'v1."{name}_balance"', f'v1."{name}_supply"')

    def _check_balances_at(self, name: str, block: Block, balances: str, supply: str) -> None:
        token = {"coin": b"c", "gold": b"g"}[name] * 20
        state = self.truth.of(block)
        mine = {who: balance for (of, who), balance in state.balances.items() if of == token}
        expected: list[Row] = [(shown(who), balance) for who, balance in mine.items() if any(who)]
        rows = fetch(self.stage, f"SELECT holder, balance FROM {balances}")
        _compare(balances, expected, [(shown(row[0]), int(row[1])) for row in rows], block)
        rows = fetch(self.stage, f"SELECT supply FROM {supply}")
        minted: list[Row] = [(-balance,) for who, balance in mine.items() if not any(who)]
        _compare(supply, minted, [(int(row[0]),) for row in rows], block)

    def _block(self, block_hash: bytes | None) -> Block | None:
        return None if block_hash is None else self.chain.tree.by_hash[block_hash]


def check_guards(reader: Reader) -> None:
    """Blocks, coverage and reorgs at the end."""
    _check_blocks(reader)
    _check_coverage(reader)
    _check_reorgs(reader)


def _check_blocks(reader: Reader) -> None:
    rows = fetch(
        reader.stage, "SELECT number, hash, parent_hash, timestamp_s, canonical FROM chain.block"
    )
    [cursor] = fetch(reader.stage, "SELECT * FROM chain.cursor")
    head = None if cursor["head_hash"] is None else reader.chain.tree.by_hash[cursor["head_hash"]]
    for row in rows:
        block = reader.chain.tree.by_hash.get(row["hash"])
        if block is None or (block.number, block.timestamp_s) != (
            row["number"],
            row["timestamp_s"],
        ):
            raise Finding(f"block {row['number']} is stored and not so on any chain")
        if row["canonical"] is not (head is not None and head.has(block)):
            raise Finding(f"block {block} has canonical {row['canonical']}, the head is {head}")


def _check_coverage(reader: Reader) -> None:
    rows = fetch(
        reader.stage,
        """SELECT s.name, s.start_block, s.joined_seq, c.from_block, c.to_block FROM chain.coverage c
           JOIN chain.source s USING (source_id) ORDER BY s.source_id, c.from_block""",
    )
    following: dict[str, int] = {}
    for row in rows:
        expected = following.get(row["name"] + str(row["joined_seq"]), row["start_block"])
        if row["from_block"] != expected:
            raise Finding(
                f"coverage of {row['name']} goes on at {row['from_block']}, not {expected}"
            )
        following[row["name"] + str(row["joined_seq"])] = row["to_block"] + 1


def _check_reorgs(reader: Reader) -> None:
    by_hash = reader.chain.tree.by_hash
    retracted = {
        row["seq"]: row["block_hash"]
        for row in fetch(
            reader.stage, "SELECT seq, block_hash FROM chain.feed WHERE op = 'retract'"
        )
    }
    told = 0
    [[first]] = fetch(reader.stage, "SELECT feed_from FROM chain.pruned")
    for row in fetch(reader.stage, "SELECT * FROM chain.reorg ORDER BY seq"):
        if row["seq"] < first:
            # Some of its retractions, or all, were removed.
            told += len(retracted.keys() & set(range(row["seq"], row["seq"] + row["depth_blocks"])))
            continue
        old, new = by_hash[row["old_head_hash"]], by_hash[row["new_head_hash"]]
        block, seq = old, row["seq"]
        for _ in range(row["depth_blocks"]):
            if retracted.get(seq) != block.hash:
                raise Finding(
                    f"reorg at seq {row['seq']}: its retraction of {block} is not in the feed"
                )
            seq, told = seq + 1, told + 1
            if block.parent is None:
                raise Finding(f"reorg at seq {row['seq']} goes below genesis")
            block = block.parent
        if row["ancestor_hash"] is not None and (
            row["ancestor_hash"] != block.hash or not new.has(block)
        ):
            raise Finding(f"reorg at seq {row['seq']}: {block} is no ancestor of {new}")
    if told != len(retracted):
        raise Finding(f"{len(retracted)} blocks are retracted in the feed, {told} by reorgs")


def _finality(number: object, final: int | None, safe: int | None) -> str:
    assert isinstance(number, int)
    if final is not None and number <= final:
        return "final"
    return "safe" if safe is not None and number <= safe else "pending"


def _compare(where: str, expected: Iterable[Row], found: Iterable[Row], head: Block | None) -> None:
    wanted, there = list(expected), list(found)
    ours, theirs = set(wanted), set(there)
    if ours == theirs and len(there) == len(theirs):
        return
    lacking = sorted(ours - theirs, key=repr)[:MAX_SHOWN]
    extra = sorted(theirs - ours, key=repr)[:MAX_SHOWN]
    raise Finding(
        f"{where} at {head}: {len(wanted)} rows expected, {len(there)} found\n"
        + "".join(f"      lacking {row}\n" for row in lacking)
        + "".join(f"      extra   {row}\n" for row in extra)
    )


__all__ = ["STARTS", "Commit", "Finding", "Reader", "check_guards"]
