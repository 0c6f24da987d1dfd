"""The command `landbridge-simbank`."""

import asyncio
import json
import os
import re
import signal
import sqlite3

import click

from simbank.books import Books, BooksMismatch
from simbank.records import Account
from simbank.server import ServerSettings, serving
from simbank.webhooks import Target, secret_key

_ACCOUNT_ID = re.compile(r"[A-Za-z0-9-]{1,34}", re.ASCII)
_CURRENCY = re.compile(r"[A-Z]{3}", re.ASCII)


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=0, show_default=True, type=click.IntRange(0, 65535))
@click.option("--books", "books_path", type=click.Path(dir_okay=False), help="In memory if absent.")
@click.option("--seed", default=1, show_default=True, help="Of delays and disorder.")
@click.option("--webhook-url", help="Where to tell about entries; nowhere if absent.")
@click.option("--webhook-secret-env", default="LANDBRIDGE_SIMBANK_WEBHOOK_SECRET",
              show_default=True, help="Variable that holds whsec_<base64>.")  # fmt: skip
@click.option("--api-key-env", default="LANDBRIDGE_SIMBANK_API_KEY", show_default=True,
              help="Variable that holds the bearer key.")  # fmt: skip
@click.option("--account", required=True, help="Id of the one account.")
@click.option("--currency", default="EUR", show_default=True)
@click.option("--exponent", default=2, show_default=True, type=click.IntRange(0, 8))
@click.option("--booking-delay-s", default=0.2, show_default=True, type=click.FloatRange(0, 3600))
@click.option("--webhook-spread-s", default=0.3, show_default=True, type=click.FloatRange(0, 600),
              help="Webhooks are delayed by up to this, so they arrive out of order.")  # fmt: skip
@click.option("--webhook-late-s", default=5.0, show_default=True, type=click.FloatRange(0, 3600))
def main(
    host: str,
    port: int,
    books_path: str | None,
    seed: int,
    webhook_url: str | None,
    webhook_secret_env: str,
    api_key_env: str,
    account: str,
    currency: str,
    exponent: int,
    booking_delay_s: float,
    webhook_spread_s: float,
    webhook_late_s: float,
) -> None:
    """Run a bank with one account until SIGINT or SIGTERM.

    Prints one line of JSON, {"listening": URL}, once it is ready.
    """
    if _ACCOUNT_ID.fullmatch(account) is None:
        raise click.BadParameter("is 1 to 34 letters, digits or hyphens", param_hint="--account")
    if _CURRENCY.fullmatch(currency) is None:
        raise click.BadParameter("is three capital letters", param_hint="--currency")
    key = _webhook_key(webhook_secret_env) if webhook_url else b""
    settings = ServerSettings(
        host=host,
        port=port,
        api_key=_from_environment(api_key_env),
        target=Target(webhook_url, key, webhook_spread_s, webhook_late_s),
        seed=seed,
        booking_delay_s=booking_delay_s,
    )
    books = _open(books_path, Account(account, currency, exponent))
    try:
        asyncio.run(_serve(books, settings))
    except OSError as error:
        raise click.ClickException(f"cannot listen on {host}:{port}: {error}") from error
    finally:
        books.close()


async def _serve(books: Books, settings: ServerSettings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with serving(books, settings) as url:
        click.echo(json.dumps({"listening": url}))
        await stop.wait()


def _open(path: str | None, account: Account) -> Books:
    try:
        return Books(path, account)
    except (BooksMismatch, sqlite3.Error) as error:
        raise click.ClickException(f"--books {path}: {error}") from error


def _webhook_key(name: str) -> bytes:
    try:
        return secret_key(_from_environment(name))
    except ValueError as error:
        raise click.ClickException(f"{name}: {error}") from None


def _from_environment(name: str) -> str:
    value = os.environ.get(name, "")
    if not value:
        raise click.ClickException(f"set the environment variable {name}")
    return value
