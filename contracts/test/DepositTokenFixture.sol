// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {Test} from "forge-std/Test.sol";
import {DepositToken} from "../src/DepositToken.sol";
import {Issuance} from "../src/Issuance.sol";
import {Redemption} from "../src/Redemption.sol";

/**
 * @dev A token with one key for each role, two allowed holders who own nothing yet, a minter who
 * may mint all that its bucket can hold at any time, and no cap.
 */
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
    address internal minterAdmin = makeAddr("minter admin");
    address internal clawer = makeAddr("clawer");
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
        token.grantRole(token.MINTER_ADMIN_ROLE(), minterAdmin);
        token.grantRole(token.FORCED_TRANSFER_ROLE(), clawer);
        token.waiveReserveCap();
        vm.stopPrank();
        configureMinter(minter, type(uint256).max, type(uint208).max, 1);
        setAllowed(alice, true);
        setAllowed(bob, true);
    }

    function mintOp(bytes32 opId, address to, uint256 amount)
        internal
        view
        returns (Issuance.MintOp memory)
    {
        return Issuance.MintOp({
            opId: opId,
            to: to,
            amount: amount,
            ref: REF,
            deadline: uint64(block.timestamp + 1 hours)
        });
    }

    function mint(Issuance.MintOp memory op) internal {
        vm.prank(minter);
        token.mint(op);
    }

    function mint(bytes32 opId, address to, uint256 amount) internal {
        mint(mintOp(opId, to, amount));
    }

    function mintBatch(Issuance.MintOp[] memory ops) internal returns (bytes4[] memory) {
        vm.prank(minter);
        return token.mintBatch(ops);
    }

    function configureMinter(address account, uint256 allowance, uint208 burst, uint48 refillS)
        internal
    {
        vm.prank(minterAdmin);
        token.configureMinter(account, allowance, burst, refillS);
    }

    function voidOperation(bytes32 opId) internal {
        vm.prank(minter);
        token.voidOperation(opId);
    }

    function requestRedeem(address holder, uint256 amount) internal returns (bytes32 id) {
        vm.prank(holder);
        return token.requestRedeem(amount, REF);
    }

    function settleBatch(Redemption.SettleOp[] memory ops) internal returns (bytes4[] memory) {
        vm.prank(redeemer);
        return token.settleBatch(ops);
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

    function assertOperation(bytes32 opId, Issuance.OperationStatus expected) internal view {
        (Issuance.OperationStatus status,) = token.operation(opId);
        assertEq(uint8(status), uint8(expected), "operation status");
    }

    function assertRedemption(
        bytes32 id,
        address holder,
        uint256 amount,
        Redemption.RedemptionStatus expected
    ) internal view {
        (address actualHolder, uint256 actualAmount, Redemption.RedemptionStatus status) =
            token.redemption(id);
        assertEq(actualHolder, holder, "redemption holder");
        assertEq(actualAmount, amount, "redemption amount");
        assertEq(uint8(status), uint8(expected), "redemption status");
    }
}
