import pytest

from daemon.health import (
    DatabaseFacts,
    Facts,
    Lease,
    Limits,
    LoopFacts,
    State,
    judge_liveness,
    judge_readiness,
)

US, THEM = "here:1", "elsewhere:7"
LIMITS = Limits(lag_blocks=20, head_age_s=15)
GOOD = DatabaseFacts(schema_fault=None, leases=(), lag_blocks=0)


def loop(
    role: str = "operate",
    *,
    running: bool = True,
    age_s: float | None = 0.1,
    error: str | None = None,
) -> LoopFacts:
    return LoopFacts(role, role, running, age_s, error, restarts=0)


def database(*, lag_blocks: int | None = 0, **holders: str) -> DatabaseFacts:
    return DatabaseFacts(None, [Lease(role, who) for role, who in holders.items()], lag_blocks)


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
            DatabaseFacts("Run `landbridge migrate`.", (), 0),
            State.NOT_READY,
            ["landbridge migrate"],
            id="schema behind",
        ),
        pytest.param(
            [loop(running=False)],
            database(operate=THEM),
            State.READY,
            [],
            id="another daemon holds the lease",
        ),
        pytest.param(
            [loop(running=False, error="BankAccessRefused: no")],
            database(operate=US),
            State.NOT_READY,
            ["its lease is ours: BankAccessRefused: no"],
            id="our own loop fails",
        ),
        pytest.param(
            [loop(running=False), loop("submit", running=False)],
            database(),
            State.NOT_READY,
            ["role operate) does not run, and nobody", "role submit) does not run, and nobody"],
            id="every loop that nobody runs is named",
        ),
        pytest.param(
            [loop("follow", age_s=None)], GOOD, State.NOT_READY, ["not been read"], id="not read"
        ),
        pytest.param([loop("follow", age_s=15)], GOOD, State.READY, [], id="head just fresh"),
        pytest.param(
            [loop("follow", age_s=16)], GOOD, State.NOT_READY, ["16 s ago; 15 s"], id="head stale"
        ),
        pytest.param([], database(lag_blocks=20), State.READY, [], id="at the lag that is allowed"),
        pytest.param(
            [], database(lag_blocks=21), State.LAGGING, ["21 blocks behind"], id="beyond that lag"
        ),
        pytest.param(
            [], database(lag_blocks=None), State.NOT_READY, ["no block"], id="nothing stored"
        ),
        pytest.param(
            [loop(running=False)],
            database(lag_blocks=99),
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
    ("turn_s", "state"), [(0, State.LIVE), (5, State.LIVE), (5.1, State.STALLED)]
)
def test_a_process_lives_while_its_event_loop_turns(turn_s: float, state: State) -> None:
    judged = judge_liveness(turn_s, 5)
    assert judged.state is state
    assert bool(judged.reasons) == (state is State.STALLED)
