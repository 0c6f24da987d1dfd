"""What can go wrong with a measurement. The docstring of each error is its message."""


class BenchmarkError(Exception):
    """A measurement could not be made."""

    def __init__(self, **facts: object) -> None:
        template = " ".join((type(self).__doc__ or "").split())
        super().__init__(template.format(**facts))


class ForgeFailedError(BenchmarkError):
    """forge could not compile {path}: {reason}. Run `make setup` first."""


class NodeRefusedError(BenchmarkError):
    """Anvil refused {method}: {message}"""


class ChainDiffersError(BenchmarkError):
    """The generated chain is not as it was ordered: block {number} holds {found} transactions, not
    {wanted}."""


class ProgramEndedError(BenchmarkError):
    """The measured program ended by itself with status {status}. The end of its log: {log}"""


class NotReachedError(BenchmarkError):
    """{what} was not reached within {timeout_s} s. The end of the program's log: {log}"""


class RowsDifferError(BenchmarkError):
    """The rows are not those of the chain: {extra} too many, {missing} missing, of {wanted}."""


class ProxyFailedError(BenchmarkError):
    """The slow provider did not start: {reason}"""


class PeersMissingError(BenchmarkError):
    """{path} is missing: run the setup.sh of the peers' folder first (PEERS_TMP says where it
    installs)."""


class PeersFailedError(BenchmarkError):
    """The peers' harness ended with status {status} and said no more of {what}. The end of its log:
    {log}"""


class ResultMalformedError(BenchmarkError):
    """Line {number} of the results is not one that a measurement printed: {reason}"""
