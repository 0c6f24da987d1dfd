"""What a difference that the auditor found leads to: where it is the deposit token's, money is halted.

The halt is in the transaction that tells of the difference, so there is never one without the other.
"""

from bridge import halts
from bridge.token import Token
from indexer.audit_log import Alarm, Finding
from indexer.database import Connection


def alarm_of(token: Token | None) -> Alarm:
    """Without a token it leads to nothing more than being told."""

    async def alarm(connection: Connection, finding: Finding) -> None:
        contract = finding.source.contract
        if token is not None and (contract.chain_id, contract.name) == (
            token.chain_id,
            token.contract_name,
        ):
            await halts.halt(connection, "money", _reason(finding), "auditor")

    return alarm


def _reason(finding: Finding) -> str:
    return (
        f"auditor: the tables of contract {finding.source.name} differ from the chain in blocks "
        f"{finding.span.first} to {finding.span.last}"
    )
