"""The providers of a chain as the indexer wants them, from either way in which they can be written. Pure."""

from itertools import zip_longest

from pydantic import SecretStr

from daemon.sections import Chain
from daemon.setting_types import host_of
from indexer.provider import ProviderSettings


def providers_of(chain: Chain) -> tuple[ProviderSettings, ...]:
    """Those of the short form first, named after their hosts; each is its host's, unless it says otherwise."""
    found: list[ProviderSettings] = []
    for url, ws_url in zip_longest(chain.rpc_urls, chain.ws_urls[: len(chain.rpc_urls)]):
        host = host_of(url.get_secret_value())
        found.append(
            ProviderSettings(
                name=_free(host, {one.name for one in found} | chain.providers.keys()),
                operator=host,
                http_url=url.get_secret_value(),
                ws_url=_text(ws_url),
            )
        )
    for name, provider in chain.providers.items():
        found.append(
            ProviderSettings(
                name=name,
                operator=provider.operator or host_of(provider.http_url.get_secret_value()),
                http_url=provider.http_url.get_secret_value(),
                ws_url=_text(provider.ws_url),
                requests_per_s=provider.requests_per_s,
                concurrency=provider.concurrency,
                max_blocks=provider.max_blocks,
                timeout_s=provider.timeout_s,
            )
        )
    return tuple(found)


def operators_of(chain: Chain) -> tuple[str, ...]:
    """Whose word there is, each once."""
    return tuple(dict.fromkeys(provider.operator for provider in providers_of(chain)))


def _free(name: str, taken: set[str]) -> str:
    if name not in taken:
        return name
    number = 2
    while f"{name}-{number}" in taken:
        number += 1
    return f"{name}-{number}"


def _text(url: SecretStr | None) -> str | None:
    return None if url is None else url.get_secret_value()
