"""Moto differs from AWS in one thing that matters here, and keys in KMS that cannot sign are refused."""

import os
from typing import Any

import pytest
from aiohttp import web
from moto.kms.utils import ECDSAPrivateKey

from bridge.custody.aws_http import MAX_ANSWER_BYTES
from bridge.custody.aws_kms import AwsKmsCustody, AwsKmsSettings
from bridge.custody.errors import CustodyAccessError, CustodyUnavailableError
from bridge.custody.protocol import Unknown
from bridge.custody.signing import sign
from tests.conformance.custody.kms_keys import REGION, make_key
from tests.conformance.custody.listening import listening
from tests.conformance.custody.moto_kms import AS_MOTO_SIGNS
from tests.conformance.custody.subjects import AwsKms
from tests.conformance.custody.test_custody import asked

pytestmark = pytest.mark.asyncio(loop_scope="session")


def settings(port: int, key_id: str) -> AwsKmsSettings:
    return AwsKmsSettings("signers.test", key_id, REGION, f"http://127.0.0.1:{port}", 5.0)


async def test_moto_still_hashes_a_digest_again(
    aws_kms: AwsKms, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once this fails, moto signs digests as AWS does, and `moto_kms.sign_digest` can go."""
    custody = await aws_kms.open()
    monkeypatch.setattr(ECDSAPrivateKey, "sign", AS_MOTO_SIGNS)
    try:
        (outcome,) = await sign(custody, [asked(aws_kms)])
    finally:
        await custody.close()
    assert isinstance(outcome, Unknown)
    assert "of no use" in outcome.reason


@pytest.mark.parametrize("spec", ["ECC_NIST_P256", "RSA_2048"])
async def test_a_key_of_another_kind_is_refused(kms_port: int, spec: str) -> None:
    key_id, _ = await make_key(kms_port, spec)
    with pytest.raises(CustodyAccessError, match=r"signers\.test\.key_id: .*ECC_SECG_P256K1"):
        await AwsKmsCustody.open(settings(kms_port, key_id))


async def test_a_key_that_is_not_there_is_told_by_its_setting(kms_port: int) -> None:
    with pytest.raises(CustodyAccessError, match=r"signers\.test\.key_id: KMS refuses \(NotFound"):
        await AwsKmsCustody.open(settings(kms_port, "00000000-0000-0000-0000-000000000000"))


async def test_without_credentials_it_says_so(
    kms_port: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    from bridge.custody import aws_http

    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    aws_http._session.cache_clear()
    try:
        with pytest.raises(CustodyAccessError, match="no credentials"):
            await AwsKmsCustody.open(settings(kms_port, "any"))
    finally:
        aws_http._session.cache_clear()


async def test_an_answer_without_end_is_not_read(kms_port: int) -> None:
    async def pour(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(64):
            await response.write(b" " * MAX_ANSWER_BYTES)
        return response

    async with listening(pour) as port:
        with pytest.raises(CustodyUnavailableError):
            await AwsKmsCustody.open(settings(port, "any"))
