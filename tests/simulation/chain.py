"""The simulated chain as its nodes see it: a few living branches, what is final, and who believes what.

What any node has called final is on every living branch ever after, so no honest node contradicts another one
there; where that is broken on purpose, :meth:`Chain.betray` does it.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from indexer.anchor import NEWEST_BLOCKS
from tests.simulation.node import Faults, Machine, Node
from tests.simulation.scenario import Setting
from tests.simulation.tree import Block, Tree, common_ancestor

MAX_TIPS = 3
MAX_DEPTH = 6


class Chain:
    """``push`` is called with each head that a node comes to."""

    def __init__(self, setting: Setting, seed: int, push: Callable[[Node, Block], None]) -> None:
        self._setting = setting
        self._push = push
        self.tree = Tree(Random(f"{seed}/tree"), proven=setting.proven, huge=setting.huge)
        tip = self.tree.grow(self.tree.genesis, setting.history)
        self.tips = [tip]
        self.final = tip.at(tip.number - (setting.depth_blocks or setting.final_lag))
        self.nodes = [
            Node(
                f"node{place}",
                self.tree,
                [self._machine(tip) for _ in range(machines)],
                Random(f"{seed}/node{place}"),
                timed=setting.timed[place],
            )
            for place, machines in enumerate(setting.machines)
        ]

    def _machine(self, tip: Block) -> Machine:
        final = None if self._setting.depth_blocks else self.final
        machine = Machine(tip, final, final)
        machine.show(tip)
        return machine

    @property
    def machines(self) -> list[tuple[Node, Machine]]:
        return [(node, machine) for node in self.nodes for machine in node.machines]

    @property
    def floor(self) -> int:
        """The height that no fork reaches down to."""
        return 0 if self.final is None else self.final.number

    def mine(self, random: Random) -> str:
        """Blocks on one branch; some of its nodes see them."""
        place = random.randrange(len(self.tips))
        old = self.tips[place]
        blocks = random.choice((1, 1, 1, 1, 2, 3, 5, 12))
        tip = self.tips[place] = self.tree.grow(old, blocks)
        for node, machine in self.machines:
            if old.has(machine.tip) and random.random() < 0.8:
                self.show(node, machine, tip, random.choice((0, 0, 0, 1, 2)))
        return f"{tip} on {old}"

    def fork(self, random: Random) -> str:
        """Another branch, to which some nodes go over."""
        old = random.choice(self.tips)
        depth = random.randint(1, MAX_DEPTH)
        base = old.at(max(old.number - depth, self.floor)) or old
        lost = [tx for block in old.path[base.number + 1 :] for tx in block.txs]
        blocks = random.choice((1, 1, 2, 3, 5))
        tip = self.tree.grow(base, blocks, lost)
        if len(self.tips) == MAX_TIPS:
            self.tips.pop(random.randrange(len(self.tips)))
        self.tips.append(tip)
        for node, machine in self.machines:
            if random.random() < 0.5:
                self.show(node, machine, tip, 0)
        return f"{tip} on {base}, beside {old}"

    def switch(self, random: Random) -> str:
        """A node goes over to a branch, or to the head of its own."""
        node, machine = random.choice(self.machines)
        tip = random.choice(self.tips)
        self.show(node, machine, tip, random.choice((0, 0, 1, 3)))
        return f"{node.name} to {machine.tip}"

    def sink(self, random: Random) -> str:
        """A node goes back on its own branch, as one behind a load balancer does."""
        node, machine = random.choice(self.machines)
        self.show(node, machine, machine.tip, random.randint(1, 8))
        return f"{node.name} to {machine.tip}"

    def show(self, node: Node, machine: Machine, tip: Block, behind: int) -> None:
        """Let a machine have a head, so far behind ``tip``, but never below what it has called final."""
        least = 0 if machine.finalized is None else machine.finalized.number
        block = tip.at(max(tip.number - behind, least))
        if block is None or (machine.finalized is not None and not block.has(machine.finalized)):
            return
        if self._setting.depth_blocks is not None and not self._bury(block):
            return
        machine.show(block)
        self._push(node, block)

    def _bury(self, head: Block) -> bool:
        """Where depth makes final, a new head does: whether it may, with all nodes where they are."""
        block = head.at(head.number - (self._setting.depth_blocks or 0))
        if block is None:
            return True
        if self.final is not None and block.number <= self.final.number:
            return self.final.has(block)
        if self.final is not None and not block.has(self.final):
            return False
        tips = [machine.tip for _, machine in self.machines]
        if not all(tip.has(block) or block.has(tip) for tip in tips):
            return False
        self.final = block
        self.tips = [tip for tip in self.tips if tip.has(block)] or [head]
        self._hurry()
        return True

    def finalize(self, random: Random) -> str:
        """A block becomes final: branches that do not have it end, and their nodes leave them."""
        if self._setting.depth_blocks is not None:
            return "nothing: it is by depth here"
        main = random.choice(self.tips)
        block = main.at(main.number - random.randint(1, 8))
        if block is None or (self.final is not None and block.number <= self.final.number):
            return "nothing"
        self._make_final(main, block, random, moved=0.0)
        return f"{block}"

    def rush(self, random: Random) -> str:
        """Many blocks on one branch, most of them final."""
        old = random.choice(self.tips)
        tip = self.tree.grow(old, random.randint(20, 70))
        self.tips[self.tips.index(old)] = tip
        if self._setting.depth_blocks is None:
            final = tip.at(tip.number - random.randint(1, 8))
            assert final is not None
            self._make_final(tip, final, random, moved=0.8)
        else:
            for node, machine in self.machines:
                self.show(node, machine, tip, random.choice((0, 0, 2)))
        return f"{tip} on {old}, final is {self.final}"

    def _make_final(self, main: Block, block: Block, random: Random, *, moved: float) -> None:
        """Branches that do not have it end, and their nodes leave them; so does a share of the others."""
        self.final = block
        self.tips = [tip for tip in self.tips if tip.has(block)]
        for node, machine in self.machines:
            on_the_way = machine.tip.has(block) or block.has(machine.tip)
            if not on_the_way or random.random() < moved:
                self.show(node, machine, main, random.choice((0, 0, 2, 20)))
            self._announce(machine, random)
        self._hurry()

    def _hurry(self) -> None:
        """Where nodes are believed, nothing is promised of a machine behind an address of others that is further
        behind what is final: it comes up."""
        if self._setting.all_compared or self.final is None:
            return
        for node in self.nodes:
            for machine in node.machines if len(node.machines) > 1 else ():
                if machine.tip.number < self.final.number - NEWEST_BLOCKS:
                    machine.show(self.final)

    def announce(self, random: Random) -> str:
        """Nodes learn what is final; each at its own time."""
        for _, machine in self.machines:
            self._announce(machine, random)
        return "finality"

    def _announce(self, machine: Machine, random: Random) -> None:
        if self.final is None or self._setting.depth_blocks is not None:
            return
        block = common_ancestor(machine.tip, self.final)
        before = -1 if machine.finalized is None else machine.finalized.number
        if block.number > before and random.random() < 0.7:
            machine.finalized = block
        least = -1 if machine.finalized is None else machine.finalized.number
        safe = random.randint(max(least, 0), machine.tip.number)
        machine.safe = machine.tip.at(safe)

    def flaw(self, random: Random) -> tuple[Node, str]:
        """Something goes wrong with a node; whoever asked puts it right again."""
        node = random.choice(self.nodes)
        faults = node.faults
        kinds = [
            "away",
            "errors",
            "slow",
            "rubbish",
            "rates",
            "hides",
            "forgets",
            "batches",
            "limits",
        ]
        kind = random.choice(kinds)
        match kind:
            case "away":
                faults.away = True
            case "errors":
                faults.errors = 0.3
            case "slow":
                faults.slow = 0.1
            case "rubbish":
                faults.rubbish = 0.2
            case "rates":
                faults.rate_limits = 0.2
            case "hides":
                faults.hides_logs = True
                faults.hides_receipts = random.random() < 0.5
                faults.hides_some_logs = self._setting.all_proven
                faults.hides_of_ranges = self._setting.all_compared
            case "forgets":
                faults.forgets = True
            case "batches":
                faults.no_batches = random.random() < 0.5
                faults.loses_of_batches = True
            case _:
                faults.max_blocks = random.choice((None, 1, 3, 10))
                faults.max_logs = random.choice((None, 2, 10))
                faults.tells_range_beyond = random.random() < 0.5
        return node, kind

    def betray(self, node: Node, final: Block, random: Random) -> tuple[Block, ...]:
        """A node goes over to a branch that forks off below a final block; the blocks of that branch."""
        base = final.at(max(0, final.number - random.randint(1, 3)))
        assert base is not None
        # A node that lags goes over to it too, and far enough to be asked about.
        highest = max(node.tip.number, final.number)
        tip = self.tree.grow(base, highest - base.number + random.randint(1, 4))
        node.faults = Faults()
        for machine in node.machines:
            machine.finalized = machine.safe = base
            machine.show(tip)
        self._push(node, tip)
        return tip.path[base.number + 1 :]

    def calm(self, random: Random) -> Block:
        """All nodes are well again and of one mind; the branch that they agree on."""
        main = random.choice(self.tips)
        lag = self._setting.depth_blocks or 3
        # Without a final block, contracts that come late would wait for ever.
        least = lag + 1
        if self._setting.depth_blocks is not None:
            least = max(
                self.floor + lag, least, *(machine.tip.number for _, machine in self.machines)
            )
        main = self.tree.grow(main, max(random.randint(0, 2), least - main.number))
        self.tips = [main]
        final = main.at(main.number - lag)
        if final is not None and final.number > self.floor:
            self.final = final
        for node, machine in self.machines:
            limits = (node.faults.max_blocks, node.faults.max_logs)
            node.faults = Faults()
            node.faults.max_blocks, node.faults.max_logs = limits
            if self._setting.depth_blocks is None:
                machine.finalized = machine.safe = self.final
            machine.show(main)
            self._push(node, main)
        return main
