// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {AccountPolicy} from "../src/AccountPolicy.sol";
import {ActionPause} from "../src/ActionPause.sol";
import {DepositTokenFixture} from "./DepositTokenFixture.sol";

contract PolicyTest is DepositTokenFixture {
    function test_NothingIsPausedAtFirst() public view {
        assertEq(token.pausedBits(), 0);
    }

    function test_PauseAddsToWhatIsPausedAndEmits() public {
        pause(MINT);

        vm.expectEmit(address(token));
        emit ActionPause.PauseChanged(pauser, MINT | TRANSFER);
        pause(TRANSFER);

        assertEq(token.pausedBits(), MINT | TRANSFER);
    }

    function test_UnpauseTakesFromWhatIsPausedAndEmits() public {
        pause(MINT | REQUEST | TRANSFER);

        vm.expectEmit(address(token));
        emit ActionPause.PauseChanged(unpauser, MINT | TRANSFER);
        unpause(REQUEST);

        assertEq(token.pausedBits(), MINT | TRANSFER);
    }

    function test_PausingTwiceChangesNothing() public {
        pause(MINT);
        pause(MINT);

        assertEq(token.pausedBits(), MINT);
    }

    function test_UnpausingWhatIsNotPausedChangesNothing() public {
        pause(MINT);
        unpause(REQUEST | TRANSFER);

        assertEq(token.pausedBits(), MINT);
    }

    function test_PausingNoActionReverts() public {
        vm.expectRevert(abi.encodeWithSelector(ActionPause.ActionUnknown.selector, 0));
        pause(0);
        vm.expectRevert(abi.encodeWithSelector(ActionPause.ActionUnknown.selector, 0));
        unpause(0);
    }

    function testFuzz_UnknownActionCannotBePausedOrUnpaused(uint8 bits) public {
        bits = uint8(bound(bits, 8, type(uint8).max));

        vm.expectRevert(abi.encodeWithSelector(ActionPause.ActionUnknown.selector, bits));
        pause(bits);
        vm.expectRevert(abi.encodeWithSelector(ActionPause.ActionUnknown.selector, bits));
        unpause(bits);
    }

    function testFuzz_PauseAndUnpauseAreSetUnionAndDifference(uint8 paused, uint8 resumed) public {
        paused = uint8(bound(paused, 1, 7));
        resumed = uint8(bound(resumed, 1, 7));

        pause(paused);
        unpause(resumed);

        assertEq(token.pausedBits(), paused & ~resumed);
    }

    function test_NobodyIsAllowedOrFrozenAtFirst() public view {
        assertFalse(token.isAllowed(stranger));
        assertFalse(token.isFrozen(stranger));
    }

    function test_AllowingAnAccountEmits() public {
        vm.expectEmit(address(token));
        emit AccountPolicy.Allowed(stranger, true);
        setAllowed(stranger, true);
        assertTrue(token.isAllowed(stranger));

        vm.expectEmit(address(token));
        emit AccountPolicy.Allowed(stranger, false);
        setAllowed(stranger, false);
        assertFalse(token.isAllowed(stranger));
    }

    function test_FreezingAnAccountEmits() public {
        vm.expectEmit(address(token));
        emit AccountPolicy.Frozen(alice, true);
        setFrozen(alice, true);
        assertTrue(token.isFrozen(alice));

        vm.expectEmit(address(token));
        emit AccountPolicy.Frozen(alice, false);
        setFrozen(alice, false);
        assertFalse(token.isFrozen(alice));
    }

    function test_AllowingAgainDoesNotLiftAFreeze() public {
        setFrozen(alice, true);
        setAllowed(alice, false);
        setAllowed(alice, true);

        assertTrue(token.isFrozen(alice));
    }

    function test_LiftingAFreezeDoesNotAllow() public {
        setFrozen(stranger, true);
        setFrozen(stranger, false);

        assertFalse(token.isAllowed(stranger));
    }
}
