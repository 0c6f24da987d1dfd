"""Custody's log survives what a crash leaves of it, and tells what somebody else changed."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bridge.custody.errors import CustodyLogCorruptError, CustodyUnavailableError
from bridge.custody.keystore import KeystoreCustody
from bridge.custody.log import HEAD, RECORD_BYTES, CustodyLog, Record
from bridge.custody.protocol import SignRequest
from bridge.custody.recorded import RecordedCustody
from bridge.custody.transaction import digest
from tests.unit.bridge.custody.requests_made import KEY, REQUEST, SIGNER

AT_S = 1_800_000_000.25


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "custody.log"


def opened(path: Path) -> CustodyLog:
    return CustodyLog(path, now_s=lambda: AT_S)


def of_nonce(nonce: int, **changes: Any) -> SignRequest:
    return replace(REQUEST, request_id=f"id-{nonce}-{changes}", nonce=nonce, **changes)


def nonces(path: Path) -> list[int]:
    return [record.nonce for record in CustodyLog(path).records()]


async def test_what_was_appended_is_read_back_with_the_highest_nonce_of_each_signer(
    path: Path,
) -> None:
    log = opened(path)
    assert await log.highest() == {}
    bumped = of_nonce(9, max_fee_wei=40)
    await log.append([of_nonce(3), of_nonce(9)])
    await log.append([bumped, of_nonce(4), of_nonce(1, chain_id=1)])
    highest = await opened(path).highest()
    assert highest == {
        (31337, SIGNER): Record(31337, SIGNER, 9, digest(bumped), 1_800_000_000_250),
        (1, SIGNER): Record(1, SIGNER, 1, digest(of_nonce(1, chain_id=1)), 1_800_000_000_250),
    }
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.stat().st_size == len(HEAD) + 5 * RECORD_BYTES


async def test_what_was_written_is_not_written_again_by_the_same_process(path: Path) -> None:
    log = opened(path)
    for _ in range(3):
        await log.append([of_nonce(1), of_nonce(2)])
    assert nonces(path) == [1, 2]
    await opened(path).append([of_nonce(1)])
    assert nonces(path) == [1, 2, 1]


@pytest.mark.parametrize("left", range(1, 2 * RECORD_BYTES))
async def test_a_torn_end_is_left_out_and_written_over(path: Path, left: int) -> None:
    await opened(path).append([of_nonce(at) for at in range(4)])
    whole = path.read_bytes()
    path.write_bytes(whole[: len(HEAD) + 2 * RECORD_BYTES + left])
    kept = 2 + left // RECORD_BYTES
    assert nonces(path) == list(range(kept))
    await opened(path).append([of_nonce(7)])
    assert nonces(path) == [*range(kept), 7]


@pytest.mark.parametrize("records", [1, 3])
async def test_an_end_that_was_never_filled_is_torn_too(path: Path, records: int) -> None:
    """A file can have grown on the disk before its content is there."""
    await opened(path).append([of_nonce(1)])
    with path.open("ab") as file:
        file.write(bytes(records * RECORD_BYTES + 5))
    assert nonces(path) == [1]
    await opened(path).append([of_nonce(2)])
    assert nonces(path) == [1, 2]


@pytest.mark.parametrize("size", range(len(HEAD)))
async def test_a_torn_beginning_is_begun_again(path: Path, size: int) -> None:
    path.parent.mkdir()
    path.write_bytes(HEAD[:size])
    assert nonces(path) == []
    await opened(path).append([of_nonce(1)])
    assert nonces(path) == [1]


@pytest.mark.parametrize("place", [0, 10, 30, 40, 75, RECORD_BYTES - 1])
async def test_a_changed_record_before_others_is_told_and_nothing_is_taken_for_torn(
    path: Path, place: int
) -> None:
    await opened(path).append([of_nonce(at) for at in range(4)])
    data = bytearray(path.read_bytes())
    data[len(HEAD) + RECORD_BYTES + place] ^= 1
    path.write_bytes(data)
    with pytest.raises(CustodyLogCorruptError, match="record 1 does not carry its checksum"):
        await opened(path).highest()


async def test_another_file_is_neither_read_nor_written(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("my shopping list, which is longer than a head\n")
    before = path.read_bytes()
    with pytest.raises(CustodyLogCorruptError):
        await opened(path).highest()
    with pytest.raises(CustodyLogCorruptError):
        await opened(path).append([of_nonce(1)])
    assert path.read_bytes() == before


async def test_many_at_once_lose_nothing(path: Path) -> None:
    logs = [opened(path) for _ in range(4)]
    await asyncio.gather(
        *(
            log.append([of_nonce(at + 1000 * one)])
            for at in range(50)
            for one, log in enumerate(logs)
        )
    )
    assert sorted(nonces(path)) == sorted(at + 1000 * one for at in range(50) for one in range(4))


async def test_nothing_is_signed_that_is_not_in_the_log(path: Path) -> None:
    custody = RecordedCustody(KeystoreCustody(KEY), opened(path))
    await custody.submit([REQUEST])
    assert nonces(path) == [REQUEST.nonce]
    path.unlink()
    path.mkdir()
    with pytest.raises(CustodyUnavailableError, match="cannot be written"):
        await custody.submit([of_nonce(8)])
    assert "not known" in str(await custody.poll(["id-8-{}"]))
