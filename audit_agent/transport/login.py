"""Logging in, in OpenSSH's order: keys of agent and files, then questions, then a password."""

import base64
import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import paramiko

from audit_agent.transport import Ask, HostUnreachable
from audit_agent.transport.ssh_config import HostConfig

_THINKING = 600.0
"""Seconds that paramiko gives a person who is asked for a password."""


def log_in(
    connection: paramiko.Transport,
    config: HostConfig,
    name: str,
    *,
    identities: Sequence[Path],
    ask: Ask | None,
    seconds: float,
) -> None:
    """Authenticate as `config.user`. A password is tried once: a second try may lock an account.

    Raises:
        HostUnreachable: auth-refused, timeout-auth or connection-closed.
    """
    attempt = _Attempt(connection, config, name, ask)
    try:
        attempt.go(identities)
    except paramiko.AuthenticationException as error:
        if "timeout" in str(error).lower():
            raise HostUnreachable(
                "timeout-auth", f"{name}: no answer to the login within {seconds:g} s"
            ) from error
        raise attempt.refused() from error
    except (paramiko.SSHException, OSError, EOFError) as error:
        raise HostUnreachable(
            "connection-closed",
            f"{name}: closed the connection during login ({str(error) or type(error).__name__})",
            "too many keys may have been offered: name one with -i, or see the log of its sshd",
        ) from error


class _Attempt:
    """One login. `_allowed` are the methods that the host still takes."""

    def __init__(
        self, connection: paramiko.Transport, config: HostConfig, name: str, ask: Ask | None
    ) -> None:
        self._connection = connection
        self._config = config
        self._name = name
        self._ask = ask
        self._allowed: list[str] = []
        self._tried: list[str] = []
        self._asked = False

    def go(self, identities: Sequence[Path]) -> None:
        try:
            self._connection.auth_none(self._config.user)
        except paramiko.BadAuthenticationType as error:
            self._allowed = error.allowed_types
        else:
            return
        if "publickey" in self._allowed:
            for key, origin in self._keys(identities):
                self._tried.append(origin)
                if self._step(partial(self._public_key, key)):
                    return
                if "publickey" not in self._allowed:
                    break
        if self._ask is not None and self._interactive(self._ask):
            return
        raise paramiko.AuthenticationException("no method was accepted")

    def _interactive(self, ask: Ask) -> bool:
        self._connection.auth_timeout = _THINKING
        if "keyboard-interactive" in self._allowed and self._step(partial(self._questions, ask)):
            return True
        # Most hosts ask for the same password either way: do not send a wrong one twice.
        return (
            "password" in self._allowed
            and not self._asked
            and self._step(partial(self._password, ask))
        )

    def _step(self, method: Callable[[], list[str]]) -> bool:
        """Whether the login is complete; a method that was half of it narrows what is left."""
        try:
            left = method()
        except paramiko.BadAuthenticationType as error:
            self._allowed = error.allowed_types
            return False
        except paramiko.AuthenticationException as error:
            if "timeout" in str(error).lower() or not self._connection.is_active():
                raise
            return False
        if not left:
            return True
        self._allowed = left
        return False

    def _public_key(self, key: paramiko.PKey) -> list[str]:
        return self._connection.auth_publickey(self._config.user, key)

    def _questions(self, ask: Ask) -> list[str]:
        def answers(_title: str, _instructions: str, prompts: list[tuple[str, bool]]) -> list[str]:
            self._asked = self._asked or bool(prompts)
            return [ask(f"{self._name}: {_printable(prompt)}") for prompt, _echo in prompts]

        return self._connection.auth_interactive(self._config.user, answers)

    def _password(self, ask: Ask) -> list[str]:
        self._asked = True
        password = ask(f"{self._config.user}@{self._config.host}'s password: ")
        return self._connection.auth_password(self._config.user, password, fallback=False)

    def _keys(self, identities: Sequence[Path]) -> Iterator[tuple[paramiko.PKey, str]]:
        """Named files first, then the agent's keys, then the configured files; each key once."""
        seen: set[bytes] = set()
        agent = self._agent_keys()
        wanted = {_public_blob(path) for path in (*identities, *self._config.identity_files)}
        for path in identities:
            held = next((key for key in agent if key.asbytes() == _public_blob(path)), None)
            key = held or self._load(path)
            if key is not None and key.asbytes() not in seen:
                seen.add(key.asbytes())
                yield key, str(path)
        for key in agent:
            if key.asbytes() in seen:
                continue
            if not self._config.identities_only or key.asbytes() in wanted:
                seen.add(key.asbytes())
                yield key, "a key of the agent"
        for path in self._config.identity_files:
            if _public_blob(path) in seen:
                continue
            key = self._load(path)
            if key is not None and key.asbytes() not in seen:
                seen.add(key.asbytes())
                yield key, str(path)

    def _agent_keys(self) -> list[paramiko.PKey]:
        if not self._config.agent:
            return []
        os.environ["SSH_AUTH_SOCK"] = self._config.agent
        try:
            return list(paramiko.Agent().get_keys())
        except (paramiko.SSHException, OSError):
            return []

    def _load(self, path: Path) -> paramiko.PKey | None:
        """The private key, asking for its passphrase; None where there is none to be had."""
        if not path.is_file():
            return None
        try:
            return paramiko.PKey.from_path(path)
        except (paramiko.PasswordRequiredException, TypeError, ValueError) as error:
            encrypted = "password" in str(error).lower() or "encrypted" in str(error).lower()
            if not encrypted or self._ask is None:
                self._tried.append(f"{path} (cannot be used: {_printable(str(error))[:80]})")
                return None
        except Exception as error:  # noqa: BLE001 - its readers raise many kinds
            self._tried.append(f"{path} (cannot be read: {_printable(str(error))[:80]})")
            return None
        passphrase = self._ask(f"passphrase for {path}: ")
        try:
            return paramiko.PKey.from_path(path, passphrase)
        except Exception:  # noqa: BLE001 - a wrong passphrase has no exception of its own
            self._tried.append(f"{path} (the passphrase does not open it)")
            return None

    def refused(self) -> HostUnreachable:
        tried = f"; tried: {', '.join(self._tried)}" if self._tried else "; there was no key to try"
        return HostUnreachable(
            "auth-refused",
            f"{self._name}: refuses the login of {self._config.user}{tried}",
            f"the host takes {', '.join(self._allowed) or 'nothing'}:"
            " name a key with -i, a user with USER@, or load the key into an agent",
        )


def _public_blob(path: Path) -> bytes:
    """The public half beside a private key file, or b""."""
    with contextlib.suppress(OSError, ValueError, paramiko.SSHException, IndexError):
        kind, data = Path(f"{path}.pub").read_text().split()[:2]
        return paramiko.PKey.from_type_string(kind, base64.b64decode(data)).asbytes()
    return b""


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)
