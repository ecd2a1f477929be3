"""What exposures come to: who can connect, seen from the Internet and from private networks."""

import ipaddress
from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct

from audit_agent.facts.exposure import Because, Exposure, PacketFilter, Published
from audit_agent.facts.firewall.ranges import (
    Ranges,
    difference,
    everything,
    intersection,
    size,
    union,
    written,
)
from audit_agent.facts.firewall.rules import Chain, Packet, Rule
from audit_agent.facts.network import Network, not_public
from audit_agent.facts.sockets import Listener
from audit_agent.model import Quote

_MOST_WORDS = 20


class Reach(Struct, frozen=True):
    """What several exposures come to, seen from the Internet and from private networks.

    `kind` is "open" (more sources than can be called named), "limited", "closed" or "undecided".
    `sources` are those that may connect, as people write them, by family; at most twenty.
    `because` are the decisions and doubts that made it so.
    """

    kind: str
    sources: tuple[str, ...]
    because: tuple[Because, ...]

    @property
    def constructs(self) -> tuple[str, ...]:
        """What could not be decided, by name."""
        names = (each.construct for each in self.because if each.construct)
        return tuple(dict.fromkeys(names))


def reach(
    exposures: Sequence[Exposure],
    network: Network,
    widest: Mapping[int, int],
    *,
    private: bool = False,
) -> Reach:
    """Puts the answers of all interfaces and families together.

    `widest` is the prefix length, by family, of the largest network that still counts as a named
    source: who admits more public addresses than that is open; with `private`, private addresses
    count as well. By an interface that does not face the Internet no public source comes.
    """
    possible: dict[int, list[tuple[int, int]]] = {4: [], 6: []}
    kinds: set[str] = set()
    because: list[Because] = []
    for exposure in exposures:
        family = exposure.family
        inside = not network.faces_internet(exposure.interface, family)
        most = 1 << ((32 if family == 4 else 128) - widest[family])
        sure = _plausible(exposure.accept, family, inside=inside)
        may = union([*sure, *_plausible(exposure.undecided, family, inside=inside)])
        surely, possibly = (size(each if private else public(each, family)) for each in (sure, may))
        kind = _kind(sure, may, surely, possibly, most)
        if kind != "closed":
            possible[family] += may
        among = not_public(family) if inside or private else public(everything(family), family)
        because += exposure.explain(_OUTCOMES[kind], among)
        kinds.add(kind)
    order = ("open", "undecided", "limited", "closed")
    worst = next((kind for kind in order if kind in kinds), "closed")
    words: list[str] = []
    for family, ranges in possible.items():
        words += written(family, union(ranges)[:_MOST_WORDS])
    return Reach(worst, tuple(words[:_MOST_WORDS]), tuple(_most_telling(because, worst)))


def public(ranges: Ranges, family: int) -> Ranges:
    """The part of the ranges that the Internet routes."""
    return difference(ranges, not_public(family))


def _plausible(ranges: Ranges, family: int, *, inside: bool) -> Ranges:
    return intersection(ranges, not_public(family)) if inside else ranges


def _kind(sure: Ranges, may: Ranges, surely: int, possibly: int, most: int) -> str:
    """By how many of the addresses that count are let in."""
    if surely > most:
        return "open"
    if possibly > most:
        return "undecided"
    if sure:
        return "limited"
    return "undecided" if may else "closed"


_OUTCOMES = {"open": "accept", "limited": "accept", "closed": "drop", "undecided": "undecided"}


def _most_telling(because: list[Because], worst: str) -> list[Because]:
    kept: dict[tuple[int, int, str], Because] = {}
    for each in because:
        if each.verdict == _OUTCOMES[worst]:
            kept.setdefault((id(each.chain), id(each.rule), each.construct), each)
    return list(kept.values())[:5]


class Default(Struct, frozen=True):
    """What becomes of new connections to ports that no rule names.

    `kind` is "deny", "accept", "undecided", or "mixed" where rules name all ports and treat them
    differently.
    """

    kind: str
    reach: Reach


def default(
    packet_filter: PacketFilter, family: int, protocol: str, widest: Mapping[int, int]
) -> Default:
    """The decision that no rule for a port overrides, by the interfaces that face the Internet."""
    kinds: dict[str, Reach] = {}
    private = not packet_filter.network.facing(family)
    for port, _ in packet_filter.ruleset(family).ports()[:1000]:
        exposures = outermost(packet_filter, family, protocol, port)
        answer = reach(exposures, packet_filter.network, widest, private=private)
        kind = {"open": "accept", "undecided": "undecided"}.get(answer.kind, "deny")
        kinds.setdefault(kind, answer)
    if len(kinds) == 1:
        return Default(*next(iter(kinds.items())))
    kind = "undecided" if "undecided" in kinds else "mixed"
    return Default(kind, kinds["undecided"] if kind == "undecided" else kinds["accept"])


def outermost(packet_filter: PacketFilter, family: int, protocol: str, port: int) -> list[Exposure]:
    """The port's exposures by the interfaces that face the Internet; where none does, by all."""
    network = packet_filter.network
    chosen = network.facing(family) or network.outside()
    found = [packet_filter.port(each.name, family, protocol, port) for each in chosen]
    return [exposure for exposure in found if exposure is not None]


def blanket_rules(packet_filter: PacketFilter, family: int, protocol: str) -> list[Because]:
    """The rules that let most of the world connect to ports that no rule names.

    Where none does alone, those that do together: 0.0.0.0/2, 64.0.0.0/2 and so on.
    """
    private = not packet_filter.network.facing(family)

    def counted(ranges: Ranges) -> int:
        return size(ranges if private else public(ranges, family))

    half = counted(everything(family)) // 2
    found: list[Because] = []
    for port, _ in packet_filter.ruleset(family).ports()[:1]:
        for exposure in outermost(packet_filter, family, protocol, port):
            if counted(exposure.accept) <= half:
                continue
            rules = [
                because
                for because in exposure.accepting_rules()
                if because.chain is not None and because.chain.kind != "nat"
            ]
            wide = [because for because in rules if counted(because.sources) > half]
            found += wide or _together(rules, counted, half)
    return found


def _together(rules: list[Because], counted: Callable[[Ranges], int], most: int) -> list[Because]:
    """The widest rules that let in more than `most` sources between them; [] where all do not."""
    ranked = sorted(rules, key=lambda because: counted(because.sources), reverse=True)
    let_in: Ranges = ()
    for at, because in enumerate(ranked, 1):
        let_in = union([*let_in, *because.sources])
        if counted(let_in) > most:
            return ranked[:at]
    return []


def denials(packet_filter: PacketFilter) -> list[tuple[Chain, Rule | None]]:
    """The rules and policies that can deny a new connection from outside to this host."""
    network = packet_filter.network
    found: list[tuple[Chain, Rule | None]] = []
    for family in (4, 6):
        packets = [
            Packet(
                family=family,
                protocol=protocol,
                destination=address.number,
                port=0,
                iif=interface.name,
                state="new",
            )
            for interface in network.outside()
            for address in network.addresses
            if address.family == family and not address.loopback
            for protocol in (6, 17)
        ]
        found += packet_filter.ruleset(family).denials(packets)
    return found


class Port(Struct, frozen=True):
    """A port of this host that others may reach: a listener, or one that a rule sends elsewhere.

    `bound` is "any", "public", "private", "multicast" or "loopback". `target` is where a rule
    sends it, or "".
    """

    protocol: str
    address: str
    port: int
    process: str
    bound: str
    target: str
    reach: Reach
    quotes: tuple[Quote, ...]

    @property
    def subject(self) -> str:
        """As people write it: "tcp/0.0.0.0:3306 mysqld"."""
        address = f"[{self.address}]" if ":" in self.address else self.address
        name = f"{self.protocol}/{address}:{self.port}"
        return " ".join(
            part for part in (name, self.process, self.target and f"-> {self.target}") if part
        )


def reachable_ports(
    listeners: Sequence[Listener], packet_filter: PacketFilter, widest: Mapping[int, int]
) -> list[Port]:
    """Every port but those that only this host itself can reach, in the order of the sockets."""
    network = packet_filter.network
    found: list[Port] = []
    for listener in listeners:
        ways = [*packet_filter.exposures(listener), *packet_filter.detours(listener)]
        answer = reach(ways, network, widest)
        if listener.loopback and answer.kind == "closed":
            continue
        found.append(
            Port(
                listener.protocol, listener.address, listener.port, listener.process,
                _bound(listener, network), "", answer,
                (listener.quote, *_quotes(answer.because)),
            )
        )  # fmt: skip
    taken = {(each.protocol, each.port) for each in found if each.bound == "any"}
    found += [
        _published(published, packet_filter, widest)
        for published in packet_filter.published()
        if (published.protocol, published.port) not in taken
    ]
    return found


def _published(
    published: Published, packet_filter: PacketFilter, widest: Mapping[int, int]
) -> Port:
    exposures = [
        exposure
        for interface in packet_filter.network.outside()
        if (
            exposure := packet_filter.port(
                interface.name, published.family, published.protocol, published.port
            )
        )
        is not None
    ]
    answer = reach(exposures, packet_filter.network, widest)
    translated = [
        each for exposure in exposures for each in exposure.because() if each.verdict == "translate"
    ]
    address = "0.0.0.0" if published.family == 4 else "::"  # noqa: S104 - named, not bound
    return Port(
        published.protocol, address, published.port, "", "any", published.target, answer,
        (*_quotes(translated[:1]), *_quotes(answer.because)),
    )  # fmt: skip


def _bound(listener: Listener, network: Network) -> str:
    if listener.wildcard:
        return "any"
    if listener.loopback:
        return "loopback"
    address = ipaddress.ip_address(listener.address)
    if address.is_multicast:
        return "multicast"
    known = [each for each in network.addresses if each.text == listener.address]
    if known:
        return "public" if known[0].public else "private"
    return "public" if address.is_global else "private"


def _quotes(because: Sequence[Because]) -> tuple[Quote, ...]:
    quotes = (
        each.rule.quote if each.rule is not None else each.chain.quote
        for each in because
        if each.chain is not None
    )
    return tuple(dict.fromkeys(quotes))
