"""ipset(8): the output of `ipset save`, as conditions."""

from collections.abc import Iterator
from itertools import pairwise

from msgspec import Struct

from audit_agent.facts.firewall import names
from audit_agent.facts.firewall.ranges import (
    Ranges,
    address_range,
    difference,
    everything,
    network,
    union,
)
from audit_agent.facts.firewall.rules import (
    NEVER,
    AllOf,
    AnyOf,
    Condition,
    DestinationIn,
    InterfaceIn,
    PortIn,
    ProtocolIn,
    SourceIn,
    SourcePortIn,
    Unknown,
)

_WITH_PORTS: Ranges = ((6, 6), (17, 17), (33, 33), (132, 132), (136, 136))


class Entry(Struct, frozen=True):
    """One `add` line: the element's parts, between commas; `nomatch` makes it an exception."""

    parts: tuple[str, ...]
    nomatch: bool


class IpSet(Struct, frozen=True):
    """One set. `type` is "hash:net,port" and the like; `family` 4, 6, or 0 where it has none."""

    name: str
    type: str
    family: int
    netmask: int | None
    entries: tuple[Entry, ...]


def parse(text: str) -> dict[str, IpSet]:
    """The sets of `ipset save`. What is not a create or an add line is left out."""
    heads: dict[str, list[str]] = {}
    entries: dict[str, list[Entry]] = {}
    for line in text.split("\n"):
        words = line.split()
        if len(words) >= 3 and words[0] == "create":
            heads[words[1]] = words
            entries[words[1]] = []
        elif len(words) >= 3 and words[0] == "add" and words[1] in entries:
            nomatch = "nomatch" in words[3:]
            entries[words[1]].append(Entry(_parts(words[2]), nomatch))
    return {name: _head(words, entries[name]) for name, words in heads.items()}


def _parts(element: str) -> tuple[str, ...]:
    return tuple(element.split(","))


def _head(words: list[str], entries: list[Entry]) -> IpSet:
    options = words[3:]
    family = 4 if words[2].startswith(("hash:", "bitmap:ip")) else 0
    netmask: int | None = None
    for option, value in pairwise(options):
        if option == "family":
            family = 6 if value == "inet6" else 4
        elif option in {"netmask", "bitmask"}:
            netmask = int(value) if value.isascii() and value.isdigit() else -1
    return IpSet(words[1], words[2], family, netmask, tuple(entries))


class IpSets:
    """All sets of a host; one that is not among `sets` was not collected.

    `changing` are those that packets can put themselves into (the SET target): what they hold
    now says nothing about the next packet.
    """

    def __init__(self, sets: dict[str, IpSet], changing: frozenset[str] = frozenset()) -> None:
        self._sets = sets
        self._changing = changing
        self._memo: dict[tuple[str, tuple[str, ...]], Condition] = {}

    def match(self, name: str, directions: tuple[str, ...]) -> Condition:
        """The packet is in the set; `directions` are "src" and "dst", one for each part."""
        key = (name, directions)
        if key not in self._memo:
            self._memo[key] = self._match(name, directions, inside=False)
        return self._memo[key]

    def _match(self, name: str, directions: tuple[str, ...], *, inside: bool) -> Condition:
        """A list of sets cannot hold another list."""
        found = self._sets.get(name)
        if found is None or (inside and found.type == "list:set"):
            return Unknown(f"ipset {name} (not collected)")
        if name in self._changing:
            return Unknown(f"ipset {name} (changed by rules)")
        if found.type == "list:set":
            members = [
                self._match(entry.parts[0], directions, inside=True) for entry in found.entries
            ]
            return AnyOf(tuple(members))
        try:
            return _condition(found, directions)
        except (ValueError, IndexError):
            return Unknown(f"ipset {name} ({found.type})")


def _condition(found: IpSet, directions: tuple[str, ...]) -> Condition:
    """Raises ValueError or IndexError for what is not decided here."""
    method, _, kinds_text = found.type.partition(":")
    kinds = kinds_text.split(",")
    if method == "bitmap" and kinds == ["port"]:
        ports = union(_port_range(entry.parts[0]) for entry in found.entries)
        return AllOf((ProtocolIn(_WITH_PORTS), _port_condition(ports, directions[0])))
    if len(kinds) > len(directions) or "mac" in kinds or "mark" in kinds:
        raise ValueError(found.type)
    if len(kinds) == 1:
        return _address(found.family, _addresses(found), directions[0])
    if any(entry.nomatch for entry in found.entries) or found.netmask is not None:
        raise ValueError("exceptions within several dimensions")
    return _grouped(found, kinds, directions)


def _addresses(found: IpSet) -> Ranges:
    """The addresses of a set with one dimension; the most specific network decides (nomatch)."""
    ordered = sorted(_networks(found), key=lambda item: item[1] - item[0], reverse=True)
    if not any(nomatch for _, _, nomatch in ordered):
        return union((first, last) for first, last, _ in ordered)
    ranges: Ranges = ()
    for first, last, nomatch in ordered:
        one: Ranges = ((first, last),)
        ranges = difference(ranges, one) if nomatch else union([*ranges, *one])
    return ranges


def _networks(found: IpSet) -> Iterator[tuple[int, int, bool]]:
    for entry in found.entries:
        text = entry.parts[0]
        if found.netmask is not None:
            text = f"{text.partition('/')[0]}/{found.netmask}"
        family, first, last = address_range(text)
        if family != found.family:
            raise ValueError(text)
        yield first, last, entry.nomatch


def _address(family: int, ranges: Ranges, direction: str) -> Condition:
    if direction == "src":
        return SourceIn(family, ranges)
    return DestinationIn(family, ranges)


def _port_range(text: str) -> tuple[int, int]:
    first, _, last = text.partition("-")
    low, high = names.port(first), names.port(last or first)
    if low is None or high is None:
        raise ValueError(text)
    return low, high


def _port_condition(ports: Ranges, direction: str) -> Condition:
    return SourcePortIn(ports) if direction == "src" else PortIn(ports)


def _grouped(found: IpSet, kinds: list[str], directions: tuple[str, ...]) -> Condition:
    """Several dimensions: entries that differ only in a source address become one condition."""
    groups: dict[tuple[Condition, ...], list[tuple[int, int]]] = {}
    for entry in found.entries:
        sources: list[tuple[int, int]] = []
        rest: list[Condition] = []
        for kind, direction, text in zip(kinds, directions, entry.parts, strict=False):
            if kind == "port":
                rest += _element_port(text, direction)
            elif kind == "iface":
                rest.append(_interface(text, direction))
            elif kind in {"ip", "net"}:
                family, first, last = network(text)
                if family != found.family:
                    raise ValueError(text)
                if direction == "src" and not sources:
                    sources.append((first, last))
                else:
                    rest.append(_address(family, ((first, last),), direction))
            else:
                raise ValueError(kind)
        if len(entry.parts) != len(kinds):
            raise ValueError(str(entry.parts))
        groups.setdefault(tuple(rest), []).extend(sources or everything(found.family))
    if not groups:
        return NEVER
    return AnyOf(
        tuple(
            AllOf((*rest, SourceIn(found.family, union(sources))))
            for rest, sources in groups.items()
        )
    )


def _element_port(text: str, direction: str) -> list[Condition]:
    """`tcp:22`, `udp:53`, `22` (which ipset takes as TCP) or `icmp:...`."""
    protocol, colon, port = text.partition(":")
    if not colon:
        protocol, port = "tcp", protocol
    number = names.protocol(protocol)
    if number is None:
        raise ValueError(text)
    conditions: list[Condition] = [ProtocolIn(((number, number),))]
    if number in {6, 17, 33, 132, 136}:
        conditions.append(_port_condition((_port_range(port),), direction))
    return conditions


def _interface(text: str, direction: str) -> Condition:
    if text.startswith("physdev:"):
        raise ValueError(text)
    return InterfaceIn("in" if direction == "src" else "out", (text,))
