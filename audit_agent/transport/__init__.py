"""The ways to a host: the only code that touches the world outside.

A transport runs the collector once and hands back what came, however little. It knows nothing of
sections, facts or checks.
"""

from collections.abc import Callable
from typing import Protocol

from msgspec import Struct

from audit_agent.model import Section

Ask = Callable[[str], str]
"""Asks the user for a secret, showing the prompt, and returns it without a newline."""


class Limits(Struct, frozen=True):
    """How long a host may take, in seconds, and how much it may send, in bytes."""

    connect: float = 10.0
    authenticate: float = 30.0
    first_byte: float = 30.0
    total: float = 180.0
    size: int = 64 * 1024 * 1024


class HostUnreachable(Exception):  # noqa: N818 - reads as what it says
    """The host gave no evidence at all.

    `reason` is a fixed word (unresolvable, refused, timeout-connect, host-key-unknown ...); the
    message is one sentence for the user; `advice` says what to do, or is "".
    """

    def __init__(self, reason: str, message: str, advice: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        self.advice = advice


class Recording(Struct, frozen=True):
    """What came back from one run of the collector.

    `interrupted` says why the stream may be incomplete, or is "". `via` is "login" or "sudo".
    `witnesses` are sections that the controller itself observed.
    """

    stream: bytes
    address: str
    via: str = "login"
    interrupted: str = ""
    witnesses: tuple[Section, ...] = ()


class Transport(Protocol):
    """One host that can be read."""

    @property
    def target(self) -> str:
        """The host as the user named it."""
        ...

    def run(self, script: bytes) -> Recording:
        """Feed `script` to a POSIX shell on the host and record its standard output.

        Raises:
            HostUnreachable: nothing was recorded.
        """
        ...
