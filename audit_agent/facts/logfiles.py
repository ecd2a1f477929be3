"""The files that logs lie in: their modes, owners, sizes and times, as they were listed."""

import datetime as dt
import re
from collections.abc import Mapping
from functools import cached_property

from msgspec import Struct

from audit_agent.model import Evidence, EvidenceMissing, Gap, Quote

_LINE = re.compile(
    r"([-dlpscb?][-rwxsStT]{9})\S* (\d{1,10}) (\d{1,10}) (\d{1,19}) (\d{1,10})"
    r" (-?\d{1,12})(?:\.\d+)? (/.*)"
)
_SECTION = "logs.files"


class File(Struct, frozen=True):
    """One line of the listing. `mode` holds the permission bits, `kind` is ls's first letter."""

    path: str
    kind: str
    mode: int
    uid: int
    gid: int
    size: int
    links: int
    mtime: dt.datetime
    quote: Quote


class Listing:
    """What lies in /var/log and its like, and in the folders of what rotates it.

    `files` is keyed by path; `closed` are the trees that the collector could not enter, so that
    nothing may be concluded from their absence.
    """

    def __init__(self, files: Mapping[str, File], closed: tuple[str, ...]) -> None:
        self.files = files
        self.closed = closed

    @cached_property
    def names(self) -> Mapping[str, list[str]]:
        """The names in each directory, directories among them."""
        names: dict[str, list[str]] = {}
        for path in self.files:
            directory, _, name = path.rpartition("/")
            names.setdefault(directory, []).append(name)
        return names

    def inside(self, directory: str) -> list[File]:
        """The files that lie directly in `directory`, by name."""
        names = sorted(self.names.get(directory, []))
        return [self.files[f"{directory}/{name}"] for name in names]

    def is_directory(self, path: str) -> bool:
        """Whether `path` was seen to be a directory."""
        return path in self.files and self.files[path].kind == "d"

    def hidden(self, path: str) -> bool:
        """Whether `path` lies in a tree that could not be entered."""
        return any(path == tree or path.startswith(f"{tree}/") for tree in self.closed)

    def glob(self, pattern: str) -> list[str]:
        """The files that an absolute path with wildcards stands for, sorted.

        A pattern without wildcards stands for itself, whether or not it exists.
        """
        if not (pattern.startswith("/") and re.search(r"[*?\[]", pattern)):
            return [re.sub(r"\\(.)", r"\1", pattern)]
        found = [""]
        *middle, last = pattern.split("/")[1:]
        for part in middle:
            found = [path for path in self._step(found, part) if self._searchable(path)]
        return sorted(path for path in self._step(found, last) if not self.is_directory(path))

    def _searchable(self, path: str) -> bool:
        return path not in self.files or self.files[path].kind in "dl"

    def _step(self, directories: list[str], part: str) -> list[str]:
        if not re.search(r"[*?\[]", part):
            return [f"{directory}/{part}" for directory in directories]
        matches = re.compile(wildcard(part)).fullmatch
        return [
            f"{directory}/{name}"
            for directory in directories
            for name in self.names.get(directory, [])
            if matches(name)
        ]


def wildcard(pattern: str) -> str:
    """One component of a glob(7) pattern as a regular expression (leading periods are special)."""
    out = "" if pattern.startswith((".", "\\.")) else r"(?!\.)"
    at = 0
    while at < len(pattern):
        at, piece = _piece(pattern, at)
        out += piece
    return out


def _piece(pattern: str, at: int) -> tuple[int, str]:
    """The element that begins at `at`: where the next begins, and its regular expression."""
    char = pattern[at]
    if char == "*":
        return at + 1, ".*"
    if char == "?":
        return at + 1, "."
    if char == "\\" and at + 1 < len(pattern):
        return at + 2, re.escape(pattern[at + 1])
    if char == "[":
        bracket = re.compile(r"\[([!^]?)(\]?(?:\[:\w+:\]|[^\]])*)\]").match(pattern, at)
        if bracket is not None:
            return bracket.end(), _bracket(bracket[1], bracket[2])
    return at + 1, re.escape(char)


_CLASSES = {
    "digit": "0-9", "alpha": "a-zA-Z", "alnum": "a-zA-Z0-9", "lower": "a-z", "upper": "A-Z",
    "xdigit": "0-9a-fA-F", "space": r"\s", "blank": r" \t", "punct": r"!-/:-@\[-`{-~",
}  # fmt: skip


def _bracket(negated: str, members: str) -> str:
    inner = ""
    for part in re.split(r"(\[:\w+:\])", members):
        named = re.fullmatch(r"\[:(\w+):\]", part)
        if named is not None:
            inner += _CLASSES.get(named[1], "")
        else:
            inner += re.sub(r"([\\\]\[^&~|])", r"\\\1", part)
    return f"[{'^' if negated else ''}{inner}]" if inner else "(?!)"


def read_listing(evidence: Evidence) -> Listing:
    """Parse the collector's listing.

    Raises:
        EvidenceMissing: it is not there, was cut, or holds nothing at all.
    """
    section = evidence[_SECTION]
    files: dict[str, File] = {}
    closed: list[str] = []
    for number, line in enumerate(section.lines, 1):
        fields = _LINE.fullmatch(line)
        if fields is None:
            tree = re.search(r"[‘'`\"]?(/.*?)[’'\"]?: Permission denied", line)
            closed += [tree[1]] if tree is not None else []
            continue
        path = fields[7]
        files[path] = File(
            path=path,
            kind=fields[1][0],
            mode=_bits(fields[1]),
            uid=int(fields[2]),
            gid=int(fields[3]),
            size=int(fields[4]),
            links=int(fields[5]),
            mtime=epoch(int(fields[6])),
            quote=Quote(_SECTION, number, number),
        )
    if not files:
        raise EvidenceMissing(_SECTION, Gap.FAILED)
    return Listing(files, tuple(closed))


def epoch(seconds: float) -> dt.datetime:
    """A time in seconds since 1970; what lies beyond 1970 or 2200 is taken for that year."""
    return dt.datetime.fromtimestamp(min(max(seconds, 0), 7258118400), dt.UTC)


def _bits(text: str) -> int:
    """The permission bits of ls's ten letters: "-rw-r-----" is 0o640."""
    bits = 0
    for place, char in enumerate(text[1:10]):
        if char in "rwxst":
            bits |= 1 << (8 - place)
        if char in "sStT":
            bits |= 1 << (11 - place // 3)
    return bits
