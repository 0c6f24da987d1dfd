// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {IAccessControl} from "@openzeppelin/contracts/access/IAccessControl.sol";
import {MinterLimits} from "../src/MinterLimits.sol";
import {DepositTokenFixture} from "./DepositTokenFixture.sol";

contract MinterLimitsTest is DepositTokenFixture {
    uint256 private count;

    function mintSome(uint256 amount) private {
        mint(keccak256(abi.encode("booking", count++)), alice, amount);
    }

    function expectAllowanceExceeded(uint256 left, uint256 amount) private {
        vm.expectRevert(
            abi.encodeWithSelector(
                MinterLimits.MinterAllowanceExceeded.selector, minter, left, amount
            )
        );
    }

    function expectLimitExceeded(uint256 available, uint256 amount) private {
        vm.expectRevert(
            abi.encodeWithSelector(
                MinterLimits.MinterLimitExceeded.selector, minter, available, amount
            )
        );
    }

    function assertAvailable(uint256 expected) private view {
        (,,, uint256 available) = token.minterLimits(minter);
        assertEq(available, expected, "available");
    }

    function test_AMinterWhoWasNeverConfiguredMintsNothing() public {
        bytes32 role = token.MINTER_ROLE();
        vm.prank(admin);
        token.grantRole(role, stranger);

        vm.expectRevert(
            abi.encodeWithSelector(MinterLimits.MinterAllowanceExceeded.selector, stranger, 0, 1)
        );
        vm.prank(stranger);
        token.mint(mintOp(OP_ID, alice, 1));
    }

    function test_AnAllowanceWithoutABucketMintsNothing() public {
        configureMinter(minter, 100, 0, 0);

        expectLimitExceeded(0, 1);
        mintSome(1);
    }

    function test_ConfiguringEmits() public {
        vm.expectEmit(address(token));
        emit MinterLimits.MinterConfigured(minterAdmin, minter, 1000, 100, 60);
        configureMinter(minter, 1000, 100, 60);

        (uint256 allowance, uint256 burst, uint256 refillS, uint256 available) =
            token.minterLimits(minter);
        assertEq(allowance, 1000);
        assertEq(burst, 100);
        assertEq(refillS, 60);
        assertEq(available, 100);
    }

    function test_OnlyAMinterAdminConfigures() public {
        vm.expectRevert(
            abi.encodeWithSelector(
                IAccessControl.AccessControlUnauthorizedAccount.selector,
                admin,
                token.MINTER_ADMIN_ROLE()
            )
        );
        vm.prank(admin);
        token.configureMinter(minter, 1, 1, 1);
    }

    function test_ABucketThatFillsInNoTimeIsRefused() public {
        vm.expectRevert(MinterLimits.ZeroRefillTime.selector);
        configureMinter(minter, 100, 100, 0);
    }

    function test_TheAllowanceFallsWithEachMint() public {
        configureMinter(minter, 100, 1000, 1);
        mintSome(60);

        expectAllowanceExceeded(40, 41);
        mintSome(41);
        mintSome(40);
        expectAllowanceExceeded(0, 1);
        mintSome(1);
    }

    function test_TimeDoesNotRenewTheAllowance() public {
        configureMinter(minter, 100, 1000, 1);
        mintSome(100);
        vm.warp(block.timestamp + 365 days);

        expectAllowanceExceeded(0, 1);
        mintSome(1);
    }

    function test_TheBucketRefillsEvenly() public {
        configureMinter(minter, 1e6, 100, 50);
        mintSome(100);
        expectLimitExceeded(0, 1);
        mintSome(1);

        vm.warp(block.timestamp + 10);
        assertAvailable(20);
        expectLimitExceeded(20, 21);
        mintSome(21);
        mintSome(20);

        vm.warp(block.timestamp + 1000);
        assertAvailable(100);
    }

    function test_AVoidTakesNothing() public {
        configureMinter(minter, 100, 100, 1);
        voidOperation(OP_ID);

        (uint256 allowance,,, uint256 available) = token.minterLimits(minter);
        assertEq(allowance, 100);
        assertEq(available, 100);
    }

    function test_MintersDoNotShare() public {
        bytes32 role = token.MINTER_ROLE();
        vm.prank(admin);
        token.grantRole(role, stranger);
        configureMinter(stranger, 100, 100, 1000);
        configureMinter(minter, 100, 100, 1000);
        mintSome(100);

        vm.prank(stranger);
        token.mint(mintOp(OP_ID, bob, 100));

        assertEq(token.totalSupply(), 200);
    }

    function test_ConfiguringAgainDoesNotFillTheBucket() public {
        configureMinter(minter, 1000, 100, 100);
        mintSome(100);
        vm.warp(block.timestamp + 10);
        configureMinter(minter, 1000, 100, 1);

        // Ten by the old rate, and from now on a hundred each second.
        assertAvailable(10);
        vm.warp(block.timestamp + 1);
        assertAvailable(100);
    }

    function test_ASmallerBucketIsEmptyUntilWhatWasDrawnIsRefilled() public {
        configureMinter(minter, 1000, 100, 100);
        mintSome(100);
        configureMinter(minter, 1000, 10, 10);
        assertAvailable(0);

        vm.warp(block.timestamp + 95);
        assertAvailable(5);
    }

    function test_AMinterCanBeStopped() public {
        configureMinter(minter, 0, 0, 0);

        expectAllowanceExceeded(0, 1);
        mintSome(1);
    }

    function testFuzz_InAnyTimeNoMoreIsMintedThanTheBurstAndItsRefill(
        uint208 burst,
        uint32 refillS,
        uint256 seed
    ) public {
        burst = uint208(bound(burst, 1, 1e30));
        refillS = uint32(bound(refillS, 1, 30 days));
        configureMinter(minter, type(uint256).max, burst, refillS);
        uint256 start = block.timestamp;
        uint256 minted = 0;
        for (uint256 i = 0; i < 12; i++) {
            uint256 dice = uint256(keccak256(abi.encode(seed, i)));
            vm.warp(block.timestamp + dice % (uint256(refillS) / 4 + 1));
            (,,, uint256 available) = token.minterLimits(minter);
            uint256 amount = bound(dice >> 32, 0, available);
            if (amount == 0) continue;
            mintSome(amount);
            minted += amount;

            assertLe(minted, burst + (block.timestamp - start) * burst / refillS);
        }
    }
}
