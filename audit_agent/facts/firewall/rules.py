"""The form that every rule language is brought to: tables, chains, rules, conditions, actions.

A rule is a list of steps, taken in order for each packet until a condition does not hold or a
verdict is reached. A condition answers for a whole set of packets at once: for which it certainly
holds, and for which it possibly does. What a reader did not understand becomes `Unknown`, which
possibly holds for all, or `Opaque`, which possibly does anything; it never vanishes.
"""

from collections.abc import Iterator
from typing import Protocol

from msgspec import Struct, structs

from audit_agent.facts.firewall.ranges import Ranges, contains, everything
from audit_agent.facts.firewall.space import Doubt, Space
from audit_agent.model import Quote


class Packet(Struct, frozen=True, cache_hash=True):
    """The first packet of a connection, but for what its sender can vary (see `Space`).

    `destination`, interfaces and marks are None where they are not known; `oif` is "" where the
    packet goes out by none. `state` is conntrack's word: "invalid" before it has looked at the
    packet, then "new", or "untracked". `kind` is the type of the destination address as the
    routing table has it: "local", "unicast", "broadcast" or "multicast", or "" where that is not
    known; `here` is whether it is an address of `iif` itself. `original` is the destination
    before it was translated. `bridged`: `iif` is a bridge.

    With `answer` it is the first answer to such a packet, on its way back. The rules it meets are
    mirrored (see `mirrored`), so that "source" is still the one who wants to connect.
    """

    family: int
    protocol: int
    destination: int | None
    port: int
    iif: str | None
    oif: str | None = ""
    mark: int | None = 0
    connmark: int | None = 0
    state: str = "invalid"
    kind: str = "local"
    here: bool | None = None
    translated: bool = False
    original: tuple[int | None, int] | None = None
    bridged: bool = False
    answer: bool = False


class Condition(Protocol):
    """What a rule asks of a packet."""

    def holds(self, packet: Packet, space: Space) -> Doubt:
        """The atoms for which it certainly and possibly holds."""
        ...


class SourceIn(Struct, frozen=True):
    """The source address is one of these; never for the other family."""

    family: int
    ranges: Ranges

    def holds(self, packet: Packet, space: Space) -> Doubt:
        """See `Condition`."""
        if packet.family != self.family:
            return space.no
        mask = space.from_addresses(self.ranges)
        return mask, mask


class SourcePortIn(Struct, frozen=True):
    """The source port is one of these."""

    ranges: Ranges

    def holds(self, packet: Packet, space: Space) -> Doubt:
        """See `Condition`."""
        _ = packet
        mask = space.from_ports(self.ranges)
        return mask, mask


class FlagsAre(Struct, frozen=True):
    """Of the TCP flags in `mask`, exactly those in `value` are set."""

    mask: int
    value: int

    def holds(self, packet: Packet, space: Space) -> Doubt:
        """See `Condition`."""
        _ = packet
        mask = space.with_flags(self.mask, self.value)
        return mask, mask


class Carries(Struct, frozen=True):
    """The packet has something that its sender put there at will, named by `extra`."""

    extra: str

    def holds(self, packet: Packet, space: Space) -> Doubt:
        """See `Condition`."""
        _ = packet
        mask = space.with_extra(self.extra)
        return mask, mask


class DestinationIn(Struct, frozen=True):
    """The destination address is one of these; never for the other family."""

    family: int
    ranges: Ranges

    def holds(self, packet: Packet, space: Space) -> Doubt:
        """See `Condition`."""
        if packet.family != self.family:
            return space.no
        if packet.destination is None:
            return space.yes if self.ranges == everything(self.family) else space.maybe
        return space.yes if contains(self.ranges, packet.destination) else space.no


class PortIn(Struct, frozen=True):
    """The destination port is one of these."""

    ranges: Ranges

    def holds(self, packet: Packet, space: Space) -> Doubt:
        """See `Condition`."""
        return space.yes if contains(self.ranges, packet.port) else space.no


class ProtocolIn(Struct, frozen=True):
    """The transport protocol (its IANA number) is one of these."""

    ranges: Ranges

    def holds(self, packet: Packet, space: Space) -> Doubt:
        """See `Condition`."""
        return space.yes if contains(self.ranges, packet.protocol) else space.no


class FamilyIs(Struct, frozen=True):
    """The packet is of family 4 or 6."""

    family: int

    def holds(self, packet: Packet, space: Space) -> Doubt:
        """See `Condition`."""
        return space.yes if packet.family == self.family else space.no


class InterfaceIn(Struct, frozen=True):
    """It came in ("in"), or will go out ("out"), by an interface of one of these names.

    A name that ends in "*" stands for all that begin so. A packet that is delivered here goes out
    by none, which is a name that no pattern fits.
    """

    direction: str
    names: tuple[str, ...]

    def holds(self, packet: Packet, space: Space) -> Doubt:
        """See `Condition`."""
        name = packet.iif if self.direction == "in" else packet.oif
        if name is None:
            if "*" in self.names:
                return space.yes
            return space.no if self.names == ("lo",) else space.maybe
        return space.yes if any(fits(pattern, name) for pattern in self.names) else space.no


def fits(pattern: str, name: str) -> bool:
    """Whether an interface has the name, or one that begins so (pattern "eth*")."""
    return name == pattern or (pattern.endswith("*") and name.startswith(pattern[:-1]))


class StateIn(Struct, frozen=True):
    """Conntrack's state of the packet is one of these words, in lower case."""

    states: frozenset[str]

    def holds(self, packet: Packet, space: Space) -> Doubt:
        """See `Condition`."""
        return space.yes if packet.state in self.states else space.no


class Translated(Struct, frozen=True):
    """Conntrack's status has the DNAT bit."""

    def holds(self, packet: Packet, space: Space) -> Doubt:
        """See `Condition`."""
        return space.yes if packet.translated else space.no


class OriginalIn(Struct, frozen=True):
    """The connection's first packet had, before any translation, one of these in a `part`.

    The parts are "address" and "port" of the destination, "source" and "source port".
    """

    part: str
    ranges: Ranges
    family: int = 4

    def holds(self, packet: Packet, space: Space) -> Doubt:
        """See `Condition`."""
        if packet.state not in {"new", "established"}:
            return space.no
        if self.part == "source":
            return SourceIn(self.family, self.ranges).holds(packet, space)
        if self.part == "source port":
            return SourcePortIn(self.ranges).holds(packet, space)
        address, port = packet.original or (packet.destination, packet.port)
        value = address if self.part == "address" else port
        if value is None:
            return space.maybe
        return space.yes if contains(self.ranges, value) else space.no


class Answering(Struct, frozen=True):
    """The packet goes in the direction of the answers (conntrack's direction "reply")."""

    def holds(self, packet: Packet, space: Space) -> Doubt:
        """See `Condition`."""
        return space.yes if packet.answer else space.no


TRACKED = StateIn(frozenset({"new", "established"}))
"""Connection tracking knows the packet's connection; else nothing can be asked of it."""


class MarkIn(Struct, frozen=True):
    """The packet's mark, or its connection's ("ct"), masked, is one of these."""

    which: str
    mask: int
    ranges: Ranges

    def holds(self, packet: Packet, space: Space) -> Doubt:
        """See `Condition`."""
        mark = packet.mark if self.which == "packet" else packet.connmark
        if mark is None:
            return space.maybe
        return space.yes if contains(self.ranges, mark & self.mask) else space.no


class DestinationKind(Struct, frozen=True):
    """The routing table says that the destination address is of one of these types.

    With `here`, only addresses of the incoming interface count as "local".
    """

    kinds: frozenset[str]
    here: bool = False

    def holds(self, packet: Packet, space: Space) -> Doubt:
        """See `Condition`."""
        kind = packet.kind
        if not kind:
            return space.maybe
        if self.here and kind == "local":
            if packet.here is None:
                return space.maybe
            kind = "local" if packet.here else "unicast"
        return space.yes if kind in self.kinds else space.no


class SourceKind(Struct, frozen=True):
    """The routing table says that the source address is of one of these types."""

    kinds: frozenset[str]

    def holds(self, packet: Packet, space: Space) -> Doubt:
        """See `Condition`. Certain of what every routing table says; else possible."""
        own = space.from_addresses(space.own)
        multicast = space.from_addresses(MULTICAST[packet.family])
        certain = possible = 0
        rest = space.full & ~own & ~multicast
        for kind in self.kinds:
            if kind == "local":
                certain |= own
            elif kind == "multicast":
                certain |= multicast
            elif kind == "unicast":
                certain |= rest if space.own else 0
                possible |= rest
            else:
                possible |= rest
        return certain, certain | possible


MULTICAST: dict[int, Ranges] = {
    4: ((0xE0000000, 0xEFFFFFFF),),
    6: ((0xFF << 120, (1 << 128) - 1),),
}


class Bridged(Struct, frozen=True):
    """The packet came in through a port of a bridge (physdev)."""

    def holds(self, packet: Packet, space: Space) -> Doubt:
        """See `Condition`."""
        return space.maybe if packet.bridged or packet.iif is None else space.no


class Not(Struct, frozen=True):
    """The condition does not hold."""

    condition: Condition

    def holds(self, packet: Packet, space: Space) -> Doubt:
        """See `Condition`."""
        certain, possible = self.condition.holds(packet, space)
        return space.full & ~possible, space.full & ~certain


class AllOf(Struct, frozen=True):
    """Every one of the conditions holds; so none at all does hold."""

    conditions: tuple[Condition, ...]

    def holds(self, packet: Packet, space: Space) -> Doubt:
        """See `Condition`."""
        certain = possible = space.full
        for condition in self.conditions:
            sure, may = condition.holds(packet, space)
            certain &= sure
            possible &= may
            if not possible:
                break
        return certain, possible


class AnyOf(Struct, frozen=True):
    """At least one of the conditions holds."""

    conditions: tuple[Condition, ...]

    def holds(self, packet: Packet, space: Space) -> Doubt:
        """See `Condition`."""
        certain = possible = 0
        for condition in self.conditions:
            sure, may = condition.holds(packet, space)
            certain |= sure
            possible |= may
        return certain, possible


class Unknown(Struct, frozen=True):
    """Something that rules and addresses alone do not decide; `construct` is its name."""

    construct: str

    def holds(self, packet: Packet, space: Space) -> Doubt:
        """See `Condition`."""
        _ = packet
        return space.maybe


ALWAYS = AllOf(())
NEVER = AnyOf(())


class Verdict(Struct, frozen=True):
    """Where a packet goes: "accept", "drop", "return", "continue", "jump" or "goto" a chain."""

    kind: str
    chain: str = ""


class SetMark(Struct, frozen=True):
    """Mark = (mark & ~`clear`) ^ `flip`, of the packet or of its connection ("ct")."""

    which: str
    clear: int
    flip: int


class CopyMark(Struct, frozen=True):
    """Copies a mark: "save" packet to connection, "restore" connection to packet.

    `source_mask` limits what is read, `target_mask` what is overwritten.
    """

    direction: str
    source_mask: int = 0xFFFFFFFF
    target_mask: int = 0xFFFFFFFF


class LoseMark(Struct, frozen=True):
    """Sets a mark to what cannot be told."""

    which: str


class Untrack(Struct, frozen=True):
    """Takes the packet out of connection tracking."""


class Translate(Struct, frozen=True):
    """Sends the connection elsewhere: DNAT; an empty field keeps what it is.

    `family` is 0 where it concerns both. `addresses` are where it may go, `ports` likewise; with
    `here` that is this host, as REDIRECT has it. `certain` is False where the target is computed in
    a way that was not understood. Ends the traversal of its base chain with "accept".
    """

    family: int
    addresses: Ranges | None
    ports: Ranges = ()
    here: bool = False
    certain: bool = True


class Cases(Struct, frozen=True):
    """A map: what to do in the case whose condition holds; the rule ends where none does."""

    cases: tuple[tuple[Condition, Verdict | Translate], ...]


class Opaque(Struct, frozen=True):
    """A target that was not understood, or whose doing is not in the rules: may do anything."""

    construct: str


Action = Verdict | Cases | SetMark | CopyMark | LoseMark | Untrack | Translate | Opaque
Step = Condition | Action


class Rule(Struct, frozen=True):
    """One rule. `number` counts from 1 within its chain; `text` is the line as the host gave it."""

    steps: tuple[Step, ...]
    number: int
    text: str
    quote: Quote


class Chain(Struct, frozen=True):
    """A chain. A base chain has a `hook` ("prerouting", "input" ...) and a `priority`.

    `engine` is "legacy" or "nft"; `family` is nft's word ("ip", "ip6", "inet", "bridge",
    "netdev"); `kind` is "filter", "nat" or "route"; `policy` decides what no rule decided.
    `device` is the interface of an ingress chain. `quote` is the line that states the policy.
    """

    engine: str
    family: str
    table: str
    name: str
    rules: tuple[Rule, ...]
    quote: Quote
    hook: str = ""
    priority: int = 0
    kind: str = "filter"
    policy: str = "accept"
    devices: tuple[str, ...] = ()

    @property
    def place(self) -> str:
        """Table and chain: "filter/INPUT"."""
        return f"{self.table}/{self.name}"


class Table(Struct, frozen=True):
    """One table of one engine, with the chains that can be jumped to by name."""

    engine: str
    family: str
    name: str
    chains: dict[str, Chain]


def mirrored(table: Table) -> Table:
    """The table as an answer meets it: what it says of destinations is said of sources.

    Interfaces stay as they are: an answer comes in by none, and goes out.
    """
    return Table(
        table.engine,
        table.family,
        table.name,
        {
            name: structs.replace(
                chain,
                rules=tuple(
                    structs.replace(rule, steps=tuple(_mirrored_step(step) for step in rule.steps))
                    for rule in chain.rules
                ),
            )
            for name, chain in table.chains.items()
        },
    )


def _mirrored_step(step: Step) -> Step:
    if isinstance(step, Cases):
        return Cases(tuple((_mirrored(condition), action) for condition, action in step.cases))
    return step if isinstance(step, Action) else _mirrored(step)


def _mirrored(condition: Condition) -> Condition:
    match condition:
        case Not(inner):
            found: Condition = Not(_mirrored(inner))
        case AllOf(parts) | AnyOf(parts):
            found = type(condition)(tuple(_mirrored(part) for part in parts))
        case SourceIn(family, ranges):
            found = DestinationIn(family, ranges)
        case DestinationIn(family, ranges):
            found = SourceIn(family, ranges)
        case SourceKind(kinds):
            found = DestinationKind(kinds)
        case DestinationKind(kinds):
            found = SourceKind(kinds)
        case SourcePortIn(ranges):
            found = PortIn(ranges)
        case PortIn(ranges):
            found = SourcePortIn(ranges)
        case FlagsAre(mask, value):
            found = ALWAYS if _SYN_ACK & mask == value else NEVER
        case Carries():
            found = NEVER
        case _:
            found = condition
    return found


_SYN_ACK = 0x12


def place(chain: Chain, rule: Rule | None) -> str:
    """A rule or a policy in words of no language: "filter/INPUT #3", "filter/INPUT policy DROP"."""
    name = chain.place if chain.engine == "legacy" else f"{chain.family} {chain.place}"
    return f"{name} policy {chain.policy.upper()}" if rule is None else f"{name} #{rule.number}"


def conditions(steps: tuple[Step, ...]) -> Iterator[Condition]:
    """Every condition in the steps, those inside others included."""
    for step in steps:
        if isinstance(step, Cases):
            for condition, _ in step.cases:
                yield from _within(condition)
        elif not isinstance(step, Action):
            yield from _within(step)


def _within(condition: Condition) -> Iterator[Condition]:
    yield condition
    if isinstance(condition, Not):
        yield from _within(condition.condition)
    elif isinstance(condition, AllOf | AnyOf):
        for part in condition.conditions:
            yield from _within(part)
