"""Processes that end with the test run, even if that is killed."""

import subprocess
import time
from collections.abc import Callable

_TIED = ["setpriv", "--pdeathsig", "KILL", "--"]


def start(words: list[str], **options: object) -> "subprocess.Popen[bytes]":
    """Start a program that the kernel kills when the test run ends."""
    options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL} | options
    return subprocess.Popen([*_TIED, *words], **options)  # type: ignore[call-overload]


def check(words: list[str], **options: object) -> str:
    """Run a program that must succeed; its standard output."""
    done = subprocess.run(words, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]
    assert done.returncode == 0, f"{words}: {done.stderr}{done.stdout}"
    return str(done.stdout)


def wait_until(true: Callable[[], object], what: str, seconds: float = 20.0) -> None:
    """Wait for something to become true."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"waited {seconds:g} s for {what}"
        time.sleep(0.02)
