// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";
import {AccountPolicy} from "../src/AccountPolicy.sol";
import {DepositTokenFixture} from "./DepositTokenFixture.sol";

contract PermitTest is DepositTokenFixture {
    bytes32 private constant TYPE_HASH = keccak256(
        "Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)"
    );

    address private owner;
    uint256 private key;

    function setUp() public override {
        super.setUp();
        (owner, key) = makeAddrAndKey("owner");
        setAllowed(owner, true);
        mint(OP_ID, owner, 100);
    }

    function permit(uint256 signingKey, uint256 value, uint256 deadline) private {
        bytes32 content =
            keccak256(abi.encode(TYPE_HASH, owner, bob, value, token.nonces(owner), deadline));
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(
            signingKey, keccak256(abi.encodePacked("\x19\x01", token.DOMAIN_SEPARATOR(), content))
        );
        token.permit(owner, bob, value, deadline, v, r, s);
    }

    function test_ASignatureApproves() public {
        permit(key, 30, block.timestamp);
        assertEq(token.allowance(owner, bob), 30);
        assertEq(token.nonces(owner), 1);

        vm.prank(bob);
        assertTrue(token.transferFrom(owner, bob, 30));
        assertEq(token.balanceOf(bob), 30);
    }

    function test_TheDomainIsTheTokensName() public view {
        (, string memory name, string memory version, uint256 chainId, address verifier,,) =
            token.eip712Domain();
        assertEq(name, token.name());
        assertEq(version, "1");
        assertEq(chainId, block.chainid);
        assertEq(verifier, address(token));
    }

    function test_AnotherKeysSignatureReverts() public {
        (address other, uint256 otherKey) = makeAddrAndKey("other");

        vm.expectRevert(
            abi.encodeWithSelector(ERC20Permit.ERC2612InvalidSigner.selector, other, owner)
        );
        this.permitFromOutside(otherKey, 30, block.timestamp);
    }

    function test_AnExpiredSignatureReverts() public {
        vm.expectRevert(
            abi.encodeWithSelector(
                ERC20Permit.ERC2612ExpiredSignature.selector, block.timestamp - 1
            )
        );
        this.permitFromOutside(key, 30, block.timestamp - 1);
    }

    function test_APermitMovesNothingOfAFrozenHolder() public {
        setFrozen(owner, true);
        permit(key, 30, block.timestamp);

        vm.expectRevert(abi.encodeWithSelector(AccountPolicy.AccountFrozen.selector, owner));
        vm.prank(bob);
        // forge-lint: disable-next-line(erc20-unchecked-transfer)
        token.transferFrom(owner, bob, 30);
    }

    // The whole of it as one call, of which a revert can be expected.
    function permitFromOutside(uint256 signingKey, uint256 value, uint256 deadline) external {
        permit(signingKey, value, deadline);
    }
}
