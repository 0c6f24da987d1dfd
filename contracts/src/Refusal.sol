// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {LowLevelCall} from "@openzeppelin/contracts/utils/LowLevelCall.sol";

/// @dev The amount of a mint, a redemption or a forced transfer is zero.
error ZeroAmount();

/**
 * @dev Reverts with `refusal` unless it is empty.
 *
 * A refusal is the encoded custom error for which something is not done. Rules answer with one
 * instead of reverting, so that a batch can pass over an item for the very reason for which the
 * same item alone would revert.
 */
function revertIfRefused(bytes memory refusal) pure {
    if (refusal.length != 0) LowLevelCall.bubbleRevert(refusal);
}
