"""Gaps in an account's entry sequence. Pure."""

from collections.abc import Iterable


def gaps(after: int, seen: Iterable[int], through: int) -> list[tuple[int, int]]:
    """The runs (first, last) of numbers above ``after`` and up to ``through`` that were not seen.

    At most one run more than there are numbers, however far apart they are.
    """
    found = []
    expected = after + 1
    for number in sorted({n for n in seen if after < n <= through}):
        if number > expected:
            found.append((expected, number - 1))
        expected = number + 1
    if expected <= through:
        found.append((expected, through))
    return found
