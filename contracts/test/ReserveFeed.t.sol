// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {Test} from "forge-std/Test.sol";
import {IAccessControl} from "@openzeppelin/contracts/access/IAccessControl.sol";
import {ReserveFeed} from "../src/ReserveFeed.sol";

contract ReserveFeedTest is Test {
    address private admin = makeAddr("admin");
    address private reporter = makeAddr("reporter");

    ReserveFeed private feed;

    function setUp() public {
        vm.warp(365 days);
        feed = new ReserveFeed("Reserve of dEUR", 2, admin);
        bytes32 role = feed.REPORTER_ROLE();
        vm.prank(admin);
        feed.grantRole(role, reporter);
    }

    function report(uint192 amount, uint256 attestedAt) private {
        vm.prank(reporter);
        feed.report(amount, uint64(attestedAt));
    }

    function assertRound(
        function() external view returns (uint80, int256, uint256, uint256, uint80) ask,
        uint80 round,
        int256 amount,
        uint256 attestedAt
    ) private view {
        (uint80 id, int256 answer, uint256 startedAt, uint256 updatedAt, uint80 answeredInRound) =
            ask();
        assertEq(id, round);
        assertEq(answer, amount);
        assertEq(startedAt, attestedAt);
        assertEq(updatedAt, attestedAt);
        assertEq(answeredInRound, round);
    }

    function test_ConstructorSetsWhatReadersAskFor() public view {
        assertEq(feed.description(), "Reserve of dEUR");
        assertEq(feed.decimals(), 2);
        assertEq(feed.version(), 1);
        assertEq(feed.defaultAdmin(), admin);
        assertFalse(feed.hasRole(feed.REPORTER_ROLE(), admin));
    }

    function test_AReportIsTheLatestRoundAndEmits() public {
        vm.expectEmit(address(feed));
        emit ReserveFeed.Reported(1, reporter, 100, uint64(block.timestamp - 60));
        report(100, block.timestamp - 60);

        assertRound(feed.latestRoundData, 1, 100, block.timestamp - 60);
    }

    function test_EarlierRoundsStayReadable() public {
        report(100, block.timestamp - 60);
        report(0, block.timestamp);

        assertRound(feed.latestRoundData, 2, 0, block.timestamp);
        (uint80 id, int256 answer,, uint256 updatedAt,) = feed.getRoundData(1);
        assertEq(id, 1);
        assertEq(answer, 100);
        assertEq(updatedAt, block.timestamp - 60);
    }

    function test_WithoutAReportThereIsNoRound() public {
        vm.expectRevert(abi.encodeWithSelector(ReserveFeed.NoReport.selector, 0));
        feed.latestRoundData();
        vm.expectRevert(abi.encodeWithSelector(ReserveFeed.NoReport.selector, 1));
        feed.getRoundData(1);
    }

    function test_AReportFromTheFutureReverts() public {
        uint64 later = uint64(block.timestamp + 1);

        vm.expectRevert(abi.encodeWithSelector(ReserveFeed.ReportFromTheFuture.selector, later));
        report(100, later);
    }

    function test_AReportThatIsNotNewerReverts() public {
        uint64 latest = uint64(block.timestamp - 60);
        report(100, latest);

        vm.expectRevert(
            abi.encodeWithSelector(ReserveFeed.ReportOutOfOrder.selector, latest, latest)
        );
        report(1000, latest);
        vm.expectRevert(
            abi.encodeWithSelector(ReserveFeed.ReportOutOfOrder.selector, latest - 1, latest)
        );
        report(1000, latest - 1);
    }

    function test_OnlyAReporterReports() public {
        vm.expectRevert(
            abi.encodeWithSelector(
                IAccessControl.AccessControlUnauthorizedAccount.selector,
                admin,
                feed.REPORTER_ROLE()
            )
        );
        vm.prank(admin);
        feed.report(100, uint64(block.timestamp));
    }

    function testFuzz_TheLatestRoundIsTheLastReport(uint192 amount, uint64 attestedAt) public {
        attestedAt = uint64(bound(attestedAt, 1, block.timestamp));
        report(amount, attestedAt);

        assertRound(feed.latestRoundData, 1, int256(uint256(amount)), attestedAt);
    }
}
