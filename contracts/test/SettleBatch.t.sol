// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {IAccessControl} from "@openzeppelin/contracts/access/IAccessControl.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {Redemption} from "../src/Redemption.sol";
import {DepositTokenFixture} from "./DepositTokenFixture.sol";

contract SettleBatchTest is DepositTokenFixture {
    bytes32 private constant FIAT_REF = keccak256("payout 1");

    bytes32 private first;
    bytes32 private second;

    function setUp() public override {
        super.setUp();
        mint(OP_ID, alice, 100);
        first = requestRedeem(alice, 40);
        second = requestRedeem(alice, 50);
    }

    function batch(bytes32 one, bytes32 other)
        private
        pure
        returns (Redemption.SettleOp[] memory ops)
    {
        ops = new Redemption.SettleOp[](2);
        ops[0] = Redemption.SettleOp(one, FIAT_REF);
        ops[1] = Redemption.SettleOp(other, bytes32(uint256(FIAT_REF) + 1));
    }

    // `bad` is passed over, and `first` settled in the same batch.
    function assertPassedOver(bytes32 bad) private {
        vm.expectEmit(address(token));
        emit Redemption.SettleRefused(bad, redeemer, Redemption.RedemptionNotOpen.selector);
        bytes4[] memory reasons = settleBatch(batch(bad, first));

        assertEq(reasons[0], Redemption.RedemptionNotOpen.selector);
        assertEq(reasons[1], bytes4(0));
        assertRedemption(first, alice, 40, Redemption.RedemptionStatus.Settled);
    }

    function test_EachItemIsSettledWithItsEvents() public {
        vm.expectEmit(address(token));
        emit Redemption.RedeemSettled(first, alice, 40, FIAT_REF);
        vm.expectEmit(address(token));
        emit IERC20.Transfer(address(token), address(0), 40);
        vm.expectEmit(address(token));
        emit Redemption.RedeemSettled(second, alice, 50, bytes32(uint256(FIAT_REF) + 1));
        bytes4[] memory reasons = settleBatch(batch(first, second));

        assertEq(reasons.length, 2);
        assertEq(reasons[0], bytes4(0));
        assertEq(reasons[1], bytes4(0));
        assertEq(token.totalSupply(), 10);
        assertEq(token.balanceOf(address(token)), 0);
    }

    function test_AnUnknownRedemptionIsPassedOver() public {
        assertPassedOver(keccak256("no such redemption"));
        assertEq(token.totalSupply(), 60);
    }

    function test_ASettledRedemptionIsPassedOver() public {
        vm.prank(redeemer);
        token.settleRedeem(second, FIAT_REF);

        assertPassedOver(second);
        assertEq(token.totalSupply(), 10);
    }

    function test_ARejectedRedemptionIsPassedOver() public {
        vm.prank(redeemer);
        token.rejectRedeem(second, REF);

        assertPassedOver(second);
        assertEq(token.totalSupply(), 60);
    }

    function test_ARedemptionThatIsTwiceInABatchIsSettledOnce() public {
        bytes4[] memory reasons = settleBatch(batch(first, first));

        assertEq(reasons[0], bytes4(0));
        assertEq(reasons[1], Redemption.RedemptionNotOpen.selector);
        assertEq(token.totalSupply(), 60);
        assertEq(token.balanceOf(address(token)), 50);
    }

    function test_ABatchIgnoresPauseFreezeAndAllowlist() public {
        pause(MINT | REQUEST | TRANSFER);
        setFrozen(alice, true);
        setAllowed(alice, false);
        setFrozen(address(token), true);

        settleBatch(batch(first, second));

        assertEq(token.totalSupply(), 10);
    }

    function test_AnEmptyBatchDoesNothing() public {
        assertEq(settleBatch(new Redemption.SettleOp[](0)).length, 0);
    }

    function test_ABatchByAnybodyElseReverts() public {
        vm.expectRevert(
            abi.encodeWithSelector(
                IAccessControl.AccessControlUnauthorizedAccount.selector,
                minter,
                token.REDEEMER_ROLE()
            )
        );
        vm.prank(minter);
        token.settleBatch(batch(first, second));
    }
}
