"""Through a jump host: a forwarded connection that behaves like a socket of our own."""

import contextlib
import socket
import threading
from collections.abc import Callable

import paramiko

_CHUNK = 1 << 15
_ENDED = (OSError, EOFError, paramiko.SSHException)


def pump(channel: paramiko.Channel) -> socket.socket:
    """A socket whose bytes go through the channel.

    An SSH connection must not run on the channel itself: paramiko may send data after it closed
    the channel, at which the jump host drops everything. Here the channel is closed only when
    both directions have ended.
    """
    near, far = socket.socketpair()

    def outward() -> None:
        _copy(lambda: far.recv(_CHUNK), channel.sendall)
        with contextlib.suppress(*_ENDED):
            channel.shutdown_write()

    def inward() -> None:
        _copy(lambda: channel.recv(_CHUNK), far.sendall)
        with contextlib.suppress(OSError):
            far.shutdown(socket.SHUT_WR)
        sender.join()
        far.close()
        with contextlib.suppress(*_ENDED):
            channel.close()

    sender = threading.Thread(target=outward, name="jump-outward", daemon=True)
    receiver = threading.Thread(target=inward, name="jump-inward", daemon=True)
    sender.start()
    receiver.start()
    return near


def _copy(read: Callable[[], bytes], write: Callable[[bytes], object]) -> None:
    # Whatever ends a direction ends it for good; the connection on top notices and says so.
    with contextlib.suppress(*_ENDED):
        while data := read():
            write(data)
