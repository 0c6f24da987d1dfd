"""eth-account, imported when a key is first used: whoever only indexes never waits for it.

It brings a pairing curve along whose constants take longer to compute than all the rest of the daemon takes to
import, and a package below it lifts Python's recursion limit, by which JSON that is nested too deeply ends in an
error instead of overflowing the stack.
"""

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from eth_account import Account


def accounts() -> "type[Account]":
    """The library's entrance; the recursion limit stays as it is."""
    limit = sys.getrecursionlimit()
    try:
        from eth_account import Account
    finally:
        sys.setrecursionlimit(limit)
    return Account
