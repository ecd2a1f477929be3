"""logrotate's configuration, read as logrotate itself reads it: which rule turns each log over.

The reader follows logrotate 3.21 character by character, its odd corners included (checked against
`logrotate -d`): a wrong line may cost the block it stands in, the rest of its file, or nothing.
Older versions differ in what a mistake costs, so that what it touches is marked as doubtful.
"""

import bisect
import fnmatch
import re
from collections.abc import Callable, Mapping
from typing import NoReturn

import msgspec
from msgspec import Struct

from audit_agent.facts.logfiles import Listing
from audit_agent.model import Evidence, EvidenceMissing, Gap, Quote, Section

CONFIGURATIONS = ("/etc/logrotate.conf", "/usr/etc/logrotate.conf")
_TABOO = (
    ",v", ".bak", ".cfsaved", ".disabled", ".dpkg-bak", ".dpkg-del", ".dpkg-dist", ".dpkg-new",
    ".dpkg-old", ".dpkg-tmp", ".rhn-cfg-tmp-*", ".rpmnew", ".rpmorig", ".rpmsave", ".swp",
    ".ucf-dist", ".ucf-new", ".ucf-old", "~",
)  # fmt: skip
_DEEPEST = 16
_FLAGS: Mapping[str, Mapping[str, bool | str]] = {
    "dateext": {"dateext": True},
    "nodateext": {"dateext": False},
    "ifempty": {"ifempty": True},
    "notifempty": {"ifempty": False},
    "missingok": {"missingok": True},
    "nomissingok": {"missingok": False},
    "copy": {"copy": True},
    "nocopy": {"copy": False},
    "ignoreduplicates": {"ignoreduplicates": True},
    "nocreateolddir": {"createolddir": False},
    "allowhardlink": {"allowhardlink": True},
    "noallowhardlink": {"allowhardlink": False},
    "noolddir": {"olddir": ""},
}
_WITHOUT_EFFECT_ON_RETENTION = {
    "compress", "nocompress", "delaycompress", "nodelaycompress", "shred", "noshred",
    "sharedscripts", "nosharedscripts", "copytruncate", "nocopytruncate", "renamecopy",
    "norenamecopy", "dateyesterday", "datehourago", "mailfirst", "maillast", "nocreate",
    "nomail", "errors",
}  # fmt: skip
_FREQUENCIES = ("hourly", "daily", "weekly", "monthly", "yearly")
_COUNTS = ("rotate", "maxage", "minage", "start", "shredcycles")
_SCRIPTS = ("prerotate", "postrotate", "firstaction", "lastaction", "preremove")
_PATHS = ("olddir", "compresscmd", "uncompresscmd", "compressext", "mail")
_TEXTS = ("extension", "addextension")


class Settings(Struct, frozen=True):
    """What is in force for a log; the defaults are those that logrotate starts with.

    `criterion` is "size" or one of the frequencies: the last one given wins. Sizes are in bytes and
    ages in days; 0 switches `maxage`, `minage`, `minsize` and `maxsize` off. `quotes` tells where
    each directive was given.
    """

    criterion: str = "size"
    size: int = 1 << 20
    weekday: int = 0
    rotate: int = 0
    maxage: int = 0
    minage: int = 0
    minsize: int = 0
    maxsize: int = 0
    start: int = 1
    shredcycles: int = 0
    dateext: bool = False
    ifempty: bool = True
    missingok: bool = False
    copy: bool = False
    ignoreduplicates: bool = False
    createolddir: bool = False
    allowhardlink: bool = False
    olddir: str = ""
    su: str = ""
    quotes: Mapping[str, Quote] = {}


class Pattern(Struct, frozen=True):
    """One name or wildcard before a block, and the files that it stands for."""

    text: str
    files: tuple[str, ...]


class Rule(Struct, frozen=True):
    """One block: its patterns and what is in force for them.

    `doubtful` says that logrotate may read it otherwise, or not at all: there is a mistake in it,
    or one elsewhere that an old logrotate stumbles over.
    """

    patterns: tuple[Pattern, ...]
    settings: Settings
    quote: Quote
    doubtful: bool = False


class Mistake(Struct, frozen=True):
    """A line that logrotate complains of.

    `cost` is what 3.21 loses by it: "line", "block", "file" (from that line on), "duplicate" (the
    rest of that pattern) or "unread" (we lack an included file).
    """

    text: str
    cost: str
    quote: Quote


class Logrotate(Struct, frozen=True):
    """The rules in the order in which they are read, and the mistakes on the way."""

    rules: tuple[Rule, ...]
    mistakes: tuple[Mistake, ...]

    @property
    def whole(self) -> bool:
        """Whether every file that it includes was read."""
        return all(mistake.cost != "unread" for mistake in self.mistakes)

    def rule(self, path: str) -> Rule | None:
        """The rule that turns this file over: the first one that claims it."""
        for rule in self.rules:
            if any(path in pattern.files for pattern in rule.patterns):
                return rule
        return None


def read_logrotate(evidence: Evidence, listing: Listing) -> Logrotate | None:
    """The whole configuration; None where there is none.

    Raises:
        EvidenceMissing: the main file exists and could not be read.
    """
    for path in CONFIGURATIONS:
        section = evidence.file(path)
        if section is not None:
            reading = _Reading(evidence, listing)
            reading.file(section, _Block(Settings(), Quote(section.name)))
            return reading.result()
    return None


def read_version(evidence: Evidence) -> tuple[int, ...]:
    """The installed logrotate's version, or () where it did not tell."""
    section = evidence.sections.get("logs.logrotate.version")
    if section is None:
        return ()
    told = section.text + section.stderr.decode("utf-8", "replace")
    match = re.search(r"logrotate (\d{1,4})\.(\d{1,4})(?:\.(\d{1,4}))?", told)
    return tuple(int(part) for part in match.groups() if part) if match is not None else ()


class _Block:
    """Settings under construction: the defaults, or one block's."""

    def __init__(self, settings: Settings, quote: Quote) -> None:
        self.settings = settings
        self.quote = quote
        self.patterns: list[Pattern] = []
        self.doubtful = False

    def set(self, quote: Quote, name: str, **values: object) -> None:
        quotes = {**self.settings.quotes, name: quote}
        self.settings = msgspec.structs.replace(self.settings, quotes=quotes, **values)


class _Reading:
    """One run over all files: what they share in logrotate they share here."""

    def __init__(self, evidence: Evidence, listing: Listing) -> None:
        self.evidence = evidence
        self.listing = listing
        self.version = read_version(evidence)
        self.blocks: list[_Block] = []
        self.owners: dict[str, _Block] = {}
        self.mistakes: list[Mistake] = []
        self.taboo = [f"*{ending}" for ending in _TABOO]
        self.depth = 0

    def result(self) -> Logrotate:
        """Before 3.12 one mistake stopped everything, so where the version is not known it may."""
        costly = any(mistake.cost in {"block", "file"} for mistake in self.mistakes)
        fatal = costly and self.version < (3, 12)
        rules = [
            Rule(tuple(block.patterns), block.settings, block.quote, block.doubtful or fatal)
            for block in self.blocks
        ]
        return Logrotate(tuple(rules), tuple(self.mistakes))

    def before(self, version: tuple[int, int]) -> bool:
        """Whether the installed logrotate is known to be older."""
        return () < self.version < version

    def drop(self, block: _Block) -> None:
        """Forget a block and what it had claimed."""
        self.blocks.remove(block)
        self.owners = {path: owner for path, owner in self.owners.items() if owner is not block}

    def mistake(self, text: str, cost: str, quote: Quote) -> None:
        self.mistakes.append(Mistake(text, cost, quote))

    def file(self, section: Section, base: _Block) -> bool:
        """Read one file into `base`; a file with a mistake leaves no defaults behind.

        Returns False where logrotate reports the file as wrong.
        """
        path = section.name.removeprefix("file:")
        listed = self.listing.files.get(path)
        if listed is not None and listed.kind == "-" and (listed.mode & 0o022 or listed.uid):
            why = "writable by group or others" if listed.mode & 0o022 else "not owned by root"
            self.mistake(f"ignored: {why}", "file", listed.quote)
            return True
        before = base.settings
        good = _File(self, section, base).read()
        if not good:
            base.settings = before
        return good

    def include(self, path: str, base: _Block, quote: Quote) -> bool:
        """Read a file, or the files of a directory in the order of their names."""
        if f"dir:{path}" not in self.evidence.sections:
            return self._one(f"file:{path}", base, quote)
        try:
            sections = self.evidence.directory(path)
        except EvidenceMissing:
            self.mistake(f"{path} could not be read", "unread", quote)
            return True
        have = {section.name.rpartition("/")[2] for section in sections}
        for file in self.listing.inside(path):  # names with a dot first, or too many files
            name = file.path.rpartition("/")[2]
            if file.kind in "-l" and name not in have and not self.banned(name):
                self.mistake(f"{file.path} could not be read", "unread", file.quote)
        good = self.evidence.sections[f"dir:{path}"].gap is None
        for section in sections:
            name = section.name.rpartition("/")[2]
            if not self.banned(name):
                good = self._one(section.name, base, quote) and good
        return good

    def banned(self, name: str) -> bool:
        """Whether tabooext or taboopat keeps a file of this name out."""
        return any(_taboo(name, pattern) for pattern in self.taboo)

    def _one(self, name: str, base: _Block, quote: Quote) -> bool:
        section = self.evidence.sections.get(name)
        if section is None or section.gap not in {None, Gap.ABSENT}:
            self.mistake(f"{name.removeprefix('file:')} could not be read", "unread", quote)
            return True
        if section.gap is Gap.ABSENT:
            self.mistake(f"cannot stat {name.removeprefix('file:')}", "line", quote)
            return False
        return self.file(section, base)

    def expand(self, pattern: str) -> list[str]:
        """What glob(3) makes of it; a wildcard without any match stands for itself."""
        if pattern.startswith("~/"):
            pattern = f"/root{pattern[1:]}"
        return self.listing.glob(pattern) or [pattern]


def _taboo(name: str, pattern: str) -> bool:
    """fnmatch(3) with FNM_PERIOD: no wildcard matches a leading period."""
    if name.startswith(".") and not pattern.startswith("."):
        return False
    return fnmatch.fnmatchcase(name, pattern)


class _Wrong(Exception):  # noqa: N818 - a jump, as in the original
    """Something logrotate complains of; it costs the block, or the file where there is no block."""


class _GiveUp(Exception):  # noqa: N818 - a jump, as in the original
    """Something that ends the reading of this file."""


class _File:
    """The reading of one file: a machine that takes one character at a time.

    Its states are "text", "comment" (to the end of the line), "after" (behind a closing brace),
    "script", "scriptline" and "wrong". While `skipping`, a spoilt block is passed over until a line
    that begins with its closing brace.
    """

    def __init__(self, reading: _Reading, section: Section, base: _Block) -> None:
        self.reading = reading
        self.name = section.name
        self.text = section.text
        self.newlines = [match.start() for match in re.finditer("\n", self.text)]
        self.base = base
        self.block = base
        self.at = 0
        self.state = "text"
        self.skipping = False
        self.script = False
        self.good = True

    def read(self) -> bool:
        """False where logrotate reports a mistake in the file."""
        try:
            while self.at < len(self.text):
                self._step()
                self.at += 1
            if self.script:
                self._give_up("a script without endscript")
        except _GiveUp:
            if self.block is not self.base:
                self.reading.drop(self.block)
            return False
        return self.good

    def _step(self) -> None:
        try:
            _STATES[self.state](self)
        except _Wrong as wrong:
            if self.block is self.base:
                self._give_up(str(wrong))
            self._mistake(str(wrong), "block")
            self.state = "wrong"

    def _give_up(self, text: str) -> NoReturn:
        self._mistake(text, "file")
        raise _GiveUp

    def _mistake(self, text: str, cost: str) -> None:
        self.reading.mistake(text, cost, self._quote())
        self.block.doubtful = self.block is not self.base

    def _quote(self) -> Quote:
        line = bisect.bisect_left(self.newlines, min(self.at, len(self.text) - 1)) + 1
        return Quote(self.name, line, line)

    def _close_quote(self) -> None:
        self.block.quote = Quote(self.name, self.block.quote.first, self._quote().first)

    # Characters and words, as logrotate isolates them.

    def _char(self) -> str:
        return self.text[self.at] if self.at < len(self.text) else "\0"

    def _blanks(self) -> None:
        while self._char() in " \t":
            self.at += 1

    def _word(self) -> str:
        self._blanks()
        start = self.at
        while self._char().isascii() and self._char().isalpha():
            self.at += 1
        return self.text[start : self.at]

    def _line(self) -> str:
        """The rest of the line, trimmed at its end; stops before the newline's predecessor."""
        end = self.text.find("\n", self.at)
        rest = self.text[self.at :] if end < 0 else self.text[self.at : end].rstrip(" \t\r\v\f")
        self.at = (len(self.text) if end < 0 else end) - 1
        return rest

    def _value(self) -> str | None:
        """The argument of a directive, after blanks or an equals sign; None where there is none."""
        start = self.at
        self._blanks()
        if self._char() == "=":
            self.at += 1
            self._blanks()
        if self._char() == "\n":
            self.at = start
            return None
        return self._line()

    # The states.

    def in_text(self) -> None:
        char = self._char()
        if self.skipping:
            self._skip(char)
        elif char in " \t\n":
            return
        elif char == "#":
            self.state = "comment"
        elif char.isascii() and char.isalpha():
            self._directive()
        elif char in "/\"'~":
            self._names()
        elif char == "}":
            self._close()
        else:
            raise _Wrong("a line must begin with a keyword or a file name")

    def _skip(self, char: str) -> None:
        if char == "}":
            self.skipping = False
            self.reading.drop(self.block)
            self.block = self.base
            return
        if self._word() in _SCRIPTS:
            self.state = "script"
        elif self._char() != "\n":
            self.state = "comment"

    def in_comment(self) -> None:
        if self._char() == "\n":
            self.state = "text"

    def in_after(self) -> None:
        if self._char() in " \t":
            return
        if self._char() == "\n":
            self.state = "text"
            return
        self.reading.mistake("text after the closing brace", "line", self._quote())
        self.state = "comment"

    def in_wrong(self) -> None:
        self.good = False
        self.skipping = True
        self.state = "text"

    def in_script(self) -> None:
        if self._word() == "endscript":
            self.script = False
            self.state = "text"
        elif self._char() != "\n":
            self.state = "scriptline"

    def in_scriptline(self) -> None:
        if self._char() == "\n":
            self.state = "script"

    # Blocks.

    def _names(self) -> None:
        if self.block is not self.base:
            raise _Wrong("a file name inside a block")
        self.block = _Block(self.base.settings, self._quote())
        self.reading.blocks.append(self.block)
        words = arguments(self._before_brace())
        if words is None:
            self._give_up("file names expected before {")
        for word in words:
            self._claim(word)

    def _before_brace(self) -> str:
        """The text up to the opening brace without its comments; ends on the brace."""
        kept: list[str] = []
        comment = fresh = False
        while (char := self._char()) != "{" or comment:
            if self.at >= len(self.text):
                self._give_up("{ expected after the file names")
            if char == "\n":
                comment, fresh = False, True
            elif fresh and not char.isspace():
                comment, fresh = char == "#", False
            if not comment:
                if char == "}":
                    self._give_up("} without {")
                kept.append(char)
            self.at += 1
        return "".join(kept)

    def _claim(self, text: str) -> None:
        """Add one pattern's files; at one that has a rule already, the rest of them is lost."""
        files: list[str] = []
        for path in self.reading.expand(text):
            other = self.reading.owners.get(path)
            if other is None:
                self.reading.owners[path] = self.block
                files.append(path)
            elif not other.settings.ignoreduplicates:
                self.reading.mistake(f"{path} has a rule already", "duplicate", self._quote())
                self.good = False
                break
        self.block.patterns.append(Pattern(text, tuple(files)))

    def _close(self) -> None:
        if self.block is self.base:
            self._give_up("} without {")
        self._close_quote()
        self._check_olddir()
        self.block = self.base
        self.state = "after"

    def _check_olddir(self) -> None:
        """An olddir that is not there ends the reading of the file."""
        settings, listing = self.block.settings, self.reading.listing
        if not settings.olddir or settings.createolddir:
            return
        for path in (path for pattern in self.block.patterns for path in pattern.files):
            directory = path.rpartition("/")[0]
            olddir = settings.olddir
            if not olddir.startswith("/"):
                olddir = f"{directory}/{olddir}"
            known = listing.is_directory(directory) and listing.is_directory(
                olddir.rpartition("/")[0]
            )
            if known and olddir not in listing.files:
                self._give_up(f"olddir {olddir} does not exist")

    # Directives.

    def _directive(self) -> None:
        quote = self._quote()
        word = self._word()
        if not (self._char().isspace() or self._char() == "="):
            raise _Wrong(f"{word} is not set off by a space")
        if word in _FLAGS:
            for name, value in _FLAGS[word].items():
                self.block.set(quote, name, **{name: value})
        elif word in _WITHOUT_EFFECT_ON_RETENTION:
            return
        elif word in _FREQUENCIES:
            self._frequency(word, quote)
        elif word in _COUNTS:
            self._count(word, quote)
        elif word in {"size", "minsize", "maxsize"}:
            self._size(word, quote)
        elif word in _SCRIPTS:
            self.state = "script"
            self.script = True
        elif word in _SPECIAL:
            _SPECIAL[word](self, quote)
        elif word in _PATHS or word in _TEXTS:
            self._path(word, quote)
        else:
            self.reading.mistake(f"unknown directive {word}", "line", quote)
            if self._char() != "\n":
                self.state = "comment"

    def _frequency(self, word: str, quote: Quote) -> None:
        self.block.set(quote, "criterion", criterion=word)
        if word == "daily":
            self.block.set(quote, "criterion", size=1)
        elif word == "weekly":
            rest = self._line()
            day = re.fullmatch(r"\s*\+?(\d{1,9})", rest)
            if rest and (day is None or int(day[1]) > 7):
                self._give_up(f"bad weekday {rest.strip()}")
            self.block.set(quote, "criterion", weekday=int(day[1]) if day is not None else 0)

    def _count(self, word: str, quote: Quote) -> None:
        value = self._value()
        if value is None:
            raise _Wrong(f"{word} needs a number")
        number, rest = c_integer(value)
        self.block.set(quote, word, **{word: number})  # a wrong one is in force, too
        least = -1 if word == "rotate" and not self.reading.before((3, 15)) else 0
        if rest or number < least:
            raise _Wrong(f"bad number after {word}")

    def _size(self, word: str, quote: Quote) -> None:
        value = self._value()
        if not value:
            self.reading.mistake(f"{word} without a number", "line", quote)
            return
        unit = {"k": 10, "K": 10, "M": 20, "G": 30}.get(value[-1])
        number, rest = c_integer(value[:-1] if unit else value, wide=True)
        if rest or number < 0 or not (unit or value[-1] in "0123456789"):
            raise _Wrong(f"bad size {value}")
        self.block.set(quote, word, **{word: number << (unit or 0)})
        if word == "size":
            self.block.set(quote, "criterion", criterion="size")

    def _path(self, word: str, quote: Quote) -> None:
        value = self._value()
        if value is None:
            raise _Wrong(f"{word} needs an argument")
        if word in _PATHS and re.search(r"[\s\x00-\x1f\x7f]", value):
            raise _Wrong(f"bad path after {word}")
        if word == "olddir":
            self.block.set(quote, word, olddir=value)

    def compressoptions(self, quote: Quote) -> None:  # noqa: ARG002 - as its neighbours in the table
        if not arguments(self._line()):
            raise _Wrong("bad compressoptions")

    def dateformat(self, quote: Quote) -> None:  # noqa: ARG002 - as its neighbours in the table
        self._value()

    def create(self, quote: Quote) -> None:  # noqa: ARG002 - as its neighbours in the table
        self._owner()

    def createolddir(self, quote: Quote) -> None:
        self._owner()
        self.block.set(quote, "createolddir", createolddir=True)

    def _owner(self) -> None:
        rest = re.sub(r"^\s*[+-]?[0-7]+", "", self._line())
        if len(rest.split()) > 2:
            raise _Wrong("too many arguments")
        self._known(rest.split())

    def su(self, quote: Quote) -> None:
        names = self._line().split()
        if len(names) > 2 or (len(names) < 2 and not self.block.settings.su):
            raise _Wrong("su needs a user and a group")
        self._known(names)
        self.block.set(quote, "su", su=" ".join(names))

    def _known(self, names: list[str]) -> None:
        """An unknown user or group costs the block; we can look up the local ones only."""
        for name, path in zip(names, ("/etc/passwd", "/etc/group"), strict=False):
            section = self.reading.evidence.sections.get(f"file:{path}")
            if section is None or section.gap is not None or name.isdigit():
                continue
            if not re.search(rf"^{re.escape(name)}:", section.text, re.MULTILINE):
                self.reading.mistake(f"{name} is not in {path}", "line", self._quote())
                self.block.doubtful = True

    def tabooext(self, quote: Quote) -> None:  # noqa: ARG002 - as its neighbours in the table
        self._taboo("*")

    def taboopat(self, quote: Quote) -> None:  # noqa: ARG002 - as its neighbours in the table
        self._taboo("")

    def _taboo(self, before: str) -> None:
        if self.block is not self.base:
            raise _Wrong("a taboo list inside a block")
        value = self._value()
        if value is None:
            return
        if not value.startswith("+"):
            self.reading.taboo = []
        words = re.split(r"[\s,]+", value.removeprefix("+").strip())
        self.reading.taboo += [f"{before}{word}" for word in words if word]

    def include(self, quote: Quote) -> None:
        value = self._value()
        if value is None:
            raise _Wrong("include needs an argument")
        if value.startswith("~/"):
            value = f"/root{value[1:]}"
        if self.reading.depth >= _DEEPEST:
            self.reading.mistake("include nested too deep", "line", quote)
            self.good = False
            return
        self.reading.depth += 1
        good = self.reading.include(value.rstrip("/") or "/", self.block, quote)
        self.reading.depth -= 1
        if not good and self.block is not self.base:
            self._mistake(f"a wrong file is included in a block: {value}", "block")
        self.good = self.good and good


_STATES: Mapping[str, Callable[[_File], None]] = {
    "text": _File.in_text,
    "comment": _File.in_comment,
    "after": _File.in_after,
    "wrong": _File.in_wrong,
    "script": _File.in_script,
    "scriptline": _File.in_scriptline,
}
_SPECIAL: Mapping[str, Callable[[_File, Quote], None]] = {
    "compressoptions": _File.compressoptions,
    "dateformat": _File.dateformat,
    "create": _File.create,
    "createolddir": _File.createolddir,
    "su": _File.su,
    "tabooext": _File.tabooext,
    "taboopat": _File.taboopat,
    "include": _File.include,
}


def arguments(text: str) -> list[str] | None:
    """Split as popt does: blanks separate, quotes join, a backslash takes the next character.

    None where a backslash ends the text, or nothing is left.
    """
    words: list[str] = []
    word, quote = "", ""
    at = 0
    while at < len(text):
        char = text[at]
        at += 1
        if quote and char == quote:
            quote = ""
        elif char == "\\":
            if at == len(text):
                return None
            word += ("\\" if quote and text[at] != quote else "") + text[at]
            at += 1
        elif quote:
            word += char
        elif char.isspace():
            words += [word] if word else []
            word = ""
        elif char in "\"'":
            quote = char
        else:
            word += char
    words += [word] if word else []
    return words or None


def c_integer(text: str, *, wide: bool = False) -> tuple[int, str]:
    """The number that strtol(3) takes with base 0, 32 bits unless `wide`, and what it leaves."""
    match = re.match(
        r"[ \t\n\v\f\r]*([+-]?)(0[xX](?=[0-9a-fA-F])[0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)", text
    )
    if match is None:
        return 0, text
    digits = match[2].lower()
    base = 16 if digits.startswith("0x") else 8 if digits.startswith("0") else 10
    number = min(int(digits[:80], base), 2**63 - 1)  # longer ones are as far beyond the limit
    number = -number if match[1] == "-" else number
    return number if wide else (number + 2**31) % 2**32 - 2**31, text[match.end() :]
