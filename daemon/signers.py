"""Opens the signers that the settings describe. Each kind's code is imported when a signer of it is opened."""

from typing import assert_never

from bridge.bank.webhook import decode_public_key, decode_secret
from bridge.custody.endpoint import Tls
from bridge.custody.errors import CustodyError, CustodyUnavailableError
from bridge.custody.log import CustodyLog
from bridge.custody.protocol import Custody
from bridge.custody.recorded import RecordedCustody
from daemon.errors import StartError
from daemon.signer_sections import (
    ApprovalSigner,
    AwsKmsSigner,
    KeystoreSigner,
    Pkcs11Signer,
    RemoteSigner,
    Signer,
)


async def open_signer(name: str, signer: Signer, log: CustodyLog) -> Custody:
    """The signer, which signs nothing that is not in the log.

    Raises :class:`StartError`, retryable where the signer only does not answer.
    """
    try:
        return RecordedCustody(await _opened(f"signers.{name}", signer), log)
    except CustodyError as error:
        raise StartError(str(error), retryable=isinstance(error, CustodyUnavailableError)) from None


async def _opened(section: str, signer: Signer) -> Custody:
    match signer:
        case KeystoreSigner():
            from bridge.custody.keystore import KeystoreCustody, KeystoreSettings

            return await KeystoreCustody.open(
                KeystoreSettings(section, signer.keystore, signer.password)
            )
        case AwsKmsSigner():
            return await _aws_kms(section, signer)
        case Pkcs11Signer():
            return await _pkcs11(section, signer)
        case RemoteSigner():
            return await _remote(section, signer)
        case ApprovalSigner():
            return await _approval(section, signer)
        case _:
            assert_never(signer)


async def _aws_kms(section: str, signer: AwsKmsSigner) -> Custody:
    from bridge.custody.aws_kms import AwsKmsCustody, AwsKmsSettings

    url = signer.endpoint_url
    return await AwsKmsCustody.open(
        AwsKmsSettings(
            section=section,
            key_id=signer.key_id,
            region=signer.region,
            endpoint_url=None if url is None else url.get_secret_value(),
            timeout_s=signer.timeout_s,
        )
    )


async def _pkcs11(section: str, signer: Pkcs11Signer) -> Custody:
    from bridge.custody.pkcs11 import Pkcs11Custody, Pkcs11Settings

    return await Pkcs11Custody.open(
        Pkcs11Settings(
            section=section,
            module=signer.module,
            token_label=signer.token_label,
            key_label=signer.key_label,
            pin=signer.pin,
            timeout_s=signer.timeout_s,
        )
    )


async def _remote(section: str, signer: RemoteSigner) -> Custody:
    from bridge.custody.remote import RemoteCustody, RemoteSettings

    return await RemoteCustody.open(
        RemoteSettings(
            section=section,
            url=signer.url,
            address=signer.address,
            timeout_s=signer.timeout_s,
            tls=_tls(signer),
        )
    )


async def _approval(section: str, signer: ApprovalSigner) -> Custody:
    from bridge.custody.approval import ApprovalCustody, ApprovalSettings

    return await ApprovalCustody.open(
        ApprovalSettings(
            section=section,
            url=signer.url,
            account=signer.account,
            api_key=signer.api_key,
            address=signer.address,
            callback_keys=tuple(
                decode_secret(one.get_secret_value()) for one in signer.callback_secrets
            ),
            callback_public_keys=tuple(map(decode_public_key, signer.callback_public_keys)),
            timeout_s=signer.timeout_s,
            poll_interval_s=signer.poll_interval_s,
            tls=_tls(signer),
        )
    )


def _tls(signer: RemoteSigner | ApprovalSigner) -> Tls:
    return Tls(signer.client_certificate, signer.client_key, signer.ca_certificate)
