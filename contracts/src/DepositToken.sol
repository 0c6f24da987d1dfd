// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";
import {
    AccessControlDefaultAdminRules
} from "@openzeppelin/contracts/access/extensions/AccessControlDefaultAdminRules.sol";
import {Issuance} from "./Issuance.sol";
import {Redemption} from "./Redemption.sol";
import {ReserveCap} from "./ReserveCap.sol";
import {ZeroAmount} from "./Refusal.sol";

/**
 * @dev A token that stands for money in a bank account, unit for unit. It is made by operations
 * ({Issuance}) and unmade by redemptions ({Redemption}); in between, only accounts in good standing
 * hold and move it.
 */
contract DepositToken is ERC20Permit, Issuance, Redemption {
    bytes32 public constant FORCED_TRANSFER_ROLE = keccak256("FORCED_TRANSFER_ROLE");

    uint8 private immutable _decimals;

    /// @dev `by` took `amount` from `from` and gave it to `to`; `reason` is its own reference.
    event ForcedTransfer(
        address indexed by, address indexed from, address indexed to, uint256 amount, bytes32 reason
    );

    /**
     * @dev `decimals_` must be the exponent of the bank account's currency, so that every bank
     * amount is a whole number of token units. `admin` grants the roles. Its handover has two steps
     * from the start but no waiting time: it sets one with `changeDefaultAdminDelay`.
     */
    constructor(string memory name_, string memory symbol_, uint8 decimals_, address admin)
        ERC20(name_, symbol_)
        ERC20Permit(name_)
        AccessControlDefaultAdminRules(0, admin)
        ReserveCap(decimals_)
    {
        _decimals = decimals_;
    }

    /**
     * @dev Takes `amount` from `from`, whatever its standing and whatever is paused, and gives it
     * to `to`: a court's order, or a deposit that the bank took back after its mint.
     *
     * The receiver is held to the rules. So the key with this role cannot enrich an account that
     * the allowlister has not admitted, and what was taken is not stuck with somebody frozen. The
     * escrow is out of reach: what is in it belongs to redemptions.
     */
    function forcedTransfer(address from, address to, uint256 amount, bytes32 reason)
        external
        onlyRole(FORCED_TRANSFER_ROLE)
    {
        if (amount == 0) revert ZeroAmount();
        if (from == address(0) || from == address(this)) revert ERC20InvalidSender(from);
        _checkAccount(to);
        if (to == address(0) || to == address(this)) revert ERC20InvalidReceiver(to);
        emit ForcedTransfer(_msgSender(), from, to, amount, reason);
        ERC20._update(from, to, amount);
    }

    /// @inheritdoc ERC20
    function decimals() public view override returns (uint8) {
        return _decimals;
    }

    /**
     * @dev Every movement of tokens passes here and is held to the transfer rules, except those
     * that call the parent's function by name, because they have rules of their own: a mint, the
     * moves of the escrow, and a forced transfer. A way of moving tokens that is added later is
     * thus refused until it is thought of.
     */
    function _update(address from, address to, uint256 value) internal override {
        if (to == address(this)) revert ERC20InvalidReceiver(to);
        if (from == address(0)) revert ERC20InvalidSender(from);
        _checkNotPaused(ACTION_TRANSFER);
        _checkAccount(_msgSender());
        _checkAccount(from);
        _checkAccount(to);
        super._update(from, to, value);
    }
}
