"""All rules that packets of one family meet, of both engines, indexed for the walk through them."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple, cast

from msgspec import Struct, structs

from audit_agent.facts.firewall.ranges import (
    Ranges,
    complement,
    contains,
    intersection,
    size,
    union,
)
from audit_agent.facts.firewall.rules import (
    MULTICAST,
    Action,
    Carries,
    Cases,
    Chain,
    Condition,
    DestinationIn,
    DestinationKind,
    FamilyIs,
    FlagsAre,
    InterfaceIn,
    Not,
    Opaque,
    OriginalIn,
    Packet,
    PortIn,
    ProtocolIn,
    Rule,
    SourceIn,
    SourcePortIn,
    StateIn,
    Step,
    Table,
    Translate,
    Unknown,
    Untrack,
    Verdict,
    conditions,
    fits,
    mirrored,
)
from audit_agent.facts.firewall.space import Space, count_atoms


class Layout(Struct, frozen=True):
    """What the path needs to know of the host beside its rules, for one address family.

    `own` are its addresses, () where they are not known, and `primary` the first of each
    interface; `networks` the directly connected ones, by interface. `forwarding` is None where it
    is not known, and so is whether an interface takes packets for 127.0.0.0/8 (`localnet`).
    `lower` names the interfaces that others are made of (bridge ports, bonded links, a VLAN's
    parent).
    """

    own: Ranges = ()
    networks: tuple[tuple[str, Ranges], ...] = ()
    primary: Mapping[str, int] = {}
    forwarding: bool | None = None
    localnet: Mapping[str, bool] = {}
    lower: Mapping[str, tuple[str, ...]] = {}
    bridges: frozenset[str] = frozenset()


class Hooks:
    """The base chains of one family, by hook and in the order of their priorities."""

    def __init__(self, family: int, tables: Iterable[Table]) -> None:
        words = {4: {"ip", "inet", "netdev"}, 6: {"ip6", "inet", "netdev"}}[family]
        self.base: dict[str, list[Chain]] = {}
        self._named: dict[tuple[str, str, str, str], Chain] = {}
        for table in tables:
            if table.family in words:
                for chain in table.chains.values():
                    self._named[chain.engine, chain.family, chain.table, chain.name] = chain
                    if chain.hook:
                        self.base.setdefault(chain.hook, []).append(chain)
        for chains in self.base.values():
            chains.sort(key=lambda chain: chain.priority)

    def target(self, chain: Chain, name: str) -> Chain | None:
        """The chain of the same table that a jump names."""
        return self._named.get((chain.engine, chain.family, chain.table, name))

    def chains(self, *hooks: str) -> list[Chain]:
        """The base chains of the hooks and all that they can reach by jumps."""
        return self.reachable([chain for hook in hooks for chain in self.base.get(hook, [])])

    def reachable(self, chains: Sequence[Chain]) -> list[Chain]:
        """The chains and all that they can reach by jumps."""
        found: dict[int, Chain] = {}
        pending = list(chains)
        while pending:
            chain = pending.pop()
            if id(chain) not in found:
                found[id(chain)] = chain
                names = [verdict.chain for rule in chain.rules for verdict in verdicts(rule)]
                targets = [self.target(chain, name) for name in names if name]
                pending += [target for target in targets if target is not None]
        return list(found.values())


CONNTRACK = -200
"""The priority at which prerouting and output meet connection tracking."""

_MOST_BITS = 4_000_000_000
"""Rules times atoms: what is larger would take gigabytes (and a host may send what it likes)."""

INBOUND = ("ingress", "prerouting", "input")
_THERE = (*INBOUND, "forward", "postrouting")
_BACK = ("output", "prerouting", "forward", "postrouting", "egress")


class Ruleset:
    """All rules: as the first packets of connections meet them, and as the answers do.

    `too_large` says that there are more than can be followed: nothing is certain then.
    """

    def __init__(
        self, family: int, tables: Sequence[Table], layout: Layout, extra: Iterable[Ranges] = ()
    ) -> None:
        self.family = family
        self.layout = layout
        self.there = Hooks(family, tables)
        self.back = Hooks(family, [mirrored(table) for table in tables])
        self.bridge = [
            chain
            for table in tables
            if table.family == "bridge"
            for chain in table.chains.values()
            if chain.hook
        ]
        chains = [*self.there.chains(*_THERE), *self.back.chains(*_BACK)]
        zones = [*extra, layout.own, MULTICAST[family]]
        cuts = _Cuts(family, zones, chains)
        rules = sum(len(chain.rules) for chain in chains)
        self.too_large = rules * cuts.atoms > _MOST_BITS
        if self.too_large:
            self.space = Space(family, zones, own=layout.own)
        else:
            self.space = cuts.space(layout.own)
        self._filters: dict[int, _Filter] = {}
        self._interfaces: dict[tuple[object, ...], str] = {}

    def filter(self, chain: Chain) -> "_Filter":
        """The chain's index."""
        found = self._filters.get(id(chain))
        if found is None:
            found = self._filters[id(chain)] = _Filter(chain, self.space)
        return found

    @cached_property
    def told_apart(self) -> list[Ranges]:
        """The sets of destination addresses that rules ask for."""
        found: dict[Ranges, None] = {}
        for chain in self.there.chains(*_THERE):
            for rule in chain.rules:
                for condition in conditions(rule.steps):
                    part = condition.part if isinstance(condition, OriginalIn) else "address"
                    if isinstance(condition, DestinationIn | OriginalIn) and part == "address":
                        found[condition.ranges] = None
        return list(found)

    def interface_class(self, name: str) -> str:
        """An interface that no rule tells apart from this one; the same for all of its class."""
        key = (
            *(fits(pattern, name) for pattern in self._patterns),
            tuple(self.layout.lower.get(name, ())),
            name in self.layout.bridges,
            name if self.redirects else "",
        )
        return self._interfaces.setdefault(key, name)

    @cached_property
    def _patterns(self) -> list[str]:
        """The interfaces that rules name."""
        found: dict[str, None] = {}
        for chain in (*self.there.chains(*_THERE), *self.back.chains(*_BACK)):
            found.update(dict.fromkeys(chain.devices))
            for rule in chain.rules:
                for condition in conditions(rule.steps):
                    if isinstance(condition, InterfaceIn):
                        found.update(dict.fromkeys(condition.names))
        return list(found)

    @cached_property
    def redirects(self) -> bool:
        """Whether a rule sends a connection elsewhere: where to depends on the interface."""
        return any(
            translates(step)
            for chain in self.there.chains("prerouting")
            for rule in chain.rules
            for step in rule.steps
        )

    @cached_property
    def asks_here(self) -> bool:
        """Whether a rule asks if the destination is an address of the incoming interface."""
        return any(
            isinstance(condition, DestinationKind) and condition.here
            for chain in self.there.chains(*_THERE)
            for rule in chain.rules
            for condition in conditions(rule.steps)
        )

    @cached_property
    def _port_edges(self) -> list[int]:
        """Where the classes of destination ports begin; the way back asks for sources."""
        edges = {0}
        for chain in (*self.there.chains(*_THERE), *self.back.chains(*_BACK)):
            for rule in chain.rules:
                for step in rule.steps:
                    for first, last in step.ports if isinstance(step, Translate) else ():
                        edges |= {first, last + 1}
                for condition in conditions(rule.steps):
                    if isinstance(condition, PortIn | OriginalIn):
                        for first, last in condition.ranges:
                            edges |= {first, last + 1}
        return sorted(edges)

    def port_class(self, port: int) -> int:
        """A port that no rule tells apart from this one; the same for all of its class."""
        return self._port_edges[bisect_right(self._port_edges, port) - 1]

    @cached_property
    def answers_pass(self) -> bool:
        """Whether no rule can keep an answer from getting out."""
        return not any(
            chain.kind != "nat"
            and (
                (chain.hook and chain.policy == "drop")
                or any(_can_stop(step) for rule in chain.rules for step in rule.steps)
            )
            for chain in self.back.chains(*_BACK)
        )

    @cached_property
    def tracks_in_part(self) -> bool:
        """Whether some packets of a connection may be tracked where its first one is not."""
        early = [
            chain for chain in self.there.base.get("prerouting", []) if chain.priority <= CONNTRACK
        ]
        return any(
            isinstance(condition, FlagsAre | Unknown)
            for chain in self.there.reachable(early)
            for rule in chain.rules
            for condition in conditions(rule.steps)
        )

    def denials(self, packets: Sequence[Packet]) -> Iterator[tuple[Chain, Rule | None]]:
        """Rules and policies (None) of input that can deny one of the packets, of some source."""
        for hook in INBOUND:
            for chain in self.there.base.get(hook, []):
                if chain.policy == "drop":
                    yield chain, None
                yield from self._denials(chain, packets, set())

    def _denials(
        self, chain: Chain, packets: Sequence[Packet], seen: set[int]
    ) -> Iterator[tuple[Chain, Rule | None]]:
        seen.add(id(chain))
        for rule in chain.rules:
            guards, ports = _guards(rule)
            if ports == () or not any(
                all(guard.holds(packet, self.space)[1] for guard in guards) for packet in packets
            ):
                continue
            for verdict in verdicts(rule):
                target = self.there.target(chain, verdict.chain) if verdict.chain else None
                if verdict.kind == "drop":
                    yield chain, rule
                elif target is not None and id(target) not in seen:
                    yield from self._denials(target, packets, seen)

    def ports(self) -> list[tuple[int, int]]:
        """One port of each class that the rules on the way to this host tell apart, with its size.

        If there are ports that no rule names, then those alone: (port, how many).
        """
        named = [
            condition.ranges
            for chain in self.there.chains(*INBOUND)
            for rule in chain.rules
            for condition in conditions(rule.steps)
            if isinstance(condition, PortIn)
        ]
        free = complement(union([(0, 0), *(part for ranges in named for part in ranges)]), 65535)
        if free:
            return [(free[-1][1], size(free))]
        edges = {edge for ranges in named for first, last in ranges for edge in (first, last + 1)}
        return [(first, last - first) for first, last in pairwise(sorted(edges | {1, 65536}))]


def verdicts(rule: Rule) -> list[Verdict]:
    """Every verdict that the rule can give."""
    found: list[Verdict] = []
    for step in rule.steps:
        if isinstance(step, Verdict):
            found.append(step)
        elif isinstance(step, Cases):
            found += [verdict for _, verdict in step.cases if isinstance(verdict, Verdict)]
    return found


def translates(step: Step) -> bool:
    """Whether it can send a connection elsewhere."""
    if isinstance(step, Cases):
        return any(isinstance(action, Translate) for _, action in step.cases)
    return isinstance(step, Translate)


def _can_stop(step: Step) -> bool:
    if isinstance(step, Cases):
        return any(
            isinstance(action, Verdict) and action.kind == "drop" for _, action in step.cases
        )
    return isinstance(step, Opaque | Untrack) or (isinstance(step, Verdict) and step.kind == "drop")


class _Cuts:
    """What the rules tell apart of what a sender can vary."""

    def __init__(self, family: int, zones: Iterable[Ranges], chains: Sequence[Chain]) -> None:
        self._family = family
        self._addresses = list(zones)
        self._ports: list[Ranges] = []
        self._flags: list[tuple[int, int]] = []
        self._extras: list[str] = []
        for chain in chains:
            for rule in chain.rules:
                for condition in conditions(rule.steps):
                    self._add(condition)

    def _add(self, condition: Condition) -> None:
        if isinstance(condition, SourceIn):
            self._addresses += [condition.ranges] if condition.family == self._family else []
        elif isinstance(condition, OriginalIn):
            if condition.part == "source" and condition.family == self._family:
                self._addresses.append(condition.ranges)
            elif condition.part == "source port":
                self._ports.append(condition.ranges)
        elif isinstance(condition, SourcePortIn):
            self._ports.append(condition.ranges)
        elif isinstance(condition, FlagsAre):
            self._flags.append((condition.mask, condition.value))
        elif isinstance(condition, Carries):
            self._extras.append(condition.extra)

    @property
    def atoms(self) -> int:
        """How many there are at most."""
        return count_atoms(self._family, self._addresses, self._ports, self._flags, self._extras)

    def space(self, own: Ranges) -> Space:
        """The space so cut."""
        return Space(self._family, self._addresses, self._ports, self._flags, self._extras, own)


class Plain(NamedTuple):
    """A rule, or several in a row, about sources alone: "accept" or "drop" for these atoms."""

    positions: Sequence[int]
    atoms: int
    verdict: str


class _Ported(NamedTuple):
    """The rules that can concern a packet but for its port: for any, for one, for a range.

    `plain` has those of which nothing but the sources is left to ask; `runs` are the rules for any
    port, with as many of these in a row as make a run.
    """

    anywhere: list[int]
    exact: dict[int, list[int]]
    ranged: list[tuple[int, Ranges]]
    plain: dict[int, Plain]
    runs: list[Plain]


_RUN = 64


class _Filter:
    """Finds the rules of a chain that can concern a packet, without looking at each again."""

    def __init__(self, chain: Chain, space: Space) -> None:
        self._chain = chain
        self._space = space
        self._guards = [_guards(rule) for rule in chain.rules]
        self._by_packet: dict[Packet, _Ported] = {}
        self._memo: dict[Packet, list[Plain | int]] = {}

    def candidates(self, packet: Packet, start: int = 0) -> list[Plain | int]:
        """The rules from position `start` on that certain tests do not rule out, in order."""
        if start:
            return self._put_together(packet, start)
        found = self._memo.get(packet)
        if found is None:
            found = self._memo[packet] = self._put_together(packet, 0)
        return found

    def plain(self, packet: Packet, position: int) -> int:
        """The atoms of a plain rule, one of a run of `candidates`."""
        return self._by_packet[structs.replace(packet, port=0)].plain[position].atoms

    def _put_together(self, packet: Packet, start: int) -> list[Plain | int]:
        key = structs.replace(packet, port=0)
        if key not in self._by_packet:
            self._by_packet[key] = self._split(key)
        ported = self._by_packet[key]
        some = [*ported.exact.get(packet.port, [])]
        some += [index for index, ranges in ported.ranged if contains(ranges, packet.port)]
        some.sort()
        found: list[Plain | int] = []
        at = bisect_left(some, start)
        for run in ported.runs:
            end = bisect_right(some, run.positions[-1])
            if at == end and run.positions[0] >= start:
                found.append(run if run.verdict else run.positions[0])
                continue
            mixed = sorted([*run.positions, *some[at:end]])
            found += [ported.plain.get(each, each) for each in mixed if each >= start]
            at = end
        found += [ported.plain.get(each, each) for each in some[at:]]
        return found

    def _split(self, packet: Packet) -> _Ported:
        found = _Ported([], {}, [], {}, [])
        for index, (guards, ports) in enumerate(self._guards):
            answers = [guard.holds(packet, self._space) for guard in guards]
            if any(not possibly for _, possibly in answers):
                continue
            if all(certainly == self._space.full for certainly, _ in answers):
                self._add_plain(packet, index, found.plain)
            if ports is None:
                found.anywhere.append(index)
            elif size(ports) <= 16:
                for first, last in ports:
                    for port in range(first, last + 1):
                        found.exact.setdefault(port, []).append(index)
            else:
                found.ranged.append((index, ports))
        found.runs.extend(_runs(found.anywhere, found.plain))
        return found

    def _add_plain(self, packet: Packet, index: int, plain: dict[int, Plain]) -> None:
        """Where the guards and the port certainly hold: is there more than sources to ask?"""
        atoms = self._space.full
        for step in self._chain.rules[index].steps:
            if isinstance(step, Verdict):
                if step.kind in {"accept", "drop"}:
                    plain[index] = Plain((index,), atoms, step.kind)
                return
            inner = step.condition if isinstance(step, Not) else step
            if isinstance(inner, SourceIn):
                atoms &= cast(Condition, step).holds(packet, self._space)[0]
            elif not isinstance(inner, _GUARDS) and not isinstance(step, PortIn):
                return


def _runs(positions: Sequence[int], plain: Mapping[int, Plain]) -> list[Plain]:
    """The rules in order; plain ones with the same verdict, up to some in a row, become one.

    A rule that is not plain stands alone, without a verdict.
    """
    found: list[Plain] = []
    for position in positions:
        rule = plain.get(position) or Plain((position,), 0, "")
        last = found[-1] if found else None
        if (
            last is not None
            and rule.verdict
            and last.verdict == rule.verdict
            and len(last.positions) < _RUN
        ):
            found[-1] = Plain((*last.positions, position), last.atoms | rule.atoms, rule.verdict)
        else:
            found.append(rule)
    return found


_GUARDS = ProtocolIn | InterfaceIn | DestinationIn | FamilyIs | StateIn | DestinationKind


def _guards(rule: Rule) -> tuple[tuple[Condition, ...], Ranges | None]:
    """The conditions before the first action that a packet alone decides; and the ports."""
    guards: list[Condition] = []
    ports: Ranges | None = None
    for step in rule.steps:
        if isinstance(step, Action):
            break
        inner = step.condition if isinstance(step, Not) else step
        if isinstance(step, PortIn):
            ports = step.ranges if ports is None else intersection(ports, step.ranges)
        elif isinstance(inner, _GUARDS):
            guards.append(step)
    return tuple(guards), ports
