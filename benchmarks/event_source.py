"""The contract whose events are measured, compiled by the project's own forge."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

from benchmarks.errors import ForgeFailedError
from daemon.embedded.anvil import PACKAGES, REPOSITORY

SOURCE = Path(__file__).with_name("EventSource.sol")
# Beside the token's, so that neither build throws away what the other made.
OUT = REPOSITORY / "contracts" / "cache" / "benchmarks"
ARTIFACT = OUT / SOURCE.name / "EventSource.json"
CALL = "emitTransfers(uint256,uint256)"
TRANSFER_TOPIC = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"
FORGE_TIMEOUT_S = 300.0


@dataclass(frozen=True, slots=True)
class EventSource:
    """`creation_code` and `selector` are hex texts, the first with 0x and the second without."""

    creation_code: str
    selector: str

    def call_data(self, seed: int, count: int) -> str:
        """Input of a call that emits `count` events."""
        return f"0x{self.selector}{seed:064x}{count:064x}"


def compiled_event_source() -> EventSource:
    """Compile the source as it is now. Raises ForgeFailedError."""
    forge = next(iter(sorted(PACKAGES.glob("forge-*/bin/forge"))), None)
    if forge is None:
        raise ForgeFailedError(path=SOURCE.name, reason=f"it was not found in {PACKAGES}")
    built = subprocess.run(
        [str(forge), "build", str(SOURCE), "--out", str(OUT), "--cache-path", str(OUT / "cache")],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=FORGE_TIMEOUT_S,
    )
    if built.returncode != 0:
        raise ForgeFailedError(path=SOURCE.name, reason=built.stdout + built.stderr)
    artifact = json.loads(ARTIFACT.read_text())
    return EventSource(artifact["bytecode"]["object"], artifact["methodIdentifiers"][CALL])
