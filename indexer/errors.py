"""The errors of this package. A loop decides by their type, a person by their text.

``Retryable`` means that the same step may succeed later without anybody's help; ``Fatal`` means that it
will not until a person changes something. The docstring of an error is its message, with the details
given as keywords filled in. What a chain is called in the settings is not known here: it stands as NAME, and
whoever shows the error fills it in.
"""

import inspect
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from indexer.limits import Verdict


class IndexerError(Exception):
    """Following the chain failed."""

    def __init__(self, **details: object) -> None:
        template = " ".join(inspect.cleandoc(type(self).__doc__ or type(self).__name__).split())
        super().__init__(template.format(**details))
        self.details = details


class Retryable(IndexerError):
    """Waiting can help."""


class Fatal(IndexerError):
    """Waiting cannot help: an operator has to act."""


class RpcUnavailable(Retryable):
    """The node at {endpoint} (chains.NAME.rpc_urls) did not answer {method}: {reason}. It is tried again."""

    http_status: int | None = None
    """The status of an HTTP answer that was none to the call; None if there was no such answer."""


class RpcMalformed(Retryable):
    """The node's answer to {method} is not what the protocol says: {reason}. It is tried again; if it
    stays so, name another node in chains.NAME.rpc_urls."""

    http_status: int | None = None
    """As :attr:`RpcUnavailable.http_status`."""


class RpcError(Retryable):
    """The node refused {method}: {message} (code {code})."""

    verdict: "Verdict | None" = None
    """What the refusal means, where it was judged; see :mod:`indexer.limits`."""
    data: object
    """The error's field of that name, as the node gave it."""

    def __init__(
        self, code: int, message: str, data: object = None, method: str = "the call"
    ) -> None:
        super().__init__(code=code, message=message, method=method)
        self.code = code
        self.message = message
        self.data = data


class DatabaseUnavailable(Retryable):
    """Postgres (database.url) cannot be used just now: {reason}. It is tried again."""


class LeaseLost(Retryable):
    """The lease {role} is no longer held at epoch {epoch}: another daemon has it. This one writes nothing
    until it holds the lease again."""


class CursorMoved(Retryable):
    """The cursor of chain {chain_id} was moved by somebody else while this step was being prepared. The
    step wrote nothing and starts anew."""


class BlockVanished(Retryable):
    """The node no longer knows block {block}, which it named a moment ago: its chain has just changed.
    It is asked again."""


class LogsMissing(Retryable):
    """The node returned no logs for block {number} ({hash}), whose bloom filter has our contracts' events.
    The block is not stored as empty; it is asked for again."""


class LogsInconsistent(Retryable):
    """The node's logs for block {number} ({hash}) contradict the question: {reason}. They are asked for
    again."""


class LogsMalformed(Retryable):
    """A node's logs are not what the protocol says: {reason}. Nothing of their blocks was written; they are
    asked for again."""


class FinalityInconsistent(Retryable):
    """The node calls {hash} final at block {number}, where its own chain as just read has {ours}. Nothing
    was written; it is asked again."""


class WrongChain(Fatal):
    """The node at {endpoint} (chains.NAME.rpc_urls) is on chain {found}, but chains.NAME.id says {expected}:
    correct one of the two settings."""


class WrongGenesis(Fatal):
    """The node at {endpoint} (chains.NAME.rpc_urls) has genesis block {found}, but this database, or another
    provider, follows the chain with genesis {expected}: name nodes of that chain, or use a new database."""


class FinalityUnknown(Retryable):
    """No provider of chain {chain_id} says which block is final, and the chain is {head_number} blocks long.
    Set chains.NAME.finality_depth_blocks: how many blocks deep one counts as final there."""


class NoContractCode(Fatal):
    """There is no contract at {address} on chain {chain_id}: correct the address of contract {name}, or
    name nodes of the chain where it is deployed in chains.NAME.rpc_urls."""


class DeepReorg(Fatal):
    """Chain {chain_id} was rewritten below its finalized block: at block {number} the node has {theirs},
    where {ours} is final here. Nothing was written. Find out with a second node which of the two is the
    chain; if it is ours, name another node in chains.NAME.rpc_urls, and if it is not, keep money halted and
    rebuild from a new database."""


class AbiUnsupported(Fatal):
    """The ABI of contract {contract} cannot be indexed: {reason}. Remove the event from the ABI, or use a
    version that supports it."""


class SourcesDiffer(Fatal):
    """The database of chain {chain_id} follows other contracts, or the same ones otherwise, than the
    configuration says ({names}). Run `landbridge migrate`: what is new or changed is then indexed beside
    what is there."""


class NameTaken(Fatal):
    """The table {table} is needed by {first} and by {second}: give one of the contracts another name."""


class FactoryUnknown(Fatal):
    """The factory of contract {contract} cannot be used: {reason}. Correct its `factory` setting."""


class StartUnknown(Retryable):
    """The block where contract {contract} was deployed could not be found: {reason}. Set its start_block, or
    give the chain a provider that keeps old states."""


class SourceMoved(Retryable):
    """Contract {name} was moved on by somebody else while its next blocks were being read. Nothing was written;
    what is missing is looked at anew."""


class ConsumerMoved(Retryable):
    """The feed's consumer {consumer} is not at seq {expected} but at {found}: somebody else consumed in its
    name. This step is undone and starts anew."""


class FeedPruned(Fatal):
    """Row {wanted} of the feed of chain {chain_id} was removed, as chains.NAME.keep_days says or `landbridge index
    prune` did; its oldest row is {feed_from}. Whoever needs what was before begins with v1.snapshot, and goes on
    behind its seq."""


class FeedShortened(Retryable):
    """Rows of the feed of chain {chain_id} were removed while {consumer} began. It begins anew, with a snapshot."""


class RpcTimeout(RpcUnavailable):
    """The node at {endpoint} did not answer {method} in time: it timed out after {reason}. It is tried
    again, logs of many blocks in smaller ranges."""


class RpcRateLimited(RpcUnavailable):
    """The node at {endpoint} refused {method}: over its rate limit ({reason}). It is asked less often; if it
    stays so, set the provider's requests_per_s to what its plan allows, or add a provider."""

    retry_after_s: float | None = None


class RpcTooLong(RpcMalformed):
    """The node's answer to {method} is too long: {reason}. It is tried again, logs of many blocks in smaller
    ranges."""


class MethodMissing(RpcError):
    """The node does not offer {method}: {message} (code {code}). Use a provider that does, or switch off what
    needs it."""


class NodeBehind(Retryable):
    """The node at {endpoint} does not have block {number} yet. It is asked again."""


class RangeRefused(Retryable):
    """The node at {endpoint} does not give the logs of blocks {from_block} to {to_block} in one answer:
    {reason}. They are asked for in smaller ranges."""

    def __init__(
        self,
        *,
        endpoint: str,
        from_block: int,
        to_block: int,
        reason: str,
        too_wide: bool = False,
        max_blocks: int | None = None,
        suggested: tuple[int, int] | None = None,
    ) -> None:
        super().__init__(endpoint=endpoint, from_block=from_block, to_block=to_block, reason=reason)
        self.too_wide = too_wide
        """Refused for its number of blocks alone, whatever they hold."""
        self.max_blocks = max_blocks
        self.suggested = suggested

    @property
    def accepted_blocks(self) -> int | None:
        """How many blocks the node says it would accept; None if it does not say."""
        if self.suggested is not None:
            first, last = self.suggested
            return max(1, last - first + 1)
        return self.max_blocks


class HeaderForged(Retryable):
    """The header of block {number} from {endpoint} does not have the hash it claims: {claimed}, where its
    fields give {computed}. It is not used, and another provider is asked; if it stays so, remove this one, or
    set verify to bloom or none for the chain's contracts if the chain makes its hashes another way."""


class NoProvider(Retryable):
    """No provider can be used just now: {reasons}. They are tried again."""


class ProviderAstray(Retryable):
    """The node at {endpoint} has {theirs} at block {number}, where {ours} is final here: what it says of final
    blocks is of another chain, and is not used. Find out with a second node which of the two is the chain, and
    remove this one if it is on the wrong one."""


class FinalityDisputed(Retryable):
    """The providers disagree about finalized block {number}: {says}. Nothing counts as final until they
    agree: find out which of them follows another chain, and remove it."""


class EventUnknown(Fatal):
    """The contract has no event {wanted}: {reason}. Correct the events that its settings choose, or its
    ABI."""


class ReceiptsForged(Retryable):
    """The receipts that a node gave for block {number} ({hash}) are not proven by the block's header: {reason}.
    None of their logs is used; another provider is asked. If every provider says the same, the chain makes its
    receipts in a way that cannot be verified here: set verify to bloom or none for its contracts."""


class HeadersUnlinked(Retryable):
    """The headers that a node gave are not one chain: block {number} does not follow, {reason}. None of them is
    used; they are asked for again."""


class RedisUnavailable(Retryable):
    """Redis (redis.url) cannot be used just now: {reason}. It is tried again; what it lacks then is made up
    for."""


class StreamMoved(Retryable):
    """The stream {key} in Redis was expected to end at {expected}, but it ends at {found}: it was emptied or fell
    back, or another daemon adds to it. Nothing was added; it is looked at again."""


class StreamForeign(Retryable):
    """The stream {key} in Redis (redis.url) does not hold the feed of this database: {reason}. If another
    deployment uses this Redis too, give each one its own. If this database was restored from a backup, delete the
    stream (DEL {key}) and let its consumers begin anew. Nothing is added until then."""


class ReplayRefused(Fatal):
    """The feed of chain {chain_id} cannot be written from row {from_seq} on: {reason}."""


class ResyncRefused(Fatal):
    """Contract {contract} cannot be read again from block {from_block} on: {reason}."""
