"""Puts the parts together: the one place that knows every concrete class."""

import os
import socket
from dataclasses import dataclass

import asyncpg

from bridge.bank.rest import RestBank, RestBankSettings
from bridge.calldata import load_abi
from bridge.custody.keystore import KeystoreCustody
from bridge.decider import Decider
from bridge.ingest import Ingest
from bridge.lane import Lane
from bridge.ledger import open_accounts
from bridge.node import Node
from bridge.observer import Observer
from bridge.payouts import Payouts
from bridge.poller import Poller
from bridge.prover import Prover
from bridge.taker import LaneSettings
from bridge.token import Token, register
from daemon.settings import Settings
from daemon.supervisor import Loop
from indexer.contract import Contract
from indexer.follower import Follower, FollowerSettings
from indexer.lease import Fence, fenced
from indexer.rpc import Rpc

IDLE_S = 0.05
"""How long a loop over our own tables rests when there is nothing to do."""


@dataclass(frozen=True, slots=True)
class Parts:
    """The connections that the daemon owns while it runs."""

    settings: Settings
    pool: asyncpg.Pool
    rpc: Rpc
    bank: RestBank
    custody: KeystoreCustody
    token: Token


def holder_name() -> str:
    """How this daemon signs its leases."""
    return f"{socket.gethostname()}:{os.getpid()}"


def token_of(settings: Settings) -> Token:
    """The token as the bridge sees it."""
    return Token(
        chain_id=settings.chain.id,
        address=settings.token.address,
        contract_name=settings.token.contract,
        account_id=settings.bank.account_id,
        currency=settings.token.currency,
        decimals=settings.token.decimals,
    )


def rpc_of(settings: Settings) -> Rpc:
    """The node, not yet connected."""
    return Rpc(settings.chain.rpc_url, total_timeout_s=settings.chain.timeout_s)


def contract_of(settings: Settings) -> Contract:
    """The token as the indexer sees it."""
    return Contract.from_abi(settings.token.contract, settings.token.address, load_abi())


def bank_settings(settings: Settings) -> RestBankSettings:
    """The bank as its connector wants it."""
    return RestBankSettings(
        base_url=settings.bank.base_url,
        api_key=settings.bank.api_key,
        account_id=settings.bank.account_id,
        currency=settings.token.currency,
        exponent=settings.token.decimals,
        webhook_secrets=settings.bank.webhook_secrets,
        timeout_s=settings.bank.timeout_s,
    )


def make_loops(parts: Parts, signer: bytes) -> list[Loop]:
    """Every loop of the daemon, with the lease that it runs under."""
    settings, pool, token = parts.settings, parts.pool, parts.token
    follower = Follower(
        pool,
        parts.rpc,
        [contract_of(settings)],
        FollowerSettings(
            chain_id=settings.chain.id,
            start_block=settings.chain.start_block,
            finality_depth_blocks=settings.chain.finality_depth_blocks,
        ),
    )
    observer = Observer(pool, token)
    ingest = Ingest(pool, token)
    decider = Decider(pool, token, settings.daemon.recheck_held_s)
    payouts = Payouts(pool, parts.bank, token, settings.bank.ask_after_s)
    poller = Poller(pool, parts.bank, token)
    node = Node(parts.rpc)
    lane = Lane(
        pool,
        node,
        parts.custody,
        token,
        signer,
        LaneSettings(
            max_fee_wei=settings.sender.max_fee_wei,
            priority_fee_wei=settings.sender.priority_fee_wei,
            mint_deadline_s=settings.sender.mint_deadline_s,
            resend_after_s=settings.sender.resend_after_s,
        ),
    )
    prover = Prover(pool, node, parts.bank, token)

    async def follow(fence: Fence) -> bool:
        return (await follower.step(fence)).more

    async def open_books(fence: Fence) -> None:
        async with fenced(pool, fence) as connection:
            await register(connection, token)
            await open_accounts(connection, token)

    async def open_lane(fence: Fence) -> None:
        await lane.open(fence, "keystore")

    async def poll(_: Fence) -> bool:
        return await poller.step()

    return [
        Loop("follower", "follow", follow, settings.chain.poll_interval_s),
        Loop("observer", "operate", observer.step, IDLE_S, open_books),
        Loop("ingest", "operate", ingest.step, IDLE_S, open_books),
        Loop("decider", "operate", decider.step, IDLE_S, open_books),
        Loop("payouts", "operate", payouts.step, IDLE_S, open_books),
        Loop("poller", "operate", poll, settings.bank.poll_interval_s, open_books),
        Loop("lane", "submit", lane.step, IDLE_S, open_lane),
        Loop("prover", "reconcile", prover.step, settings.chain.poll_interval_s),
    ]
