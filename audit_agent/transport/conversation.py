"""One talk with a shell, local or remote: opening, script, output, all of it within the limits."""

import time
from typing import Protocol

from audit_agent.transport import Ask, Limits
from audit_agent.transport.privilege import Opening


class Clock:
    """Seconds that a host takes: the time that a person needs for an answer does not count."""

    def __init__(self) -> None:
        self._idle = 0.0
        self._stopped_at: float | None = None

    def now(self) -> float:
        """Seconds on a scale of its own."""
        return (self._stopped_at or time.monotonic()) - self._idle

    def idle(self, ask: Ask) -> Ask:
        """`ask`, with the clock standing still while it is being answered."""

        def answer(prompt: str) -> str:
            started = self._stopped_at = time.monotonic()
            try:
                return ask(prompt)
            finally:
                self._idle += time.monotonic() - started
                self._stopped_at = None

        return answer


class Session(Protocol):
    """A started program with three streams."""

    def receive(self, seconds: float) -> tuple[bytes, bytes] | None:
        """What it wrote to (stdout, stderr): both empty when time is over, None at their end."""
        ...

    def send(self, data: bytes, seconds: float) -> int:
        """Write to its standard input; how many bytes went, 0 when time is over.

        Raises:
            OSError: it reads no more.
        """
        ...

    def end_input(self) -> None:
        """Close its standard input."""
        ...

    def interruption(self) -> str:
        """After the end: why the output may be incomplete, or ""."""
        ...


def converse(
    session: Session, opening: Opening, script: bytes, limits: Limits, clock: Clock, deadline: float
) -> tuple[bytes, str]:
    """The script's output, and why it may be incomplete ("" when it is not).

    `deadline` is on `clock`; `limits` gives the rest.

    Raises:
        HostUnreachable: the script was never handed over.
    """
    _open(session, opening, limits, clock, deadline)
    _hand_over(session, script, clock, deadline)
    stream = bytearray(opening.rest)
    while len(stream) <= limits.size:
        heard = session.receive(max(0.0, deadline - clock.now()))
        stream += heard[0] if heard else b""
        if clock.now() >= deadline:
            return bytes(stream), f"took longer than {limits.total:g} s"
        if heard is None:
            return bytes(stream), session.interruption()
    return bytes(stream[: limits.size]), f"sent more than {limits.size} bytes"


def _open(
    session: Session, opening: Opening, limits: Limits, clock: Clock, deadline: float
) -> None:
    soon = min(deadline, clock.now() + limits.first_byte)
    size = 0
    while not opening.begun:
        if clock.now() >= soon or size > limits.size:
            raise opening.silence(limits.first_byte)
        heard = session.receive(max(0.0, soon - clock.now()))
        if heard is None:
            raise opening.refusal()
        size += len(heard[0]) + len(heard[1])
        answer = opening.hear(*heard)
        if answer:
            _send(session, answer, clock, soon)


def _hand_over(session: Session, script: bytes, clock: Clock, deadline: float) -> None:
    _send(session, script, clock, deadline)
    session.end_input()


def _send(session: Session, data: bytes, clock: Clock, deadline: float) -> None:
    """Send all of it, unless time is over or nobody reads: what comes back will tell."""
    rest = memoryview(data)
    try:
        while rest and (left := deadline - clock.now()) > 0:
            rest = rest[session.send(bytes(rest[:32768]), left) :]
    except OSError:
        return
