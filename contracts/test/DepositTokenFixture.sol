// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {Test} from "forge-std/Test.sol";
import {DepositToken} from "../src/DepositToken.sol";

/// @dev A token with one key for each role, and two allowed holders who own nothing yet.
abstract contract DepositTokenFixture is Test {
    uint8 internal constant MINT = 1;
    uint8 internal constant REQUEST = 2;
    uint8 internal constant TRANSFER = 4;

    bytes32 internal constant OP_ID = keccak256("booking 1");
    bytes32 internal constant REF = keccak256("reference");

    address internal admin = makeAddr("admin");
    address internal minter = makeAddr("minter");
    address internal redeemer = makeAddr("redeemer");
    address internal pauser = makeAddr("pauser");
    address internal unpauser = makeAddr("unpauser");
    address internal freezer = makeAddr("freezer");
    address internal allowlister = makeAddr("allowlister");
    address internal alice = makeAddr("alice");
    address internal bob = makeAddr("bob");
    address internal stranger = makeAddr("stranger");

    DepositToken internal token;

    function setUp() public virtual {
        token = new DepositToken("Deposit Euro", "dEUR", 2, admin);
        vm.startPrank(admin);
        token.grantRole(token.MINTER_ROLE(), minter);
        token.grantRole(token.REDEEMER_ROLE(), redeemer);
        token.grantRole(token.PAUSER_ROLE(), pauser);
        token.grantRole(token.UNPAUSER_ROLE(), unpauser);
        token.grantRole(token.FREEZER_ROLE(), freezer);
        token.grantRole(token.ALLOWLISTER_ROLE(), allowlister);
        vm.stopPrank();
        setAllowed(alice, true);
        setAllowed(bob, true);
    }

    function mintOp(bytes32 opId, address to, uint256 amount)
        internal
        view
        returns (DepositToken.MintOp memory)
    {
        return DepositToken.MintOp({
            opId: opId,
            to: to,
            amount: amount,
            ref: REF,
            deadline: uint64(block.timestamp + 1 hours)
        });
    }

    function mint(DepositToken.MintOp memory op) internal {
        vm.prank(minter);
        token.mint(op);
    }

    function mint(bytes32 opId, address to, uint256 amount) internal {
        mint(mintOp(opId, to, amount));
    }

    function voidOperation(bytes32 opId) internal {
        vm.prank(minter);
        token.voidOperation(opId);
    }

    function requestRedeem(address holder, uint256 amount) internal returns (bytes32 id) {
        vm.prank(holder);
        return token.requestRedeem(amount, REF);
    }

    function setAllowed(address account, bool allowed) internal {
        vm.prank(allowlister);
        token.setAllowed(account, allowed);
    }

    function setFrozen(address account, bool frozen) internal {
        vm.prank(freezer);
        token.setFrozen(account, frozen);
    }

    function pause(uint8 bits) internal {
        vm.prank(pauser);
        token.pause(bits);
    }

    function unpause(uint8 bits) internal {
        vm.prank(unpauser);
        token.unpause(bits);
    }

    function assertOperation(bytes32 opId, DepositToken.OperationStatus expected) internal view {
        (DepositToken.OperationStatus status,) = token.operation(opId);
        assertEq(uint8(status), uint8(expected), "operation status");
    }

    function assertRedemption(
        bytes32 id,
        address holder,
        uint256 amount,
        DepositToken.RedemptionStatus expected
    ) internal view {
        (address actualHolder, uint256 actualAmount, DepositToken.RedemptionStatus status) =
            token.redemption(id);
        assertEq(actualHolder, holder, "redemption holder");
        assertEq(actualAmount, amount, "redemption amount");
        assertEq(uint8(status), uint8(expected), "redemption status");
    }
}
