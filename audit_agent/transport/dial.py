"""A TCP connection to a host, and whether an SSH server answers there."""

import errno
import re
import socket
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from audit_agent.transport import HostUnreachable

T = TypeVar("T")

_NO_ROUTE = {
    errno.EHOSTUNREACH,
    errno.ENETUNREACH,
    errno.ENETDOWN,
    errno.EHOSTDOWN,
    errno.EACCES,
    errno.EPERM,
    errno.EADDRNOTAVAIL,
    errno.EAFNOSUPPORT,
    errno.EINVAL,
}
_BANNER = re.compile(rb"^SSH-([0-9.]+)-[^\r\n]*\r?\n", re.MULTILINE)
_PEEK = 8192
_PATIENCE = 2.0
"""Seconds without another byte after which text that is no SSH banner counts as a whole."""


def connect(name: str, host: str, port: int, seconds: float) -> socket.socket:
    """A connected socket that notices within half a minute when the other end is gone.

    `name` is what the user called the host.

    Raises:
        HostUnreachable: unresolvable, refused, no-route or timeout-connect.
    """
    deadline = time.monotonic() + seconds
    addresses = _resolve(name, host, port, seconds)
    failures: list[HostUnreachable] = []
    for index, (family, address) in enumerate(addresses):
        left = (deadline - time.monotonic()) / (len(addresses) - index)
        connection = socket.socket(family, socket.SOCK_STREAM)
        try:
            connection.settimeout(max(0.01, left))
            connection.connect(address)
            _watch(connection)
        except OSError as error:
            connection.close()
            failures.append(_failure(error, name, str(address[0]), port, seconds))
        else:
            return connection
    # Of several addresses, one that answered tells more than one that nobody routes.
    raise min(failures, key=lambda failure: _TELLING.index(failure.reason))


_TELLING = ("refused", "timeout-connect", "unreachable", "no-route")


def _resolve(
    name: str, host: str, port: int, seconds: float
) -> list[tuple[int, tuple[str | int | bytes, ...]]]:
    unresolvable = HostUnreachable(
        "unresolvable",
        f"{name}: the name {host} cannot be resolved to an address",
        "check the spelling, DNS, /etc/hosts, or HostName in the ssh configuration",
    )
    try:
        found = _within(seconds, lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    except (OSError, UnicodeError) as error:
        raise unresolvable from error
    if not found:
        raise unresolvable
    return [(family, address) for family, _, _, _, address in found]


def _within(seconds: float, work: Callable[[], T]) -> T | None:
    """The result of `work`, or None if it takes longer; resolvers have no limit of their own."""
    results: list[T] = []
    errors: list[OSError | UnicodeError] = []

    def run() -> None:
        try:
            results.append(work())
        except (OSError, UnicodeError) as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    return results[0] if results else None


def _failure(error: OSError, name: str, address: str, port: int, seconds: float) -> HostUnreachable:
    where = f"{name} ({address} port {port})" if name != address else f"{name} port {port}"
    if isinstance(error, ConnectionRefusedError):
        return HostUnreachable(
            "refused",
            f"{where}: the connection was refused; nothing listens there",
            "check that sshd runs and on which port",
        )
    if isinstance(error, TimeoutError) or error.errno == errno.ETIMEDOUT:
        return HostUnreachable(
            "timeout-connect",
            f"{where}: no answer within {seconds:g} s",
            "check the address, and firewalls on the way",
        )
    if error.errno in _NO_ROUTE:
        return HostUnreachable(
            "no-route",
            f"{where}: cannot be reached from here ({error.strerror})",
            "check the address and the routes of this machine",
        )
    return HostUnreachable("unreachable", f"{where}: {error.strerror or error}")


def _watch(connection: socket.socket) -> None:
    """No delay for small packets, and an end to connections whose other end has vanished."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 10)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 30_000)


def expect_ssh(connection: socket.socket, name: str, seconds: float) -> None:
    """Wait for the banner of an SSH 2 server and leave it unread.

    A server may send other lines before it (RFC 4253, section 4.2).

    Raises:
        HostUnreachable: timeout-banner, not-ssh, algorithm-mismatch or connection-closed.
    """
    deadline = time.monotonic() + seconds
    seen, since = b"", time.monotonic()
    while (now := time.monotonic()) < deadline:
        connection.settimeout(deadline - now)
        try:
            data = connection.recv(_PEEK, socket.MSG_PEEK)
        except TimeoutError:
            break
        except OSError as error:
            raise _closed(name) from error
        banner = _BANNER.search(data)
        if banner is not None:
            return _check_version(name, banner[1])
        if len(data) > len(seen):
            seen, since = data, now
        elif not data or len(data) == _PEEK or now - since > _PATIENCE:
            break
        else:
            time.sleep(0.02)
    if seen:
        text = "".join(chr(c) if 32 <= c < 127 else "?" for c in seen.strip()[:60])
        raise HostUnreachable(
            "not-ssh",
            f"{name}: what answers there is not an SSH server (it says: {text})",
            "check the port",
        )
    if time.monotonic() < deadline:
        raise _closed(name)
    raise HostUnreachable(
        "timeout-banner",
        f"{name}: accepted the connection but said nothing within {seconds:g} s",
        "the host may be hung or overloaded, or something other than sshd listens there",
    )


def _check_version(name: str, version: bytes) -> None:
    if version not in {b"2.0", b"1.99"}:
        raise HostUnreachable(
            "algorithm-mismatch",
            f"{name}: speaks only version {version.decode()} of the SSH protocol, which is broken",
            "collect by hand instead: audit-agent collect --script",
        )


def _closed(name: str) -> HostUnreachable:
    return HostUnreachable(
        "connection-closed",
        f"{name}: closed the connection before it said that it is an SSH server",
        "see its log: it may have too many logins at once (MaxStartups), or refuse this address",
    )
