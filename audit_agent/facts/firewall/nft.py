"""`nft -j list ruleset` (libnftables-json(5)) as tables."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence

from audit_agent.facts.firewall.jsonvalues import elements, members
from audit_agent.facts.firewall.nft_statements import Statements, bare
from audit_agent.facts.firewall.rules import Chain, Rule, Step, Table
from audit_agent.model import Quote

Json = Mapping[str, object]

Lines = dict[tuple[str, str, str, int], tuple[Quote, str]]
"""Where each rule stands, and its text: by family, table, chain and handle."""


class NotARuleset(Exception):  # noqa: N818 - reads as what it says
    """The text is not what `nft -j list ruleset` prints."""


def parse(text: str, lines: Lines) -> tuple[list[Table], set[tuple[str, str]]]:
    """The tables in a ruleset, and which of them (family, name) iptables-nft wrote.

    Of the rules of iptables-nft the listing lacks arguments. `lines` (see `rule_lines`) gives
    each rule its line of text.

    Raises:
        NotARuleset: it is not JSON, or not of that shape.
    """
    try:
        document = members(json.loads(text))
    except (ValueError, RecursionError) as error:
        raise NotARuleset(str(error)[:200]) from error
    if "nftables" not in document:
        raise NotARuleset("no member nftables")
    return from_objects([members(item) for item in elements(document["nftables"])], lines)


def from_objects(items: Sequence[Json], lines: Lines) -> tuple[list[Table], set[tuple[str, str]]]:
    """As `parse`, from the objects of the listing."""
    ruleset = _Ruleset(items, lines)
    return ruleset.tables(), ruleset.foreign()


def rule_lines(lines: Sequence[str], section: str) -> Lines:
    """Where `nft -a list ruleset` has each rule: by family, table, chain and handle.

    Handle 0 is the line with the base chain's hook and policy.
    """
    found: Lines = {}
    family = table = chain = ""
    start = 0
    for number, line in enumerate(lines, 1):
        if head := re.match(r"table (\S+) (\S+) \{", line):
            family, table, chain = head[1], head[2], ""
        elif head := re.match(r"\tchain (\S+) \{", line):
            chain, start = head[1], number + 1
        elif line.startswith("\t}"):
            chain = ""
        elif chain and line.startswith("\t\ttype "):
            found[family, table, chain, 0] = (Quote(section, number, number), line.strip())
            start = number + 1
        elif chain and (rule := re.search(r" # handle (\d{1,19})$", line)):
            text = " ".join(part.strip() for part in lines[start - 1 : number])
            text = text[: text.rindex("# handle ")].rstrip()
            found[family, table, chain, int(rule[1])] = (Quote(section, start, number), text)
            start = number + 1
    return found


def dormant(lines: Sequence[str]) -> set[tuple[str, str]]:
    """The tables (family, name) that the text says are dormant: nft's JSON long left that out."""
    found: set[tuple[str, str]] = set()
    family = table = ""
    for line in lines:
        if head := re.match(r"table (\S+) (\S+) \{", line):
            family, table = head[1], head[2]
        elif re.match(r"\tflags (.*,)?\s*dormant\b", line):
            found.add((family, table))
    return found


class _Ruleset:
    """The objects of one listing, put together."""

    def __init__(
        self,
        items: Sequence[Json],
        lines: Lines,
    ) -> None:
        self._lines = lines
        self._tables: dict[tuple[str, str], Json] = {}
        self._chains: dict[tuple[str, str], list[Json]] = {}
        self._rules: dict[tuple[str, str, str], list[Json]] = {}
        self._sets: dict[tuple[str, str], dict[str, list[object]]] = {}
        for item in items:
            for kind, body in item.items():
                self._take(kind, members(body))
        self._changing: dict[tuple[str, str], set[str]] = {}
        for (family, table, _), rules in self._rules.items():
            changed = self._changing.setdefault((family, table), set())
            for rule in rules:
                changed.update(_written_sets(rule.get("expr")))

    def _take(self, kind: str, body: Json) -> None:
        family, name = str(body.get("family")), str(body.get("name"))
        table = str(body.get("table"))
        if kind == "table":
            self._tables[family, name] = body
        elif kind == "chain":
            self._chains.setdefault((family, table), []).append(body)
        elif kind == "rule":
            self._rules.setdefault((family, table, str(body.get("chain"))), []).append(body)
        elif kind in {"set", "map", "element"}:
            held = self._sets.setdefault((family, table), {}).setdefault(name, [])
            held += [bare(value) for value in elements(body.get("elem"))]

    def tables(self) -> list[Table]:
        """All tables but those that are dormant, whose base chains the kernel has unhooked."""
        return [
            Table(
                "nft",
                family,
                name,
                {
                    str(chain.get("name")): self._chain(family, name, chain)
                    for chain in self._chains.get((family, name), [])
                },
            )
            for (family, name), table in self._tables.items()
            if not _flagged(table, "dormant")
        ]

    def foreign(self) -> set[tuple[str, str]]:
        """The tables with a rule that iptables-nft wrote, by family and name."""
        return {
            (family, table)
            for (family, table, _), rules in self._rules.items()
            for rule in rules
            if any("xt" in members(part) for part in elements(rule.get("expr")))
        }

    def _chain(self, family: str, table: str, body: Json) -> Chain:
        name = str(body.get("name"))
        priority, device = body.get("prio"), body.get("dev")
        devices = elements(device) or ([device] if device else [])
        quote, line = self._lines.get((family, table, name, 0), (Quote("firewall.nft-json"), ""))
        return Chain(
            engine="nft",
            family=family,
            table=table,
            name=name,
            rules=tuple(
                self._rule(family, table, name, number, rule)
                for number, rule in enumerate(self._rules.get((family, table, name), []), 1)
            ),
            quote=quote,
            hook=str(body.get("hook", "")),
            priority=priority if isinstance(priority, int) else 0,
            kind=str(body.get("type", "filter")),
            policy=str(body.get("policy", "accept")),
            devices=tuple(map(str, devices)) or _devices(line),
        )

    def _rule(self, family: str, table: str, chain: str, number: int, body: Json) -> Rule:
        handle = body.get("handle")
        key = (family, table, chain, handle if isinstance(handle, int) else -1)
        quote, text = self._lines.get(key, (Quote("firewall.nft-json"), ""))
        expressions = elements(body.get("expr"))
        reader = Statements(
            family,
            self._sets.get((family, table), {}),
            self._changing.get((family, table), set()),
        )
        steps: list[Step] = []
        for expression in expressions:
            steps += reader.steps(expression)
        return Rule(
            steps=tuple(steps),
            number=number,
            text=text or json.dumps(expressions, ensure_ascii=False),
            quote=quote,
        )


def _devices(line: str) -> tuple[str, ...]:
    """The devices of an ingress chain, from the text: older versions leave them out of the JSON."""
    found = re.search(r" devices? (?:= )?(.*?) priority ", line)
    return tuple(re.findall(r"[^\s{},\"]+", found[1])) if found else ()


def _flagged(body: Json, flag: str) -> bool:
    flags = body.get("flags")
    return flags == flag or flag in elements(flags)


def _written_sets(expressions: object) -> Iterator[str]:
    """The names of the sets that a rule's statements write to."""
    for expression in elements(expressions):
        for kind in ("set", "map"):
            body = members(members(expression).get(kind))
            if body:
                yield str(body.get(kind, "")).removeprefix("@")
