// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {Test} from "forge-std/Test.sol";
import {DepositToken} from "../src/DepositToken.sol";
import {Issuance} from "../src/Issuance.sol";
import {Redemption} from "../src/Redemption.sol";
import {ReserveFeed} from "../src/ReserveFeed.sol";

/**
 * @dev Drives a token through everything that its users and officers can do, in any order, and
 * keeps books of its own from what succeeded. It holds every role but the administrator's.
 *
 * Operation ids and accounts come from small sets, so that a random run uses the same ones again
 * and again. An attempt that may be refused is made all the same: a refusal must change nothing,
 * which is what the invariants then see.
 */
contract DepositTokenHandler is Test {
    uint256 public constant OPERATIONS = 24;
    uint256 public constant MAX_AGE_S = 1 days;
    uint256 private constant MAX_AMOUNT = 1e24;
    uint8 private constant MINT = 1;

    DepositToken private immutable _token;
    ReserveFeed private immutable _feed;
    address[] private _holders;

    bytes32[] private _ids;

    uint256 public minted;
    uint256 public burned;
    uint256 public escrowed;
    mapping(bytes32 opId => uint256) public timesUsed;
    mapping(bytes32 id => uint256) public timesClosed;
    mapping(address holder => uint256) public balance;
    mapping(address holder => uint256) public requests;

    uint256 public mintAllowance;
    uint256 public reserve;
    uint256 private _reserveAt;
    // The minter's bucket in exact numbers: what is drawn from it, times the seconds that it takes
    // to refill. Each second that passes fills in the burst once.
    uint256 private _drawn;
    uint256 private _drawnAt;
    uint256 private _burst;
    uint256 private _refillS = 1;

    constructor(DepositToken token, ReserveFeed feed) {
        _token = token;
        _feed = feed;
        _holders = [makeAddr("carol"), makeAddr("dave"), makeAddr("erin")];
    }

    function mint(uint256 seed) external {
        Issuance.MintOp memory op = _mintOp(seed);
        try _token.mint(op) {
            _book(op);
            _checkCaps();
        } catch {}
    }

    function mintBatch(uint256 seed, uint256 count) external {
        Issuance.MintOp[] memory ops = new Issuance.MintOp[](bound(count, 0, 6));
        for (uint256 i = 0; i < ops.length; i++) {
            ops[i] = _mintOp(uint256(keccak256(abi.encode(seed, i))));
        }
        try _token.mintBatch(ops) returns (bytes4[] memory reasons) {
            bool any = false;
            for (uint256 i = 0; i < ops.length; i++) {
                if (reasons[i] == bytes4(0)) {
                    _book(ops[i]);
                    any = true;
                }
            }
            if (any) _checkCaps();
        } catch {
            assertTrue(_token.pausedBits() & MINT != 0, "a batch was refused as a whole");
        }
    }

    function voidOperation(uint256 operation) external {
        bytes32 opId = operationId(operation);
        try _token.voidOperation(opId) {
            timesUsed[opId]++;
        } catch {}
    }

    function configureMinter(uint256 allowance, uint256 burst, uint256 refillS) external {
        _refill();
        mintAllowance = bound(allowance, 0, 100 * MAX_AMOUNT);
        _burst = bound(burst, 0, 10 * MAX_AMOUNT);
        refillS = bound(refillS, 1, 1 days);
        _drawn = _drawn * refillS / _refillS;
        _refillS = refillS;
        _token.configureMinter(address(this), mintAllowance, uint208(_burst), uint48(_refillS));
    }

    function report(uint256 amount) external {
        if (block.timestamp == _reserveAt) return;
        reserve = bound(amount, 0, 50 * MAX_AMOUNT);
        _reserveAt = block.timestamp;
        _feed.report(uint192(reserve), uint64(block.timestamp));
    }

    function pass(uint256 timeS) external {
        vm.warp(block.timestamp + bound(timeS, 1, MAX_AGE_S / 4));
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

    function forcedTransfer(uint256 from, uint256 to, uint256 amount) external {
        (address victim, address receiver) = (_account(from), _account(to));
        amount = _spend(victim, amount);
        try _token.forcedTransfer(victim, receiver, amount, bytes32(to)) {
            balance[victim] -= amount;
            balance[receiver] += amount;
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

    function settleBatch(uint256 seed, uint256 count) external {
        Redemption.SettleOp[] memory ops = new Redemption.SettleOp[](bound(count, 0, 4));
        uint256[] memory amounts = new uint256[](ops.length);
        for (uint256 i = 0; i < ops.length; i++) {
            uint256 dice = uint256(keccak256(abi.encode(seed, i)));
            (ops[i].id,, amounts[i],) = _redemption(dice);
        }
        bytes4[] memory reasons = _token.settleBatch(ops);
        for (uint256 i = 0; i < ops.length; i++) {
            if (reasons[i] != bytes4(0)) continue;
            timesClosed[ops[i].id]++;
            escrowed -= amounts[i];
            burned += amounts[i];
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

    // One in eight is without a deadline that is still to come, one in eight without an amount.
    function _mintOp(uint256 seed) private view returns (Issuance.MintOp memory) {
        uint256 amount = seed % 8 == 0 ? 0 : bound(seed, 0, MAX_AMOUNT);
        return Issuance.MintOp({
            opId: operationId(seed / 8),
            to: _account(seed / 1e4),
            amount: amount,
            ref: bytes32(amount),
            deadline: uint64(seed % 8 == 1 ? block.timestamp - 1 : block.timestamp)
        });
    }

    function _book(Issuance.MintOp memory op) private {
        _refill();
        _drawn += op.amount * _refillS;
        mintAllowance -= op.amount;
        timesUsed[op.opId]++;
        minted += op.amount;
        balance[op.to] += op.amount;
    }

    // Right after a mint: later the reserve may fall and the bucket shrink.
    function _checkCaps() private view {
        assertLe(_token.totalSupply(), reserve, "more than the reserve was minted");
        assertLe(block.timestamp - _reserveAt, MAX_AGE_S, "it was minted on a stale reserve");
        assertLe(_drawn, _burst * _refillS, "more than the bucket held was minted");
    }

    function _refill() private {
        uint256 filled = (block.timestamp - _drawnAt) * _burst;
        _drawn = filled >= _drawn ? 0 : _drawn - filled;
        _drawnAt = block.timestamp;
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
        Redemption.RedemptionStatus status;
        (holder, amount, status) = _token.redemption(id);
        open = status == Redemption.RedemptionStatus.Open;
    }
}
