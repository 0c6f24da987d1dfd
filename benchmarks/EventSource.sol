// SPDX-License-Identifier: UNLICENSED
pragma solidity ^0.8.28;

/// @title A source of Transfer events, for measuring whoever reads them.
/// @notice Nothing is owned or moved: a call emits as many events as it is asked for, between a
/// thousand addresses, with amounts of up to 96 bits. The same calls give the same events.
contract EventSource {
    event Transfer(address indexed from, address indexed to, uint256 value);

    uint160 private constant FIRST_HOLDER = uint160(1) << 152;
    uint160 private constant HOLDERS = 1_000;
    uint256 private constant SLOTS = 64;

    /// @dev A call changes a slot, as one of a token does; few of them, so that the state stays small.
    mapping(uint256 slot => uint256 count) public emitted;

    /// @dev No slot is empty from here on, so that every call of one size costs the same gas.
    constructor() {
        for (uint256 slot = 0; slot < SLOTS; slot++) {
            emitted[slot] = 1;
        }
    }

    /// @param seed Decides who sends how much to whom.
    /// @param count How many events to emit.
    function emitTransfers(uint256 seed, uint256 count) external {
        emitted[seed % SLOTS] += count;
        for (uint256 i = 0; i < count; i++) {
            uint256 dice = uint256(keccak256(abi.encode(seed, i)));
            emit Transfer(_holder(dice), _holder(dice >> 64), dice >> 160);
        }
    }

    function _holder(uint256 dice) private pure returns (address) {
        // The remainder is below 1,000, so the cast loses nothing.
        // forge-lint: disable-next-line(unsafe-typecast)
        return address(FIRST_HOLDER + uint160(dice % HOLDERS));
    }
}
