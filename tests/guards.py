"""Removes each guard in a scratch copy, one at a time in each, and expects a named test to fail.

A guard whose removal no test notices is no guard. ``make guards`` runs this; ``--only NAME`` runs one.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Final

REPOSITORY: Final = Path(__file__).resolve().parents[1]
TIMEOUT_S: Final = 600
AT_ONCE: Final = 3
TESTS_FAILED: Final = 1  # pytest's exit status for "tests ran, and some failed"


@dataclass(frozen=True, slots=True)
class Guard:
    """One guard: the text that makes it, what stands there without it, and the test that must notice."""

    name: str
    file: str
    text: str
    without: str
    test: str


GUARDS: Final = (
    Guard(
        "nonce uniqueness",
        "migrations/0005_create_bridge.sql",
        "    UNIQUE (chain_id, signer, nonce),\n",
        "",
        "tests/integration/bridge/test_journal_guards.py::test_one_nonce_carries_one_transaction",
    ),
    Guard(
        "op_id uniqueness",
        "migrations/0005_create_bridge.sql",
        "CREATE UNIQUE INDEX tx_operation_live ON bridge.tx_operation (op_id) WHERE NOT released;\n",
        "",
        "tests/integration/bridge/test_journal_guards.py::test_one_operation_has_one_live_transaction",
    ),
    Guard(
        "balance of transfers",
        "migrations/0007_create_ledger.sql",
        "CREATE TRIGGER balanced AFTER INSERT ON ledger.posting REFERENCING NEW TABLE AS written\n"
        "    FOR EACH STATEMENT EXECUTE FUNCTION ledger.check_balanced();\n",
        "",
        "tests/integration/bridge/test_ledger.py::test_a_transfer_that_does_not_sum_to_zero_is_refused",
    ),
    Guard(
        "money goes back only after the id was consumed",
        "migrations/0005_create_bridge.sql",
        "    ELSIF cancelled.state = 'returning' AND NOT is_plain AND NOT EXISTS (",
        "    ELSIF cancelled.state = 'returned' AND NOT EXISTS (",
        "tests/integration/bridge/test_lane_cancel.py::"
        "test_postgres_refuses_to_give_money_back_before_the_id_is_consumed_for_good",
    ),
    Guard(
        "nothing is voided that a transaction carries",
        "migrations/0005_create_bridge.sql",
        "        OR EXISTS (SELECT FROM bridge.tx_operation l WHERE l.op_id = cancelled.op_id AND NOT l.released)",
        "",
        "tests/integration/bridge/test_lane_cancel.py::test_postgres_refuses_to_void_what_a_transaction_carries",
    ),
    Guard(
        "one node's word stops no lane",
        "bridge/sending.py",
        "return Answer.REFUSED if first is second is Answer.REFUSED else Answer.ELSEWHERE",
        "return Answer.REFUSED",
        "tests/unit/bridge/test_sending.py::"
        "test_only_two_nodes_together_can_say_that_no_block_will_ever_hold_it",
    ),
    Guard(
        "no nonce beyond what may be spent",
        "bridge/taker.py",
        "            if isinstance(verdict, Exceeded):\n                self._paused",
        "            if False:\n                self._paused",
        "tests/integration/bridge/test_lane_spending.py::"
        "test_what_alone_costs_too_much_gets_no_nonce_and_a_break_says_so_until_it_may",
    ),
    Guard(
        "a plain token's transaction carries one operation",
        "migrations/0005_create_bridge.sql",
        "        WHERE (SELECT count(*) FROM bridge.tx_operation l WHERE l.tx_id = k.tx_id) > 1) THEN",
        "        WHERE false) THEN",
        "tests/integration/bridge/test_lane_plain.py::"
        "test_postgres_refuses_two_operations_in_one_transaction",
    ),
    Guard(
        "payout guard",
        "migrations/0006_create_payouts.sql",
        "CREATE TRIGGER b_guard BEFORE INSERT OR UPDATE ON bank.payout_attempt\n"
        "    FOR EACH ROW EXECUTE FUNCTION bank.guard_payout_attempt();\n",
        "",
        "tests/integration/bridge/test_payout_guard.py::test_no_payout_before_its_request_is_final",
    ),
    Guard(
        "what is not understood may have been sent",
        "bridge/sending.py",
        "        return Answer.ELSEWHERE\n    return Answer.MAYBE\n",
        "        return Answer.ELSEWHERE\n    return Answer.REFUSED\n",
        "tests/unit/bridge/test_sending.py::test_what_is_not_understood_may_have_been_sent",
    ),
    Guard(
        "only our own hash is an acceptance",
        "bridge/sending.py",
        "if from_data(result, 32) == tx_hash else",
        "if from_data(result, 32) else",
        "tests/unit/bridge/test_sending.py::test_only_our_own_hash_is_an_acceptance",
    ),
    Guard(
        "a replacement is rounded up",
        "bridge/fees.py",
        "max(1, -(-wei * (100 + BUMP_PERCENT) // 100))",
        "max(1, wei * (100 + BUMP_PERCENT) // 100)",
        "tests/unit/bridge/test_fees.py::test_every_bump_replaces_the_last_attempt_on_every_node",
    ),
    Guard(
        "journal before broadcast",
        "bridge/signing.py",
        "            await self._record(fence, signed)\n",
        "            for _, one in signed:\n"
        "                await self._pricing._node.send(one.raw)\n"
        "            await self._record(fence, signed)\n",
        "tests/integration/bridge/test_lane.py::test_no_hash_reaches_the_node_before_its_journal_row",
    ),
    Guard(
        "custody's answer is compared",
        "bridge/custody/verification.py",
        "        if one != other:\n",
        "        if False:\n",
        "tests/unit/bridge/custody/test_verification.py::test_a_tampered_field_is_refused_by_its_name",
    ),
    Guard(
        "low s",
        "bridge/custody/verification.py",
        "    if signature.s > HALF_ORDER:\n",
        "    if False:\n",
        "tests/conformance/custody/test_custody.py::test_a_high_s_is_refused",
    ),
    Guard(
        "one payload under a request id",
        "bridge/custody/requests.py",
        "            if known != payload:\n",
        "            if False:\n",
        "tests/unit/bridge/custody/test_requests.py::"
        "test_an_id_stands_for_one_payload_before_and_after_it_was_taken",
    ),
    Guard(
        "custody's log before a signature",
        "bridge/custody/recorded.py",
        "            await self._log.append(requests)\n",
        "            pass\n",
        "tests/unit/bridge/custody/test_log.py::test_nothing_is_signed_that_is_not_in_the_log",
    ),
    Guard(
        "approvals bound to the intent",
        "bridge/custody/policy.py",
        "    if not describes(evidence.intent, request.chain_id, request.to_address, call):\n",
        "    if False:\n",
        "tests/unit/bridge/custody/test_policy.py::"
        "test_an_intent_of_something_else_or_one_that_is_too_old_refuses_it",
    ),
    Guard(
        "no key that can be taken out of its module",
        "bridge/custody/pkcs11.py",
        "        if key[Attribute.EXTRACTABLE] or not key[Attribute.SENSITIVE]:\n",
        "        if False:\n",
        "tests/conformance/custody/test_pkcs11.py::test_a_key_that_can_be_taken_out_is_refused",
    ),
    Guard(
        "a second person to lift a halt",
        "migrations/0002_create_ops.sql",
        "    ELSIF lower(btrim(proposed.proposed_by)) = lower(btrim(new.closed_by)) THEN\n",
        "    ELSIF false THEN\n",
        "tests/integration/bridge/test_halts.py::test_nobody_approves_what_they_proposed",
    ),
    Guard(
        "another database moves no money",
        "migrations/0002_create_ops.sql",
        "           OR NOT ops.is_known_database()\n",
        "",
        "tests/integration/bridge/test_halts.py::"
        "test_a_state_loss_is_not_lifted_in_a_database_that_was_not_accepted",
    ),
    Guard(
        "nonces are given up after a state loss only",
        "migrations/0005_create_bridge.sql",
        "        IF new.purpose = 'unknown' AND NOT ops.is_state_lost() THEN\n",
        "        IF false THEN\n",
        "tests/integration/bridge/test_halts.py::test_nonces_are_given_up_only_after_a_state_loss",
    ),
    Guard(
        "nothing of a plain token goes back while something may be lost",
        "migrations/0005_create_bridge.sql",
        " AND is_plain AND bridge.may_have_lost_mints(cancelled.chain_id) THEN\n",
        " AND false THEN\n",
        "tests/integration/bridge/test_lane_plain.py::"
        "test_nothing_goes_back_while_a_lost_transaction_may_have_minted_it",
    ),
    Guard(
        "custody's own log is compared",
        "bridge/state_loss.py",
        "    if unknown:\n",
        "    if False:\n",
        "tests/unit/bridge/test_state_loss.py::test_custody_ahead_of_the_journal_is_a_loss",
    ),
    Guard(
        "limits of minting",
        "migrations/0005_create_bridge.sql",
        "CREATE TRIGGER c_limits AFTER INSERT ON bridge.tx_operation REFERENCING NEW TABLE AS taken\n"
        "    FOR EACH STATEMENT EXECUTE FUNCTION bridge.guard_limits();\n",
        "",
        "tests/integration/bridge/test_limits.py::test_postgres_gives_no_nonce_over_a_limit",
    ),
    Guard(
        "lanes of one account take turns",
        "migrations/0005_create_bridge.sql",
        "            PERFORM FROM bank.account a WHERE a.account_id = subject.account_id FOR NO KEY UPDATE;\n",
        "            NULL;\n",
        "tests/integration/bridge/test_limits.py::"
        "test_two_lanes_together_do_not_pass_the_limit_of_an_account",
    ),
    Guard(
        "policy before custody is asked",
        "bridge/signing.py",
        "            refusals = await self._refusals(connection, attempts)\n",
        "            refusals: dict[Attempt, Rejected] = {}\n",
        "tests/integration/bridge/test_limits.py::"
        "test_what_policy_refuses_after_it_has_its_nonce_becomes_a_noop",
    ),
    Guard(
        "an intent holds its operations",
        "migrations/0005_create_bridge.sql",
        "    WHERE i.hash IS DISTINCT FROM t.intent OR i.state <> 'approved' LIMIT 1;\n",
        "    WHERE false LIMIT 1;\n",
        "tests/integration/bridge/test_proposing.py::"
        "test_what_people_reject_is_told_and_taken_by_no_other_lane_until_it_is_reopened",
    ),
    Guard(
        "approvals before a nonce",
        "migrations/0005_create_bridge.sql",
        "CREATE TRIGGER c_approvals AFTER INSERT ON bridge.tx_operation REFERENCING NEW TABLE AS taken\n"
        "    FOR EACH STATEMENT EXECUTE FUNCTION bridge.guard_approvals();\n",
        "",
        "tests/integration/bridge/test_approvals.py::"
        "test_postgres_gives_no_nonce_to_a_large_mint_that_too_few_have_approved",
    ),
    Guard(
        "approvals are signatures",
        "bridge/proposing.py",
        "        met = [self._rule.is_met(one.intent, given[one.intent.hash]) for one in waiting]\n",
        "        met = [len(given[one.intent.hash]) >= self._rule.needed for one in waiting]\n",
        "tests/integration/bridge/test_approvals.py::"
        "test_forged_approvals_in_the_database_are_no_approvals_to_the_lane",
    ),
    Guard(
        "no nonce of a signer that drains",
        "migrations/0005_create_bridge.sql",
        "        IF lane.state = 'retired' OR lane.state <> 'active' AND new.purpose <> 'unknown' THEN\n",
        "        IF false THEN\n",
        "tests/integration/bridge/test_rotation.py::test_postgres_keeps_the_order_of_a_signers_states",
    ),
    Guard(
        "an intent is carried as a whole",
        "migrations/0005_create_bridge.sql",
        "CREATE TRIGGER c_carried AFTER INSERT ON bridge.tx_operation REFERENCING NEW TABLE AS taken\n"
        "    FOR EACH STATEMENT EXECUTE FUNCTION bridge.guard_carried();\n",
        "",
        "tests/integration/bridge/test_intent_guards.py::"
        "test_a_transaction_carries_the_whole_of_its_intent_and_nothing_else",
    ),
    Guard(
        "a cancelled mint ends its intent",
        "bridge/proposing.py",
        "            if not works or not one.is_possible or now_s",
        "            if not works or now_s",
        "tests/integration/bridge/test_proposing.py::"
        "test_a_mint_that_two_people_cancel_leaves_its_intent_and_is_voided_instead",
    ),
    Guard(
        "limits of a plain token's mints",
        "bridge/taker.py",
        '        mints = [one for one in chosen if one.purpose == "mint"]\n',
        "        mints = [one for one in chosen if isinstance(one.call, ready.Mint)]\n",
        "tests/integration/bridge/test_lane_plain.py::test_limits_and_recipients_hold_for_it_as_well",
    ),
    Guard(
        "no higher offer again and again",
        "bridge/bumper.py",
        "           AND (SELECT max(a.created_at) FROM bridge.tx_attempt a WHERE a.tx_id = t.tx_id)\n",
        "           AND newest.created_at\n",
        "tests/integration/bridge/test_limits.py::"
        "test_a_higher_offer_that_policy_refuses_is_not_tried_again_at_once",
    ),
    Guard(
        "a signer that drains goes on behind what was lost",
        "bridge/journal.py",
        '    working = ["active", "draining"]\n',
        '    working = ["active"]\n',
        "tests/integration/bridge/test_halts.py::"
        "test_a_signer_that_drains_goes_on_behind_what_was_lost_and_a_retired_one_does_not",
    ),
    Guard(
        "what stands in a block is counted once",
        "bridge/taker.py",
        "AND NOT bridge.is_in_a_block(t)), 0)",
        "), 0)",
        "tests/integration/bridge/test_lane_batches.py::"
        "test_a_batch_that_is_too_much_for_the_minters_limit_goes_as_far_as_that",
    ),
    Guard(
        "fence check",
        "migrations/0002_create_ops.sql",
        "    IF current_epoch IS DISTINCT FROM wanted_epoch THEN\n",
        "    IF false THEN\n",
        "tests/integration/indexer/test_guards.py::test_a_stale_fence_is_refused",
    ),
    Guard(
        "finality trigger",
        "migrations/0003_create_chain.sql",
        "CREATE TRIGGER finality BEFORE UPDATE ON chain.block\n"
        "    FOR EACH ROW EXECUTE FUNCTION chain.refuse_final_change();\n",
        "",
        "tests/integration/indexer/test_guards.py::test_finality_trigger_keeps_the_flag_of_final_rows",
    ),
    Guard(
        "the reorg's single transaction",
        "indexer/writer.py",
        "        retracted = await _retract(connection, sources, before, change)\n",
        "        retracted = await _retract(connection, sources, before, change)\n"
        "    async with fenced(pool, fence) as connection:\n",
        "tests/integration/indexer/test_guards.py::test_a_reorg_is_one_transaction",
    ),
    Guard(
        "eviction of a frozen holder",
        "daemon/keeper.py",
        "            if not done and await self._evict():\n",
        "            if False and await self._evict():\n",
        "tests/integration/daemon/test_supervisor.py::"
        "test_a_holder_that_stands_still_in_the_middle_of_a_query_is_evicted",
    ),
    Guard(
        "one version of the token",
        "migrations/0005_create_bridge.sql",
        "CREATE TRIGGER token_version BEFORE INSERT ON chain.source\n"
        "    FOR EACH ROW WHEN (new.version > 1) EXECUTE FUNCTION bridge.guard_token_version();\n",
        "",
        "tests/integration/daemon/test_token_version.py::"
        "test_postgres_refuses_a_second_version_of_the_token",
    ),
    Guard(
        "coverage without holes",
        "migrations/0003_create_chain.sql",
        "CREATE TRIGGER guard BEFORE INSERT ON chain.coverage FOR EACH ROW EXECUTE FUNCTION chain.guard_coverage();\n",
        "",
        "tests/integration/indexer/test_backfill.py::"
        "test_coverage_has_no_hole_no_overlap_and_does_not_pass_finality",
    ),
    Guard(
        "the feed stays for its consumers",
        "migrations/0011_create_retention.sql",
        "n.seq <= ALL (SELECT c.seq FROM chain.consumer c WHERE c.chain_id = batch.chain_id)",
        "true",
        "tests/integration/indexer/test_retention.py::TestPostgresRefuses::test_to_prune_past_a_consumer",
    ),
    Guard(
        "orphans stay while the feed speaks of them",
        "migrations/0011_create_retention.sql",
        "n.seq <= p.feed_from AND n.finalized_number >= height",
        "n.finalized_number >= height",
        "tests/integration/indexer/test_retention.py::TestPostgresRefuses::"
        "test_the_owner_to_delete_more_than_may_go",
    ),
    Guard(
        "orphans stay that are not final at the snapshot",
        "migrations/0011_create_retention.sql",
        "n.seq <= p.feed_from AND n.finalized_number >= height",
        "n.seq <= p.feed_from",
        "tests/integration/indexer/test_retention.py::TestPostgresRefuses::"
        "test_the_owner_to_delete_more_than_may_go",
    ),
    Guard(
        "nobody begins to consume where rows are gone",
        "migrations/0003_create_chain.sql",
        "        IF new.seq < first_ - 1 THEN\n",
        "        IF false THEN\n",
        "tests/integration/indexer/test_retention.py::TestPostgresRefuses::"
        "test_a_consumer_to_begin_where_the_feed_no_longer_does",
    ),
    Guard(
        "compare and swap on the head",
        "indexer/writer.py",
        "    if cursor is None or cursor.head != based_on:\n",
        "    if cursor is None:\n",
        "tests/integration/indexer/test_following.py::test_a_step_prepared_on_an_older_head_is_refused",
    ),
    Guard(
        "absence proved by the bloom",
        "indexer/block_logs.py",
        "    if not logs:\n",
        "    if False:\n",
        "tests/integration/indexer/test_following.py::"
        "test_a_node_that_hides_logs_is_asked_again_and_never_believed",
    ),
    Guard(
        "newest blocks of a range compared",
        "indexer/range_logs.py",
        "is not asked for the range.\n    newest = await anchor.headers(span)\n",
        "is not asked for the range.\n    newest: tuple[Header, ...] = ()\n",
        "tests/integration/indexer/test_siblings.py::"
        "test_what_a_lagging_sibling_lacks_of_a_range_is_found_by_a_leap",
    ),
    Guard(
        "another provider after a doubt",
        "indexer/providers.py",
        "            if not one.standing.behind and not one.is_doubted and",
        "            if not one.standing.behind and",
        "tests/integration/hazards/test_lying_logs.py::"
        "test_a_second_provider_is_asked_where_the_first_has_lost_logs",
    ),
    Guard(
        "finality of a block that is read late",
        "bridge/finality.py",
        "f.op = 'finalize' AND f.seq < $2",
        "f.op = 'finalize' AND $2 > 0",
        "tests/integration/bridge/test_observer.py::"
        "test_an_orphaned_request_that_is_read_late_is_not_final_for_its_height_alone",
    ),
    Guard(
        "children forgotten with their blocks",
        "indexer/follower.py",
        "            held.reader.forget_above(kept)\n",
        "            pass\n",
        "tests/integration/indexer/test_backfill.py::test_children_of_a_factory_are_indexed_from_their_birth",
    ),
    Guard(
        "every contract that has joined is in what is written",
        "indexer/writer.py",
        "        await _require_all(connection, leap.chain_id, leap.sources)\n",
        "",
        "tests/integration/indexer/test_writer.py::"
        "test_a_step_that_was_prepared_before_a_contract_joined_is_not_written",
    ),
    Guard(
        "a second reading before an alarm",
        "indexer/audit_reading.py",
        '    return "differs" if second.differences else "unconfirmed"\n',
        '    return "differs"\n',
        "tests/integration/indexer/test_auditor.py::"
        "test_a_node_that_hides_logs_is_not_believed_against_another",
    ),
    Guard(
        "the auditor's own fence",
        "migrations/0010_create_audit.sql",
        "    IF coalesce(current_setting('landbridge.fence', true), '') <> 'audit:' || new.chain_id THEN\n",
        "    IF false THEN\n",
        "tests/integration/indexer/test_auditor.py::"
        "test_postgres_refuses_audits_without_the_fence_or_of_what_is_not_final",
    ),
    Guard(
        "an audit's difference and its halt in one transaction",
        "indexer/audit_log.py",
        '            if one.outcome == "differs":\n',
        "    async with fenced(pool, fence) as connection:\n"
        "        for one in findings:\n"
        '            if one.outcome == "differs":\n',
        "tests/integration/indexer/test_auditor.py::"
        "test_a_difference_and_its_alarm_are_told_together_or_not_at_all",
    ),
    Guard(
        "an operation acts once",
        "contracts/src/Issuance.sol",
        "        if (_operations[opId] != 0) {\n",
        "        if (false) {\n",
        "tests/integration/bridge/test_contract.py::"
        "test_a_batch_mints_what_it_can_and_tells_why_it_passes_over_the_rest",
    ),
    Guard(
        "a refused item does not sink its batch",
        "contracts/src/Issuance.sol",
        "        if (refusal.length == 0) refusal = _refusal(op, budget);\n",
        "        revertIfRefused(_refusal(op, budget));\n",
        "tests/integration/bridge/test_contract.py::"
        "test_a_batch_mints_what_it_can_and_tells_why_it_passes_over_the_rest",
    ),
    Guard(
        "the minter's limits within a batch",
        "contracts/src/Issuance.sol",
        "            budget.available -= amount;\n",
        "",
        "tests/integration/bridge/test_contract.py::test_a_batch_is_held_to_the_minters_limits",
    ),
    Guard(
        "one row a line of COPY",
        "indexer/rows.py",
        '        or text.count("\\t") != len(lines) * (len(table.columns) - 1)\n',
        "",
        "tests/unit/indexer/test_recorder.py::"
        "test_a_text_that_would_make_other_columns_or_rows_is_refused",
    ),
)


def main() -> int:
    """Run all guards, or those whose name contains ``--only``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="run the guards whose name contains this")
    wanted = parser.parse_args().only
    guards = [guard for guard in GUARDS if wanted in guard.name]
    with tempfile.TemporaryDirectory(prefix="landbridge-guards-") as folder:
        copies: SimpleQueue[Path] = SimpleQueue()
        for place in range(AT_ONCE):
            scratch = Path(folder) / str(place)
            _copy(scratch)
            copies.put(scratch)

        def is_held(guard: Guard) -> bool:
            scratch = copies.get()
            try:
                return _is_noticed(scratch, guard)
            finally:
                copies.put(scratch)

        if not _all_pass(scratch, guards):
            print("guards: the tests do not pass with every guard in place", file=sys.stderr)
            return 1
        with ThreadPoolExecutor(AT_ONCE) as workers:
            held = list(workers.map(is_held, guards))
    print(f"{sum(held)} of {len(held)} guards are held by a test")
    return 0 if all(held) else 1


def _copy(scratch: Path) -> None:
    """The tracked and new files of this tree; installed packages are linked, not copied."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in listed.stdout.splitlines():
        source = REPOSITORY / name
        if source.is_file():
            target = scratch / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
    (scratch / "contracts" / "node_modules").symlink_to(REPOSITORY / "contracts" / "node_modules")
    _copy_built(scratch)


def _copy_built(scratch: Path) -> None:
    """What forge has made of this tree's contracts, in place of what it made of the copy's."""
    for built in ("out", "cache"):
        shutil.rmtree(scratch / "contracts" / built, ignore_errors=True)
        shutil.copytree(REPOSITORY / "contracts" / built, scratch / "contracts" / built)


def _all_pass(scratch: Path, guards: list[Guard]) -> bool:
    return _pytest(scratch, sorted({guard.test for guard in guards})) == 0


def _is_noticed(scratch: Path, guard: Guard) -> bool:
    path = scratch / guard.file
    whole = path.read_text()
    if whole.count(guard.text) != 1:
        print(f"FAULT   {guard.name}: its text is not found once in {guard.file}")
        return False
    began = time.monotonic()
    path.write_text(whole.replace(guard.text, guard.without))
    try:
        status = _pytest(scratch, [guard.test])
    finally:
        path.write_text(whole)
        if path.suffix == ".sol":
            _copy_built(scratch)
    noticed = status == TESTS_FAILED
    verdict = "noticed" if noticed else "UNSEEN "
    print(f"{verdict} {guard.name}: {guard.test} ({time.monotonic() - began:.1f} s)", flush=True)
    return noticed


def _pytest(scratch: Path, tests: list[str]) -> int:
    """The exit status of a pytest run inside the scratch copy."""
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests],
        cwd=scratch,
        env={**os.environ, "PYTHONPATH": str(scratch)},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    if ran.returncode not in (0, TESTS_FAILED):
        print(ran.stdout[-3000:], ran.stderr[-1000:], file=sys.stderr)
    return ran.returncode


if __name__ == "__main__":
    sys.exit(main())
