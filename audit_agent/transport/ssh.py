"""A host over SSH: one connection, one channel, the collector on its standard input."""

import contextlib
import logging
import select
import socket
from collections.abc import Iterator
from pathlib import Path

import paramiko
from msgspec import Struct
from paramiko.ssh_exception import IncompatiblePeer

from audit_agent.transport import Ask, HostUnreachable, Limits, Recording
from audit_agent.transport.conversation import Clock, converse
from audit_agent.transport.dial import connect, expect_ssh
from audit_agent.transport.jump import pump
from audit_agent.transport.known_hosts import KnownHosts
from audit_agent.transport.login import log_in
from audit_agent.transport.privilege import Opening, Sudo
from audit_agent.transport.ssh_config import HostConfig, Target, parse_target, resolve
from audit_agent.transport.trust import key_types, verify

_MOST_JUMPS = 8
_LINGER = 5.0
"""Seconds to wait for the exit status once the output has ended."""

# paramiko reports from its own threads; what matters reaches us as exceptions.
logging.getLogger("paramiko").addHandler(logging.NullHandler())


class SshOptions(Struct, frozen=True):
    """What the user says about logging in.

    `config_file` replaces the usual ssh configuration, `identities` are tried before its keys.
    `ask` gives passphrases and passwords; None means that nobody can be asked.
    """

    config_file: Path | None = None
    identities: tuple[Path, ...] = ()
    accept_new_host_key: bool = False
    ask: Ask | None = None


class Ssh:
    """Runs the collector on a host that is reached over SSH, through jump hosts if need be."""

    def __init__(
        self, target: str, limits: Limits, options: SshOptions, sudo: Sudo | None = None
    ) -> None:
        """Take `target` as [user@]host[:port] or an alias of the ssh configuration.

        Raises:
            ValueError: it is neither; the message is a sentence for the user.
        """
        self.target = target
        self._target = parse_target(target)
        self._limits = limits
        self._options = options
        self._sudo = sudo

    def run(self, script: bytes) -> Recording:
        """Feed `script` to a POSIX shell there and record its output, within the limits.

        Raises:
            HostUnreachable: nothing was recorded.
        """
        clock = Clock()
        deadline = clock.now() + self._limits.total
        options = self._options
        if options.ask is not None:
            options = SshOptions(
                options.config_file,
                options.identities,
                options.accept_new_host_key,
                clock.idle(options.ask),
            )
        sudo = self._sudo
        if sudo is not None and sudo.ask is not None:
            sudo = Sudo(clock.idle(sudo.ask))
        with contextlib.ExitStack() as stack:
            connector = _Connector(self._limits, options, stack)
            connection = connector.reach(self._target)
            opening = Opening(self.target, sudo)
            session = _Session(self.target, connection, opening.command, self._limits)
            stream, interrupted = converse(session, opening, script, self._limits, clock, deadline)
            return Recording(
                stream=stream,
                address=connector.address,
                via=opening.via,
                interrupted=interrupted,
            )


def _address(sock: socket.socket, config: HostConfig) -> str:
    """The host's address as this side sees it; behind a jump host, what the jump host was told."""
    if sock.family is socket.AF_UNIX:
        return config.host
    return str(sock.getpeername()[0])


class _Connector:
    """Makes logged-in connections, each through the one before; the stack closes them.

    `address` is that of the host connected to last.
    """

    def __init__(self, limits: Limits, options: SshOptions, stack: contextlib.ExitStack) -> None:
        self._limits = limits
        self._options = options
        self._stack = stack
        self.address = ""

    def reach(self, target: Target) -> paramiko.Transport:
        """A logged-in connection to the host.

        Raises:
            HostUnreachable: there is none; a jump host's failure has the reason jump-failed.
        """
        hops = list(self._route(target, 0))
        connection: paramiko.Transport | None = None
        for hop, config in hops:
            try:
                connection = self._connect(hop, config, connection)
            except HostUnreachable as error:
                if hop is hops[-1][0]:
                    raise
                raise HostUnreachable(
                    "jump-failed", f"{target}: jump host {error}", error.advice
                ) from error
        if connection is None:
            raise AssertionError("a route has at least the target itself")
        return connection

    def _route(self, target: Target, depth: int) -> Iterator[tuple[Target, HostConfig]]:
        """The hosts to go through, first one first, and the target; only the first may jump on."""
        if depth > _MOST_JUMPS:
            raise HostUnreachable(
                "ssh-config", f"{target}: ProxyJump leads through more than {_MOST_JUMPS} hosts"
            )
        config = resolve(target, self._options.config_file)
        for index, hop in enumerate(config.jumps):
            if index == 0:
                yield from self._route(hop, depth + 1)
            else:
                yield hop, resolve(hop, self._options.config_file)
        yield target, config

    def _connect(
        self, target: Target, config: HostConfig, through: paramiko.Transport | None
    ) -> paramiko.Transport:
        name = str(target)
        if through is None:
            sock = connect(name, config.host, config.port, self._limits.connect)
        else:
            sock = _forward(name, config, through, self._limits.connect)
        self._stack.callback(sock.close)
        self.address = _address(sock, config)
        expect_ssh(sock, name, self._limits.connect)
        known = KnownHosts.read((*config.user_known_hosts, *config.global_known_hosts))
        connection = self._handshake(name, sock, known, config)
        verify(connection, known, config, name, accept_new=self._options.accept_new_host_key)
        log_in(
            connection,
            config,
            name,
            identities=self._options.identities,
            ask=self._options.ask,
            seconds=self._limits.authenticate,
        )
        return connection

    def _handshake(
        self, name: str, sock: socket.socket, known: KnownHosts, config: HostConfig
    ) -> paramiko.Transport:
        """Agree on keys, preferring the host key types that are known of this host.

        Raises:
            HostUnreachable: algorithm-mismatch or handshake-failed.
        """
        sock.settimeout(None)
        try:
            connection = paramiko.Transport(sock)
            self._stack.callback(connection.close)
            connection.banner_timeout = self._limits.connect
            connection.auth_timeout = self._limits.authenticate
            security = connection.get_security_options()
            security.key_types = key_types(security.key_types, known, config)
            connection.start_client(timeout=self._limits.connect)
        except IncompatiblePeer as error:
            raise HostUnreachable(
                "algorithm-mismatch",
                f"{name}: no algorithm in common with this host ({error})",
                "its sshd is too old; collect by hand instead: audit-agent collect --script",
            ) from error
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise HostUnreachable(
                "handshake-failed",
                f"{name}: the SSH handshake failed ({str(error) or type(error).__name__})",
                "try again; if it stays, see the log of its sshd",
            ) from error
        return connection


def _forward(
    name: str, config: HostConfig, through: paramiko.Transport, seconds: float
) -> socket.socket:
    try:
        channel = through.open_channel(
            "direct-tcpip", (config.host, config.port), ("127.0.0.1", 0), timeout=seconds
        )
    except paramiko.ChannelException as error:
        forbidden = error.code == 1
        raise HostUnreachable(
            "jump-failed" if forbidden else "refused",
            f"{name}: the jump host "
            + ("does not allow forwarding" if forbidden else "cannot reach it")
            + f" ({error.text or error.code})",
            "AllowTcpForwarding on the jump host decides" if forbidden else "check the address",
        ) from error
    except (paramiko.SSHException, OSError, EOFError) as error:
        raise HostUnreachable(
            "jump-failed", f"{name}: the jump host's connection failed ({error})"
        ) from error
    return pump(channel)


class _Session:
    """A command on the host, with its three streams in one channel (a conversation.Session)."""

    def __init__(
        self, name: str, connection: paramiko.Transport, command: str, limits: Limits
    ) -> None:
        try:
            self._channel = connection.open_session(timeout=limits.first_byte)
            self._channel.settimeout(limits.first_byte)
            self._channel.exec_command(command)
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise HostUnreachable(
                "shell-refused",
                f"{name}: logged in, but the host does not run commands ({error})",
                "log in with a user who may run commands (not sftp-only, not restricted)",
            ) from error
        self._poll = select.poll()
        self._poll.register(self._channel.fileno(), select.POLLIN)

    def receive(self, seconds: float) -> tuple[bytes, bytes] | None:
        if not self._poll.poll(seconds * 1000):
            return b"", b""
        # Both streams are drained: one that fills up would stop the other (SSH windows).
        out = self._channel.recv(1 << 16) if self._channel.recv_ready() else b""
        err = self._channel.recv_stderr(1 << 16) if self._channel.recv_stderr_ready() else b""
        if not out and not err and (self._channel.eof_received or self._channel.closed):
            return None
        return out, err

    def send(self, data: bytes, seconds: float) -> int:
        self._channel.settimeout(max(0.01, seconds))
        try:
            return self._channel.send(data)
        except TimeoutError:
            return 0

    def end_input(self) -> None:
        with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
            self._channel.shutdown_write()

    def interruption(self) -> str:
        if not self._channel.status_event.wait(_LINGER) or not self._channel.exit_status_ready():
            return "the connection was lost"
        status = self._channel.recv_exit_status()
        if status == -1:
            return "the collector was killed, or the connection was lost"
        return f"the collector's shell ended with status {status}" if status else ""
