"""``landbridge index replay``: the feed, written again into a stream."""

import json
import time
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import click
import uvloop
from rich.console import Console

from daemon import settings as settings_module
from daemon.agreement import chain_name
from daemon.commands.context import reading_pool, spoken_errors
from daemon.environment import nearest
from daemon.errors import StartError, of_chain
from daemon.local import with_running_parts
from daemon.settings import Settings
from indexer.errors import Retryable
from indexer.stream.redis_stream import client_of
from indexer.stream.replay import default_stream, replay

LINE_EVERY_S: Final = 5.0


@click.command("replay")
@click.option(
    "--from", "first", type=click.IntRange(min=1), required=True, help="The first row of the feed."
)
@click.option(
    "--to", "last", type=click.IntRange(min=1), help="The last one; without it, the newest."
)
@click.option(
    "--stream",
    help="Where to: a stream of its own. Without it, landbridge:replay:<chain_id>.",
)
@click.option("--chain", "named", help="Whose feed; not needed where there is one chain.")
@click.option("--json", "as_json", is_flag=True, help="JSON lines on standard output.")
@click.pass_obj
@spoken_errors
def replay_command(
    config: Path | None,
    first: int,
    last: int | None,
    stream: str | None,
    named: str | None,
    as_json: bool,
) -> None:
    """Write rows of the feed again into a stream in Redis, as the very same entries.

    It can be ended or killed at any moment: the same command goes on where the stream ends.
    """
    settings = settings_module.load(config)
    name = chain_name(named, settings.chains)
    if name is None:
        known = ", ".join(settings.chains)
        near = "" if named is None else nearest(named, settings.chains)
        raise StartError(f"--chain: name one of {known}{near}")
    key = default_stream(settings.chains[name].id) if stream is None else stream
    with _Progress(name, key, as_json=as_json) as progress:
        reached = uvloop.run(_replay(settings, name, key, (first, last), progress))
    progress.done(first, reached)


async def _replay(
    settings: Settings, name: str, key: str, rows: tuple[int, int | None], progress: "_Progress"
) -> int:
    first, last = rows
    async with with_running_parts(settings) as ready:
        if ready.redis is None or ready.redis.url is None:
            raise ValueError("with_running_parts gives a Redis")
        redis = client_of(ready.redis.url.get_secret_value())
        try:
            async with reading_pool(ready) as pool:
                return await replay(
                    pool,
                    redis,
                    settings.chains[name].id,
                    first,
                    key,
                    to_seq=last,
                    progress=progress.reached,
                )
        except Retryable as error:
            raise StartError(
                f"{of_chain(error, name)} Run the same command again: it goes on where the stream ends"
            ) from None
        finally:
            await redis.aclose()


class _Progress:
    """How far it is: in its place on a terminal, elsewhere in a line every few seconds."""

    def __init__(self, chain: str, stream: str, *, as_json: bool) -> None:
        self._chain, self._stream = chain, stream
        self._as_json = as_json
        console = Console(stderr=True)
        self._is_live = console.is_terminal and not as_json
        self._spinner = console.status("")
        self._shown_s = time.monotonic()

    def __enter__(self) -> Self:
        if self._is_live:
            self._spinner.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._spinner.stop()

    def reached(self, seq: int, up_to: int) -> None:
        text = f"{self._chain}: row {seq} of {up_to} ({100 * seq / up_to:.1f} %)"
        if self._is_live:
            self._spinner.update(text)
            return
        if time.monotonic() - self._shown_s < LINE_EVERY_S:
            return
        self._shown_s = time.monotonic()
        if self._as_json:
            self._line(seq, up_to, done=False)
        else:
            click.echo(text, err=True)

    def done(self, first: int, last: int) -> None:
        if self._as_json:
            self._line(last, last, done=True)
        else:
            click.echo(
                f"rows {first} to {last} of the feed of {self._chain} are in the stream {self._stream}"
            )

    def _line(self, seq: int, up_to: int, *, done: bool) -> None:
        told = {"chain": self._chain, "stream": self._stream, "seq": seq, "to_seq": up_to}
        click.echo(json.dumps({**told, "done": done}))
