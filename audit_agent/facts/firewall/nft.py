"""`nft -j list ruleset` (libnftables-json(5)) as tables."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from audit_agent.facts.firewall.nft_fields import (
    Field,
    NotUnderstood,
    address,
    field,
    port_range,
    some_flag,
)
from audit_agent.facts.firewall.ranges import Ranges, union
from audit_agent.facts.firewall.rules import (
    ALWAYS,
    AllOf,
    AnyOf,
    Cases,
    Chain,
    Condition,
    CopyMark,
    LoseMark,
    Not,
    Opaque,
    Rule,
    SetMark,
    Step,
    Table,
    Translate,
    Unknown,
    Untrack,
    Verdict,
)
from audit_agent.model import Quote

Json = Mapping[str, object]

Lines = dict[tuple[str, str, str, int], tuple[Quote, str]]
"""Where each rule stands, and its text: by family, table, chain and handle."""

_VERDICTS = {"accept", "drop", "return", "continue"}
_PLAIN: Mapping[str, tuple[Step, ...]] = {
    "reject": (Verdict("drop"),),
    "snat": (Verdict("accept"),),
    "masquerade": (Verdict("accept"),),
    "notrack": (Untrack(),),
    **{name: (Unknown(name),) for name in ("limit", "quota", "ct count", "connlimit", "meter")},
    **dict.fromkeys(
        ("counter", "log", "comment", "last", "ct helper", "ct timeout", "ct expectation", "dup",
         "flow", "secmark", "ct secmark"),
        (),
    ),
}  # fmt: skip
"""Statements whose effect does not depend on what they are given."""

_IRRELEVANT = {"dscp", "ecn", "ttl", "hoplimit", "priority", "nftrace", "pkttype", "tcp option",
               "label", "cgroup", "secmark", "rtclassid", "random"}  # fmt: skip
"""What a rule may write without any later rule of ours looking at it differently."""


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
        document = json.loads(text)
        items = [item for item in document["nftables"] if isinstance(item, dict)]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise NotARuleset(str(error)[:200]) from error
    return from_objects(items, lines)


def from_objects(
    items: Sequence[Mapping[str, Json]], lines: Lines
) -> tuple[list[Table], set[tuple[str, str]]]:
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
        elif chain and (rule := re.search(r" # handle (\d+)$", line)):
            text = " ".join(part.strip() for part in lines[start - 1 : number])
            text = text[: text.rindex(" # handle ")]
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
        items: Sequence[Mapping[str, object]],
        lines: Lines,
    ) -> None:
        self._lines = lines
        self._tables: dict[tuple[str, str], Json] = {}
        self._chains: dict[tuple[str, str], list[Json]] = {}
        self._rules: dict[tuple[str, str, str], list[Json]] = {}
        self._sets: dict[tuple[str, str, str], Json] = {}
        self._elements: dict[tuple[str, str, str], list[object]] = {}
        for item in items:
            for kind, body in item.items():
                if isinstance(body, dict):
                    self._take(kind, body)
        self._changing = {
            (key[0], key[1], name)
            for key, rules in self._rules.items()
            for rule in rules
            for name in _written_sets(rule.get("expr"))
        }

    def _take(self, kind: str, body: Json) -> None:
        family, name = str(body.get("family")), str(body.get("name"))
        table = str(body.get("table"))
        if kind == "table":
            self._tables[family, name] = body
        elif kind == "chain":
            self._chains.setdefault((family, table), []).append(body)
        elif kind == "rule":
            self._rules.setdefault((family, table, str(body.get("chain"))), []).append(body)
        elif kind in {"set", "map"}:
            self._sets[family, table, name] = body
            elements = body.get("elem")
            if isinstance(elements, list):
                self._elements.setdefault((family, table, name), []).extend(elements)
        elif kind == "element":
            elements = body.get("elem")
            if isinstance(elements, list):
                self._elements.setdefault((family, table, name), []).extend(elements)

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
            if isinstance(expressions := rule.get("expr"), list)
            and any(isinstance(part, dict) and "xt" in part for part in expressions)
        }

    def _chain(self, family: str, table: str, body: Json) -> Chain:
        name = str(body.get("name"))
        priority, devices = body.get("prio"), body.get("dev")
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
            devices=tuple(
                str(each) for each in (devices if isinstance(devices, list) else [devices])
            )
            if devices
            else _devices(line),
        )

    def _rule(self, family: str, table: str, chain: str, number: int, body: Json) -> Rule:
        handle = body.get("handle")
        key = (family, table, chain, handle if isinstance(handle, int) else -1)
        quote, text = self._lines.get(key, (Quote("firewall.nft-json"), ""))
        expressions = body.get("expr")
        steps: list[Step] = []
        if isinstance(expressions, list):
            reader = _Statements(family, table, self._sets, self._elements, self._changing)
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
    return flags == flag or (isinstance(flags, list) and flag in flags)


def _written_sets(expressions: object) -> Iterator[str]:
    """The names of the sets that a rule's statements write to."""
    if not isinstance(expressions, list):
        return
    for expression in expressions:
        for kind in ("set", "map"):
            body = expression.get(kind) if isinstance(expression, dict) else None
            if isinstance(body, dict):
                yield str(body.get(kind, "")).removeprefix("@")


class _Statements:
    """One rule's statements, read in order."""

    def __init__(
        self,
        family: str,
        table: str,
        sets: Mapping[tuple[str, str, str], Json],
        elements: Mapping[tuple[str, str, str], list[object]],
        changing: set[tuple[str, str, str]],
    ) -> None:
        self._family = family
        self._table = table
        self._sets = sets
        self._elements = elements
        self._changing = changing

    def steps(self, statement: object) -> list[Step]:
        """The steps of one statement; what is not understood becomes Unknown or Opaque."""
        if not isinstance(statement, dict) or len(statement) != 1:
            return [Opaque(str(statement)[:60])]
        [(kind, body)] = statement.items()
        try:
            return self._known(kind, body)
        except NotUnderstood as what:
            return [Opaque(f"{kind} {what}"[:80])]

    def _known(self, kind: str, body: object) -> list[Step]:
        """Raises NotUnderstood."""
        if kind in _PLAIN:
            return list(_PLAIN[kind])
        if kind in _VERDICTS or kind in {"jump", "goto"}:
            return [_verdict(kind, body)]
        readers: dict[str, Callable[[Json], list[Step]]] = {
            "match": lambda body: list(self._match(body)),
            "vmap": self._verdict_map,
            "mangle": _mangle,
            "dnat": lambda body: self._translation(body, here=False),
            "redirect": lambda body: self._translation(body, here=True),
            "set": lambda body: [Unknown("set statement")] if body.get("stmt") else [],
            "map": lambda body: [Unknown("map statement")] if body.get("stmt") else [],
            "xt": _foreign,
        }
        if kind not in readers:
            return [Opaque(kind)]
        return readers[kind](body if isinstance(body, dict) else {})

    def _match(self, body: Json) -> Iterator[Condition]:
        left, operator, right = body.get("left"), str(body.get("op", "==")), body.get("right")
        if isinstance(left, dict) and "concat" in left:
            yield from self._concatenation(left["concat"], operator, right)
            return
        try:
            looked_at = field(left)
        except NotUnderstood as what:
            yield Unknown(str(what)[:60])
            return
        yield from looked_at.needs
        yield self._decided(lambda: self._compared(looked_at, operator, right))

    @staticmethod
    def _decided(make: Callable[[], Condition]) -> Condition:
        try:
            return make()
        except NotUnderstood as what:
            return Unknown(str(what)[:60])

    def _compared(self, looked_at: Field, operator: str, right: object) -> Condition:
        if operator in {"<", ">", "<=", ">="}:
            return looked_at.beside(operator, right)
        if looked_at.name == "tcp flags" and operator in {"in", "!"}:
            some = some_flag(right)
            return Not(some) if operator == "!" else some
        if isinstance(right, list) and operator != "in":  # bits that are all to be set
            right = [right]
        condition = looked_at.any_of(self._values(right))
        return Not(condition) if operator in {"!=", "!"} else condition

    def _values(self, right: object) -> list[object]:
        """The values on the right of a match, those of a named set included.

        Raises:
            NotUnderstood: the set changes, or is not there.
        """
        if isinstance(right, str) and right.startswith("@"):
            key = (self._family, self._table, right[1:])
            if key in self._changing:
                raise NotUnderstood(f"set {right} (changed by rules)")
            if key not in self._sets:
                raise NotUnderstood(f"set {right} (not listed)")
            return [_bare(value) for value in self._elements.get(key, [])]
        if isinstance(right, dict) and isinstance(right.get("set"), list):
            return [_bare(value) for value in right["set"]]
        if isinstance(right, dict) and "set" in right:
            return [_bare(right["set"])]
        return list(right) if isinstance(right, list) else [right]

    def _concatenation(self, left: object, operator: str, right: object) -> Iterator[Condition]:
        try:
            fields = [field(part) for part in left] if isinstance(left, list) else []
        except NotUnderstood as what:
            yield Unknown(str(what)[:60])
            return
        yield from (need for each in fields for need in each.needs)
        condition = self._decided(lambda: self._elements_of(fields, right))
        yield Not(condition) if operator == "!=" else condition

    def _elements_of(self, fields: list[Field], right: object) -> Condition:
        """Elements that differ in the first dimension only become one condition."""
        groups: dict[tuple[Condition, ...], list[object]] = {}
        for value in self._values(right):
            parts = value.get("concat") if isinstance(value, dict) else None
            if not isinstance(parts, list) or len(parts) != len(fields):
                raise NotUnderstood(f"element {value}")
            rest = tuple(
                each.any_of([part]) for each, part in zip(fields[1:], parts[1:], strict=True)
            )
            groups.setdefault(rest, []).append(parts[0])
        return AnyOf(
            tuple(AllOf((*rest, fields[0].any_of(firsts))) for rest, firsts in groups.items())
        )

    def _cases(self, key: object, data: object) -> Iterator[tuple[Condition, object]]:
        """The elements of a map as (condition on the key, what it maps to)."""
        parts = key.get("concat") if isinstance(key, dict) else None
        fields = [field(part) for part in parts] if isinstance(parts, list) else [field(key)]
        needs = tuple(need for each in fields for need in each.needs)
        rest: Condition = ALWAYS
        for element in self._values(data):
            if not isinstance(element, list) or len(element) != 2:
                raise NotUnderstood(f"map element {element}")
            value, result = _bare(element[0]), element[1]
            if value == "*":
                yield AllOf((*needs, rest)), result
                continue
            values = value["concat"] if isinstance(value, dict) and "concat" in value else [value]
            if not isinstance(values, list) or len(values) != len(fields):
                raise NotUnderstood(f"map element {value}")
            condition = AllOf(
                (*needs, *(each.any_of([one]) for each, one in zip(fields, values, strict=True)))
            )
            rest = AllOf((rest, Not(condition)))
            yield condition, result

    def _verdict_map(self, body: Json) -> list[Step]:
        cases: list[tuple[Condition, Verdict | Translate]] = []
        for condition, result in self._cases(body.get("key"), body.get("data")):
            if not isinstance(result, dict) or len(result) != 1:
                raise NotUnderstood(f"verdict {result}")
            [(kind, chain)] = result.items()
            cases.append((condition, _verdict(kind, chain)))
        return [Cases(tuple(cases))]

    def _translation(self, body: Json, *, here: bool) -> list[Step]:
        family = 6 if "ip6" in {self._family, body.get("family")} else 4
        target, port = body.get("addr"), body.get("port")
        if isinstance(target, dict) and isinstance(target.get("map"), dict):
            mapped = target["map"]
            return [
                Cases(
                    tuple(
                        (condition, _target(family, result, port))
                        for condition, result in self._lenient(mapped)
                    )
                )
            ]
        return [_target(family, target, port, here=here)]

    def _lenient(self, mapped: Json) -> Iterator[tuple[Condition, object]]:
        """As `_cases`; a key that cannot be decided (numgen, jhash) may be any of them."""
        try:
            yield from list(self._cases(mapped.get("key"), mapped.get("data")))
        except NotUnderstood as what:
            for element in self._values(mapped.get("data")):
                if isinstance(element, list) and len(element) == 2:
                    yield Unknown(str(what)[:60]), element[1]


def _bare(value: object) -> object:
    """An element without its timeout, counter and comment."""
    if isinstance(value, dict) and isinstance(value.get("elem"), dict):
        return value["elem"].get("val")
    return value


def _verdict(kind: str, body: object) -> Verdict:
    if kind in {"jump", "goto"} and isinstance(body, dict):
        return Verdict(kind, str(body.get("target")))
    if kind in _VERDICTS:
        return Verdict(kind)
    raise NotUnderstood(f"verdict {kind}")


def _mangle(body: Json) -> list[Step]:
    key, value = body.get("key"), body.get("value")
    which = {"meta": "packet", "ct": "ct"}
    if isinstance(key, dict) and len(key) == 1:
        [(kind, what)] = key.items()
        name = what.get("key", what.get("field", "")) if isinstance(what, dict) else ""
        if kind in which and name == "mark":
            return [_set_mark(which[kind], value)]
        if name in _IRRELEVANT or kind in _IRRELEVANT:
            return []
        return [Opaque(f"{kind} {name} set")]
    return [Opaque("set")]


def _set_mark(which: str, value: object) -> SetMark | CopyMark | LoseMark:
    """A constant, another mark, or (own mark & A) | B or ^ B, however nft nests them."""
    other = {"packet": ("ct", "restore"), "ct": ("meta", "save")}[which]
    if isinstance(value, dict) and _is_mark(value, other[0]):
        return CopyMark(other[1])
    linear = _linear(value, {"packet": "meta", "ct": "ct"}[which])
    if linear is None:
        return LoseMark(which)
    keep, flip = linear
    return SetMark(which, ~keep & 0xFFFFFFFF, flip)


def _is_mark(value: object, kind: str) -> bool:
    return isinstance(value, dict) and value.get(kind) == {"key": "mark"}


def _linear(value: object, own: str) -> tuple[int, int] | None:
    """(keep, flip) so that the value is (own mark & keep) ^ flip."""
    if isinstance(value, int) and not isinstance(value, bool):
        return 0, value
    if _is_mark(value, own):
        return 0xFFFFFFFF, 0
    if not isinstance(value, dict) or len(value) != 1:
        return None
    [(operator, parts)] = value.items()
    if not isinstance(parts, list) or len(parts) != 2 or not isinstance(parts[1], int):
        return None
    inner, constant = _linear(parts[0], own), parts[1]
    if inner is None or operator not in {"&", "|", "^"}:
        return None
    keep, flip = inner
    combined = {
        "&": (keep & constant, flip & constant),
        "|": (keep & ~constant, flip | constant),
        "^": (keep, flip ^ constant),
    }
    return combined[operator]


def _target(family: int, target: object, port: object, *, here: bool = False) -> Translate:
    if isinstance(target, dict) and isinstance(target.get("concat"), list):
        parts = target["concat"]
        if len(parts) == 2:
            target, port = parts[0], parts[1]
    addresses: Ranges | None = None
    if target is not None:
        addresses = union([address(target, family)])
    ports: Ranges = () if port is None else (port_range(port),)
    return Translate(family, addresses, ports, here=here)


def _foreign(body: Json) -> list[Step]:
    """A match or target of iptables-nft, which the JSON names without its arguments."""
    name = str(body.get("name"))
    if body.get("type") == "match":
        return [] if name == "comment" else [Unknown(name)]
    return [] if name in {"LOG", "NFLOG", "TRACE"} else [Opaque(name)]
