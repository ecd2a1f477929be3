"""Effective exposure: which sources can connect to a listener, and which rules decide it."""

import ipaddress
from collections.abc import Callable, Iterator
from functools import cached_property

from msgspec import Struct, structs

from audit_agent.facts.firewall import Loaded, Ruleset
from audit_agent.facts.firewall.path import TOO_MUCH, Arrival, Decision, Fate, Walk
from audit_agent.facts.firewall.ranges import Ranges, contains, intersection, size, union
from audit_agent.facts.firewall.rules import Chain, Packet, PortIn, Rule, conditions
from audit_agent.facts.firewall.ruleset import Layout
from audit_agent.facts.network import Address, Network, not_public
from audit_agent.facts.sockets import Listener

PROTOCOLS = {"tcp": 6, "udp": 17, "dccp": 33, "sctp": 132, "udplite": 136}
_LINK_LOCAL: Ranges = ((0xFE80 << 112, (0xFEC0 << 112) - 1),)
_MOST_PUBLISHED = 2000
_MOST_STEPS = 6_000_000
"""Rules looked at for all questions about a host together, before the rest stays undecided."""


class Because(Struct, frozen=True):
    """One decision, or one doubt, about some sources.

    `verdict` is "accept", "drop", "translate" or "undecided". `rule` is None where the chain's
    policy decided, `chain` where no chain did. `construct` names what could not be decided.
    `hook` is where the packet was: "input", or "output" for the answer; "" for a doubt.
    """

    sources: Ranges
    verdict: str
    chain: Chain | None
    rule: Rule | None
    construct: str = ""
    hook: str = ""


class Way(Struct, frozen=True):
    """One form that the first packet can have (its destination), and what becomes of it.

    Only the sources in `atoms` can send it at all: to a link-local address, only link-local ones.
    `doubts` are reasons why nothing about it is certain, beside the rules.
    """

    packet: Packet
    fate: Fate
    atoms: int
    doubts: tuple[str, ...] = ()

    @property
    def passed(self) -> int:
        """The atoms that may get through."""
        return self.atoms if self.doubts else self.fate.passed & self.atoms

    @property
    def surely(self) -> int:
        """The atoms that certainly get through."""
        return 0 if self.doubts else self.fate.passed & ~self.fate.stopped & self.atoms


class Exposure:
    """Who can reach one port through one interface, by one address family.

    `accept`, `drop` and `undecided` part the family's whole source space. Of the accepted, some
    may get in only by choosing their source port (`by_source_port`).
    """

    def __init__(
        self,
        interface: str,
        ruleset: Ruleset,
        ways: list[Way],
        explained: "dict[tuple[Packet, str, int], list[Because]]",
    ) -> None:
        self.interface = interface
        self._explained_before = explained
        self.family = ruleset.family
        self._ruleset = ruleset
        self._space = ruleset.space
        self._ways = ways

    @cached_property
    def _classes(self) -> dict[str, int]:
        """The address classes that get in, that do not, and of which it is undecided."""
        space = self._space
        accepted, dropped = 0, space.some_choice(space.full)
        for way in self._ways:
            accepted |= space.some_choice(way.surely)
            dropped &= space.every_choice(space.full & ~way.passed)
        undecided = space.some_choice(space.full) & ~accepted & ~dropped
        return {"accept": accepted, "drop": dropped, "undecided": undecided}

    @cached_property
    def accept(self) -> Ranges:
        """The sources that certainly can connect."""
        return self._space.ranges(self._classes["accept"])

    @cached_property
    def drop(self) -> Ranges:
        """The sources that certainly cannot."""
        return self._space.ranges(self._classes["drop"])

    @cached_property
    def undecided(self) -> Ranges:
        """The sources of which rules and addresses alone do not tell."""
        return self._space.ranges(self._classes["undecided"])

    @property
    def by_source_port(self) -> Ranges:
        """The accepted sources that are not accepted with every source port."""
        space = self._space
        whatever = 0
        for way in self._ways:
            whatever |= space.every_port(way.surely)
        return space.ranges(self._classes["accept"] & ~whatever)

    def because(self) -> list[Because]:
        """Every decision and doubt, in the order in which packets meet them."""
        found: dict[tuple[int, int, str], Because] = {}
        for way in self._ways:
            walk = Walk(self._ruleset, record=True)
            fate = walk.fate(way.packet)
            for decision in walk.decisions:
                key = (id(decision.chain), id(decision.rule), decision.verdict)
                if key not in found:
                    found[key] = self._decided(decision)
            for name in way.doubts:
                found[0, 0, name] = Because(
                    self._space.ranges(self._space.some_choice(way.atoms)),
                    "undecided",
                    None,
                    None,
                    name,
                )
            for doubt in walk.doubts:
                if doubt.atoms & fate.passed & fate.stopped:
                    key = (id(doubt.chain), id(doubt.rule), doubt.construct)
                    sources = self._space.ranges(self._space.some_choice(doubt.atoms))
                    found.setdefault(
                        key,
                        Because(sources, "undecided", doubt.chain, doubt.rule, doubt.construct),
                    )
        return list(found.values())

    def _decided(self, decision: Decision) -> Because:
        sources = self._space.ranges(self._space.some_choice(decision.atoms))
        return Because(sources, decision.verdict, decision.chain, decision.rule, hook=decision.hook)

    def accepting_rules(self) -> list[Because]:
        """The rules (not policies) of input that accept some sources."""
        found: dict[int, Because] = {}
        for way in self._ways:
            walk = Walk(self._ruleset, record=True)
            walk.fate(way.packet)
            for decision in walk.decisions:
                if decision.rule is not None and (decision.verdict, decision.hook) == (
                    "accept",
                    "input",
                ):
                    found.setdefault(id(decision.rule), self._decided(decision))
        return list(found.values())

    def explain(self, outcome: str, among: Ranges) -> list[Because]:
        """What decides for the widest range of sources that comes to `outcome`, "accept" ...

        The widest of those in `among`; if there are none, of all. Of accepted ones the last
        accepting decision of input or forward; of the others the drops, or the doubts.
        """
        ranges = {"accept": self.accept, "drop": self.drop, "undecided": self.undecided}[outcome]
        found = intersection(ranges, among) or ranges
        if not found:
            return []
        first, _ = max(found, key=lambda each: each[1] - each[0])
        number, sources = self._space.class_of(first)
        for way in self._ways:
            atom = self._space.atom(number, self._in_question(way, outcome))
            if atom:
                key = (way.packet, outcome, atom)
                if way.doubts or key not in self._explained_before:
                    self._explained_before[key] = self._explained(way, atom, outcome, sources)
                return self._explained_before[key]
        return []

    def _in_question(self, way: Way, outcome: str) -> int:
        if outcome == "accept":
            return way.surely
        if outcome == "drop":
            return self._space.full & ~way.passed & way.atoms
        return way.passed & ~way.surely

    def _explained(self, way: Way, atom: int, outcome: str, sources: Ranges) -> list[Because]:
        if outcome == "undecided" and way.doubts:
            return [Because(sources, "undecided", None, None, name) for name in way.doubts]
        walk = Walk(self._ruleset, record=True)
        walk.fate(way.packet, atom)
        if outcome == "undecided":
            return [
                Because(sources, "undecided", doubt.chain, doubt.rule, doubt.construct)
                for doubt in walk.doubts
            ]
        found = [
            Because(sources, each.verdict, each.chain, each.rule, hook=each.hook)
            for each in walk.decisions
            if each.verdict == outcome
        ]
        if outcome == "drop":
            return found
        late = [each for each in found if each.hook in {"input", "forward"}]
        by_rule = [each for each in late if each.rule is not None]
        return (by_rule or late or found)[-1:]


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
        self._fates: dict[Packet, Fate | None] = {}
        self._explained: dict[tuple[Packet, str, int], list[Because]] = {}
        self._steps = _MOST_STEPS
        self._translated: dict[tuple[int, int], dict[int, set[Arrival]]] = {}

    def _unread(self, family: int) -> tuple[str, ...]:
        """What was not read, or not understood as a rule, so that nothing is certain."""
        return (
            *(f"{missing.section} ({missing.gap})" for missing in self.loaded.missing[family]),
            *(problem.text for problem in self.loaded.problems),
        )

    def ruleset(self, family: int) -> Ruleset:
        """The rules that packets of the family meet."""
        if family not in self._rulesets:
            extra: list[Ranges] = [not_public(family)]
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
                name.removesuffix("/route_localnet").rpartition("/")[2]: value != "0"
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
        self, listener: Listener, ways: Callable[[Listener, str, int], Iterator[Way]]
    ) -> Iterator[Exposure]:
        for family in listener.families:
            for interface in self.network.outside():
                if listener.interface in {"", interface.name}:
                    found = list(ways(listener, interface.name, family))
                    if found:
                        yield Exposure(interface.name, self.ruleset(family), found, self._explained)

    def port(self, interface: str, family: int, protocol: str, port: int) -> Exposure | None:
        """Who can reach a port of this host; None where it has no address of the family."""
        ways = list(self._ways(interface, family, PROTOCOLS[protocol], port, ""))
        if not ways:
            return None
        return Exposure(interface, self.ruleset(family), ways, self._explained)

    def _directly(self, listener: Listener, interface: str, family: int) -> Iterator[Way]:
        if listener.loopback:
            return
        protocol = PROTOCOLS.get(listener.protocol, 6)
        bound = "" if listener.wildcard else listener.address
        both = listener.address == "::" and family == 4 and listener.dual is None
        for way in self._ways(interface, family, protocol, listener.port, bound):
            if both:
                yield structs.replace(way, doubts=(*way.doubts, "whether the socket takes IPv4"))
            else:
                yield way

    def _sent_on(self, listener: Listener, interface: str, family: int) -> Iterator[Way]:
        protocol = PROTOCOLS.get(listener.protocol, 6)
        bound = None if listener.wildcard else _number(listener.address)
        full = self.ruleset(family).space.full
        for port, ends in self._translated_ports(family, protocol).items():
            if port == listener.port or not any(
                here and final == listener.port for _, final, here in ends
            ):
                continue
            for way in self._ways(interface, family, protocol, port, ""):
                arriving = 0
                for (address, final, here), some in way.fate.arrivals.items():
                    to_it = bound is None or address is None or address == bound
                    if here and final == listener.port and to_it:
                        arriving |= some
                if arriving:
                    stopped = way.fate.stopped | (full & ~arriving)
                    yield structs.replace(
                        way, fate=Fate(arriving, stopped, way.fate.translated, way.fate.arrivals)
                    )

    def _ways(
        self, interface: str, family: int, protocol: int, port: int, bound: str
    ) -> Iterator[Way]:
        ruleset = self.ruleset(family)
        unread = self._unread(family)
        for address in self._destinations(interface, family, bound):
            packet = Packet(
                family=family,
                protocol=protocol,
                destination=address.number,
                port=ruleset.port_class(port),
                iif=ruleset.interface_class(interface),
                here=address.interface == interface
                if address.interface and ruleset.asks_here
                else None,
                bridged=interface in ruleset.layout.bridges,
            )
            atoms = ruleset.space.full
            if address.scope == "link" and family == 6:
                atoms = ruleset.space.from_addresses(_LINK_LOCAL)
            fate = self._fate(ruleset, packet)
            if fate is None:
                full = ruleset.space.full
                fate = Fate(full, full, translated=False, arrivals={})
                yield Way(packet, fate, atoms, (*unread, TOO_MUCH))
            else:
                yield Way(packet, fate, atoms, unread)

    def _fate(self, ruleset: Ruleset, packet: Packet) -> Fate | None:
        """What becomes of the packet; None where that is more than can be followed."""
        if packet not in self._fates:
            walk = Walk(ruleset)
            fate = walk.fate(packet) if self._steps > 0 else None
            self._steps -= walk.steps
            self._fates[packet] = None if walk.gave_up else fate
        return self._fates[packet]

    def _destinations(self, interface: str, family: int, bound: str) -> list[Address]:
        """The host's addresses that rules tell apart, or the one a listener is bound to."""
        own = [
            address
            for address in self.network.addresses
            if address.family == family
            and not address.loopback
            and (address.scope != "link" or address.interface == interface or family == 4)
        ]
        if bound:
            number = _number(bound)
            return [address for address in own if address.number == number][:1]
        ruleset = self.ruleset(family)
        found: dict[tuple[object, ...], Address] = {}
        for address in own:
            key = (
                address.interface == interface and ruleset.asks_here,
                address.scope == "link",
                *(contains(each, address.number) for each in ruleset.told_apart),
            )
            found.setdefault(key, address)
        return list(found.values())

    def published(self) -> list[Published]:
        """The ports of this host whose connections are sent elsewhere."""
        return [
            Published(name, family, port, _target(family, address, final or port))
            for family in (4, 6)
            for name, protocol in (("tcp", 6), ("udp", 17))
            for port, ends in self._translated_ports(family, protocol).items()
            for address, final, here in sorted(ends, key=str)
            if not here
        ]

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
                for way in self._ways(interface.name, family, protocol, port, ""):
                    if way.fate.translated:
                        ends.update(way.fate.arrivals)
            if ends:
                yield port, ends

    def _candidate_ports(self, family: int) -> list[int]:
        """The ports that prerouting's rules name, where any of these rules translates."""
        ruleset = self.ruleset(family)
        if not ruleset.redirects:
            return []
        ports = {
            port
            for chain in ruleset.there.chains("prerouting")
            for rule in chain.rules
            for condition in conditions(rule.steps)
            if isinstance(condition, PortIn) and size(condition.ranges) <= 64
            for first, last in condition.ranges
            for port in range(first, last + 1)
        }
        return sorted(ports)[:_MOST_PUBLISHED]


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
