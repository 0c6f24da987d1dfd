// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {
    AccessControlDefaultAdminRules
} from "@openzeppelin/contracts/access/extensions/AccessControlDefaultAdminRules.sol";
import {IAggregatorV3} from "./IAggregatorV3.sol";

/**
 * @dev What the bank holds for a token, as somebody attests it again and again.
 *
 * A report says an amount and the time for which it was true, which is the time of the bank's
 * balance and not of the transaction: whoever reads the feed judges by it how old the word is, and
 * a balance of last week does not become fresh by being reported today.
 *
 * The key that reports is not one that mints, or whoever has that one key sets its own cap.
 */
contract ReserveFeed is IAggregatorV3, AccessControlDefaultAdminRules {
    // Both fields share one storage slot.
    struct Report {
        uint192 amount;
        uint64 attestedAt;
    }

    bytes32 public constant REPORTER_ROLE = keccak256("REPORTER_ROLE");
    uint256 public constant version = 1;

    uint8 public immutable decimals;
    string public description;

    // Reports are numbered from 1.
    uint80 private _latest;
    mapping(uint80 roundId => Report) private _reports;

    /// @dev `reporter` attested that the reserve was `amount` at `attestedAt`.
    event Reported(
        uint80 indexed roundId, address indexed reporter, uint256 amount, uint64 attestedAt
    );

    /// @dev The report is of a time that has not come.
    error ReportFromTheFuture(uint64 attestedAt);

    /// @dev The report is not of a later time than the newest one, which is of `latest`.
    error ReportOutOfOrder(uint64 attestedAt, uint64 latest);

    /// @dev There is no report of this number; 0 if there is none at all.
    error NoReport(uint80 roundId);

    /**
     * @dev `decimals_` must be the token's, which are the currency's exponent. `admin` says who
     * reports.
     */
    constructor(string memory description_, uint8 decimals_, address admin)
        AccessControlDefaultAdminRules(0, admin)
    {
        description = description_;
        decimals = decimals_;
    }

    /**
     * @dev Attests `amount`, in the token's smallest units, at `attestedAt` (seconds since 1970).
     * Times only rise, so a report that was delayed never takes the place of a newer one.
     */
    function report(uint192 amount, uint64 attestedAt) external onlyRole(REPORTER_ROLE) {
        // forge-lint: disable-next-line(block-timestamp)
        if (attestedAt > block.timestamp) revert ReportFromTheFuture(attestedAt);
        uint64 latest = _reports[_latest].attestedAt;
        if (attestedAt <= latest) revert ReportOutOfOrder(attestedAt, latest);
        _reports[++_latest] = Report(amount, attestedAt);
        emit Reported(_latest, _msgSender(), amount, attestedAt);
    }

    /// @inheritdoc IAggregatorV3
    function latestRoundData() external view returns (uint80, int256, uint256, uint256, uint80) {
        return _round(_latest);
    }

    /// @inheritdoc IAggregatorV3
    function getRoundData(uint80 roundId)
        external
        view
        returns (uint80, int256, uint256, uint256, uint80)
    {
        return _round(roundId);
    }

    function _round(uint80 roundId)
        private
        view
        returns (uint80, int256, uint256, uint256, uint80)
    {
        Report memory found = _reports[roundId];
        if (found.attestedAt == 0) revert NoReport(roundId);
        int256 answer = int256(uint256(found.amount));
        return (roundId, answer, found.attestedAt, found.attestedAt, roundId);
    }
}
