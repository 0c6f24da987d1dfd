"""The whole path, one step of it after the other, by real processes."""

from __future__ import annotations

from daemon.demo.disturbance import reorg
from daemon.demo.scenario import Deposit
from daemon.demo.token import MINTED, REQUESTED, SETTLED
from tests.acceptance.conftest import Stage, events_of, state_of, until

WALLET_OF_MINT = 2
WALLET_OF_REDEMPTION = 1


async def test_a_deposit_becomes_one_mint_to_the_payers_wallet(stage: Stage) -> None:
    deposit = stage.scenario.deposits[0]
    await _mint(stage, deposit)
    mints = await events_of(
        stage.world.token, MINTED, deposit.holder.wallet.address, WALLET_OF_MINT
    )
    assert [mint.amount for mint in mints] == [deposit.amount_minor]


async def test_a_reorg_undoes_a_mint_and_it_is_minted_again_once(stage: Stage) -> None:
    deposit = stage.scenario.deposits[1]
    wallet = deposit.holder.wallet.address
    await _mint(stage, deposit)
    [first] = await events_of(stage.world.token, MINTED, wallet, WALLET_OF_MINT)

    undone = await reorg(stage.world.token)

    assert undone.unminted > 0
    await until(
        "the undone mint is minted again and settled", lambda: _is(stage, "issuance", wallet)
    )
    [second] = await events_of(stage.world.token, MINTED, wallet, WALLET_OF_MINT)
    assert second.block_hash != first.block_hash
    assert (second.topics, second.amount) == (first.topics, deposit.amount_minor)


async def test_a_redemption_becomes_one_payout_and_then_one_burn(stage: Stage) -> None:
    deposit = stage.scenario.deposits[2]
    holder, amount = deposit.holder, deposit.amount_minor // 2
    wallet = holder.wallet.address
    token, bank = stage.world.token, stage.world.bank
    await _mint(stage, deposit)

    await token.send(holder.wallet, "requestRedeem(uint256,bytes32)", amount, bytes(32))

    await until("the redemption is settled", lambda: _is(stage, "redemption", wallet))
    paid = [each for each in await bank.entries() if each.direction == "debit"]
    assert [(each.iban, each.amount_minor) for each in paid] == [(holder.iban, amount)]
    [request] = await events_of(token, REQUESTED, wallet, WALLET_OF_REDEMPTION)
    [burn] = await events_of(token, SETTLED, wallet, WALLET_OF_REDEMPTION)
    assert (burn.topics[0], burn.amount) == (request.topics[0], amount)
    assert await token.ask("balanceOf(address)", token.address, returns=["uint256"]) == 0


async def test_the_status_agrees_with_chain_and_bank(stage: Stage) -> None:
    supply = await stage.world.token.ask("totalSupply()", returns=["uint256"])

    async def is_proved() -> bool:
        proof = (await stage.world.daemon.status())["bridge"]["proof"]
        return proof is not None and proof["verdict"] == "agree"

    await until("a proof agrees", is_proved)
    status = await stage.world.daemon.status()
    assert status["bridge"]["supply"] == str(supply)
    assert status["bridge"]["reserve"] == str(await stage.world.bank.balance_minor())
    assert status["bridge"]["breaks"]["open"] == {}
    assert status["halts"] == []


async def test_sigterm_ends_the_daemon_in_order(stage: Stage) -> None:
    assert await stage.world.daemon.stop() == 0
    await stage.world.daemon.start()
    stage.world.daemon.check_alive()


async def _mint(stage: Stage, deposit: Deposit) -> None:
    wallet = deposit.holder.wallet.address
    await stage.world.bank.book(deposit)

    async def is_minted() -> bool:
        return bool(await events_of(stage.world.token, MINTED, wallet, WALLET_OF_MINT))

    await until("the deposit is minted", is_minted)


async def _is(stage: Stage, kind: str, wallet: bytes) -> bool:
    return await state_of(stage.world, kind, wallet) == "settled"
