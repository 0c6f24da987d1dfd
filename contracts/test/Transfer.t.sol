// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {AccountPolicy} from "../src/AccountPolicy.sol";
import {ActionPause} from "../src/ActionPause.sol";
import {DepositTokenFixture} from "./DepositTokenFixture.sol";

contract TransferTest is DepositTokenFixture {
    address private spender = makeAddr("spender");

    function setUp() public override {
        super.setUp();
        setAllowed(spender, true);
        mint(OP_ID, alice, 100);
        vm.prank(alice);
        token.approve(spender, 50);
    }

    function transfer(address from, address to, uint256 amount) private {
        vm.prank(from);
        assertTrue(token.transfer(to, amount));
    }

    function transferFrom(address by, address from, address to, uint256 amount) private {
        vm.prank(by);
        assertTrue(token.transferFrom(from, to, amount));
    }

    function expectNotAllowed(address account) private {
        vm.expectRevert(abi.encodeWithSelector(AccountPolicy.AccountNotAllowed.selector, account));
    }

    function expectFrozen(address account) private {
        vm.expectRevert(abi.encodeWithSelector(AccountPolicy.AccountFrozen.selector, account));
    }

    function expectInvalidReceiver(address account) private {
        vm.expectRevert(abi.encodeWithSelector(IERC20Errors.ERC20InvalidReceiver.selector, account));
    }

    function test_TransferMovesTokensAndEmits() public {
        vm.expectEmit(address(token));
        emit IERC20.Transfer(alice, bob, 30);
        transfer(alice, bob, 30);

        assertEq(token.balanceOf(alice), 70);
        assertEq(token.balanceOf(bob), 30);
    }

    function test_ApprovedSpenderMovesTokens() public {
        transferFrom(spender, alice, bob, 30);

        assertEq(token.balanceOf(bob), 30);
        assertEq(token.allowance(alice, spender), 20);
    }

    function test_TransferAboveTheBalanceReverts() public {
        vm.expectRevert(
            abi.encodeWithSelector(IERC20Errors.ERC20InsufficientBalance.selector, alice, 100, 101)
        );
        vm.prank(alice);
        token.transfer(bob, 101);
    }

    function test_TransferWhilePausedReverts() public {
        pause(TRANSFER);

        vm.expectRevert(abi.encodeWithSelector(ActionPause.ActionPaused.selector, TRANSFER));
        vm.prank(alice);
        token.transfer(bob, 1);
        vm.expectRevert(abi.encodeWithSelector(ActionPause.ActionPaused.selector, TRANSFER));
        vm.prank(spender);
        token.transferFrom(alice, bob, 1);
    }

    function test_TransferGoesOnWhileTheOtherActionsArePaused() public {
        pause(MINT | REQUEST);

        transfer(alice, bob, 30);

        assertEq(token.balanceOf(bob), 30);
    }

    function test_SenderWhoIsNotAllowedCannotTransfer() public {
        setAllowed(alice, false);

        expectNotAllowed(alice);
        vm.prank(alice);
        token.transfer(bob, 1);
        expectNotAllowed(alice);
        vm.prank(spender);
        token.transferFrom(alice, bob, 1);
    }

    function test_FrozenSenderCannotTransfer() public {
        setFrozen(alice, true);

        expectFrozen(alice);
        vm.prank(alice);
        token.transfer(bob, 1);
        expectFrozen(alice);
        vm.prank(spender);
        token.transferFrom(alice, bob, 1);
    }

    function test_ReceiverWhoIsNotAllowedIsRefused() public {
        expectNotAllowed(stranger);
        vm.prank(alice);
        token.transfer(stranger, 1);
    }

    function test_FrozenReceiverIsRefused() public {
        setFrozen(bob, true);

        expectFrozen(bob);
        vm.prank(alice);
        token.transfer(bob, 1);
    }

    function test_SpenderWhoIsNotAllowedCannotTransfer() public {
        setAllowed(spender, false);

        expectNotAllowed(spender);
        vm.prank(spender);
        token.transferFrom(alice, bob, 1);
    }

    function test_FrozenSpenderCannotTransfer() public {
        setFrozen(spender, true);

        expectFrozen(spender);
        vm.prank(spender);
        token.transferFrom(alice, bob, 1);
    }

    function test_TransferToTheTokenItselfRevertsEvenIfItIsAllowed() public {
        setAllowed(address(token), true);

        expectInvalidReceiver(address(token));
        vm.prank(alice);
        token.transfer(address(token), 1);
        expectInvalidReceiver(address(token));
        vm.prank(spender);
        token.transferFrom(alice, address(token), 1);
    }

    function test_TransferToNobodyRevertsEvenIfAllowed() public {
        setAllowed(address(0), true);

        expectInvalidReceiver(address(0));
        vm.prank(alice);
        token.transfer(address(0), 1);
    }

    function testFuzz_TransferSucceedsExactlyIfEveryoneInvolvedMay(
        uint256 amount,
        bool[3] memory allowed,
        bool[3] memory frozen
    ) public {
        address[3] memory involved = [spender, alice, bob];
        amount = bound(amount, 0, 50);
        bool permitted = true;
        for (uint256 i = 0; i < involved.length; i++) {
            setAllowed(involved[i], allowed[i]);
            setFrozen(involved[i], frozen[i]);
            permitted = permitted && allowed[i] && !frozen[i];
        }

        vm.prank(spender);
        (bool succeeded,) =
            address(token).call(abi.encodeCall(IERC20.transferFrom, (alice, bob, amount)));

        assertEq(succeeded, permitted);
        assertEq(token.balanceOf(bob), permitted ? amount : 0);
        assertEq(token.totalSupply(), 100);
    }
}
