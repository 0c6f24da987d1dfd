// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {AccountPolicy} from "../src/AccountPolicy.sol";
import {ActionPause} from "../src/ActionPause.sol";
import {Redemption} from "../src/Redemption.sol";
import {ZeroAmount} from "../src/Refusal.sol";
import {DepositTokenFixture} from "./DepositTokenFixture.sol";

contract RedemptionTest is DepositTokenFixture {
    bytes32 private constant FIAT_REF = keccak256("payout 1");
    bytes32 private constant REASON = keccak256("account closed");

    function setUp() public override {
        super.setUp();
        mint(OP_ID, alice, 100);
    }

    function settle(bytes32 id) private {
        vm.prank(redeemer);
        token.settleRedeem(id, FIAT_REF);
    }

    function reject(bytes32 id) private {
        vm.prank(redeemer);
        token.rejectRedeem(id, REASON);
    }

    function idOf(address holder, uint256 nonce, uint256 amount, bytes32 ref)
        private
        view
        returns (bytes32)
    {
        return keccak256(abi.encode(block.chainid, address(token), holder, nonce, amount, ref));
    }

    // Everything an officer could do against the holder after the request.
    function restrictEverything() private {
        pause(MINT | REQUEST | TRANSFER);
        setFrozen(alice, true);
        setAllowed(alice, false);
        setFrozen(address(token), true);
    }

    function test_RequestMovesTheTokensIntoEscrow() public {
        bytes32 id = requestRedeem(alice, 40);

        assertEq(token.balanceOf(alice), 60);
        assertEq(token.balanceOf(address(token)), 40);
        assertEq(token.totalSupply(), 100);
        assertRedemption(id, alice, 40, Redemption.RedemptionStatus.Open);
    }

    function test_RequestEmitsRedeemRequestedAndTransfer() public {
        vm.expectEmit(address(token));
        emit Redemption.RedeemRequested(idOf(alice, 0, 40, REF), alice, 40, REF);
        vm.expectEmit(address(token));
        emit IERC20.Transfer(alice, address(token), 40);

        requestRedeem(alice, 40);
    }

    function test_EqualRequestsGetDifferentIds() public {
        bytes32 first = requestRedeem(alice, 40);
        bytes32 second = requestRedeem(alice, 40);

        assertEq(first, idOf(alice, 0, 40, REF));
        assertEq(second, idOf(alice, 1, 40, REF));
        assertEq(token.redemptionNonce(alice), 2);
        assertEq(token.redemptionNonce(bob), 0);
    }

    function test_RequestDroppedByAReorganisationKeepsItsIdWhenSentAgain() public {
        uint256 beforeRequest = vm.snapshotState();
        bytes32 dropped = requestRedeem(alice, 40);
        vm.revertToState(beforeRequest);

        assertRedemption(dropped, address(0), 0, Redemption.RedemptionStatus.None);
        assertEq(requestRedeem(alice, 40), dropped);
    }

    function test_RequestOfNothingReverts() public {
        vm.expectRevert(ZeroAmount.selector);
        requestRedeem(alice, 0);
    }

    function test_RequestAboveTheBalanceReverts() public {
        vm.expectRevert(
            abi.encodeWithSelector(IERC20Errors.ERC20InsufficientBalance.selector, alice, 100, 101)
        );
        requestRedeem(alice, 101);
    }

    function test_RequestWhilePausedReverts() public {
        pause(REQUEST);

        vm.expectRevert(abi.encodeWithSelector(ActionPause.ActionPaused.selector, REQUEST));
        requestRedeem(alice, 40);
    }

    function test_RequestGoesOnWhileTheOtherActionsArePaused() public {
        pause(MINT | TRANSFER);

        requestRedeem(alice, 40);

        assertEq(token.balanceOf(address(token)), 40);
    }

    function test_RequestByAHolderWhoIsNotAllowedReverts() public {
        setAllowed(alice, false);

        vm.expectRevert(abi.encodeWithSelector(AccountPolicy.AccountNotAllowed.selector, alice));
        requestRedeem(alice, 40);
    }

    function test_RequestByAFrozenHolderReverts() public {
        setFrozen(alice, true);

        vm.expectRevert(abi.encodeWithSelector(AccountPolicy.AccountFrozen.selector, alice));
        requestRedeem(alice, 40);
    }

    function test_SettleBurnsTheEscrow() public {
        bytes32 id = requestRedeem(alice, 40);

        settle(id);

        assertEq(token.totalSupply(), 60);
        assertEq(token.balanceOf(address(token)), 0);
        assertEq(token.balanceOf(alice), 60);
        assertRedemption(id, alice, 40, Redemption.RedemptionStatus.Settled);
    }

    function test_SettleEmitsRedeemSettledAndTransfer() public {
        bytes32 id = requestRedeem(alice, 40);

        vm.expectEmit(address(token));
        emit Redemption.RedeemSettled(id, alice, 40, FIAT_REF);
        vm.expectEmit(address(token));
        emit IERC20.Transfer(address(token), address(0), 40);
        settle(id);
    }

    function test_SettleIgnoresPauseFreezeAndAllowlist() public {
        bytes32 id = requestRedeem(alice, 40);
        restrictEverything();

        settle(id);

        assertEq(token.totalSupply(), 60);
    }

    function test_RejectGivesTheEscrowBack() public {
        bytes32 id = requestRedeem(alice, 40);

        reject(id);

        assertEq(token.totalSupply(), 100);
        assertEq(token.balanceOf(address(token)), 0);
        assertEq(token.balanceOf(alice), 100);
        assertRedemption(id, alice, 40, Redemption.RedemptionStatus.Rejected);
    }

    function test_RejectEmitsRedeemRejectedAndTransfer() public {
        bytes32 id = requestRedeem(alice, 40);

        vm.expectEmit(address(token));
        emit Redemption.RedeemRejected(id, alice, 40, REASON);
        vm.expectEmit(address(token));
        emit IERC20.Transfer(address(token), alice, 40);
        reject(id);
    }

    function test_RejectIgnoresPauseFreezeAndAllowlist() public {
        bytes32 id = requestRedeem(alice, 40);
        restrictEverything();

        reject(id);

        assertEq(token.balanceOf(alice), 100);
    }

    function test_RejectGivesAFrozenHolderTheTokensBackStillFrozen() public {
        bytes32 id = requestRedeem(alice, 40);
        setFrozen(alice, true);

        reject(id);

        assertEq(token.balanceOf(alice), 100);
        assertTrue(token.isFrozen(alice));
        vm.expectRevert(abi.encodeWithSelector(AccountPolicy.AccountFrozen.selector, alice));
        requestRedeem(alice, 100);
    }

    function test_RejectedTokensCanBeRedeemedAgain() public {
        reject(requestRedeem(alice, 100));

        settle(requestRedeem(alice, 100));

        assertEq(token.totalSupply(), 0);
    }

    function test_UnknownRedemptionCannotBeSettledOrRejected() public {
        bytes32 unknown = keccak256("no such redemption");

        vm.expectRevert(abi.encodeWithSelector(Redemption.RedemptionNotOpen.selector, unknown));
        settle(unknown);
        vm.expectRevert(abi.encodeWithSelector(Redemption.RedemptionNotOpen.selector, unknown));
        reject(unknown);
    }

    function test_SettledRedemptionCannotBeSettledOrRejected() public {
        bytes32 id = requestRedeem(alice, 40);
        requestRedeem(alice, 40);
        settle(id);

        vm.expectRevert(abi.encodeWithSelector(Redemption.RedemptionNotOpen.selector, id));
        settle(id);
        vm.expectRevert(abi.encodeWithSelector(Redemption.RedemptionNotOpen.selector, id));
        reject(id);
    }

    function test_RejectedRedemptionCannotBeSettledOrRejected() public {
        bytes32 id = requestRedeem(alice, 40);
        requestRedeem(alice, 40);
        reject(id);

        vm.expectRevert(abi.encodeWithSelector(Redemption.RedemptionNotOpen.selector, id));
        settle(id);
        vm.expectRevert(abi.encodeWithSelector(Redemption.RedemptionNotOpen.selector, id));
        reject(id);
    }

    function testFuzz_EveryUnitIsEitherBurnedOrGivenBack(
        uint256 minted,
        uint256 amount,
        bytes32 ref,
        bool paid
    ) public {
        minted = bound(minted, 1, type(uint208).max - 100);
        amount = bound(amount, 1, minted);
        mint(keccak256("booking 2"), bob, minted);

        vm.prank(bob);
        bytes32 id = token.requestRedeem(amount, ref);
        assertEq(id, idOf(bob, 0, amount, ref));
        paid ? settle(id) : reject(id);

        assertEq(token.balanceOf(address(token)), 0);
        assertEq(token.balanceOf(bob), paid ? minted - amount : minted);
        assertEq(token.totalSupply(), token.balanceOf(alice) + token.balanceOf(bob));
    }
}
