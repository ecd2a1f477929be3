"""Apache configuration: the certificates and keys of its virtual hosts."""

import re
from collections.abc import Iterable, Iterator

from msgspec import Struct
from msgspec.structs import replace

from audit_agent.facts.webconfig.configuration import Reference, Tree
from audit_agent.model import Gap, Quote, Section

_ROLES = {
    "sslcertificatefile": "certificate",
    "sslcertificatechainfile": "chain",
    "sslcertificatekeyfile": "key",
}
_ARGUMENT = re.compile(r"""\s*(?:"((?:\\.|[^"\\])*)"|'((?:\\.|[^'\\])*)'|(\S+))""")
_VARIABLE = re.compile(r"\$\{(\w+)\}")
_DEEPEST_INCLUDE = 12


class Directive(Struct, frozen=True):
    """One logical line: its name in lower case ("<virtualhost" opens a section), its arguments."""

    name: str
    arguments: tuple[str, ...]
    quote: Quote


def parse(section: Section) -> Iterator[Directive]:
    """The directives of one file; a backslash at the end of a line joins the next one to it."""
    held, first = "", 0
    for number, line in enumerate([*section.lines, ""], 1):
        first = first if held else number
        held += line.removesuffix("\r")
        if held.endswith("\\") and number <= len(section.lines):
            held = held[:-1] or " "
            continue
        name, *rest = held.split(maxsplit=1) or [""]
        held = ""
        if name and not name.startswith("#"):
            quote = Quote(section.name, first, min(number, len(section.lines)))
            yield Directive(name.lower(), _arguments("".join(rest)), quote)


def _arguments(text: str) -> tuple[str, ...]:
    return tuple(
        re.sub(r"\\(.)", r"\1", found[1] or found[2] or "") if found[3] is None else found[3]
        for found in _ARGUMENT.finditer(text)
    )


class _Walk:
    """One reading in the server's own order: definitions hold from where they stand."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._root = tree.base
        self._defined: dict[str, str] = {}

    def references(self, section: Section, files: tuple[str, ...]) -> Iterator[Reference]:
        """Those of one file, includes followed in place."""
        hosts: list[tuple[str, ...]] = []
        waiting: list[Reference] = []
        for directive in parse(section):
            if directive.name.strip("</>") == "virtualhost":
                yield from _with_names(waiting, hosts)
                waiting = []
                opened = not directive.name.startswith("</")
                hosts = [tuple(word.rstrip(">") for word in directive.arguments)] * opened
            elif directive.name in {"servername", "serveralias"} and hosts:
                hosts.append(directive.arguments)
            else:
                waiting += self._named(directive, files)
        yield from _with_names(waiting, hosts)

    def _named(self, directive: Directive, files: tuple[str, ...]) -> Iterable[Reference]:
        value = self._expand(directive.arguments[0]) if directive.arguments else ""
        if directive.name == "define" and value:
            self._defined[value] = self._expand("".join(directive.arguments[1:2]))
        elif directive.name == "serverroot" and value:
            self._root = value
        elif directive.name in {"include", "includeoptional"} and value:
            yield from self._included(value, directive, files)
        elif role := _ROLES.get(directive.name):
            path = self._tree.resolve(value, self._root)
            yield Reference("apache", role, path, value, (), directive.quote)

    def _included(
        self, value: str, directive: Directive, files: tuple[str, ...]
    ) -> Iterator[Reference]:
        pattern = self._tree.resolve(value, self._root)
        if not pattern:
            self._tree.missing[directive.quote.section] = Gap.FAILED
            return
        for section in self._tree.included(pattern):
            path = section.name.removeprefix("file:")
            if path not in files and len(files) < _DEEPEST_INCLUDE:
                yield from self.references(section, (*files, path))

    def _expand(self, text: str) -> str:
        for _ in range(5):
            known = _VARIABLE.sub(lambda found: self._defined.get(found[1], found[0]), text)
            if known == text or len(known) > 4096:
                break
            text = known
        return text


def _with_names(waiting: list[Reference], hosts: list[tuple[str, ...]]) -> Iterator[Reference]:
    """Names of the virtual host, or where none is given, the address it listens on."""
    names = tuple(dict.fromkeys(name for group in (hosts[1:] or hosts[:1]) for name in group))
    for reference in waiting:
        yield replace(reference, names=reference.names or names)


def references(tree: Tree) -> Iterator[Reference]:
    """The certificates and keys that the configuration names, includes followed in place.

    Conditions (IfModule, IfDefine) are taken to hold: what a module that is not loaded would
    read is still named.
    """
    walk = _Walk(tree)
    for path in tree.mains:
        section = tree.read(path)
        if section is not None:
            yield from walk.references(section, (path,))
