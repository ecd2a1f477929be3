"""The machine-readable results, schema audit-agent/results/1: a public, versioned contract.

The structs here are the contract; they are built from the model and are never a dump of it.
`results.schema.json` beside this file is the published JSON Schema.
"""

import datetime as dt
import re
from typing import Annotated, Literal

import msgspec

from audit_agent.model import Finding, HostReport, Quote, Results, Severity, Status, Text

Time = Annotated[dt.datetime, msgspec.Meta(tz=True, description="RFC 3339, with its UTC offset")]
Sha256 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]


class _Tool(msgspec.Struct, frozen=True):
    name: str
    version: str


class _Profile(msgspec.Struct, frozen=True):
    id: str
    title: Text


class _Identity(msgspec.Struct, frozen=True):
    hostname: str
    machine_id_sha256: str
    addresses: tuple[str, ...]
    system: str


class _Privilege(msgspec.Struct, frozen=True):
    user: str
    uid: int | None
    via: str
    root: bool


class _Citation(msgspec.Struct, frozen=True):
    key: str
    clause: str
    kind: str
    grade: str
    title: Text


class _Evidence(msgspec.Struct, frozen=True):
    section: str
    lines: str


class _Finding(msgspec.Struct, frozen=True):
    check: str
    area: str
    status: Status
    severity: Severity
    title: Text
    subject: str
    summary: Text
    why: Text
    observed: str
    expected: Text
    basis: str
    citations: tuple[_Citation, ...]
    evidence: tuple[_Evidence, ...]
    remediation: Text | None
    commands: tuple[str, ...]
    fingerprint: str


class _Host(msgspec.Struct, frozen=True):
    name: str
    address: str
    identity: _Identity
    privilege: _Privilege
    collected_at: Time
    clock: str
    complete: bool
    interrupted: str
    evidence_sha256: Sha256
    findings: tuple[_Finding, ...]


class _Unreachable(msgspec.Struct, frozen=True):
    name: str
    address: str
    reason: str
    detail: str


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """The results of one run of audit-agent over one or more hosts."""

    schema: Literal["audit-agent/results/1"]
    tool: _Tool
    started_at: Time
    auditor: str
    profile: _Profile
    hosts: tuple[_Host, ...]
    unreachable: tuple[_Unreachable, ...]


def render(results: Results, lang: str) -> bytes:
    """The results as JSON; both languages are in it, so `lang` changes nothing."""
    _ = lang
    document = Document(
        schema="audit-agent/results/1",
        tool=_Tool(name="audit-agent", version=results.tool_version),
        started_at=results.started_at,
        auditor=results.auditor,
        profile=_Profile(id=results.profile, title=results.profile_title),
        hosts=tuple(_host(host) for host in results.hosts),
        unreachable=tuple(
            _Unreachable(host.name, host.address, host.reason, host.detail)
            for host in results.unreachable
        ),
    )
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"


def schema() -> bytes:
    """The JSON Schema (2020-12) of the document, as published in results.schema.json."""
    described: dict[str, object] = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:audit-agent:results:1",
        **msgspec.json.schema(Document),
    }
    text = msgspec.json.format(msgspec.json.encode(described), indent=2) + b"\n"
    return re.sub(rb'(?<=["/])_(?=[A-Z])', b"", text)  # names without Python's underscore


def _host(report: HostReport) -> _Host:
    evidence = report.evidence
    return _Host(
        name=evidence.target,
        address=evidence.address,
        identity=_Identity(
            hostname=evidence.identity.hostname,
            machine_id_sha256=evidence.identity.machine_id_sha256,
            addresses=evidence.identity.addresses,
            system=report.system,
        ),
        privilege=_Privilege(
            user=evidence.privilege.user,
            uid=evidence.privilege.uid,
            via=evidence.privilege.via,
            root=evidence.privilege.root,
        ),
        collected_at=evidence.collected_at,
        clock=evidence.clock,
        complete=evidence.complete,
        interrupted=evidence.interrupted,
        evidence_sha256=report.evidence_sha256,
        findings=tuple(_finding(finding) for finding in report.findings),
    )


def _finding(finding: Finding) -> _Finding:
    return _Finding(
        check=finding.check,
        area=finding.area,
        status=finding.status,
        severity=finding.severity,
        title=finding.title,
        subject=finding.subject,
        summary=finding.summary,
        why=finding.why,
        observed=finding.observed,
        expected=finding.expected,
        basis=finding.basis,
        citations=tuple(
            _Citation(cite.key, cite.clause, cite.kind, cite.grade, cite.title)
            for cite in finding.citations
        ),
        evidence=tuple(_quote(quote) for quote in finding.quotes),
        remediation=finding.remediation,
        commands=finding.commands,
        fingerprint=finding.fingerprint,
    )


def _quote(quote: Quote) -> _Evidence:
    return _Evidence(section=quote.section, lines=quote.lines)
