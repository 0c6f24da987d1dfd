"""Makes keys in moto's KMS."""

from typing import Any

from bridge.custody.aws_http import kms_client
from bridge.custody.signature import address_of, read_public_key

REGION = "eu-central-1"


async def make_key(port: int, spec: str = "ECC_SECG_P256K1", **more: Any) -> tuple[str, bytes]:
    """Its id and its address; the address is empty for a key of another kind."""
    async with kms_client(REGION, f"http://127.0.0.1:{port}", 10.0, 4) as client:
        made = await client.create_key(KeySpec=spec, KeyUsage="SIGN_VERIFY", **more)
        key_id = made["KeyMetadata"]["KeyId"]
        if spec != "ECC_SECG_P256K1":
            return key_id, b""
        answer = await client.get_public_key(KeyId=key_id)
    return key_id, address_of(read_public_key(answer["PublicKey"]))
