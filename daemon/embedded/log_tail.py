"""The end of a program's log, for an error message."""

from pathlib import Path

TAIL_BYTES = 2_000


def log_tail(path: Path, *, since: int = 0) -> str:
    """At most the last TAIL_BYTES bytes written after offset `since`, empty if there is no file."""
    try:
        with path.open("rb") as log:
            size = log.seek(0, 2)
            log.seek(max(since, size - TAIL_BYTES))
            return log.read(TAIL_BYTES).decode(errors="replace").strip()
    except FileNotFoundError:
        return ""


def log_size(path: Path) -> int:
    """Bytes in the log so far; 0 if there is no file."""
    return path.stat().st_size if path.exists() else 0
