"""How often one provider may be asked: a window that slides, and what its refusals teach. Pure: whoever calls says
what time it is.

Providers count the calls of any second, so that is what is counted here: no second sees more than the rate, yet a
whole second's worth may go at once. Calls do not arrive in the rhythm in which they were sent: one whose answer took
longer than the fastest may have arrived so much later, and is counted from then; and the window is a little longer
than a second. When the provider says that it was too much, nothing is sent for as long as it
asks, or for a while that doubles each time.

Where no rate is configured none is kept, until the provider refuses: then half the rate that was just sent is
taken, and from there it grows by a little every second that goes well, so it stays near what is allowed.
"""

from collections import deque
from typing import Final

from indexer.gate import MAX_BATCH

WINDOW_S: Final = 1.005
# What took longer than this was slow to be answered, not to arrive.
MOST_LATE_S: Final = 0.02
# A refusal of a rate that is known says that calls arrive closer together than they were sent.
STRETCH_S: Final = 0.005
LONGEST_WINDOW_S: Final = 1.1
# A batch is at most so much of a second's worth, and at least one call.
BATCH_S: Final = 0.2
MIN_LEARNT_PER_S: Final = 1.0
DECREASE: Final = 0.5
INCREASE_PER_S: Final = 0.02
MIN_INCREASE_PER_S2: Final = 0.2
FIRST_COOL_DOWN_S: Final = 1.0
# Where the rate is known, a refusal is a matter of milliseconds.
CONFIGURED_COOL_DOWN_S: Final = 0.05
MAX_COOL_DOWN_S: Final = 60.0
OBSERVED_S: Final = 2.0


class Window:
    """Admits ``rate_per_s`` calls in any second; below one a second, one in as long as that takes."""

    def __init__(self, rate_per_s: float) -> None:
        self.rate_per_s = rate_per_s
        self._window_s = WINDOW_S
        self._fastest_s = float("inf")
        self._sent: deque[tuple[float, int]] = deque()
        self._count = 0

    @property
    def largest_batch(self) -> int:
        return max(1, int(self.rate_per_s * BATCH_S))

    def wait_s(self, calls: int, now_s: float) -> float:
        """How long until so many calls may be sent; 0 if they may now. More than are ever admitted are
        admitted when the window is empty."""
        self._slide(now_s)
        excess = min(self._count, self._count + calls - max(1, int(self.rate_per_s)))
        free_s = now_s
        for sent_s, sent in self._sent:
            if excess <= 0:
                break
            excess -= sent
            free_s = max(free_s, sent_s + self._length_s)
        return max(0.0, free_s - now_s)

    def take(self, calls: int, now_s: float) -> None:
        """So many calls are being sent."""
        self._slide(now_s)
        self._sent.append((now_s, calls))
        self._count += calls

    def answered(self, sent_s: float, now_s: float) -> None:
        """What was sent then was answered now."""
        took_s = now_s - sent_s
        self._fastest_s = min(self._fastest_s, took_s)
        late_s = min(took_s - self._fastest_s, MOST_LATE_S)
        for index in reversed(range(len(self._sent))):
            counted_s, calls = self._sent[index]
            if counted_s <= sent_s:
                self._sent[index] = (counted_s + late_s, calls)
                return

    def stretch(self) -> None:
        """Let each second be a little longer."""
        self._window_s = min(LONGEST_WINDOW_S, self._window_s + STRETCH_S)

    @property
    def _length_s(self) -> float:
        return self._window_s * max(1.0, 1.0 / self.rate_per_s)

    def _slide(self, now_s: float) -> None:
        # A hair's breadth of rounding must not mean another wait.
        while self._sent and self._sent[0][0] + self._length_s <= now_s + 1e-9:
            self._count -= self._sent.popleft()[1]


class Pace:
    """Which rate is kept now; ``configured_per_s`` None: none until the provider refuses one."""

    def __init__(self, configured_per_s: float | None, now_s: float) -> None:
        self._configured_per_s = configured_per_s
        self._window = None if configured_per_s is None else Window(configured_per_s)
        self._sent: deque[tuple[float, int]] = deque()
        self._cool_until_s = now_s
        self._first_cool_down_s = (
            FIRST_COOL_DOWN_S if configured_per_s is None else CONFIGURED_COOL_DOWN_S
        )
        self._cool_down_s = self._first_cool_down_s
        self._limited_at_s = float("-inf")
        self._raised_at_s = now_s

    @property
    def rate_per_s(self) -> float | None:
        """The rate that is kept now; None if there is none."""
        return None if self._window is None else self._window.rate_per_s

    @property
    def largest_batch(self) -> int:
        return MAX_BATCH if self._window is None else min(MAX_BATCH, self._window.largest_batch)

    def wait_s(self, calls: int, now_s: float) -> float:
        """How long until so many calls may be sent; 0 if they may now."""
        paced_s = 0.0 if self._window is None else self._window.wait_s(calls, now_s)
        return max(self.cooling_s(now_s), paced_s)

    def cooling_s(self, now_s: float) -> float:
        """How long nothing is sent after a refusal; 0 if there is none to wait for."""
        return max(0.0, self._cool_until_s - now_s)

    def take(self, calls: int, now_s: float) -> None:
        """So many calls are being sent."""
        if self._window is not None:
            self._window.take(calls, now_s)
        self._sent.append((now_s, calls))
        self._forget(now_s)

    def limited(self, sent_s: float, now_s: float, retry_after_s: float | None) -> None:
        """The provider refused what was sent at ``sent_s``. What was sent before the last refusal was heard
        is of the same crowd, and teaches nothing new."""
        if sent_s < self._limited_at_s:
            return
        wait_s = self._cool_down_s if retry_after_s is None else retry_after_s
        self._cool_until_s = max(self._cool_until_s, now_s + wait_s)
        self._cool_down_s = min(self._cool_down_s * 2, MAX_COOL_DOWN_S)
        self._limited_at_s = now_s
        if self._configured_per_s is None:
            sent_per_s = self._sent_per_s(now_s)
            rate = sent_per_s if self.rate_per_s is None else min(self.rate_per_s, sent_per_s)
            self._window = Window(max(MIN_LEARNT_PER_S, rate * DECREASE))
        elif self._window is not None:
            self._window.stretch()
        self._raised_at_s = self._cool_until_s

    def answered(self, sent_s: float, now_s: float) -> None:
        """The provider answered what was sent at ``sent_s``."""
        if sent_s < self._limited_at_s:
            return
        self._cool_down_s = self._first_cool_down_s
        if self._window is not None:
            self._window.answered(sent_s, now_s)
        if self._configured_per_s is None and self._window is not None:
            elapsed_s = min(OBSERVED_S, max(0.0, now_s - self._raised_at_s))
            rate = self._window.rate_per_s
            self._window.rate_per_s += elapsed_s * max(MIN_INCREASE_PER_S2, rate * INCREASE_PER_S)
            self._raised_at_s = max(self._raised_at_s, now_s)

    def _sent_per_s(self, now_s: float) -> float:
        self._forget(now_s)
        return sum(calls for _, calls in self._sent) / OBSERVED_S

    def _forget(self, now_s: float) -> None:
        while self._sent and self._sent[0][0] < now_s - OBSERVED_S:
            self._sent.popleft()
