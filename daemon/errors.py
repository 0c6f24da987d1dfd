"""What keeps the daemon from starting."""


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
