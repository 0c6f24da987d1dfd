// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {AccountPolicy} from "./AccountPolicy.sol";
import {ActionPause} from "./ActionPause.sol";
import {ZeroAmount} from "./Refusal.sol";

/**
 * @dev How the token goes out of being: by escrow.
 *
 * The holder's tokens move to this contract, the bank pays, and only then are they burned; if the
 * bank does not pay, the same tokens go back and nothing is minted again. The holder cannot cancel:
 * between the request and its end the payout may be on its way. The contract's own balance is
 * always the sum of the open redemptions, so nobody else may send to it.
 *
 * The moves of the escrow go past the token's rules for transfers, by the parent's function.
 */
abstract contract Redemption is ERC20, AccountPolicy, ActionPause {
    enum RedemptionStatus {
        None,
        Open,
        Settled,
        Rejected
    }

    /// @dev One settlement: the bank has paid the redemption `id`, `fiatRef` says how to find it.
    struct SettleOp {
        bytes32 id;
        bytes32 fiatRef;
    }

    struct Entry {
        address holder;
        RedemptionStatus status;
        uint256 amount;
    }

    bytes32 public constant REDEEMER_ROLE = keccak256("REDEEMER_ROLE");

    mapping(bytes32 id => Entry) private _redemptions;
    mapping(address holder => uint256) private _redemptionNonces;

    event RedeemRequested(bytes32 indexed id, address indexed holder, uint256 amount, bytes32 ref);
    event RedeemSettled(
        bytes32 indexed id, address indexed holder, uint256 amount, bytes32 fiatRef
    );
    event RedeemRejected(
        bytes32 indexed id, address indexed holder, uint256 amount, bytes32 reason
    );

    /// @dev A batch has a redemption that was not settled: alone it would revert with this error.
    event SettleRefused(bytes32 indexed id, address indexed redeemer, bytes4 reason);

    /// @dev The redemption does not exist, or was settled or rejected already.
    error RedemptionNotOpen(bytes32 id);

    /**
     * @dev Moves `amount` of the caller's tokens into escrow and opens a redemption.
     *
     * `ref` is the holder's own reference; it never decides where the bank pays to. The id is
     * derived from what is asked for and from the holder's count of requests: a request that a
     * chain reorganisation dropped keeps its id when it is sent again, and two are never alike.
     */
    function requestRedeem(uint256 amount, bytes32 ref) external returns (bytes32 id) {
        address holder = _msgSender();
        if (amount == 0) revert ZeroAmount();
        _checkNotPaused(ACTION_REQUEST);
        _checkAccount(holder);

        uint256 nonce = _redemptionNonces[holder]++;
        id = keccak256(abi.encode(block.chainid, address(this), holder, nonce, amount, ref));
        _redemptions[id] = Entry(holder, RedemptionStatus.Open, amount);
        emit RedeemRequested(id, holder, amount, ref);
        ERC20._update(holder, address(this), amount);
    }

    /**
     * @dev Burns an open redemption's escrow: the bank has paid, `fiatRef` says how to find it.
     *
     * Neither pause nor freeze nor allowlist stops it. They come too late once the money has left;
     * refusing the burn would only leave tokens that nothing backs.
     */
    function settleRedeem(bytes32 id, bytes32 fiatRef) external onlyRole(REDEEMER_ROLE) {
        _checkOpen(id);
        _settle(id, fiatRef);
    }

    /**
     * @dev Settles each of `ops` that is open, as {settleRedeem} does, and reverts for the role
     * only. To each item it answers with zero, or with the selector of the error with which the
     * item alone would revert.
     */
    function settleBatch(SettleOp[] calldata ops)
        external
        onlyRole(REDEEMER_ROLE)
        returns (bytes4[] memory reasons)
    {
        reasons = new bytes4[](ops.length);
        for (uint256 i = 0; i < ops.length; i++) {
            if (_isOpen(ops[i].id)) {
                _settle(ops[i].id, ops[i].fiatRef);
            } else {
                reasons[i] = RedemptionNotOpen.selector;
                emit SettleRefused(ops[i].id, _msgSender(), reasons[i]);
            }
        }
    }

    /**
     * @dev Gives an open redemption's escrow back to its holder: the bank has not paid and will
     * not.
     *
     * For an open redemption this always succeeds, or the tokens would be stuck for ever. A holder
     * who was frozen or taken off the allowlist meanwhile gets them back and still cannot move
     * them.
     */
    function rejectRedeem(bytes32 id, bytes32 reason) external onlyRole(REDEEMER_ROLE) {
        _checkOpen(id);
        Entry storage entry = _redemptions[id];
        entry.status = RedemptionStatus.Rejected;
        emit RedeemRejected(id, entry.holder, entry.amount, reason);
        ERC20._update(address(this), entry.holder, entry.amount);
    }

    /// @dev The redemption of this id; all zero if there is none.
    function redemption(bytes32 id)
        external
        view
        returns (address holder, uint256 amount, RedemptionStatus status)
    {
        Entry storage entry = _redemptions[id];
        return (entry.holder, entry.amount, entry.status);
    }

    /// @dev How many redemptions `holder` has requested: the nonce in the id of the next one.
    function redemptionNonce(address holder) external view returns (uint256) {
        return _redemptionNonces[holder];
    }

    function _settle(bytes32 id, bytes32 fiatRef) private {
        Entry storage entry = _redemptions[id];
        entry.status = RedemptionStatus.Settled;
        emit RedeemSettled(id, entry.holder, entry.amount, fiatRef);
        ERC20._update(address(this), address(0), entry.amount);
    }

    function _checkOpen(bytes32 id) private view {
        if (!_isOpen(id)) revert RedemptionNotOpen(id);
    }

    function _isOpen(bytes32 id) private view returns (bool) {
        return _redemptions[id].status == RedemptionStatus.Open;
    }
}
