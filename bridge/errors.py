"""The errors of this package.

A loop decides by type and never by text: `Retryable` means that the same call may succeed later,
`Fatal` means that it will not until a person changes something, so money movement halts. An error
that is neither is a judgement about one message or one amount; whoever handles the message
catches it and keeps the evidence.
"""


class BridgeError(Exception):
    """Base of everything this package raises on purpose."""


class Retryable(BridgeError):
    """Waiting can help: try again with backoff."""


class Fatal(BridgeError):
    """Waiting cannot help: halt money movement and tell an operator what to do."""
