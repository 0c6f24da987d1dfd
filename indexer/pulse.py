"""How often new heads come, and from when on their absence is a fault. Pure: whoever calls says what time it is."""

from typing import Final

WEIGHT: Final = 0.2
# Blocks faster than this, or slower, are taken for so fast, or so slow.
MIN_BLOCK_TIME_S: Final = 1.0
MAX_BLOCK_TIME_S: Final = 30.0
# What is assumed before two heads were seen.
PRESUMED_BLOCK_TIME_S: Final = 12.0
MUTE_BLOCK_TIMES: Final = 3


class Pulse:
    """``block_time_s`` is None before two heads were seen; it outlives a connection."""

    def __init__(self) -> None:
        self.block_time_s: float | None = None
        self._number: int | None = None
        self._at_s = 0.0

    @property
    def patience_s(self) -> float:
        """How long to wait for a head after the last one."""
        known = PRESUMED_BLOCK_TIME_S if self.block_time_s is None else self.block_time_s
        return MUTE_BLOCK_TIMES * min(max(known, MIN_BLOCK_TIME_S), MAX_BLOCK_TIME_S)

    def age_s(self, now_s: float) -> float | None:
        """Since the last head; None before the first."""
        return None if self._number is None else now_s - self._at_s

    def beat(self, number: int, now_s: float) -> None:
        """A head came. One that is no higher than the last, as after a reorg, tells nothing of the pace."""
        if self._number is not None and number > self._number:
            took_s = min((now_s - self._at_s) / (number - self._number), MAX_BLOCK_TIME_S)
            known = took_s if self.block_time_s is None else self.block_time_s
            self.block_time_s = known + (took_s - known) * WEIGHT
        self._number = number
        self._at_s = now_s
