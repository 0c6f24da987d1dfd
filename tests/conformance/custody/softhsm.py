"""SoftHSM2, a security module in software: the system's, or Debian's packages unpacked beside the virtual environment.

``python -m tests.conformance.custody.softhsm`` fetches it. It needs no root: packages are downloaded and unpacked,
not installed.
"""

import fcntl
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

PACKAGES: Final = ("libsofthsm2", "softhsm2")
FOLDER: Final = Path(sys.prefix) / "softhsm2"
TIMEOUT_S: Final = 120
LIBRARY: Final = "softhsm/libsofthsm2.so"
REMEDY: Final = "SoftHSM2 is missing and could not be fetched: install your system's softhsm2"


class SoftHsmMissingError(Exception):
    """SoftHSM2 is neither installed nor to be had."""


def find() -> Path | None:
    """The library, if it is here."""
    folders = ["usr/lib", f"usr/lib/{platform.machine()}-linux-gnu", "usr/lib64", "usr/local/lib"]
    places = [root / folder / LIBRARY for root in (Path("/"), FOLDER) for folder in folders]
    return next((place for place in places if place.exists()), None)


def initialize_token(library_: Path, settings: Path, label: str, pin: str) -> None:
    """Make a token, in the folder that the settings name."""
    installed = shutil.which("softhsm2-util")
    _run(
        [
            *(installed or str(FOLDER / "usr/bin/softhsm2-util"), "--module", str(library_)),
            *("--init-token", "--free", "--label", label, "--pin", pin, "--so-pin", pin),
        ],
        settings.parent,
        SOFTHSM2_CONF=str(settings),
    )


def library() -> Path:
    """The library, fetched if it is not here. Raises :class:`SoftHsmMissingError`."""
    found = find()
    if found is not None:
        return found
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (FOLDER / "lock").open("w") as lock:
        # Tests run in several processes: one of them fetches it.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if find() is None:
            _fetch()
    found = find()
    if found is None:
        raise SoftHsmMissingError(REMEDY)
    return found


def _fetch() -> None:
    with tempfile.TemporaryDirectory(prefix="landbridge-softhsm-") as name:
        scratch = Path(name)
        try:
            _download(scratch, ())
        except (OSError, subprocess.SubprocessError):
            # Lists of our own, as those of the system are missing, or old, or root's to renew.
            for folder in ("lists/partial", "archives/partial"):
                (scratch / folder).mkdir(parents=True)
            own = (
                *("-o", f"Dir::State::Lists={scratch}/lists"),
                *("-o", f"Dir::Cache={scratch}"),
                *("-o", f"Dir::Cache::Archives={scratch}/archives"),
                *("-o", "APT::Sandbox::User="),
            )
            try:
                _run(["apt-get", *own, "--quiet", "update"], scratch)
                _download(scratch, own)
            except (OSError, subprocess.SubprocessError) as error:
                raise SoftHsmMissingError(f"{REMEDY} ({error})") from None
        for package in scratch.glob("*.deb"):
            _run(["dpkg", "-x", str(package), str(FOLDER)], scratch)


def _download(folder: Path, options: tuple[str, ...]) -> None:
    _run(["apt-get", *options, "--quiet", "download", *PACKAGES], folder)


def _run(command: list[str], folder: Path, **environment: str) -> None:
    subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "LC_ALL": "C", **environment},
        check=True,
        capture_output=True,
        timeout=TIMEOUT_S,
    )


if __name__ == "__main__":
    try:
        library()
    except SoftHsmMissingError as missing:
        sys.exit(str(missing))
