"""One server's configuration files as they were collected, and what they name."""

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase

from msgspec import Struct

from audit_agent.model import Evidence, Gap, Quote, Section

REDACTED = "[redacted]"
"""What the collector writes in place of a credential and of all that follows it on its line."""

_MOST_INCLUDED = 4_000_000  # bytes, a thousand for each file; a file may be included often


class Reference(Struct, frozen=True):
    """One place where a configuration names a certificate or key file.

    `server` is nginx, apache, haproxy or postfix. `role` says what the file is for: "certificate"
    (leaf first, then its chain), "chain" (without the leaf), "key", or "bundle" (certificates,
    and usually the key). `path` is absolute, or "" where `written` cannot be resolved: it holds a
    variable, or is relative to a directory that is not known. `names` are the host names of the
    virtual server, or what else tells where the certificate is used.
    """

    server: str
    role: str
    path: str
    written: str
    names: tuple[str, ...]
    quote: Quote


class Tree:
    """The files that one server reads: the main ones and what they include.

    `missing` collects, by section, what could not be read; an absent file is not among that.
    """

    def __init__(self, evidence: Evidence, base: str, mains: Sequence[str]) -> None:
        self.base = "" if base == "-" else base
        self.mains = tuple(mains)
        self.missing: dict[str, Gap] = {}
        self._sections = evidence.sections
        self._followed = 0

    def read(self, path: str) -> Section | None:
        """The file's section, or None where it was not read; why goes into `missing`."""
        name = f"file:{path}"
        section = self._sections.get(name)
        if section is None:
            self.missing[name] = Gap.NOT_COLLECTED
        elif section.gap not in {None, Gap.ABSENT}:
            self.missing[name] = section.gap or Gap.FAILED
        return None if section is None or section.gap is not None else section

    def resolve(self, path: str, base: str | None = None) -> str:
        """`path` made absolute, or "" where it cannot be known."""
        base = self.base if base is None else base
        if not path or "$" in path:
            return ""
        if path.startswith("/"):
            return path
        scheme = path.partition(":")[0]
        if path.startswith("@") or (scheme != path and scheme.isalnum()) or not base:
            return ""  # an alias, or an engine, a token, an inline value
        return f"{base.rstrip('/')}/{path}"

    def included(self, pattern: str) -> Iterator[Section]:
        """The files that an include names: one, those of a pattern, or those of a directory."""
        for path in self._matching(pattern):
            section = self.read(path)
            if section is None:
                continue
            self._followed += 1000 + len(section.stdout)
            if self._followed > _MOST_INCLUDED:
                self.missing["tls.configuration"] = Gap.TRUNCATED
                return
            yield section

    def _matching(self, pattern: str) -> list[str]:
        directory = pattern.rpartition("/")[0]
        if not any(sign in pattern for sign in "*?["):
            if f"file:{pattern}" in self._sections:
                return [pattern]
            return self._below(pattern.rstrip("/")) or [pattern]
        listing = self._sections.get(f"dir:{directory}")
        if listing is not None and listing.gap not in {None, Gap.ABSENT}:
            self.missing[listing.name] = listing.gap or Gap.FAILED
        parts = pattern.split("/")
        return sorted(
            path
            for path in self._paths()
            if len(found := path.split("/")) >= len(parts)
            and all(map(fnmatchcase, found, parts))
            # a pattern may match a directory, whose files are then meant
            and len(found) <= len(parts) + 1
        )

    def _below(self, directory: str) -> list[str]:
        start = f"{directory}/"
        return sorted(
            p for p in self._paths() if p.startswith(start) and "/" not in p[len(start) :]
        )

    def _paths(self) -> Iterator[str]:
        for name in self._sections:
            if name.startswith("file:/"):
                yield name.removeprefix("file:")
