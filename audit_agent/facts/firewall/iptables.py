"""iptables-save(8) and ip6tables-save(8), of either engine, as tables."""

import re
from collections.abc import Callable, Collection, Sequence

from msgspec import Struct

from audit_agent.facts.firewall import names
from audit_agent.facts.firewall.ipsets import IpSets
from audit_agent.facts.firewall.ranges import Ranges, address_range, union
from audit_agent.facts.firewall.rules import (
    ALWAYS,
    MULTICAST,
    NEVER,
    TRACKED,
    Action,
    AllOf,
    Answering,
    AnyOf,
    Bridged,
    Carries,
    Chain,
    Condition,
    CopyMark,
    DestinationIn,
    DestinationKind,
    FlagsAre,
    InterfaceIn,
    MarkIn,
    Not,
    Opaque,
    OriginalIn,
    PortIn,
    ProtocolIn,
    Rule,
    SetMark,
    SourceIn,
    SourceKind,
    SourcePortIn,
    StateIn,
    Step,
    Table,
    Translate,
    Translated,
    Unknown,
    Untrack,
    Verdict,
)
from audit_agent.model import Quote

_HOOKS = {
    ("raw", "PREROUTING"): ("prerouting", -300),
    ("mangle", "PREROUTING"): ("prerouting", -150),
    ("nat", "PREROUTING"): ("prerouting", -100),
    ("mangle", "INPUT"): ("input", -150),
    ("filter", "INPUT"): ("input", 0),
    ("security", "INPUT"): ("input", 50),
    ("nat", "INPUT"): ("input", 100),
    ("mangle", "FORWARD"): ("forward", -150),
    ("filter", "FORWARD"): ("forward", 0),
    ("security", "FORWARD"): ("forward", 50),
    ("raw", "OUTPUT"): ("output", -300),
    ("mangle", "OUTPUT"): ("output", -150),
    ("nat", "OUTPUT"): ("output", -100),
    ("filter", "OUTPUT"): ("output", 0),
    ("security", "OUTPUT"): ("output", 50),
    ("mangle", "POSTROUTING"): ("postrouting", -150),
    ("nat", "POSTROUTING"): ("postrouting", 100),
}
"""Where the kernel hooks the built-in chains (linux/netfilter_ipv4.h)."""

_TOKEN = re.compile(r'"((?:[^"\\]|\\.)*)"|(\S+)')
_RULE = re.compile(r"(?:\[(\d+):(\d+)\] )?-A (\S+)(.*)")
_CHAIN = re.compile(r":(\S+) (\S+)(?: \[\d+:\d+\])?\s*$")

_PASSIVE = {
    "LOG", "NFLOG", "ULOG", "TRACE", "AUDIT", "TCPMSS", "CHECKSUM", "CLASSIFY", "DSCP", "TOS",
    "SECMARK", "CONNSECMARK", "TTL", "HL", "ECN", "IDLETIMER", "LED", "RATEEST", "SET", "TEE",
    "HMARK", "TCPOPTSTRIP", "ACCOUNT", "NFACCT",
}  # fmt: skip
"""Targets that let the packet go on to the next rule, and change nothing that rules look at."""

_ENDS: dict[str, str] = {
    "ACCEPT": "accept",
    "DROP": "drop",
    "REJECT": "drop",
    "RETURN": "return",
    "SNAT": "accept",
    "MASQUERADE": "accept",
}


class Problem(Struct, frozen=True):
    """A line that was not understood at all; what depends on the rules is then undecided."""

    text: str
    quote: Quote


def parse(
    lines: Sequence[str], section: str, family: int, engine: str, sets: IpSets
) -> tuple[list[Table], list[Problem]]:
    """The tables in the output of iptables-save (family 4) or ip6tables-save (family 6)."""
    reader = _Reader(section, family, engine, sets)
    for number, line in enumerate(lines, 1):
        reader.line(number, line.strip())
    reader.commit()
    return reader.tables, reader.problems


class _Reader:
    """The lines of one dump, read in order."""

    def __init__(self, section: str, family: int, engine: str, sets: IpSets) -> None:
        self.tables: list[Table] = []
        self.problems: list[Problem] = []
        self._section = section
        self._family = family
        self._engine = engine
        self._sets = sets
        self._table = ""
        self._policies: dict[str, tuple[str, Quote]] = {}
        self._rules: dict[str, list[tuple[int, str, str]]] = {}

    def line(self, number: int, line: str) -> None:
        quote = Quote(self._section, number, number)
        if not line or line.startswith("#"):
            return
        if line.startswith("*"):
            self.commit()
            self._table = line[1:].strip()
        elif line == "COMMIT":
            self.commit()
        elif self._table and (chain := _CHAIN.match(line)):
            self._policies[chain[1]] = (chain[2], quote)
            self._rules.setdefault(chain[1], [])
        elif self._table and (rule := _RULE.match(line)):
            self._rules.setdefault(rule[3], []).append((number, line, rule[4]))
        else:
            self.problems.append(Problem(line, quote))

    def commit(self) -> None:
        if self._table:
            chains = {name: self._chain(name) for name in self._rules}
            word = "ip" if self._family == 4 else "ip6"
            self.tables.append(Table(self._engine, word, self._table, chains))
        self._table, self._policies, self._rules = "", {}, {}

    def _chain(self, name: str) -> Chain:
        policy, quote = self._policies.get(name, ("-", Quote(self._section)))
        hook, priority = _HOOKS.get((self._table, name), ("", 0))
        if policy == "-":
            hook = ""
        return Chain(
            engine=self._engine,
            family="ip" if self._family == 4 else "ip6",
            table=self._table,
            name=name,
            rules=tuple(
                Rule(
                    steps=self._steps(words),
                    number=position,
                    text=line,
                    quote=Quote(self._section, number, number),
                )
                for position, (number, line, words) in enumerate(self._rules[name], 1)
            ),
            quote=quote,
            hook=hook,
            priority=priority,
            kind="nat" if self._table == "nat" else "filter",
            policy={"ACCEPT": "accept", "DROP": "drop"}.get(policy, "accept"),
        )

    def _steps(self, words: str) -> tuple[Step, ...]:
        return _RuleReader(self._family, self._sets, self._rules.keys()).steps(_tokens(words))


class _Quoted(str):
    """A word that stood in quotes: never an option, whatever it begins with."""

    __slots__ = ()


def _tokens(text: str) -> list[str]:
    """The words of a rule; quotes and backslashes as iptables-save writes them."""
    return [
        _Quoted(re.sub(r"\\(.)", r"\1", found[1])) if found[2] is None else found[2]
        for found in _TOKEN.finditer(text)
    ]


class _RuleReader:
    """One rule's words, read from left to right; what is not understood stays, as Unknown."""

    def __init__(self, family: int, sets: IpSets, chains: Collection[str]) -> None:
        self._family = family
        self._sets = sets
        self._chains = chains
        self._conditions: list[Condition] = []
        self._modules = [""]

    def steps(self, words: list[str]) -> tuple[Step, ...]:
        """The whole rule."""
        actions: list[Action] = []
        position, negated = 0, False
        while position < len(words):
            word = words[position]
            position += 1
            if word == "!":
                negated = True
                continue
            length = _arity(words, position)
            values = words[position : position + length]
            if word in {"-j", "--jump", "-g", "--goto"}:
                actions = self._target(word, values[0] if values else "", words[position + 1 :])
                break
            position += length
            self._option(word, values, negated=negated)
            negated = False
        return (*self._conditions, *actions)

    def _option(self, word: str, values: list[str], *, negated: bool) -> None:
        if word in {"-m", "--match"}:
            module = values[0] if values else ""
            self._modules.append(module)
            if module not in _MODULES and module not in _EXTRAS:
                self._add(Unknown(module))
            if module == "connmark":  # never of a packet without a connection, "!" or not
                self._add(TRACKED)
            return
        if self._modules[-1] in _EXTRAS and word.startswith("--"):
            extra = Carries(" ".join([self._modules[-1], word, *values]))
            self._add(Not(extra) if negated else extra)
            return
        try:
            condition = self._condition(word, values)
        except (ValueError, IndexError, KeyError):
            condition = Unknown(f"{self._modules[-1]} {word}".strip())
        if condition is not None:
            self._add(Not(condition) if negated else condition)

    def _add(self, condition: Condition) -> None:
        if condition != ALWAYS and condition not in self._conditions:
            self._conditions.append(condition)

    def _condition(self, word: str, values: list[str]) -> Condition | None:
        """None where the module as a whole is Unknown already.

        Raises:
            ValueError, IndexError, KeyError: the option, or its value, is not understood.
        """
        if word in {"-p", "--protocol", "--proto"}:
            return self._protocol(values[0])
        if word in _ADDRESSES:
            return self._addresses(_ADDRESSES[word], values[0])
        if word == "--match-set":
            return self._sets.match(values[0], tuple(values[1].split(",")))
        if self._family == 6 and word in {"--src-type", "--dst-type"}:
            return _kinds_of_6(values, "source" if word == "--src-type" else "destination")
        for module in reversed(self._modules):
            options = _MODULES.get(module)
            if options is not None and word in options:
                return options[word](values)
        if any(module not in _MODULES for module in self._modules):
            return None
        raise KeyError(word)

    def _protocol(self, text: str) -> Condition:
        if text in {"all", "0"}:
            return ALWAYS
        number = names.protocol(text)
        if number is None:
            raise ValueError(text)
        if number in _PORTED:
            self._modules.append("tcp")
        return ProtocolIn(((number, number),))

    def _addresses(self, side: str, text: str) -> Condition:
        found = [address_range(part) for part in text.split(",")]
        if any(family != self._family for family, _, _ in found):
            raise ValueError(text)
        ranges = union((first, last) for _, first, last in found)
        if side == "source":
            return SourceIn(self._family, ranges)
        if side.startswith("original"):
            return OriginalIn(side.partition(" ")[2], ranges, self._family)
        return DestinationIn(self._family, ranges)

    def _target(self, word: str, target: str, rest: list[str]) -> list[Action]:
        if target in _ENDS:
            return [Verdict(_ENDS[target])]
        if target in _PASSIVE and "--map-set" not in rest:
            return []
        if target in self._chains:
            return [Verdict("goto" if word in {"-g", "--goto"} else "jump", target)]
        try:
            return _change(target, self._family, rest)
        except (ValueError, IndexError, KeyError):
            return [Opaque(target or "-j")]


def _change(target: str, family: int, rest: list[str]) -> list[Action]:
    """Raises ValueError, IndexError or KeyError for a target that is not understood."""
    options = _pairs(rest)
    if target in {"MARK", "CONNMARK"}:
        return [_mark(target, options)]
    if target == "NOTRACK" or (target == "CT" and "--notrack" in rest):
        return [Untrack()]
    if target == "CT":
        return []
    if target in {"DNAT", "REDIRECT", "NETMAP"}:
        return [_translation(target, family, dict(options))]
    raise KeyError(target)


def _arity(words: list[str], position: int) -> int:
    """How many of the next words belong to the option before them."""
    length = 0
    while position + length < len(words):
        word = words[position + length]
        option = word == "!" or (word.startswith("-") and not word[1:2].isdigit())
        if option and not isinstance(word, _Quoted):
            break
        length += 1
    return length


def _pairs(words: list[str]) -> list[tuple[str, str]]:
    """Options with the one value that follows, or ""."""
    pairs: list[tuple[str, str]] = []
    for word in words:
        if word.startswith("--"):
            pairs.append((word, ""))
        elif pairs:
            pairs[-1] = (pairs[-1][0], word)
    return pairs


def _mark(target: str, options: list[tuple[str, str]]) -> Action:
    which = "packet" if target == "MARK" else "ct"
    option, value = options[0]
    if option in {"--save-mark", "--restore-mark"}:
        given = {name: int(text, 0) for name, text in options[1:]}
        shared = given.get("--mask", 0xFFFFFFFF)
        packet, connection = given.get("--nfmask", shared), given.get("--ctmask", shared)
        if option == "--save-mark":
            return CopyMark("save", packet, connection)
        return CopyMark("restore", connection, packet)
    first, _, second = value.partition("/")
    number, mask = int(first, 0), int(second, 0) if second else 0xFFFFFFFF
    changes = {
        "--set-xmark": (mask, number),
        "--set-mark": (mask | number, number),
        "--and-mark": (~number & 0xFFFFFFFF, 0),
        "--or-mark": (number, number),
        "--xor-mark": (0, number),
    }
    return SetMark(which, *changes[option])


def _translation(target: str, family: int, options: dict[str, str]) -> Translate:
    if target == "REDIRECT":
        ports = options.get("--to-ports", "")
        return Translate(family, None, (_dashed(ports),) if ports else (), here=True)
    if target == "NETMAP":
        _, first, last = address_range(options["--to"])
        return Translate(family, ((first, last),), certain=False)
    address, ports = _target_parts(options["--to-destination"])
    ranges: Ranges | None = None
    if address:
        _, first, last = address_range(address)
        ranges = ((first, last),)
    return Translate(family, ranges, (_dashed(ports),) if ports else ())


def _target_parts(text: str) -> tuple[str, str]:
    """`A`, `A-B`, `A:PORTS`, `:PORTS`, `[A]:PORTS`, `[A]-[B]:PORTS`; ports may have a /BASE."""
    text = text.partition("/")[0]
    if text.startswith("["):
        addresses, _, ports = text.rpartition("]")
        return addresses[1:].replace("]-[", "-"), ports.removeprefix(":")
    if text.count(":") > 1:
        return text, ""
    address, _, ports = text.partition(":")
    return address, ports


def _dashed(text: str) -> tuple[int, int]:
    first, _, last = text.partition("-")
    return int(first), int(last or first)


def _ports(text: str) -> Ranges:
    """`22`, `22,80:90`, `1024:` and service names."""
    ranges: list[tuple[int, int]] = []
    for part in text.split(","):
        first, colon, last = part.partition(":")
        low = names.port(first) if first else 0
        high = (names.port(last) if last else 65535) if colon else low
        if low is None or high is None:
            raise ValueError(text)
        ranges.append((low, high))
    return union(ranges)


def _flags(values: list[str]) -> Condition:
    found = [0, 0]
    for position, text in enumerate(values[:2]):
        for flag in text.lower().split(","):
            found[position] |= names.TCP_FLAGS[flag]
    return FlagsAre(found[0], found[1])


def _states(values: list[str]) -> Condition:
    words = frozenset(values[0].lower().split(","))
    return AnyOf((StateIn(words), Translated())) if "dnat" in words else StateIn(words)


def _status(values: list[str]) -> Condition:
    """The first packet of a connection is not answered, assured or confirmed yet."""
    words = set(values[0].lower().split(","))
    if words & {"none", "expected"}:
        raise ValueError(values[0])
    return Translated() if "dnat" in words else NEVER


def _marked(which: str) -> Callable[[list[str]], Condition]:
    def condition(values: list[str]) -> Condition:
        first, _, second = values[0].partition("/")
        value = int(first, 0)
        return MarkIn(which, int(second, 0) if second else 0xFFFFFFFF, ((value, value),))

    return condition


def _packet_kind(values: list[str]) -> Condition:
    """The question is about packets that are sent to this host alone."""
    return ALWAYS if values[0].lower() in {"unicast", "host"} else NEVER


def _kinds(values: list[str]) -> frozenset[str]:
    return frozenset(values[0].lower().split(","))


def _interface(direction: str) -> Callable[[list[str]], Condition]:
    def condition(values: list[str]) -> Condition:
        name = values[0]
        return InterfaceIn(direction, (name[:-1] + "*" if name.endswith("+") else name,))

    return condition


def _source_ports(values: list[str]) -> Condition:
    return SourcePortIn(_ports(values[0]))


def _destination_ports(values: list[str]) -> Condition:
    return PortIn(_ports(values[0]))


def _either_port(values: list[str]) -> Condition:
    return AnyOf((_source_ports(values), _destination_ports(values)))


def _protocol_of(values: list[str]) -> Condition:
    number = names.protocol(values[0])
    if number is None:
        raise ValueError(values[0])
    return ProtocolIn(((number, number),))


def _direction(values: list[str]) -> Condition:
    way = Not(Answering()) if values[0].upper() == "ORIGINAL" else Answering()
    return AllOf((TRACKED, way))


def _kinds_of_6(values: list[str], side: str) -> Condition:
    """For IPv6, a type is read from the address itself, but for "local" (xt_addrtype)."""
    kinds = _kinds(values)
    if kinds - {"unicast", "multicast", "local"}:
        raise ValueError(values[0])
    several: Condition = SourceIn(6, MULTICAST[6]) if side == "source" else NEVER
    parts: list[Condition] = []
    if "multicast" in kinds:
        parts.append(several)
    if "unicast" in kinds:
        parts.append(Not(several))
    if "local" in kinds:
        own = frozenset({"local"})
        parts.append(SourceKind(own) if side == "source" else DestinationKind(own))
    return AllOf(tuple(parts))


def _always(_: list[str]) -> Condition:
    return ALWAYS


def _never(_: list[str]) -> Condition:
    return NEVER


def _bridged(_: list[str]) -> Condition:
    return Bridged()


_EXTRAS = {"rt", "hbh", "dst", "ipv6header"}
"""Matches on extension headers of IPv6, which a sender adds or leaves out."""

_PORTED = {6, 17, 33, 132, 136}

_ADDRESSES = {
    "-s": "source",
    "--source": "source",
    "--src": "source",
    "--src-range": "source",
    "--ctorigsrc": "original source",
    "-d": "destination",
    "--destination": "destination",
    "--dst": "destination",
    "--dst-range": "destination",
    "--ctorigdst": "original address",
}

_TCP: dict[str, Callable[[list[str]], Condition]] = {
    "--sport": _source_ports,
    "--source-port": _source_ports,
    "--dport": _destination_ports,
    "--destination-port": _destination_ports,
    "--tcp-flags": _flags,
    "--syn": lambda _: FlagsAre(0x17, 0x02),
}

_MODULES: dict[str, dict[str, Callable[[list[str]], Condition]]] = {
    "": {
        "-i": _interface("in"),
        "--in-interface": _interface("in"),
        "-o": _interface("out"),
        "--out-interface": _interface("out"),
        "-f": _never,  # conntrack puts fragments together before any rule sees them
        "--fragment": _never,
    },
    "tcp": _TCP,
    "udp": _TCP,
    "udplite": _TCP,
    "sctp": _TCP,
    "dccp": _TCP,
    "multiport": {
        "--sports": _source_ports,
        "--source-ports": _source_ports,
        "--dports": _destination_ports,
        "--destination-ports": _destination_ports,
        "--ports": _either_port,
        "--port": _either_port,
    },
    "state": {"--state": _states},
    "conntrack": {
        "--ctstate": _states,
        "--ctstatus": _status,
        "--ctproto": _protocol_of,
        "--ctorigdstport": lambda values: OriginalIn("port", _ports(values[0])),
        "--ctorigsrcport": lambda values: OriginalIn("source port", _ports(values[0])),
        "--ctdir": _direction,
    },
    "iprange": {},
    "set": {},
    "mark": {"--mark": _marked("packet")},
    "connmark": {"--mark": _marked("ct")},
    "addrtype": {
        "--src-type": lambda values: SourceKind(_kinds(values)),
        "--dst-type": lambda values: DestinationKind(_kinds(values)),
    },
    "pkttype": {"--pkt-type": _packet_kind},
    "physdev": {
        "--physdev-in": _bridged,
        "--physdev-out": _bridged,
        "--physdev-is-in": _bridged,
        "--physdev-is-out": _bridged,
        "--physdev-is-bridged": _bridged,
    },
    "comment": {"--comment": _always},
    "nfacct": {"--nfacct-name": _always},
    # The question is put for sources whose answers leave by the interface they came in on.
    "rpfilter": {
        "--loose": _always,
        "--validmark": _always,
        "--accept-local": _always,
        "--invert": _never,
    },
    "recent": {"--set": _always, "--name": _always, "--mask": _always, "--rsource": _always},
}
"""The matches that are understood, with their options; any other match is Unknown as a whole."""
