"""What can go wrong between us and a bank."""

from bridge.errors import BridgeError, Fatal, Retryable


class BankError(BridgeError):
    """Base of every error of a bank connector."""


class BankUnavailable(BankError, Retryable):
    """The bank could not be read: no connection, no answer in time, or a server error."""


class BankOutcomeUnknown(BankError, Retryable):
    """A payment order was sent, or may have been, and no definite answer came back.

    The bank may have accepted it. Ask for its status by the same end-to-end id; send it again
    only under the same id, and only to a bank that deduplicates by it.
    """


class BankMessageError(BankError, Retryable):
    """The bank sent something that is not what it promised; the text starts with the field's path.

    Retryable for a poll (the bank may mend it). For a webhook it means: answer 400.
    """


class BankAccessRefused(BankError, Fatal):
    """The bank does not accept our credentials (401 or 403)."""


class BankPaymentConflict(BankError, Fatal):
    """The bank holds a different payment under our end-to-end id.

    This is not a refusal: money may move under that id, to another payee or in another amount.
    """


class WebhookRefused(BankError):
    """A webhook that is not to be believed: answer 401, count it, do not store its body."""


class WebhookHeaderMissing(WebhookRefused):
    """A header that Standard Webhooks asks for is not there."""


class WebhookHeaderMalformed(WebhookRefused):
    """A header of the webhook is over-long or is not written as Standard Webhooks says."""


class WebhookStale(WebhookRefused):
    """The webhook's timestamp is further from our clock than the tolerance allows."""


class WebhookSignatureWrong(WebhookRefused):
    """No signature of the webhook was made with one of the live secrets over these very bytes."""
