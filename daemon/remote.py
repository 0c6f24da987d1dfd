"""What the daemon that listens where the settings say knows of itself: its loops, its providers.

The database does not have that. A daemon that answers is believed only if it holds a lease in this very
database; otherwise it is another one, which has taken the port.
"""

from typing import Final

import aiohttp

from daemon.http_client import read_json
from daemon.index_status import ChainStatus
from daemon.sections import Api
from daemon.settings import Settings
from daemon.status import Status, read_status
from indexer.database import Connection

TIMEOUT_S: Final = 2.0
MAX_BYTES: Final = 4 * 1024 * 1024


async def read_everywhere(connection: Connection, settings: Settings) -> Status:
    """The status by the database, with what the running daemon says of itself."""
    found = await read_status(connection, settings)
    told = await _ask(settings.api)
    if told is None or told.holder not in {lease.holder for lease in found.leases}:
        return found
    by_name = {chain.name: chain for chain in told.chains}
    return found.model_copy(
        update={
            "holder": told.holder,
            "loops": told.loops,
            "chains": [_merged(chain, by_name.get(chain.name)) for chain in found.chains],
        }
    )


def _merged(ours: ChainStatus, told: ChainStatus | None) -> ChainStatus:
    """What the database cannot know comes from the daemon, and so does what it makes of it all."""
    if told is None or told.id != ours.id:
        return ours
    keys = ("state", "synced", "error", "stream", "providers", "heads")
    return ours.model_copy(update={key: getattr(told, key) for key in keys})


async def _ask(api: Api) -> Status | None:
    if api.port == 0:
        return None
    host = "127.0.0.1" if api.host in ("0.0.0.0", "::") else api.host  # noqa: S104 - it is not bound here
    if ":" in host:
        host = f"[{host}]"
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_S)) as session,
            session.get(f"http://{host}:{api.port}/status", allow_redirects=False) as response,
        ):
            if response.status != 200:
                return None
            return Status.model_validate(await read_json(response, MAX_BYTES))
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
        return None
