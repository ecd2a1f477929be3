"""The packet filter of a host, as both of the kernel's engines hold it."""

import re
from collections.abc import Iterator
from functools import cached_property

from msgspec import Struct

from audit_agent.facts.firewall import ipsets, iptables, nft, nft_text
from audit_agent.facts.firewall.ipsets import IpSets
from audit_agent.facts.firewall.iptables import Problem
from audit_agent.facts.firewall.rules import Chain, Table
from audit_agent.facts.firewall.ruleset import Ruleset
from audit_agent.model import Evidence, EvidenceMissing, Gap, Section

__all__ = ["Loaded", "Problem", "Ruleset", "read_loaded"]

_COMMANDS = {4: "iptables", 6: "ip6tables"}
_NAMES = {4: "file:/proc/net/ip_tables_names", 6: "file:/proc/net/ip6_tables_names"}


class Loaded(Struct, frozen=True):
    """The rules that are loaded.

    `missing` says, by family, what could not be read and may hold rules; while it is not empty,
    nothing about that family is certain. `problems` are lines that were not understood at all.
    `sections` are those that were read.
    """

    tables: tuple[Table, ...]
    missing: dict[int, tuple[EvidenceMissing, ...]]
    problems: tuple[Problem, ...]
    sections: dict[int, tuple[str, ...]]

    def chains(self, family: int) -> Iterator[Chain]:
        """Every chain that packets of the family can meet."""
        words = {4: {"ip", "inet", "netdev", "bridge"}, 6: {"ip6", "inet", "netdev", "bridge"}}
        for table in self.tables:
            if table.family in words[family]:
                yield from table.chains.values()


def read_loaded(evidence: Evidence) -> Loaded:
    """The rules of both engines and both families. What is missing is named, not raised."""
    return _Reader(evidence).loaded()


_IPTABLES = {"filter", "nat", "mangle", "raw", "security"}
"""The tables that iptables-nft writes."""


def _missing(why: Exception) -> EvidenceMissing:
    if isinstance(why, EvidenceMissing):
        return why
    return EvidenceMissing("firewall.nft-json", Gap.FAILED, str(why))


class _Reader:
    """Puts the outputs of several programs together, none of which sees everything."""

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence
        self._tables: list[Table] = []
        self._missing: dict[int, list[EvidenceMissing]] = {4: [], 6: []}
        self._problems: list[Problem] = []
        self._sections: dict[int, list[str]] = {4: [], 6: []}

    def loaded(self) -> Loaded:
        written = self._native()
        for family in (4, 6):
            self._legacy(family)
            self._of_iptables_nft(family, written)
        return Loaded(
            tuple(self._tables),
            {family: tuple(missing) for family, missing in self._missing.items()},
            tuple(self._problems),
            {family: tuple(sections) for family, sections in self._sections.items()},
        )

    @cached_property
    def _sets(self) -> IpSets:
        saves = [
            section.text
            for name, section in self._evidence.sections.items()
            if name.startswith(("firewall.iptables", "firewall.ip6tables"))
        ]
        changing = re.findall(r"--(?:add|del)-set (\S+)", "\n".join(saves))
        try:
            text = self._evidence["firewall.ipset"].text
        except EvidenceMissing:
            text = ""
        return IpSets(ipsets.parse(text), frozenset(changing))

    def _section(self, name: str) -> Section | None:
        """The section, or None where the kernel was seen not to have what it would show.

        Raises:
            EvidenceMissing: it could not be read.
        """
        section = self._evidence.sections.get(name)
        if section is not None and section.gap is Gap.ABSENT:
            return None
        return self._evidence[name]

    def _read(self, section: Section, family: int, engine: str) -> list[Table]:
        tables, problems = iptables.parse(section.lines, section.name, family, engine, self._sets)
        self._problems += problems
        self._sections[family].append(section.name)
        return tables

    def _legacy(self, family: int) -> None:
        """The old engine's tables, which /proc names and iptables-legacy-save shows."""
        command = _COMMANDS[family]
        names = self._legacy_names(family)
        if names == set():
            self._sections[family].append(_NAMES[family])
            return
        try:
            section = self._section(f"firewall.{command}-legacy")
        except EvidenceMissing as missing:
            section = self._plain(family, legacy=True)
            if section is None:
                self._missing[family].append(missing)
                return
        tables = self._read(section, family, "legacy") if section is not None else []
        self._tables += tables
        if names is not None and names - {table.name for table in tables}:
            name = section.name if section is not None else f"firewall.{command}-legacy"
            self._missing[family].append(EvidenceMissing(name, Gap.FAILED))

    def _legacy_names(self, family: int) -> set[str] | None:
        """The tables that exist; None where it cannot be told."""
        try:
            section = self._section(_NAMES[family])
        except EvidenceMissing:
            return None
        return set(section.text.split()) if section is not None else set()

    def _plain(self, family: int, *, legacy: bool) -> Section | None:
        """What `iptables-save` gave, where its header says that it is of the wanted engine."""
        try:
            section = self._evidence[f"firewall.{_COMMANDS[family]}"]
        except EvidenceMissing:
            return None
        header = next((line for line in section.lines if "-save v" in line), "")
        if not header:
            return section if legacy else None
        return section if ("(nf_tables)" in header) is not legacy else None

    def _native(self) -> set[tuple[str, str]]:
        """The tables that nft shows; returns those of iptables-nft, which it cannot show whole."""
        try:
            section = self._section("firewall.nft-json")
            if section is None:
                for family in (4, 6):
                    self._sections[family].append("firewall.nft-json")
                return set()
            tables, foreign = self._listed(section)
        except (EvidenceMissing, nft.NotARuleset) as why:
            section = self._evidence.sections.get("firewall.nft")
            if section is None or section.gap is not None:
                for family in (4, 6):
                    self._missing[family].append(_missing(why))
                return set()
            tables, problems = nft_text.parse(section.lines, section.name, listing=True)
            self._problems += problems
            foreign = {(each.family, each.name) for each in tables if each.name in _IPTABLES}
        for family in (4, 6):
            self._sections[family].append(section.name)
        self._tables += tables
        return foreign

    def _listed(self, section: Section) -> tuple[list[Table], set[tuple[str, str]]]:
        """The tables of the JSON, with what only the text has: dormant tables, devices, lines."""
        text = self._evidence.sections.get("firewall.nft")
        lines = text.lines if text is not None else []
        tables, foreign = nft.parse(section.text, nft.rule_lines(lines, "firewall.nft"))
        asleep = nft.dormant(lines)
        return [each for each in tables if (each.family, each.name) not in asleep], foreign

    def _of_iptables_nft(self, family: int, written: set[tuple[str, str]]) -> None:
        """Takes from iptables-nft-save the tables of which nft does not show the arguments."""
        word = "ip" if family == 4 else "ip6"
        try:
            section = self._section(f"firewall.{_COMMANDS[family]}-nft")
        except EvidenceMissing:
            section = self._plain(family, legacy=False)
        if section is None:
            return
        listed = {table.name for table in self._tables if table.family == word}
        nft_unread = any(each.section == "firewall.nft-json" for each in self._missing[family])
        for table in self._read(section, family, "nft"):
            if (word, table.name) in written or (nft_unread and table.name not in listed):
                self._tables = [
                    each
                    for each in self._tables
                    if (each.engine, each.family, each.name) != ("nft", word, table.name)
                ]
                self._tables.append(table)
