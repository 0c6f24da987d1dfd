// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {
    AccessControlDefaultAdminRules
} from "@openzeppelin/contracts/access/extensions/AccessControlDefaultAdminRules.sol";
import {AccountPolicy} from "./AccountPolicy.sol";
import {ActionPause} from "./ActionPause.sol";

/**
 * @dev A token that stands for money in a bank account, unit for unit.
 *
 * Issuance is by operation. An operation id is derived from the booked bank entry, and this
 * contract consumes it: whatever goes wrong off chain (a crash, a restored database, two daemons),
 * one booking can be minted at most once, because its second mint reverts. An operation that must
 * never be minted any more is voided, which consumes its id in the same way.
 *
 * Redemption is by escrow. The holder's tokens move to this contract, the bank pays, and only then
 * are they burned; if the bank does not pay, the same tokens go back and nothing is minted again.
 * The holder cannot cancel: between the request and its end the payout may be on its way. The
 * contract's own balance is always the sum of the open redemptions, so nobody else may send to it.
 */
contract DepositToken is ERC20, AccountPolicy, ActionPause {
    /// @dev What an operation id has been used for. It is used once, so the last two are for ever.
    enum OperationStatus {
        Unused,
        Minted,
        Voided
    }

    enum RedemptionStatus {
        None,
        Open,
        Settled,
        Rejected
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

    // Both fields share one storage slot: a mint pays for a single new one.
    struct Operation {
        OperationStatus status;
        bytes30 digest;
    }

    struct Redemption {
        address holder;
        RedemptionStatus status;
        uint256 amount;
    }

    bytes32 public constant MINTER_ROLE = keccak256("MINTER_ROLE");
    bytes32 public constant REDEEMER_ROLE = keccak256("REDEEMER_ROLE");

    uint8 private immutable _decimals;

    mapping(bytes32 opId => Operation) private _operations;
    mapping(bytes32 id => Redemption) private _redemptions;
    mapping(address holder => uint256) private _redemptionNonces;

    event Minted(
        bytes32 indexed opId,
        address indexed minter,
        address indexed to,
        uint256 amount,
        bytes32 ref
    );
    event OperationVoided(bytes32 indexed opId, address indexed minter);
    event RedeemRequested(bytes32 indexed id, address indexed holder, uint256 amount, bytes32 ref);
    event RedeemSettled(
        bytes32 indexed id, address indexed holder, uint256 amount, bytes32 fiatRef
    );
    event RedeemRejected(
        bytes32 indexed id, address indexed holder, uint256 amount, bytes32 reason
    );

    /// @dev The operation was minted or voided already; `operation` says which.
    error OperationUsed(bytes32 opId);

    /// @dev The block is later than the operation's deadline.
    error OperationExpired(bytes32 opId, uint64 deadline);

    /// @dev The redemption does not exist, or was settled or rejected already.
    error RedemptionNotOpen(bytes32 id);

    error ZeroAmount();
    error ZeroOpId();

    /**
     * @dev `decimals_` must be the exponent of the bank account's currency, so that every bank
     * amount is a whole number of token units. `admin` grants the roles. Its handover has two steps
     * from the start but no waiting time: it sets one with `changeDefaultAdminDelay`.
     */
    constructor(string memory name_, string memory symbol_, uint8 decimals_, address admin)
        ERC20(name_, symbol_)
        AccessControlDefaultAdminRules(0, admin)
    {
        _decimals = decimals_;
    }

    /**
     * @dev Mints `op.amount` to `op.to` and consumes `op.opId`.
     *
     * The id is judged first: to a sender who does not know whether an earlier attempt got through,
     * {OperationUsed} is the answer, whatever else would also be wrong by now.
     */
    function mint(MintOp calldata op) external onlyRole(MINTER_ROLE) {
        _checkUnused(op.opId);
        // A proposer can shift the time by seconds; a deadline is hours away.
        // forge-lint: disable-next-line(block-timestamp)
        if (block.timestamp > op.deadline) revert OperationExpired(op.opId, op.deadline);
        if (op.amount == 0) revert ZeroAmount();
        _checkNotPaused(ACTION_MINT);
        _checkAccount(op.to);

        _operations[op.opId] = Operation(OperationStatus.Minted, _digest(op));
        emit Minted(op.opId, _msgSender(), op.to, op.amount, op.ref);
        _mint(op.to, op.amount);
    }

    /**
     * @dev Consumes `opId` without minting, so that money can go back to its sender with no mint
     * ever to follow. A pause does not stop it: it only ever prevents issuance.
     */
    function voidOperation(bytes32 opId) external onlyRole(MINTER_ROLE) {
        _checkUnused(opId);
        _operations[opId].status = OperationStatus.Voided;
        emit OperationVoided(opId, _msgSender());
    }

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
        _redemptions[id] = Redemption(holder, RedemptionStatus.Open, amount);
        emit RedeemRequested(id, holder, amount, ref);
        super._update(holder, address(this), amount);
    }

    /**
     * @dev Burns an open redemption's escrow: the bank has paid, `fiatRef` says how to find it.
     *
     * Neither pause nor freeze nor allowlist stops it. They come too late once the money has left;
     * refusing the burn would only leave tokens that nothing backs.
     */
    function settleRedeem(bytes32 id, bytes32 fiatRef) external onlyRole(REDEEMER_ROLE) {
        (address holder, uint256 amount) = _close(id, RedemptionStatus.Settled);
        emit RedeemSettled(id, holder, amount, fiatRef);
        super._update(address(this), address(0), amount);
    }

    /**
     * @dev Gives an open redemption's escrow back to its holder: the bank has not paid and will not.
     *
     * For an open redemption this always succeeds, or the tokens would be stuck for ever. A holder
     * who was frozen or taken off the allowlist meanwhile gets them back and still cannot move them.
     */
    function rejectRedeem(bytes32 id, bytes32 reason) external onlyRole(REDEEMER_ROLE) {
        (address holder, uint256 amount) = _close(id, RedemptionStatus.Rejected);
        emit RedeemRejected(id, holder, amount, reason);
        super._update(address(this), holder, amount);
    }

    /**
     * @dev What became of `opId`, and of a minted one the first 30 bytes of
     * keccak256(abi.encode(opId, to, amount, ref)), else zero. The deadline is left out: sending the
     * same operation again with a later one is still the same operation.
     */
    function operation(bytes32 opId)
        external
        view
        returns (OperationStatus status, bytes30 digest)
    {
        Operation storage op = _operations[opId];
        return (op.status, op.digest);
    }

    /// @dev The redemption of this id; all zero if there is none.
    function redemption(bytes32 id)
        external
        view
        returns (address holder, uint256 amount, RedemptionStatus status)
    {
        Redemption storage entry = _redemptions[id];
        return (entry.holder, entry.amount, entry.status);
    }

    /// @dev How many redemptions `holder` has requested: the nonce in the id of the next one.
    function redemptionNonce(address holder) external view returns (uint256) {
        return _redemptionNonces[holder];
    }

    /// @inheritdoc ERC20
    function decimals() public view override returns (uint8) {
        return _decimals;
    }

    /**
     * @dev Every movement of tokens passes here and is held to the transfer rules, except a mint,
     * which `mint` has judged already, and the three escrow moves, which call the parent's function
     * by name. A way of moving tokens that is added later is thus refused until it is thought of.
     */
    function _update(address from, address to, uint256 value) internal override {
        if (to == address(this)) revert ERC20InvalidReceiver(to);
        if (from != address(0)) {
            _checkNotPaused(ACTION_TRANSFER);
            _checkAccount(_msgSender());
            _checkAccount(from);
            _checkAccount(to);
        }
        super._update(from, to, value);
    }

    function _close(bytes32 id, RedemptionStatus outcome)
        private
        returns (address holder, uint256 amount)
    {
        Redemption storage entry = _redemptions[id];
        if (entry.status != RedemptionStatus.Open) revert RedemptionNotOpen(id);
        entry.status = outcome;
        return (entry.holder, entry.amount);
    }

    function _checkUnused(bytes32 opId) private view {
        if (opId == bytes32(0)) revert ZeroOpId();
        if (_operations[opId].status != OperationStatus.Unused) revert OperationUsed(opId);
    }

    function _digest(MintOp calldata op) private pure returns (bytes30) {
        return bytes30(keccak256(abi.encode(op.opId, op.to, op.amount, op.ref)));
    }
}
