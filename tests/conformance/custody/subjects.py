"""The signers that the suite runs against: each a real backend, with a hand on whatever holds its key."""

import asyncio
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from pydantic import SecretStr

from bridge.custody.approval import ApprovalCustody, ApprovalSettings
from bridge.custody.aws_kms import AwsKmsCustody, AwsKmsSettings
from bridge.custody.errors import CustodyUnavailableError
from bridge.custody.keystore import KeystoreCustody, KeystoreSettings
from bridge.custody.pkcs11 import Pkcs11Custody, Pkcs11Settings
from bridge.custody.protocol import Approving, Capabilities, Custody, Health, Outcome, SignRequest
from bridge.custody.remote import RemoteCustody, RemoteSettings
from bridge.custody.simulator.server import SimulatedCustodian
from tests.faultproxy import FaultProxy

TIMEOUT_S: Final = 1.0
"""What a backend waits for an answer here."""
AT_ONCE: Final = 4
"""Moto is slow where the machine is busy."""
LATER_S: Final = 10_000.0


class Subject(ABC):
    """One key at one backend. Faults last until :meth:`heal`."""

    address: bytes

    @abstractmethod
    async def open(self) -> Custody:
        """A new connector, as after a restart."""

    @abstractmethod
    async def slow(self, delay_s: float) -> None:
        """Every answer comes that much later."""

    @abstractmethod
    async def hang(self) -> None:
        """No answer comes, and nothing is signed."""

    @abstractmethod
    async def lose_answers(self) -> None:
        """What is asked for is signed, and no answer comes."""

    @abstractmethod
    async def heal(self) -> None:
        """End every fault."""

    async def let_nobody_decide(self) -> None:
        """Where people decide, none of them does."""
        return

    async def let_expire(self, custody: Custody) -> None:
        """As if a long time had passed since something was submitted."""
        requests = custody._requests  # type: ignore[attr-defined]
        requests._now_s = lambda: time.monotonic() + LATER_S


class DistantSubject(Subject):
    """One behind a network, which a proxy breaks."""

    def __init__(self, address: bytes, proxy: FaultProxy) -> None:
        self.address = address
        self.proxy = proxy

    async def slow(self, delay_s: float) -> None:
        self.proxy.delay(delay_s)

    async def hang(self) -> None:
        self.proxy.black_hole()

    async def lose_answers(self) -> None:
        self.proxy.black_hole(replies_only=True)

    async def heal(self) -> None:
        # What was swallowed would come after all, for connections that were given up.
        self.proxy.cut()
        await self.proxy.heal()


class Keystore(Subject):
    """A file; what is between us and its key is our own process, which a wrapper breaks."""

    def __init__(self, path: Path, password: str, address: bytes) -> None:
        self.address = address
        self._settings = KeystoreSettings("signers.test", path, SecretStr(password))
        self._gate = _Gate()

    async def open(self) -> Custody:
        return _Gated(await KeystoreCustody.open(self._settings), self._gate)

    async def slow(self, delay_s: float) -> None:
        self._gate.delay_s = delay_s

    async def hang(self) -> None:
        self._gate.asks.clear()

    async def lose_answers(self) -> None:
        self._gate.answers.clear()

    async def heal(self) -> None:
        self._gate.heal()

    async def let_expire(self, custody: Custody) -> None:
        await super().let_expire(custody.inner)  # type: ignore[attr-defined]


class AwsKms(DistantSubject):
    """A key in moto's KMS."""

    def __init__(self, address: bytes, proxy: FaultProxy, key_id: str, region: str) -> None:
        super().__init__(address, proxy)
        self.settings = AwsKmsSettings(
            "signers.test", key_id, region, f"http://{proxy.address}", TIMEOUT_S, AT_ONCE
        )

    async def open(self) -> Custody:
        return await AwsKmsCustody.open(self.settings)


class Pkcs11(Subject):
    """A key in SoftHSM2; the library's call is broken."""

    def __init__(self, address: bytes, settings: Pkcs11Settings) -> None:
        self.address = address
        self.settings = settings
        self._asks = threading.Event()
        self._answers = threading.Event()
        self._delay_s = 0.0
        self._asks.set()
        self._answers.set()

    async def open(self) -> Custody:
        custody = await Pkcs11Custody.open(self.settings)
        sign = custody._token.sign

        def broken(digest: bytes) -> bytes:
            self._asks.wait(LATER_S)
            time.sleep(self._delay_s)
            signature = sign(digest)
            self._answers.wait(LATER_S)
            return signature

        custody._token.sign = broken  # type: ignore[method-assign]
        return custody

    async def slow(self, delay_s: float) -> None:
        self._delay_s = delay_s

    async def hang(self) -> None:
        self._asks.clear()

    async def lose_answers(self) -> None:
        self._answers.clear()

    async def heal(self) -> None:
        self._delay_s = 0.0
        self._asks.set()
        self._answers.set()


class Remote(DistantSubject):
    """An account of Anvil, which signs by JSON-RPC."""

    async def open(self) -> Custody:
        url = SecretStr(f"http://{self.proxy.address}")
        return await RemoteCustody.open(
            RemoteSettings("signers.test", url, self.address, TIMEOUT_S)
        )


class Approval(DistantSubject):
    """An account at the simulated custodian, two of whose three approvers must agree."""

    def __init__(self, simulator: SimulatedCustodian, proxy: FaultProxy, clock: "Clock") -> None:
        super().__init__(simulator.custodian.address, proxy)
        self.simulator = simulator
        self.clock = clock
        self.settings = self.reached_at(simulator, f"http://{proxy.address}")

    @staticmethod
    def reached_at(simulator: SimulatedCustodian, url: str) -> ApprovalSettings:
        """How the account is reached there."""
        return ApprovalSettings(
            section="signers.test",
            url=SecretStr(url),
            account=simulator.custodian.account,
            api_key=SecretStr(simulator.settings.api_key),
            address=simulator.custodian.address,
            callback_keys=(simulator.settings.callback_key,),
            timeout_s=TIMEOUT_S,
            poll_interval_s=0.02,
        )

    async def open(self) -> Custody:
        return await ApprovalCustody.open(self.settings)

    async def let_nobody_decide(self) -> None:
        self.simulator.settings = replace(self.simulator.settings, decide_after_s=None)

    async def let_expire(self, custody: Custody) -> None:
        self.clock.ahead_s = LATER_S


@dataclass(slots=True)
class Clock:
    """The custodian's, which can be put forward."""

    ahead_s: float = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead_s


class _Gate:
    """What stands between a caller and a backend in the same process."""

    def __init__(self) -> None:
        self.asks, self.answers = asyncio.Event(), asyncio.Event()
        self.heal()

    def heal(self) -> None:
        self.delay_s = 0.0
        self.asks.set()
        self.answers.set()


class Passing:
    """A custody that passes everything on."""

    def __init__(self, inner: Custody) -> None:
        self.inner = inner

    @property
    def capabilities(self) -> Capabilities:
        return self.inner.capabilities

    @property
    def approving(self) -> Approving | None:
        return self.inner.approving

    async def identity(self) -> bytes:
        return await self.inner.identity()

    async def submit(self, requests: Sequence[SignRequest]) -> list[str]:
        return await self.inner.submit(requests)

    async def poll(self, tickets: Sequence[str]) -> list[Outcome]:
        return await self.inner.poll(tickets)

    async def cancel(self, ticket: str) -> bool:
        return await self.inner.cancel(ticket)

    def parse_callback(self, headers: Mapping[str, str], raw: bytes) -> str:
        return self.inner.parse_callback(headers, raw)

    async def health(self) -> Health:
        return await self.inner.health()

    async def close(self) -> None:
        await self.inner.close()


class _Gated(Passing):
    """One behind a gate."""

    def __init__(self, inner: Custody, gate: _Gate) -> None:
        super().__init__(inner)
        self._gate = gate

    async def poll(self, tickets: Sequence[str]) -> list[Outcome]:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await self._gate.asks.wait()
                await asyncio.sleep(self._gate.delay_s)
                outcomes = await self.inner.poll(tickets)
                await self._gate.answers.wait()
        except TimeoutError:
            raise CustodyUnavailableError("the gate is closed") from None
        return outcomes


class Meddler(Passing):
    """One that asks the real one for something else than it was asked, or changes what that gave."""

    def __init__(
        self,
        inner: Custody,
        *,
        request: Mapping[str, Any] | None = None,
        outcome: Callable[[Outcome], Outcome] = lambda outcome: outcome,
    ) -> None:
        super().__init__(inner)
        self._changes = dict(request or {})
        self._outcome = outcome

    async def submit(self, requests: Sequence[SignRequest]) -> list[str]:
        return await self.inner.submit([replace(one, **self._changes) for one in requests])

    async def poll(self, tickets: Sequence[str]) -> list[Outcome]:
        return [self._outcome(one) for one in await self.inner.poll(tickets)]
