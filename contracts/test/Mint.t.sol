// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {AccountPolicy} from "../src/AccountPolicy.sol";
import {ActionPause} from "../src/ActionPause.sol";
import {Issuance} from "../src/Issuance.sol";
import {ZeroAmount} from "../src/Refusal.sol";
import {DepositTokenFixture} from "./DepositTokenFixture.sol";

contract MintTest is DepositTokenFixture {
    function countDistinct(bytes32[] memory slots) private pure returns (uint256 distinct) {
        for (uint256 i = 0; i < slots.length; i++) {
            uint256 j = 0;
            while (slots[j] != slots[i]) j++;
            if (j == i) distinct++;
        }
    }

    function test_MintCreditsTheAccountAndTheSupply() public {
        mint(OP_ID, alice, 100);

        assertEq(token.balanceOf(alice), 100);
        assertEq(token.totalSupply(), 100);
    }

    function test_MintEmitsMintedAndTransfer() public {
        vm.expectEmit(address(token));
        emit Issuance.Minted(OP_ID, minter, alice, 100, REF);
        vm.expectEmit(address(token));
        emit IERC20.Transfer(address(0), alice, 100);

        mint(OP_ID, alice, 100);
    }

    function test_UnusedOperationIsAllZero() public view {
        (Issuance.OperationStatus status, bytes30 digest) = token.operation(OP_ID);

        assertEq(uint8(status), 0);
        assertEq(digest, bytes30(0));
    }

    function test_MintRecordsStatusAndDigestInOneSlot() public {
        vm.record();
        mint(OP_ID, alice, 100);
        (, bytes32[] memory writes) = vm.accesses(address(token));

        // The operation, the supply, the balance, the minter's allowance and bucket: no other slot.
        assertEq(countDistinct(writes), 5);
        (Issuance.OperationStatus status, bytes30 digest) = token.operation(OP_ID);
        assertEq(uint8(status), uint8(Issuance.OperationStatus.Minted));
        assertEq(digest, bytes30(keccak256(abi.encode(OP_ID, alice, uint256(100), REF))));
    }

    function test_MintAtItsDeadlineSucceeds() public {
        Issuance.MintOp memory op = mintOp(OP_ID, alice, 100);
        vm.warp(op.deadline);

        mint(op);

        assertOperation(OP_ID, Issuance.OperationStatus.Minted);
    }

    function test_MintAfterItsDeadlineReverts() public {
        Issuance.MintOp memory op = mintOp(OP_ID, alice, 100);
        vm.warp(uint256(op.deadline) + 1);

        vm.expectRevert(
            abi.encodeWithSelector(Issuance.OperationExpired.selector, OP_ID, op.deadline)
        );
        mint(op);
    }

    function test_ExpiredOperationCanBeMintedWithALaterDeadline() public {
        Issuance.MintOp memory op = mintOp(OP_ID, alice, 100);
        vm.warp(uint256(op.deadline) + 1);
        op.deadline += 1 hours;

        mint(op);

        assertEq(token.balanceOf(alice), 100);
    }

    function test_SecondMintOfAnOperationReverts() public {
        mint(OP_ID, alice, 100);

        vm.expectRevert(abi.encodeWithSelector(Issuance.OperationUsed.selector, OP_ID));
        mint(OP_ID, alice, 100);
    }

    function test_SecondMintWithOtherContentReverts() public {
        mint(OP_ID, alice, 100);

        vm.expectRevert(abi.encodeWithSelector(Issuance.OperationUsed.selector, OP_ID));
        mint(OP_ID, bob, 7);
    }

    function test_UsedOperationIsReportedBeforeAnythingElseThatIsWrong() public {
        Issuance.MintOp memory op = mintOp(OP_ID, alice, 100);
        mint(op);
        vm.warp(uint256(op.deadline) + 1);
        pause(MINT);
        setFrozen(alice, true);

        vm.expectRevert(abi.encodeWithSelector(Issuance.OperationUsed.selector, OP_ID));
        mint(op);
    }

    function test_MintOfAVoidedOperationReverts() public {
        voidOperation(OP_ID);

        vm.expectRevert(abi.encodeWithSelector(Issuance.OperationUsed.selector, OP_ID));
        mint(OP_ID, alice, 100);
    }

    function test_MintWithoutAnOperationIdReverts() public {
        vm.expectRevert(Issuance.ZeroOpId.selector);
        mint(bytes32(0), alice, 100);
    }

    function test_MintOfNothingReverts() public {
        vm.expectRevert(ZeroAmount.selector);
        mint(OP_ID, alice, 0);
    }

    function test_MintWhilePausedReverts() public {
        pause(MINT);

        vm.expectRevert(abi.encodeWithSelector(ActionPause.ActionPaused.selector, MINT));
        mint(OP_ID, alice, 100);
    }

    function test_MintGoesOnWhileTheOtherActionsArePaused() public {
        pause(REQUEST | TRANSFER);

        mint(OP_ID, alice, 100);

        assertEq(token.balanceOf(alice), 100);
    }

    function test_MintToAnAccountThatIsNotAllowedReverts() public {
        vm.expectRevert(abi.encodeWithSelector(AccountPolicy.AccountNotAllowed.selector, stranger));
        mint(OP_ID, stranger, 100);
    }

    function test_MintToAFrozenAccountReverts() public {
        setFrozen(alice, true);

        vm.expectRevert(abi.encodeWithSelector(AccountPolicy.AccountFrozen.selector, alice));
        mint(OP_ID, alice, 100);
    }

    function test_MintToTheTokenItselfRevertsEvenIfItIsAllowed() public {
        setAllowed(address(token), true);

        vm.expectRevert(
            abi.encodeWithSelector(IERC20Errors.ERC20InvalidReceiver.selector, address(token))
        );
        mint(OP_ID, address(token), 100);
    }

    function test_MintToNobodyRevertsEvenIfAllowed() public {
        setAllowed(address(0), true);

        vm.expectRevert(
            abi.encodeWithSelector(IERC20Errors.ERC20InvalidReceiver.selector, address(0))
        );
        mint(OP_ID, address(0), 100);
    }

    function test_RefusedMintLeavesTheOperationUnused() public {
        setFrozen(alice, true);
        vm.expectRevert(abi.encodeWithSelector(AccountPolicy.AccountFrozen.selector, alice));
        mint(OP_ID, alice, 100);
        assertOperation(OP_ID, Issuance.OperationStatus.Unused);

        setFrozen(alice, false);
        mint(OP_ID, alice, 100);

        assertOperation(OP_ID, Issuance.OperationStatus.Minted);
    }

    function test_VoidConsumesTheOperationAndEmits() public {
        vm.expectEmit(address(token));
        emit Issuance.OperationVoided(OP_ID, minter);
        voidOperation(OP_ID);

        (Issuance.OperationStatus status, bytes30 digest) = token.operation(OP_ID);
        assertEq(uint8(status), uint8(Issuance.OperationStatus.Voided));
        assertEq(digest, bytes30(0));
        assertEq(token.totalSupply(), 0);
    }

    function test_VoidWorksWhileEverythingIsPaused() public {
        pause(MINT | REQUEST | TRANSFER);

        voidOperation(OP_ID);

        assertOperation(OP_ID, Issuance.OperationStatus.Voided);
    }

    function test_VoidOfAMintedOperationReverts() public {
        mint(OP_ID, alice, 100);

        vm.expectRevert(abi.encodeWithSelector(Issuance.OperationUsed.selector, OP_ID));
        voidOperation(OP_ID);
    }

    function test_SecondVoidReverts() public {
        voidOperation(OP_ID);

        vm.expectRevert(abi.encodeWithSelector(Issuance.OperationUsed.selector, OP_ID));
        voidOperation(OP_ID);
    }

    function test_VoidWithoutAnOperationIdReverts() public {
        vm.expectRevert(Issuance.ZeroOpId.selector);
        voidOperation(bytes32(0));
    }

    function testFuzz_AnOperationMintsExactlyItsAmountOnce(
        bytes32 opId,
        address to,
        uint256 amount,
        bytes32 ref,
        uint64 deadline
    ) public {
        vm.assume(opId != bytes32(0) && to != address(0) && to != address(token));
        amount = bound(amount, 1, type(uint208).max);
        deadline = uint64(bound(deadline, block.timestamp, type(uint64).max));
        setAllowed(to, true);
        Issuance.MintOp memory op = Issuance.MintOp(opId, to, amount, ref, deadline);

        mint(op);
        vm.expectRevert(abi.encodeWithSelector(Issuance.OperationUsed.selector, opId));
        mint(op);

        assertEq(token.balanceOf(to), amount);
        assertEq(token.totalSupply(), amount);
        (, bytes30 digest) = token.operation(opId);
        assertEq(digest, bytes30(keccak256(abi.encode(opId, to, amount, ref))));
    }

    function testFuzz_OperationsDoNotTouchEachOther(bytes32 opId, bytes32 other) public {
        vm.assume(opId != bytes32(0) && other != bytes32(0) && opId != other);

        mint(opId, alice, 1);
        assertOperation(other, Issuance.OperationStatus.Unused);
        voidOperation(other);

        assertOperation(opId, Issuance.OperationStatus.Minted);
        assertOperation(other, Issuance.OperationStatus.Voided);
    }
}
