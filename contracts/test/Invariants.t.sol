// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {Issuance} from "../src/Issuance.sol";
import {Redemption} from "../src/Redemption.sol";
import {ReserveFeed} from "../src/ReserveFeed.sol";
import {DepositTokenFixture} from "./DepositTokenFixture.sol";
import {DepositTokenHandler} from "./DepositTokenHandler.sol";

contract InvariantsTest is DepositTokenFixture {
    DepositTokenHandler private handler;

    function setUp() public override {
        super.setUp();
        ReserveFeed feed = new ReserveFeed("Reserve", 2, admin);
        handler = new DepositTokenHandler(token, feed);
        vm.startPrank(admin);
        token.setReserveFeed(address(feed), uint32(handler.MAX_AGE_S()));
        feed.grantRole(feed.REPORTER_ROLE(), address(handler));
        token.grantRole(token.MINTER_ADMIN_ROLE(), address(handler));
        token.grantRole(token.FORCED_TRANSFER_ROLE(), address(handler));
        token.grantRole(token.MINTER_ROLE(), address(handler));
        token.grantRole(token.REDEEMER_ROLE(), address(handler));
        token.grantRole(token.PAUSER_ROLE(), address(handler));
        token.grantRole(token.UNPAUSER_ROLE(), address(handler));
        token.grantRole(token.FREEZER_ROLE(), address(handler));
        token.grantRole(token.ALLOWLISTER_ROLE(), address(handler));
        vm.stopPrank();
        address[] memory holders = handler.holders();
        for (uint256 i = 0; i < holders.length; i++) {
            setAllowed(holders[i], true);
        }
        // From here on a run may change both.
        vm.warp(365 days);
        handler.report(type(uint256).max);
        handler.configureMinter(1e26, 1e25, 1 days);
        targetContract(address(handler));
    }

    function invariant_TheAllowanceIsWhatWasGivenLessWhatWasMinted() public view {
        (uint256 allowance, uint256 burst,, uint256 available) =
            token.minterLimits(address(handler));
        assertEq(allowance, handler.mintAllowance());
        assertLe(available, burst);
    }

    function invariant_SupplyIsMintedMinusBurned() public view {
        assertEq(token.totalSupply(), handler.minted() - handler.burned());
    }

    function invariant_EscrowIsTheSumOfTheOpenRedemptions() public view {
        bytes32[] memory ids = handler.redemptionIds();
        uint256 open = 0;
        for (uint256 i = 0; i < ids.length; i++) {
            (, uint256 amount, Redemption.RedemptionStatus status) = token.redemption(ids[i]);
            if (status == Redemption.RedemptionStatus.Open) open += amount;
        }
        assertEq(token.balanceOf(address(token)), open);
        assertEq(token.balanceOf(address(token)), handler.escrowed());
    }

    function invariant_AnOperationActsAtMostOnce() public view {
        for (uint256 i = 0; i < handler.OPERATIONS(); i++) {
            bytes32 opId = handler.operationId(i);
            (Issuance.OperationStatus status,) = token.operation(opId);
            bool used = status != Issuance.OperationStatus.Unused;
            assertEq(handler.timesUsed(opId), used ? 1 : 0);
        }
    }

    function invariant_ARedemptionIsClosedAtMostOnce() public view {
        bytes32[] memory ids = handler.redemptionIds();
        for (uint256 i = 0; i < ids.length; i++) {
            (,, Redemption.RedemptionStatus status) = token.redemption(ids[i]);
            bool closed = status != Redemption.RedemptionStatus.Open;
            assertEq(handler.timesClosed(ids[i]), closed ? 1 : 0);
        }
    }

    function invariant_EveryHolderHasWhatTheBooksSay() public view {
        address[] memory holders = handler.holders();
        uint256 held = token.balanceOf(address(token));
        for (uint256 i = 0; i < holders.length; i++) {
            assertEq(token.balanceOf(holders[i]), handler.balance(holders[i]));
            assertEq(token.redemptionNonce(holders[i]), handler.requests(holders[i]));
            held += token.balanceOf(holders[i]);
        }
        assertEq(token.totalSupply(), held);
    }
}
