// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {IAccessControl} from "@openzeppelin/contracts/access/IAccessControl.sol";
import {
    IAccessControlDefaultAdminRules
} from "@openzeppelin/contracts/access/extensions/IAccessControlDefaultAdminRules.sol";
import {DepositToken} from "../src/DepositToken.sol";
import {Issuance} from "../src/Issuance.sol";
import {DepositTokenFixture} from "./DepositTokenFixture.sol";

contract RolesTest is DepositTokenFixture {
    // Expects the next call to be refused to `caller`, and makes it come from there.
    function refuse(address caller, bytes32 role) private {
        vm.expectRevert(
            abi.encodeWithSelector(
                IAccessControl.AccessControlUnauthorizedAccount.selector, caller, role
            )
        );
        vm.prank(caller);
    }

    function test_ConstructorSetsNameSymbolDecimalsAndAdmin() public view {
        assertEq(token.name(), "Deposit Euro");
        assertEq(token.symbol(), "dEUR");
        assertEq(token.decimals(), 2);
        assertEq(token.defaultAdmin(), admin);
        assertEq(token.defaultAdminDelay(), 0);
        assertEq(token.totalSupply(), 0);
    }

    function test_TokenWithoutAnAdminCannotBeDeployed() public {
        vm.expectRevert(
            abi.encodeWithSelector(
                IAccessControlDefaultAdminRules.AccessControlInvalidDefaultAdmin.selector,
                address(0)
            )
        );
        new DepositToken("Deposit Euro", "dEUR", 2, address(0));
    }

    function test_AdminHoldsNoOtherRole() public view {
        assertFalse(token.hasRole(token.MINTER_ROLE(), admin));
        assertFalse(token.hasRole(token.REDEEMER_ROLE(), admin));
        assertFalse(token.hasRole(token.PAUSER_ROLE(), admin));
        assertFalse(token.hasRole(token.UNPAUSER_ROLE(), admin));
        assertFalse(token.hasRole(token.FREEZER_ROLE(), admin));
        assertFalse(token.hasRole(token.ALLOWLISTER_ROLE(), admin));
    }

    function test_GrantAndRevokeEmit() public {
        bytes32 role = token.MINTER_ROLE();

        vm.expectEmit(address(token));
        emit IAccessControl.RoleGranted(role, stranger, admin);
        vm.prank(admin);
        token.grantRole(role, stranger);

        vm.expectEmit(address(token));
        emit IAccessControl.RoleRevoked(role, stranger, admin);
        vm.prank(admin);
        token.revokeRole(role, stranger);
    }

    function test_OnlyTheAdminGrantsRoles() public {
        bytes32 role = token.MINTER_ROLE();

        refuse(minter, token.DEFAULT_ADMIN_ROLE());
        token.grantRole(role, stranger);
    }

    function test_RevokedMinterCannotMint() public {
        bytes32 role = token.MINTER_ROLE();
        vm.prank(admin);
        token.revokeRole(role, minter);

        refuse(minter, role);
        token.mint(mintOp(OP_ID, alice, 100));
    }

    function test_OnlyAMinterMints() public {
        Issuance.MintOp memory op = mintOp(OP_ID, alice, 100);

        refuse(redeemer, token.MINTER_ROLE());
        token.mint(op);
    }

    function test_OnlyAMinterVoids() public {
        refuse(redeemer, token.MINTER_ROLE());
        token.voidOperation(OP_ID);
    }

    function test_OnlyARedeemerSettles() public {
        mint(OP_ID, alice, 100);
        bytes32 id = requestRedeem(alice, 40);

        refuse(minter, token.REDEEMER_ROLE());
        token.settleRedeem(id, REF);
    }

    function test_OnlyARedeemerRejects() public {
        mint(OP_ID, alice, 100);
        bytes32 id = requestRedeem(alice, 40);

        // The holder has no way to take back a request.
        refuse(alice, token.REDEEMER_ROLE());
        token.rejectRedeem(id, REF);
    }

    function test_OnlyAPauserPauses() public {
        refuse(unpauser, token.PAUSER_ROLE());
        token.pause(MINT);
    }

    function test_OnlyAnUnpauserUnpauses() public {
        refuse(pauser, token.UNPAUSER_ROLE());
        token.unpause(MINT);
    }

    function test_OnlyAFreezerFreezes() public {
        refuse(allowlister, token.FREEZER_ROLE());
        token.setFrozen(alice, true);
    }

    function test_OnlyAnAllowlisterAllows() public {
        refuse(freezer, token.ALLOWLISTER_ROLE());
        token.setAllowed(stranger, true);
    }
}
