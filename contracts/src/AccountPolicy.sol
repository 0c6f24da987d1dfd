// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {
    AccessControlDefaultAdminRules
} from "@openzeppelin/contracts/access/extensions/AccessControlDefaultAdminRules.sol";
import {revertIfRefused} from "./Refusal.sol";

/**
 * @dev Who may hold and move the token: only accounts on the allowlist, and of those only the ones
 * that are not frozen.
 *
 * Two lists instead of one because they answer two questions, asked by different people: has this
 * account been admitted as a customer, and is its money held for now. Lifting a freeze does not
 * admit anybody, and admitting an account again does not lift a freeze.
 */
abstract contract AccountPolicy is AccessControlDefaultAdminRules {
    // Both fields share one storage slot: to judge an account, a single one is read.
    struct Standing {
        bool allowed;
        bool frozen;
    }

    bytes32 public constant ALLOWLISTER_ROLE = keccak256("ALLOWLISTER_ROLE");
    bytes32 public constant FREEZER_ROLE = keccak256("FREEZER_ROLE");

    mapping(address account => Standing) private _standings;

    event Allowed(address indexed account, bool allowed);
    event Frozen(address indexed account, bool frozen);

    /// @dev `account` is not on the allowlist.
    error AccountNotAllowed(address account);

    /// @dev `account` is frozen.
    error AccountFrozen(address account);

    /// @dev Puts `account` on the allowlist or takes it off. Its balance is not touched.
    function setAllowed(address account, bool allowed) external onlyRole(ALLOWLISTER_ROLE) {
        _standings[account].allowed = allowed;
        emit Allowed(account, allowed);
    }

    /// @dev Freezes `account` or lifts its freeze. Its balance is not touched.
    function setFrozen(address account, bool frozen) external onlyRole(FREEZER_ROLE) {
        _standings[account].frozen = frozen;
        emit Frozen(account, frozen);
    }

    function isAllowed(address account) external view returns (bool) {
        return _standings[account].allowed;
    }

    function isFrozen(address account) external view returns (bool) {
        return _standings[account].frozen;
    }

    function _checkAccount(address account) internal view {
        revertIfRefused(_accountRefusal(account));
    }

    function _accountRefusal(address account) internal view returns (bytes memory refusal) {
        Standing storage standing = _standings[account];
        if (!standing.allowed) return abi.encodeWithSelector(AccountNotAllowed.selector, account);
        if (standing.frozen) return abi.encodeWithSelector(AccountFrozen.selector, account);
    }
}
