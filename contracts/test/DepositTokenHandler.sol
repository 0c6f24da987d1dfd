// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {Test} from "forge-std/Test.sol";
import {DepositToken} from "../src/DepositToken.sol";

/**
 * @dev Drives a token through everything that its users and officers can do, in any order, and
 * keeps books of its own from what succeeded. It holds every role.
 *
 * Operation ids and accounts come from small sets, so that a random run uses the same ones again
 * and again. An attempt that may be refused is made all the same: a refusal must change nothing,
 * which is what the invariants then see.
 */
contract DepositTokenHandler is Test {
    uint256 public constant OPERATIONS = 24;
    uint256 private constant MAX_AMOUNT = 1e24;

    DepositToken private immutable _token;
    address[] private _holders;

    bytes32[] private _ids;

    uint256 public minted;
    uint256 public burned;
    uint256 public escrowed;
    mapping(bytes32 opId => uint256) public timesUsed;
    mapping(bytes32 id => uint256) public timesClosed;
    mapping(address holder => uint256) public balance;
    mapping(address holder => uint256) public requests;

    constructor(DepositToken token) {
        _token = token;
        _holders = [makeAddr("carol"), makeAddr("dave"), makeAddr("erin")];
    }

    function mint(uint256 operation, uint256 holder, uint256 amount, uint64 deadline) external {
        DepositToken.MintOp memory op = DepositToken.MintOp({
            opId: operationId(operation),
            to: _holder(holder),
            amount: bound(amount, 0, MAX_AMOUNT),
            ref: bytes32(amount),
            deadline: deadline
        });
        try _token.mint(op) {
            timesUsed[op.opId]++;
            minted += op.amount;
            balance[op.to] += op.amount;
        } catch {}
    }

    function voidOperation(uint256 operation) external {
        bytes32 opId = operationId(operation);
        try _token.voidOperation(opId) {
            timesUsed[opId]++;
        } catch {}
    }

    function transfer(uint256 from, uint256 to, uint256 amount) external {
        amount = _spend(_holder(from), amount);
        vm.prank(_holder(from));
        try _token.transfer(_holder(to), amount) {
            balance[_holder(from)] -= amount;
            balance[_holder(to)] += amount;
        } catch {}
    }

    function transferToTheToken(uint256 from, uint256 amount) external {
        amount = _spend(_holder(from), amount);
        vm.prank(_holder(from));
        try _token.transfer(address(_token), amount) {
            assertTrue(false, "a transfer reached the escrow");
        } catch {}
    }

    function requestRedeem(uint256 holder, uint256 amount) external {
        address by = _holder(holder);
        amount = _spend(by, amount);
        vm.prank(by);
        try _token.requestRedeem(amount, bytes32(amount)) returns (bytes32 id) {
            _ids.push(id);
            requests[by]++;
            escrowed += amount;
            balance[by] -= amount;
        } catch {}
    }

    function settleRedeem(uint256 redemption) external {
        (bytes32 id,, uint256 amount, bool open) = _redemption(redemption);
        try _token.settleRedeem(id, bytes32(redemption)) {
            timesClosed[id]++;
            escrowed -= amount;
            burned += amount;
        } catch {
            assertFalse(open, "settling an open redemption was refused");
        }
    }

    function rejectRedeem(uint256 redemption) external {
        (bytes32 id, address holder, uint256 amount, bool open) = _redemption(redemption);
        try _token.rejectRedeem(id, bytes32(redemption)) {
            timesClosed[id]++;
            escrowed -= amount;
            balance[holder] += amount;
        } catch {
            assertFalse(open, "rejecting an open redemption was refused");
        }
    }

    // Restrictions are lifted more often than they are made, or most of a run would stand still.
    function restrict(uint256 account, uint256 dice) external {
        _token.setFrozen(_account(account), dice % 5 == 0);
        _token.setAllowed(_account(account), dice % 7 != 0);
    }

    function pauseOrUnpause(uint8 bits, uint256 dice) external {
        bits = uint8(bound(bits, 1, 7));
        dice % 4 == 0 ? _token.pause(bits) : _token.unpause(bits);
    }

    /// @dev The id of the operation with this number; numbers beyond the set wrap round.
    function operationId(uint256 operation) public pure returns (bytes32) {
        return keccak256(abi.encode("operation", operation % OPERATIONS));
    }

    function holders() external view returns (address[] memory) {
        return _holders;
    }

    function redemptionIds() external view returns (bytes32[] memory) {
        return _ids;
    }

    function _holder(uint256 seed) private view returns (address) {
        return _holders[seed % _holders.length];
    }

    // An amount that the holder has, and now and then one unit more.
    function _spend(address holder, uint256 seed) private view returns (uint256) {
        return bound(seed, 0, balance[holder] + 1);
    }

    // A holder, or the token itself: no policy about it may ever touch the escrow.
    function _account(uint256 seed) private view returns (address) {
        return seed % 4 == 3 ? address(_token) : _holder(seed);
    }

    // One of the redemptions so far, whatever has become of it; an unknown id if there is none.
    function _redemption(uint256 seed)
        private
        view
        returns (bytes32 id, address holder, uint256 amount, bool open)
    {
        id = _ids.length == 0 ? bytes32(seed) : _ids[seed % _ids.length];
        DepositToken.RedemptionStatus status;
        (holder, amount, status) = _token.redemption(id);
        open = status == DepositToken.RedemptionStatus.Open;
    }
}
