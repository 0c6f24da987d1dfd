// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

/// @notice Emits what a pair of Uniswap V2 emits at a swap. It holds no tokens.
contract ExchangePair {
    event Swap(
        address indexed sender,
        uint256 amount0In,
        uint256 amount1In,
        uint256 amount0Out,
        uint256 amount1Out,
        address indexed to
    );

    function swap(uint256 amountIn, uint256 amountOut, address to) external {
        emit Swap(msg.sender, amountIn, 0, 0, amountOut, to);
    }
}

/// @notice Makes pairs as Uniswap V2's factory does. Without a constructor and without state that one would have to
/// set, so that its code can be laid at any address.
contract ExchangeFactory {
    event PairCreated(
        address indexed token0, address indexed token1, address pair, uint256 allPairsLength
    );

    address[] public allPairs;

    function createPair(address token0, address token1) public returns (ExchangePair pair) {
        pair = new ExchangePair();
        allPairs.push(address(pair));
        emit PairCreated(token0, token1, address(pair), allPairs.length);
    }

    /// @notice A pair that is traded in the transaction of its birth.
    function createPairAndSwap(address token0, address token1, uint256 amountIn, uint256 amountOut)
        external
    {
        createPair(token0, token1).swap(amountIn, amountOut, msg.sender);
    }
}
