// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {IAccessControl} from "@openzeppelin/contracts/access/IAccessControl.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {AccountPolicy} from "../src/AccountPolicy.sol";
import {DepositToken} from "../src/DepositToken.sol";
import {ZeroAmount} from "../src/Refusal.sol";
import {DepositTokenFixture} from "./DepositTokenFixture.sol";

contract ForcedTransferTest is DepositTokenFixture {
    bytes32 private constant REASON = keccak256("court order 1");

    function setUp() public override {
        super.setUp();
        mint(OP_ID, alice, 100);
    }

    function forcedTransfer(address from, address to, uint256 amount) private {
        vm.prank(clawer);
        token.forcedTransfer(from, to, amount, REASON);
    }

    function test_ItMovesTokensAndEmits() public {
        vm.expectEmit(address(token));
        emit DepositToken.ForcedTransfer(clawer, alice, bob, 30, REASON);
        vm.expectEmit(address(token));
        emit IERC20.Transfer(alice, bob, 30);
        forcedTransfer(alice, bob, 30);

        assertEq(token.balanceOf(alice), 70);
        assertEq(token.balanceOf(bob), 30);
        assertEq(token.totalSupply(), 100);
    }

    function test_ItIgnoresTheStandingOfTheHolderAndEveryPause() public {
        setFrozen(alice, true);
        setAllowed(alice, false);
        pause(MINT | REQUEST | TRANSFER);

        forcedTransfer(alice, bob, 100);

        assertEq(token.balanceOf(bob), 100);
    }

    function test_ItNeedsNoApprovalAndUsesNone() public {
        vm.prank(alice);
        token.approve(clawer, 7);

        forcedTransfer(alice, bob, 100);

        assertEq(token.allowance(alice, clawer), 7);
    }

    function test_TheReceiverMustBeAllowed() public {
        vm.expectRevert(abi.encodeWithSelector(AccountPolicy.AccountNotAllowed.selector, stranger));
        forcedTransfer(alice, stranger, 30);
    }

    function test_TheReceiverMustNotBeFrozen() public {
        setFrozen(bob, true);

        vm.expectRevert(abi.encodeWithSelector(AccountPolicy.AccountFrozen.selector, bob));
        forcedTransfer(alice, bob, 30);
    }

    function test_TheEscrowIsNoReceiver() public {
        setAllowed(address(token), true);

        vm.expectRevert(
            abi.encodeWithSelector(IERC20Errors.ERC20InvalidReceiver.selector, address(token))
        );
        forcedTransfer(alice, address(token), 30);
    }

    function test_NothingIsBurned() public {
        setAllowed(address(0), true);

        vm.expectRevert(
            abi.encodeWithSelector(IERC20Errors.ERC20InvalidReceiver.selector, address(0))
        );
        forcedTransfer(alice, address(0), 30);
    }

    function test_NothingIsMinted() public {
        vm.expectRevert(
            abi.encodeWithSelector(IERC20Errors.ERC20InvalidSender.selector, address(0))
        );
        forcedTransfer(address(0), bob, 30);
    }

    function test_TheEscrowIsOutOfReach() public {
        requestRedeem(alice, 40);

        vm.expectRevert(
            abi.encodeWithSelector(IERC20Errors.ERC20InvalidSender.selector, address(token))
        );
        forcedTransfer(address(token), bob, 40);
    }

    function test_MoreThanTheBalanceReverts() public {
        vm.expectRevert(
            abi.encodeWithSelector(IERC20Errors.ERC20InsufficientBalance.selector, alice, 100, 101)
        );
        forcedTransfer(alice, bob, 101);
    }

    function test_AForcedTransferOfNothingReverts() public {
        vm.expectRevert(ZeroAmount.selector);
        forcedTransfer(alice, bob, 0);
    }

    function test_OnlyItsRoleForces() public {
        vm.expectRevert(
            abi.encodeWithSelector(
                IAccessControl.AccessControlUnauthorizedAccount.selector,
                freezer,
                token.FORCED_TRANSFER_ROLE()
            )
        );
        vm.prank(freezer);
        token.forcedTransfer(alice, bob, 30, REASON);
    }
}
