"""The words of nft's own language (nft(8)): `nft list ruleset`, and files such as nftables.conf."""

import re
from collections.abc import Sequence

from msgspec import Struct

_WORD = re.compile(
    r"""(?P<space>[ \t\r]+|\\\n|\#[^\n]*)
    |(?P<string>"[^"\n]*"(?:-"[^"\n]*")?)
    |(?P<mark>[\n;{},()=](?!=))
    |(?P<operator>==|!=|<=|>=|<<|>>|[<>&|^!])
    |(?P<word>[^\s;{},()=\#"<>&|^!]+)
    |(?P<other>.)""",
    re.VERBOSE,
)
_ADDRESS_COLON = re.compile(r"[0-9a-fA-F:.]*::?$")


class Token(Struct, frozen=True):
    """One word, sign or quoted string (without its quotes), with its line, counted from 1."""

    text: str
    line: int
    quoted: bool = False


def tokens(lines: Sequence[str], *, listing: bool = False) -> list[Token]:
    """The tokens of a text; a newline is one, as is each bracket. Variables are put in.

    In a `listing`, nft writes what it cannot express as a comment, which so becomes a token.
    """
    found: list[Token] = []
    number = 1
    for match in _WORD.finditer("\n".join(lines) + "\n"):
        text = match[0]
        if match["string"] is not None:
            found.append(Token(text.replace('"', ""), number, quoted=True))
        elif match["word"] is not None:
            found += _split(text, number)
        elif match["space"] is None or (listing and _meant(text)):
            found.append(Token(text, number))
        number += text.count("\n")
    return _defined(found)


def _meant(comment: str) -> bool:
    return comment.startswith("#") and not re.fullmatch(r"# handle \d+\s*|# Warning: .*", comment)


def _split(text: str, line: int) -> list[Token]:
    """`22:` is a key and a colon, `2001:db8::` is an address."""
    if len(text) > 1 and text.endswith(":") and not text.endswith("::"):
        return [Token(text[:-1], line), Token(":", line)]
    return [Token(text, line)]


def _defined(found: list[Token]) -> list[Token]:
    """Takes out `define NAME = VALUE` and puts the value where `$NAME` stands."""
    values: dict[str, list[Token]] = {}
    out: list[Token] = []
    position = 0
    while position < len(found):
        token = found[position]
        if token.text in {"define", "redefine"} and not token.quoted:
            end = _end_of_definition(found, position)
            body = found[position + 1 : end]
            if len(body) > 2 and body[1].text == "=":
                values[body[0].text] = [part for one in body[2:] for part in _value(one, values)]
            position = end
            continue
        out += _value(token, values)
        position += 1
        if len(out) > 1_000_000:
            break
    return out


def _value(token: Token, values: dict[str, list[Token]]) -> list[Token]:
    if token.text.startswith("$") and token.text[1:] in values:
        return [Token(part.text, token.line, part.quoted) for part in values[token.text[1:]]]
    return [token]


def _end_of_definition(found: list[Token], position: int) -> int:
    depth = 0
    while position < len(found):
        text = found[position].text
        depth += (text == "{") - (text == "}")
        if depth <= 0 and text in {"\n", ";"}:
            return position
        position += 1
    return position
