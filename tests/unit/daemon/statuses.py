"""A status with everything in it, for the tests of what shows one."""

from datetime import UTC, datetime

from daemon.health import LoopFacts
from daemon.status import Status

LOOPS = [
    LoopFacts("follower", "follow", True, 0.25, None, 0),
    LoopFacts("sender", "submit", False, None, "RpcUnavailable: [gone]", 3),
]

FULL = Status.model_validate(
    {
        "version": "0.1.0",
        "at": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        "chain": {
            "id": 31337,
            "start_block": 0,
            "head": 90,
            "node_head": 92,
            "finalized": 86,
            "lag_blocks": 2,
            "lag_s": 1.5,
            "reorgs": 1,
        },
        "feed": {"seq": 120, "consumers": {"bridge": {"seq": 118, "lag": 2}}},
        "operations": {"issuance": {"settled": 4, "held": 1}, "redemption": {"accepted": 2}},
        "oldest_in_flight": {"operation_id": 5, "kind": "issuance", "state": "held", "age_s": 61.0},
        "in_flight_transactions": 3,
        "breaks": {"open": {"unreadable": 2}, "critical": 1},
        "currency": "EUR",
        "decimals": 2,
        "supply": 2**60,
        "reserve": 12345,
        "proof": {"block": 86, "verdict": "agree", "explanation": "all three agree", "age_s": 0.5},
        "bank": {"read_through": 9},
        "provider": {
            "rpc_url": "http://127.0.0.1:8545",
            "single_provider": True,
            "finality": "tag",
            "finality_depth_blocks": None,
        },
        "leases": [{"role": "follow", "holder": "here:1", "epoch": 2, "expires_in_s": 4.0}],
        "halts": [
            {
                "scope": "mint",
                "reason": "the proof shows [drift]",
                "opened_by": "prover",
                "opened_at": datetime(2026, 1, 2, tzinfo=UTC),
            }
        ],
        "loops": [],
    }
)

EMPTY = FULL.model_copy(
    update={
        "chain": FULL.chain.model_copy(
            update=dict.fromkeys(
                ("start_block", "head", "node_head", "finalized", "lag_blocks", "lag_s")
            )
        ),
        "oldest_in_flight": None,
        "supply": None,
        "reserve": None,
        "proof": None,
        "bank": FULL.bank.model_copy(update={"read_through": None}),
        "halts": [],
        "breaks": FULL.breaks.model_copy(update={"open": {}, "critical": 0}),
    }
)
