// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {DepositToken} from "../src/DepositToken.sol";
import {Issuance} from "../src/Issuance.sol";
import {Redemption} from "../src/Redemption.sol";
import {ReserveFeed} from "../src/ReserveFeed.sol";
import {DepositTokenFixture} from "./DepositTokenFixture.sol";

/**
 * @dev What transactions cost, all of it: each call is a transaction of its own here, with its
 * intrinsic gas and its calldata. Kept in contracts/snapshots; a change of cost fails.
 *
 * The token is as it is at work: capped by a feed, its minter limited.
 */
/// forge-config: default.isolate = true
contract GasTest is DepositTokenFixture {
    // A transaction may have 2^24 (EIP-7825); what is left is for a chain that counts otherwise.
    uint256 private constant MOST_GAS = 15_000_000;
    uint256 private constant HOLDERS = 250;

    uint256 private minted;

    function setUp() public override {
        super.setUp();
        ReserveFeed feed = new ReserveFeed("Reserve", 2, admin);
        vm.startPrank(admin);
        feed.grantRole(feed.REPORTER_ROLE(), address(this));
        token.setReserveFeed(address(feed), 1 days);
        vm.stopPrank();
        feed.report(1e15, uint64(block.timestamp));
        configureMinter(minter, 1e15, 1e14, 1 days);
        for (uint256 i = 0; i < HOLDERS; i++) {
            setAllowed(holder(i), true);
        }
        // So that no slot is the first to be written.
        setAllowed(address(this), true);
        mint(nextOp(address(this)));
    }

    // Addresses as they are in life: most bytes are not zero.
    function holder(uint256 number) private pure returns (address) {
        return address(uint160(uint256(keccak256(abi.encode("holder", number)))));
    }

    // Ten million minor units: four bytes.
    function nextOp(address to) private returns (Issuance.MintOp memory) {
        return mintOp(keccak256(abi.encode("booking", minted++)), to, 1e7);
    }

    function opsFor(uint256 count) private returns (Issuance.MintOp[] memory ops) {
        ops = new Issuance.MintOp[](count);
        for (uint256 i = 0; i < count; i++) {
            ops[i] = nextOp(holder(i));
        }
    }

    // Of the mints to new and then to the same, now existing, holders.
    function measureBatches(uint256 count, string memory named) private {
        measureBatch(count, string.concat(named, " to new holders"));
        measureBatch(count, string.concat(named, " to existing holders"));
    }

    function measureBatch(uint256 count, string memory named) private {
        Issuance.MintOp[] memory ops = opsFor(count);
        mintBatch(ops);
        uint256 gasUsed = vm.snapshotGasLastCall("DepositToken", named);
        assertEq(token.balanceOf(holder(count - 1)) % 1e7, 0);
        assertLt(gasUsed, MOST_GAS);
    }

    function test_Mint() public {
        mint(nextOp(holder(0)));
        vm.snapshotGasLastCall("DepositToken", "mint to a new holder");
        mint(nextOp(holder(0)));
        vm.snapshotGasLastCall("DepositToken", "mint to an existing holder");
    }

    function test_MintBatchOf1() public {
        measureBatches(1, "mintBatch of 1");
    }

    function test_MintBatchOf100() public {
        measureBatches(100, "mintBatch of 100");
    }

    function test_MintBatchOf200() public {
        measureBatches(200, "mintBatch of 200");
    }

    function test_MintBatchOf250() public {
        measureBatches(HOLDERS, "mintBatch of 250");
    }

    function test_MintBatchOf100Refused() public {
        Issuance.MintOp[] memory ops = opsFor(100);
        for (uint256 i = 0; i < ops.length; i++) {
            ops[i].amount = 1e14 + 1;
        }
        mintBatch(ops);
        vm.snapshotGasLastCall("DepositToken", "mintBatch of 100 refused");
    }

    function test_MintBatchOf100Replayed() public {
        Issuance.MintOp[] memory ops = opsFor(100);
        mintBatch(ops);
        mintBatch(ops);
        vm.snapshotGasLastCall("DepositToken", "mintBatch of 100 replayed");
    }

    function test_Redemptions() public {
        Redemption.SettleOp[] memory ops = new Redemption.SettleOp[](100);
        mintBatch(opsFor(101));
        for (uint256 i = 0; i < 100; i++) {
            ops[i] = Redemption.SettleOp(requestRedeem(holder(i), 1e6), keccak256(abi.encode(i)));
        }
        bytes32 last = requestRedeem(holder(100), 1e6);
        vm.snapshotGasLastCall("DepositToken", "requestRedeem");
        vm.prank(redeemer);
        token.settleRedeem(last, REF);
        vm.snapshotGasLastCall("DepositToken", "settleRedeem");
        settleBatch(ops);
        vm.snapshotGasLastCall("DepositToken", "settleBatch of 100");
    }

    function test_Transfers() public {
        mint(nextOp(holder(0)));
        vm.prank(holder(0));
        assertTrue(token.transfer(holder(1), 1));
        vm.snapshotGasLastCall("DepositToken", "transfer to a new holder");
        vm.prank(clawer);
        token.forcedTransfer(holder(0), holder(1), 1, REF);
        vm.snapshotGasLastCall("DepositToken", "forcedTransfer to an existing holder");
        voidOperation(keccak256("voided"));
        vm.snapshotGasLastCall("DepositToken", "voidOperation");
    }
}
