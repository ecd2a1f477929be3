"""The facts of one host as JSON, schema audit-agent/facts/1: a public, versioned contract.

Each group is built here by name, so that renaming a fact inside does not change the contract.
Times are ISO 8601 with an offset; a fact that is not known is null.
"""

from collections.abc import Callable, Mapping

import msgspec

from audit_agent.facts import Host
from audit_agent.facts.certificates import Certificate, CertificateFile
from audit_agent.facts.firewall.rules import Chain
from audit_agent.facts.logs import Log
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
        "hostname": evidence.identity.hostname,
        "machine_id_sha256": evidence.identity.machine_id_sha256,
        "addresses": evidence.identity.addresses,
        "user": evidence.privilege.user,
        "root": evidence.privilege.root,
        "collected_at": evidence.collected_at,
        "complete": evidence.complete,
    }


def _os(host: Host) -> object:
    system = host.system
    return {
        "id": system.id,
        "version_id": system.version_id,
        "version": system.version,
        "pretty_name": system.pretty_name,
        "family": system.family,
    }


def _kernel(host: Host) -> object:
    kernel = host.kernel
    return {"running": kernel.running, "newest": kernel.newest, "state": kernel.state}


def _listeners(host: Host) -> object:
    return [
        {
            "protocol": listener.protocol,
            "address": listener.address,
            "port": listener.port,
            "interface": listener.interface,
            "process": listener.process,
            "pid": listener.pid,
            "user": listener.user,
        }
        for listener in host.listeners
    ]


def _firewall(host: Host) -> object:
    loaded = host.loaded_rules
    gaps = {gap.section: str(gap.gap) for gaps in loaded.missing.values() for gap in gaps}
    return {
        "tables": [
            {
                "engine": table.engine,
                "family": table.family,
                "name": table.name,
                "chains": [_chain(chain) for chain in table.chains.values()],
            }
            for table in loaded.tables
        ],
        "missing": gaps,
        "not_understood": [problem.text for problem in loaded.problems],
    }


def _chain(chain: Chain) -> object:
    base = bool(chain.hook)
    return {
        "name": chain.name,
        "hook": chain.hook or None,
        "priority": chain.priority if base else None,
        "policy": chain.policy if base else None,
        "rules": [rule.text for rule in chain.rules],
    }


def _certificates(host: Host) -> object:
    return [_certificate_file(file) for file in host.certificate_files]


def _certificate_file(file: CertificateFile) -> object:
    return {
        "path": file.path,
        "gap": file.gap,
        "used_by": [
            {"server": use.server, "names": use.names, "role": use.role} for use in file.references
        ],
        "certificates": [_certificate(certificate) for certificate in file.certificates],
    }


def _certificate(certificate: Certificate) -> object:
    return {
        "subject": certificate.subject,
        "issuer": certificate.issuer,
        "names": certificate.names,
        "not_before": certificate.not_before,
        "not_after": certificate.not_after,
        "key": str(certificate.key),
        "signature": str(certificate.signature),
        "self_signed": certificate.self_signed,
        "sha256": certificate.sha256,
    }


def _packages(host: Host) -> object:
    return [
        {
            "name": package.name,
            "version": package.version,
            "architecture": package.architecture,
            "manager": package.manager,
        }
        for package in host.packages
    ]


def _updates(host: Host) -> object:
    return [
        {
            "package": update.package,
            "architecture": update.architecture,
            "installed": update.installed,
            "candidate": update.candidate,
            "source": update.source,
            "severity": update.severity,
            "issued": update.issued,
        }
        for update in host.security_updates.pending
    ]


def _logs(host: Host) -> object:
    return [_log(log) for log in host.logs]


def _log(log: Log) -> object:
    firsts = [file.first.time for file in log.files if file.first is not None]
    lasts = [file.last.time for file in log.files if file.last is not None]
    return {
        "class": log.kind,
        "path": log.path,
        "live": log.live,
        "files": len(log.files),
        "oldest_record": min(firsts, default=None),
        "newest_record": max(lasts, default=None),
    }


def _accounts(host: Host) -> object:
    return [
        {"name": account.name, "uid": account.uid, "shell": account.shell}
        for account in host.accounts
    ]


_GROUPS: Mapping[str, Callable[[Host], object]] = {
    "os": _os,
    "kernel": _kernel,
    "listeners": _listeners,
    "firewall": _firewall,
    "certificates": _certificates,
    "packages": _packages,
    "security_updates": _updates,
    "logs": _logs,
    "accounts": _accounts,
}
