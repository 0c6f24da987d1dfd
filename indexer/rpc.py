"""What is asked of one node, typed; every answer is checked to be about what was asked.

The transport and the three kinds of failure are :mod:`indexer.jsonrpc`'s. An answer that contradicts its
question is :class:`RpcMalformed`. Nothing is assumed of two answers but what they say themselves: those of one
batch may be of two chains, if the node's chain changes between them.
"""

import time
from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self

from indexer import answers, limits, wire
from indexer.answers import RangeAnswer, Tags
from indexer.batch import Batches, Questions
from indexer.block import Header
from indexer.errors import (
    BlockVanished,
    NoContractCode,
    RpcError,
    RpcMalformed,
    RpcTimeout,
    RpcTooLong,
    WrongChain,
    WrongGenesis,
)
from indexer.gate import Gate, OpenGate
from indexer.hexadecimal import from_data, from_quantity, to_data, to_quantity
from indexer.jsonrpc import (
    CONNECT_TIMEOUT_S,
    MAX_CONNECTIONS,
    MAX_RESPONSE_BYTES,
    TOTAL_TIMEOUT_S,
    TURN_TIMEOUT_S,
    Call,
    Clock,
    JsonRpc,
)

TAGS: Final = ("finalized", "safe", "latest")
BY_NUMBER: Final = "eth_getBlockByNumber"
BY_HASH: Final = "eth_getBlockByHash"
GET_LOGS: Final = "eth_getLogs"


class Rpc:
    """A client of one node; closed by :meth:`close` or as a context manager.

    ``verify_headers``: the hash of every header that is read is computed from its fields
    (:class:`HeaderForged` if it differs). ``gate`` is passed by every request.
    """

    def __init__(
        self,
        url: str,
        *,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        total_timeout_s: float = TOTAL_TIMEOUT_S,
        turn_timeout_s: float = TURN_TIMEOUT_S,
        max_response_bytes: int = MAX_RESPONSE_BYTES,
        max_connections: int = MAX_CONNECTIONS,
        verify_headers: bool = False,
        gate: Gate | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        gate = gate or OpenGate()
        self._verify_headers = verify_headers
        self._node = JsonRpc(
            url,
            gate=gate,
            connect_timeout_s=connect_timeout_s,
            total_timeout_s=total_timeout_s,
            turn_timeout_s=turn_timeout_s,
            max_response_bytes=max_response_bytes,
            max_connections=max_connections,
            clock=clock,
        )
        self._batches = Batches(self._node, gate, clock)
        self._clock = clock
        self.newest_number: int | None = None
        """The height of the node's chain when it last told; see :attr:`newest_at_s`."""
        self.newest_at_s: float | None = None
        """When it did, by the clock that was given."""
        self.finalized_number: int | None = None
        """The height that it last called finalized; None if it never did."""

    @property
    def endpoint(self) -> str:
        """Scheme, host and port: what may be shown."""
        return self._node.endpoint

    @property
    def batch_calls(self) -> int:
        """Most calls that one request may hold now: 1 if the node takes no batches."""
        return self._batches.size_calls

    def __repr__(self) -> str:
        return f"Rpc({self.endpoint})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        await self._node.close()

    async def call(self, method: str, params: Sequence[object] = ()) -> wire.Json:
        """The result as plain JSON values (None for null), for methods that have no typed one here."""
        return await self._node.ask(method, params, wire.ANY_ANSWER, lambda result, _: result)

    async def chain_id(self) -> int:
        return await self._number("eth_chainId")

    async def block_number(self) -> int:
        number = await self._number("eth_blockNumber")
        self._note_newest(number)
        return number

    async def code(self, address: bytes, block: int | str = "latest") -> bytes:
        """The code at an address, empty if there is none."""
        params = [to_data(address), _block_name(block)]
        return await self._node.ask(
            "eth_getCode", params, wire.ANY_ANSWER, lambda result, _: from_data(result)
        )

    async def header(self, block: int | str | bytes) -> Header | None:
        """The header by number, tag (``latest``, ``safe``, ``finalized``) or hash; None if unknown.

        The answer is the block that was asked for: another number or hash is :class:`RpcMalformed`.
        """
        method, params = _header_call(block)
        return await self._node.ask(
            method, params, wire.BLOCK_ANSWER, lambda answer, _: self._header(block, answer)
        )

    async def tags(self) -> Tags:
        """What the node calls finalized, safe and latest: in one batch if it takes batches, else one after
        the other in this order, so that what is final was so before the newest header was read.

        A tag that the node refuses or does not know is None. The headers may be of different branches.
        """
        finalized, safe, latest = await self._batches.ask_in_order(self._header_questions(TAGS))
        if latest is None:
            raise BlockVanished(block="latest")
        return Tags(latest, safe, finalized)

    async def headers(self, numbers: Sequence[int]) -> list[Header]:
        """The headers at these heights, in this order, in batches. They may be of different branches: link
        them by their hashes. Raises :class:`BlockVanished` if the node lacks one."""
        headers = []
        found = await self._batches.ask(self._header_questions(numbers))
        for number, header in zip(numbers, found, strict=True):
            if header is None:
                raise BlockVanished(block=number)
            headers.append(header)
        return headers

    def pushed_header(self, answer: wire.Block) -> Header:
        """The header that the node pushed of its own accord. Raises :class:`RpcMalformed`, :class:`HeaderForged`."""
        try:
            found = self._header("latest", answer)
        except ValueError as error:
            raise RpcMalformed(method="eth_subscription", reason=str(error)) from error
        if found is None:
            raise RpcMalformed(method="eth_subscription", reason="it has no header")
        return found

    async def logs_of_block(
        self,
        block_hash: bytes,
        addresses: Sequence[bytes] | None = None,
        topics0: Sequence[bytes] | None = None,
    ) -> list[wire.Log]:
        """The logs of one block, of these contracts and first topics (None: of any), in the order of the
        answer. Raises :class:`BlockVanished` if the node says that it does not know the block."""
        name = to_data(block_hash)
        query = {"blockHash": name, **answers.log_filter(addresses, topics0)}

        def read(logs: list[wire.Log], _: bytearray) -> list[wire.Log]:
            answers.require_block(logs, query, name)
            return logs

        try:
            return await self._node.ask(GET_LOGS, [query], wire.LOGS_ANSWER, read)
        except RpcError as error:
            if isinstance(error.verdict, limits.UnknownBlock):
                raise BlockVanished(block=name) from error
            raise

    async def logs_in_range(
        self,
        from_block: int,
        to_block: int,
        addresses: Sequence[bytes] | None = None,
        topics0: Sequence[bytes] | None = None,
    ) -> RangeAnswer:
        """The logs of a range, both ends included. Raises :class:`RangeRefused` where fewer blocks may do
        (too wide, too many logs, too long an answer, too slow), :class:`NodeBehind` where the node's chain
        ends below the range."""
        query: dict[str, object] = {
            "fromBlock": to_quantity(from_block),
            "toBlock": to_quantity(to_block),
            **answers.log_filter(addresses, topics0),
        }

        def read(logs: list[wire.Log], body: bytearray) -> RangeAnswer:
            answers.require_plain(body)
            answers.require_range(logs, query, from_block, to_block)
            return RangeAnswer(logs, len(body))

        try:
            return await self._node.ask(GET_LOGS, [query], wire.LOGS_ANSWER, read)
        except (RpcError, RpcTimeout, RpcTooLong) as error:
            meant = answers.range_error(error, self.endpoint, from_block, to_block)
            if meant is None:
                raise
            raise meant from error

    async def receipts(
        self, block_hash: bytes, *, to_be_proved: bool = False
    ) -> list[wire.Receipt] | None:
        """Every receipt of one block, in order; None if the node does not know the block.

        ``to_be_proved``: they are handed to ``proof.verified_logs``, which checks more than is checked here.
        """
        name = to_data(block_hash)

        def read(receipts: list[wire.Receipt] | None, _: bytearray) -> list[wire.Receipt] | None:
            if not to_be_proved:
                answers.require_receipts(receipts or [], name)
            return receipts

        return await self._node.ask("eth_getBlockReceipts", [name], wire.RECEIPTS_ANSWER, read)

    async def block_with_transactions(self, block_hash: bytes) -> wire.FullBlock | None:
        """One block with its transactions; None if the node does not know it."""

        def read(found: wire.FullBlock | None, _: bytearray) -> wire.FullBlock | None:
            if found is not None:
                self._header(block_hash, found)
                answers.require_transactions(found.transactions)
            return found

        params = [to_data(block_hash), True]
        return await self._node.ask(BY_HASH, params, wire.FULL_BLOCK_ANSWER, read)

    async def require_chain(self, chain_id: int, genesis_hash: bytes | None = None) -> bytes:
        """The hash of block 0; raises :class:`WrongChain` or :class:`WrongGenesis` on another chain."""
        found = await self.chain_id()
        if found != chain_id:
            raise WrongChain(endpoint=self.endpoint, expected=chain_id, found=found)
        genesis = await self.header(0)
        if genesis is None:
            raise RpcMalformed(method=BY_NUMBER, reason="the node has no block 0")
        if genesis_hash is not None and genesis.hash != genesis_hash:
            raise WrongGenesis(
                endpoint=self.endpoint, expected=to_data(genesis_hash), found=to_data(genesis.hash)
            )
        return genesis.hash

    async def require_code(self, name: str, address: bytes, chain_id: int) -> None:
        """Raises :class:`NoContractCode` if no contract stands at ``address``."""
        if not await self.code(address):
            raise NoContractCode(name=name, address=to_data(address), chain_id=chain_id)

    def _header(self, question: int | str | bytes, answer: wire.Block | None) -> Header | None:
        found = answers.header(question, answer, self.endpoint, verify=self._verify_headers)
        if question == "latest" and found is not None:
            self._note_newest(found.number)
        elif question == "finalized" and found is not None:
            self.finalized_number = found.number
        return found

    def _note_newest(self, number: int) -> None:
        self.newest_number = number
        self.newest_at_s = self._clock()

    def _header_questions(
        self, blocks: Sequence[int | str]
    ) -> Questions[wire.Block | None, Header | None]:
        calls = [_header_call(block) for block in blocks]
        return Questions(
            calls, wire.BLOCK, lambda index, answer: self._header(blocks[index], answer)
        )

    async def _number(self, method: str) -> int:
        return await self._node.ask(
            method, [], wire.ANY_ANSWER, lambda result, _: from_quantity(result, wire.NUMBER_BITS)
        )


def _block_name(block: int | str) -> str:
    return block if isinstance(block, str) else to_quantity(block)


def _header_call(block: int | str | bytes) -> Call:
    if isinstance(block, bytes):
        return BY_HASH, [to_data(block), False]
    return BY_NUMBER, [_block_name(block), False]
