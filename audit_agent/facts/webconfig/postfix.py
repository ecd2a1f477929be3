"""Postfix configuration: the certificates and keys of its SMTP server (main.cf, master.cf)."""

import re
from collections.abc import Iterator

from audit_agent.facts.webconfig.configuration import Reference, Tree
from audit_agent.model import Quote, Section

_NAMES = re.compile(r"smtpd_tls_(?:ec|d)?(?:cert_file|key_file)|smtpd_tls_chain_files")
_OVERRIDE = re.compile(r"(?:-o\s*(\w+)=(\S*))|(?:-o\s*\{\s*(\w+)\s*=\s*([^}]*?)\s*\})")
_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)\}|\((\w+)\))")
_DEFAULTS = {"queue_directory": "/var/spool/postfix", "smtpd_tls_cert_file": ""}


def logical_lines(section: Section) -> Iterator[tuple[str, Quote]]:
    """Lines joined with those that begin with white space after them; comments are left out."""
    held, first, last = "", 0, 0
    for number, line in enumerate(section.lines, 1):
        text = line.removesuffix("\r")
        if not text.strip() or text.lstrip().startswith("#"):
            continue
        if text[0] in " \t" and held:
            held, last = f"{held} {text.strip()}", number
            continue
        if held:
            yield held, Quote(section.name, first, last)
        held, first, last = text.strip(), number, number
    if held:
        yield held, Quote(section.name, first, last)


def references(tree: Tree) -> Iterator[Reference]:
    """The files that the last setting of each parameter names; master.cf may override any."""
    values = _DEFAULTS | {"config_directory": tree.base}
    set_at: dict[str, Quote] = {}
    overrides: list[tuple[str, str, str, Quote]] = []
    for path in tree.mains:
        section = tree.read(path)
        for text, quote in logical_lines(section) if section is not None else ():
            if path.endswith("/master.cf"):
                service = text.split(maxsplit=1)[0]
                for found in _OVERRIDE.finditer(text):
                    name, value = found[1] or found[3], found[2] or found[4] or ""
                    overrides.append((name, value, service, quote))
                continue
            name, equals, value = text.partition("=")
            if equals:
                values[name.strip()] = value.strip()
                set_at[name.strip()] = quote
    for name, quote in set_at.items():
        yield from _named(tree, name, values[name], values, (), quote)
    for name, value, service, quote in overrides:
        yield from _named(tree, name, value, values, (service,), quote)


def _named(
    tree: Tree, name: str, value: str, values: dict[str, str], names: tuple[str, ...], quote: Quote
) -> Iterator[Reference]:
    if name == "tls_server_sni_maps" and value:
        yield Reference("postfix", "bundle", "", value, names, quote)
    if not _NAMES.fullmatch(name):
        return
    role = "bundle" if "chain" in name else "key" if "key" in name else "certificate"
    for word in re.split(r"[\s,]+", _expanded(value, values)):
        if word and word != "none":
            path = tree.resolve(word, _expanded(values["queue_directory"], values))
            yield Reference("postfix", role, path, word, names, quote)


def _expanded(value: str, values: dict[str, str]) -> str:
    """Parameters by their values; what is not known, or goes round in a circle, stays."""
    for _ in range(10):
        known = _VARIABLE.sub(
            lambda found: values.get(found[1] or found[2] or found[3], found[0]), value
        )
        if known == value or len(known) > 4096:
            break
        value = known
    return value
