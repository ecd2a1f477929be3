"""What the host has stored of its packet filter, and whether it comes back at the next boot."""

import re
from collections.abc import Iterator

from msgspec import Struct

from audit_agent.facts.firewall import Loaded, iptables
from audit_agent.facts.firewall.ipsets import IpSets
from audit_agent.facts.firewall.rules import Chain, Step, Table, Verdict
from audit_agent.facts.units import Unit, Units
from audit_agent.model import Evidence, EvidenceMissing, Quote, Section

_OTHERS = re.compile(
    r"DOCKER|f2b-|fail2ban|KUBE-|CNI-|cali|LIBVIRT|NETAVARK|ts-|sshguard|CROWDSEC|PORTFWD|FLANNEL"
)
"""Chains of programs that write their own rules again whenever they start."""

_OTHER_TABLES = re.compile(r"docker|f2b|fail2ban|kube|calico|libvirt|netavark|crowdsec|firewalld")


class Stored(Struct, frozen=True):
    """One way in which rules are stored.

    `manager` is "firewalld", "ufw", "nftables" or "iptables". `enabled` says whether they are
    loaded at boot, None where that is not known. `differences` are the rules that are only
    running ("+") or only stored ("-"); None where they could not be compared.
    """

    manager: str
    unit: str
    enabled: bool | None
    files: tuple[str, ...]
    differences: tuple[str, ...] | None
    quotes: tuple[Quote, ...]


def read_stored(evidence: Evidence, loaded: Loaded, units: Units) -> list[Stored]:
    """Every way in which this host has stored rules, or would load them.

    Raises:
        EvidenceMissing: a file that is there could not be read.
    """
    found = (
        _firewalld(evidence, loaded, units),
        _ufw(evidence, loaded, units),
        _nftables(evidence, units),
        _iptables(evidence, loaded, units),
    )
    return [each for each in found if each is not None]


def own_rules(loaded: Loaded) -> list[tuple[Chain, str]]:
    """The chains that hold rules of the host's administrator, with a rule or a policy to show.

    What other programs (docker, fail2ban ...) write again by themselves is left out.
    """
    found: list[tuple[Chain, str]] = []
    for table in loaded.tables:
        if _OTHER_TABLES.search(table.name):
            continue
        for chain in table.chains.values():
            if chain.policy == "drop" and chain.hook:
                found.append((chain, f"policy {chain.policy}"))
            for rule in chain.rules:
                if not _foreign(chain, rule.steps):
                    found.append((chain, rule.text))
                    break
    return found


def boot_scripts(evidence: Evidence) -> list[Quote]:
    """Lines of boot scripts, units and the like that call a packet filter program.

    Raises:
        EvidenceMissing: nobody looked.
    """
    section = evidence["firewall.boot-scripts"]
    return [Quote(section.name, number, number) for number in range(1, len(section.lines) + 1)]


def _foreign(chain: Chain, steps: tuple[Step, ...]) -> bool:
    """Whether a rule is another program's: in its chain, or the jump to it."""
    if _OTHERS.match(chain.name):
        return True
    jumps = [step.chain for step in steps if isinstance(step, Verdict) and step.chain]
    return any(_OTHERS.match(name) for name in jumps)


def _enabled(unit: Unit | None) -> bool | None:
    return unit.enabled if unit is not None else False


def _firewalld(evidence: Evidence, loaded: Loaded, units: Units) -> Stored | None:
    unit = units.find("firewalld")
    running = evidence.sections.get("firewall.firewalld")
    if unit is None or (running is None and not unit.enabled):
        return None
    differences: tuple[str, ...] | None = None
    quotes = unit.quotes
    if running is not None:
        now, later = evidence["firewall.firewalld"], evidence["firewall.firewalld-permanent"]
        one, other = set(_zone_lines(now)), set(_zone_lines(later))
        differences = tuple(
            [f"+ {line}" for line in sorted(one - other)]
            + [f"- {line}" for line in sorted(other - one)]
            + [f"+ {chain.family} {chain.place}" for chain in _beside_firewalld(loaded)]
        )
        quotes = (*quotes, Quote(now.name), Quote(later.name))
    return Stored("firewalld", unit.name, unit.enabled, (), differences, quotes)


def _zone_lines(section: Section) -> Iterator[str]:
    """Each setting with its zone; interfaces are given to zones at run time only."""
    zone = ""
    for line in section.lines:
        if line and not line.startswith((" ", "\t")):
            zone = line.partition(" ")[0]
        elif line.strip() and not re.match(r"\s*(interfaces|target|icmp-block-inversion):", line):
            yield f"{zone}: {' '.join(sorted(line.split()))}"


def _beside_firewalld(loaded: Loaded) -> list[Chain]:
    """Chains with rules that firewalld did not write."""
    chains = dict.fromkeys(
        (chain.engine, chain.family, chain.table, chain.name) for chain, _ in own_rules(loaded)
    )
    found = []
    for table in loaded.tables:
        for chain in table.chains.values():
            key = (chain.engine, chain.family, chain.table, chain.name)
            if key in chains and not _of_firewalld(table):
                found.append(chain)
    return found


def _of_firewalld(table: Table) -> bool:
    """With its iptables back end, firewalld writes chains such as INPUT_ZONES or IN_public."""
    return table.name == "firewalld" or any(
        re.match(r"(INPUT|FORWARD|PREROUTING|POSTROUTING)_(ZONES|direct)|FWDI_|IN_|PRE_", name)
        for name in table.chains
    )


def _ufw(evidence: Evidence, loaded: Loaded, units: Units) -> Stored | None:
    conf = evidence.file("/etc/ufw/ufw.conf")
    if conf is None:
        return None
    on = [
        number
        for number, line in enumerate(conf.lines, 1)
        if re.match(r"\s*ENABLED\s*=\s*[\"']?yes", line, re.IGNORECASE)
    ]
    unit = units.find("ufw")
    if not on:
        return None
    quotes = (Quote(conf.name, on[0], on[0]), *(unit.quotes if unit else ()))
    files: list[str] = []
    differences: list[str] = []
    for family, suffix in ((4, ""), (6, "6")):
        stored = evidence.file(f"/etc/ufw/user{suffix}.rules")
        if stored is None:
            continue
        files.append(stored.name.removeprefix("file:"))
        quotes = (*quotes, Quote(stored.name))
        tables, _ = iptables.parse(stored.lines, stored.name, family, "", IpSets({}))
        differences += _difference(_running(loaded, family), tables, only="user-")
    return Stored("ufw", "ufw", _enabled(unit), tuple(files), tuple(differences), quotes)


def _nftables(evidence: Evidence, units: Units) -> Stored | None:
    unit = units.find("nftables")
    for path in ("/etc/sysconfig/nftables.conf", "/etc/nftables.nft", "/etc/nftables.conf"):
        section = evidence.file(path)
        if section is None or not any(
            re.match(r"\s*(table|add|include|chain)\b", line) for line in section.lines
        ):
            continue
        quotes = (Quote(section.name), *(unit.quotes if unit else ()))
        return Stored("nftables", "nftables", _enabled(unit), (path,), None, quotes)
    return None


_SAVED = {
    "netfilter-persistent": {4: "/etc/iptables/rules.v4", 6: "/etc/iptables/rules.v6"},
    "iptables": {4: "/etc/sysconfig/iptables", 6: "/etc/sysconfig/ip6tables"},
    "openrc": {4: "/etc/iptables/rules-save", 6: "/etc/iptables/rules6-save"},
}


def _iptables(evidence: Evidence, loaded: Loaded, units: Units) -> Stored | None:
    for way, paths in _SAVED.items():
        stored = {family: evidence.file(path) for family, path in paths.items()}
        if not any(stored.values()):
            continue
        unit = units.find("iptables" if way == "openrc" else way)
        differences: list[str] = []
        quotes: list[Quote] = list(unit.quotes if unit else ())
        for family, section in stored.items():
            tables: list[Table] = []
            if section is not None:
                tables, _ = iptables.parse(section.lines, section.name, family, "", IpSets({}))
                quotes.append(Quote(section.name))
            differences += _difference(_running(loaded, family), tables)
        return Stored(
            "iptables",
            unit.name if unit else way,
            _enabled(unit),
            tuple(path for family, path in paths.items() if stored[family] is not None),
            tuple(differences),
            tuple(quotes),
        )
    return None


def _running(loaded: Loaded, family: int) -> list[Table]:
    """The tables that iptables could have written."""
    word = "ip" if family == 4 else "ip6"
    known = {"filter", "nat", "mangle", "raw", "security"}
    return [table for table in loaded.tables if table.family == word and table.name in known]


def _difference(running: list[Table], stored: list[Table], only: str = "") -> list[str]:
    """Rules of one side that the other does not have, each chain taken in order.

    Rules are compared by what they do; comments, counters and spelling do not count.
    """
    one, other = _by_chain(running, only), _by_chain(stored, only)
    found: list[str] = []
    for key in sorted(one.keys() | other.keys()):
        mine, theirs = one.get(key, {}), other.get(key, {})
        found += [f"+ {text}" for steps, text in mine.items() if steps not in theirs]
        found += [f"- {text}" for steps, text in theirs.items() if steps not in mine]
    return found


def _by_chain(tables: list[Table], only: str) -> dict[tuple[str, str], dict[tuple[Step, ...], str]]:
    found: dict[tuple[str, str], dict[tuple[Step, ...], str]] = {}
    for table in tables:
        for chain in table.chains.values():
            if only not in chain.name:
                continue
            rules = found.setdefault((table.name, chain.name), {})
            if chain.hook and not only and chain.policy == "drop":
                rules[Verdict(chain.policy),] = f":{chain.name} {chain.policy.upper()}"
            for rule in chain.rules:
                if not _foreign(chain, rule.steps):
                    text = re.sub(r"^\[\d+:\d+\] ", "", rule.text)
                    rules.setdefault(rule.steps, f"{table.name} {text}")
    return {key: rules for key, rules in found.items() if rules}


__all__ = ["EvidenceMissing", "Stored", "boot_scripts", "own_rules", "read_stored"]
