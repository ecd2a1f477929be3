"""Generated rulesets against the kernel: no probe may come out otherwise than the model says.

AUDIT_AGENT_RULESETS sets how many are made of each kind; a long run by hand takes thousands.
"""

import os

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.root

EXAMPLES = int(os.environ.get("AUDIT_AGENT_RULESETS", "12"))

CHECKED = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    phases=(Phase.generate,),  # to shrink would take minutes, as each step asks the kernel
    suppress_health_check=list(HealthCheck),
)

NETWORKS = {
    4: ("10.0.0.0/8", "10.99.1.77", "172.16.0.0/12", "192.168.0.0/16", "198.51.100.0/24",
        "203.0.113.5", "203.0.113.0/24", "0.0.0.0/0", "128.0.0.0/1"),
    6: ("2001:db8:1::/64", "2001:db8:5::/48", "fd00::/8", "2001:db8::/32", "::/0", "2000::/3"),
}  # fmt: skip
OWN = {4: ("10.99.1.1", "10.99.1.2", "10.99.1.0/24"), 6: ("2001:db8:1::1", "2001:db8:1::/64")}
PORT = st.sampled_from(["22", "53", "80", "443", "3306", "8080"])
PORTS = PORT | st.sampled_from(["0:80", "80:443", "443:", "1024:65535", "1:65535", "81:3305"])
CHAINS = ("one", "two", "three")


def negated(part: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.builds(
        lambda no, text: ("! " if no else "") + text, st.sampled_from([0, 0, 0, 1]), part
    )


def matches(family: int, *, sets: bool) -> st.SearchStrategy[str]:
    """The conditions of one iptables rule."""
    networks = st.sampled_from(NETWORKS[family])
    parts = [
        negated(networks.map("-s {}".format)),
        negated(networks.map("-s {}".format)),
        negated(st.sampled_from(OWN[family]).map("-d {}".format)),
        negated(st.sampled_from(["eth0", "eth+", "docker0", "lo"]).map("-i {}".format)),
        negated(PORTS.map("-p tcp -m tcp --dport {}".format)).map(moved),
        negated(PORTS.map("-p tcp -m tcp --dport {}".format)).map(moved),
        PORTS.map("-p udp -m udp --dport {}".format),
        st.lists(PORT, min_size=1, max_size=3).map(
            lambda ports: f"-p tcp -m multiport --dports {','.join(ports)},9000:9010"
        ),
        st.just("-p tcp -m tcp --syn"),
        st.just("-p tcp -m tcp --tcp-flags SYN,RST RST"),
        st.sampled_from(["NEW", "RELATED,ESTABLISHED", "INVALID", "NEW,INVALID", "UNTRACKED"]).map(
            "-m conntrack --ctstate {}".format
        ),
        st.sampled_from(["0x1", "0x2/0x2", "0x0", "0x3"]).map("-m mark --mark {}".format),
        negated(st.sampled_from(["LOCAL", "UNICAST", "MULTICAST"]).map("--dst-type {}".format)).map(
            "-m addrtype {}".format
        ),
        negated(st.just("--src-type LOCAL")).map("-m addrtype {}".format),
    ]
    if sets:
        parts += [
            negated(st.just("--match-set nets src")).map("-m set {}".format),
            negated(st.just("--match-set pairs src,dst")).map("-m set {}".format),
        ]
    return st.lists(st.one_of(parts), max_size=3, unique_by=kind_of).map(" ".join)


def answers(family: int) -> st.SearchStrategy[str]:
    """The conditions of a rule for what leaves the host."""
    parts = [
        negated(st.sampled_from(NETWORKS[family]).map("-d {}".format)),
        negated(st.sampled_from(OWN[family]).map("-s {}".format)),
        negated(st.sampled_from(["eth0", "eth+", "docker0", "lo"]).map("-o {}".format)),
        PORTS.map("-p tcp -m tcp --sport {}".format),
        st.sampled_from(["NEW", "RELATED,ESTABLISHED", "INVALID", "UNTRACKED"]).map(
            "-m conntrack --ctstate {}".format
        ),
        st.sampled_from(["--syn", "--tcp-flags SYN,ACK SYN,ACK"]).map("-p tcp -m tcp {}".format),
    ]
    return st.lists(st.one_of(parts), max_size=2, unique_by=kind_of).map(" ".join)


def moved(text: str) -> str:
    """`! -p tcp --dport 22` would mean another thing: the sign goes to the port."""
    return text if not text.startswith("! ") else text[2:].replace("--dport", "! --dport")


def kind_of(part: str) -> str:
    """Two parts of one kind would not go together in a rule."""
    words = part.removeprefix("! ").split()
    if words[0] == "-m":
        return words[1]
    return "-p" if words[0] == "-p" else words[0]


@st.composite
def chains(draw: st.DrawFn, family: int) -> str:
    """The filter table of one family, as iptables-restore reads it."""
    lines = ["*filter", f":INPUT {draw(st.sampled_from(['ACCEPT', 'DROP']))}", ":FORWARD ACCEPT"]
    lines += [":OUTPUT ACCEPT", *(f":{name} -" for name in CHAINS)]
    if family == 6:
        lines.append("-A INPUT -p icmpv6 -j ACCEPT")
    for depth, name in enumerate(("INPUT", *CHAINS)):
        ends = ["-j ACCEPT", "-j DROP", "-j REJECT", "-j RETURN", ""]
        ends += [f"-{how} {later}" for later in CHAINS[depth:] for how in "jg"]
        for _ in range(draw(st.integers(0, 5 if name == "INPUT" else 3))):
            rule = draw(matches(family, sets=family == 4))
            lines.append(f"-A {name} {rule} {draw(st.sampled_from(ends))}")
    if draw(st.integers(0, 3)) == 0:
        lines[3] = ":OUTPUT DROP"
    if family == 6:
        lines.append("-A OUTPUT -p icmpv6 -j ACCEPT")
    rules = draw(st.lists(st.tuples(answers(family), st.sampled_from(ends[:3])), max_size=3))
    lines += [f"-A OUTPUT {match} {end}" for match, end in rules]
    return "\n".join([*lines, "COMMIT"])


@st.composite
def before(draw: st.DrawFn) -> str:
    """Tables that IPv4 packets meet before filter."""
    lines = ["*mangle", ":PREROUTING ACCEPT", ":INPUT ACCEPT"]
    ends = ["-j MARK --set-xmark 0x1/0xff", "-j MARK --set-xmark 0x2/0x2", "-j DROP", "-j ACCEPT"]
    for chain in ("PREROUTING", "INPUT"):
        for _ in range(draw(st.integers(0, 2))):
            rule = draw(matches(4, sets=True))
            lines.append(f"-A {chain} {rule} {draw(st.sampled_from(ends))}")
    lines += ["COMMIT", "*raw", ":PREROUTING ACCEPT"]
    for _ in range(draw(st.integers(0, 1))):
        end = draw(st.sampled_from(["-j CT --notrack", "-j DROP", "-j ACCEPT"]))
        lines.append(f"-A PREROUTING {draw(matches(4, sets=True))} {end}")
    lines += ["COMMIT", "*nat", ":PREROUTING ACCEPT", ":INPUT ACCEPT"]
    for _ in range(draw(st.integers(0, 2))):
        source = draw(st.sampled_from(NETWORKS[4]))
        port = draw(PORT)
        end = draw(
            st.sampled_from(
                ["REDIRECT --to-ports 8080", "DNAT --to-destination 10.99.1.2",
                 "DNAT --to-destination 10.99.1.1:22", "DNAT --to-destination 172.17.0.2:80",
                 "ACCEPT"]
            )
        )  # fmt: skip
        lines.append(f"-A PREROUTING -s {source} -p tcp -m tcp --dport {port} -j {end}")
    return "\n".join([*lines, "COMMIT"])


SETS = """
ipset create nets hash:net; ipset create pairs hash:net,port
ipset add nets 10.0.0.0/8; ipset add nets 10.99.0.0/16 nomatch; ipset add nets 203.0.113.5
ipset add pairs 192.168.0.0/16,tcp:22; ipset add pairs 198.51.100.9,tcp:80-443
"""


def restore(command: str, text: str) -> str:
    return f"{command} <<'END'\n{text}\nEND\n"


@CHECKED
@given(
    four=chains(4),
    six=chains(6),
    early=before(),
    engine=st.sampled_from(["legacy", "nft"]),
    protocol=st.sampled_from(["tcp", "tcp", "udp"]),
)
def test_rules_of_iptables(compare, four, six, early, engine, protocol):
    compare(
        SETS
        + restore(f"iptables-{engine}-restore", f"{early}\n{four}")
        + restore(f"ip6tables-{engine}-restore", six),
        protocol=protocol,
        second=True,
        decided=True,
        generated=True,
    )


NFT_VERDICTS = ["accept", "drop", "reject", "return", "continue", "counter", "meta mark set 1"]


def nft_matches(chain: str) -> st.SearchStrategy[str]:
    networks = st.sampled_from([n for n in NETWORKS[4] if n != "0.0.0.0/0"])
    port = st.sampled_from(
        ["22", "80-443", "{ 22, 80 }", "{ 53, 443-8080 }", "!= 80", "> 443", "<= 80"]
    )
    parts = [
        networks.map("ip saddr {}".format),
        networks.map("ip saddr != {}".format),
        st.just("ip saddr @office"),
        st.just("ip saddr != @office"),
        st.sampled_from(["2001:db8:5::/48", "fd00::/8"]).map("ip6 saddr {}".format),
        st.sampled_from(["10.99.1.1", "{ 10.99.1.2, 10.99.2.0/24 }"]).map("ip daddr {}".format),
        port.map("tcp dport {}".format),
        port.map("tcp dport {}".format),
        port.map("meta l4proto {{ tcp, udp }} th dport {}".format),
        st.sampled_from(['"eth0"', '"eth*"', '!= "eth0"', '{ "lo", "docker0" }']).map(
            "iifname {}".format
        ),
        st.sampled_from(
            ["new", "established,related", "invalid", "!= new", "{ new, untracked }"]
        ).map("ct state {}".format),
        st.sampled_from(["0", "1", "!= 1", "and 1 == 1"]).map("meta mark {}".format),
        st.just("tcp flags syn / fin,syn,rst,ack"),
        st.just("ip saddr . tcp dport { 10.0.0.0/8 . 22, 203.0.113.5 . 80-443 }"),
        st.just("ip saddr . tcp dport != { 10.0.0.0/8 . 22, 203.0.113.5 . 80-443 }"),
        st.just("fib daddr type local"),
        st.just("meta nfproto ipv4"),
    ]
    if chain in {"", "input", "prerouting"}:
        parts.append(st.just("ct direction original"))
    if chain == "input":
        parts.append(st.just("ct status dnat"))
    return st.lists(st.one_of(parts), max_size=2, unique_by=lambda part: part.split()[:2][-1]).map(
        " ".join
    )


@st.composite
def nft_table(draw: st.DrawFn, name: str) -> str:
    family = draw(st.sampled_from(["inet", "inet", "ip"]))
    lines = [f"table {family} {name} {{"]
    lines.append(
        "set office { type ipv4_addr; flags interval; elements = { 10.0.0.0/9, 192.168.7.0/24, "
        "198.51.100.1-203.0.113.4 } }"
    )
    lines.append(
        "map verdicts { type inet_service : verdict; flags interval; elements = "
        "{ 22 : accept, 80 : jump three, 443-3306 : drop } }"
    )
    bases = [("input", draw(st.integers(-300, 300)))]
    if draw(st.integers(0, 2)) == 0:
        hook = draw(st.sampled_from(["output", "postrouting"]))
        bases.append((hook, draw(st.integers(-400, 300))))
    if draw(st.booleans()):
        bases.append((draw(st.sampled_from(["input", "prerouting"])), draw(st.integers(-400, 300))))
    every = [*(f"base{index}" for index in range(len(bases))), *CHAINS]
    bodies: list[str] = []
    for index, chain in enumerate(every):
        body = [f"chain {chain} {{"]
        hook = bases[index][0] if index < len(bases) else ""
        if hook:
            policy = draw(st.sampled_from(["accept", "drop"]))
            body.append(f"type filter hook {hook} priority {bases[index][1]}; policy {policy};")
            body.append("icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept")
            if hook in {"output", "postrouting"}:
                body.append(
                    "ct state established tcp sport { 22, 80-443 } ip daddr 10.0.0.0/8 accept"
                )
                if family == "inet":
                    body.append("tcp sport 8080 ip6 daddr fd00::/8 accept")
        later = [each for each in CHAINS if each not in every[: index + 1]]
        ends = [*NFT_VERDICTS, *(f"{how} {each}" for each in later for how in ("jump", "goto"))]
        if chain not in CHAINS[2:]:
            ends.append("tcp dport vmap @verdicts")
            ends.append("ip saddr vmap { 10.0.0.0/8 : accept, 172.16.0.0/12 : drop }")
        rules = draw(st.lists(st.tuples(nft_matches(hook), st.sampled_from(ends)), max_size=4))
        body += [f"{match} {end}" for match, end in rules]
        bodies.append("\n    ".join(body) + "\n}")
    return "\n".join([*lines, *reversed(bodies), "}"])


@CHECKED
@given(tables=st.lists(st.sampled_from(["a", "b"]), min_size=1, max_size=2, unique=True).flatmap(
    lambda named: st.tuples(*(nft_table(name) for name in named))
))  # fmt: skip
def test_rules_of_nft(compare, tables):
    compare(restore("nft -f -", "\n".join(tables)), second=True, decided=True, generated=True)
