"""Other indexers, measured by a harness of their own: a folder with bench.py, run as it is.

The harness has its own chain, Postgres and Python below $PEERS_TMP, where its setup.sh installed
them, and prints a line for each measurement: the time of day and a JSON object. One of them can run
at a time on a machine, since the names of its databases are always the same.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.errors import PeersFailedError, PeersMissingError
from daemon.embedded.account import new_temporary_path
from daemon.embedded.log_tail import log_tail
from daemon.embedded.postgres import free_port
from daemon.embedded.process import GuardedProcess

GRACE_S = 30.0
Measured = dict[str, Any]


class Harness:
    """`folder` holds bench.py, and `installed` what its setup.sh made."""

    def __init__(self, folder: Path, installed: Path | None = None) -> None:
        self._folder = folder.absolute()
        self._installed = installed or default_installation()
        self._python = self._installed / "pyenv" / "lab" / "bin" / "python"

    def check(self) -> None:
        """Raise PeersMissingError if it cannot be run."""
        for path in (self._folder / "bench.py", self._python):
            if not path.exists():
                raise PeersMissingError(path=path)

    async def run(self, test: str, *peers: str, flags: tuple[str, ...] = ()) -> dict[str, Measured]:
        """What `bench.py TEST PEER... FLAGS` measured, by peer.

        Raises PeersFailedError if a peer is not among the results, or its rows were not exact.
        """
        self.check()
        log = new_temporary_path(None)
        try:
            status = await self._finish([test, *peers, *flags], log)
            measured = results_of(log.read_text(errors="replace").splitlines())
            for peer in peers:
                if status != 0 or not is_sound(measured.get(peer)):
                    what = f"{test} {peer}"
                    raise PeersFailedError(status=status, what=what, log=log_tail(log))
        finally:
            log.unlink(missing_ok=True)
        return measured

    async def _finish(self, arguments: Sequence[str], log: Path) -> int:
        """Run it to its end; its status."""
        async with await GuardedProcess.start(
            [str(self._python), str(self._folder / "bench.py"), *arguments],
            env={
                **os.environ,
                "PEERS_TMP": str(self._installed),
                "PEERS_ANVIL_PORT": str(free_port()),
                # The folder may be read-only.
                "PYTHONDONTWRITEBYTECODE": "1",
            },
            log_path=log,
            cwd=self._folder,
            grace_s=GRACE_S,
        ) as process:
            return await process.wait()


def default_installation() -> Path:
    """$PEERS_TMP, else where the harness installs by itself."""
    given = os.environ.get("PEERS_TMP")
    return Path(given) if given else Path(tempfile.gettempdir()) / "peers"


def results_of(lines: Iterable[str]) -> dict[str, Measured]:
    """The last result of each peer among what the harness printed."""
    found: dict[str, Measured] = {}
    for line in lines:
        _, brace, rest = line.partition("{")
        try:
            result = json.loads(brace + rest)
        except json.JSONDecodeError:
            continue
        if isinstance(result, dict) and "peer" in result:
            found[result["peer"]] = result
    return found


def is_sound(result: Measured | None) -> bool:
    """Whether the peer got to the end, with the right rows."""
    if result is None or "error" in result:
        return False
    if result.get("test") == "w1":
        return result.get("wall_s") is not None and result.get("exact") is True
    return True
