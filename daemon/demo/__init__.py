"""The demo: real parts, a bank simulator, people who use it, and checks of what came out."""

from daemon.demo.main import main

__all__ = ["main"]
