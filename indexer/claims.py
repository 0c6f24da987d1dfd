"""Asks providers what they call final; :mod:`indexer.quorum` decides what that is worth."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from indexer import quorum
from indexer.batch import together
from indexer.block import BlockRef, Header
from indexer.errors import BlockVanished, FinalityDisputed, Retryable
from indexer.finality import NodeFinality
from indexer.hexadecimal import to_data
from indexer.provider import Provider
from indexer.quorum import Claim, Disputed


@dataclass(frozen=True, slots=True)
class Tagged:
    """What one provider says of itself."""

    provider: Provider
    finalized: BlockRef | None
    safe: BlockRef | None


async def agreed_finality(
    providers: Sequence[Provider], needed: int, depth_blocks: int | None
) -> NodeFinality:
    """The highest block that providers of ``needed`` distinct operators call finalized, with one hash; None in its
    place while there is no such block. Raises :class:`FinalityDisputed`.

    ``safe`` is what the same number of operators call safe or better, in the words of one of them: it is for
    showing, not for money.
    """
    found = await together(partial(_tagged, depth_blocks), providers)
    said = [one for one in found if one]
    claims = [
        Claim(one.provider.name, one.provider.operator, one.finalized)
        for one in said
        if one.finalized is not None
    ]
    asked = quorum.questions(claims)
    by_name = {provider.name: provider for provider in providers}
    hashes = await together(lambda one: _hash_at(one.number, by_name[one.provider]), asked)
    decision = quorum.decide(claims, dict(zip(asked, hashes, strict=True)), needed)
    if isinstance(decision, Disputed):
        says = ", ".join(f"{name} has {to_data(one)}" for name, one in decision.says.items())
        raise FinalityDisputed(number=decision.number, says=says)
    finalized = decision.finalized if isinstance(decision, quorum.Agreed) else None
    return NodeFinality(finalized, _safe(said, needed), agreed=True)


async def agree(providers: Sequence[Provider], needed: int, block: BlockRef) -> bool:
    """Whether providers of ``needed`` distinct operators have this block at its height."""
    hashes = await together(partial(_hash_at, block.number), providers)
    having = {
        provider.operator
        for provider, found in zip(providers, hashes, strict=True)
        if found == block.hash
    }
    return len(having) >= needed


async def finality_of(provider: Provider, depth_blocks: int | None) -> NodeFinality:
    """What one provider calls final; with ``depth_blocks`` nothing is asked."""
    if depth_blocks is not None:
        return NodeFinality(depth_blocks=depth_blocks)
    return (await look(provider))[0]


async def look(provider: Provider) -> tuple[NodeFinality, Header]:
    """What one provider calls final, and its newest header, which was not read before that."""
    tags = await provider.rpc.tags()
    node = NodeFinality(
        None if tags.finalized is None else tags.finalized.ref,
        None if tags.safe is None else tags.safe.ref,
    )
    if tags.finalized is not None and tags.finalized.number > tags.latest.number:
        return node, await newest(provider)
    return node, tags.latest


async def newest(provider: Provider) -> Header:
    """Raises :class:`BlockVanished` if the node has no block."""
    header = await provider.rpc.header("latest")
    if header is None:
        raise BlockVanished(block="latest")
    return header


async def _tagged(depth_blocks: int | None, provider: Provider) -> Tagged | None:
    """None if it does not answer."""
    try:
        if depth_blocks is None:
            own = await finality_of(provider, None)
            return Tagged(provider, own.finalized, own.safe)
        newest = await provider.rpc.header("latest")
        if newest is None or newest.number < depth_blocks:
            return None
        final = await provider.rpc.header(newest.number - depth_blocks)
    except Retryable:
        return None
    return None if final is None else Tagged(provider, final.ref, None)


async def _hash_at(number: int, provider: Provider) -> bytes | None:
    try:
        header = await provider.rpc.header(number)
    except Retryable:
        return None
    return None if header is None else header.hash


def _safe(said: Sequence[Tagged], needed: int) -> BlockRef | None:
    operators: set[str] = set()
    for one in sorted(said, key=lambda one: -1 if one.safe is None else -one.safe.number):
        if one.safe is None:
            continue
        operators.add(one.provider.operator)
        if len(operators) >= needed:
            return one.safe
    return None
