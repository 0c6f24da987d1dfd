"""Prepares a development chain for the daemon: the signing key, the token, its roles, allowed wallets.

It needs a node that signs for its own accounts, as Anvil does, and only such a node has accounts that it
may use. It may run again: what is there already stays. The token is deployed by the node's first account
as its first transaction, so that its address is the same on every new chain.
"""

import argparse
import http.client
import json
import os
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from eth_abi.abi import encode
from eth_account import Account
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

NAME, SYMBOL, DECIMALS = "Development Deposit Euro", "devEUR", 2
# The first contract of Anvil's first account.
CONTRACT = "0x5FbDB2315678afecb367f032d93F642f64180aa3"
BALANCE_WEI = 100 * 10**18
ADMIN_ROLES = (
    "ALLOWLISTER_ROLE",
    "FREEZER_ROLE",
    "PAUSER_ROLE",
    "UNPAUSER_ROLE",
    "MINTER_ADMIN_ROLE",
)
UINT208_MAX, UINT256_MAX = 2**208 - 1, 2**256 - 1
RECEIPT_TIMEOUT_S = 30.0
REQUEST_TIMEOUT_S = 10.0
KEYSTORE_VARIABLE = "KEYSTORE_PASSWORD"


class Node:
    """One node, asked over JSON-RPC and plain HTTP."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme != "http" or parts.hostname is None:
            sys.exit(f"--rpc-url: {url!r} is not an http:// address")
        self._host, self._port, self._path = parts.hostname, parts.port, parts.path or "/"

    def ask(self, method: str, *params: object) -> Any:
        """The result of one call; ends the program with the node's own words if it refuses."""
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
        connection = http.client.HTTPConnection(self._host, self._port, timeout=REQUEST_TIMEOUT_S)
        try:
            connection.request("POST", self._path, body, {"Content-Type": "application/json"})
            answer = json.load(connection.getresponse())
        finally:
            connection.close()
        if "error" in answer:
            sys.exit(f"{method}: {answer['error'].get('message')}")
        return answer["result"]

    def send(self, sender: str, to: str | None, data: bytes) -> None:
        """Have the node sign and send a transaction, and wait until it has succeeded."""
        call = {"from": sender, "data": "0x" + data.hex()} | ({} if to is None else {"to": to})
        tx_hash = self.ask("eth_sendTransaction", call)
        deadline = time.monotonic() + RECEIPT_TIMEOUT_S
        while time.monotonic() < deadline:
            receipt = self.ask("eth_getTransactionReceipt", tx_hash)
            if receipt is not None:
                if int(receipt["status"], 16) != 1:
                    sys.exit(f"transaction {tx_hash} reverted")
                return
            time.sleep(0.2)
        sys.exit(f"transaction {tx_hash} was not mined in {RECEIPT_TIMEOUT_S:.0f} s")


def main() -> None:
    """Read the arguments and do what is missing."""
    arguments = _arguments()
    node = Node(arguments.rpc_url)
    signer = _signer(arguments.keystore)
    admin, *holders = node.ask("eth_accounts")
    _deploy(node, admin, arguments.artifact)
    node.ask("anvil_setBalance", signer, hex(BALANCE_WEI))
    for role in ("MINTER_ROLE", "REDEEMER_ROLE"):
        node.send(admin, CONTRACT, _call("grantRole(bytes32,address)", keccak(text=role), signer))
    for role in ADMIN_ROLES:
        node.send(admin, CONTRACT, _call("grantRole(bytes32,address)", keccak(text=role), admin))
    _lift_limits(node, admin, signer)
    for holder in holders:
        node.send(admin, CONTRACT, _call("setAllowed(address,bool)", holder, True))
    print(f"token {CONTRACT}, signer {signer}, {len(holders)} wallets allowed")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rpc-url", required=True)
    parser.add_argument("--artifact", type=Path, required=True, help="what forge made of the token")
    parser.add_argument("--keystore", type=Path, required=True, help="written if it is missing")
    return parser.parse_args()


def _signer(keystore: Path) -> str:
    """The address of the signing key, which is made if there is none."""
    if not keystore.exists():
        password = os.environ.get(KEYSTORE_VARIABLE) or sys.exit(f"set {KEYSTORE_VARIABLE}")
        account = Account.create()
        keystore.touch(mode=0o600)
        keystore.write_text(json.dumps(Account.encrypt(account.key, password)))
    return to_checksum_address("0x" + json.loads(keystore.read_text())["address"])


def _deploy(node: Node, admin: str, artifact: Path) -> None:
    """Create the token, unless it is there."""
    if node.ask("eth_getCode", CONTRACT, "latest") != "0x":
        return
    if int(node.ask("eth_getTransactionCount", admin, "latest"), 16) != 0:
        sys.exit(f"{admin} has been used already, so the token would not stand at {CONTRACT}")
    code = bytes.fromhex(json.loads(artifact.read_text())["bytecode"]["object"][2:])
    types = ["string", "string", "uint8", "address"]
    node.send(admin, None, code + encode(types, [NAME, SYMBOL, DECIMALS, admin]))


def _lift_limits(node: Node, admin: str, signer: str) -> None:
    """Let the signer mint as much as it wants, with no reserve behind it: this money is worth nothing."""
    node.send(admin, CONTRACT, _call("waiveReserveCap()"))
    configure = "configureMinter(address,uint256,uint208,uint48)"
    node.send(admin, CONTRACT, _call(configure, signer, UINT256_MAX, UINT208_MAX, 1))


def _call(signature: str, *arguments: object) -> bytes:
    types = [part for part in signature[signature.index("(") + 1 : -1].split(",") if part]
    return bytes(keccak(text=signature)[:4]) + encode(types, arguments)


if __name__ == "__main__":
    main()
