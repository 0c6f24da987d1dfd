"""What keeps the daemon from starting, and how errors name the settings of a chain."""

# As in the texts of :mod:`indexer.errors`.
NAMELESS = "chains.NAME"


def of_chain(text: object, chain: str) -> str:
    """The same text, with the settings of this very chain in it."""
    return str(text).replace(NAMELESS, f"chains.{chain}")


class StartError(Exception):
    """The daemon cannot start: the text names the setting and the remedy. ``retryable`` where waiting can help."""

    def __init__(self, text: str, *, retryable: bool = False) -> None:
        super().__init__(text)
        self.retryable = retryable


class SettingsError(Exception):
    """The settings have faults; the text lists every one, with its key."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults
