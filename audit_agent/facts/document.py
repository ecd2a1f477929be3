"""The facts of one host as JSON, schema audit-agent/facts/1: a public, versioned contract."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from audit_agent.facts import Host
from audit_agent.model import EvidenceMissing

SCHEMA = "audit-agent/facts/1"


def document(host: Host) -> bytes:
    """Every group of facts; one whose evidence is missing is null and named under `missing`."""
    missing: dict[str, str] = {}
    body: dict[str, object] = {"schema": SCHEMA, "host": _host(host)}
    for name, read in _GROUPS.items():
        try:
            body[name] = read(host)
        except EvidenceMissing as error:
            body[name] = None
            missing[name] = str(error)
    body["missing"] = missing
    return msgspec.json.format(msgspec.json.encode(body), indent=2) + b"\n"


def _host(host: Host) -> dict[str, object]:
    evidence = host.evidence
    return {
        "name": evidence.target,
        "address": evidence.address,
        "identity": evidence.identity,
        "privilege": evidence.privilege,
        "collected_at": evidence.collected_at,
    }


_GROUPS: Mapping[str, Callable[[Host], Any]] = {
    "os": lambda host: host.system,
    "support": lambda host: host.support,
    "packages": lambda host: host.packages,
    "last_upgrade": lambda host: host.last_upgrade,
    "security_updates": lambda host: host.security_updates,
    "kernel": lambda host: host.kernel,
    "ssh": lambda host: host.sshd,
    "clock": lambda host: host.clock,
    "logs": lambda host: host.logs,
}
