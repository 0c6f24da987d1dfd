"""What can go wrong with an embedded part. The docstring of each error is its message."""


class EmbeddedError(Exception):
    """An embedded process could not be run."""

    def __init__(self, **facts: object) -> None:
        template = " ".join((type(self).__doc__ or "").split())
        super().__init__(template.format(**facts))


class GuardianLostError(EmbeddedError):
    """The guardian of {program} ended before it was told to. Start {program} again."""


class CommandNotStartedError(EmbeddedError):
    """{program} could not be started: {reason}."""


class BinaryMissingError(EmbeddedError):
    """{program} was not found in {searched}, nor on PATH. Run `make setup` to install it."""


class BinaryUnreachableError(EmbeddedError):
    """The account 'nobody', which PostgreSQL must run as because it refuses to run as root, cannot
    execute {path}. Install PostgreSQL where every user can enter, or run as an ordinary user."""


class FolderUnreachableError(EmbeddedError):
    """The account 'nobody', which PostgreSQL must run as because it refuses to run as root, cannot
    write in {path}. Choose a folder whose parents every user can enter (mode 0755), or run as an
    ordinary user."""


class PasswordMissingError(EmbeddedError):
    """{path} is missing, but there is a database cluster beside it. Put the file back, or remove
    the folder if its data is not needed."""


class InitdbFailedError(EmbeddedError):
    """PostgreSQL's initdb ended with status {status}. The end of its log: {log}"""


class PostgresFailedError(EmbeddedError):
    """PostgreSQL did not become ready: {reason}. The end of its log: {log}"""


class AnvilFailedError(EmbeddedError):
    """Anvil did not become ready: {reason}. The end of its log: {log}"""


class AnvilUnreachableError(EmbeddedError):
    """Anvil at {url} did not answer {method}: {reason}."""


class AnvilRpcError(EmbeddedError):
    """Anvil refused {method}: {message} (code {code})."""

    def __init__(self, *, method: str, code: int, message: str, data: object = None) -> None:
        super().__init__(method=method, code=code, message=message)
        self.method = method
        self.code = code
        self.message = message
        self.data = data


class ValkeyFailedError(EmbeddedError):
    """Valkey did not become ready: {reason}. The end of its log: {log}"""


class ValkeyFolderError(EmbeddedError):
    """{path} cannot hold Valkey's data: {reason}. Choose another folder, or none."""
