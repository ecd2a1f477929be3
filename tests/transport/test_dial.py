"""What may answer at an address, on this machine's loopback."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from audit_agent.transport import HostUnreachable, Limits
from audit_agent.transport.dial import connect, expect_ssh

Serve = Callable[[socket.socket], None]


@contextlib.contextmanager
def serving(serve: Serve, family: int = socket.AF_INET) -> Iterator[int]:
    """A port at which `serve` gets every connection."""
    with socket.socket(family) as listener:
        listener.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0))
        listener.listen()
        listener.settimeout(0.05)
        stop = threading.Event()

        def loop() -> None:
            with contextlib.ExitStack() as open_until_the_end:
                while not stop.is_set():
                    with contextlib.suppress(TimeoutError):
                        connection = open_until_the_end.enter_context(listener.accept()[0])
                        connection.settimeout(10)
                        with contextlib.suppress(OSError):
                            serve(connection)

        thread = threading.Thread(target=loop)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            stop.set()
            thread.join()


def said(text: bytes) -> Serve:
    return lambda connection: connection.sendall(text)


def dial(port: int, seconds: float = 0.5) -> None:
    with connect("web", "127.0.0.1", port, 5) as connection:
        expect_ssh(connection, "web", seconds)
        assert connection.recv(4) == b"SSH-" or connection.recv(100), "the banner is left unread"


@pytest.mark.parametrize(
    "text", [b"SSH-2.0-x\r\n", b"SSH-1.99-old\n", b"hello\r\nworld\r\nSSH-2.0-x comment\r\n"]
)
def test_an_ssh_server(text):
    with serving(said(text)) as port:
        dial(port)


def test_a_banner_in_pieces():
    def serve(connection):
        for piece in (b"he", b"llo\r\nSS", b"H-2.0", b"-x\r\n"):
            connection.sendall(piece)
            time.sleep(0.05)

    with serving(serve) as port:
        dial(port, 5)


@pytest.mark.parametrize(
    ("serve", "reason"),
    [
        (said(b"220 mail.example ESMTP\r\n"), "not-ssh"),
        (said(b"x" * 20000), "not-ssh"),
        (lambda c: (c.sendall(b"HTTP/1.1 400 Bad Request\r\n"), c.close()), "not-ssh"),
        (said(b"SSH-1.5-ancient\r\n"), "algorithm-mismatch"),
        (lambda _: None, "timeout-banner"),
        (lambda c: c.close(), "connection-closed"),
    ],
    ids=["smtp", "flood", "http", "ssh1", "silent", "closed"],
)
def test_something_else(serve, reason):
    with serving(serve) as port, pytest.raises(HostUnreachable) as caught:
        dial(port)
    assert caught.value.reason == reason
    assert str(caught.value).startswith("web: ")
    assert caught.value.advice


def test_what_it_says_cannot_reach_the_terminal():
    with serving(said(b"\x1b[2J\x9b\xff\r\n")) as port, pytest.raises(HostUnreachable) as caught:
        dial(port)
    assert str(caught.value).isascii()
    assert "\x1b" not in str(caught.value)


def test_text_that_stops_is_not_waited_for_long():
    started = time.monotonic()
    with serving(said(b"220 mail\r\n")) as port, pytest.raises(HostUnreachable) as caught:
        dial(port, 30)
    assert caught.value.reason == "not-ssh"
    assert time.monotonic() - started < 4


def test_refused():
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        with pytest.raises(HostUnreachable) as caught:
            connect("web", "127.0.0.1", closed.getsockname()[1], 5)
    assert caught.value.reason == "refused"
    assert "web (127.0.0.1 port" in str(caught.value)


def test_unresolvable():
    for host in ("no-such-host.invalid", "a..b", "x" * 80 + ".invalid"):
        with pytest.raises(HostUnreachable) as caught:
            connect("web", host, 22, 5)
        assert caught.value.reason == "unresolvable"


def test_ipv6():
    try:
        with serving(said(b"SSH-2.0-x\r\n"), socket.AF_INET6) as port:
            connect("web", "::1", port, 5).close()
    except OSError:
        pytest.skip("no IPv6 on this machine's loopback")


def test_an_address_that_nothing_leads_to():
    with pytest.raises(HostUnreachable) as caught:
        connect("web", "255.255.255.255", 22, 5)
    assert caught.value.reason == "no-route"


@pytest.mark.root
def test_a_host_that_drops_packets(namespace, reach):
    namespace.run("ip", "link", "set", "lo", "down")
    namespace.run("iptables-nft", "-A", "INPUT", "-p", "tcp", "-j", "DROP")
    started = time.monotonic()
    dropping = reach.unreachable(f"root@{namespace.address}", limits=Limits(connect=1))
    assert dropping.reason == "timeout-connect"
    assert time.monotonic() - started < 2


@pytest.mark.parametrize("after", [b"", b"\0\0\0\xfc\x0a\x14" + b"x" * 10])
def test_a_server_that_stops_in_the_handshake(reach, after):
    def serve(connection):
        connection.sendall(b"SSH-2.0-tarpit\r\n" + after)

    started = time.monotonic()
    with serving(serve) as port:
        stuck = reach.unreachable(f"root@127.0.0.1:{port}", limits=Limits(authenticate=1))
    assert stuck.reason == "timeout-handshake"
    assert time.monotonic() - started < 3


def test_nothing_is_printed_whatever_goes_wrong(reach, capfd):
    with serving(said(b"SSH-2.0-x\r\n" + b"\xff" * 5000)) as port:
        broken = reach.unreachable(f"root@127.0.0.1:{port}", limits=Limits(authenticate=2))
    assert broken.reason == "handshake-failed"
    assert capfd.readouterr() == ("", "")
