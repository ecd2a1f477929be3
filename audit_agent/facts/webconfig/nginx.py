"""nginx configuration: the certificates and keys of its servers (http, stream and mail)."""

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator

from msgspec import Struct

from audit_agent.facts.webconfig.configuration import REDACTED, Reference, Tree
from audit_agent.model import Quote, Section

_ROLES = {"ssl_certificate": "certificate", "ssl_certificate_key": "key"}
_DEEPEST_BLOCK = 40
_DEEPEST_INCLUDE = 12
# Quotes count at the beginning of a word only, and a string does not run over a redacted line.
_TOKEN = re.compile(
    r"""\s+ | \#[^\n]* | (?P<sign>[;{}])
    | "(?P<double>(?:\\.|(?!\[redacted\]\n)[^"\\])*)"(?=[\s;{})]|$)
    | '(?P<single>(?:\\.|(?!\[redacted\]\n)[^'\\])*)'(?=[\s;{})]|$)
    | (?P<word>(?:\\.|\$\{[^}\s]{0,200}\}|[^\s;{}])+)""",
    re.VERBOSE | re.DOTALL,
)
_LUA = re.compile(
    r"""--\[\[.{0,2000}?\]\] | --[^\n]* | \[\[.{0,2000}?\]\]
    | "(?:\\.|[^"\\\n])*" | '(?:\\.|[^'\\\n])*' | (?P<brace>[{}])""",
    re.VERBOSE | re.DOTALL,
)


class Directive(Struct):
    """A statement: its words, where it stands, and, for a block, what is in it."""

    words: list[str]
    quote: Quote
    block: "list[Directive] | None" = None


def parse(section: Section) -> list[Directive]:
    """The statements of one file. Never raises: a brace too many or too few is overlooked.

    A redacted line is taken to end its statement.
    """
    text = section.text
    starts = [0, *(found.end() for found in re.finditer("\n", text))]
    top: list[Directive] = []
    stack: list[tuple[str, list[Directive]]] = [("", top)]
    words: list[str] = []
    first = position = 0
    lua = True
    while position < len(text):
        found = _TOKEN.match(text, position)
        if found is None:
            position += 1
            continue
        here, position = position, found.end()
        if found.lastgroup is None:
            continue
        if found.lastgroup != "sign":
            first = first if words else bisect_right(starts, here)
            words.append(_unquoted(found))
            if not (words[-1].endswith(REDACTED) and text[position : position + 1] in {"\n", ""}):
                continue
        if words:
            quote = Quote(section.name, first, bisect_right(starts, here))
            directive = Directive(words, quote)
            words = []
            if found["sign"] == "{" and directive.words[0].endswith("_by_lua_block"):
                after = _after_lua(text, position) if lua else position
                lua, position = after > position, after
            elif found["sign"] == "{":
                directive.block = []
                _open(stack, directive)
                continue
            stack[-1][1].append(directive)
        if found["sign"] == "}" and len(stack) > 1:
            stack.pop()
    return top


def _unquoted(found: re.Match[str]) -> str:
    """A backslash is dropped before a quote or another one; before other letters it stays."""
    return re.sub(r"""\\(["'\\])""", r"\1", found[found.lastgroup or 0])


def _open(stack: list[tuple[str, list[Directive]]], directive: Directive) -> None:
    """A server never stands in a server: if it seems to, closing braces were lost before."""
    name = directive.words[0]
    if directive.words == ["server"]:
        for depth, (outer, _) in enumerate(stack):
            if outer == "server":
                del stack[depth:]
                break
    stack[-1][1].append(directive)
    inner = directive.block if len(stack) < _DEEPEST_BLOCK else stack[-1][1]
    stack.append((name, inner if inner is not None else []))


def _after_lua(text: str, position: int) -> int:
    """Where the block of Lua code that begins at `position` ends, if it can be told."""
    depth = 1
    for found in _LUA.finditer(text, position):
        if found["brace"]:
            depth += 1 if found["brace"] == "{" else -1
        if depth == 0:
            return found.end()
    return position


def references(tree: Tree) -> Iterator[Reference]:
    """The certificates and keys that the configuration names, includes followed in place."""
    for path in tree.mains:
        section = tree.read(path)
        if section is not None:
            yield from _named(tree, parse(section), (), (path,))


def _named(
    tree: Tree, directives: Iterable[Directive], names: tuple[str, ...], files: tuple[str, ...]
) -> Iterator[Reference]:
    within = list(_expanded(tree, directives, files))
    if any(directive.words[0] == "server_name" for directive, _ in within):
        names = tuple(
            dict.fromkeys(
                word
                for directive, _ in within
                if directive.words[0] == "server_name"
                for word in directive.words[1:]
                if word not in {"_", ""}
            )
        )
    for directive, inside in within:
        role = _ROLES.get(directive.words[0])
        if directive.block is not None:
            yield from _named(tree, directive.block, names, inside)
        elif role and len(directive.words) > 1:
            written = directive.words[1]
            path = tree.resolve(written)
            yield Reference("nginx", role, path, written, names, directive.quote)


def _expanded(
    tree: Tree, directives: Iterable[Directive], files: tuple[str, ...]
) -> Iterator[tuple[Directive, tuple[str, ...]]]:
    """The directives with includes replaced by what they include; each with the files it is in."""
    for directive in directives:
        if directive.words[0] != "include" or len(directive.words) < 2:
            yield directive, files
            continue
        for section in tree.included(tree.resolve(directive.words[1])):
            path = section.name.removeprefix("file:")
            if path not in files and len(files) < _DEEPEST_INCLUDE:
                yield from _expanded(tree, parse(section), (*files, path))
