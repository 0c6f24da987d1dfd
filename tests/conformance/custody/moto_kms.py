"""Moto's KMS, made to sign digests as AWS does.

Moto ignores ``MessageType = DIGEST`` and hashes what is a hash already. ``test_moto.py`` notices when that ends.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from moto.kms.utils import ECDSAPrivateKey
from moto.server import ThreadedMotoServer

AS_MOTO_SIGNS: Final = ECDSAPrivateKey.sign
DIGEST_BYTES: Final = 32


def sign_digest(key: Any, message: bytes, signing_algorithm: str) -> bytes:
    """Of 32 bytes, the signature itself; of anything else, what moto makes of it."""
    if len(message) != DIGEST_BYTES:
        signature: bytes = AS_MOTO_SIGNS(key, message, signing_algorithm)
        return signature
    return bytes(key.private_key.sign(message, ec.ECDSA(utils.Prehashed(hashes.SHA256()))))


@contextmanager
def serving() -> Iterator[int]:
    """Answers at a port of its own, for as long as this lasts."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    setattr(ECDSAPrivateKey, "sign", sign_digest)  # noqa: B010 - a method, to mypy
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        yield server.get_host_and_port()[1]
    finally:
        server.stop()
        setattr(ECDSAPrivateKey, "sign", AS_MOTO_SIGNS)  # noqa: B010
