"""A remote host over SSH: one connection, one channel, one script in, one stream back."""

import contextlib
import logging
import socket
import threading
from collections.abc import Callable, Generator
from pathlib import Path

import paramiko
from msgspec import Struct
from paramiko.ssh_exception import IncompatiblePeer

from audit_agent.transport import Ask, HostUnreachable, Limits, Recording, dial
from audit_agent.transport.authentication import Connection, Keyring, log_in
from audit_agent.transport.conversation import Clock, converse
from audit_agent.transport.host_key import Verifier
from audit_agent.transport.jump import pump
from audit_agent.transport.privilege import Opening, Sudo
from audit_agent.transport.ssh_config import HostConfig, Target, parse_target, resolve

# It reports every lost connection with a traceback; what happened is in our own sentences.
logging.getLogger("paramiko").addHandler(logging.NullHandler())
logging.getLogger("paramiko").propagate = False

_MAX_JUMPS = 8
_GRACE = 1.0
_LINGER = 5.0
"""Seconds to wait for the exit status once all output has come."""
_FAST_CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com")


class SshOptions(Struct, frozen=True):
    """What the user chose.

    `config_file` stands in for the usual ssh configuration; `identities` are offered before the
    keys that it names. `ask` gives passphrases and passwords; None means that nobody can be
    asked. `accept_new_host_key` records keys of hosts that have none yet, never a changed one.
    """

    config_file: Path | None = None
    identities: tuple[Path, ...] = ()
    ask: Ask | None = None
    accept_new_host_key: bool = False


class Ssh:
    """Runs the collector on a host that is reached over SSH, through jump hosts if need be.

    Raises:
        ValueError: `target` is not `[user@]host[:port]`; the message is a sentence.
    """

    def __init__(
        self,
        target: str,
        limits: Limits,
        options: SshOptions = SshOptions(),  # noqa: B008 - it is frozen
        sudo: Sudo | None = None,
    ) -> None:
        self.target = target
        self._host = parse_target(target)
        self._limits = limits
        self._options = options
        self._sudo = sudo

    def run(self, script: bytes) -> Recording:
        """Feed `script` to a POSIX shell on the host and record its standard output.

        Raises:
            HostUnreachable: the script was never handed over.
        """
        return _Run(self.target, self._host, self._limits, self._options, self._sudo).record(script)


class _Run:
    """One attempt at one host: what must be closed again, and how much time is left."""

    def __init__(
        self, name: str, host: Target, limits: Limits, options: SshOptions, sudo: Sudo | None
    ) -> None:
        self._name = name
        self._host = host
        self._limits = limits
        self._options = options
        self._clock = Clock()
        self._deadline = self._clock.now() + limits.total
        self._ask = self._clock.idle(options.ask) if options.ask else None
        self._sudo = Sudo(self._clock.idle(sudo.ask)) if sudo and sudo.ask else sudo
        self._connections: list[Connection] = []
        self._open = contextlib.ExitStack()

    def record(self, script: bytes) -> Recording:
        with self._open:
            self._open.enter_context(
                _closing_at(self._clock, self._deadline + _GRACE, self._close_all)
            )
            connection, address = self._reach()
            opening = Opening(self._name, self._sudo)
            channel = self._start(connection, opening.command)
            session = _Session(channel)
            self._open.callback(session.close)
            stream, interrupted = converse(
                session, opening, script, self._limits, self._clock, self._deadline
            )
        return Recording(stream, address, opening.via, interrupted)

    def _close_all(self) -> None:
        for connection in reversed(self._connections):
            connection.close()

    def _by(self, seconds: float) -> float:
        """The time by which something must be done that may take so many seconds."""
        return min(self._deadline, self._clock.now() + seconds)

    def _left(self, by: float) -> float:
        return max(0.01, by - self._clock.now())

    def _reach(self) -> tuple[Connection, str]:
        """Connect to the host, hop by hop; returns its address as well."""
        keyring = self._open.enter_context(Keyring(self._ask))
        *jumps, (_, last) = self._route(self._host, 0)
        hops = [*((f"jump host {name}", config) for name, config in jumps), (self._name, last)]
        address = ""
        for name, config in hops:
            by = self._by(self._limits.connect)
            if self._connections:
                line = self._forward(name, config, by)
                address = config.host
            else:
                line = dial.connect(name, config.host, config.port, self._left(by))
                address = str(line.getpeername()[0])
            self._open.callback(line.close)
            dial.expect_ssh(line, name, self._left(by))
            by = self._by(self._limits.authenticate)
            connection = self._secure(line, name, config, by)
            log_in(connection, name, config, keyring, self._ask, self._clock, by)
        return self._connections[-1], address

    def _route(self, target: Target, depth: int) -> list[tuple[str, HostConfig]]:
        """The hosts to go through, and the target last; the first jump may have its own."""
        if depth > _MAX_JUMPS:
            raise HostUnreachable(
                "jump-failed",
                f"{self._name}: the ssh configuration goes through more than {_MAX_JUMPS} jump"
                " hosts, perhaps in a circle",
                f"see: ssh -G {target.host}",
            )
        config = self._resolve(target)
        hops: list[tuple[str, HostConfig]] = []
        for index, jump in enumerate(config.jumps):
            if index == 0:
                hops += self._route(jump, depth + 1)
            else:
                hops.append((str(jump), self._resolve(jump)))
        return [*hops, (str(target), config)]

    def _resolve(self, target: Target) -> HostConfig:
        return resolve(target, self._options.config_file, self._options.identities)

    def _forward(self, name: str, config: HostConfig, by: float) -> socket.socket:
        """A connection to the next host through the last one."""
        last = self._connections[-1]
        try:
            channel = last.open_channel(
                "direct-tcpip",
                (config.host, config.port),
                ("127.0.0.1", 0),
                timeout=self._left(by),
            )
        except paramiko.ChannelException as error:
            prohibited = error.code == 1
            raise HostUnreachable(
                "jump-failed",
                f"{name}: the {self._last_name} "
                + ("does not forward connections" if prohibited else "cannot reach it")
                + f" ({config.host} port {config.port}): {error.text}",
                f"allow it in its sshd_config: PermitOpen {config.host}:{config.port} and"
                " AllowTcpForwarding yes"
                if prohibited
                else "check the address as seen from there",
            ) from error
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise HostUnreachable(
                "jump-failed",
                f"{name}: the {self._last_name} did not connect to {config.host} port"
                f" {config.port} in time",
                "check the address as seen from there, and firewalls on the way",
            ) from error
        return pump(channel)

    def _secure(self, line: socket.socket, name: str, config: HostConfig, by: float) -> Connection:
        """Agree on keys with the host and make sure that it is the host."""
        verifier = Verifier(name, config, direct=not self._connections)
        connection = Connection(line)
        self._connections.append(connection)
        # Or its timer, which a failed handshake leaves running, would keep this process alive.
        self._open.callback(connection.packetizer.complete_handshake)
        self._open.callback(connection.close)
        self._last_name = name
        options = connection.get_security_options()
        options.ciphers = (*_FAST_CIPHERS, *(c for c in options.ciphers if c not in _FAST_CIPHERS))
        options.key_types = verifier.algorithms(tuple(options.key_types))
        # Later than the timeout of start_client, which is the one that can be told apart.
        connection.banner_timeout = connection.handshake_timeout = 2 * self._left(by)
        try:
            connection.start_client(timeout=self._left(by))
        except IncompatiblePeer as error:
            raise verifier.no_common_algorithm(error) from error
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise HostUnreachable(
                "handshake-failed",
                f"{name}: the SSH handshake broke off: {str(error) or 'connection closed'}",
                "see the log of its sshd",
            ) from error
        if not connection.initial_kex_done:
            raise HostUnreachable(
                "timeout-handshake",
                f"{name}: began the SSH handshake but did not end it in time",
                "the host may be hung or overloaded",
            )
        verifier.verify(
            connection.get_remote_server_key(), accept_new=self._options.accept_new_host_key
        )
        return connection

    def _start(self, connection: Connection, command: str) -> paramiko.Channel:
        """Have the host run the command on a channel of its own."""
        by = self._by(self._limits.first_byte)
        # The reply to exec has no time limit in paramiko.
        with _closing_at(self._clock, by, connection.close):
            try:
                channel = connection.open_session(timeout=self._left(by))
                channel.exec_command(command)
            except (paramiko.SSHException, OSError, EOFError) as error:
                if self._clock.now() >= by:
                    raise Opening(self._name, None).silence(self._limits.first_byte) from error
                raise HostUnreachable(
                    "shell-refused",
                    f"{self._name}: logged in, but the host runs no command for this user:"
                    f" {getattr(error, 'text', error)}",
                    "log in with a user who may run commands",
                ) from error
        return channel


class _Session:
    """The channel's three streams."""

    def __init__(self, channel: paramiko.Channel) -> None:
        self._channel = channel
        # Not the channel's fileno(): when both streams come at once, it may forget to wake us.
        self._something = threading.Event()
        channel.in_buffer.set_event(self._something)
        channel.in_stderr_buffer.set_event(self._something)

    def close(self) -> None:
        with contextlib.suppress(paramiko.SSHException, OSError, EOFError):
            self._channel.close()

    def receive(self, seconds: float) -> tuple[bytes, bytes] | None:
        channel = self._channel
        if not (channel.recv_ready() or channel.recv_stderr_ready() or channel.closed):
            self._something.wait(seconds)
        ended = channel.closed or channel.eof_received
        if ended:
            channel.status_event.wait(min(seconds, _LINGER))
        try:
            stdout = channel.recv(1 << 16) if channel.recv_ready() else b""
            stderr = channel.recv_stderr(1 << 16) if channel.recv_stderr_ready() else b""
        except (paramiko.SSHException, OSError, EOFError):
            return None
        return None if ended and not stdout and not stderr else (stdout, stderr)

    def send(self, data: bytes, seconds: float) -> int:
        self._channel.settimeout(seconds)
        try:
            sent = self._channel.send(data)
        except TimeoutError:
            return 0
        except (paramiko.SSHException, EOFError) as error:
            raise BrokenPipeError from error
        if not sent:
            raise BrokenPipeError
        return sent

    def end_input(self) -> None:
        with contextlib.suppress(paramiko.SSHException, OSError, EOFError):
            self._channel.shutdown_write()

    def interruption(self) -> str:
        status = self._channel.exit_status
        if status == -1:
            return "the connection ended before the collector did"
        return f"the collector's shell ended with status {status}" if status else ""


@contextlib.contextmanager
def _closing_at(clock: Clock, by: float, close: Callable[[], object]) -> Generator[None]:
    """Call `close` when the time has come, which frees whatever waits without a limit."""
    done = threading.Event()

    def watch() -> None:
        while not done.wait(max(0.05, by - clock.now())):
            if clock.now() >= by:
                close()
                return

    threading.Thread(target=watch, name="deadline", daemon=True).start()
    try:
        yield
    finally:
        done.set()
