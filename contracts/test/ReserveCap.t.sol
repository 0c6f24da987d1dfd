// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {IAccessControl} from "@openzeppelin/contracts/access/IAccessControl.sol";
import {DepositToken} from "../src/DepositToken.sol";
import {IAggregatorV3} from "../src/IAggregatorV3.sol";
import {ReserveCap} from "../src/ReserveCap.sol";
import {ReserveFeed} from "../src/ReserveFeed.sol";
import {DepositTokenFixture} from "./DepositTokenFixture.sol";

contract ReserveCapTest is DepositTokenFixture {
    uint32 private constant MAX_AGE_S = 1 days;

    ReserveFeed private feed;

    function setUp() public override {
        super.setUp();
        vm.warp(365 days);
        feed = new ReserveFeed("Reserve", 2, admin);
        bytes32 reporter = feed.REPORTER_ROLE();
        vm.startPrank(admin);
        feed.grantRole(reporter, address(this));
        token.setReserveFeed(address(feed), MAX_AGE_S);
        vm.stopPrank();
    }

    function report(uint192 amount) private {
        feed.report(amount, uint64(block.timestamp));
    }

    function setFeed(address other) private {
        vm.prank(admin);
        token.setReserveFeed(other, MAX_AGE_S);
    }

    function expectUnavailable(address other) private {
        vm.expectRevert(abi.encodeWithSelector(ReserveCap.ReserveUnavailable.selector, other));
    }

    // What the feed answers from now on.
    function answer(int256 amount, uint256 updatedAt) private {
        vm.mockCall(
            address(feed),
            abi.encodeCall(IAggregatorV3.latestRoundData, ()),
            abi.encode(uint80(1), amount, updatedAt, updatedAt, uint80(1))
        );
    }

    function test_UntilSomebodyDecidesNothingIsMinted() public {
        token = new DepositToken("Deposit Euro", "dEUR", 2, address(this));
        token.grantRole(token.MINTER_ROLE(), minter);
        token.grantRole(token.MINTER_ADMIN_ROLE(), minterAdmin);
        token.grantRole(token.ALLOWLISTER_ROLE(), allowlister);
        configureMinter(minter, 100, 100, 1);
        setAllowed(alice, true);

        vm.expectRevert(ReserveCap.ReserveUndecided.selector);
        mint(OP_ID, alice, 1);
        token.waiveReserveCap();
        mint(OP_ID, alice, 1);
    }

    function test_MintUpToTheReserveSucceeds() public {
        report(100);
        mint(OP_ID, alice, 100);

        assertEq(token.totalSupply(), 100);
    }

    function test_MintAboveTheReserveReverts() public {
        report(100);
        mint(OP_ID, alice, 60);

        vm.expectRevert(abi.encodeWithSelector(ReserveCap.ReserveExceeded.selector, 100, 60, 41));
        mint(keccak256("booking 2"), alice, 41);
    }

    function test_EscrowCountsUntilItIsBurned() public {
        report(100);
        mint(OP_ID, alice, 100);
        bytes32 id = requestRedeem(alice, 100);
        vm.expectRevert(abi.encodeWithSelector(ReserveCap.ReserveExceeded.selector, 100, 100, 1));
        mint(keccak256("booking 2"), alice, 1);

        vm.prank(redeemer);
        token.settleRedeem(id, REF);

        mint(keccak256("booking 2"), alice, 1);
    }

    function test_AReserveThatFellBelowTheSupplyStopsMintsOnly() public {
        report(100);
        mint(OP_ID, alice, 100);
        vm.warp(block.timestamp + 1);
        report(50);

        vm.expectRevert(abi.encodeWithSelector(ReserveCap.ReserveExceeded.selector, 50, 100, 1));
        mint(keccak256("booking 2"), alice, 1);
        vm.prank(alice);
        assertTrue(token.transfer(bob, 10));
        requestRedeem(alice, 90);
    }

    function test_AFeedWithoutAReportMintsNothing() public {
        expectUnavailable(address(feed));
        mint(OP_ID, alice, 1);
    }

    function test_AReportAtItsGreatestAgeIsGood() public {
        report(100);
        vm.warp(block.timestamp + MAX_AGE_S);

        mint(OP_ID, alice, 100);
    }

    function test_AnOlderReportIsStale() public {
        uint256 attestedAt = block.timestamp;
        report(100);
        vm.warp(attestedAt + MAX_AGE_S + 1);

        vm.expectRevert(abi.encodeWithSelector(ReserveCap.ReserveStale.selector, attestedAt));
        mint(OP_ID, alice, 1);
    }

    function test_AnAnswerFromTheFutureIsStale() public {
        answer(100, block.timestamp + 1);

        vm.expectRevert(
            abi.encodeWithSelector(ReserveCap.ReserveStale.selector, block.timestamp + 1)
        );
        mint(OP_ID, alice, 1);
    }

    function test_ANegativeAnswerIsNone() public {
        answer(-1, block.timestamp);

        expectUnavailable(address(feed));
        mint(OP_ID, alice, 1);
    }

    function test_TheGreatestAnswerDoesNotOverflow() public {
        answer(type(int256).max, block.timestamp);

        mint(OP_ID, alice, type(uint208).max);
    }

    function test_AShortAnswerIsNone() public {
        vm.mockCall(
            address(feed),
            abi.encodeCall(IAggregatorV3.latestRoundData, ()),
            abi.encode(uint80(1), int256(100), block.timestamp, block.timestamp)
        );

        expectUnavailable(address(feed));
        mint(OP_ID, alice, 1);
    }

    function test_AFeedThatChangesItsUnitsIsNone() public {
        report(100);
        vm.mockCall(address(feed), abi.encodeCall(IAggregatorV3.decimals, ()), abi.encode(8));

        expectUnavailable(address(feed));
        mint(OP_ID, alice, 1);
    }

    function test_AFeedThatVanishesIsNone() public {
        report(100);
        vm.etch(address(feed), "");

        expectUnavailable(address(feed));
        mint(OP_ID, alice, 1);
    }

    function test_AFeedInOtherUnitsCannotBeSet() public {
        ReserveFeed other = new ReserveFeed("Reserve", 8, admin);

        expectUnavailable(address(other));
        setFeed(address(other));
    }

    function test_WhatIsNoFeedCannotBeSet() public {
        expectUnavailable(stranger);
        setFeed(stranger);
        expectUnavailable(address(0));
        setFeed(address(0));
    }

    function test_AFeedWithoutAGreatestAgeCannotBeSet() public {
        vm.expectRevert(ReserveCap.ZeroMaxAge.selector);
        vm.prank(admin);
        token.setReserveFeed(address(feed), 0);
    }

    function test_SettingAndWaivingEmit() public {
        vm.expectEmit(address(token));
        emit ReserveCap.ReserveFeedChanged(admin, address(0), 0);
        vm.prank(admin);
        token.waiveReserveCap();
        assertRule(ReserveCap.ReserveRule.Waived, address(0), 0);

        vm.expectEmit(address(token));
        emit ReserveCap.ReserveFeedChanged(admin, address(feed), 60);
        vm.prank(admin);
        token.setReserveFeed(address(feed), 60);
        assertRule(ReserveCap.ReserveRule.Capped, address(feed), 60);
    }

    function test_OnlyTheAdminSetsAndWaives() public {
        bytes memory refusal = abi.encodeWithSelector(
            IAccessControl.AccessControlUnauthorizedAccount.selector,
            minterAdmin,
            token.DEFAULT_ADMIN_ROLE()
        );
        vm.startPrank(minterAdmin);
        vm.expectRevert(refusal);
        token.waiveReserveCap();
        vm.expectRevert(refusal);
        token.setReserveFeed(address(feed), 60);
    }

    function assertRule(ReserveCap.ReserveRule rule, address feedAddress, uint32 maxAgeS)
        private
        view
    {
        (ReserveCap.ReserveRule rule_, address feed_, uint32 maxAgeS_) = token.reserveFeed();
        assertEq(uint8(rule_), uint8(rule));
        assertEq(feed_, feedAddress);
        assertEq(maxAgeS_, maxAgeS);
    }
}
