"""The errors of this package. A loop decides by their type, a person by their text.

``Retryable`` means that the same step may succeed later without anybody's help; ``Fatal`` means that it
will not until a person changes something. The docstring of an error is its message, with the details
given as keywords filled in.
"""

import inspect


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
    """The node at {endpoint} (chain.rpc_url) did not answer {method}: {reason}. It is tried again."""


class RpcMalformed(Retryable):
    """The node's answer to {method} is not what the protocol says: {reason}. It is tried again; if it
    stays so, point chain.rpc_url at another node."""


class RpcError(Retryable):
    """The node refused {method}: {message} (code {code})."""

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


class FinalityInconsistent(Retryable):
    """The node calls {hash} final at block {number}, where its own chain as just read has {ours}. Nothing
    was written; it is asked again."""


class WrongChain(Fatal):
    """The node behind chain.rpc_url is on chain {found}, but chain.id says {expected}: correct one of the
    two settings."""


class WrongGenesis(Fatal):
    """The node behind chain.rpc_url has genesis block {found}, but this database follows the chain with
    genesis {expected}: point chain.rpc_url at that chain, or use a new database."""


class StartBlockChanged(Fatal):
    """This database follows chain {chain_id} from block {stored}, but the setting of the token's start
    block says {wanted}: set it back to {stored}, or use a new database."""


class NoContractCode(Fatal):
    """There is no contract at {address} on chain {chain_id}: correct token.address (contract {name}), or
    point chain.rpc_url at the chain where it is deployed."""


class DeepReorg(Fatal):
    """Chain {chain_id} was rewritten below its finalized block: at block {number} the node has {theirs},
    where {ours} is final here. Nothing was written. Find out with a second node which of the two is the
    chain; if it is ours, point chain.rpc_url elsewhere, and if it is not, keep money halted and rebuild
    from a new database."""


class AbiUnsupported(Fatal):
    """The ABI of contract {contract} cannot be indexed: {reason}. Remove the event from the ABI, or use a
    version that supports it."""


class TablesDiffer(Fatal):
    """The tables of contract {contract} do not fit its ABI: {reason}. Run `landbridge migrate`; if that
    refuses too, give the contract another name, since stored events are never rewritten."""


class ConsumerMoved(Retryable):
    """The feed's consumer {consumer} is not at seq {expected} but at {found}: somebody else consumed in its
    name. This step is undone and starts anew."""
