"""Unit tests open no socket: what they test decides, and somebody else talks."""

import socket
from typing import NoReturn

import pytest


@pytest.fixture(autouse=True)
def no_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every attempt to connect, or to be connected to, fail."""
    for method in ("connect", "connect_ex", "bind", "listen"):
        monkeypatch.setattr(socket.socket, method, refuse)


def refuse(*_: object) -> NoReturn:
    pytest.fail("a unit test tried to open a socket; move it to tests/integration")
