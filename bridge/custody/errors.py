"""What can go wrong between us and whoever holds the keys."""

from bridge.errors import BridgeError, Fatal, Retryable


class CustodyError(BridgeError):
    """Base of every error of custody."""


class CustodyUnavailableError(CustodyError, Retryable):
    """Custody could not be asked, or gave no usable answer in time: ask again, with the same request."""


class CustodyAccessError(CustodyError, Fatal):
    """Custody cannot be used as it is set up: the text names the setting, and what to mend."""


class RequestConflictError(CustodyError, Fatal):
    """Another payload was asked for under a request id that is known: ids and payloads have come apart."""


class SignatureRefusedError(CustodyError, Fatal):
    """Custody returned something other than what was asked to be signed."""


class SignatureUnreadableError(CustodyError):
    """A signature or a public key that is not written as its format says; nothing may be made of it."""


class CallbackRefusedError(CustodyError):
    """A callback that is not to be believed: answer 401, count it, do not store its body."""


class CustodyLogCorruptError(CustodyError, Fatal):
    """Records in the middle of custody's log do not carry their checksum: somebody or a disk changed them."""
