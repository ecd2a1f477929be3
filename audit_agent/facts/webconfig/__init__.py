"""Which certificate and key files nginx, Apache, HAProxy and Postfix are configured with."""

import re
from collections.abc import Callable, Iterator, Mapping

from msgspec import Struct
from msgspec.structs import replace

from audit_agent.facts.webconfig import apache, haproxy, nginx, postfix
from audit_agent.facts.webconfig.configuration import REDACTED, Reference, Tree
from audit_agent.model import Evidence, EvidenceMissing, Gap, Quote

_DIALECTS: Mapping[str, Callable[[Tree], Iterator[Reference]]] = {
    "nginx": nginx.references,
    "apache": apache.references,
    "haproxy": haproxy.references,
    "postfix": postfix.references,
}
_PROGRAMS = {
    "nginx": "nginx",
    "openresty": "nginx",
    "apache2": "apache",
    "httpd": "apache",
    "haproxy": "haproxy",
    "master": "postfix",
}
_SECTION = "tls.configuration"


class Server(Struct, frozen=True):
    """A server whose configuration was found. `running` is None where processes cannot be seen."""

    name: str
    main: str
    running: bool | None
    quote: Quote


class Process(Struct, frozen=True):
    """A running program that serves, or may serve, TLS with certificates nobody read.

    `server` is nginx, apache, haproxy or postfix where it is one of these in a container, or
    with a configuration that was not found; else "", for a program whose configuration is not
    understood.
    """

    program: str
    server: str
    quote: Quote


class TlsConfiguration(Struct, frozen=True):
    """What the servers' configuration says about certificates, and what stayed in the dark.

    `missing` holds, by section, why a part of it could not be read.
    """

    servers: tuple[Server, ...]
    references: tuple[Reference, ...]
    missing: Mapping[str, Gap]
    unread: tuple[Process, ...]


class _Name(Struct, frozen=True):
    """A path that the collector itself found in a configuration file."""

    kind: str
    server: str
    file: str
    line: int
    path: str
    quote: Quote


def read_tls_configuration(evidence: Evidence) -> TlsConfiguration:
    """Every certificate and key file that is named, and every server that may name one.

    Raises:
        EvidenceMissing: nobody looked for configuration.
    """
    rows = [line.split("\t") for line in evidence[_SECTION].lines]
    mains = {n: row for n, row in enumerate(rows, 1) if row[0] == "main" and len(row) > 3}
    missing: dict[str, Gap] = {}
    found: list[Reference] = []
    for _, dialect, base, *files in mains.values():
        if dialect in _DIALECTS:
            tree = Tree(evidence, base, files)
            found += _DIALECTS[dialect](tree)
            missing |= tree.missing
    found += _overlooked(evidence, found, rows)
    references = tuple(one for each in found for one in _files(evidence, each, missing))
    missing |= _not_read(rows)
    processes = _processes(evidence)
    if processes is None and not references:
        missing["tls.processes"] = Gap.DENIED
    seen = {server for server, root, _ in processes or () if root != "other"}
    servers = tuple(
        Server(row[1], row[3], None if processes is None else row[1] in seen, Quote(_SECTION, n, n))
        for n, row in mains.items()
    )
    configured = {server.name for server in servers}
    unread = tuple(
        process
        for server, root, process in processes or ()
        if root == "other" or server not in configured
    )
    # A file too large to be kept was still searched for names, by the collector; but what it
    # includes is out of sight.
    including = {
        _SECTION,
        *(f"file:{row[2]}" for row in rows if row[0] == "include" and len(row) > 2),
    }
    missing = {n: gap for n, gap in missing.items() if gap is not Gap.TRUNCATED or n in including}
    return TlsConfiguration(servers, references, missing, unread)


def _not_read(rows: list[list[str]]) -> dict[str, Gap]:
    """The configurations that exist and could not be read, and what went beyond the limits."""
    gaps: dict[str, Gap] = {}
    for row in rows:
        if row[0] == "capped":
            gaps[_SECTION] = Gap.TRUNCATED
        elif row[0] == "denied" and len(row) == 3:
            gaps[f"file:{row[2]}"] = Gap.DENIED
    return gaps


def _processes(evidence: Evidence) -> list[tuple[str, str, Process]] | None:
    """Server, root and process of each line; None where processes could not be seen."""
    try:
        section = evidence["tls.processes"]
    except EvidenceMissing:
        return None
    processes: list[tuple[str, str, Process]] = []
    for number, line in enumerate(section.lines, 1):
        program, _, rest = line.partition("\t")
        server = _PROGRAMS.get(program, "")
        process = Process(program, server, Quote(section.name, number, number))
        processes.append((server, rest.partition("\t")[0], process))
    return processes


def _names(rows: list[list[str]]) -> Iterator[_Name]:
    for number, row in enumerate(rows, 1):
        if len(row) == 5 and re.fullmatch("[0-9]{1,9}", row[3]):
            kind, dialect, file, line, path = row
            server = "haproxy" if dialect == "crt-list" else dialect
            yield _Name(kind, server, file, int(line), path, Quote(_SECTION, number, number))


def _overlooked(
    evidence: Evidence, found: list[Reference], rows: list[list[str]]
) -> Iterator[Reference]:
    """What the collector saw and the parsers cannot: names that redaction or a limit cut off."""
    known = {(reference.quote.section, reference.path) for reference in found}
    for name in _names(rows):
        file = evidence.sections.get(f"file:{name.file}")
        if file is not None and file.gap is None:
            if not any(REDACTED in line for line in file.lines[name.line - 1 : name.line]):
                continue
            quote = Quote(file.name, name.line, name.line)
        else:
            quote = name.quote
        if name.kind in {"certificate", "chain", "key", "bundle"}:
            if (f"file:{name.file}", name.path) not in known:
                yield Reference(name.server, name.kind, name.path, name.path, (), quote)
        elif name.kind == "unresolved" and quote is name.quote:
            yield Reference(name.server, "certificate", "", name.path, (), quote)


def _files(
    evidence: Evidence, reference: Reference, missing: dict[str, Gap]
) -> Iterator[Reference]:
    """What HAProxy takes a bundle for: a file, all files of a directory, or NAME.rsa and others."""
    path = reference.path
    if reference.role != "bundle" or not path:
        yield reference
        return
    listing = evidence.sections.get(f"dir:{path.rstrip('/')}") or evidence.sections.get(
        f"dir:{path}"
    )
    if listing is not None:
        if listing.gap is not None:
            missing[listing.name] = listing.gap
        start = f"certificates:{listing.name.removeprefix('dir:').rstrip('/')}/"
        inside = [
            name
            for name in evidence.sections
            if name.startswith(start) and "/" not in name[len(start) :]
        ]
    else:
        parts = [f"certificates:{path}{end}" for end in (".rsa", ".ecdsa", ".dsa")]
        inside = [name for name in parts if name in evidence.sections]
        whole = evidence.sections.get(f"certificates:{path}")
        if not inside or (whole is not None and whole.gap is not Gap.ABSENT):
            inside.insert(0, f"certificates:{path}")
    for name in inside:
        yield replace(reference, path=name.removeprefix("certificates:"))
