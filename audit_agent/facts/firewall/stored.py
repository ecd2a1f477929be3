"""What the host has stored of its packet filter, and whether it comes back at the next boot."""

import re
from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct

from audit_agent.facts.firewall import Loaded, iptables, nft_text
from audit_agent.facts.firewall.ipsets import IpSets
from audit_agent.facts.firewall.rules import Chain, Rule, Step, Table, Verdict, place
from audit_agent.facts.units import Unit, Units
from audit_agent.model import Evidence, Quote, Section

_OTHERS = re.compile(
    r"DOCKER|f2b-|fail2ban|KUBE-|CNI-|cali|LIBVIRT|NETAVARK|ts-|sshguard|CROWDSEC|FLANNEL"
)
"""Chains of programs that write their own rules again whenever they start."""

_OTHER_INTERFACES = re.compile(
    r"\b(docker0|br-[0-9a-f]{12}|virbr\d+|cni0|podman\d+|cali\w+|lxdbr\d+)\b"
)

_OTHER_TABLES = re.compile(r"docker|f2b|fail2ban|kube|calico|libvirt|netavark|crowdsec|lxd")

_TABLES = {"filter", "nat", "mangle", "raw", "security"}


class Stored(Struct, frozen=True):
    """One way in which rules are stored.

    `manager` is "firewalld", "ufw", "nftables" or "iptables". `enabled` says whether they are
    loaded at boot. `differences` are the rules that are only running ("+"), only stored ("-") or
    in another order ("~"); None where they could not be compared.
    """

    manager: str
    unit: str
    enabled: bool
    files: tuple[str, ...]
    differences: tuple[str, ...] | None
    quotes: tuple[Quote, ...]


def read_stored(evidence: Evidence, loaded: Loaded, units: Units) -> list[Stored]:
    """Every way in which this host has stored rules; a file without rules is none.

    Raises:
        EvidenceMissing: a file that is there could not be read.
    """
    found = (
        _firewalld(evidence, units),
        _ufw(evidence, loaded, units),
        _nftables(evidence, loaded, units),
        _iptables(evidence, loaded, units),
    )
    return [each for each in found if each is not None]


def unclaimed(loaded: Loaded, stored: Sequence[Stored]) -> list[tuple[Chain, Rule | None]]:
    """The running rules and denying policies (None) that none of these ways stores.

    What other programs (docker, fail2ban ...) write again by themselves is left out.
    """
    managers = {each.manager for each in stored}
    found: list[tuple[Chain, Rule | None]] = []
    for table in loaded.tables:
        if _OTHER_TABLES.search(table.name) or _claims_table(table, managers):
            continue
        for chain in table.chains.values():
            if (
                chain.policy == "drop"
                and "ufw" not in managers
                and not _others_policy(table, chain)
            ):
                found.append((chain, None))
            found += [
                (chain, rule)
                for rule in chain.rules
                if not _of_other(chain, rule)
                and not ("ufw" in managers and _in_or_to(r"ufw6?-", chain, rule.steps))
            ]
    return found


def _claims_table(table: Table, managers: set[str]) -> bool:
    if "nftables" in managers and table.engine == "nft":
        return True  # the comparison with the file covers every table of nft
    if "iptables" in managers and table.family in {"ip", "ip6"} and table.name in _TABLES:
        return True
    return "firewalld" in managers and (
        table.name == "firewalld"
        or any(re.match(r"(INPUT|FORWARD|PREROUTING)_(ZONES|direct)|IN_|PRE_", name)
               for name in table.chains)
    )  # fmt: skip


def boot_scripts(evidence: Evidence) -> list[Quote]:
    """Lines of boot scripts, units and the like that call a packet filter program.

    Raises:
        EvidenceMissing: nobody looked.
    """
    section = evidence["firewall.boot-scripts"]
    return [Quote(section.name, number, number) for number in range(1, len(section.lines) + 1)]


def _in_or_to(pattern: str, chain: Chain, steps: tuple[Step, ...]) -> bool:
    """Whether a rule stands in a chain of that name, or jumps to one."""
    jumps = [step.chain for step in steps if isinstance(step, Verdict) and step.chain]
    return any(re.match(pattern, name) for name in (chain.name, *jumps))


def _of_other(chain: Chain, rule: Rule) -> bool:
    """Whether another program wrote it: by its chain, its jump, or its interface."""
    return _in_or_to(_OTHERS.pattern, chain, rule.steps) or bool(
        _OTHER_INTERFACES.search(rule.text)
    )


def _others_policy(table: Table, chain: Chain) -> bool:
    """No base chain; or FORWARD where docker is, which sets its policy."""
    docker = any(name.startswith("DOCKER") for name in table.chains)
    return not chain.hook or (docker and chain.hook == "forward")


def _enabled(unit: Unit | None) -> bool:
    return unit is not None and bool(unit.enabled)


def _firewalld(evidence: Evidence, units: Units) -> Stored | None:
    """Firewalld's zones, as its own program lists them, running and permanent."""
    unit = units.find("firewalld")
    running = evidence.sections.get("firewall.firewalld")
    if unit is None or (running is None and not unit.enabled):
        return None
    differences: tuple[str, ...] | None = None
    quotes = unit.quotes
    if running is not None:
        now, later = evidence["firewall.firewalld"], evidence["firewall.firewalld-permanent"]
        one, other = list(_zone_lines(now)), list(_zone_lines(later))
        differences = (
            *(f"+ {line}" for line in one if line not in other),
            *(f"- {line}" for line in other if line not in one),
        )
        quotes = (*quotes, Quote(now.name), Quote(later.name))
    return Stored("firewalld", unit.name, _enabled(unit), (), differences, quotes)


def _zone_lines(section: Section) -> Iterator[str]:
    """Each setting with its zone; interfaces are given to zones at run time only."""
    zone = ""
    for line in section.lines:
        if line and not line.startswith((" ", "\t")):
            zone = line.partition(" ")[0]
        elif line.strip() and not re.match(r"\s*(interfaces|icmp-block-inversion):", line):
            key, _, values = line.strip().partition(":")
            yield f"{zone}: {key}: {' '.join(sorted(values.split()))}"


def _ufw(evidence: Evidence, loaded: Loaded, units: Units) -> Stored | None:
    """Ufw's own rules; what stands around them it writes from files that it owns."""
    conf = evidence.file("/etc/ufw/ufw.conf")
    on = [
        number
        for number, line in enumerate(conf.lines if conf else [], 1)
        if re.match(r"\s*ENABLED\s*=\s*[\"']?yes", line, re.IGNORECASE)
    ]
    if conf is None or not on:
        return None
    unit = units.find("ufw")
    quotes = [Quote(conf.name, on[0], on[0]), *(unit.quotes if unit else ())]
    differences: list[str] = []
    files: list[str] = []
    for family, suffix in ((4, ""), (6, "6")):
        section = evidence.file(f"/etc/ufw/user{suffix}.rules")
        if section is not None:
            files.append(section.name.removeprefix("file:"))
            quotes.append(Quote(section.name))
            tables, _ = iptables.parse(section.lines, section.name, family, "", IpSets({}))
            differences += _difference(_running(loaded, family), tables, only="-user-")
    return Stored("ufw", "ufw", _enabled(unit), tuple(files), tuple(differences), tuple(quotes))


def _nftables(evidence: Evidence, loaded: Loaded, units: Units) -> Stored | None:
    """The file that the service nftables loads, with what it includes."""
    unit = units.find("nftables")
    for path in ("/etc/sysconfig/nftables.conf", "/etc/nftables.nft", "/etc/nftables.conf"):
        section = evidence.file(path)
        if section is None:
            continue
        lines, files = _with_includes(evidence, section)
        tables, problems = nft_text.parse(lines or [], section.name)
        if lines is not None and not problems and not _hold_rules(tables):
            continue
        differences: tuple[str, ...] | None = None
        if lines is not None and not problems:
            running = [
                table
                for table in loaded.tables
                if table.engine == "nft" and not _OTHER_TABLES.search(table.name)
            ]
            differences = tuple(_difference(running, tables))
        quotes = [*(unit.quotes if unit else ()), *(Quote(f"file:{name}") for name in files)]
        return Stored(
            "nftables", "nftables", _enabled(unit), tuple(files), differences, tuple(quotes)
        )
    return None


def _hold_rules(tables: Sequence[Table]) -> bool:
    return any(
        chain.rules or chain.policy == "drop" for table in tables for chain in table.chains.values()
    )


_INCLUDE = re.compile(r'\s*include\s+"([^"]+)"')


def _with_includes(evidence: Evidence, section: Section) -> tuple[list[str] | None, list[str]]:
    """The lines with those of included files put in; None where one of these is not at hand."""
    files = [section.name.removeprefix("file:")]
    lines: list[str] = []
    for line in section.lines:
        found = _INCLUDE.match(line)
        if found is None:
            lines.append(line)
            continue
        pattern = found[1] if found[1].startswith("/") else f"/etc/{found[1]}"
        sections = _matching(evidence, pattern)
        if not sections and "*" not in pattern:
            return None, files
        for included in sections:
            if included.gap is not None or any(_INCLUDE.match(each) for each in included.lines):
                return None, files
            files.append(included.name.removeprefix("file:"))
            lines += included.lines
    return lines, files


def _matching(evidence: Evidence, pattern: str) -> list[Section]:
    wanted = re.compile("file:" + re.escape(pattern).replace(r"\*", "[^/]*"))
    return [each for name, each in sorted(evidence.sections.items()) if wanted.fullmatch(name)]


_SAVED: Mapping[str, Mapping[int, str]] = {
    "netfilter-persistent": {4: "/etc/iptables/rules.v4", 6: "/etc/iptables/rules.v6"},
    "iptables": {4: "/etc/sysconfig/iptables", 6: "/etc/sysconfig/ip6tables"},
    "openrc": {4: "/etc/iptables/rules-save", 6: "/etc/iptables/rules6-save"},
}


def _iptables(evidence: Evidence, loaded: Loaded, units: Units) -> Stored | None:
    """The files that iptables-persistent, iptables-services or OpenRC load."""
    for way, paths in _SAVED.items():
        stored = {family: evidence.file(path) for family, path in paths.items()}
        sections = [section for section in stored.values() if section is not None]
        parsed = {
            family: iptables.parse(section.lines, section.name, family, "", IpSets({}))[0]
            for family, section in stored.items()
            if section is not None
        }
        if not any(map(_hold_rules, parsed.values())):
            continue
        unit = units.find("iptables" if way == "openrc" else way)
        differences = [
            line
            for family in paths
            for line in _difference(_running(loaded, family), parsed.get(family, []))
        ]
        return Stored(
            "iptables",
            unit.name if unit else way.replace("openrc", "iptables"),
            _enabled(unit),
            tuple(section.name.removeprefix("file:") for section in sections),
            tuple(differences),
            (*(unit.quotes if unit else ()), *(Quote(section.name) for section in sections)),
        )
    return None


def _running(loaded: Loaded, family: int) -> list[Table]:
    """The tables that iptables could have written."""
    word = "ip" if family == 4 else "ip6"
    return [table for table in loaded.tables if table.family == word and table.name in _TABLES]


def _difference(running: Sequence[Table], stored: Sequence[Table], only: str = "") -> list[str]:
    """What one side has and the other has not, chain by chain.

    Rules are compared by what they do; comments, counters and spelling do not count.
    """
    one, other = _by_chain(running, only), _by_chain(stored, only)
    found: list[str] = []
    for key in sorted(one.keys() | other.keys()):
        mine, theirs = one.get(key, []), other.get(key, [])
        ours, stand = [steps for steps, _ in mine], [steps for steps, _ in theirs]
        changed = [f"+ {text}" for steps, text in mine if steps not in stand]
        changed += [f"- {text}" for steps, text in theirs if steps not in ours]
        found += changed or ([f"~ {' '.join(key)}"] if ours != stand else [])
    return found


def _by_chain(
    tables: Sequence[Table], only: str
) -> dict[tuple[str, ...], list[tuple[object, str]]]:
    found: dict[tuple[str, ...], list[tuple[object, str]]] = {}
    for table in tables:
        for chain in table.chains.values():
            if only not in chain.name or _OTHERS.match(chain.name):
                continue
            rules: list[tuple[object, str]] = [
                (rule.steps, f"{chain.place} {_plain(rule.text)}")
                for rule in chain.rules
                if not _of_other(chain, rule)
            ]
            head = not only and not _others_policy(table, chain)
            if head and (rules or chain.policy == "drop"):
                rules.insert(0, ((chain.hook, chain.priority, chain.policy), place(chain, None)))
            found[table.family, table.name, chain.name] = rules
    return {key: rules for key, rules in found.items() if rules}


def _plain(text: str) -> str:
    """A rule's text without its counters."""
    return re.sub(r"^\[\d+:\d+\] |counter packets \d+ bytes \d+ ?", "", text)
