"""PS: listening ports, and who can reach them."""

import re
from collections.abc import Iterator, Mapping

from audit_agent.engine import Evaluate, Params
from audit_agent.facts import Host
from audit_agent.facts.firewall.rules import place
from audit_agent.facts.reach import Port, reachable_ports
from audit_agent.facts.sockets import Listener, socket_list
from audit_agent.model import Outcome, Quote, Severity, Status, Text

_DHCP = {68, 546}


def inventory(host: Host, _: Params) -> Iterator[Outcome]:
    """PS-01: every listening socket, with the process that holds it."""
    listeners = host.listeners
    unnamed = [listener for listener in listeners if not listener.process]
    observed = "\n".join(_line(listener) for listener in listeners)
    values: dict[str, str | int | Text] = {
        "count": len(listeners),
        "unnamed": len(unnamed),
        "names": ", ".join(listener.name for listener in unnamed[:20]),
    }
    if not unnamed:
        yield Outcome(Status.PASS, "complete", "", observed, values, _all_read(host))
        return
    message = "no_owner" if host.evidence.privilege.root else "no_privilege"
    quotes = tuple(listener.quote for listener in unnamed[:20])
    yield Outcome(Status.UNKNOWN, message, "", observed, values, quotes)


def _line(listener: Listener) -> str:
    return " ".join(
        part for part in (listener.name, listener.process or "?", listener.user) if part
    )


def _all_read(host: Host) -> tuple[Quote, ...]:
    """All that was read of the sockets."""
    return (Quote(socket_list(host.evidence).name),)


def undeclared(host: Host, params: Params) -> Iterator[Outcome]:
    """PS-02: without a declared list, a person confirms each port that others may reach."""
    ports = reachable_ports(host.listeners, host.packet_filter, _widest(params))
    for port in ports:
        message = "client" if _of_client(host, port) else _message(port)
        yield Outcome(
            Status.MANUAL, message, port.subject, _observed(port), _values(port), port.quotes
        )
    if not ports:
        _require_rules(host)
        yield Outcome(Status.PASS, "loopback_only", quotes=_all_read(host))


def _of_client(host: Host, port: Port) -> bool:
    """A datagram socket that waits for answers, not for requests: of DHCP, or of a port by chance.

    The kernel gives such ports from a range (ip_local_port_range, ip(7)).
    """
    if port.protocol != "udp" or port.target:
        return False
    setting = host.network.settings.get("ipv4/ip_local_port_range", "")
    found = re.fullmatch(r"\s*(\d+)\s+(\d+)\s*", setting)
    return port.port in _DHCP or (found is not None and int(found[1]) <= port.port <= int(found[2]))


def high_risk(host: Host, params: Params) -> Iterator[Outcome]:
    """PS-03: the ports of our list are closed to everybody but named sources."""
    listed = {"tcp": set(params.integers("tcp")), "udp": set(params.integers("udp"))}
    critical = set(params.integers("critical"))
    ports = [
        port
        for port in reachable_ports(host.listeners, host.packet_filter, _widest(params))
        if _numbers(port) & listed.get(port.protocol, set())
    ]
    for port in ports:
        status, message = _judged(port)
        yield Outcome(
            status,
            message,
            port.subject,
            _observed(port),
            _values(port),
            port.quotes,
            Severity.CRITICAL if _numbers(port) & critical else None,
        )
    if not ports:
        _require_rules(host)
        values = {"count": len(host.listeners)}
        yield Outcome(Status.PASS, "none", "", "", values, _all_read(host))


def _numbers(port: Port) -> set[int]:
    """The port itself, and the one of the container that a rule sends it to."""
    target = port.target.rpartition(":")[2]
    return {port.port, int(target)} if target.isdigit() else {port.port}


def _judged(port: Port) -> tuple[Status, str]:
    if port.reach.kind == "closed":
        message = _message(port)
        return (Status.PASS if message == "closed" else Status.UNKNOWN), message
    if port.bound in {"private", "loopback"}:
        return Status.WARN, "private"
    return {
        "open": (Status.FAIL, _message(port)),
        "limited": (Status.WARN, "limited"),
        "undecided": (Status.UNKNOWN, "undecided"),
    }[port.reach.kind]


def _message(port: Port) -> str:
    """By what it comes to; open or closed without any rule that says so are cases of their own."""
    if not port.reach.because:
        return {"open": "unfiltered", "closed": "no_way"}.get(port.reach.kind, port.reach.kind)
    return port.reach.kind


def _require_rules(host: Host) -> None:
    """Rules may send ports to containers, which have no socket here.

    Raises:
        EvidenceMissing: the rules were not all read.
    """
    for family in (4, 6):
        for missing in host.loaded_rules.missing[family]:
            raise missing


def _widest(params: Params) -> Mapping[int, int]:
    return {4: params.integer("widest_prefix_ipv4"), 6: params.integer("widest_prefix_ipv6")}


def _deciding(port: Port) -> str:
    places = [place(each.chain, each.rule) for each in port.reach.because if each.chain is not None]
    return "; ".join(dict.fromkeys(places)) or "-"


def _observed(port: Port) -> str:
    """In words of no language: the sources that may connect, and the rule that decides."""
    sources = ", ".join(port.reach.sources) or "-"
    return f"{port.reach.kind}: {sources} ({_deciding(port)})"


def _values(port: Port) -> Mapping[str, str]:
    return {
        "port": port.subject,
        "sources": ", ".join(port.reach.sources) or "-",
        "rule": _deciding(port),
        "constructs": ", ".join(port.reach.constructs),
    }


CHECKS: Mapping[str, Evaluate] = {
    "PS-01": inventory,
    "PS-02": undeclared,
    "PS-03": high_risk,
}
