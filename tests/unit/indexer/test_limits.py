"""What nodes and providers really answer, with the product that was seen answering so, and what is made of it."""

from __future__ import annotations

import pytest

from indexer.limits import (
    BehindHead,
    MethodMissing,
    Other,
    RangeTooWide,
    RateLimited,
    TooManyResults,
    UnknownBlock,
    Verdict,
    judge,
)

HASH = "0x" + "11" * 32

TOO_WIDE: list[tuple[str, int, str, RangeTooWide]] = [
    (
        "Alchemy, free plan",
        -32600,
        "Under the Free tier plan, you can make eth_getLogs requests with up to a 10 block range. Based on your"
        " parameters, this block range should work: [0x1180fca, 0x1180fd3]. Upgrade to PAYG for expanded block"
        " range.",
        RangeTooWide(10, (0x1180FCA, 0x1180FD3)),
    ),
    (
        "BlastAPI",
        -32600,
        "You can make eth_getLogs requests with up to a 10 block range. Based on your parameters, this block range"
        " should work: [0x18708eb, 0x18708f4]",
        RangeTooWide(10, (0x18708EB, 0x18708F4)),
    ),
    ("QuickNode", -32614, "eth_getLogs is limited to a 10,000 range", RangeTooWide(10_000)),
    (
        "QuickNode, discover plan",
        -32615,
        "eth_getLogs is limited to a 5 range, upgrade from discover plan at quicknode.com to increase the limit",
        RangeTooWide(5),
    ),
    (
        "QuickNode, error reference",
        -32602,
        "eth_getLogs and eth_newFilter are limited to a 10,000 blocks range",
        RangeTooWide(10_000),
    ),
    ("QuickNode, by its code alone", -32614, "block range", RangeTooWide()),
    ("1RPC", -32602, "eth_getLogs is limited to 0 - 50 blocks range", RangeTooWide(50)),
    ("BlockPI", -32602, "eth_getLogs is limited to 1024 block range", RangeTooWide(1024)),
    ("publicnode", -32701, "exceed maximum block range: 50000", RangeTooWide(50_000)),
    ("NodeReal", -32000, "exceed maximum block range: 5000", RangeTooWide(5000)),
    ("reth, op-geth", -32602, "query exceeds max block range 100000", RangeTooWide(100_000)),
    (
        "Erigon 3.4",
        -32602,
        "query block range exceeds server limit, narrow your filter: 1000",
        RangeTooWide(1000),
    ),
    ("cdk-erigon", -32005, "block range too large, max range: 1000", RangeTooWide(1000)),
    ("Besu", -32005, "Requested range exceeds maximum RPC range limit", RangeTooWide()),
    ("Besu, before 24", -32602, "Requested range exceeds maximum range limit", RangeTooWide()),
    (
        "Infura",
        -32602,
        "range 1000000 exceeds limit of 10000",
        RangeTooWide(10_000),
    ),
    (
        "Infura",
        -32602,
        "range 25887126 - 25897126 exceeds limit of 10000",
        RangeTooWide(10_000),
    ),
    (
        "Cloudflare",
        -32047,
        "Invalid eth_getLogs request. 'fromBlock'-'toBlock' range too large. Max range: 800",
        RangeTooWide(800),
    ),
    (
        "dRPC",
        35,
        "ranges over 10000 blocks are not supported on free plan",
        RangeTooWide(10_000),
    ),
    (
        "dRPC",
        -32000,
        "requested too many blocks from 0 to 16777216, maximum is set to 2048",
        RangeTooWide(2048),
    ),
    ("Ankr", -32600, "block range is too wide", RangeTooWide()),
    ("Ankr, TAC", -32000, "maximum [from, to] blocks distance: 10000", RangeTooWide(10_000)),
    ("Chainstack", -32602, "Block range limit exceeded.", RangeTooWide()),
    (
        "Morph",
        -32000,
        "block range is larger than max block range, block range = 5120, max block range = 5000",
        RangeTooWide(5000),
    ),
    ("Candle", -32600, "block range too high", RangeTooWide()),
    ("SimplyVC", -32000, "too wide blocks range, the limit is 100", RangeTooWide(100)),
    (
        "thirdweb",
        -32000,
        "Log response size exceeded. Maximum allowed number of requested blocks is 1000",
        RangeTooWide(1000),
    ),
    (
        "seen at several gateways",
        -32000,
        "block range too large (2000), maximum allowed is 1000 blocks",
        RangeTooWide(1000),
    ),
    ("Coinbase", -32600, "please limit the query to at most 1000 blocks", RangeTooWide(1000)),
    ("Frontier", -32603, "block range is too wide (maximum 1024)", RangeTooWide(1024)),
    ("Scroll", -32000, "block range is bigger than maxBlockRange", RangeTooWide()),
    (
        "Morph",
        -32000,
        "block range is larger than max block range, block range = 5120, max block range = 5000",
        RangeTooWide(5000),
    ),
    ("Merkle", -32000, "eth_getLogs range is too large, max is 10k blocks", RangeTooWide(10_000)),
    ("Swell", -32000, "block range greater than 2000 max", RangeTooWide(2000)),
    ("Somnia", -32000, "block range exceeds 1000", RangeTooWide(1000)),
    ("OP Labs' proxyd", -32600, "Block range is too large", RangeTooWide()),
    ("Arc", -32012, "requested range too large", RangeTooWide()),
    ("Altitude", -32000, "allowed block range threshold exceeded", RangeTooWide()),
]

TOO_MANY: list[tuple[str, int, str, TooManyResults]] = [
    (
        "Infura",
        -32005,
        "query returned more than 10000 results. Try with this block range [0xCB3D, 0x7B737].",
        TooManyResults((0xCB3D, 0x7B737)),
    ),
    (
        "zkSync",
        -32000,
        "Query returned more than 10000 results. Try with this block range [0x7dfd25, 0x7e0fcc].",
        TooManyResults((0x7DFD25, 0x7E0FCC)),
    ),
    (
        "geth behind many gateways",
        -32005,
        "query returned more than 10000 results",
        TooManyResults(),
    ),
    (
        "Alchemy: the 2K blocks are an offer, not the limit",
        -32602,
        "Log response size exceeded. You can make eth_getLogs requests with up to a 2K block range and no limit on"
        " the response size, or you can request any block range with a cap of 10K logs in the response. Based on"
        " your parameters and the response size limit, this block range should work: [0x0, 0x133e71]",
        TooManyResults((0, 0x133E71)),
    ),
    (
        "Alchemy",
        -32000,
        "Query timeout exceeded. Consider reducing your block range. Based on your parameters and the response size"
        " limit, this block range should work: [0x5223c98, 0x5223e80]",
        TooManyResults((0x5223C98, 0x5223E80)),
    ),
    (
        "reth, dRPC, BlastAPI",
        -32602,
        "query exceeds max results 20000, retry with the range 22382105-22382515",
        TooManyResults((22382105, 22382515)),
    ),
    (
        "Nethermind",
        -32005,
        "Too many logs requested. Max logs per response is 20000.",
        TooManyResults(),
    ),
    (
        "Nethermind",
        -32016,
        "eth_getLogs request was canceled due to enabled timeout.",
        TooManyResults(),
    ),
    (
        "Erigon 3.4",
        -32602,
        "query returns too many logs, narrow your filter: 20000",
        TooManyResults(),
    ),
    ("Arbitrum", -32000, "logs matched by query exceeds limit of 10000", TooManyResults()),
    ("Base", -32020, "backend response too large", TooManyResults()),
    ("NodeReal", -32000, "max message response size exceed.", TooManyResults()),
    ("1RPC", -32000, "response size should not greater than 2097152 bytes", TooManyResults()),
    ("LinkPool, Chainstack", -32002, "request timed out", TooManyResults()),
    ("dRPC", 30, "Request timeout on the free plan, please upgrade to paid plan", TooManyResults()),
    ("geth", -32002, "request timed out", TooManyResults()),
    ("geth", -32003, "response too large", TooManyResults()),
    ("thirdweb", -32005, "Request exceeds defined limit.", TooManyResults()),
    ("Go gateways", -32000, "context deadline exceeded", TooManyResults()),
]

RATE_LIMITED: list[tuple[str, int | None, str, RateLimited]] = [
    (
        "Alchemy",
        429,
        "Your app has exceeded its compute units per second capacity. If you have retries enabled, you can safely"
        " ignore this message.",
        RateLimited(),
    ),
    (
        "Alchemy",
        429,
        "Monthly capacity limit exceeded. Visit the dashboard to upgrade.",
        RateLimited(),
    ),
    ("Infura", -32005, "project ID request rate exceeded", RateLimited()),
    ("Infura", -32005, "daily request count exceeded, request rate limited", RateLimited()),
    (
        "QuickNode",
        -32007,
        "50/second request limit reached - reduce calls per second or upgrade your account at quicknode.com",
        RateLimited(),
    ),
    (
        "Chainstack",
        -32005,
        "You've exceeded the RPS limit available on the current plan.",
        RateLimited(),
    ),
    (
        "Chainstack",
        -32005,
        "You've exceeded the RPS limit. try_again_in 250.5 ms",
        RateLimited(0.2505),
    ),
    ("Base", -32016, "over rate limit", RateLimited()),
    (
        "Nethermind",
        -32000,
        "Unable to rent an instance of IEthRpcModule. Too many concurrent requests.",
        RateLimited(),
    ),
    ("OnFinality", -32029, "Too Many Requests, Please apply an API key", RateLimited()),
    ("Merkle", -32005, "Rate limit exceeded", RateLimited()),
    (
        "publicnode",
        -32005,
        "Rate limit exceeded. To obtain higher limits, please request a personal token.",
        RateLimited(),
    ),
    ("EIP-1474", -32005, "limit exceeded", RateLimited()),
    ("a gateway", None, "Too many requests, retry after 3 seconds", RateLimited(3.0)),
]

OTHERS: list[tuple[str, int | None, str, Verdict]] = [
    ("Anvil", -32602, "BlockOutOfRangeError: block height is 3 but requested was 16", BehindHead()),
    ("geth, reth", -32602, "block range extends beyond current head block", BehindHead()),
    ("OP Labs' proxyd", -32019, "block is out of range", BehindHead()),
    ("Nethermind", -32001, "8633830 could not be found", BehindHead()),
    ("Arc", -32014, "block not yet imported", BehindHead()),
    ("geth, reth", -32602, "invalid block range params", BehindHead()),
    ("geth, Anvil", -32000, "unknown block", UnknownBlock()),
    ("Besu", -32000, "Block not found", UnknownBlock()),
    ("Erigon", -32000, f"block not found: {HASH}", UnknownBlock()),
    ("reth", -32001, f"block not found: hash {HASH}", UnknownBlock()),
    ("Nethermind", -32001, f"{HASH} could not be found", UnknownBlock()),
    ("geth behind a balancer", -32000, "header not found", UnknownBlock()),
    (
        "OpenEthereum",
        -32000,
        "One of the blocks specified in filter (fromBlock, toBlock or blockHash) cannot be found.",
        UnknownBlock(),
    ),
    (
        "geth",
        -32601,
        "the method eth_getBlockReceipts does not exist/is not available",
        MethodMissing(),
    ),
    ("Anvil, reth, Merkle", -32601, "Method not found", MethodMissing()),
    ("EIP-1474", -32004, "Method not supported", MethodMissing()),
    (
        "Alchemy",
        -32600,
        "eth_sendRawTransactionSync is not available on the ETH_MAINNET.",
        MethodMissing(),
    ),
    ("Alchemy", -32600, "Unsupported method: eth_getBlockReceipts on ETH_MAINNET", MethodMissing()),
    (
        "several gateways",
        -32000,
        "eth_getBlockReceipts is not included in your current plan",
        MethodMissing(),
    ),
    ("Besu", -32005, "Transaction gas limit exceeds block gas limit", Other()),
    ("Besu", -32005, "Number of requests exceeds max batch size", Other()),
    ("Besu", -32005, "Filter address count exceeds limit", Other()),
    ("geth", -32602, "exceed max addresses", Other()),
    (
        "publicnode",
        -32602,
        "Archive requests require a personal token. Get one at: the provider's page",
        Other(),
    ),
    (
        "Ankr",
        -32000,
        "Unauthorized: You must authenticate your request with an API key.",
        Other(),
    ),
    ("Cloudflare", -32603, "Internal error", Other()),
    ("Cloudflare", -32046, "Cannot fulfill request", Other()),
    ("any", 3, "execution reverted: rate limit exceeded, too many requests", Other()),
    ("any", -32000, "execution reverted: block range too large", Other()),
    ("any", -32000, "nonce too low", Other()),
    ("any", -32000, "already known", Other()),
    ("any", -32000, "", Other()),
]

TEXTS: list[tuple[str, int | None, str, Verdict]] = [*TOO_WIDE, *TOO_MANY, *RATE_LIMITED, *OTHERS]


@pytest.mark.parametrize(
    ("code", "message", "meant"),
    [each[1:] for each in TEXTS],
    ids=[f"{product}: {message[:50]}" for product, _, message, _ in TEXTS],
)
def test_a_real_text_is_understood(code: int | None, message: str, meant: Verdict) -> None:
    assert judge(code, message) == meant


@pytest.mark.parametrize(
    ("message", "meant"),
    [(message, meant) for _, _, message, meant in RATE_LIMITED if message != "limit exceeded"],
)
def test_a_rate_limit_is_known_by_its_text_where_the_code_says_nothing(
    message: str, meant: RateLimited
) -> None:
    assert judge(-32000, message) == meant


def test_what_is_said_in_the_data_only_counts_too() -> None:
    tenderly = {"error_id": "4ed9", "payload": "range 9009594 is bigger than range limit 2000"}
    assert judge(-32602, "invalid params", data=tenderly) == RangeTooWide(2000)
    blast = {
        "range": "the range 55074203 - 55124202 exceeds the range allowed for your plan (49999 > 2000)."
    }
    assert judge(-32602, "Invalid params", data=blast) == RangeTooWide(2000)
    assert judge(
        -32602, "invalid params", data="query exceeds max block range 500"
    ) == RangeTooWide(500)
    limited = {"rate": {"current_rps": 13.3, "allowed_rps": 10.0, "backoff_seconds": 30.0}}
    assert judge(-32005, "project ID request rate exceeded", data=limited) == RateLimited(30.0)
    assert judge(-32000, "invalid params", data="0x" + b"unknown block".hex()) == Other()


@pytest.mark.parametrize(
    ("status", "meant"),
    [
        (200, Other()),
        (429, RateLimited()),
        (413, TooManyResults()),
        (408, TooManyResults()),
        (504, TooManyResults()),
        (524, TooManyResults()),
        (500, Other()),
    ],
)
def test_where_the_text_says_nothing_the_http_status_does(status: int, meant: Verdict) -> None:
    assert judge(-32000, "sorry", status) == meant
    assert judge(None, "<html>sorry</html>", status) == meant


def test_a_text_that_says_more_than_the_status_counts() -> None:
    assert judge(-32614, "eth_getLogs is limited to a 10,000 range", 413) == RangeTooWide(10_000)


@pytest.mark.parametrize(
    ("header", "wait_s"),
    [
        ("3", 3.0),
        (" 0 ", 0.0),
        ("1.5", 1.5),
        ("99999999", 600.0),
        ("-1", None),
        ("soon", None),
        ("nan", None),
        ("inf", 600.0),
        ("Sat, 21 Nov 2026 11:00:00 GMT", None),
    ],
)
def test_retry_after_is_read_and_bounded(header: str, wait_s: float | None) -> None:
    assert judge(None, "", 429, header) == RateLimited(wait_s)


@pytest.mark.parametrize(
    ("text", "wait_s"),
    [
        ("rate limited, try again in 30 seconds", 30.0),
        ("rate limit: retry in 150ms", 0.15),
        ("rate limit: retry after 2 minutes", 120.0),
        ("rate limit: try again in a while", None),
        ("rate limit: try again in 1.2.3 seconds", None),
    ],
)
def test_a_pause_in_words_is_read(text: str, wait_s: float | None) -> None:
    assert judge(-32005, text) == RateLimited(wait_s)


@pytest.mark.parametrize(
    "message",
    [
        "query returned more than 1 results. Try with this block range [0x9, 0x1]",
        "query returned more than 1 results. Try with this block range [0xzz, 0x1]",
        "query exceeds max results 1, retry with the range 9-1",
    ],
)
def test_a_suggestion_that_is_no_range_is_none(message: str) -> None:
    assert judge(-32005, message) == TooManyResults(None)


def test_a_limit_of_nothing_is_no_number() -> None:
    assert judge(-32000, "exceed maximum block range: 0") == RangeTooWide(None)


def test_texts_of_any_length_are_judged_at_once() -> None:
    hostile = "range " + "9" * 1_000_000 + " exceeds " * 100_000
    assert isinstance(judge(-32000, hostile, data=hostile), RangeTooWide | Other)
    assert judge(-32000, "exceed maximum block range: " + "9" * 1000) == RangeTooWide(10**18 - 1)
