"""FW: the packet filter, judged by what it does to a new connection."""

from collections.abc import Iterable, Iterator, Mapping

from audit_agent.engine import Evaluate, Params
from audit_agent.facts import Host
from audit_agent.facts.exposure import Because
from audit_agent.facts.firewall.ranges import everything, written
from audit_agent.facts.firewall.rules import Chain, Rule, place
from audit_agent.facts.firewall.stored import Stored, boot_scripts, read_stored, unclaimed
from audit_agent.facts.network import Address
from audit_agent.facts.reach import Default, blanket_rules, default, denials, reach
from audit_agent.facts.units import Unit
from audit_agent.model import EvidenceMissing, Outcome, Quote, Status, Text

_SHOWN = 5
"""How many source networks a sentence lists."""
_SERVICES = ("firewalld", "ufw", "nftables", "iptables", "netfilter-persistent")


def _in_container(host: Host) -> list[Outcome]:
    """A container that may not set rules has no firewall of its own: its host's decides."""
    confinement = host.confinement
    if not confinement.container or confinement.filters is not False:
        return []
    return [
        Outcome(
            Status.NOT_APPLICABLE,
            "container",
            observed=confinement.container,
            quotes=confinement.quotes,
        )
    ]


def firewall_active(host: Host, _: Params) -> Iterator[Outcome]:
    """FW-01: some rule or policy can deny a new connection from outside."""
    if outcomes := _in_container(host):
        yield from outcomes
        return
    found = denials(host.packet_filter)
    if not found:
        _require(host, 4, 6)
        yield _inactive(host)
        return
    chain, rule = found[0]
    yield Outcome(
        Status.PASS,
        "denies",
        observed=_text(chain, rule),
        values={"count": len(found), "rule": place(chain, rule)},
        quotes=tuple(_quote(*each) for each in found[:5]),
    )


def _inactive(host: Host) -> Outcome:
    """All rules were read, and none of them denies anything."""
    quotes = _read_sections(host, 4, 6)
    listeners = [listener for listener in host.listeners if not listener.loopback]
    service = _running_service(host)
    if service is not None:
        return Outcome(
            Status.WARN,
            "service_only",
            values={"service": service.name},
            quotes=(*service.quotes, *quotes),
        )
    if not listeners:
        return Outcome(Status.WARN, "nothing_listens", quotes=quotes)
    rules = sum(len(chain.rules) for family in (4, 6) for chain in host.loaded_rules.chains(family))
    return Outcome(
        Status.FAIL,
        "denies_nothing" if rules else "nothing_loaded",
        values={"rules": rules, "listeners": len(listeners)},
        quotes=(*quotes, *(listener.quote for listener in listeners[:3])),
    )


def _running_service(host: Host) -> Unit | None:
    try:
        unit = host.units.find(*_SERVICES)
    except EvidenceMissing:
        return None
    return unit if unit is not None and unit.active else None


def default_deny(host: Host, params: Params) -> Iterator[Outcome]:
    """FW-02: a new connection to a port that no rule names is denied, over TCP and UDP."""
    if outcomes := _in_container(host):
        yield from outcomes
        return
    families = [family for family in (4, 6) if _reachable(host, family)]
    if not families:
        yield Outcome(Status.UNKNOWN, "no_address", quotes=(Quote("net.addresses"),))
        return
    found = _defaults(host, families[0], params)
    _require_if_undecided(host, found, families[0])
    yield _judged(host, families[0], found)


def _judged(host: Host, family: int, found: Mapping[str, Default]) -> Outcome:
    """By the protocol that is let in the most."""
    order = ("accept", "undecided", "mixed", "deny")
    protocol = min(found, key=lambda name: order.index(found[name].kind))
    worst = found[protocol]
    status, message = {
        "deny": (Status.PASS, "denied"),
        "accept": (Status.FAIL, "accepted"),
        "mixed": (Status.WARN, "mixed"),
        "undecided": (Status.UNKNOWN, "undecided"),
    }[worst.kind]
    if worst.kind == "accept" and any(each.kind == "deny" for each in found.values()):
        message = "accepted_one"
    elif worst.kind == "accept" and not worst.reach.because:
        message = "unfiltered"
    return Outcome(
        status,
        message,
        observed=_decided_by(worst.reach.because),
        values={
            "family": f"IPv{family}",
            "protocol": protocol.upper(),
            "rule": _decided_by(worst.reach.because),
            "constructs": ", ".join(worst.reach.constructs),
        },
        quotes=_quotes(worst.reach.because) or _read_sections(host, family),
    )


def no_blanket_accept(host: Host, params: Params) -> Iterator[Outcome]:
    """FW-03: no rule lets everybody in to every port, by an interface that faces the Internet."""
    if outcomes := _in_container(host):
        yield from outcomes
        return
    families = [family for family in (4, 6) if _addresses(host, family)]
    if not families:
        yield Outcome(Status.UNKNOWN, "no_address", quotes=(Quote("net.addresses"),))
        return
    if not any(chain.rules for family in families for chain in host.loaded_rules.chains(family)):
        _require(host, *families)
        yield Outcome(Status.NOT_APPLICABLE, "no_rules", quotes=_read_sections(host, *families))
        return
    rules = {
        place(because.chain, because.rule): (because, family)
        for family in families
        for protocol in ("tcp", "udp")
        for because in blanket_rules(host.packet_filter, family, protocol)
        if because.chain is not None
    }
    for name, (because, family) in rules.items():
        sources = written(family, because.sources)
        whole = because.sources == everything(family)
        yield Outcome(
            Status.FAIL,
            "blanket" if whole or len(rules) == 1 else "together",
            subject=name,
            observed=_text(because.chain, because.rule),
            values={"rule": name, "sources": ", ".join(sources[:_SHOWN])},
            quotes=_quotes([because]),
        )
    if rules:
        return
    _require(host, *families)
    doubts = [
        because
        for family in families
        for found in _defaults(host, family, params).values()
        if found.kind == "undecided"
        for because in found.reach.because
    ]
    if doubts:
        yield _undecided(doubts)
    else:
        yield Outcome(Status.PASS, "none", quotes=_read_sections(host, *families))


def ipv6_like_ipv4(host: Host, params: Params) -> Iterator[Outcome]:
    """FW-05: where the host has routable IPv6 addresses, IPv6 lets in no more than IPv4."""
    if outcomes := _in_container(host):
        yield from outcomes
        return
    addresses = _addresses(host, 6)
    if not host.network.addresses:
        yield Outcome(Status.UNKNOWN, "no_address", quotes=(Quote("net.addresses"),))
    elif not addresses:
        yield Outcome(Status.PASS, "no_global", quotes=(Quote("net.addresses"),))
    elif not _addresses(host, 4):
        yield Outcome(Status.NOT_APPLICABLE, "no_ipv4", quotes=(Quote("net.addresses"),))
    else:
        yield _compared(host, params, addresses)


def _compared(host: Host, params: Params, addresses: list[Address]) -> Outcome:
    four, six = (_defaults(host, family, params) for family in (4, 6))
    public = any(address.public for address in addresses)
    because = [each for found in six.values() for each in found.reach.because]
    quotes = (
        *(address.quote for address in addresses[:3]),
        *(_quotes(because) or _read_sections(host, 6)),
    )
    text = ", ".join(address.text for address in addresses[:3])
    values: dict[str, str | int | Text] = {"addresses": text, "decided": _decision(because)}
    if any(six[name].kind == "accept" and four[name].kind == "deny" for name in four):
        status = Status.FAIL if public else Status.WARN
        return Outcome(status, "open" if public else "open_private", "", text, values, quotes)
    both = [*four.values(), *six.values()]
    if any(found.kind == "undecided" for found in both):
        _require(host, 4, 6)
        return _undecided([each for found in both for each in found.reach.because])
    order = ("deny", "mixed", "accept")
    if any(order.index(six[name].kind) > order.index(four[name].kind) for name in four):
        return Outcome(Status.WARN, "looser", "", text, values, quotes)
    if any(four[name].kind != six[name].kind for name in four):
        return Outcome(Status.WARN, "differ", "", text, values, quotes)
    kinds = {found.kind for found in four.values()}
    message = {"deny": "denied", "accept": "accepted"}.get(min(kinds), "alike")
    return _extra_ports(host, params, message if len(kinds) == 1 else "alike", values, quotes)


def _extra_ports(
    host: Host,
    params: Params,
    message: str,
    values: Mapping[str, str | int | Text],
    quotes: tuple[Quote, ...],
) -> Outcome:
    """The defaults are the same: is there a port that only IPv6 opens?"""
    extra: list[str] = []
    undecided: list[Because] = []
    for listener in host.listeners:
        if listener.loopback or 6 not in listener.families:
            continue
        # The rules are compared: over IPv4 another socket may hold the port, or none.
        exposures = [each for each in host.packet_filter.exposures(listener) if each.family == 6]
        ports = (
            host.packet_filter.port(interface.name, 4, listener.protocol, listener.port)
            for interface in host.network.outside()
        )
        kinds = {
            4: reach([each for each in ports if each], host.network, _widest(params)),
            6: reach(exposures, host.network, _widest(params)),
        }
        if kinds[6].kind == "open" and kinds[4].kind != "open":
            extra.append(listener.name)
            quotes = (*quotes, listener.quote)
        elif kinds[6].kind == "undecided" and kinds[4].kind != "open":
            undecided += kinds[6].because
    if extra:
        names = ", ".join(extra)
        return Outcome(Status.WARN, "extra", "", names, {**values, "listeners": names}, quotes)
    if undecided:
        return _undecided(undecided)
    return Outcome(Status.PASS, message, "", str(values["addresses"]), values, quotes)


def survives_reboot(host: Host, _: Params) -> Iterator[Outcome]:
    """FW-06: what runs is stored, and is loaded at boot."""
    if outcomes := _in_container(host):
        yield from outcomes
        return
    stored = read_stored(host.evidence, host.loaded_rules, host.units)
    at_boot = [each for each in stored if each.enabled]
    if at_boot:
        _require(host, 4, 6)
        yield _at_boot(at_boot, unclaimed(host.loaded_rules, at_boot))
    elif stored:
        yield Outcome(
            Status.WARN,
            "not_enabled",
            observed=", ".join(stored[0].files),
            values=_values(stored),
            quotes=stored[0].quotes,
        )
    elif scripts := boot_scripts(host.evidence):
        yield Outcome(Status.MANUAL, "script", quotes=tuple(scripts[:10]))
    else:
        _require(host, 4, 6)
        yield _not_stored(host)


def _at_boot(stored: list[Stored], rest: list[tuple[Chain, Rule | None]]) -> Outcome:
    """What is loaded at boot, against what runs."""
    quotes = tuple(quote for each in stored for quote in each.quotes)
    values = _values(stored)
    differences = [line for each in stored for line in each.differences or ()]
    differences += [f"+ {_text(chain, rule)}" for chain, rule in rest]
    if differences:
        values = {**values, "count": len(differences)}
        observed = "\n".join(differences[:10])
        return Outcome(Status.WARN, "differs", "", observed, values, quotes)
    if any(each.differences is None for each in stored):
        return Outcome(Status.MANUAL, "not_compared", "", str(values["unit"]), values, quotes)
    return Outcome(Status.PASS, "equal", "", str(values["unit"]), values, quotes)


def _values(stored: list[Stored]) -> dict[str, str | int | Text]:
    return {
        "manager": ", ".join(each.manager for each in stored),
        "unit": ", ".join(each.unit for each in stored),
    }


def _not_stored(host: Host) -> Outcome:
    own = unclaimed(host.loaded_rules, [])
    return Outcome(
        Status.FAIL,
        "not_stored" if own else "nothing",
        observed=_text(*own[0]) if own else "",
        quotes=tuple(_quote(*each) for each in own[:3]) or _read_sections(host, 4, 6),
    )


def _addresses(host: Host, family: int) -> list[Address]:
    """Those that other networks can send to."""
    return [
        address
        for address in host.network.addresses
        if address.family == family and not address.loopback and address.scope != "link"
    ]


def _reachable(host: Host, family: int) -> bool:
    """Whether one of these addresses is at an interface by which packets come in now."""
    names = {interface.name for interface in host.network.outside()}
    return bool(names) and any(
        address.interface in names | {""} for address in _addresses(host, family)
    )


def _widest(params: Params) -> Mapping[int, int]:
    return {4: params.integer("widest_prefix_ipv4"), 6: params.integer("widest_prefix_ipv6")}


def _defaults(host: Host, family: int, params: Params) -> Mapping[str, Default]:
    return {
        name: default(host.packet_filter, family, name, _widest(params)) for name in ("tcp", "udp")
    }


def _require(host: Host, *families: int) -> None:
    """Raises EvidenceMissing where rules of these families may not have been seen."""
    for family in families:
        for missing in host.loaded_rules.missing[family]:
            raise missing


def _require_if_undecided(host: Host, found: Mapping[str, Default], family: int) -> None:
    if any(each.kind == "undecided" for each in found.values()):
        _require(host, family)


def _undecided(because: Iterable[Because]) -> Outcome:
    doubts = [each for each in because if each.verdict == "undecided"]
    constructs = ", ".join(dict.fromkeys(each.construct for each in doubts))
    return Outcome(
        Status.UNKNOWN,
        "undecided",
        observed=constructs,
        values={"constructs": constructs},
        quotes=_quotes(doubts),
    )


def _read_sections(host: Host, *families: int) -> tuple[Quote, ...]:
    """All that was read of the rules, where that none of the lines says it is the proof."""
    sections = host.loaded_rules.sections
    return tuple(
        Quote(name) for name in dict.fromkeys(name for each in families for name in sections[each])
    )


def _text(chain: Chain | None, rule: Rule | None) -> str:
    if chain is None:
        return ""
    return rule.text if rule is not None else place(chain, rule)


def _decided_by(because: Iterable[Because]) -> str:
    places = [place(each.chain, each.rule) for each in because if each.chain is not None]
    return "; ".join(dict.fromkeys(places))


def _decision(because: Iterable[Because]) -> Text:
    """The end of a sentence: which rules made it so, or that none did."""
    rules = _decided_by(because)
    if not rules:
        return Text(en=", since no loaded rule concerns it", zh="（已加载的规则均未涉及）")
    return Text(en=f", by {rules}", zh=f"，由 {rules} 决定")


def _quote(chain: Chain, rule: Rule | None) -> Quote:
    return rule.quote if rule is not None else chain.quote


def _quotes(because: Iterable[Because]) -> tuple[Quote, ...]:
    return tuple(
        dict.fromkeys(_quote(each.chain, each.rule) for each in because if each.chain is not None)
    )


CHECKS: Mapping[str, Evaluate] = {
    "FW-01": firewall_active,
    "FW-02": default_deny,
    "FW-03": no_blanket_accept,
    "FW-05": ipv6_like_ipv4,
    "FW-06": survives_reboot,
}
