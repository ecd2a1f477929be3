"""This machine, read by the same collector as any other."""

import contextlib
import os
import selectors
import signal
import subprocess
from typing import Self

from audit_agent.transport import HostUnreachable, Limits, Recording
from audit_agent.transport.conversation import Clock, converse
from audit_agent.transport.privilege import Opening, Sudo

_LINGER = 5.0
"""Seconds that a collector may take to end once nobody listens any more."""


class Local:
    """Runs the collector with this machine's own shell."""

    target = "localhost"

    def __init__(self, limits: Limits, sudo: Sudo | None = None) -> None:
        self._limits = limits
        self._sudo = sudo

    def run(self, script: bytes) -> Recording:
        """Feed `script` to sh and record its output, within the limits.

        The witnesses are what the controller's own libraries say of this machine.

        Raises:
            HostUnreachable: there is no sh to run, or no sudo to run it with.
        """
        from audit_agent.transport import witnesses  # noqa: PLC0415 - only a local audit pays

        clock = Clock()
        deadline = clock.now() + self._limits.total
        sudo = self._sudo
        if sudo is not None and sudo.ask is not None:
            sudo = Sudo(clock.idle(sudo.ask))
        opening = Opening(self.target, sudo)
        with _Process(opening.command) as process:
            stream, interrupted = converse(process, opening, script, self._limits, clock, deadline)
        return Recording(
            stream=stream,
            address="127.0.0.1",
            via=opening.via,
            interrupted=interrupted,
            witnesses=witnesses.observe(),
        )


class _Process:
    """A shell command in a session of its own, with three pipes."""

    def __init__(self, command: str) -> None:
        try:
            self._process = subprocess.Popen(  # noqa: S603 - sh by its absolute path, our command
                ["/bin/sh", "-c", f"exec {command}"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            raise HostUnreachable("no-shell", f"cannot run /bin/sh: {error.strerror}") from error
        pipes = (self._process.stdin, self._process.stdout, self._process.stderr)
        self._pipes = [pipe for pipe in pipes if pipe is not None]
        self._in, self._out, self._err = (pipe.fileno() for pipe in self._pipes)
        os.set_blocking(self._in, False)
        self._readable = selectors.DefaultSelector()
        self._readable.register(self._out, selectors.EVENT_READ)
        self._readable.register(self._err, selectors.EVENT_READ)
        self._writable = selectors.DefaultSelector()
        self._writable.register(self._in, selectors.EVENT_WRITE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Leave nothing behind: the whole session of the collector ends with it."""
        for selector in (self._readable, self._writable):
            selector.close()
        for pipe in self._pipes:
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        # What runs through sudo cannot be killed by us; it ends when it finds its pipes closed.
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_LINGER)

    def receive(self, seconds: float) -> tuple[bytes, bytes] | None:
        heard = {self._out: b"", self._err: b""}
        for key, _ in self._readable.select(seconds):
            data = os.read(key.fd, 1 << 16)
            heard[key.fd] = data
            if not data:
                self._readable.unregister(key.fd)
        if not self._readable.get_map():
            return None
        return heard[self._out], heard[self._err]

    def send(self, data: bytes, seconds: float) -> int:
        return os.write(self._in, data) if self._writable.select(seconds) else 0

    def end_input(self) -> None:
        self._writable.unregister(self._in)
        with contextlib.suppress(BrokenPipeError):
            self._pipes[0].close()

    def interruption(self) -> str:
        try:
            status = self._process.wait(_LINGER)
        except subprocess.TimeoutExpired:
            return ""
        if status < 0:
            return f"the collector was ended by signal {-status}"
        return f"the collector's shell ended with status {status}" if status else ""
