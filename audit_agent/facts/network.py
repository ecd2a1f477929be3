"""Addresses, interfaces, default routes and the settings that decide where packets go."""

import ipaddress
import re
from collections.abc import Mapping
from functools import cache

from msgspec import Struct

from audit_agent.facts.firewall.ranges import Ranges, network, union
from audit_agent.model import Evidence, EvidenceMissing, Gap, Quote

_UP, _LOOPBACK = 0x1, 0x8


class Address(Struct, frozen=True):
    """One address of an interface; `interface` is "" where it could not be told."""

    interface: str
    family: int
    text: str
    number: int
    length: int
    scope: str
    quote: Quote

    @property
    def public(self) -> bool:
        """Whether the Internet routes it: neither private, unique-local, link-local nor the like.

        Addresses reserved for documentation count as public: nobody gives one to a host by rule.
        """
        return self.scope == "global" and not _inside(self.family, self.number, _NOT_PUBLIC)

    @property
    def loopback(self) -> bool:
        """Whether only this host can send to it."""
        return self.scope == "host" or _inside(self.family, self.number, _LOOPBACK_NETWORKS)


class Interface(Struct, frozen=True):
    """One network interface; `lower` are those it is made of (bridge ports, a VLAN's parent)."""

    name: str
    up: bool
    loopback: bool
    bridge: bool
    lower: tuple[str, ...]


class Network(Struct, frozen=True):
    """The host's network. `default` names the interfaces of default routes by family.

    `default` is None where the routes could not be read. `settings` are sysctl values by path,
    such as "ipv4/ip_forward".
    """

    addresses: tuple[Address, ...]
    interfaces: tuple[Interface, ...]
    default: Mapping[int, frozenset[str]] | None
    settings: Mapping[str, str]

    def outside(self) -> list[Interface]:
        """The interfaces by which packets from other hosts come in, in order of their names."""
        ports = {
            lower for interface in self.interfaces if interface.bridge for lower in interface.lower
        }
        return [
            interface
            for interface in sorted(self.interfaces, key=lambda each: each.name)
            if interface.up and not interface.loopback and interface.name not in ports
        ]

    def of(self, interface: str, family: int) -> list[Address]:
        """The interface's addresses of one family."""
        return [
            address
            for address in self.addresses
            if address.family == family and address.interface in {interface, ""}
        ]

    def facing(self, family: int) -> list[Interface]:
        """The interfaces by which packets from the Internet may come in."""
        return [each for each in self.outside() if self.faces_internet(each.name, family)]

    def faces_internet(self, interface: str, family: int) -> bool:
        """Whether packets from the Internet may come in there.

        False only for an interface that has addresses, all of them private, and no default route.
        """
        if self.default is None or interface in self.default[family]:
            return True
        addresses = [a for a in self.of(interface, family) if a.scope != "link"]
        return any(address.public for address in addresses) or not addresses


_NOT_PUBLIC = {
    4: ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16",
        "127.0.0.0/8", "0.0.0.0/8", "224.0.0.0/3"),
    6: ("fc00::/7", "fe80::/10", "::/8", "ff00::/8", "fec0::/10"),
}  # fmt: skip
"""What the Internet does not route: private, shared, link-local, loopback, multicast, reserved."""

_LOOPBACK_NETWORKS = {4: ("127.0.0.0/8",), 6: ("::1/128",)}


def _inside(family: int, number: int, networks: Mapping[int, tuple[str, ...]]) -> bool:
    make = ipaddress.IPv4Address if family == 4 else ipaddress.IPv6Address
    return any(make(number) in ipaddress.ip_network(text) for text in networks[family])


@cache
def not_public(family: int) -> Ranges:
    """The addresses that the Internet does not route."""
    return union(network(text)[1:] for text in _NOT_PUBLIC[family])


def read_network(evidence: Evidence) -> Network:
    """The network of the host.

    Raises:
        EvidenceMissing: the addresses could not be read.
    """
    addresses = _addresses(evidence)
    return Network(
        addresses=tuple(addresses),
        interfaces=tuple(_interfaces(evidence, addresses)),
        default=_default_routes(evidence),
        settings=_settings(evidence),
    )


_ADDRESS = re.compile(r"\d+: (\S+)\s+inet6? (\S+)(?: peer (\S+))?(?:.*? scope (\S+))?")


def _addresses(evidence: Evidence) -> list[Address]:
    section = evidence["net.addresses"]
    found: list[Address] = []
    for number, line in enumerate(section.lines, 1):
        match = _ADDRESS.match(line)
        if match is None:
            continue
        text = match[2].partition("/")[0]
        length = (match[3] or match[2]).partition("/")[2]
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            continue
        most = 32 if address.version == 4 else 128
        found.append(
            Address(
                interface=re.split("[@:]", match[1])[0].strip("?"),  # of ifconfig's "eth0:1", eth0
                family=address.version,
                text=str(address),
                number=int(address),
                length=min(int(length), most) if re.fullmatch("[0-9]{1,3}", length) else most,
                scope=match[4] or "global",
                quote=Quote(section.name, number, number),
            )
        )
    return found


def _interfaces(evidence: Evidence, addresses: list[Address]) -> list[Interface]:
    """Those of the list, and those that only the addresses name, which are taken to be up.

    Raises:
        EvidenceMissing: the host has an address that others can reach, and no name for the
            interface that it belongs to.
    """
    section = evidence.sections.get("net.interfaces")
    found = _listed(section.lines) if section is not None and section.gap is None else []
    names = {address.interface for address in addresses} - {each.name for each in found}
    found += [Interface(name, True, name == "lo", False, ()) for name in sorted(names - {""})]  # noqa: FBT003
    nameless = any(not address.interface and not address.loopback for address in addresses)
    if nameless and all(interface.loopback for interface in found):
        raise EvidenceMissing("net.interfaces", Gap.FAILED)
    return found


def _listed(lines: list[str]) -> list[Interface]:
    found: list[Interface] = []
    for line in filter(str.strip, lines):
        name, *words = line.split()
        fields = [word.partition("=") for word in words]
        flags = next((value for key, _, value in fields if key == "flags"), "0x1")
        bits = int(flags, 16) if re.fullmatch(r"0x[0-9a-f]{1,8}", flags) else _UP
        found.append(
            Interface(
                name=name,
                up=bool(bits & _UP),
                loopback=bool(bits & _LOOPBACK),
                bridge="bridge" in words,
                lower=tuple(value for key, _, value in fields if key == "lower"),
            )
        )
    return found


def _default_routes(evidence: Evidence) -> Mapping[int, frozenset[str]] | None:
    try:
        lines = evidence["net.routes"].lines
    except EvidenceMissing:
        return None
    found: dict[int, set[str]] = {4: set(), 6: set()}
    for line in lines:
        family = 6 if ":" in line or line.endswith("inet6") else 4
        for name in re.findall(r"\bdev (\S+)", line):
            found[family].add(name)
            if " via " not in line and not line.endswith("inet6"):
                found[6].add(name)  # `default dev ppp0` is written alike for both families
    return {family: frozenset(names) for family, names in found.items()}


def _settings(evidence: Evidence) -> dict[str, str]:
    try:
        lines = evidence["net.settings"].lines
    except EvidenceMissing:
        return {}
    return dict(line.split(":", 1) for line in lines if ":" in line)
