// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {IAccessControl} from "@openzeppelin/contracts/access/IAccessControl.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {AccountPolicy} from "../src/AccountPolicy.sol";
import {ActionPause} from "../src/ActionPause.sol";
import {Issuance} from "../src/Issuance.sol";
import {MinterLimits} from "../src/MinterLimits.sol";
import {ZeroAmount} from "../src/Refusal.sol";
import {ReserveCap} from "../src/ReserveCap.sol";
import {ReserveFeed} from "../src/ReserveFeed.sol";
import {DepositTokenFixture} from "./DepositTokenFixture.sol";

contract MintBatchTest is DepositTokenFixture {
    bytes32 private constant GOOD_ID = keccak256("a good booking");
    bytes32 private constant OTHER_ID = keccak256("another booking");

    ReserveFeed private feed;
    address private frozen = makeAddr("frozen");

    function setUp() public override {
        super.setUp();
        setAllowed(frozen, true);
        setFrozen(frozen, true);
        feed = new ReserveFeed("Reserve", 2, admin);
        vm.startPrank(admin);
        feed.grantRole(feed.REPORTER_ROLE(), address(this));
        vm.stopPrank();
    }

    function batch(Issuance.MintOp memory one) private pure returns (Issuance.MintOp[] memory ops) {
        ops = new Issuance.MintOp[](1);
        ops[0] = one;
    }

    function batch(Issuance.MintOp memory one, Issuance.MintOp memory other)
        private
        pure
        returns (Issuance.MintOp[] memory ops)
    {
        ops = new Issuance.MintOp[](2);
        (ops[0], ops[1]) = (one, other);
    }

    function capAt(uint192 reserve) private {
        feed.report(reserve, uint64(block.timestamp));
        vm.prank(admin);
        token.setReserveFeed(address(feed), 1 days);
    }

    function countDistinct(bytes32[] memory slots) private pure returns (uint256 distinct) {
        for (uint256 i = 0; i < slots.length; i++) {
            uint256 j = 0;
            while (slots[j] != slots[i]) j++;
            if (j == i) distinct++;
        }
    }

    // The item is passed over for `reason`, its id stays unused, and one after it is minted.
    function assertPassedOver(Issuance.MintOp memory bad, bytes4 reason) private {
        bytes32 before = keccak256(abi.encode(status(bad.opId)));
        vm.expectEmit(address(token));
        emit Issuance.MintRefused(bad.opId, minter, reason);
        vm.expectEmit(address(token));
        emit Issuance.Minted(GOOD_ID, minter, alice, 1, REF);
        bytes4[] memory reasons = mintBatch(batch(bad, mintOp(GOOD_ID, alice, 1)));

        assertEq(reasons[0], reason, "the reason");
        assertEq(reasons[1], bytes4(0), "the good one's");
        assertEq(keccak256(abi.encode(status(bad.opId))), before, "the bad one's operation");
        assertEq(token.balanceOf(alice), 1, "the good one's amount");
    }

    function status(bytes32 opId) private view returns (Issuance.OperationStatus found) {
        (found,) = token.operation(opId);
    }

    function test_EachItemIsMintedWithItsEvents() public {
        vm.expectEmit(address(token));
        emit Issuance.Minted(OP_ID, minter, alice, 100, REF);
        vm.expectEmit(address(token));
        emit IERC20.Transfer(address(0), alice, 100);
        vm.expectEmit(address(token));
        emit Issuance.Minted(OTHER_ID, minter, bob, 7, REF);
        vm.expectEmit(address(token));
        emit IERC20.Transfer(address(0), bob, 7);
        bytes4[] memory reasons =
            mintBatch(batch(mintOp(OP_ID, alice, 100), mintOp(OTHER_ID, bob, 7)));

        assertEq(reasons.length, 2);
        assertEq(reasons[0], bytes4(0));
        assertEq(reasons[1], bytes4(0));
        assertEq(token.totalSupply(), 107);
        assertOperation(OP_ID, Issuance.OperationStatus.Minted);
        assertOperation(OTHER_ID, Issuance.OperationStatus.Minted);
    }

    function test_TheDigestIsThatOfASingleMint() public {
        mintBatch(batch(mintOp(OP_ID, alice, 100)));

        (, bytes30 digest) = token.operation(OP_ID);
        assertEq(digest, bytes30(keccak256(abi.encode(OP_ID, alice, uint256(100), REF))));
    }

    function test_LimitsAndSupplyAreWrittenWithTheBatchAndNotWithEachItem() public {
        Issuance.MintOp[] memory ops = new Issuance.MintOp[](20);
        for (uint256 i = 0; i < ops.length; i++) {
            ops[i] = mintOp(keccak256(abi.encode(i)), alice, 1);
        }
        vm.record();
        mintBatch(ops);
        (, bytes32[] memory writes) = vm.accesses(address(token));

        // The supply, the balance, the allowance, the bucket; and a slot for each operation.
        assertEq(countDistinct(writes), 4 + ops.length);
    }

    function test_AnEmptyBatchDoesNothing() public {
        vm.record();
        assertEq(mintBatch(new Issuance.MintOp[](0)).length, 0);
        (, bytes32[] memory writes) = vm.accesses(address(token));

        assertEq(writes.length, 0);
    }

    function test_ARepeatedOperationIsSkippedAsReplayed() public {
        mint(OP_ID, alice, 100);

        vm.expectEmit(address(token));
        emit Issuance.OperationReplayed(OP_ID, minter);
        bytes4[] memory reasons =
            mintBatch(batch(mintOp(OP_ID, alice, 100), mintOp(GOOD_ID, bob, 1)));

        assertEq(reasons[0], Issuance.OperationUsed.selector);
        assertEq(reasons[1], bytes4(0));
        assertEq(token.balanceOf(alice), 100);
        assertEq(token.balanceOf(bob), 1);
    }

    function test_ARepeatedOperationIsReplayedWhateverWouldBeWrongWithItByNow() public {
        Issuance.MintOp memory op = mintOp(OP_ID, alice, 100);
        mint(op);
        vm.warp(uint256(op.deadline) + 1);
        setFrozen(alice, true);
        configureMinter(minter, 0, 0, 0);

        vm.expectEmit(address(token));
        emit Issuance.OperationReplayed(OP_ID, minter);
        mintBatch(batch(op));
    }

    function test_ARepeatedOperationWithALaterDeadlineIsReplayed() public {
        Issuance.MintOp memory op = mintOp(OP_ID, alice, 100);
        mint(op);
        op.deadline += 1 hours;

        vm.expectEmit(address(token));
        emit Issuance.OperationReplayed(OP_ID, minter);
        mintBatch(batch(op));
    }

    function test_AnOperationThatIsTwiceInABatchIsMintedOnce() public {
        Issuance.MintOp memory op = mintOp(OP_ID, alice, 100);

        vm.expectEmit(address(token));
        emit Issuance.OperationReplayed(OP_ID, minter);
        mintBatch(batch(op, op));

        assertEq(token.balanceOf(alice), 100);
    }

    function test_AUsedIdWithOtherContentIsPassedOver() public {
        mint(OP_ID, bob, 100);

        assertPassedOver(mintOp(OP_ID, bob, 99), Issuance.OperationUsed.selector);
    }

    function test_AVoidedOperationIsPassedOver() public {
        voidOperation(OP_ID);

        assertPassedOver(mintOp(OP_ID, bob, 100), Issuance.OperationUsed.selector);
    }

    function test_AnItemWithoutAnIdIsPassedOver() public {
        assertPassedOver(mintOp(0, bob, 100), Issuance.ZeroOpId.selector);
    }

    function test_AnItemOfNothingIsPassedOver() public {
        assertPassedOver(mintOp(OP_ID, bob, 0), ZeroAmount.selector);
    }

    function test_AnExpiredItemIsPassedOver() public {
        Issuance.MintOp memory op = mintOp(OP_ID, bob, 100);
        vm.warp(uint256(op.deadline) + 1);

        assertPassedOver(op, Issuance.OperationExpired.selector);
    }

    function test_AnItemToAStrangerIsPassedOver() public {
        assertPassedOver(mintOp(OP_ID, stranger, 100), AccountPolicy.AccountNotAllowed.selector);
    }

    function test_AnItemToAFrozenAccountIsPassedOver() public {
        assertPassedOver(mintOp(OP_ID, frozen, 100), AccountPolicy.AccountFrozen.selector);
    }

    function test_AnItemToTheTokenIsPassedOver() public {
        setAllowed(address(token), true);

        assertPassedOver(
            mintOp(OP_ID, address(token), 100), IERC20Errors.ERC20InvalidReceiver.selector
        );
    }

    function test_AnItemToNobodyIsPassedOver() public {
        setAllowed(address(0), true);

        assertPassedOver(mintOp(OP_ID, address(0), 100), IERC20Errors.ERC20InvalidReceiver.selector);
    }

    function test_AnItemAboveTheAllowanceIsPassedOver() public {
        configureMinter(minter, 100, 1000, 1);

        assertPassedOver(mintOp(OP_ID, bob, 101), MinterLimits.MinterAllowanceExceeded.selector);
    }

    function test_AnItemAboveTheBucketIsPassedOver() public {
        configureMinter(minter, 1000, 100, 1);

        assertPassedOver(mintOp(OP_ID, bob, 101), MinterLimits.MinterLimitExceeded.selector);
    }

    function test_AnItemAboveTheReserveIsPassedOver() public {
        capAt(100);

        assertPassedOver(mintOp(OP_ID, bob, 101), ReserveCap.ReserveExceeded.selector);
    }

    function test_AnItemThatWouldOverflowTheSupplyIsPassedOver() public {
        configureMinter(minter, type(uint256).max, type(uint208).max, 1);

        assertPassedOver(
            mintOp(OP_ID, bob, type(uint256).max), MinterLimits.MinterLimitExceeded.selector
        );
    }

    function test_WhileTheReserveIsStaleEveryItemIsPassedOver() public {
        capAt(100);
        vm.warp(block.timestamp + 1 days + 1);

        bytes4[] memory reasons =
            mintBatch(batch(mintOp(OP_ID, alice, 1), mintOp(OTHER_ID, bob, 1)));

        assertEq(reasons[0], ReserveCap.ReserveStale.selector);
        assertEq(reasons[1], ReserveCap.ReserveStale.selector);
        assertEq(token.totalSupply(), 0);
    }

    function test_WhatIsPassedOverTakesNothingFromTheOthers() public {
        configureMinter(minter, 100, 100, 1000);
        capAt(100);

        bytes4[] memory reasons =
            mintBatch(batch(mintOp(OP_ID, alice, 101), mintOp(OTHER_ID, bob, 100)));

        assertEq(reasons[0], MinterLimits.MinterAllowanceExceeded.selector);
        assertEq(reasons[1], bytes4(0));
        assertEq(token.balanceOf(bob), 100);
    }

    // Of two items that fit alone and not together, the second is passed over for `reason`.
    function assertCountedTogether(bytes4 reason) private {
        (uint256 allowance,,, uint256 available) = token.minterLimits(minter);
        bytes4[] memory reasons =
            mintBatch(batch(mintOp(OP_ID, alice, 60), mintOp(OTHER_ID, bob, 41)));

        assertEq(reasons[1], reason);
        assertEq(token.totalSupply(), 60);
        (uint256 allowanceLeft,,, uint256 availableLeft) = token.minterLimits(minter);
        assertEq(allowanceLeft, allowance - 60);
        assertEq(availableLeft, available - 60);
    }

    function test_ItemsOfOneBatchCountTogetherAgainstTheAllowance() public {
        configureMinter(minter, 100, 1000, 1);

        assertCountedTogether(MinterLimits.MinterAllowanceExceeded.selector);
    }

    function test_ItemsOfOneBatchCountTogetherAgainstTheBucket() public {
        configureMinter(minter, 1000, 100, 1);

        assertCountedTogether(MinterLimits.MinterLimitExceeded.selector);
    }

    function test_ItemsOfOneBatchCountTogetherAgainstTheReserve() public {
        capAt(100);

        assertCountedTogether(ReserveCap.ReserveExceeded.selector);
    }

    function test_ABatchWhilePausedReverts() public {
        pause(MINT);

        vm.expectRevert(abi.encodeWithSelector(ActionPause.ActionPaused.selector, MINT));
        mintBatch(batch(mintOp(OP_ID, alice, 100)));
    }

    function test_ABatchByAnybodyElseReverts() public {
        vm.expectRevert(
            abi.encodeWithSelector(
                IAccessControl.AccessControlUnauthorizedAccount.selector,
                redeemer,
                token.MINTER_ROLE()
            )
        );
        vm.prank(redeemer);
        token.mintBatch(batch(mintOp(OP_ID, alice, 100)));
    }

    function test_ABatchWithABrokenAddressReverts() public {
        bytes memory data = abi.encodeCall(Issuance.mintBatch, (batch(mintOp(OP_ID, alice, 100))));
        // Selector, offset, length, the id; the first byte of the address's word.
        data[4 + 3 * 32] = 0x01;

        vm.prank(minter);
        (bool success,) = address(token).call(data);
        assertFalse(success);
    }

    function testFuzz_ABatchDoesWhatItsItemsAloneDo(
        uint16 allowance,
        uint16 burst,
        uint16 reserve,
        uint256 seed
    ) public {
        mint(id(1), alice, 10);
        voidOperation(id(2));
        configureMinter(minter, allowance % 600, burst % 600, 1 hours);
        capAt(reserve % 600);
        Issuance.MintOp[] memory ops = randomOps(seed);

        uint256 start = vm.snapshotState();
        bytes4[] memory alone = new bytes4[](ops.length);
        for (uint256 i = 0; i < ops.length; i++) {
            vm.prank(minter);
            try token.mint(ops[i]) {}
            catch (bytes memory reason) {
                alone[i] = bytes4(reason);
            }
        }
        bytes32 expected = fingerprint();
        vm.revertToState(start);
        bytes4[] memory together = mintBatch(ops);

        for (uint256 i = 0; i < ops.length; i++) {
            assertEq(together[i], alone[i], "the reason");
        }
        assertEq(fingerprint(), expected, "the state");
    }

    // Few ids and few accounts, so that they meet; amounts that add up to more than there is.
    function randomOps(uint256 seed) private view returns (Issuance.MintOp[] memory ops) {
        address[6] memory accounts = [alice, bob, frozen, stranger, address(token), address(0)];
        ops = new Issuance.MintOp[](8);
        for (uint256 i = 0; i < ops.length; i++) {
            uint256 dice = uint256(keccak256(abi.encode(seed, i)));
            // The first two are good ones, so take them half of the time.
            uint256 account = dice % 2 == 0 ? dice / 2 % 2 : dice / 2 % accounts.length;
            ops[i] = mintOp(id(dice / 100 % 10), accounts[account], dice / 1000 % 150);
            if (dice / 1e6 % 10 == 0) ops[i].deadline = uint64(block.timestamp - 1);
            if (dice / 1e7 % 4 == 0) ops[i] = mintOp(id(1), alice, 10);
        }
    }

    // Id 0 is none; the others are numbered.
    function id(uint256 number) private pure returns (bytes32) {
        return number == 0 ? bytes32(0) : keccak256(abi.encode("operation", number));
    }

    // All that a mint may change.
    function fingerprint() private view returns (bytes32 found) {
        (uint256 allowance,,, uint256 available) = token.minterLimits(minter);
        found = keccak256(
            abi.encode(
                token.totalSupply(),
                token.balanceOf(alice),
                token.balanceOf(bob),
                token.balanceOf(frozen),
                token.balanceOf(stranger),
                token.balanceOf(address(token)),
                allowance,
                available
            )
        );
        for (uint256 number = 0; number < 10; number++) {
            (Issuance.OperationStatus now_, bytes30 digest) = token.operation(id(number));
            found = keccak256(abi.encode(found, now_, digest));
        }
    }
}
