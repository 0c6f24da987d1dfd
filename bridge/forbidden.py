"""Which operations a signer may not mint now, asked of the rules and of what the journal says was minted."""

from collections.abc import Mapping, Sequence

from bridge import minted
from bridge.calldata import Mint, MintPlainly
from bridge.limits import Limits, Minted, limit_faults
from bridge.ready import Ready
from bridge.rules import Rules
from bridge.token import Token
from indexer.database import Connection


async def forbidden(
    connection: Connection, token: Token, signer: bytes, rules: Rules, mints: Sequence[Ready]
) -> Mapping[Ready, str]:
    """Those that may not be minted together with the ones before them, each with the reason, for people."""
    found: dict[Ready, str] = {}
    for one in mints:
        if (
            rules.recipients is not None
            and isinstance(one.call, Mint | MintPlainly)
            and one.call.to not in rules.recipients
        ):
            found[one] = f"0x{one.call.to.hex()} is not among the signer's recipients"
    rest = [one for one in mints if one not in found]
    bounds = await _bounds(connection, token, signer, rules)
    faults = limit_faults(bounds, [one.amount_minor for one in rest])
    found |= {one: why for one, why in zip(rest, faults, strict=True) if why is not None}
    return found


async def _bounds(
    connection: Connection, token: Token, signer: bytes, rules: Rules
) -> list[tuple[Limits, Minted]]:
    """What was minted is only asked for where it matters."""
    by_signer = for_account = Minted()
    if rules.of_signer.look_back:
        by_signer = await minted.minted_by(connection, token.chain_id, signer)
    if rules.of_account.look_back:
        for_account = await minted.minted_for(connection, token.account_id)
    return [(rules.of_signer, by_signer), (rules.of_account, for_account)]
