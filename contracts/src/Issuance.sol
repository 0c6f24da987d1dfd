// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {AccountPolicy} from "./AccountPolicy.sol";
import {ActionPause} from "./ActionPause.sol";
import {MinterLimits} from "./MinterLimits.sol";
import {revertIfRefused, ZeroAmount} from "./Refusal.sol";
import {ReserveCap} from "./ReserveCap.sol";

/**
 * @dev How the token comes into being: by operations, each of which acts once.
 *
 * An operation id is derived from the booked bank entry, and this contract consumes it: whatever
 * goes wrong off chain (a crash, a restored database, two daemons), one booking can be minted at
 * most once. An operation that must never be minted any more is voided, which consumes its id in
 * the same way.
 *
 * A mint alone reverts for what is wrong with it. In a batch it is passed over for the same reason,
 * its id stays unused, and the others go on as if it had not been there.
 */
abstract contract Issuance is ERC20, AccountPolicy, ActionPause, ReserveCap, MinterLimits {
    /// @dev What an operation id has been used for. It is used once, so the last two are for ever.
    enum OperationStatus {
        Unused,
        Minted,
        Voided
    }

    /**
     * @dev One mint. `ref` is the caller's own reference, not interpreted here. The mint is refused
     * in blocks later than `deadline` (seconds since 1970).
     */
    struct MintOp {
        bytes32 opId;
        address to;
        uint256 amount;
        bytes32 ref;
        uint64 deadline;
    }

    // What may still be minted in this transaction: read once, counted down here, written once.
    struct Budget {
        uint256 allowance;
        uint256 available;
        uint256 reserve;
        uint256 supply;
        bytes reserveRefusal;
    }

    bytes32 public constant MINTER_ROLE = keccak256("MINTER_ROLE");

    // A mint pays for one new slot, written once: the digest's 30 bytes, one that is zero, the
    // status.
    mapping(bytes32 opId => bytes32) private _operations;

    event Minted(
        bytes32 indexed opId,
        address indexed minter,
        address indexed to,
        uint256 amount,
        bytes32 ref
    );
    event OperationVoided(bytes32 indexed opId, address indexed minter);

    /// @dev A batch has an operation that was minted already, with the same content.
    event OperationReplayed(bytes32 indexed opId, address indexed minter);

    /// @dev A batch has an operation that was not minted: alone it would revert with this error.
    event MintRefused(bytes32 indexed opId, address indexed minter, bytes4 reason);

    /// @dev The operation was minted or voided already; `operation` says which.
    error OperationUsed(bytes32 opId);

    /// @dev The block is later than the operation's deadline.
    error OperationExpired(bytes32 opId, uint64 deadline);

    error ZeroOpId();

    /**
     * @dev Mints `op.amount` to `op.to` and consumes `op.opId`.
     *
     * The id is judged first: to a sender who does not know whether an earlier attempt got through,
     * {OperationUsed} is the answer, whatever else would also be wrong by now.
     */
    function mint(MintOp calldata op) external onlyRole(MINTER_ROLE) {
        revertIfRefused(_idRefusal(op.opId));
        _checkNotPaused(ACTION_MINT);
        Budget memory budget = _budget();
        revertIfRefused(_refusal(op, budget));
        _issue(op, budget);
        _consumeLimits(_msgSender(), op.amount);
    }

    /**
     * @dev Mints each of `ops` that can be minted, in their order. It reverts for the role and the
     * pause only. To each item it answers with zero, or with the selector of the error with which
     * the item alone would revert; that is {OperationUsed} for one which only repeats a mint, too.
     */
    function mintBatch(MintOp[] calldata ops)
        external
        onlyRole(MINTER_ROLE)
        returns (bytes4[] memory reasons)
    {
        _checkNotPaused(ACTION_MINT);
        Budget memory budget = _budget();
        uint256 supply = budget.supply;
        reasons = new bytes4[](ops.length);
        for (uint256 i = 0; i < ops.length; i++) {
            reasons[i] = _issueOrPassOver(ops[i], budget);
        }
        if (budget.supply != supply) _consumeLimits(_msgSender(), budget.supply - supply);
    }

    /**
     * @dev Consumes `opId` without minting, so that money can go back to its sender with no mint
     * ever to follow. A pause does not stop it: it only ever prevents issuance.
     */
    function voidOperation(bytes32 opId) external onlyRole(MINTER_ROLE) {
        revertIfRefused(_idRefusal(opId));
        _operations[opId] = _packed(OperationStatus.Voided, 0);
        emit OperationVoided(opId, _msgSender());
    }

    /**
     * @dev What became of `opId`, and of a minted one the first 30 bytes of
     * keccak256(abi.encode(opId, to, amount, ref)), else zero. The deadline is left out: sending
     * the same operation again with a later one is still the same operation.
     */
    function operation(bytes32 opId)
        external
        view
        returns (OperationStatus status, bytes30 digest)
    {
        bytes32 packed = _operations[opId];
        return (OperationStatus(uint8(uint256(packed))), bytes30(packed));
    }

    function _issueOrPassOver(MintOp calldata op, Budget memory budget)
        private
        returns (bytes4 reason)
    {
        bytes memory refusal = _idRefusal(op.opId);
        if (refusal.length == 0) refusal = _refusal(op, budget);
        if (refusal.length == 0) {
            _issue(op, budget);
            return 0;
        }
        reason = bytes4(refusal);
        if (_isMinted(op)) {
            emit OperationReplayed(op.opId, _msgSender());
        } else {
            emit MintRefused(op.opId, _msgSender(), reason);
        }
    }

    // Past the parent's function, because DepositToken's own is for transfers: a mint was judged
    // here.
    function _issue(MintOp calldata op, Budget memory budget) private {
        uint256 amount = op.amount;
        unchecked {
            // Overflow not possible: the amount was judged not to exceed what there is of each.
            budget.allowance -= amount;
            budget.available -= amount;
            budget.supply += amount;
        }
        _operations[op.opId] = _packed(OperationStatus.Minted, _digest(op));
        emit Minted(op.opId, _msgSender(), op.to, amount, op.ref);
        ERC20._update(address(0), op.to, amount);
    }

    function _budget() private view returns (Budget memory budget) {
        (budget.allowance, budget.available) = _mintable(_msgSender());
        (budget.reserve, budget.reserveRefusal) = _reserve();
        budget.supply = totalSupply();
    }

    function _idRefusal(bytes32 opId) private view returns (bytes memory refusal) {
        if (opId == bytes32(0)) return abi.encodeWithSelector(ZeroOpId.selector);
        if (_operations[opId] != 0) {
            return abi.encodeWithSelector(OperationUsed.selector, opId);
        }
    }

    // Why an operation whose id is unused would not be minted now.
    function _refusal(MintOp calldata op, Budget memory budget)
        private
        view
        returns (bytes memory refusal)
    {
        // A proposer can shift the time by seconds; a deadline is hours away.
        // forge-lint: disable-next-line(block-timestamp)
        if (block.timestamp > op.deadline) {
            return abi.encodeWithSelector(OperationExpired.selector, op.opId, op.deadline);
        }
        if (op.amount == 0) return abi.encodeWithSelector(ZeroAmount.selector);
        refusal = _accountRefusal(op.to);
        if (refusal.length != 0) return refusal;
        if (op.to == address(0) || op.to == address(this)) {
            return abi.encodeWithSelector(ERC20InvalidReceiver.selector, op.to);
        }
        return _amountRefusal(op.amount, budget);
    }

    function _amountRefusal(uint256 amount, Budget memory budget)
        private
        view
        returns (bytes memory refusal)
    {
        if (amount > budget.allowance) {
            return abi.encodeWithSelector(
                MinterAllowanceExceeded.selector, _msgSender(), budget.allowance, amount
            );
        }
        if (amount > budget.available) {
            return abi.encodeWithSelector(
                MinterLimitExceeded.selector, _msgSender(), budget.available, amount
            );
        }
        if (budget.reserveRefusal.length != 0) return budget.reserveRefusal;
        // The supply may be above the reserve already, when that has fallen.
        if (budget.supply > budget.reserve || amount > budget.reserve - budget.supply) {
            return
                abi.encodeWithSelector(
                    ReserveExceeded.selector, budget.reserve, budget.supply, amount
                );
        }
    }

    function _isMinted(MintOp calldata op) private view returns (bool) {
        bytes32 packed = _operations[op.opId];
        return packed != 0 && packed == _packed(OperationStatus.Minted, _digest(op));
    }

    function _packed(OperationStatus status, bytes30 digest) private pure returns (bytes32) {
        return bytes32(digest) | bytes32(uint256(status));
    }

    function _digest(MintOp calldata op) private pure returns (bytes30) {
        return bytes30(keccak256(abi.encode(op.opId, op.to, op.amount, op.ref)));
    }
}
