"""Custody's own log, outside Postgres: which payload was to be signed for which nonce, written before it is.

A database that was restored from an old copy does not know what has been signed since; this file does. Records have
a fixed size and a checksum, and reach the disk before any of their signatures is asked for. Several processes may
append to one file: each does so under a lock.
"""

import asyncio
import fcntl
import os
import struct
import time
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bridge.custody.errors import CustodyLogCorruptError
from bridge.custody.protocol import SignRequest
from bridge.custody.transaction import digest

HEAD: Final = b"landbridge custody log, 1\n".ljust(32, b"\0")
_RECORD: Final = struct.Struct(">Q20sQ32sQ")
_CHECKSUM: Final = struct.Struct(">I")
RECORD_BYTES: Final = _RECORD.size + _CHECKSUM.size
READ_RECORDS: Final = 10_000
REMEMBERED: Final = 20_000

Key = tuple[int, bytes]
"""A chain id and a signer."""


@dataclass(frozen=True, slots=True)
class Record:
    """``payload`` is the digest that was to be signed, ``at_ms`` a Unix time by our clock."""

    chain_id: int
    signer: bytes
    nonce: int
    payload: bytes
    at_ms: int


class CustodyLog:
    """One file. Blocking calls are made on a thread."""

    def __init__(self, path: Path, now_s: Callable[[], float] = time.time) -> None:
        self._path = path
        self._now_s = now_s
        self._written: OrderedDict[tuple[bytes, bytes], None] = OrderedDict()

    @property
    def path(self) -> Path:
        return self._path

    async def append(self, requests: Sequence[SignRequest]) -> None:
        """When this returns, the disk has a record of each. Raises OSError if it has not.

        What this process wrote lately is not written again: requests are repeated while people decide.
        """
        at_ms = int(self._now_s() * 1000)
        records = [
            record
            for one in requests
            for record in [Record(one.chain_id, one.signer, one.nonce, digest(one), at_ms)]
            if (record.signer, record.payload) not in self._written
        ]
        if not records:
            return
        await asyncio.to_thread(self._append, records)
        self._written |= {(record.signer, record.payload): None for record in records}
        while len(self._written) > REMEMBERED:
            self._written.popitem(last=False)

    async def highest(self) -> dict[Key, Record]:
        """Of each signer on each chain the record with the highest nonce, the newest of them.

        A file that is not there is empty. Raises :class:`CustodyLogCorruptError`.
        """
        return await asyncio.to_thread(self._highest)

    async def payloads(self, lowest: Mapping[Key, int]) -> dict[Key, dict[int, set[bytes]]]:
        """By signer and nonce what was to be signed, of nonces from ``lowest`` on. Raises as :meth:`highest`."""
        return await asyncio.to_thread(self._payloads, lowest)

    def records(self) -> Iterator[Record]:
        """All of them, as they were written. What a crash has left unfinished at the end is left out."""
        torn: int | None = None
        place = 0
        for chunk in self._chunks():
            for at in range(0, len(chunk), RECORD_BYTES):
                record = _decode(chunk[at : at + RECORD_BYTES])
                if record is None:
                    torn = place if torn is None else torn
                elif torn is not None:
                    raise CustodyLogCorruptError(
                        f"{self._path}: record {torn} does not carry its checksum, and later ones do: this file was "
                        "changed, or its disk fails. Keep a copy, and compare the chain with the journal before "
                        "anything is signed"
                    )
                else:
                    yield record
                place += 1

    def _highest(self) -> dict[Key, Record]:
        found: dict[Key, Record] = {}
        for record in self.records():
            key = (record.chain_id, record.signer)
            known = found.get(key)
            if known is None or record.nonce >= known.nonce:
                found[key] = record
        return found

    def _payloads(self, lowest: Mapping[Key, int]) -> dict[Key, dict[int, set[bytes]]]:
        found: dict[Key, dict[int, set[bytes]]] = {key: {} for key in lowest}
        for record in self.records():
            key = (record.chain_id, record.signer)
            if key in lowest and record.nonce >= lowest[key]:
                found[key].setdefault(record.nonce, set()).add(record.payload)
        return found

    def _chunks(self) -> Iterator[bytes]:
        try:
            file = self._path.open("rb")
        except FileNotFoundError:
            return
        with file:
            head = file.read(len(HEAD))
            if head != HEAD[: len(head)]:
                raise CustodyLogCorruptError(f"{self._path}: this is no custody log")
            while chunk := file.read(READ_RECORDS * RECORD_BYTES):
                yield chunk

    def _append(self, records: Sequence[Record]) -> None:
        is_new = not self._path.exists()
        self._path.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
        with _locked(self._path) as fd:
            _mend_end(fd)
            _write(fd, b"".join(_encode(record) for record in records))
            os.fsync(fd)
        if is_new:
            _sync_folder(self._path.parent)


@contextmanager
def _locked(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield fd
    finally:
        os.close(fd)


def _mend_end(fd: int) -> None:
    """Take off what a crash left unfinished, so that what comes after it is in its place."""
    size = os.fstat(fd).st_size
    if os.pread(fd, len(HEAD), 0) != HEAD[:size]:
        raise CustodyLogCorruptError("this is no custody log, so nothing is appended to it")
    if size < len(HEAD):
        os.ftruncate(fd, 0)
        _write(fd, HEAD)
        return
    end = size - (size - len(HEAD)) % RECORD_BYTES
    while end > len(HEAD) and _decode(os.pread(fd, RECORD_BYTES, end - RECORD_BYTES)) is None:
        end -= RECORD_BYTES
    if end != size:
        os.ftruncate(fd, end)


def _write(fd: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(fd, left) :]


def _sync_folder(folder: Path) -> None:
    """The file's name is on disk too."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _encode(record: Record) -> bytes:
    packed = _RECORD.pack(
        record.chain_id, record.signer, record.nonce, record.payload, record.at_ms
    )
    return packed + _CHECKSUM.pack(zlib.crc32(packed))


def _decode(data: bytes) -> Record | None:
    """None if it is not whole."""
    if len(data) != RECORD_BYTES:
        return None
    packed, (checksum,) = data[: _RECORD.size], _CHECKSUM.unpack(data[_RECORD.size :])
    if zlib.crc32(packed) != checksum:
        return None
    return Record(*_RECORD.unpack(packed))
