"""What an nft rule can look at, and the conditions that come of it (libnftables-json(5))."""

from collections.abc import Callable, Sequence
from typing import cast

from msgspec import Struct

from audit_agent.facts.firewall import names
from audit_agent.facts.firewall.jsonvalues import elements, members, pair, single
from audit_agent.facts.firewall.ranges import Ranges, everything, network, union
from audit_agent.facts.firewall.rules import (
    ALWAYS,
    NEVER,
    TRACKED,
    Answering,
    AnyOf,
    Carries,
    Condition,
    DestinationIn,
    DestinationKind,
    FamilyIs,
    FlagsAre,
    InterfaceIn,
    MarkIn,
    Not,
    OriginalIn,
    PortIn,
    ProtocolIn,
    SourceIn,
    SourceKind,
    SourcePortIn,
    StateIn,
    Translated,
)

Build = Callable[[Sequence[object]], Condition]


class NotUnderstood(Exception):  # noqa: N818 - reads as what it says
    """An expression or a value that this reader does not know; the message names it."""


class Field(Struct, frozen=True):
    """One thing a rule looks at.

    `needs` are the conditions that looking at it implies (nft leaves them out of its listing).
    `numbers` reads one value as a range, where the field is a number; `holds` is the condition
    that the field's number is in given ranges, `highest` the greatest it can be. A field without
    numbers has `words`, which makes the condition from the values themselves.
    """

    name: str
    needs: tuple[Condition, ...] = ()
    numbers: Callable[[object], tuple[int, int]] | None = None
    holds: Callable[[Ranges], Condition] | None = None
    words: Build | None = None
    highest: int = 0

    def any_of(self, values: Sequence[object]) -> Condition:
        """The field has one of the values.

        Raises:
            NotUnderstood: it cannot be told which values these are.
        """
        if self.numbers is not None and self.holds is not None:
            everything_else = any(value == "*" for value in values)
            ranges = ((0, self.highest),) if everything_else else union(map(self.numbers, values))
            return self.holds(ranges)
        if self.words is None:
            raise NotUnderstood(self.name)
        return self.words(values)

    def beside(self, operator: str, value: object) -> Condition:
        """The field is less or greater than the value ("<", ">", "<=", ">=")."""
        if self.numbers is None or self.holds is None:
            raise NotUnderstood(f"{self.name} {operator}")
        first, last = self.numbers(value)
        ranges: dict[str, tuple[int, int]] = {
            "<": (0, first - 1),
            "<=": (0, last),
            ">": (last + 1, self.highest),
            ">=": (first, self.highest),
        }
        return self.holds(union([ranges[operator]]))


def field(expression: object) -> Field:
    """The field that the left side of a match (or the key of a map) names.

    Raises:
        NotUnderstood: it is none that rules and addresses decide.
    """
    kind, body = single(expression)
    if kind == "&" and (masked := pair(body)) is not None:
        return _masked(*masked)
    fields = members(body)
    words = {key: str(value) for key, value in fields.items()}
    key = words.get("key", "")
    readers: dict[str, Callable[[], Field]] = {
        "payload": lambda: _payload(words.get("protocol", ""), words.get("field", "")),
        "meta": lambda: _meta(key),
        "ct": lambda: _conntrack(key, words.get("dir", ""), words.get("family", "")),
        "exthdr": lambda: _extension(f"{words.get('name')} {words.get('field', '')}".strip()),
        "fib": lambda: _fib(words.get("result", ""), fields.get("flags")),
    }
    if not kind:
        raise NotUnderstood(str(expression))
    return readers[kind]() if kind in readers else Field(kind)


def _extension(name: str) -> Field:
    """An extension header of IPv6, which the sender adds or leaves out."""
    return Field(
        f"exthdr {name}",
        (FamilyIs(6),),
        words=lambda values: AnyOf(tuple(Carries(f"{name} {value}") for value in values)),
    )


def _number(value: object, read: Callable[[str], int | None]) -> tuple[int, int]:
    """A scalar or {"range": [first, last]}."""
    if (ends := pair(members(value).get("range"))) is not None:
        return _number(ends[0], read)[0], _number(ends[1], read)[1]
    if isinstance(value, int) and not isinstance(value, bool):
        return value, value
    found = read(value) if isinstance(value, str) else None
    if found is None:
        raise NotUnderstood(str(value))
    return found, found


def _whole(text: str) -> int | None:
    try:
        return int(text, 0)
    except ValueError:
        return None


def port_range(value: object) -> tuple[int, int]:
    """A port by number or name, or {"range": ...}.

    Raises:
        NotUnderstood: it is none of them.
    """
    return _number(value, names.port)


def _protocol(value: object) -> tuple[int, int]:
    return _number(value, names.protocol)


def _mark(value: object) -> tuple[int, int]:
    return _number(value, _whole)


def _address(family: int) -> Callable[[object], tuple[int, int]]:
    def read(value: object) -> tuple[int, int]:
        first, last = address(value, family)
        return first, last

    return read


def address(value: object, family: int) -> tuple[int, int]:
    """An address, {"prefix": ...} or {"range": ...} of the family.

    Raises:
        NotUnderstood: it is none of them.
    """
    text = value
    if (ends := pair(members(value).get("range"))) is not None:
        return address(ends[0], family)[0], address(ends[1], family)[1]
    if prefix := members(members(value).get("prefix")):
        text = f"{prefix.get('addr')}/{prefix.get('len')}"
    try:
        version, first, last = network(str(text))
    except ValueError as error:
        raise NotUnderstood(str(value)) from error
    if version != family:
        raise NotUnderstood(str(value))
    return first, last


_TRANSPORT = {"tcp": 6, "udp": 17, "udplite": 136, "sctp": 132, "dccp": 33}
_OTHER = {"icmp": 1, "icmpv6": 58, "igmp": 2, "esp": 50, "ah": 51, "comp": 108, "gre": 47}


def _payload(protocol: str, name: str) -> Field:
    label = f"{protocol} {name}"
    if protocol in {"ip", "ip6"}:
        return _network_header(4 if protocol == "ip" else 6, name, label)
    needs: tuple[Condition, ...] = ()
    if protocol in _TRANSPORT or protocol in _OTHER:
        number = _TRANSPORT.get(protocol) or _OTHER[protocol]
        needs = (ProtocolIn(((number, number),)),)
    if (protocol in _TRANSPORT or protocol == "th") and name in {"sport", "dport"}:
        holds = SourcePortIn if name == "sport" else PortIn
        return Field(label, needs, numbers=port_range, holds=holds, highest=65535)
    if protocol == "tcp" and name == "flags":
        return Field(label, needs, words=_flags_in(0xFF))
    if protocol == "ether" and name == "type":
        return Field(label, words=_ether_type)
    if protocol in {"arp", "vlan"}:
        return Field(label, (NEVER,))
    return Field(label, needs)


def _network_header(family: int, name: str, label: str) -> Field:
    needs = (FamilyIs(family),)
    if name in {"saddr", "daddr"}:

        def holds(ranges: Ranges) -> Condition:
            if name == "saddr":
                return SourceIn(family, ranges)
            return DestinationIn(family, ranges)

        highest = everything(family)[0][1]
        return Field(label, needs, numbers=_address(family), holds=holds, highest=highest)
    if name in {"protocol", "nexthdr"}:
        return Field(label, needs, numbers=_protocol, holds=ProtocolIn, highest=255)
    return Field(label, needs)


def _masked(left: object, mask: object) -> Field:
    inner = field(left)
    if inner.name == "tcp flags":
        return Field(inner.name, inner.needs, words=_flags_in(flags(mask)))
    if inner.name in {"meta mark", "ct mark"}:
        which = "packet" if inner.name == "meta mark" else "ct"
        bits = _mark(mask)[0]

        def holds(ranges: Ranges) -> Condition:
            return MarkIn(which, bits, ranges)

        return Field(inner.name, inner.needs, numbers=_mark, holds=holds, highest=0xFFFFFFFF)
    return Field(f"{inner.name} & ...", inner.needs)


def _meta(key: str) -> Field:
    label = f"meta {key}"
    if key == "l4proto":
        return Field(label, numbers=_protocol, holds=ProtocolIn, highest=255)
    if key == "mark":
        return Field(
            label,
            numbers=_mark,
            holds=lambda ranges: MarkIn("packet", 0xFFFFFFFF, ranges),
            highest=0xFFFFFFFF,
        )
    words: dict[str, Build] = {
        "nfproto": _family,
        "protocol": _ether_type,
        "iif": _interfaces("in"),
        "iifname": _interfaces("in"),
        "oif": _interfaces("out"),
        "oifname": _interfaces("out"),
        "pkttype": _packet_type,
    }
    return Field(label, words=words.get(key))


def _conntrack(key: str, direction: str, family: str) -> Field:
    label = f"ct {direction} {key}".replace("  ", " ")
    if key == "state":
        return Field(label, words=lambda values: StateIn(frozenset(_texts(values))))
    if key == "mark":
        return Field(
            label,
            (TRACKED,),
            numbers=_mark,
            holds=lambda ranges: MarkIn("ct", 0xFFFFFFFF, ranges),
            highest=0xFFFFFFFF,
        )
    if direction == "original":
        return _original(key, family, label)
    words = {"status": _status, "direction": _direction}
    return Field(label, (TRACKED,), words=words.get(key))


def _direction(values: Sequence[object]) -> Condition:
    return AnyOf(tuple(Answering() if value == "reply" else Not(Answering()) for value in values))


def _original(key: str, family: str, label: str) -> Field:
    word, _, name = key.rpartition(" ")
    version = 6 if "ip6" in {word, family} else 4
    parts = {
        "daddr": "address",
        "saddr": "source",
        "proto-dst": "port",
        "proto-src": "source port",
    }
    if name not in parts:
        return Field(label, (TRACKED,))

    def holds(ranges: Ranges) -> Condition:
        return OriginalIn(parts[name], ranges, version)

    if name in {"proto-dst", "proto-src"}:
        return Field(label, (TRACKED,), numbers=port_range, holds=holds, highest=65535)
    highest = everything(version)[0][1]
    needs = (TRACKED, FamilyIs(version))
    return Field(label, needs, numbers=_address(version), holds=holds, highest=highest)


def _fib(result: str, flags_given: object) -> Field:
    looked_at = {str(flag) for flag in elements(flags_given)}
    label = f"fib {' . '.join(sorted(looked_at))} {result}"
    if result == "type" and looked_at == {"daddr"}:
        return Field(label, words=lambda values: DestinationKind(frozenset(_texts(values))))
    if result == "type" and looked_at == {"daddr", "iif"}:
        return Field(
            label, words=lambda values: DestinationKind(frozenset(_texts(values)), here=True)
        )
    if result == "type" and looked_at == {"saddr"}:
        return Field(label, words=lambda values: SourceKind(frozenset(_texts(values))))
    if result in {"oif", "oifname", "check"} and {"saddr", "iif"} <= looked_at <= _REVERSE_PATH:
        return Field(label, words=_reverse_path)
    return Field(label)


_REVERSE_PATH = {"saddr", "iif", "mark"}


def _reverse_path(values: Sequence[object]) -> Condition:
    """The question is put for sources whose answers leave by the interface they came in on."""
    if list(values) == [False] or list(values) == [0]:
        return NEVER
    if list(values) == [True]:
        return ALWAYS
    raise NotUnderstood(f"fib saddr . iif oif {values}")


def _texts(values: Sequence[object]) -> list[str]:
    return [value for value in values if isinstance(value, str)]


def _family(values: Sequence[object]) -> Condition:
    known = {"ipv4": 4, "ipv6": 6, 2: 4, 10: 6}
    return AnyOf(
        tuple(
            FamilyIs(known[value])
            for value in values
            if isinstance(value, str | int) and value in known
        )
    )


def _ether_type(values: Sequence[object]) -> Condition:
    known = {"ip": 4, "ip6": 6, 0x0800: 4, 0x86DD: 6}
    return AnyOf(
        tuple(
            FamilyIs(known[value])
            for value in values
            if isinstance(value, str | int) and value in known
        )
    )


def _interfaces(direction: str) -> Build:
    def condition(values: Sequence[object]) -> Condition:
        found = _texts(values)
        if len(found) != len(values):
            raise NotUnderstood(f"interface {values}")
        return InterfaceIn(direction, tuple(found))

    return condition


def _packet_type(values: Sequence[object]) -> Condition:
    """The question is about packets that are sent to this host alone."""
    return ALWAYS if {"host", "unicast"} & set(_texts(values)) else NEVER


def _status(values: Sequence[object]) -> Condition:
    """The first packet of a connection is not answered, assured or confirmed yet."""
    found = set(_texts(values))
    if found - {"dnat", "snat", "assured", "confirmed", "seen-reply", "dying"}:
        raise NotUnderstood(f"ct status {values}")
    return Translated() if "dnat" in found else NEVER


def flags(value: object) -> int:
    """TCP flags as a number: a name, a list of names, or {"|": [...]}.

    Raises:
        NotUnderstood: a flag is not known.
    """
    kind, parts = single(value)
    if kind == "|":
        return flags(parts)
    if isinstance(value, list):
        bits = 0
        for part in elements(cast(object, value)):
            bits |= flags(part)
        return bits
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and value in names.TCP_FLAGS:
        return names.TCP_FLAGS[value]
    raise NotUnderstood(f"tcp flags {value}")


def _flags_in(mask: int) -> Build:
    def condition(values: Sequence[object]) -> Condition:
        return AnyOf(tuple(FlagsAre(mask, flags(value)) for value in values))

    return condition


def some_flag(value: object) -> Condition:
    """`tcp flags syn,ack`: at least one of these is set."""
    return Not(FlagsAre(flags(value), 0))
