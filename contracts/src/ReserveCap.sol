// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {
    AccessControlDefaultAdminRules
} from "@openzeppelin/contracts/access/extensions/AccessControlDefaultAdminRules.sol";
import {IAggregatorV3} from "./IAggregatorV3.sol";

/**
 * @dev How much of the token there may be: no more than a feed says that the bank holds.
 *
 * Nothing is minted until the administrator has named a feed or has waived the cap. So a cap is
 * never missing because somebody forgot it, and where there is none the chain shows who decided
 * that.
 *
 * The feed is believed no longer than `maxAgeS` after the time that it gives, and only while it
 * counts in the token's own units: an amount is never scaled, hence never rounded.
 */
abstract contract ReserveCap is AccessControlDefaultAdminRules {
    enum ReserveRule {
        Undecided,
        Waived,
        Capped
    }

    // latestRoundData answers with five words.
    uint256 private constant ROUND_BYTES = 5 * 32;

    uint8 private immutable _reserveDecimals;

    // These three share a slot with what is paused, so that a mint reads both at once.
    ReserveRule private _rule;
    uint32 private _maxAgeS;
    address private _feed;

    /// @dev `by` set the feed and its greatest age in seconds; a feed of zero means no cap.
    event ReserveFeedChanged(address indexed by, address indexed feed, uint32 maxAgeS);

    /// @dev The administrator has neither named a feed nor waived the cap.
    error ReserveUndecided();

    /// @dev The feed does not answer, or not in the token's units, or with a negative amount.
    error ReserveUnavailable(address feed);

    /// @dev The feed's word is of `updatedAt`, which is too long ago or has not come.
    error ReserveStale(uint256 updatedAt);

    /// @dev `amount` more than the `supply` would exceed the `reserve`.
    error ReserveExceeded(uint256 reserve, uint256 supply, uint256 amount);

    /// @dev A feed without a greatest age would be believed for ever, or never.
    error ZeroMaxAge();

    constructor(uint8 reserveDecimals) {
        _reserveDecimals = reserveDecimals;
    }

    /**
     * @dev Caps the supply by `feed`, whose word is good for `maxAgeS` seconds. A feed that counts
     * in other units than the token is refused; one that has no report yet is not.
     */
    function setReserveFeed(address feed, uint32 maxAgeS) external onlyRole(DEFAULT_ADMIN_ROLE) {
        if (maxAgeS == 0) revert ZeroMaxAge();
        if (!_countsInOurUnits(feed)) revert ReserveUnavailable(feed);
        _setReserve(ReserveRule.Capped, feed, maxAgeS);
    }

    /// @dev Leaves the supply without a cap, until a feed is set.
    function waiveReserveCap() external onlyRole(DEFAULT_ADMIN_ROLE) {
        _setReserve(ReserveRule.Waived, address(0), 0);
    }

    /// @dev What was decided; of {ReserveRule.Capped} also the feed and its greatest age in
    /// seconds.
    function reserveFeed() external view returns (ReserveRule rule, address feed, uint32 maxAgeS) {
        return (_rule, _feed, _maxAgeS);
    }

    /// @dev How much there may be, or why nothing may be minted now. It never reverts.
    function _reserve() internal view returns (uint256 amount, bytes memory refusal) {
        if (_rule == ReserveRule.Waived) return (type(uint256).max, refusal);
        if (_rule == ReserveRule.Undecided) {
            return (0, abi.encodeWithSelector(ReserveUndecided.selector));
        }
        return _reported(_feed);
    }

    function _setReserve(ReserveRule rule, address feed, uint32 maxAgeS) private {
        _rule = rule;
        _feed = feed;
        _maxAgeS = maxAgeS;
        emit ReserveFeedChanged(_msgSender(), feed, maxAgeS);
    }

    // A call that fails is an answer here, and its result is decoded as plain words, which any are:
    // nothing that a feed does can revert a batch.
    function _reported(address feed) private view returns (uint256 amount, bytes memory refusal) {
        (bool success, bytes memory data) =
            feed.staticcall(abi.encodeCall(IAggregatorV3.latestRoundData, ()));
        if (!success || data.length < ROUND_BYTES || !_countsInOurUnits(feed)) {
            return (0, abi.encodeWithSelector(ReserveUnavailable.selector, feed));
        }
        (, int256 answer,, uint256 updatedAt,) =
            abi.decode(data, (uint256, int256, uint256, uint256, uint256));
        if (answer < 0) return (0, abi.encodeWithSelector(ReserveUnavailable.selector, feed));
        // A proposer can shift the time by seconds; an age is hours.
        // forge-lint: disable-next-line(block-timestamp)
        if (updatedAt > block.timestamp || block.timestamp - updatedAt > _maxAgeS) {
            return (0, abi.encodeWithSelector(ReserveStale.selector, updatedAt));
        }
        return (uint256(answer), refusal);
    }

    function _countsInOurUnits(address feed) private view returns (bool) {
        (bool success, bytes memory data) =
            feed.staticcall(abi.encodeCall(IAggregatorV3.decimals, ()));
        return success && data.length >= 32 && abi.decode(data, (uint256)) == _reserveDecimals;
    }
}
