"""sshd_config(5): its settings in order, under the conditions of their Match blocks.

The first value of a keyword counts. Values in Match blocks that apply go before those outside
(again the first counts), and a Match block ends with the file it began in.
"""

import fnmatch
import re
from collections.abc import Iterator
from enum import Enum

from msgspec import Struct

from audit_agent.model import Evidence, EvidenceMissing, Gap, Quote, Section

_DEPTH = 16
_ALIASES = {
    "challengeresponseauthentication": "kbdinteractiveauthentication",
    "skeyauthentication": "kbdinteractiveauthentication",
    "dsaauthentication": "pubkeyauthentication",
}


class Applies(Enum):
    """Whether a Match block applies to a connection of which only the user is known."""

    ALWAYS = "always"
    PERHAPS = "perhaps"
    NEVER = "never"


class Match(Struct, frozen=True):
    """One Match line: its criteria by lower-case name, in order, and the line itself."""

    criteria: tuple[tuple[str, str], ...]
    text: str
    quote: Quote

    def applies_to(self, user: str | None) -> Applies:
        """For `user`, coming from anywhere; None is any valid user."""
        result = Applies.ALWAYS
        for name, pattern in self.criteria:
            if name == "all":
                continue
            if name == "invalid-user" or (
                name == "user" and user is not None and not matches(user, pattern)
            ):
                return Applies.NEVER
            if name != "user" or user is None:
                result = Applies.PERHAPS
        return result

    @property
    def limits_source(self) -> bool:
        """Whether it applies only to connections from named addresses."""
        return any(name == "address" and not _anywhere(value) for name, value in self.criteria)

    @property
    def spares_source(self) -> bool:
        """Whether it applies to every connection but those from named addresses."""
        return all(
            name == "address" and _anywhere(value) and "!" in value for name, value in self.criteria
        )


def _anywhere(patterns: str) -> bool:
    return any(part in {"*", "0.0.0.0/0", "::/0"} for part in patterns.split(","))


def matches(text: str, patterns: str) -> bool:
    """A pattern list of ssh_config(5): commas, "*" and "?", and "!" which always wins."""
    found = False
    for part in patterns.split(","):
        negated = part.startswith("!")
        expression = "".join({"*": ".*", "?": "."}.get(c, re.escape(c)) for c in part.lstrip("!"))
        if re.fullmatch(expression, text, re.DOTALL):
            if negated:
                return False
            found = True
    return found


class Setting(Struct, frozen=True):
    """One keyword (lower-case, of several names the present one) and its arguments.

    It counts where all of `matches` apply; outside Match blocks there are none.
    """

    keyword: str
    value: str
    matches: tuple[Match, ...]
    quote: Quote

    def applies_to(self, user: str | None) -> Applies:
        """Whether all its Match blocks apply."""
        each = {match.applies_to(user) for match in self.matches}
        for worst in (Applies.NEVER, Applies.PERHAPS):
            if worst in each:
                return worst
        return Applies.ALWAYS


class SshdConfig(Struct, frozen=True):
    """Every setting in the order sshd meets them, and the Include lines that lead out of sight.

    `whole` quotes the main file: the proof that a keyword does not stand in it.
    """

    whole: Quote
    settings: tuple[Setting, ...]
    unseen: tuple[Quote, ...]

    def first(self, keyword: str) -> Setting | None:
        """The value that counts where no Match block applies."""
        for setting in self.settings:
            if setting.keyword == keyword and not setting.matches:
                return setting
        return None

    def conditional(self, *keywords: str) -> list[Setting]:
        """The settings of these keywords in Match blocks."""
        return [s for s in self.settings if s.keyword in keywords and s.matches]


def read_sshd_config(evidence: Evidence, path: str) -> SshdConfig:
    """Parse the file and all that it includes.

    Raises:
        EvidenceMissing: the file itself could not be read.
    """
    section = evidence.file(path)
    if section is None:
        raise EvidenceMissing(f"file:{path}", Gap.ABSENT)
    reader = _Reader(evidence)
    reader.read(section, (), 0)
    return SshdConfig(Quote(section.name), tuple(reader.settings), tuple(reader.unseen))


class _Reader:
    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence
        self.settings: list[Setting] = []
        self.unseen: list[Quote] = []

    def read(self, section: Section, outer: tuple[Match, ...], depth: int) -> None:
        """One file, whose lines all stand under the conditions `outer`."""
        here = outer
        for number, line in enumerate(section.lines, 1):
            words = split(line)
            if not words:
                continue
            quote = Quote(section.name, number, number)
            keyword, arguments = words[0].lower(), words[1:]
            if keyword == "match":
                here = (*outer, Match(_criteria(arguments), line.strip(), quote))
            elif keyword == "include":
                for pattern in arguments:
                    self._include(pattern, quote, here, depth)
            else:
                keyword = _ALIASES.get(keyword, keyword)
                self.settings.append(Setting(keyword, " ".join(arguments), here, quote))

    def _include(self, pattern: str, quote: Quote, matches: tuple[Match, ...], depth: int) -> None:
        path = pattern if pattern.startswith("/") else f"/etc/ssh/{pattern}"
        found = list(_files(self._evidence, path))
        if not found and not _seen_empty(self._evidence, path):
            self.unseen.append(quote)
        for section in found:
            if section.gap is Gap.ABSENT:
                continue
            if section.gap is not None or depth >= _DEPTH:
                self.unseen.append(quote)
            else:
                self.read(section, matches, depth + 1)


def _files(evidence: Evidence, pattern: str) -> Iterator[Section]:
    """The collected files that glob(7) would give, in its order."""
    folder, _, name = pattern.rpartition("/")
    start = f"file:{folder}/"
    for section_name, section in sorted(evidence.sections.items()):
        base = section_name.removeprefix(start)
        if base == section_name or "/" in base or (base[:1] == "." and name[:1] != "."):
            continue
        if base == name or (fnmatch.fnmatchcase(base, name) and not re.search(r"[*?\[]", base)):
            yield section


def _seen_empty(evidence: Evidence, pattern: str) -> bool:
    """Whether it was seen that no file fits: the folder was listed, or the shell found none."""
    literal = evidence.sections.get(f"file:{pattern}")
    folder = evidence.sections.get(f"dir:{pattern.rpartition('/')[0]}")
    return (literal is not None and literal.gap is Gap.ABSENT) or (
        folder is not None and folder.gap in {None, Gap.ABSENT}
    )


_WORD = re.compile(r"""\s*(?:"((?:[^"\\]|\\.)*)"|'([^']*)'|([^\s"']+))""")


def split(line: str) -> list[str]:
    """A line's words: keyword, then arguments; "=" may stand after the keyword; "#" ends it."""
    text = line.strip()
    if not text or text.startswith("#"):
        return []
    found = re.match(r'"?([A-Za-z0-9-]+)"?(?:\s*=\s*|\s+|$)', text)
    if found is None:
        return [text]
    words, rest = [found[1]], text[found.end() :]
    while found := _WORD.match(rest):
        word = next(group for group in found.groups() if group is not None)
        if found[3] is not None and word.startswith("#"):
            break
        words.append(word)
        rest = rest[found.end() :]
    return words


def _criteria(arguments: list[str]) -> tuple[tuple[str, str], ...]:
    criteria: list[tuple[str, str]] = []
    rest = list(arguments)
    while rest:
        name, equals, value = rest.pop(0).partition("=")
        name = name.lower()
        if name not in {"all", "invalid-user"} and not equals:
            value = rest.pop(0) if rest else ""
        criteria.append((name, value))
    return tuple(criteria)
