"""This machine, read by the same collector as any other."""

import contextlib
import os
import selectors
import signal
import subprocess
import time

from audit_agent.transport import HostUnreachable, Limits, Recording


class Local:
    """Runs the collector with this machine's own shell."""

    target = "localhost"

    def __init__(self, limits: Limits) -> None:
        self._limits = limits

    def run(self, script: bytes) -> Recording:
        """Feed `script` to sh and record its output, within the limits.

        Raises:
            HostUnreachable: there is no sh to run.
        """
        words = ["/bin/sh", "-s"]
        try:
            process = subprocess.Popen(  # noqa: S603 - sh by its absolute path, our own script
                words,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            raise HostUnreachable("no-shell", f"cannot run {words[0]}: {error.strerror}") from error
        try:
            stream, interrupted = self._converse(process, script)
        finally:
            _end(process)
        return Recording(stream=stream, address="127.0.0.1", interrupted=interrupted)

    def _converse(self, process: "subprocess.Popen[bytes]", script: bytes) -> tuple[bytes, str]:
        """Write and read at once, so that neither side can block the other."""
        stdin, stdout = process.stdin, process.stdout
        if stdin is None or stdout is None:
            raise AssertionError("both ends were asked for")
        os.set_blocking(stdin.fileno(), False)
        deadline = time.monotonic() + self._limits.total
        stream = bytearray()
        rest = memoryview(script)
        with selectors.DefaultSelector() as selector:
            selector.register(stdin, selectors.EVENT_WRITE)
            selector.register(stdout, selectors.EVENT_READ)
            while (left := deadline - time.monotonic()) > 0:
                for key, _ in selector.select(left):
                    if key.fileobj is stdin:
                        rest = rest[_write(stdin.fileno(), rest) :]
                        if not rest:
                            selector.unregister(stdin)
                            stdin.close()
                        continue
                    data = os.read(stdout.fileno(), 1 << 16)
                    if not data:
                        return bytes(stream), ""
                    stream += data
                    if len(stream) > self._limits.size:
                        return bytes(stream), f"sent more than {self._limits.size} bytes"
        return bytes(stream), f"took longer than {self._limits.total:g} s"


def _write(handle: int, data: memoryview) -> int:
    try:
        return os.write(handle, data[: 1 << 16])
    except BrokenPipeError:
        return len(data)


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Leave nothing behind: the whole session of the collector ends with it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
