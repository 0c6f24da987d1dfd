"""Puts the bridge together: the parts between a bank and a token, and the loops that move them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import asyncpg

from bridge.bank.rest import RestBank, RestBankSettings
from bridge.custody.approval_rule import ApprovalRule
from bridge.custody.log import CustodyLog
from bridge.custody.protocol import Custody
from bridge.decider import Decider
from bridge.ingest import Ingest
from bridge.lane import Lane, LaneSettings, role
from bridge.ledger import open_accounts
from bridge.limits import Limits
from bridge.node import Node, Peers
from bridge.observer import Observer
from bridge.payouts import Payouts
from bridge.poller import Poller
from bridge.prover import Prover
from bridge.purse import PurseSettings
from bridge.rules import Rules
from bridge.spending import SpendingCeilings
from bridge.taker import TakerSettings
from bridge.token import Token, register
from bridge.watch import Watch
from daemon.sections import Approvals, MintLimits
from daemon.settings import Bridge, Settings
from daemon.supervisor import Loop
from indexer.block import Header
from indexer.lease import Fence, fenced
from indexer.providers import Providers
from indexer.rpc import Rpc
from indexer.wire import Json

IDLE_S: Final = 0.05
"""How long a loop over our own tables rests when there is nothing to do."""


@dataclass(frozen=True, slots=True)
class OpenSigner:
    """A key of the settings, and its address."""

    name: str
    address: bytes
    custody: Custody


@dataclass(frozen=True, slots=True)
class BridgeParts:
    """What the bridge is connected to while it runs."""

    settings: Bridge
    token: Token
    bank: RestBank
    signers: tuple[OpenSigner, ...]
    custody_log: CustodyLog


class BestRpc(Rpc):
    """Of an :class:`Rpc` what :class:`Node` uses, asked of whichever provider is the best one now."""

    def __init__(self, providers: Providers) -> None:
        self._providers = providers

    async def call(self, method: str, params: Sequence[object] = ()) -> Json:
        return await self._providers.best().rpc.call(method, params)

    async def header(self, block: int | str | bytes) -> Header | None:
        return await self._providers.best().rpc.header(block)


def sending_peers(providers: Providers) -> Peers:
    """Whom transactions are given to: the best provider, and then another one, of another operator if there is one."""

    def peers() -> list[Rpc]:
        best = providers.best()
        other = providers.other_than(best)
        return [best.rpc] if other is None else [best.rpc, other.rpc]

    return peers


def token_of(bridge: Bridge) -> Token:
    """The token as the bridge sees it."""
    return Token(
        chain_id=bridge.chain.id,
        address=bridge.token.address,
        contract_name=bridge.token.contract,
        account_id=bridge.bank.account_id,
        currency=bridge.token.currency,
        decimals=bridge.token.decimals,
        kind=bridge.token.kind,
    )


def bank_settings(bridge: Bridge) -> RestBankSettings:
    """The bank as its connector wants it."""
    return RestBankSettings(
        base_url=bridge.bank.base_url,
        api_key=bridge.bank.api_key,
        account_id=bridge.bank.account_id,
        currency=bridge.token.currency,
        exponent=bridge.token.decimals,
        webhook_secrets=bridge.bank.webhook_secrets,
        timeout_s=bridge.bank.timeout_s,
    )


def bridge_loops(
    pool: asyncpg.Pool, parts: BridgeParts, node: Node, settings: Settings
) -> list[Loop]:
    """Every loop of the bridge, with the lease that it runs under."""
    token = parts.token
    observer = Observer(pool, token)
    ingest = Ingest(pool, token)
    decider = Decider(pool, token, settings.daemon.recheck_held_s)
    payouts = Payouts(pool, parts.bank, token, parts.settings.bank.ask_after_s)
    poller = Poller(pool, parts.bank, token)
    prover = Prover(pool, node, parts.bank, token)
    watch = watch_of(pool, parts, node)

    async def open_books(fence: Fence) -> None:
        async with fenced(pool, fence) as connection:
            await register(connection, token)
            await open_accounts(connection, token)

    async def open_payouts(fence: Fence) -> None:
        await open_books(fence)
        await watch.look()

    async def pay(fence: Fence) -> bool:
        await watch.look_after_restart()
        return await payouts.step(fence)

    async def poll(_: Fence) -> bool:
        return await poller.step()

    bank_poll_s = parts.settings.bank.poll_interval_s
    return [
        Loop("observer", "operate", observer.step, IDLE_S, open_books),
        Loop("ingest", "operate", ingest.step, IDLE_S, open_books),
        Loop("decider", "operate", decider.step, IDLE_S, open_books),
        Loop("payouts", "operate", pay, IDLE_S, open_payouts),
        Loop("poller", "operate", poll, bank_poll_s, open_books),
        *(_lane_loop(pool, parts, node, signer, watch) for signer in parts.signers),
        Loop("prover", "reconcile", prover.step, parts.settings.chain.poll_interval_s),
    ]


def watch_of(pool: asyncpg.Pool, parts: BridgeParts, node: Node) -> Watch:
    """Over all signers."""
    signers = [one.address for one in parts.signers]
    return Watch(pool, node, parts.token.chain_id, signers, parts.custody_log)


def rules_of(bridge: Bridge, name: str) -> Rules:
    """What a signer may do."""
    section = bridge.signers[name]
    return Rules(
        purposes=section.functions,
        recipients=frozenset(section.recipients) or None,
        of_signer=_limits(f"signer {name}", section.limits),
        of_account=_limits("the bank account", bridge.bank.limits),
        approval=approval_rule_of(bridge.bank.approvals),
    )


def approval_rule_of(approvals: Approvals | None) -> ApprovalRule | None:
    """Which mints people of ours must approve."""
    if approvals is None:
        return None
    return ApprovalRule(approvals.above, approvals.needed, approvals.approvers)


def _limits(whose: str, limits: MintLimits) -> Limits:
    return Limits(whose, operation=limits.operation, hour=limits.hour, day=limits.day)


def _lane_loop(
    pool: asyncpg.Pool, parts: BridgeParts, node: Node, signer: OpenSigner, watch: Watch
) -> Loop:
    sender = parts.settings.sender
    settings = LaneSettings(
        max_fee_wei=sender.max_fee_wei,
        lowest_tip_wei=sender.priority_fee_wei,
        resend_after_s=sender.resend_after_s,
        bump_after_s=sender.bump_after_s,
        ceilings=SpendingCeilings(sender.max_tx_wei, sender.max_day_wei),
        purse=PurseSettings(sender.alarm_below_transactions, sender.alarm_below_s),
        intent_valid_s=sender.intent_valid_s,
        taking=TakerSettings(
            mint_deadline_s=sender.mint_deadline_s,
            batch_items=sender.batch_items,
            window_s=sender.batch_window_s,
            max_in_flight=sender.max_in_flight,
        ),
        rules=rules_of(parts.settings, signer.name),
    )
    lane = Lane(pool, node, signer.custody, parts.token, signer.address, settings)

    async def open_lane(fence: Fence) -> None:
        await lane.open(fence, signer.name)
        await watch.look()

    async def step(fence: Fence) -> bool:
        await watch.look_after_restart()
        return await lane.step(fence)

    return Loop(f"lane:{signer.name}", role(signer.address), step, IDLE_S, open_lane)
