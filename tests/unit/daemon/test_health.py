from typing import Any

import pytest

from daemon.health import (
    ChainFacts,
    ChainState,
    DatabaseFacts,
    Facts,
    Lease,
    Limits,
    LoopFacts,
    State,
    judge_chain,
    judge_follower,
    judge_liveness,
    judge_readiness,
)

US, THEM = "here:1", "elsewhere:7"
LIMITS = Limits(lag_blocks=20, head_age_s={"main": 15, "side": 60})


def loop(
    role: str = "operate",
    *,
    name: str | None = None,
    running: bool = True,
    age_s: float | None = 0.1,
    error: str | None = None,
    needed: bool = True,
) -> LoopFacts:
    return LoopFacts(name or role, role, running, age_s, error, restarts=0, needed=needed)


def follower(name: str = "main", **more: Any) -> LoopFacts:
    return loop(f"follow:{name}", name=f"follower:{name}", **more)


def chain(name: str = "main", lag_blocks: int | None = 0, backfilling: int = 0) -> ChainFacts:
    return ChainFacts(name, f"follow:{name}", lag_blocks, backfilling)


def database(*chains: ChainFacts, **holders: str) -> DatabaseFacts:
    return DatabaseFacts(None, [Lease(role, who) for role, who in holders.items()], chains)


GOOD = database(chain())


@pytest.mark.parametrize(
    ("loops", "found", "state", "reasons"),
    [
        pytest.param([], GOOD, State.READY, [], id="nothing amiss"),
        pytest.param([loop()], GOOD, State.READY, [], id="its loop runs here"),
        pytest.param(
            [loop(age_s=None)], GOOD, State.READY, [], id="a first long step is under way"
        ),
        pytest.param([loop()], None, State.NOT_READY, ["database.url"], id="database away"),
        pytest.param(
            [loop()],
            DatabaseFacts("Run `landbridge migrate`.", (), ()),
            State.NOT_READY,
            ["landbridge migrate"],
            id="schema behind",
        ),
        pytest.param(
            [loop(running=False)],
            database(chain(), operate=THEM),
            State.READY,
            [],
            id="another daemon holds the lease",
        ),
        pytest.param(
            [loop(running=False, error="BankAccessRefused: no")],
            database(chain(), operate=US),
            State.NOT_READY,
            ["its lease is ours: BankAccessRefused: no"],
            id="our own loop fails",
        ),
        pytest.param(
            [loop(running=False), loop("submit", running=False)],
            database(chain()),
            State.NOT_READY,
            ["role operate) does not run, and nobody", "role submit) does not run, and nobody"],
            id="every loop that nobody runs is named",
        ),
        pytest.param(
            [loop("relay:1", running=False, error="RedisUnavailable: away", needed=False)],
            GOOD,
            State.READY,
            [],
            id="a loop that is not needed fails",
        ),
        pytest.param(
            [follower(age_s=None)],
            GOOD,
            State.NOT_READY,
            ["chain main has not been read"],
            id="not read",
        ),
        pytest.param([follower(age_s=15)], GOOD, State.READY, [], id="head just fresh"),
        pytest.param(
            [follower(age_s=16)], GOOD, State.NOT_READY, ["16 s ago; 15 s"], id="head stale"
        ),
        pytest.param(
            [loop("follow:main", name="backfill:main", age_s=999)],
            GOOD,
            State.READY,
            [],
            id="a long step of the backfill",
        ),
        pytest.param(
            [follower("side", age_s=59)],
            database(chain("side")),
            State.READY,
            [],
            id="each chain has a limit of its own",
        ),
        pytest.param(
            [follower("main"), follower("side", running=False, error="NoProvider: none")],
            database(chain(), chain("side"), **{"follow:side": US}),
            State.NOT_READY,
            ["follower:side (role follow:side) does not run, and its lease is ours: NoProvider"],
            id="one of two chains fails",
        ),
        pytest.param(
            [], database(chain(lag_blocks=20)), State.READY, [], id="at the lag that is allowed"
        ),
        pytest.param(
            [],
            database(chain(lag_blocks=21), chain("side")),
            State.LAGGING,
            ["21 blocks behind the node of chain main"],
            id="beyond that lag",
        ),
        pytest.param(
            [],
            database(chain(), chain("side", lag_blocks=None)),
            State.NOT_READY,
            ["no block of chain side"],
            id="nothing stored",
        ),
        pytest.param(
            [], database(chain(backfilling=3)), State.READY, [], id="a backfill is under way"
        ),
        pytest.param(
            [loop(running=False)],
            database(chain(lag_blocks=99)),
            State.NOT_READY,
            ["nobody holds"],
            id="a missing loop weighs more than a lag",
        ),
    ],
)
def test_readiness_is_judged_with_every_reason(
    loops: list[LoopFacts], found: DatabaseFacts | None, state: State, reasons: list[str]
) -> None:
    judged = judge_readiness(Facts(US, loops, found), LIMITS)
    assert judged.state is state
    assert len(judged.reasons) == len(reasons)
    assert all(part in reason for part, reason in zip(reasons, judged.reasons, strict=True))


@pytest.mark.parametrize(
    ("facts", "followed", "state"),
    [
        (chain(), True, ChainState.SYNCED),
        (chain(lag_blocks=20), True, ChainState.SYNCED),
        (chain(lag_blocks=21), True, ChainState.CATCHING_UP),
        (chain(lag_blocks=21, backfilling=1), True, ChainState.CATCHING_UP),
        (chain(backfilling=1), True, ChainState.BACKFILLING),
        (chain(lag_blocks=None), True, ChainState.WAITING),
        (chain(), False, ChainState.STOPPED),
        (chain(lag_blocks=None), False, ChainState.STOPPED),
    ],
)
def test_a_chain_is_synced_only_if_it_is_followed_closely_and_nothing_is_missing(
    facts: ChainFacts, followed: bool, state: ChainState
) -> None:
    assert judge_chain(facts, followed=followed) is state


@pytest.mark.parametrize(
    ("kind", "state"),
    [
        ("RpcUnavailable", ChainState.FAILING),
        ("DeepReorg", ChainState.REWRITTEN),
        ("LeaseLost", None),
        (None, None),
    ],
)
def test_a_follower_knows_of_its_chain_what_the_database_does_not(
    kind: str | None, state: ChainState | None
) -> None:
    facts = LoopFacts("follower:main", "follow:main", kind is None, 1.0, kind, 1, error_kind=kind)
    assert judge_follower(facts) is state
    assert judge_follower(None) is None


@pytest.mark.parametrize(
    ("turn_s", "state"), [(0, State.LIVE), (5, State.LIVE), (5.1, State.STALLED)]
)
def test_a_process_lives_while_its_event_loop_turns(turn_s: float, state: State) -> None:
    judged = judge_liveness(turn_s, 5)
    assert judged.state is state
    assert bool(judged.reasons) == (state is State.STALLED)
