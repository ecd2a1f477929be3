"""Whether the host is the one it claims to be: its key against known_hosts."""

from collections.abc import Sequence

import paramiko

from audit_agent.transport import HostUnreachable
from audit_agent.transport.known_hosts import Known, KnownHosts, append, fingerprint, host_pattern
from audit_agent.transport.ssh_config import HostConfig

_RSA = ("rsa-sha2-512", "rsa-sha2-256", "ssh-rsa")


def key_types(offered: Sequence[str], known: KnownHosts, config: HostConfig) -> tuple[str, ...]:
    """`offered` with the types first that known_hosts holds of this host, as ssh asks for them."""
    types = {entry.type for entry in _find(known, config).keys}
    if "ssh-rsa" in types:
        types.update(_RSA)
    return tuple(sorted(offered, key=lambda kind: kind not in types))


def _find(known: KnownHosts, config: HostConfig) -> Known:
    """What is known under the name that ssh looks up: the alias stands without a port."""
    return known.find(*_name(config))


def _name(config: HostConfig) -> tuple[str, int]:
    return (config.key_alias, 22) if config.key_alias else (config.host, config.port)


def verify(
    connection: paramiko.Transport,
    known_hosts: KnownHosts,
    config: HostConfig,
    name: str,
    *,
    accept_new: bool,
) -> None:
    """Accept the host key that the handshake proved, or refuse the host.

    With `accept_new`, a host of which nothing is known is written to the user's first known_hosts
    file. A changed or revoked key is never accepted.

    Raises:
        HostUnreachable: host-key-unknown, host-key-changed or host-key-revoked.
    """
    key = connection.get_remote_server_key()
    kind, blob = key.get_name(), key.asbytes()
    known = _find(known_hosts, config)
    shown = f"{kind} key {fingerprint(blob)}"
    revoked = known.revoked(blob)
    if revoked is not None:
        raise HostUnreachable(
            "host-key-revoked",
            f"{name}: its {shown} is marked @revoked in {revoked.source}",
            "do not connect; find out why the key was revoked",
        )
    if known.trusts(blob):
        return
    if known.keys:
        raise _changed(name, shown, known, config)
    if accept_new:
        _remember(name, kind, blob, config)
        return
    raise _unknown(name, shown, known, config)


def _changed(name: str, shown: str, known: Known, config: HostConfig) -> HostUnreachable:
    places = ", ".join(f"{entry.source} ({fingerprint(entry.blob)})" for entry in known.keys)
    files = dict.fromkeys(entry.source.rpartition(":")[0] for entry in known.keys)
    remove = "; ".join(
        f"ssh-keygen -f {file} -R '{host_pattern(*_name(config))}'" for file in files
    )
    return HostUnreachable(
        "host-key-changed",
        f"{name}: shows the {shown}, which is not the one known from {places}:"
        " the host was reinstalled, or somebody is in between",
        f"compare the fingerprint on the host's console; if it is right: {remove}",
    )


def _unknown(name: str, shown: str, known: Known, config: HostConfig) -> HostUnreachable:
    file = config.user_known_hosts[0] if config.user_known_hosts else "~/.ssh/known_hosts"
    port = f"-p {config.port} " if config.port != 22 else ""
    certified = (
        " (an @cert-authority line names it, but host certificates are not supported yet)"
        if known.authorities
        else ""
    )
    return HostUnreachable(
        "host-key-unknown",
        f"{name}: its {shown} is not known{certified}",
        f"compare the fingerprint on the host's console; if it is right:"
        f" ssh-keyscan {port}{config.host} >> {file}, or repeat with --accept-new-host-key",
    )


def _remember(name: str, kind: str, blob: bytes, config: HostConfig) -> None:
    if not config.user_known_hosts:
        return
    path = config.user_known_hosts[0]
    host, port = _name(config)
    try:
        append(path, host, port, kind, blob, hashed=config.hash_known_hosts)
    except OSError as error:
        raise HostUnreachable(
            "host-key-unknown",
            f"{name}: its new key cannot be written to {path}: {error.strerror}",
            "make the file writable, or name another one with UserKnownHostsFile",
        ) from error
