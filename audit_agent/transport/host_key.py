"""Whether the key that a host shows is the one that the user's known_hosts files trust."""

import shlex
from pathlib import Path

import paramiko
from paramiko.ssh_exception import IncompatiblePeer

from audit_agent.transport import HostUnreachable
from audit_agent.transport.known_hosts import Entry, KnownHosts, append, fingerprint
from audit_agent.transport.known_hosts import host_pattern as pattern_of
from audit_agent.transport.ssh_config import HostConfig

_SIGNATURES = {"ssh-rsa": ("rsa-sha2-512", "rsa-sha2-256")}


class Verifier:
    """What is known of one host, and the verdict on the key that it shows.

    `direct` says whether the host can be reached without a jump host, as ssh-keyscan must.
    """

    def __init__(self, name: str, config: HostConfig, *, direct: bool) -> None:
        self._name = name
        self._config = config
        self._direct = direct
        files = KnownHosts.read([*config.user_known_hosts, *config.global_known_hosts])
        self._host, self._port = config.host, config.port
        if config.key_alias:
            self._host, self._port = config.key_alias, 22
        self._known = files.find(self._host, self._port)
        # As ssh does: a key known for the host is also good on another port of it.
        self._elsewhere = files.find(self._host, 22)

    def algorithms(self, supported: tuple[str, ...]) -> tuple[str, ...]:
        """The signature algorithms to allow, so that the host must show a key that is recorded."""
        wanted = {
            algorithm
            for key in self._known.keys
            for algorithm in _SIGNATURES.get(key.type, (key.type,))
        }
        return tuple(algorithm for algorithm in supported if algorithm in wanted) or supported

    def no_common_algorithm(self, error: IncompatiblePeer) -> HostUnreachable:
        """Why host and controller cannot agree: the host may no longer have the recorded key."""
        if self._known.keys and "host key" in str(error):
            return self._changed("it no longer offers a key of the recorded kind")
        what = str(error).partition("(")[2].rstrip(")") or "nothing in common"
        return HostUnreachable(
            "algorithm-mismatch",
            f"{self._name}: offers only outdated SSH algorithms: {what}",
            "collect by hand instead: audit-agent collect --script",
        )

    def verify(self, key: paramiko.PKey, *, accept_new: bool) -> None:
        """Accept the key, or not; a new one is recorded where `accept_new` says so.

        Raises:
            HostUnreachable: host-key-unknown, host-key-changed or host-key-revoked.
        """
        blob = key.asbytes()
        revoked = self._known.revoked(blob)
        if revoked is not None:
            raise HostUnreachable(
                "host-key-revoked",
                f"{self._name}: its host key {fingerprint(blob)} is marked as revoked"
                f" ({revoked.source})",
                "whoever holds that key may have stolen it: give the host a new one",
            )
        if self._known.trusts(blob):
            return
        if self._known.keys:
            raise self._changed(f"it is now {_described(key)}", key)
        if self._elsewhere.trusts(blob):
            return
        path = self._file()
        if not accept_new or path is None:
            raise self._unknown(key)
        self._record(key, path)

    def _record(self, key: paramiko.PKey, path: Path) -> None:
        try:
            append(
                path,
                self._host,
                self._port,
                key.get_name(),
                key.asbytes(),
                hashed=self._config.hash_known_hosts,
            )
        except OSError as error:
            raise HostUnreachable(
                "host-key-unknown",
                f"{self._name}: its new host key cannot be recorded: {error}",
                "make the first UserKnownHostsFile of the ssh configuration writable",
            ) from error

    def _file(self) -> Path | None:
        return next(iter(self._config.user_known_hosts), None)

    def _unknown(self, key: paramiko.PKey) -> HostUnreachable:
        authority = " (a certificate authority is trusted for it, which is not supported)"
        return HostUnreachable(
            "host-key-unknown",
            f"{self._name}: its host key is not known: {_described(key)}"
            + authority * bool(self._known.authorities),
            f"compare it with what the host itself says: {_on_the_host(key)}; if it is the same, "
            + self._how_to_accept(key),
        )

    def _changed(self, how: str, key: paramiko.PKey | None = None) -> HostUnreachable:
        old = ", ".join(f"{_short(entry)} ({entry.source})" for entry in self._known.keys[:3])
        name = shlex.quote(pattern_of(self._host, self._port))
        files = dict.fromkeys(entry.source.rpartition(":")[0] for entry in self._known.keys)
        remove = "; ".join(f"ssh-keygen -f {shlex.quote(file)} -R {name}" for file in files)
        compare = f" and matches {_on_the_host(key)} there" if key else ""
        return HostUnreachable(
            "host-key-changed",
            f"{self._name}: its host key is not the recorded one: {how}, recorded is {old}",
            f"someone may be in between; if the host has really got a new key{compare}: {remove};"
            f" then {self._how_to_accept(key)}",
        )

    def _how_to_accept(self, key: paramiko.PKey | None) -> str:
        path = self._file()
        if path is None:
            return "name a UserKnownHostsFile in the ssh configuration to record it in"
        if not self._direct or self._config.key_alias:
            return "use --accept-new-host-key"
        kind = f"-t {_kind(key)} " if key else ""
        hashed = "-H " * self._config.hash_known_hosts
        scan = f"ssh-keyscan {hashed}{kind}-p {self._port} {shlex.quote(self._host)}"
        return f"run: {scan} >> {shlex.quote(str(path))} (or use --accept-new-host-key)"


def _described(key: paramiko.PKey) -> str:
    return f"{key.algorithm_name} {fingerprint(key.asbytes())}"


def _short(entry: Entry) -> str:
    return f"{entry.type} {fingerprint(entry.blob)}"


def _kind(key: paramiko.PKey) -> str:
    """The word that ssh-keyscan and the names of key files have for this kind of key."""
    return key.algorithm_name.lower()


def _on_the_host(key: paramiko.PKey) -> str:
    return f"ssh-keygen -lf /etc/ssh/ssh_host_{_kind(key)}_key.pub"
