"""How the sections of the settings must agree with one another. Pure: faults are texts, each with its key.

``faulty`` are the paths of sections that have faults of their own, such as ``("chains", "mainnet")``. They are not
among the sections that are given, and nothing is said about what they would have settled.
"""

from collections.abc import Iterator, Mapping, Set

from bridge.rules import PURPOSES
from daemon.environment import nearest, variable
from daemon.providers import operators_of
from daemon.sections import Bank, Chain, Contract, Section, Token
from daemon.setting_types import ANY, host_of
from daemon.signer_sections import ApprovalSigner, RemoteSigner, RuledSigner

Chains = Mapping[str, Chain]
Contracts = Mapping[str, Contract]
Faulty = Set[tuple[str, ...]]

QUORUM_OF_MONEY = 2
LOOPBACK = ("localhost", "127.0.0.1", "::1")


def chain_name(named: str | None, chains: Chains) -> str | None:
    """The chain that a section is about; None if it is not known or not said."""
    if named is not None:
        return named if named in chains else None
    return next(iter(chains)) if len(chains) == 1 else None


def quorum(chain: Chain, *, money: bool) -> int:
    """``money``: whether it is the chain of the bridge."""
    if chain.quorum is not None:
        return chain.quorum
    return QUORUM_OF_MONEY if money and not chain.single_provider else 1


def faults(chains: Chains, contracts: Contracts, token: Token | None, faulty: Faulty) -> list[str]:
    """Everything that does not agree."""
    found = [*_of_chains(chains, faulty)]
    if token is not None:
        found += _of_token(token, chains, contracts, faulty)
    for name, chain in chains.items():
        money = token is not None and chain_name(token.chain, chains) == name
        found += _of_chain(name, chain, money=money)
    if (
        not contracts
        and token is None
        and not _any(faulty, "contracts", "token", "bank", "signers")
    ):
        found.append(
            "contracts: nothing is to be indexed; describe a contract in a section [contracts.NAME]"
        )
    for name, contract in contracts.items():
        found += _of_contract(name, contract, chains, faulty)
        found += _of_factory(name, contracts, chains, token, faulty)
    return found


def signer_faults(signers: Mapping[str, Section], token: Token | None) -> list[str]:
    """Of the signers: how those are reached that are elsewhere, and that together they may do everything."""
    found: list[str] = []
    for name, signer in signers.items():
        if isinstance(signer, RemoteSigner | ApprovalSigner):
            found += _of_distant_signer(f"signers.{name}", signer)
    ruled = [one for one in signers.values() if isinstance(one, RuledSigner)]
    if ruled:
        found += [
            f"signers: none of them may call {purpose}, so what needs it would wait for ever; add it to the functions "
            "of one"
            for purpose in (PURPOSES if token is None or token.kind == "deposit" else ("mint",))
            if all(purpose not in one.functions for one in ruled)
        ]
    return found


def approval_faults(token: Token | None, bank: Bank | None) -> list[str]:
    """What is approved has a name on the chain, or it could be carried out as something else."""
    if token is None or token.kind == "deposit" or bank is None or bank.approvals is None:
        return []
    return [
        "bank.approvals: a mint of a plain token names no operation, so an approval could not say which one it is for; "
        "take the section out, and bound mints by limits"
    ]


def _of_distant_signer(key: str, signer: RemoteSigner | ApprovalSigner) -> Iterator[str]:
    url = signer.url.get_secret_value()
    if not url.startswith("https:") and host_of(url) not in LOOPBACK:
        yield f"{key}.url: what is to be signed must not travel in the open; write https://"
    if (signer.client_certificate is None) != (signer.client_key is None):
        missing = "client_key" if signer.client_key is None else "client_certificate"
        yield f"{key}.{missing}: is missing; a certificate and its key belong together"


def _of_chains(chains: Chains, faulty: Faulty) -> Iterator[str]:
    if not chains and not _any(faulty, "chains"):
        yield (
            "chains: is missing; describe a chain in a section [chains.NAME] with its id and rpc_urls, in "
            "landbridge.toml in this folder, or in the file that --config names"
        )
    by_id: dict[int, str] = {}
    for name, chain in chains.items():
        first = by_id.setdefault(chain.id, name)
        if first != name:
            yield f"chains.{name}.id: is the id of chains.{first} too; name all its providers in one section"


def _of_chain(name: str, chain: Chain, *, money: bool) -> Iterator[str]:
    key = f"chains.{name}"
    operators = operators_of(chain)
    if not operators:
        yield (
            f"{key}.rpc_urls: is missing; set it in the file or as {variable((*key.split('.'), 'rpc_urls'))}, "
            f"or describe providers in sections [{key}.providers.NAME]"
        )
        return
    if len(chain.ws_urls) > len(chain.rpc_urls):
        yield (
            f"{key}.ws_urls: has {len(chain.ws_urls)} URLs for {len(chain.rpc_urls)} of rpc_urls; the first belongs "
            "to the first, and so on"
        )
    if chain.single_provider and (chain.quorum or 1) > 1:
        yield (f"{key}.single_provider: contradicts quorum = {chain.quorum}; remove one of the two")
        return
    wanted = quorum(chain, money=money)
    if money and wanted < QUORUM_OF_MONEY and not chain.single_provider:
        yield (
            f"{key}.quorum: money moves on what at least {QUORUM_OF_MONEY} operators call final; raise it, or say "
            "single_provider = true if one operator's word is to do"
        )
    elif len(operators) < wanted:
        remedy = ", or say single_provider = true if one operator's word is to do" if money else ""
        yield (
            f"{key}.quorum: {wanted} operators must agree on what is final, and there are {len(operators)} "
            f"({', '.join(operators)}); add a provider of another one{remedy}"
        )


def _of_token(token: Token, chains: Chains, contracts: Contracts, faulty: Faulty) -> Iterator[str]:
    yield from _of_reference("token.chain", token.chain, chains, faulty)
    if token.contract in contracts or ("contracts", token.contract) in faulty:
        yield (
            f"contracts.{token.contract}: is what the deposit token is called (token.contract), which is indexed "
            "without a section of its own; give this contract another name"
        )


def _of_contract(name: str, contract: Contract, chains: Chains, faulty: Faulty) -> Iterator[str]:
    key = f"contracts.{name}"
    yield from _of_reference(f"{key}.chain", contract.chain, chains, faulty)
    said = [
        what
        for what, is_said in (
            ("address", contract.address is not None),
            ("addresses", bool(contract.addresses)),
            ("factory", contract.factory is not None),
        )
        if is_said
    ]
    if not said:
        yield (
            f'{key}.address: is missing; give an address, several addresses, a factory, or "{ANY}" for any contract'
        )
    elif len(said) > 1:
        yield f"{key}.{said[1]}: contradicts {said[0]}; give one of the two"


def _of_reference(key: str, named: str | None, chains: Chains, faulty: Faulty) -> Iterator[str]:
    names = [*chains, *(path[1] for path in faulty if len(path) > 1 and path[0] == "chains")]
    if not names:
        return
    if named is None and len(names) > 1:
        yield f"{key}: is missing; it is one of {', '.join(sorted(names))}"
    elif named is not None and named not in names:
        yield f"{key}: there is no chain {named}{nearest(named, names)}"


def _of_factory(
    name: str, contracts: Contracts, chains: Chains, token: Token | None, faulty: Faulty
) -> Iterator[str]:
    contract = contracts[name]
    if contract.factory is None:
        return
    key, parent = f"contracts.{name}.factory.contract", contract.factory.contract
    chain = chain_name(contract.chain, chains)
    if token is not None and parent == token.contract:
        if chain_name(token.chain, chains) != chain:
            yield f"{key}: {parent} is on another chain"
        return
    if parent not in contracts:
        if ("contracts", parent) not in faulty and not (token is None and ("token",) in faulty):
            yield f"{key}: there is no contract {parent}{nearest(parent, contracts)}"
        return
    of_parent = contracts[parent]
    if chain_name(of_parent.chain, chains) != chain:
        yield f"{key}: {parent} is on another chain"
    if parent == name or of_parent.factory is not None:
        yield f"{key}: {parent} comes from a factory itself; a factory needs an address of its own"
    elif of_parent.address == ANY:
        yield f"{key}: {parent} is any contract; a factory needs an address of its own"


def _any(faulty: Faulty, *sections: str) -> bool:
    return any(path[0] in sections for path in faulty)
