"""Logging in over an SSH connection: the ways and the keys that OpenSSH tries, in its order."""

import base64
import binascii
import contextlib
import io
import queue
import re
import socket
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Self

import paramiko
from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from msgspec import Struct
from paramiko.agent import AgentSSH

from audit_agent.transport import Ask, HostUnreachable
from audit_agent.transport.conversation import Clock
from audit_agent.transport.ssh_config import HostConfig

_LIST_SECONDS = 5.0
_SIGN_SECONDS = 60.0
"""How long an agent may take to list its keys, and to sign: someone may have to confirm it."""
_PASSPHRASES = 3
_ROUNDS = 10
"""How often a host may come back with further questions."""
_MAGIC = b"openssh-key-v1\0"
_UNREADABLE = (ValueError, TypeError, InvalidTag, UnsupportedAlgorithm, paramiko.SSHException)

Offer = tuple[str, paramiko.PKey]
"""A key with the words that name it to the user."""


class Connection(paramiko.Transport):
    """An SSH connection that remembers with which words the host ended it."""

    farewell = ""

    def _parse_disconnect(self, m: paramiko.Message) -> None:
        m.get_int()
        self.farewell = m.get_text()


class Keyring:
    """The user's keys. A file is opened, and its passphrase asked for, only once."""

    def __init__(self, ask: Ask | None) -> None:
        self._ask = ask
        self._opened: dict[Path, paramiko.PKey | None] = {}
        self._agents: dict[str, _Agent] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for agent in self._agents.values():
            agent.close()

    def offers(self, config: HostConfig) -> Iterator[Offer]:
        """The keys for a host: the agent's that the configuration names, the agent's others.

        Then the files: first those that need no passphrase. A key that has a certificate comes
        with it, and then without.
        """
        files = [found for path in config.identity_files if (found := _identify(path))]
        held = {key.blob: key for key in self._agent_keys(config.agent)}
        offered: set[Path] = set()
        for file in files:
            if file.blob in held:
                offered.add(file.path)
                yield from _certified(f"{file.path} (agent)", held.pop(file.blob), file.path)
        if not config.identities_only:
            yield from ((f"{key.comment or key.get_name()} (agent)", key) for key in held.values())
        rest = [file for file in files if file.private and file.path not in offered]
        for file in sorted(rest, key=lambda file: file.encrypted):
            key = self._open(file)
            if key is not None:
                yield from _certified(str(file.path), key, file.path)

    def _agent_keys(self, path: str) -> "tuple[paramiko.AgentKey, ...]":
        if path and path not in self._agents:
            self._agents[path] = _Agent(path)
        return self._agents[path].get_keys() if path else ()

    def _open(self, file: "_KeyFile") -> paramiko.PKey | None:
        if file.path not in self._opened:
            self._opened[file.path] = self._decrypt(file)
        return self._opened[file.path]

    def _decrypt(self, file: "_KeyFile") -> paramiko.PKey | None:
        if not file.encrypted:
            with contextlib.suppress(*_UNREADABLE):
                return _private_key(file.data, None)
            return None
        for _ in range(_PASSPHRASES):
            passphrase = self._ask(f"Passphrase for {file.path}: ") if self._ask else ""
            if not passphrase:
                break
            with contextlib.suppress(*_UNREADABLE):
                return _private_key(file.data, passphrase.encode())
        return None


class _Agent(AgentSSH):
    """The agent behind a socket; one that does not answer has no keys."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(_LIST_SECONDS)
        with contextlib.suppress(OSError, paramiko.SSHException):
            self._socket.connect(path)
            # paramiko.Agent does the same, but knows no other socket than SSH_AUTH_SOCK.
            self._connect(self._socket)  # type: ignore[attr-defined]
        for key in self.get_keys():
            if "-cert-" in key.get_name():
                # Or an RSA certificate would be offered without its certificate.
                key.load_certificate(paramiko.Message(key.blob))
        self._socket.settimeout(_SIGN_SECONDS)

    def close(self) -> None:
        self._socket.close()


class _KeyFile(Struct, frozen=True):
    """A key file on this machine; `private` is False where it holds only the public half."""

    path: Path
    data: bytes
    blob: bytes | None
    private: bool
    encrypted: bool


def _identify(path: Path) -> _KeyFile | None:
    """What can be said of a key file without its passphrase; None if it cannot be read."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    if b"PRIVATE KEY" not in data:
        return _KeyFile(path, data, _public_blob(data), private=False, encrypted=False)
    encrypted, blob = b"ENCRYPTED" in data, None
    if b"OPENSSH PRIVATE KEY" in data:
        encrypted, blob = _openssh_header(data)
    if blob is None:
        with contextlib.suppress(OSError):
            blob = _public_blob(Path(f"{path}.pub").read_bytes())
    return _KeyFile(path, data, blob, private=True, encrypted=encrypted)


def _public_blob(data: bytes) -> bytes | None:
    words = data.split(None, 2)
    try:
        return base64.b64decode(words[1], validate=True)
    except (IndexError, binascii.Error):
        return None


def _openssh_header(data: bytes) -> tuple[bool, bytes | None]:
    """Whether it is encrypted, and its public half (PROTOCOL.key of OpenSSH)."""
    text = re.sub(rb"-----[^-]*-----|\s", b"", data)
    try:
        message = paramiko.Message(base64.b64decode(text))
    except binascii.Error:
        return False, None
    if message.get_bytes(len(_MAGIC)) != _MAGIC:
        return False, None
    cipher, _, _ = (message.get_binary() for _ in range(3))
    message.get_int()
    return cipher != b"none", message.get_binary()


def _private_key(data: bytes, passphrase: bytes | None) -> paramiko.PKey:
    """Open a private key of any format that ssh-keygen writes.

    paramiko's own loaders know neither PKCS#8 nor keys encrypted with AES-GCM.
    """
    ours = b"OPENSSH PRIVATE KEY" in data
    load = serialization.load_ssh_private_key if ours else serialization.load_pem_private_key
    key = load(data, passphrase)
    if isinstance(key, rsa.RSAPrivateKey):
        return paramiko.RSAKey(key=key)
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return paramiko.ECDSAKey(vals=(key, key.public_key()))
    if isinstance(key, ed25519.Ed25519PrivateKey):
        plain = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.OpenSSH,
            serialization.NoEncryption(),
        )
        return paramiko.Ed25519Key.from_private_key(io.StringIO(plain.decode()))
    raise ValueError(f"keys of type {type(key).__name__} are not supported")


def _certified(label: str, key: paramiko.PKey, path: Path) -> Iterator[Offer]:
    certificate = Path(f"{path}-cert.pub")
    try:
        key.load_certificate(str(certificate) if certificate.is_file() else "")
    except (ValueError, OSError, binascii.Error):
        key.public_blob = None
    else:
        yield f"{label} with {certificate}", key
        key.public_blob = None
    yield label, key


def log_in(
    connection: Connection,
    name: str,
    config: HostConfig,
    keyring: Keyring,
    ask: Ask | None,
    clock: Clock,
    deadline: float,
) -> None:
    """Log in over a connection whose host key has been verified.

    A password is tried once, never again: what is wrong twice may lock the account.

    Raises:
        HostUnreachable: auth-refused, timeout-auth or connection-closed.
    """
    _Login(connection, name, config, keyring, ask, clock, deadline).run()


class _Login:
    """The state of one login: which ways the host still accepts, and what was tried."""

    def __init__(
        self,
        connection: Connection,
        name: str,
        config: HostConfig,
        keyring: Keyring,
        ask: Ask | None,
        clock: Clock,
        deadline: float,
    ) -> None:
        self._connection = connection
        self._name = name
        self._config = config
        self._keyring = keyring
        self._ask = ask
        self._clock = clock
        self._deadline = deadline
        self._accepted: set[str] | None = None
        self._tried: list[str] = []
        self._offered: set[tuple[str, int]] = set()
        self._answered = False
        self._password_spent = False
        self._steps = 0

    def run(self) -> None:
        """Try one way after the other; a host may want several (AuthenticationMethods)."""
        steps = -1
        while steps < self._steps:
            steps = self._steps
            if self._with_keys() or self._with_answers() or self._with_password():
                return
        self._may("password")  # for the sake of the message: what would the host accept?
        raise self._refused()

    def _may(self, method: str) -> bool:
        """Whether both sides allow it; without a key to try, the host must first be asked."""
        if self._accepted is None and method != "publickey":
            self._try("", partial(self._connection.auth_none, self._config.user))
        return method in self._config.methods and (
            self._accepted is None or method in self._accepted
        )

    def _try(self, label: str, attempt: Callable[[], list[str]]) -> bool:
        """One attempt: whether we are logged in now."""
        left = self._deadline - self._clock.now()
        if left <= 0:
            raise self._late()
        self._connection.auth_timeout = left
        self._tried += [label] * bool(label)
        try:
            further = attempt()
        except paramiko.BadAuthenticationType as error:
            self._accepted = set(error.allowed_types)
            return False
        except (paramiko.SSHException, OSError, EOFError) as error:
            if self._clock.now() >= self._deadline:
                raise self._late() from error
            if not self._connection.is_active():
                raise self._ended() from error
            return False
        if further:
            self._accepted = set(further)
            self._steps += 1
        return not further

    def _with_keys(self) -> bool:
        if not self._may("publickey"):
            return False
        for label, key in self._keyring.offers(self._config):
            offer = (label, id(key))  # the agent may call two keys the same
            if offer in self._offered:
                continue
            self._offered.add(offer)
            if self._try(label, partial(self._connection.auth_publickey, self._config.user, key)):
                return True
            if not self._may("publickey"):
                break
        return False

    def _with_password(self) -> bool:
        if self._ask is None or self._password_spent or not self._may("password"):
            return False
        self._password_spent = True
        password = self._ask(f"{self._config.user}@{self._name}'s password: ")
        return bool(password) and self._try(
            "password",
            partial(self._connection.auth_password, self._config.user, password, fallback=False),
        )

    def _with_answers(self) -> bool:
        method = "keyboard-interactive"
        if self._ask is None or method in self._tried or not self._may(method):
            return False
        steps = self._steps
        if self._try(method, self._converse):
            return True
        # Mostly the answer was the password: asking for that again would be a second attempt.
        self._password_spent |= self._answered and steps == self._steps
        return False

    def _converse(self) -> list[str]:
        """Have the host's questions answered in this thread; paramiko asks them in its own."""
        questions: queue.Queue[list[str]] = queue.Queue()
        answers: queue.Queue[list[str]] = queue.Queue()
        results: queue.Queue[list[str] | Exception] = queue.Queue()

        def handler(title: str, instructions: str, prompts: list[tuple[str, bool]]) -> list[str]:
            intro = " ".join(filter(None, (title.strip(), instructions.strip())))
            questions.put([f"{intro} {prompt}".strip() for prompt, _ in prompts])
            return answers.get()

        def attempt() -> None:
            try:
                results.put(self._connection.auth_interactive(self._config.user, handler))
            except (paramiko.SSHException, OSError, EOFError) as error:
                results.put(error)

        self._connection.auth_timeout = 3600.0  # ours counts, which knows when a person is asked
        threading.Thread(target=attempt, daemon=True).start()
        try:
            for _ in range(_ROUNDS):
                asked = self._next_question(questions, results)
                if asked is None:
                    break
                self._answered |= bool(asked)
                answers.put([self._answer(prompt) for prompt in asked])
        finally:
            answers.put([])
        result = self._result(results)
        if isinstance(result, Exception):
            raise result
        return result

    def _next_question(
        self, questions: "queue.Queue[list[str]]", results: "queue.Queue[list[str] | Exception]"
    ) -> list[str] | None:
        while results.empty() and self._clock.now() < self._deadline:
            with contextlib.suppress(queue.Empty):
                return questions.get(timeout=0.05)
        return None

    def _result(self, results: "queue.Queue[list[str] | Exception]") -> list[str] | Exception:
        try:
            return results.get(timeout=max(0.0, self._deadline - self._clock.now()))
        except queue.Empty:
            return paramiko.AuthenticationException("no answer in time")

    def _answer(self, prompt: str) -> str:
        shown = "".join(c if c.isprintable() else "?" for c in prompt)[:200]
        return self._ask(f"({self._config.user}@{self._name}) {shown} ") if self._ask else ""

    def _late(self) -> HostUnreachable:
        return HostUnreachable(
            "timeout-auth",
            f"{self._name}: the login as {self._config.user} did not end in time",
            "the host may be overloaded, or its login may wait for a directory service",
        )

    def _ended(self) -> HostUnreachable:
        said = "".join(c if c.isprintable() else "?" for c in self._connection.farewell)[:120]
        if "too many authentication failures" in said.lower():
            return HostUnreachable(
                "auth-refused",
                f"{self._name}: refused {self._config.user} after {len(self._tried)} keys",
                "name the right one with IdentityFile and set IdentitiesOnly yes",
            )
        return HostUnreachable(
            "connection-closed",
            f"{self._name}: closed the connection while {self._config.user} logged in"
            + f" (it says: {said})" * bool(said),
            "see the log of its sshd",
        )

    def _refused(self) -> HostUnreachable:
        user, tried = self._config.user, ", ".join(self._tried) or "nothing, for want of a key"
        accepted = ", ".join(sorted(self._accepted or ()))
        advice = f"let a key in: ssh-copy-id -p {self._config.port} {user}@{self._config.host}"
        if self._ask is None and (self._accepted or set()) & {"password", "keyboard-interactive"}:
            advice = "run this on a terminal, so that the password can be asked for"
        return HostUnreachable(
            "auth-refused",
            f"{self._name}: the login as {user} was refused; tried {tried}"
            + f"; it accepts {accepted}" * bool(accepted),
            f"{advice}; or name User and IdentityFile in the ssh configuration",
        )
