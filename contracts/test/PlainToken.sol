// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

/// @notice A token that knows amounts and accounts, and nothing of operations: the same mint, sent
/// twice, mints twice. Whose right it is to mint is no matter of the tests. Without a constructor, so
/// that its code can be laid at any address.
contract PlainToken {
    event Transfer(address indexed from, address indexed to, uint256 value);

    error AccountBlocked(address account);

    uint8 public constant decimals = 2;

    uint256 public totalSupply;
    mapping(address account => uint256) public balanceOf;
    mapping(address account => bool) public blocked;

    function setBlocked(address account, bool value) external {
        blocked[account] = value;
    }

    function mint(address to, uint256 amount) external {
        require(!blocked[to], AccountBlocked(to));
        totalSupply += amount;
        balanceOf[to] += amount;
        emit Transfer(address(0), to, amount);
    }

    function burn(uint256 amount) external {
        balanceOf[msg.sender] -= amount;
        totalSupply -= amount;
        emit Transfer(msg.sender, address(0), amount);
    }
}
