// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {DepositToken} from "../src/DepositToken.sol";
import {DepositTokenFixture} from "./DepositTokenFixture.sol";
import {DepositTokenHandler} from "./DepositTokenHandler.sol";

contract InvariantsTest is DepositTokenFixture {
    DepositTokenHandler private handler;

    function setUp() public override {
        super.setUp();
        handler = new DepositTokenHandler(token);
        vm.startPrank(admin);
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
        targetContract(address(handler));
    }

    function invariant_SupplyIsMintedMinusBurned() public view {
        assertEq(token.totalSupply(), handler.minted() - handler.burned());
    }

    function invariant_EscrowIsTheSumOfTheOpenRedemptions() public view {
        bytes32[] memory ids = handler.redemptionIds();
        uint256 open = 0;
        for (uint256 i = 0; i < ids.length; i++) {
            (, uint256 amount, DepositToken.RedemptionStatus status) = token.redemption(ids[i]);
            if (status == DepositToken.RedemptionStatus.Open) open += amount;
        }
        assertEq(token.balanceOf(address(token)), open);
        assertEq(token.balanceOf(address(token)), handler.escrowed());
    }

    function invariant_AnOperationActsAtMostOnce() public view {
        for (uint256 i = 0; i < handler.OPERATIONS(); i++) {
            bytes32 opId = handler.operationId(i);
            (DepositToken.OperationStatus status,) = token.operation(opId);
            bool used = status != DepositToken.OperationStatus.Unused;
            assertEq(handler.timesUsed(opId), used ? 1 : 0);
        }
    }

    function invariant_ARedemptionIsClosedAtMostOnce() public view {
        bytes32[] memory ids = handler.redemptionIds();
        for (uint256 i = 0; i < ids.length; i++) {
            (,, DepositToken.RedemptionStatus status) = token.redemption(ids[i]);
            bool closed = status != DepositToken.RedemptionStatus.Open;
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
