"""HAProxy configuration: the certificates of its bind lines, crt-lists and crt-stores."""

import re
from collections.abc import Iterator
from itertools import pairwise

from audit_agent.facts.webconfig.configuration import Reference, Tree
from audit_agent.model import Quote, Section

_WORD = re.compile(r"""(?:\\.|"(?:\\.|[^"\\])*"|'[^']*'|[^\s#"'\\])+|["'\\]|\#.*""")
_PIECE = re.compile(r"""\\(.)|"((?:\\.|[^"\\])*)"|'([^']*)'|([^"'\\]+)""")
_SECTIONS = {
    "global", "defaults", "frontend", "backend", "listen", "peers", "resolvers", "userlist",
    "mailers", "cache", "program", "http-errors", "ring", "log-forward", "crt-store", "traces",
    "log-profile", "fcgi-app", "acme",
}  # fmt: skip


def words(line: str) -> list[str]:
    """The words of one line, unquoted; a comment ends it. Variables stay as written."""
    found: list[str] = []
    for word in _WORD.findall(line):
        if word.startswith("#"):
            break
        found.append(_PIECE.sub(_unquoted, word))
    return found


def _unquoted(piece: re.Match[str]) -> str:
    return next((group for group in piece.groups() if group is not None), "")


class _Walk:
    """One reading of the files in order: crt-base holds from where it stands."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._bases = {"crt-base": "", "key-base": ""}
        self._store: dict[str, str] = {}
        self._where: tuple[str, ...] = ()

    def references(self, section: Section) -> Iterator[Reference]:
        for number, line in enumerate(section.lines, 1):
            found = words(line)
            if not found:
                continue
            if found[0] in _SECTIONS:
                self._where = (" ".join(found[:2]),)
                self._store = {} if found[0] == "crt-store" else self._bases
            elif found[0] in self._bases and len(found) > 1:
                self._store[found[0]] = found[1]
            elif found[0] in {"bind", "load", "ssl-f-use"}:
                yield from self._named(found, Quote(section.name, number, number))

    def _named(self, found: list[str], quote: Quote) -> Iterator[Reference]:
        bases = self._bases | self._store
        for key, value in pairwise(found):
            if key == "crt":
                yield self._reference("bundle", value, bases["crt-base"], self._where, quote)
            elif key == "crt-list":
                yield from self._listed(value, bases["crt-base"], quote)
            elif key == "key" and found[0] == "load":
                base = bases["key-base"] or bases["crt-base"]
                yield self._reference("key", value, base, self._where, quote)

    def _listed(self, written: str, base: str, quote: Quote) -> Iterator[Reference]:
        """A crt-list: on each line a bundle, options in brackets, then the names it serves."""
        path = self._tree.resolve(written, "")
        if not path:
            yield Reference("haproxy", "bundle", "", written, self._where, quote)
            return
        section = self._tree.read(path)
        for number, line in enumerate(section.lines if section is not None else [], 1):
            found = re.sub(r"\[[^\]]*\]", " ", line).split()
            if section is not None and found and not found[0].startswith("#"):
                here = Quote(section.name, number, number)
                names = tuple(found[1:]) or self._where
                yield self._reference("bundle", found[0], base, names, here)

    def _reference(
        self, role: str, written: str, base: str, names: tuple[str, ...], quote: Quote
    ) -> Reference:
        path = self._tree.resolve(written, base)
        return Reference("haproxy", role, path, written, names, quote)


def references(tree: Tree) -> Iterator[Reference]:
    """The bundles and keys that the configuration names.

    What HAProxy shows to the servers behind it (the `crt` of a server line) is not among them.
    """
    walk = _Walk(tree)
    for path in tree.mains:
        section = tree.read(path)
        if section is not None:
            yield from walk.references(section)
