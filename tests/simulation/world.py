"""One seed, played: a chain, its nodes, daemons that follow it, and what befalls them all."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from indexer import registry
from indexer.contract import Contract
from indexer.errors import SourcesDiffer
from indexer.follower import FollowerSettings
from indexer.retention import RetentionSettings
from tests.simulation import checks, content
from tests.simulation.chain import Chain
from tests.simulation.checks import Finding, Reader
from tests.simulation.daemon import Daemon
from tests.simulation.node import Faults, Node
from tests.simulation.pool import Mishap, Pool, What, When
from tests.simulation.replay import check_feed
from tests.simulation.scenario import DISPENSABLE, Action, Scenario
from tests.simulation.stage import Stage, fetch
from tests.simulation.tree import Block
from tests.simulation.truth import Truth

BETRAYED_S = 8.0
# A node that rations its answers may be asked for a long branch block by block.
ALARM_WITHIN_S = 120.0
# So late a header may be pushed, and a request be answered that was sent before.
LATEST_S = 60.0
SETTLED_WITHIN_S = 400.0
EXPIRE = "UPDATE ops.lease SET expires_at = clock_timestamp() - interval '1 s'"
CONSUME = """
    INSERT INTO chain.consumer AS mine (name, chain_id, seq)
    SELECT 'reader', chain_id, feed_from - 1 FROM chain.pruned
    ON CONFLICT (name, chain_id) DO UPDATE SET seq = mine.seq
        + floor(((SELECT feed_seq FROM chain.cursor) - mine.seq) * $1::float8)::bigint"""
POSITION = """
    SELECT head_hash, finalized_number, feed_seq,
        (SELECT count(*) FROM chain.source WHERE wanted AND joined_seq IS NULL) AS waiting,
        (SELECT count(*) FROM chain.source WHERE wanted AND published_at IS NULL) AS hidden
    FROM chain.cursor"""


class World:
    """``trace`` tells what has happened so far, a line each."""

    def __init__(self, scenario: Scenario, stage: Stage) -> None:
        self.scenario = scenario
        self.setting = scenario.setting
        self.stage = stage
        self.trace: list[str] = []
        self._told = ("", 0)
        self._loop = asyncio.get_running_loop()
        self.chain = Chain(self.setting, scenario.seed, self._pushed)
        self.truth = Truth()
        self.reader = Reader(stage, self.chain, self.truth)
        self._names = list(self.setting.wanted)
        self._contracts = self._chosen(self._names)
        self._daemons: dict[str, Daemon] = {}
        self._everyone: list[Daemon] = []
        self._watches: set[asyncio.Task[Any]] = set()
        self._finding: BaseException | None = None
        self._betrayed_until_s = 0.0

    async def run(self) -> None:
        """Raises :class:`Finding`, or whatever error was found."""
        try:
            await self._start("one")
            for action in self.scenario.actions:
                await asyncio.sleep(max(0.0, action.at_s - self._loop.time()))
                self._raise()
                if self.setting.pruned:
                    # What goes later is not there at the end.
                    check_feed(self.reader)
                    self._let_read(action)
                await self._act(action)
            await self._settle()
            self.reader.look(complete=True)
            check_feed(self.reader)
            checks.check_guards(self.reader)
        finally:
            for watch in self._watches:
                watch.cancel()
            await asyncio.gather(*self._watches, return_exceptions=True)
            for daemon in self._everyone:
                await daemon.stop(kill=True)

    # What happens.

    async def _act(self, action: Action) -> None:
        random = action.chance
        match action.kind:
            case "mine" | "fork" | "switch" | "sink" | "finalize" | "announce":
                self._say(action, getattr(self.chain, action.kind)(random))
            case "flaw":
                node, kind = self.chain.flaw(random)
                duration_s = random.choice((1.0, 3.0, 8.0))
                self._later(duration_s, lambda: setattr(node, "faults", Faults()))
                self._say(action, f"{node.name} {kind} for {duration_s:g} s")
            case "cut" | "look":
                self._mishap(action, action.kind, random.randrange(40), random)
            case "kill":
                self._mishap(action, action.kind, random.choice((0, 5, 20, 40)), random)
            case "push":
                node = random.choice(self.chain.nodes)
                # Of its own, or one that it may never have had.
                own = random.random() < 0.7
                block = random.choice(
                    node.tip.path[-6:] if own else list(self.chain.tree.by_hash.values())
                )
                self._say(action, f"{block} by {node.name} again")
                self._pushed(node, block)
            case "restart":
                await self._restart(action, self._contracts)
            case "absence":
                await self._restart(action, self._contracts, meanwhile=random)
            case "takeover":
                await self._take_over(action)
            case "want":
                await self._configure(action, [*self._names, *self.setting.later], random)
            case "replace" | "drop":
                await self._change(action, random)
            case "deep":
                await self._betray(action, random)

    def _let_read(self, action: Action) -> None:
        """A consumer of the feed, which holds up removal, comes some way further."""
        share = Random(f"{action.salt}/reader").choice((0.0, 0.3, 0.8, 1.0))
        self.stage.server.call(self.stage.owner.execute(CONSUME, share))

    def _mishap(self, action: Action, what: What, statements: int, random: Random) -> None:
        daemon = random.choice(list(self._daemons.values()))
        when: When = random.choice(("before", "after"))
        daemon.pool.mishaps.append(Mishap(what, statements, when))
        self._say(action, f"{daemon.name}, {when} {statements} more statements")

    async def _restart(
        self, action: Action, contracts: tuple[Contract, ...], meanwhile: Random | None = None
    ) -> None:
        """``meanwhile``: the chain goes on a long way before they are started again."""
        self._contracts = contracts
        names = list(self._daemons)
        for name in names:
            await self._daemons.pop(name).stop(kill=False)
        if meanwhile is not None:
            self._say(action, self.chain.rush(meanwhile))
        self._expire()
        for name in names:
            await self._start(name)
        self._say(action, f"{', '.join(names)} with {', '.join(one.name for one in contracts)}")

    async def _configure(self, action: Action, wanted: Sequence[str], random: Random) -> None:
        """Another configuration: the tables first, as their owner, and some time later the daemons."""
        self._names = list(wanted)
        contracts = self._contracts = self._chosen(wanted)
        self.stage.server.call(registry.register(self.stage.owner, contracts))
        await asyncio.sleep(random.choice((0.0, 0.5, 2.0)))
        await self._restart(action, contracts)

    async def _change(self, action: Action, random: Random) -> None:
        names = list(self._names)
        if action.kind == "replace":
            names[names.index("coin")] = "renamed"
        else:
            gone = random.choice([name for name in names if name in DISPENSABLE])
            self.reader.forsaken.add(gone)
            names.remove(gone)
        await self._configure(action, names, random)

    async def _take_over(self, action: Action) -> None:
        """Another daemon takes the lease from the one that holds it, which does not know and goes on."""
        if "two" not in self._daemons:
            await self._start("two")
        else:
            await asyncio.sleep(0)
        self._expire()
        self._say(action, "whoever comes first has the lease")

    async def _betray(self, action: Action, random: Random) -> None:
        """What was final is rewritten by one of the nodes for a while: nobody may follow it, and if it is the only
        one there is, an alarm is raised."""
        rows = fetch(self.stage, POSITION)
        if not rows or not rows[0]["finalized_number"]:
            self._say(action, "nothing: nothing is final yet")
            return
        final = self.chain.tree.by_hash[rows[0]["head_hash"]].at(rows[0]["finalized_number"])
        node = random.choice(self.chain.nodes)
        is_only = len(self.chain.nodes) == 1
        before = [(one.tip, one.finalized, one.safe) for one in node.machines]
        assert final is not None
        branch = self.chain.betray(node, final, random)
        where = f"to {branch[-1]}, which forks off at {branch[0].parent}, below {final}"
        self._say(action, f"{node.name} {where}")
        self._betrayed_until_s = math.inf
        commits = len(self.reader.commits)
        alarms, deadline_s = self._alarms, self._loop.time() + ALARM_WITHIN_S
        await asyncio.sleep(BETRAYED_S)
        # The clock is a virtual one, so looking now and then costs nothing.
        while is_only and self._alarms == alarms and self._loop.time() < deadline_s:  # noqa: ASYNC110
            await asyncio.sleep(1.0)
        self._betrayed_until_s = self._loop.time() + LATEST_S
        if any(commit.head in branch for commit in self.reader.commits[commits:]):
            raise Finding("a branch was followed that differs from ours below finality")
        if is_only and self._alarms == alarms:
            raise Finding(
                "nobody raised an alarm about a branch that differs from ours below finality"
            )
        for machine, (tip, finalized, safe) in zip(node.machines, before, strict=True):
            machine.finalized, machine.safe = finalized, safe
            machine.show(tip)
        self._say(action, f"{node.name} back to {node.tip}")

    @property
    def _alarms(self) -> int:
        return sum(one.alarms for one in self._everyone)

    # Daemons.

    async def _start(self, name: str) -> None:
        pool = Pool(
            self.stage.server,
            Random(f"{self.scenario.seed}/pool {len(self._everyone)}"),
            look=lambda: self.reader.look(complete=False),
            committed=self.reader.committed,
        )
        setting = self.setting
        daemon = Daemon(
            name,
            pool,
            self.chain.nodes,
            self._contracts,
            FollowerSettings(
                content.CHAIN_ID,
                chunk_blocks=setting.chunk_blocks,
                finality_depth_blocks=setting.depth_blocks,
                quorum=setting.quorum,
                poll_interval_s=1.2,
            ),
            verify_headers=setting.proven,
            with_heads=setting.with_heads,
            retention=RetentionSettings(0.0, 0.0, setting.pruned) if setting.pruned else None,
            tell=self._tell,
            found=lambda error: self._found(daemon, error),
            lapse=self._expire,
            may_alarm=lambda: self._loop.time() < self._betrayed_until_s,
        )
        self._daemons[name] = daemon
        self._everyone.append(daemon)
        await daemon.start()
        watch = asyncio.create_task(self._revive(daemon))
        self._watches.add(watch)

    async def _revive(self, daemon: Daemon) -> None:
        """A daemon that was killed is started again, as a process that knows nothing."""
        await daemon.dead.wait()
        self._tell(f"{daemon.name}: killed")
        await daemon.stop(kill=True)
        await asyncio.sleep(0.5)
        if self._daemons.get(daemon.name) is daemon:
            self._expire()
            await self._start(daemon.name)

    def _chosen(self, names: Sequence[str]) -> tuple[Contract, ...]:
        known = content.contracts()
        verify = self.setting.verify
        return tuple(
            content.verified(known[name], verify["coin" if name == "renamed" else name])
            for name in names
        )

    def _expire(self) -> None:
        self.stage.server.call(self.stage.owner.execute(EXPIRE))

    def _pushed(self, node: Node, block: Block) -> None:
        """Headers come late and sometimes twice."""
        if not self.setting.with_heads:
            return
        for _ in range(node.pick((1, 1, 1, 2))):
            self._later(node.pick((0.0, 0.05, 0.3, 1.2)), lambda: self._deliver(node, block))

    def _deliver(self, node: Node, block: Block) -> None:
        for daemon in self._daemons.values():
            if daemon.heads is not None:
                daemon.heads.connected = True
                provider = daemon.providers.all[self.chain.nodes.index(node)]
                daemon.heads.come(provider, block)

    # The end.

    async def _settle(self) -> None:
        """All nodes agree from now on; the index must come to agree with them."""
        random = Random(f"{self.scenario.seed}/calm")
        main = self.chain.calm(random)
        final = -1 if self.chain.final is None else self.chain.final.number
        self._tell(f"calm: all agree on {main}, final is {final}")
        deadline_s = self._loop.time() + SETTLED_WITHIN_S
        while not self._is_settled(main, final):
            self._raise()
            if self._loop.time() > deadline_s:
                reached = [dict(row) for row in fetch(self.stage, POSITION)]
                raise Finding(
                    f"the index has not come to {main} within {SETTLED_WITHIN_S:g} s: {reached}"
                )
            await asyncio.sleep(2.0)
        self._raise()

    def _is_settled(self, main: Block, final: int) -> bool:
        rows = fetch(self.stage, POSITION)
        if not rows:
            return False
        row = rows[0]
        reached = -1 if row["finalized_number"] is None else row["finalized_number"]
        return bool(
            row["head_hash"] == main.hash
            and reached == final
            and row["waiting"] == row["hidden"] == 0
        )

    # Saying.

    def _say(self, action: Action, what: str) -> None:
        self._told = ("", 0)
        self.trace.append(f"{action}: {what}")

    def _tell(self, what: str) -> None:
        if self._told[0] == what:
            self._told = (what, self._told[1] + 1)
            self.trace[-1] = self.trace[-1].split(" (×")[0] + f" (×{self._told[1]})"
            return
        self._told = (what, 1)
        self.trace.append(f"    {self._loop.time():6.2f} s  {what}"[:300])

    def _found(self, daemon: Daemon, error: BaseException) -> None:
        if isinstance(error, SourcesDiffer) and daemon.contracts is not self._contracts:
            # It has not been restarted with the new configuration yet.
            return
        self._finding = self._finding or error

    def _raise(self) -> None:
        finding = self._finding or self.reader.finding
        if finding is not None:
            raise finding

    def _later(self, after_s: float, act: Callable[[], None]) -> None:
        self._loop.call_later(after_s, act)
