"""Listening sockets, as ss(8), netstat(8) or /proc/net tell them."""

import ipaddress
import re
from collections.abc import Mapping

from msgspec import Struct, structs

from audit_agent.facts.accounts import Account
from audit_agent.model import Evidence, EvidenceMissing, Gap, Quote, Section


class Listener(Struct, frozen=True):
    """One socket that takes connections, or datagrams from anybody.

    `address` is "0.0.0.0" or "::" where it takes all; `interface` is "" unless it is bound to one.
    `dual` says whether a "::" socket also takes IPv4, None where it could not be told. `process`
    and `pid` are "" and None where they are not visible; `user` is the socket's owner by name, or
    by number, or "".
    """

    protocol: str
    address: str
    port: int
    interface: str
    dual: bool | None
    process: str
    pid: int | None
    user: str
    quote: Quote

    @property
    def name(self) -> str:
        """As people write it: "tcp/0.0.0.0:22"; IPv6 addresses in brackets."""
        address = f"[{self.address}]" if ":" in self.address else self.address
        return f"{self.protocol}/{address}:{self.port}"

    @property
    def wildcard(self) -> bool:
        """Whether it takes connections to every address of the host."""
        return self.address in {"0.0.0.0", "::"}  # noqa: S104 - compared, not bound

    @property
    def loopback(self) -> bool:
        """Whether it is bound to an address that only this host can send to."""
        address = ipaddress.ip_address(self.address)
        mapped = getattr(address, "ipv4_mapped", None)
        return address.is_loopback or (mapped is not None and mapped.is_loopback)

    @property
    def families(self) -> tuple[int, ...]:
        """The address families by which it can be reached; an undecided one included."""
        if self.address == "::":
            return (6,) if self.dual is False else (4, 6)
        address = ipaddress.ip_address(self.address)
        if getattr(address, "ipv4_mapped", None) is not None:
            return (4,)
        return (address.version,)


def socket_list(evidence: Evidence) -> Section:
    """The section that the listening sockets are read from: what ss, netstat or /proc/net told.

    Raises:
        EvidenceMissing: no way to read them worked.
    """
    try:
        return evidence["net.sockets"]
    except EvidenceMissing as missing:
        try:
            return evidence["net.proc-sockets"]
        except EvidenceMissing:
            raise missing from None


def read_listeners(evidence: Evidence, accounts: Mapping[int, str]) -> list[Listener]:
    """Every listening socket; `accounts` gives users their names.

    Raises:
        EvidenceMissing: no way to read them worked.
    """
    section = socket_list(evidence)
    if section.name == "net.proc-sockets":
        return _of_proc(evidence, accounts)
    if not section.lines:  # both programs write a heading above nothing
        raise EvidenceMissing(section.name, Gap.FAILED)
    if section.command.startswith("netstat"):
        return _of_netstat(evidence, section, accounts)
    return _of_ss(evidence, section, accounts)


def user_names(accounts: list[Account]) -> dict[int, str]:
    """Names by UID; the first account of a UID counts."""
    names: dict[int, str] = {}
    for account in accounts:
        if account.uid is not None:
            names.setdefault(account.uid, account.name)
    return names


_SS = re.compile(
    r"(?P<protocol>tcp|udp|mptcp|sctp|dccp|udplite)\s+(?:LISTEN|UNCONN|ESTAB|CLOSE)\s+\d+\s+\d+\s+"
    r"(?P<local>\S+):(?P<port>\d{1,5}|\*)\s+(?P<peer>\S+)(?P<rest>.*)$"
)
_PROCESS = re.compile(r'users:\(\("((?:[^"\\]|\\.)*)",pid=(\d{1,10})')


def _of_ss(evidence: Evidence, section: Section, accounts: Mapping[int, str]) -> list[Listener]:
    """`ss -lntup`, with or without -e and header.

    Before 4.14, ss wrote `*` for 0.0.0.0; since then it writes `*` for a "::" socket that takes
    IPv4 as well.
    """
    text = section.text
    today = "0.0.0.0:" in text or "v6only:" in text
    star = ("::", True) if today else ("0.0.0.0", False)  # noqa: S104 - parsed, not bound
    listeners: list[Listener] = []
    for number, line in enumerate(section.lines, 1):
        found = _SS.match(line)
        if found is None:
            _refuse_if_socket(section, line)
            continue
        if found["port"] == "*":
            continue
        local, _, interface = found["local"].partition("%")
        address, dual = star if local == "*" else (local.strip("[]"), None)
        if not _is_address(address):
            raise EvidenceMissing(section.name, Gap.FAILED, line.strip())
        if address != "::":
            dual = False
        elif only := re.search(r"\bv6only:([01])", found["rest"]):
            dual = only[1] == "0"
        elif today and dual is None:
            dual = False
        process = _PROCESS.search(found["rest"])
        listeners.append(
            Listener(
                protocol="tcp" if found["protocol"] == "mptcp" else found["protocol"],
                address=address,
                port=int(found["port"]),
                interface=interface.strip("]"),
                dual=dual,
                process=process[1] if process else "",
                pid=int(process[2]) if process else None,
                user=_user_of_ss(found["rest"], accounts),
                quote=Quote(section.name, number, number),
            )
        )
    return _decided(listeners if today else _checked(listeners, _of_proc(evidence, accounts)))


def _checked(listeners: list[Listener], others: list[Listener]) -> list[Listener]:
    """A wildcard that /proc has only among the IPv6 sockets takes both families."""
    known = {other.name for other in others}
    return [
        structs.replace(each, address="::", dual=None)
        if each.address == "0.0.0.0"  # noqa: S104 - compared, not bound
        and known
        and each.name not in known
        else each
        for each in listeners
    ]


def _user_of_ss(rest: str, accounts: Mapping[int, str]) -> str:
    """`ss -e` leaves uid: out for root."""
    found = re.search(r"\buid:(\d{1,10})", rest)
    if found is None and not re.search(r"\bino:[1-9]", rest):
        return ""
    uid = int(found[1]) if found else 0
    return accounts.get(uid, str(uid))


_NETSTAT = re.compile(
    r"(?P<protocol>tcp|udp)(?P<six>6?)\s+\d+\s+\d+\s+(?P<local>\S+):(?P<port>\d{1,5})\s+\S+"
    r"(?:\s+LISTEN)?(?:\s+(?P<pid>\d{1,10})/(?P<process>\S+.*?))?(?:\s+-)?\s*$"
)


def _of_netstat(
    evidence: Evidence, section: Section, accounts: Mapping[int, str]
) -> list[Listener]:
    """`netstat -lntup`, of net-tools or busybox; the owners are added from /proc."""
    known = {other.name: other for other in _of_proc(evidence, accounts)}
    listeners: list[Listener] = []
    for number, line in enumerate(section.lines, 1):
        found = _NETSTAT.match(line)
        if found is None:
            _refuse_if_socket(section, line)
            continue
        address, _, interface = found["local"].partition("%")
        if not _is_address(address):
            raise EvidenceMissing(section.name, Gap.FAILED, line.strip())
        listener = Listener(
            protocol=found["protocol"],
            address=address,
            port=int(found["port"]),
            interface=interface,
            dual=None if address == "::" else False,
            process=(found["process"] or "").strip(),
            pid=int(found["pid"]) if found["pid"] else None,
            user="",
            quote=Quote(section.name, number, number),
        )
        if (other := known.get(listener.name)) is not None:
            listener = structs.replace(
                listener,
                user=other.user,
                process=listener.process or other.process,
                pid=listener.pid or other.pid,
            )
        listeners.append(listener)
    return _decided(listeners)


def _of_proc(evidence: Evidence, accounts: Mapping[int, str]) -> list[Listener]:
    """The listening lines of /proc/net; none where they are missing."""
    try:
        section = evidence["net.proc-sockets"]
    except EvidenceMissing:
        return []
    owners = _owners(evidence)
    listeners = [
        listener
        for number, line in enumerate(section.lines, 1)
        if (listener := _of_proc_line(line, section, number, accounts, owners)) is not None
    ]
    return _decided(listeners)


def _of_proc_line(
    line: str,
    section: Section,
    number: int,
    accounts: Mapping[int, str],
    owners: Mapping[str, tuple[str, int]],
) -> Listener | None:
    found = re.fullmatch(
        r"(tcp|udp|udplite)(6?) ([0-9A-F]{8}|[0-9A-F]{32}):([0-9A-F]{4}) "
        r"([0-9A-F]+):([0-9A-F]{4}) (?:0A|07) (\d{1,10}) (\d+)",
        line,
    )
    if found is None or (found[1] != "tcp" and found[6] != "0000"):
        return None
    address = _proc_address(found[3])
    process, pid = owners.get(found[8], ("", None))
    uid = int(found[7])
    return Listener(
        protocol=found[1],
        address=address,
        port=int(found[4], 16),
        interface="",
        dual=None if address == "::" else False,
        process=process,
        pid=pid,
        user=accounts.get(uid, str(uid)),
        quote=Quote(section.name, number, number),
    )


def _proc_address(text: str) -> str:
    """/proc/net writes each 32-bit word of an address in the host's byte order (little-endian)."""
    packed = b"".join(
        bytes.fromhex(text[start : start + 8])[::-1] for start in range(0, len(text), 8)
    )
    return str(ipaddress.ip_address(packed))


def _owners(evidence: Evidence) -> dict[str, tuple[str, int]]:
    """The process of each socket by inode, where no program told it."""
    try:
        lines = evidence["net.socket-owners"].lines
    except EvidenceMissing:
        return {}
    owners: dict[str, tuple[str, int]] = {}
    for line in lines:
        inode, _, rest = line.partition(" ")
        pid, _, process = rest.partition(" ")
        if re.fullmatch("[0-9]{1,10}", pid):
            owners.setdefault(inode, (process, int(pid)))
    return owners


def _decided(listeners: list[Listener]) -> list[Listener]:
    """A "::" socket beside a 0.0.0.0 socket of the same port does not take IPv4 itself."""
    taken = {
        (each.protocol, each.port)
        for each in listeners
        if each.address == "0.0.0.0"  # noqa: S104 - compared, not bound
    }
    return [
        structs.replace(each, dual=False)
        if each.dual is None and (each.protocol, each.port) in taken
        else each
        for each in listeners
    ]


def _refuse_if_socket(section: Section, line: str) -> None:
    """A socket that cannot be read must not vanish: the whole list is then worth nothing."""
    if re.match(r"\s*(mp)?(tcp|udp)", line):
        raise EvidenceMissing(section.name, Gap.FAILED, line.strip())


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
