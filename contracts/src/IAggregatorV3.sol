// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

/**
 * @dev How a price or reserve feed is read, by the names that Chainlink's feeds have made usual.
 * Times are seconds since 1970.
 */
interface IAggregatorV3 {
    /// @dev How many of an answer's digits stand behind the point.
    function decimals() external view returns (uint8);

    function description() external view returns (string memory);

    function version() external view returns (uint256);

    /// @dev The answer of one round; reverts if there is no such round.
    function getRoundData(uint80 roundId)
        external
        view
        returns (
            uint80 roundId_,
            int256 answer,
            uint256 startedAt,
            uint256 updatedAt,
            uint80 answeredInRound
        );

    /// @dev The newest answer; reverts if there is none yet.
    function latestRoundData()
        external
        view
        returns (
            uint80 roundId,
            int256 answer,
            uint256 startedAt,
            uint256 updatedAt,
            uint80 answeredInRound
        );
}
