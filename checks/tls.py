"""TLS: the certificates and private keys that the host's configuration names."""

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence

from audit_agent.engine import Evaluate, Params
from audit_agent.facts import Host
from audit_agent.facts.certificates import Certificate, CertificateFile
from audit_agent.facts.private_keys import KeyFile, Mode
from audit_agent.facts.webconfig import TlsConfiguration
from audit_agent.facts.webconfig.configuration import Reference
from audit_agent.model import Gap, Outcome, Quote, Status, Text

_DAY = dt.timedelta(days=1)
_SHOWN = 4
"""How many host names a sentence lists; the quotes hold more."""
_MOST_QUOTES = 12

_BROKEN_HASHES = {"MD2", "MD4", "MD5", "SHA-1"}
_SHORT_HASHES = {"SHA-224", "SHA3-224", "SHA-512/224"}
_STRONG_KEYS = {"SM2", "Ed25519", "Ed448", "ML-DSA-44", "ML-DSA-65", "ML-DSA-87"}
_WORST_FIRST = (Status.FAIL, Status.UNKNOWN, Status.WARN, Status.PASS)


class _Group:
    """Files that hold the same leaf certificate: one certificate, judged once."""

    def __init__(self) -> None:
        self.files: list[CertificateFile] = []

    @property
    def subject(self) -> str:
        return ", ".join(file.path for file in self.files)

    @property
    def references(self) -> list[Reference]:
        return [reference for file in self.files for reference in file.references]

    @property
    def chain(self) -> list[Certificate]:
        """Leaf and intermediates, each once."""
        return list({c.sha256: c for file in self.files for c in file.chain}.values())

    @property
    def roots(self) -> list[Certificate]:
        every = {c.sha256: c for file in self.files for c in file.certificates}
        judged = {certificate.sha256 for certificate in self.chain}
        return [certificate for sha, certificate in every.items() if sha not in judged]

    def outcome(
        self,
        host: Host,
        status: Status,
        message: str,
        certificates: Iterable[Certificate],
        **values: str | int | Text,
    ) -> Outcome:
        shown = list(certificates)
        return Outcome(
            status,
            message,
            subject=self.subject,
            observed="; ".join(_described(certificate) for certificate in shown),
            values={"use": _use(host, self.references), **values},
            quotes=(*(c.quote for c in shown), *_quotes(self.references)),
        )


def _described(certificate: Certificate) -> str:
    start, end = (f"{t:%Y-%m-%d %H:%M}Z" for t in (certificate.not_before, certificate.not_after))
    return f"{certificate.subject} {certificate.key} {certificate.signature} {start} - {end}"


def _quotes(references: Sequence[Reference]) -> tuple[Quote, ...]:
    return tuple(dict.fromkeys(reference.quote for reference in references))[:_MOST_QUOTES]


def _use(host: Host, references: Sequence[Reference]) -> Text:
    """By which servers, for which names, and whether these servers run."""
    names: dict[str, dict[str, None]] = {}
    for reference in references:
        names.setdefault(reference.server, {}).update(dict.fromkeys(reference.names))
    servers = host.tls_configuration.servers
    stopped = {server.name for server in servers if server.running is False}
    stopped -= {server.name for server in servers if server.running}
    en: list[str] = []
    zh: list[str] = []
    for server, known in names.items():
        shown = [*list(known)[:_SHOWN], *(["..."] if len(known) > _SHOWN else [])]
        listed = [", ".join(shown)] if shown else []
        aside = ", ".join(listed + ["not running"] * (server in stopped))
        en.append(f"{server} ({aside})" if aside else server)
        aside = "，".join(listed + ["未运行"] * (server in stopped))
        zh.append(f"{server}（{aside}）" if aside else server)
    joined = "；".join(zh)
    return Text(en="; ".join(en), zh=joined if joined.endswith("）") else f"{joined} ")


def _groups(host: Host) -> list[_Group]:
    groups: dict[object, _Group] = {}
    for file in host.certificate_files:
        leaf = file.certificates[0].sha256 if file.certificates else file.path
        groups.setdefault((leaf, file.only_chain), _Group()).files.append(file)
    return list(groups.values())


def _out_of_sight(host: Host, roles: set[str]) -> Iterator[Outcome]:
    """What may name further files of these roles and could not be read or resolved."""
    found = host.tls_configuration
    for section, gap in found.missing.items():
        yield Outcome(
            Status.UNKNOWN,
            "not_read",
            subject=section.removeprefix("file:"),
            observed=gap,
            quotes=(Quote(section),),
        )
    running: dict[tuple[str, str], list[Quote]] = {}
    for process in found.unread:
        running.setdefault((process.server, process.program), []).append(process.quote)
    for (server, program), quotes in running.items():
        yield Outcome(
            Status.UNKNOWN if server else Status.MANUAL,
            "elsewhere" if server else "other_program",
            subject=server or program,
            observed=program,
            quotes=tuple(quotes)[:_MOST_QUOTES],
        )
    unresolved: dict[tuple[str, str], list[Reference]] = {}
    for reference in found.references:
        if not reference.path and reference.role in roles:
            unresolved.setdefault((reference.server, reference.written), []).append(reference)
    for (_, written), references in unresolved.items():
        yield Outcome(
            Status.UNKNOWN,
            "unresolved",
            subject=written,
            observed=written,
            values={"use": _use(host, references)},
            quotes=_quotes(references),
        )


def _nothing_named(found: TlsConfiguration) -> Outcome:
    """No certificate anywhere, and nothing out of sight."""
    if not found.servers:
        quotes = (Quote("tls.configuration"), Quote("tls.processes"))
        return Outcome(Status.NOT_APPLICABLE, "no_server", quotes=quotes)
    names = ", ".join(dict.fromkeys(server.name for server in found.servers))
    mains = (Quote(f"file:{server.main}") for server in found.servers)
    return Outcome(
        Status.NOT_APPLICABLE,
        "no_certificate",
        values={"servers": names},
        quotes=(Quote("tls.configuration"), *mains),
    )


def _certificates(host: Host) -> Iterator[_Group | Outcome]:
    """Each certificate to be judged, and the outcome of each that cannot be."""
    dark = list(_out_of_sight(host, {"certificate", "chain", "bundle"}))
    groups = _groups(host)
    if not dark and not groups:
        yield _nothing_named(host.tls_configuration)
    yield from dark
    for group in groups:
        if group.chain:
            yield group
        else:
            yield _unreadable(host, group)


def _unreadable(host: Host, group: _Group) -> Outcome:
    (file,) = group.files
    message = "no_certificate_in_file"
    if file.gap is Gap.ABSENT:
        message = "absent"
    elif file.gap is not None:
        message = "file_not_read"
    elif file.unreadable:
        message = "damaged"
    return Outcome(
        Status.UNKNOWN,
        message,
        subject=file.path,
        observed=file.gap or "",
        values={"use": _use(host, file.references)},
        quotes=(*(file.unreadable or (file.quote,)), *_quotes(file.references)),
    )


def _damaged(host: Host, group: _Group) -> Outcome | None:
    """A file in which only some certificates can be read is judged no better than UNKNOWN."""
    blocks = tuple(quote for file in group.files for quote in file.unreadable)
    if not blocks:
        return None
    values = {"use": _use(host, group.references)}
    quotes = (*blocks, *_quotes(group.references))
    return Outcome(Status.UNKNOWN, "damaged", group.subject, values=values, quotes=quotes)


def _worse(first: Outcome, second: Outcome | None) -> Outcome:
    if second is None:
        return first
    return min(first, second, key=lambda outcome: _WORST_FIRST.index(outcome.status))


def _loaded(host: Host, group: _Group, outcome: Outcome) -> Outcome:
    """A file passes only if no server runs with what it held before."""
    unread = {
        (reference.server, file.path): quote
        for file in group.files
        for reference in file.references
        if (quote := host.tls_reloads.unread(file.path, reference.server)) is not None
    }
    if outcome.status is not Status.PASS or not unread:
        return outcome
    return Outcome(
        Status.UNKNOWN,
        "not_reloaded",
        subject=group.subject,
        observed=outcome.observed,
        values={
            "use": _use(host, group.references),
            "servers": ", ".join(dict.fromkeys(server for server, _ in unread)),
        },
        quotes=(*unread.values(), *outcome.quotes),
    )


def in_date(host: Host, _: Params) -> Iterator[Outcome]:
    """TLS-01: notBefore <= now <= notAfter for leaf and intermediates."""
    for group in _certificates(host):
        if isinstance(group, Outcome):
            yield group
        else:
            yield _loaded(host, group, _worse(_date_outcome(host, group), _damaged(host, group)))


def _date_outcome(host: Host, group: _Group) -> Outcome:
    now = host.collected_at
    expired = [c for c in group.chain if c.not_after < now]
    if expired:
        first = min(expired, key=lambda c: c.not_after)
        return group.outcome(
            host, Status.FAIL, "expired", expired,
            certificate=first.subject,
            date=_day(first.not_after),
            days=(now - first.not_after) // _DAY,
        )  # fmt: skip
    early = [c for c in group.chain if c.not_before > now]
    if early:
        last = max(early, key=lambda c: c.not_before)
        return group.outcome(
            host, Status.FAIL, "not_yet", early,
            certificate=last.subject, date=_day(last.not_before),
        )  # fmt: skip
    roots = [c for c in group.roots if not c.not_before <= now <= c.not_after]
    if roots:
        return group.outcome(
            host, Status.WARN, "root", roots,
            certificate=roots[0].subject, date=_day(roots[0].not_after),
        )  # fmt: skip
    first = min(group.chain, key=lambda c: c.not_after)
    return group.outcome(
        host, Status.PASS, "in_date", group.chain,
        count=len(group.chain), date=_day(first.not_after),
    )  # fmt: skip


def _day(when: dt.datetime) -> str:
    return f"{when:%Y-%m-%d %H:%M} UTC"


def not_about_to_expire(host: Host, params: Params) -> Iterator[Outcome]:
    """TLS-02: time left of leaf and intermediates.

    A certificate passes with more than a third of its lifetime left, however short that is.
    """
    for group in _certificates(host):
        if isinstance(group, Outcome):
            yield group
        else:
            outcome = _worse(_time_left(host, group, params), _damaged(host, group))
            yield _loaded(host, group, outcome)


def _time_left(host: Host, group: _Group, params: Params) -> Outcome:
    now = host.collected_at

    def enough(certificate: Certificate) -> dt.timedelta:
        return min(
            params.integer("warn_days") * _DAY, certificate.lifetime / params.integer("share")
        )

    def status(certificate: Certificate) -> Status:
        left = certificate.not_after - now
        if left > max(enough(certificate), dt.timedelta(0)):
            return Status.PASS
        return Status.FAIL if left <= params.integer("fail_days") * _DAY else Status.WARN

    first = min(group.chain, key=lambda c: (_WORST_FIRST.index(status(c)), c.not_after))
    left = first.not_after - now
    verdict = status(first)
    if left < dt.timedelta(0):
        message = "expired"
    else:
        message = {Status.PASS: "enough", Status.WARN: "soon"}.get(verdict, "imminent")
    return group.outcome(
        host, verdict, message, [first],
        certificate=first.subject,
        date=_day(first.not_after),
        days=abs(left) // _DAY,
        limit=f"{enough(first) / _DAY:.0f}",
    )  # fmt: skip


def strong(host: Host, params: Params) -> Iterator[Outcome]:
    """TLS-07: keys of all certificates; signatures of all but a root."""
    for group in _certificates(host):
        if isinstance(group, Outcome):
            yield group
        else:
            outcome = _worse(_strength(host, group, params), _damaged(host, group))
            yield _loaded(host, group, outcome)


def _strength(host: Host, group: _Group, params: Params) -> Outcome:
    found: dict[Status, list[tuple[Certificate, str]]] = {}
    for certificate in [*group.chain, *group.roots]:
        signed = certificate in group.chain
        for status, what in _strengths(certificate, params, signed=signed):
            found.setdefault(status, []).append((certificate, what))
    worst = next(status for status in _WORST_FIRST if status in found)
    what = "; ".join(dict.fromkeys(f"{c.subject}: {w}" for c, w in found[worst]))
    message = {Status.FAIL: "weak", Status.WARN: "short", Status.UNKNOWN: "algorithm"}
    certificates = {c.sha256: c for c, _ in found[worst]}.values()
    if worst is Status.PASS:
        what = ", ".join(dict.fromkeys(f"{c.key} {c.signature}" for c in certificates))
    return group.outcome(host, worst, message.get(worst, "strong"), certificates, what=what)


def _strengths(
    certificate: Certificate, params: Params, *, signed: bool
) -> Iterator[tuple[Status, str]]:
    yield _key_strength(certificate, params), str(certificate.key)
    if signed:
        signature = certificate.signature
        if signature.hash in _BROKEN_HASHES:
            yield Status.FAIL, str(signature)
        elif not signature.hash:
            yield Status.UNKNOWN, str(signature)
        elif signature.hash in _SHORT_HASHES:
            yield Status.WARN, str(signature)


def _key_strength(certificate: Certificate, params: Params) -> Status:
    key = certificate.key
    if key.kind in _STRONG_KEYS:
        return Status.PASS
    if key.kind == "DSA":  # no browser accepts it any more, FIPS 186-5 has dropped it
        return Status.FAIL
    least = {"RSA": params.integer("rsa_bits"), "EC": params.integer("ec_bits")}.get(key.kind)
    if least is None or not key.bits:
        return Status.UNKNOWN
    return Status.PASS if key.bits >= least else Status.FAIL


def keys_protected(host: Host, _: Params) -> Iterator[Outcome]:
    """TLS-09: who may read the private keys, from the modes alone."""
    found = host.tls_configuration
    dark = list(_out_of_sight(host, {"key", "bundle"}))
    dark += [
        _unreadable(host, group)
        for group in _groups(host)
        for file in group.files
        if file.gap not in {None, Gap.ABSENT} and any(r.role == "bundle" for r in file.references)
    ]
    yield from dark
    for key in host.key_files:
        yield _key_outcome(host, key)
    if not dark and not host.key_files:
        if not found.references:
            yield _nothing_named(found)
        else:
            yield Outcome(Status.UNKNOWN, "no_key", quotes=_quotes(found.references))


def _key_outcome(host: Host, key: KeyFile) -> Outcome:
    mode = key.mode
    values: dict[str, str | int | Text] = {"use": _use(host, key.references)}
    quotes = _quotes(key.references)
    if mode is None:
        message = "key_absent" if key.gap is Gap.ABSENT else "key_not_seen"
        quotes = (Quote(f"mode:{key.path}"), *quotes)
        return Outcome(
            Status.UNKNOWN, message, key.path, observed=key.gap or "", values=values, quotes=quotes
        )
    owner, group = _owner(host, mode), _group(host, mode)
    status, message, more = _exposure(host, key, mode)
    return Outcome(
        status,
        message,
        subject=key.path,
        observed=f"{mode} {owner}:{group}{'+' if mode.acl else ''}",
        values={**values, "mode": str(mode), "owner": owner, "group": group, **more},
        quotes=(mode.quote, *([key.closed_by[1].quote] if key.closed_by else []), *quotes),
    )


def _owner(host: Host, mode: Mode) -> str:
    if mode.uid == 0:
        return "root"
    return next((a.name for a in host.accounts if a.uid == mode.uid), f"uid {mode.uid}")


def _group(host: Host, mode: Mode) -> str:
    if mode.gid == 0:
        return "root"
    known = host.groups.get(mode.gid)
    return known.name if known is not None else f"gid {mode.gid}"


def _exposure(host: Host, key: KeyFile, mode: Mode) -> tuple[Status, str, dict[str, str]]:
    """The verdict on one key: everybody, then the group, then the owner, then spare bits."""
    if mode.bits & 0o006:
        if key.closed_by is None:
            return Status.FAIL, "open", {}
        directory, closed = key.closed_by
        return Status.WARN, "closed", {"directory": directory, "closed": str(closed)}
    by_group = _group_exposure(host, mode) if mode.bits & 0o060 else None
    if by_group is not None:
        return by_group
    if mode.uid != 0 and _logs_in(host, _owner(host, mode)):
        return Status.WARN, "owner", {}
    if mode.bits & 0o0137:
        return Status.WARN, "wider", {}
    return Status.PASS, "protected", {}


def _group_exposure(host: Host, mode: Mode) -> tuple[Status, str, dict[str, str]] | None:
    if mode.acl:
        return Status.UNKNOWN, "acl", {}
    if mode.gid != 0 and mode.gid not in host.groups:
        return Status.UNKNOWN, "group_unknown", {}
    readers = _readers(host, mode)
    return (Status.WARN, "group", {"readers": ", ".join(readers)}) if readers else None


def _readers(host: Host, mode: Mode) -> list[str]:
    """Accounts of the key's group that somebody may log in to; root and the owner aside."""
    known = host.groups.get(mode.gid)
    names = known.accounts if known is not None else ()
    spared = {"root", _owner(host, mode)}
    return [name for name in names if name not in spared and _logs_in(host, name)]


def _logs_in(host: Host, name: str) -> bool:
    """Of an account that /etc/passwd does not hold (a directory service's), yes."""
    return next((a.can_log_in for a in host.accounts if a.name == name), True)


CHECKS: Mapping[str, Evaluate] = {
    "TLS-01": in_date,
    "TLS-02": not_about_to_expire,
    "TLS-07": strong,
    "TLS-09": keys_protected,
}
