"""A status with everything in it, for the tests of what shows one."""

from datetime import UTC, datetime
from typing import Any

from daemon.health import LoopFacts
from daemon.index_status import ChainStatus
from daemon.status import Status

LOOPS = [
    LoopFacts("follower:main", "follow:1", True, 0.25, None, 0),
    LoopFacts(
        "sender", "submit", False, None, "RpcUnavailable: [gone]", 3, error_kind="RpcUnavailable"
    ),
]

PROVIDER = {
    "name": "node.example",
    "operator": "[operator]",
    "healthy": True,
    "score": 0.9,
    "latency_ms": 12.5,
    "head_number": 92,
    "finalized_number": 86,
    "failures": 3,
    "max_blocks": 2000,
    "requests_per_s": 10.0,
    "batch_calls": 100,
    "missing_methods": [],
    "requests_total": 1000,
    "bytes_total": 5000,
    "last_failure": "it did not [answer]",
}
CHAIN: dict[str, Any] = {
    "name": "main",
    "id": 1,
    "state": "backfilling",
    "synced": False,
    "error": None,
    "start_block": 0,
    "head": 90,
    "node_head": 92,
    "safe": 88,
    "finalized": 86,
    "lag_blocks": 2,
    "lag_s": 1.5,
    "reorgs": 1,
    "finality": "tag",
    "finality_depth_blocks": None,
    "quorum": 2,
    "single_provider": False,
    "feed_seq": 120,
    "consumers": {"bridge": {"seq": 118, "lag": 2}},
    "retention": {
        "keep_days": 30,
        "feed_from": 41,
        "snapshot_seq": 110,
        "snapshot_age_s": 60.5,
        "pruned_feed_rows": 40,
        "pruned_orphan_rows": 7,
    },
    "sources": [
        {
            "name": "coin",
            "version": 1,
            "state": "retired",
            "start_block": 1,
            "covered_to": 70,
            "percent": 81.3,
            "rows_estimate": 1234,
            "published": True,
        },
        {
            "name": "coin",
            "version": 2,
            "state": "backfilling",
            "start_block": 1,
            "covered_to": 43,
            "percent": 50.0,
            "rows_estimate": 12345,
            "published": False,
        },
    ],
    "stream": {
        "length": 40,
        "rows_behind": 1,
        "groups": {"warehouse": {"rows_behind": 6, "pending": 3}},
    },
    "audit": {
        "blocks_per_hour": 1200,
        "age_s": 42.0,
        "percent": 12.5,
        "ranges": {"exact": 10, "differs": 1},
        "blocks": {"exact": 2000, "differs": 4},
        "open": 1,
        "differences": [
            {
                "audit_id": 7,
                "contract": "coin",
                "version": 2,
                "from_block": 20,
                "to_block": 23,
                "at": "2026-01-02T03:00:00Z",
            }
        ],
    },
    "providers": [PROVIDER],
    "heads": {
        "connected": True,
        "mute": False,
        "provider": "node.example",
        "last_head_age_s": 1.25,
        "block_time_s": 12.0,
        "heads_total": 7,
        "reconnects": 2,
        "last_failure": None,
    },
}
BRIDGE: dict[str, Any] = {
    "chain": "main",
    "operations": {"issuance": {"settled": 4, "held": 1}, "redemption": {"accepted": 2}},
    "oldest_in_flight": {"operation_id": 5, "kind": "issuance", "state": "held", "age_s": 61.0},
    "in_flight_transactions": 3,
    "signers": [
        {
            "name": "old",
            "address": "0x" + "ab" * 20,
            "state": "draining",
            "next_nonce": 9,
            "open_transactions": 2,
            "open_intents": 0,
            "worked": False,
            "balance_wei": 10**18,
            "at_stake_wei": 10**15,
            "transactions_left": 120,
            "left_s": 86_400,
        }
    ],
    "breaks": {"open": {"unreadable": 2}, "critical": 1},
    "currency": "EUR",
    "decimals": 2,
    "supply": 2**60,
    "reserve": 12345,
    "proof": {"block": 86, "verdict": "agree", "explanation": "all three agree", "age_s": 0.5},
    "bank": {"read_through": 9},
}
FULL = Status.model_validate(
    {
        "version": "0.1.0",
        "holder": "here:1",
        "at": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        "chains": [CHAIN],
        "bridge": BRIDGE,
        "leases": [{"role": "follow:1", "holder": "here:1", "epoch": 2, "expires_in_s": 4.0}],
        "halts": [
            {
                "halt_id": 7,
                "scope": "mint",
                "reason": "the proof shows [drift]",
                "state_loss": False,
                "opened_by": "prover",
                "opened_at": datetime(2026, 1, 2, tzinfo=UTC),
            }
        ],
        "loops": [],
    }
)

_UNKNOWN = ("start_block", "head", "node_head", "safe", "finalized", "lag_blocks", "lag_s")
UNREAD = ChainStatus.model_validate(
    {
        **CHAIN,
        **dict.fromkeys(_UNKNOWN),
        "state": "waiting",
        "stream": None,
        "sources": [],
        "providers": [],
        "heads": None,
    }
)
EMPTY = FULL.model_copy(
    update={
        "chains": [UNREAD],
        "bridge": FULL.bridge.model_copy(  # type: ignore[union-attr]
            update={
                "oldest_in_flight": None,
                "supply": None,
                "reserve": None,
                "proof": None,
                "bank": FULL.bridge.bank.model_copy(update={"read_through": None}),  # type: ignore[union-attr]
                "breaks": FULL.bridge.breaks.model_copy(update={"open": {}, "critical": 0}),  # type: ignore[union-attr]
            }
        ),
        "halts": [],
    }
)
INDEX_ONLY = FULL.model_copy(update={"bridge": None, "halts": []})


def chain(**changed: Any) -> ChainStatus:
    """The full one with some values changed."""
    return ChainStatus.model_validate({**CHAIN, **changed})
