"""Effective exposure: which sources can connect to a listener, and which rules decide it."""

import ipaddress
from collections.abc import Callable, Iterator
from functools import cached_property

from msgspec import Struct

from audit_agent.facts.firewall import Loaded, Ruleset
from audit_agent.facts.firewall.path import Decision, Doubted, Fate, Walk
from audit_agent.facts.firewall.ranges import (
    Ranges,
    contains,
    difference,
    everything,
    intersection,
    size,
    union,
)
from audit_agent.facts.firewall.rules import (
    Cases,
    Chain,
    DestinationIn,
    OriginalIn,
    Packet,
    PortIn,
    Rule,
    Step,
    Translate,
    conditions,
)
from audit_agent.facts.firewall.ruleset import Layout
from audit_agent.facts.network import Address, Network, not_public
from audit_agent.facts.sockets import Listener

PROTOCOLS = {"tcp": 6, "udp": 17, "dccp": 33, "sctp": 132, "udplite": 136}
_LINK_LOCAL: Ranges = ((0xFE80 << 112, (0xFEC0 << 112) - 1),)
_MOST_PUBLISHED = 2000
_DUAL = "whether the socket takes IPv4"

Arrival = tuple[int | None, int, bool]
"""Where a connection arrives: address, port, and whether that is on this host."""


class Because(Struct, frozen=True):
    """One decision, or one doubt, about some sources.

    `verdict` is "accept", "drop", "translate" or "undecided". `rule` is None where the chain's
    policy decided, `chain` where no chain did. `construct` names what could not be decided.
    `hook` is where the packet was, "" for a doubt. `sure` says whether it is certain that the rule
    applies; `plain` are the sources to whose ordinary packets it does (no odd source port, no
    extension header).
    """

    sources: Ranges
    verdict: str
    chain: Chain | None
    rule: Rule | None
    construct: str
    hook: str = ""
    sure: bool = True
    plain: Ranges = ()


class Exposure:
    """Who can reach one port through one interface, by one address family.

    `accept`, `drop` and `undecided` part the family's whole source space. Of the accepted, some
    may get in only by choosing their source port (`by_source_port`).
    """

    def __init__(
        self, interface: str, family: int, ruleset: Ruleset, fates: "list[tuple[Fate, int]]"
    ) -> None:
        self.interface = interface
        self.family = family
        self._space = ruleset.space
        self._fates = fates

    @cached_property
    def _classes(self) -> tuple[int, int]:
        """The address classes that certainly get in, and that certainly do not.

        Each fate comes with the atoms that can take that way at all (a link-local destination
        only has link-local sources).
        """
        space = self._space
        accepted, dropped = 0, space.some_choice(space.full)
        for fate, atoms in self._fates:
            accepted |= space.some_choice(fate.passed & ~fate.stopped & atoms)
            dropped &= space.every_choice(space.full & ~(fate.passed & atoms))
        return accepted, dropped

    @property
    def accept(self) -> Ranges:
        """The sources that certainly can connect."""
        return self._space.ranges(self._classes[0])

    @property
    def drop(self) -> Ranges:
        """The sources that certainly cannot."""
        return self._space.ranges(self._classes[1])

    @property
    def undecided(self) -> Ranges:
        """The sources of which rules and addresses alone do not tell."""
        accepted, dropped = self._classes
        return self._space.ranges(self._space.some_choice(self._space.full) & ~accepted & ~dropped)

    @property
    def by_source_port(self) -> Ranges:
        """The accepted sources that are not accepted with every source port."""
        space = self._space
        whatever = 0
        for fate, atoms in self._fates:
            whatever |= space.every_port(fate.passed & ~fate.stopped & atoms)
        return space.ranges(self._classes[0] & ~whatever)

    def because(self) -> list[Because]:
        """Every decision and doubt, in the order in which packets meet them."""
        found: list[Because] = []
        seen: set[tuple[int, int, str]] = set()
        for fate, _ in self._fates:
            for decision in fate.decisions:
                key = (id(decision.chain), id(decision.rule), decision.verdict)
                if key not in seen:
                    seen.add(key)
                    found.append(self._decided(decision))
            for doubt in self._in_doubt(fate):
                key = (id(doubt.chain), id(doubt.rule), doubt.construct)
                if key not in seen:
                    seen.add(key)
                    sources = self._space.ranges(self._space.some_choice(doubt.atoms))
                    found.append(
                        Because(sources, "undecided", doubt.chain, doubt.rule, doubt.construct)
                    )
        return found

    def _decided(self, decision: Decision) -> Because:
        space = self._space
        return Because(
            sources=space.ranges(space.some_choice(decision.atoms)),
            verdict=decision.verdict,
            chain=decision.chain,
            rule=decision.rule,
            construct="",
            hook=decision.hook,
            sure=not decision.atoms & decision.unsure,
            plain=space.ranges(space.plain(decision.atoms)),
        )

    @staticmethod
    def _in_doubt(fate: Fate) -> Iterator[Doubted]:
        """The doubts about atoms that are undecided in the end."""
        undecided = fate.passed & fate.stopped
        return (doubt for doubt in fate.doubts if doubt.atoms & undecided)


class Published(Struct, frozen=True):
    """A port of this host whose connections a rule sends elsewhere, as to a container.

    `target` is "ADDRESS:PORT", with "?" for what is not known.
    """

    protocol: str
    family: int
    port: int
    target: str


class PacketFilter:
    """The loaded rules with the network they apply to: answers who can reach what."""

    def __init__(self, loaded: Loaded, network: Network) -> None:
        self.loaded = loaded
        self.network = network
        self._rulesets: dict[int, Ruleset] = {}
        self._fates: dict[Packet, Fate] = {}
        self._translated: dict[tuple[int, int], dict[int, set[Arrival]]] = {}

    def _unread(self, family: int) -> Iterator[str]:
        """What was not read, or not understood as a rule, so that nothing is certain."""
        for missing in self.loaded.missing[family]:
            yield f"{missing.section} ({missing.gap})"
        for problem in self.loaded.problems:
            yield problem.text

    def ruleset(self, family: int) -> Ruleset:
        """The rules that packets of the family meet."""
        if family not in self._rulesets:
            extra: list[Ranges] = [union(not_public(family))]
            if family == 6:
                extra.append(_LINK_LOCAL)
            self._rulesets[family] = Ruleset(
                family, self.loaded.tables, self._layout(family), extra
            )
        return self._rulesets[family]

    def _layout(self, family: int) -> Layout:
        own = [each for each in self.network.addresses if each.family == family]
        primary: dict[str, int] = {}
        for address in own:
            if address.scope != "link":
                primary.setdefault(address.interface, address.number)
        settings = self.network.settings
        forward = {4: "ipv4/ip_forward", 6: "ipv6/conf/all/forwarding"}[family]
        return Layout(
            own=union((each.number, each.number) for each in own),
            primary=primary,
            networks=tuple((each.interface, _connected(each)) for each in own if each.interface),
            forwarding=None if forward not in settings else settings[forward] != "0",
            localnet={
                name.split("/")[2]: value != "0"
                or settings.get("ipv4/conf/all/route_localnet", "0") != "0"
                for name, value in settings.items()
                if name.endswith("/route_localnet")
            },
            lower={each.name: each.lower for each in self.network.interfaces},
            bridges=frozenset(each.name for each in self.network.interfaces if each.bridge),
        )

    def exposures(self, listener: Listener) -> list[Exposure]:
        """Who can connect to the listener's address and port, by each interface and family.

        Whoever is sent elsewhere by a rule (to a container, to another port) does connect.
        """
        return list(self._through(listener, self._directly))

    def detours(self, listener: Listener) -> list[Exposure]:
        """Who can reach the listener by connecting to another port, which rules send on to it."""
        return list(self._through(listener, self._sent_on))

    def _through(
        self,
        listener: Listener,
        ways: Callable[[Listener, str, int], Iterator[tuple[Fate, int]]],
    ) -> Iterator[Exposure]:
        for family in listener.families:
            for interface in self.network.outside():
                if listener.interface in {"", interface.name}:
                    fates = list(ways(listener, interface.name, family))
                    if fates:
                        yield Exposure(interface.name, family, self.ruleset(family), fates)

    def port(self, interface: str, family: int, protocol: str, port: int) -> Exposure | None:
        """Who can reach a port of this host; None where it has no address of the family."""
        fates = list(self._fates_of(interface, family, PROTOCOLS[protocol], port, None))
        return Exposure(interface, family, self.ruleset(family), fates) if fates else None

    def _directly(
        self, listener: Listener, interface: str, family: int
    ) -> Iterator[tuple[Fate, int]]:
        if listener.loopback:
            return
        protocol = PROTOCOLS.get(listener.protocol, 6)
        bound = None if listener.wildcard else _number(listener.address)
        full = self.ruleset(family).space.full
        doubtful = listener.address == "::" and family == 4 and listener.dual is None
        for fate, atoms in self._fates_of(interface, family, protocol, listener.port, bound):
            yield (_doubted(fate, _DUAL, full) if doubtful else fate), atoms

    def _sent_on(
        self, listener: Listener, interface: str, family: int
    ) -> Iterator[tuple[Fate, int]]:
        protocol = PROTOCOLS.get(listener.protocol, 6)
        bound = None if listener.wildcard else _number(listener.address)
        full = self.ruleset(family).space.full
        for port, ends in self._translated_ports(family, protocol).items():
            if port == listener.port or not any(
                here and final == listener.port for _, final, here in ends
            ):
                continue
            for fate, atoms in self._fates_of(interface, family, protocol, port, None):
                arriving = 0
                for (address, final, here), some in fate.arrivals.items():
                    to_it = bound is None or address is None or address == bound
                    if here and final == listener.port and to_it:
                        arriving |= some
                if arriving:
                    yield _only(fate, arriving, full), atoms

    def _fates_of(
        self, interface: str, family: int, protocol: int, port: int, bound: int | None
    ) -> Iterator[tuple[Fate, int]]:
        ruleset = self.ruleset(family)
        for address in self._destinations(interface, family, bound):
            here = address.interface == interface if address.interface else None
            packet = Packet(
                family=family,
                protocol=protocol,
                destination=address.number,
                port=port,
                iif=interface,
                here=here,
                bridged=interface in ruleset.layout.bridges,
            )
            atoms = ruleset.space.full
            if address.scope == "link" and family == 6:
                atoms = ruleset.space.from_addresses(_LINK_LOCAL)
            yield self._fate(ruleset, packet), atoms

    def _fate(self, ruleset: Ruleset, packet: Packet) -> Fate:
        found = self._fates.get(packet)
        if found is None:
            found = Walk(ruleset).fate(packet)
            for construct in self._unread(ruleset.family):
                found = _doubted(found, construct, ruleset.space.full)
            self._fates[packet] = found
        return found

    def _destinations(self, interface: str, family: int, bound: int | None) -> list[Address]:
        """The host's addresses that rules tell apart, or the one a listener is bound to."""
        own = [
            address
            for address in self.network.addresses
            if address.family == family
            and not address.loopback
            and (address.scope != "link" or address.interface == interface or family == 4)
        ]
        if bound is not None:
            return [address for address in own if address.number == bound][:1]
        found: dict[tuple[object, ...], Address] = {}
        for address in own:
            key = (
                address.interface == interface,
                address.scope == "link",
                *(contains(ranges, address.number) for ranges in self._told_apart[family]),
            )
            found.setdefault(key, address)
        return list(found.values())

    @cached_property
    def _told_apart(self) -> dict[int, list[Ranges]]:
        """The sets of destination addresses that rules ask for."""
        found: dict[int, dict[Ranges, None]] = {4: {}, 6: {}}
        for family in (4, 6):
            for chain in self.loaded.chains(family):
                for rule in chain.rules:
                    for condition in conditions(rule.steps):
                        if isinstance(condition, DestinationIn):
                            found[condition.family][condition.ranges] = None
                        elif isinstance(condition, OriginalIn) and condition.part == "address":
                            found[family][condition.ranges] = None
        return {family: list(sets) for family, sets in found.items()}

    def published(self) -> list[Published]:
        """The ports of this host whose connections are sent elsewhere."""
        found: list[Published] = []
        for family in (4, 6):
            for name, protocol in (("tcp", 6), ("udp", 17)):
                for port, ends in self._translated_ports(family, protocol).items():
                    found += [
                        Published(name, family, port, _target(family, address, final))
                        for address, final, here in sorted(ends, key=str)
                        if not here
                    ]
        return found

    def _translated_ports(self, family: int, protocol: int) -> dict[int, set[Arrival]]:
        """Where the connections to each translated port arrive; from any outside interface."""
        key = (family, protocol)
        if key not in self._translated:
            self._translated[key] = dict(self._translations(family, protocol))
        return self._translated[key]

    def _translations(self, family: int, protocol: int) -> Iterator[tuple[int, set[Arrival]]]:
        for port in self._candidate_ports(family):
            ends: set[Arrival] = set()
            for interface in self.network.outside():
                for fate, _ in self._fates_of(interface.name, family, protocol, port, None):
                    if any(decision.verdict == "translate" for decision in fate.decisions):
                        ends.update(fate.arrivals)
            if ends:
                yield port, ends

    def _candidate_ports(self, family: int) -> list[int]:
        """The ports that prerouting's rules name, where any of these rules translates."""
        ports: set[int] = set()
        translates = False
        for chain in self.ruleset(family).there.chains("prerouting"):
            for rule in chain.rules:
                translates = translates or any(map(_translates, rule.steps))
                for condition in conditions(rule.steps):
                    if isinstance(condition, PortIn) and size(condition.ranges) <= 64:
                        ports.update(
                            port
                            for first, last in condition.ranges
                            for port in range(first, last + 1)
                        )
        return sorted(ports)[:_MOST_PUBLISHED] if translates else []


def _translates(step: Step) -> bool:
    if isinstance(step, Cases):
        return any(isinstance(action, Translate) for _, action in step.cases)
    return isinstance(step, Translate)


def _connected(address: Address) -> Ranges:
    bits = 32 if address.family == 4 else 128
    host = (1 << (bits - address.length)) - 1
    return ((address.number & ~host, address.number | host),)


def _number(text: str) -> int:
    address = ipaddress.ip_address(text)
    mapped = getattr(address, "ipv4_mapped", None)
    return int(mapped if mapped is not None else address)


def _target(family: int, address: int | None, port: int) -> str:
    if address is None:
        return f"?:{port}"
    make = ipaddress.IPv4Address if family == 4 else ipaddress.IPv6Address
    text = str(make(address))
    return f"[{text}]:{port}" if family == 6 else f"{text}:{port}"


def _doubted(fate: Fate, construct: str, full: int) -> Fate:
    """The same, with nothing certain any more."""
    doubts = (*fate.doubts, Doubted(None, None, construct, full))
    return Fate(full, full, fate.decisions, doubts, fate.arrivals)


def _only(fate: Fate, arriving: int, full: int) -> Fate:
    """The fate of reaching one of several ends: whoever ends elsewhere does not reach it."""
    stopped = fate.stopped | (full & ~arriving)
    return Fate(arriving, stopped, fate.decisions, fate.doubts, fate.arrivals)


def public(ranges: Ranges, family: int) -> Ranges:
    """The part of the ranges that the Internet routes."""
    return difference(intersection(ranges, everything(family)), union(not_public(family)))
