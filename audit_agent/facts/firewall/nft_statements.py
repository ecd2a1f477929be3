"""The statements of an nft rule (libnftables-json(5)) as steps."""

from collections.abc import Callable, Iterator, Mapping, Sequence

from audit_agent.facts.firewall.jsonvalues import elements, members, pair, single
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
    AllOf,
    AnyOf,
    Cases,
    Condition,
    CopyMark,
    FamilyIs,
    LoseMark,
    Not,
    Opaque,
    ProtocolIn,
    SetMark,
    Step,
    Translate,
    Unknown,
    Untrack,
    Verdict,
)

Json = Mapping[str, object]

_VERDICTS = {"accept", "drop", "return", "continue"}
_PLAIN: Mapping[str, tuple[Step, ...]] = {
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


class Statements:
    """Reads the statements of the rules of one table.

    `values` are the elements of the table's sets and maps by name, of those that no rule changes;
    `changing` names the others.
    """

    def __init__(
        self, family: str, values: Mapping[str, Sequence[object]], changing: set[str]
    ) -> None:
        self._family = family
        self._named = values
        self._changing = changing

    def steps(self, statement: object) -> list[Step]:
        """The steps of one statement; what is not understood becomes Unknown or Opaque."""
        kind, body = single(statement)
        try:
            return self._known(kind, body)
        except (NotUnderstood, RecursionError) as what:
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
            "reject": _reject,
            "xt": _foreign,
        }
        if kind not in readers:
            return [Opaque(kind or "statement")]
        return readers[kind](members(body))

    def _match(self, body: Json) -> Iterator[Condition]:
        left, operator, right = body.get("left"), str(body.get("op", "==")), body.get("right")
        kind, parts = single(left)
        try:
            fields = [field(part) for part in elements(parts)] if kind == "concat" else []
            looked_at = field(left) if kind != "concat" else None
        except NotUnderstood as what:
            yield Unknown(str(what)[:60])
            return
        if looked_at is not None:
            yield from looked_at.needs
            yield _decided(lambda: self._compared(looked_at, operator, right))
            return
        yield from (need for each in fields for need in each.needs)
        condition = _decided(lambda: self._elements_of(fields, right))
        yield Not(condition) if operator == "!=" else condition

    def _compared(self, looked_at: Field, operator: str, right: object) -> Condition:
        if operator in {"<", ">", "<=", ">="}:
            return looked_at.beside(operator, right)
        if looked_at.name == "tcp flags" and operator in {"in", "!"}:
            some = some_flag(right)
            return Not(some) if operator == "!" else some
        bits = elements(right) if operator != "in" else []  # all of them are to be set
        condition = looked_at.any_of([bits] if bits else self._values(right))
        return Not(condition) if operator in {"!=", "!"} else condition

    def _values(self, right: object) -> Sequence[object]:
        """The values on the right of a match, those of a named set included.

        Raises:
            NotUnderstood: the set changes, or is not there.
        """
        if isinstance(right, str) and right.startswith("@"):
            name = right[1:]
            if name in self._changing:
                raise NotUnderstood(f"set {right} (changed by rules)")
            if name not in self._named:
                raise NotUnderstood(f"set {right} (not listed)")
            return self._named[name]
        kind, body = single(right)
        if kind == "set":
            return [bare(value) for value in (elements(body) or [body])]
        return elements(right) or [right]

    def _elements_of(self, fields: list[Field], right: object) -> Condition:
        """Elements that differ in the first dimension only become one condition."""
        groups: dict[tuple[Condition, ...], list[object]] = {}
        for value in self._values(right):
            parts = elements(members(value).get("concat"))
            if not parts or len(parts) != len(fields):
                raise NotUnderstood(f"element {value}")
            rest = tuple(
                each.any_of([part]) for each, part in zip(fields[1:], parts[1:], strict=True)
            )
            groups.setdefault(rest, []).append(parts[0])
        return AnyOf(
            tuple(AllOf((*rest, fields[0].any_of(firsts))) for rest, firsts in groups.items())
        )

    def _cases(self, key: object, data: object) -> list[tuple[Condition, object]]:
        """The elements of a map as (condition on the key, what it maps to).

        Raises:
            NotUnderstood: it cannot be told what the map holds, or when.
        """
        kind, parts = single(key)
        fields = [field(part) for part in (elements(parts) if kind == "concat" else [key])]
        needs = tuple(need for each in fields for need in each.needs)
        found: list[tuple[Condition, object]] = []
        others: list[object] = []
        for element in self._values(data):
            entry = pair(element)
            if entry is None:
                raise NotUnderstood(f"map element {element}")
            value = bare(entry[0])
            if value == "*":
                others.append(entry[1])
                continue
            of_key, values = single(value)
            each_value = elements(values) if of_key == "concat" else [value]
            if len(each_value) != len(fields):
                raise NotUnderstood(f"map element {value}")
            each_holds = [each.any_of([one]) for each, one in zip(fields, each_value, strict=True)]
            found.append((AllOf((*needs, *each_holds)), entry[1]))
        none = Not(AnyOf(tuple(condition for condition, _ in found)))
        return [*found, *((AllOf((*needs, none)), result) for result in others)]

    def _verdict_map(self, body: Json) -> list[Step]:
        cases = self._cases(body.get("key"), body.get("data"))
        return [Cases(tuple((condition, _verdict(*single(result))) for condition, result in cases))]

    def _translation(self, body: Json, *, here: bool) -> list[Step]:
        family = {"ip": 4, "ip6": 6}.get(str(body.get("family", self._family)), 0)
        target, port = body.get("addr"), body.get("port")
        kind, mapped = single(target)
        if kind != "map":
            return [_target(family, target, port, here=here)]
        cases = self._lenient(members(mapped))
        return [
            Cases(tuple((condition, _target(family, result, port)) for condition, result in cases))
        ]

    def _lenient(self, mapped: Json) -> list[tuple[Condition, object]]:
        """As `_cases`; a key that cannot be decided (numgen, jhash) may be any of them."""
        try:
            return self._cases(mapped.get("key"), mapped.get("data"))
        except NotUnderstood as what:
            entries = [pair(element) for element in self._values(mapped.get("data"))]
            return [(Unknown(str(what)[:60]), entry[1]) for entry in entries if entry is not None]


def _decided(make: Callable[[], Condition]) -> Condition:
    try:
        return make()
    except NotUnderstood as what:
        return Unknown(str(what)[:60])


def bare(value: object) -> object:
    """An element without its timeout, counter and comment."""
    kind, body = single(value)
    return members(body).get("val") if kind == "elem" else value


def _verdict(kind: str, body: object) -> Verdict:
    if kind in {"jump", "goto"}:
        return Verdict(kind, str(members(body).get("target")))
    if kind in _VERDICTS:
        return Verdict(kind)
    raise NotUnderstood(f"verdict {kind}")


def _reject(body: Json) -> list[Step]:
    """The kind of answer implies the kind of packet: nft leaves that out of its listing."""
    implied: dict[str, Condition] = {
        "icmp": FamilyIs(4),
        "icmpv6": FamilyIs(6),
        "tcp reset": ProtocolIn(((6, 6),)),
    }
    kind = str(body.get("type", ""))
    return [*([implied[kind]] if kind in implied else []), Verdict("drop")]


def _mangle(body: Json) -> list[Step]:
    kind, what = single(body.get("key"))
    names = members(what)
    name = str(names.get("key", names.get("field", "")))
    which = {"meta": "packet", "ct": "ct"}
    if kind in which and name == "mark":
        return [_set_mark(which[kind], body.get("value"))]
    if name in _IRRELEVANT or kind in _IRRELEVANT:
        return []
    return [Opaque(f"{kind} {name} set")]


def _set_mark(which: str, value: object) -> SetMark | CopyMark | LoseMark:
    """A constant, another mark, or (own mark & A) | B or ^ B, however nft nests them."""
    own, other, copy = {"packet": ("meta", "ct", "restore"), "ct": ("ct", "meta", "save")}[which]
    if single(value) == (other, {"key": "mark"}):
        return CopyMark(copy)
    linear = _linear(value, own)
    if linear is None:
        return LoseMark(which)
    keep, flip = linear
    return SetMark(which, ~keep & 0xFFFFFFFF, flip)


def _linear(value: object, own: str) -> tuple[int, int] | None:
    """(keep, flip) so that the value is (own mark & keep) ^ flip."""
    if isinstance(value, int) and not isinstance(value, bool):
        return 0, value
    operator, body = single(value)
    if (operator, body) == (own, {"key": "mark"}):
        return 0xFFFFFFFF, 0
    parts = pair(body)
    if parts is None or not isinstance(parts[1], int):
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
    if (parts := pair(members(target).get("concat"))) is not None:
        target, port = parts
    addresses: Ranges | None = None
    if target is not None:
        family = family or (6 if ":" in str(target) else 4)
        addresses = union([address(target, family)])
    ports: Ranges = () if port is None else (port_range(port),)
    return Translate(family, addresses, ports, here=here)


def _foreign(body: Json) -> list[Step]:
    """A match or target of iptables-nft, which the JSON names without its arguments."""
    name = str(body.get("name"))
    if body.get("type") == "match":
        return [] if name == "comment" else [Unknown(name)]
    return [] if name in {"LOG", "NFLOG", "TRACE"} else [Opaque(name)]
