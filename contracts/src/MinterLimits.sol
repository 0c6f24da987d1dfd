// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {
    AccessControlDefaultAdminRules
} from "@openzeppelin/contracts/access/extensions/AccessControlDefaultAdminRules.sol";
import {RateLimiter} from "@openzeppelin/contracts/utils/RateLimiter.sol";

/**
 * @dev How much each minter may mint: an allowance that only falls until somebody renews it, and a
 * bucket that refills, which bounds what a stolen key does before anybody has noticed.
 *
 * Both are needed, and a minter who was never given them can mint nothing. Who gives them has a
 * role of its own: it cannot make minters, and a minter cannot lift its limits.
 */
abstract contract MinterLimits is AccessControlDefaultAdminRules {
    using RateLimiter for RateLimiter.RefillingBucket;

    struct Limits {
        uint256 allowance;
        RateLimiter.RefillingBucket bucket;
    }

    bytes32 public constant MINTER_ADMIN_ROLE = keccak256("MINTER_ADMIN_ROLE");

    // The entries of a bucket are all of one size, so each minter has a bucket of its own, of one
    // entry.
    bytes32 private constant ENTRY = 0;

    mapping(address minter => Limits) private _limits;

    /// @dev `by` set what `minter` may mint: see {configureMinter}.
    event MinterConfigured(
        address indexed by,
        address indexed minter,
        uint256 allowance,
        uint256 burst,
        uint256 refillS
    );

    /// @dev `amount` is more than is left of the minter's allowance.
    error MinterAllowanceExceeded(address minter, uint256 left, uint256 amount);

    /// @dev `amount` is more than is in the minter's bucket now.
    error MinterLimitExceeded(address minter, uint256 available, uint256 amount);

    /// @dev A bucket that takes no time to fill limits nothing.
    error ZeroRefillTime();

    /**
     * @dev Sets the allowance of `minter` to `allowance`, whatever was left of it, and its bucket
     * to `burst` units that take `refillS` seconds to refill from empty. All zero stops the minter.
     *
     * What was drawn from the bucket stays drawn, but for what the old rate has refilled by now:
     * the bucket is never full only because it was set again.
     */
    function configureMinter(address minter, uint256 allowance, uint208 burst, uint48 refillS)
        external
        onlyRole(MINTER_ADMIN_ROLE)
    {
        if (burst != 0 && refillS == 0) revert ZeroRefillTime();
        Limits storage limits = _limits[minter];
        limits.allowance = allowance;
        limits.bucket.sync(ENTRY);
        limits.bucket.updateSettings(refillS, burst);
        emit MinterConfigured(_msgSender(), minter, allowance, burst, refillS);
    }

    /// @dev What is left of the allowance; the bucket's size, its time to refill, and what is in
    /// it.
    function minterLimits(address minter)
        external
        view
        returns (uint256 allowance, uint256 burst, uint256 refillS, uint256 available)
    {
        Limits storage limits = _limits[minter];
        burst = limits.bucket._capacity;
        refillS = limits.bucket._window;
        (allowance, available) = _mintable(minter);
    }

    /// @dev What `minter` may mint now by its allowance, and by its bucket.
    function _mintable(address minter)
        internal
        view
        returns (uint256 allowance, uint256 available)
    {
        Limits storage limits = _limits[minter];
        return (limits.allowance, limits.bucket.available(ENTRY));
    }

    /// @dev Takes `amount` from both; the caller has compared it with {_mintable}.
    function _consumeLimits(address minter, uint256 amount) internal {
        Limits storage limits = _limits[minter];
        limits.allowance -= amount;
        limits.bucket.consume(ENTRY, amount);
    }
}
