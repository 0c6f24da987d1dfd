// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {
    AccessControlDefaultAdminRules
} from "@openzeppelin/contracts/access/extensions/AccessControlDefaultAdminRules.sol";

/**
 * @dev Stops single kinds of action, each by its own bit: 1 mint, 2 redemption request, 4 transfer.
 *
 * Stopping and resuming are two roles because they deserve two keys: one that is quick to reach in
 * an emergency, and one that is not. There is no bit for settling or rejecting a redemption: the
 * bank's side of it may have happened already, so the token's side must always be able to follow.
 */
abstract contract ActionPause is AccessControlDefaultAdminRules {
    bytes32 public constant PAUSER_ROLE = keccak256("PAUSER_ROLE");
    bytes32 public constant UNPAUSER_ROLE = keccak256("UNPAUSER_ROLE");

    uint8 internal constant ACTION_MINT = 1;
    uint8 internal constant ACTION_REQUEST = 2;
    uint8 internal constant ACTION_TRANSFER = 4;
    uint8 private constant ALL_ACTIONS = ACTION_MINT | ACTION_REQUEST | ACTION_TRANSFER;

    uint8 private _pausedBits;

    /// @dev `by` paused or unpaused something; `bits` are all the actions that are paused now.
    event PauseChanged(address indexed by, uint8 bits);

    /// @dev The action of this bit is paused.
    error ActionPaused(uint8 bit);

    /// @dev `bits` names no action, or one that does not exist.
    error ActionUnknown(uint8 bits);

    /// @dev Pauses the actions in `bits`; those already paused stay so, hence it can be repeated.
    function pause(uint8 bits) external onlyRole(PAUSER_ROLE) {
        _checkActions(bits);
        _setPausedBits(_pausedBits | bits);
    }

    /// @dev Resumes the actions in `bits`; the others stay as they are.
    function unpause(uint8 bits) external onlyRole(UNPAUSER_ROLE) {
        _checkActions(bits);
        _setPausedBits(_pausedBits & ~bits);
    }

    /// @dev The actions that are paused now, as a sum of their bits.
    function pausedBits() external view returns (uint8) {
        return _pausedBits;
    }

    function _checkNotPaused(uint8 bit) internal view {
        if (_pausedBits & bit != 0) revert ActionPaused(bit);
    }

    function _setPausedBits(uint8 bits) private {
        _pausedBits = bits;
        emit PauseChanged(_msgSender(), bits);
    }

    // A misspelt emergency pause must not look like one that worked.
    function _checkActions(uint8 bits) private pure {
        if (bits == 0 || bits & ~ALL_ACTIONS != 0) revert ActionUnknown(bits);
    }
}
