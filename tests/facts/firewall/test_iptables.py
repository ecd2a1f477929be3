"""iptables-save: what is read of a line, and that no line is lost."""

# ruff: noqa: E501 - one rule a line

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit_agent.facts.firewall import iptables
from audit_agent.facts.firewall.ipsets import IpSets
from audit_agent.facts.firewall.ranges import address_range
from audit_agent.facts.firewall.rules import (
    Bridged,
    FlagsAre,
    InterfaceIn,
    Not,
    Opaque,
    OriginalIn,
    PortIn,
    ProtocolIn,
    SetMark,
    SourceIn,
    SourcePortIn,
    StateIn,
    Translate,
    Unknown,
    Untrack,
    Verdict,
)

TCP = ProtocolIn(((6, 6),))
ACCEPT = Verdict("accept")


def steps(rule, family=4, chains=":INPUT DROP [0:0]\n:web - [0:0]\n", table="filter"):
    text = f"*{table}\n{chains}{rule}\nCOMMIT\n"
    [read], problems = iptables.parse(text.split("\n"), "x", family, "legacy", IpSets({}))
    assert problems == []
    return read.chains["INPUT"].rules[0].steps


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("-s 10.0.0.0/8 -j ACCEPT", (SourceIn(4, ((0x0A000000, 0x0AFFFFFF),)), ACCEPT)),
        ("-s 10.0.0.1/255.255.255.254 -j DROP", (SourceIn(4, ((0x0A000000, 0x0A000001),)), Verdict("drop"))),
        ("! -i eth0 -j ACCEPT", (Not(InterfaceIn("in", ("eth0",))), ACCEPT)),
        ("-i eth+ -j ACCEPT", (InterfaceIn("in", ("eth*",)), ACCEPT)),
        ("-p tcp -m tcp --dport 22 -j ACCEPT", (TCP, PortIn(((22, 22),)), ACCEPT)),
        ("-p tcp --dport ssh -j ACCEPT", (TCP, PortIn(((22, 22),)), ACCEPT)),
        ("-p tcp -m multiport --dports 22,80:90 -j ACCEPT", (TCP, PortIn(((22, 22), (80, 90))), ACCEPT)),
        ("-p tcp -m tcp ! --sport 1024: -j ACCEPT", (TCP, Not(SourcePortIn(((1024, 65535),))), ACCEPT)),
        ("-p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -j ACCEPT", (TCP, FlagsAre(0x17, 2), ACCEPT)),
        ("-m state --state NEW,ESTABLISHED -j ACCEPT", (StateIn(frozenset({"new", "established"})), ACCEPT)),
        ("-m conntrack --ctorigdstport 80 -j ACCEPT", (OriginalIn("port", ((80, 80),)), ACCEPT)),
        ("-m comment --comment \"-j DROP \\\"x\\\"\" -j ACCEPT", (ACCEPT,)),
        ("-m physdev --physdev-in port1 -j ACCEPT", (Bridged(), ACCEPT)),
        ("-m limit --limit 3/min --limit-burst 5 -j ACCEPT", (Unknown("limit"), ACCEPT)),
        ("-m string --string \"x\" --algo bm ! --icase -p tcp -j ACCEPT", (Unknown("string"), TCP, ACCEPT)),
        ("-p tcp -m tcp --tcp-option 4 -j ACCEPT", (TCP, Unknown("tcp --tcp-option"), ACCEPT)),
        ("-p frobnicate -j ACCEPT", (Unknown("-p"), ACCEPT)),
        ("-s name.example -j ACCEPT", (Unknown("-s"), ACCEPT)),
        ("-p tcp --dport frobnicate -j ACCEPT", (TCP, Unknown("tcp --dport"), ACCEPT)),
        ("-m rpfilter --invert -j DROP", None),
        ("-j LOG --log-prefix \"DROP \"", ()),
        ("-p tcp", (TCP,)),
        ("-j web", (Verdict("jump", "web"),)),
        ("-g web", (Verdict("goto", "web"),)),
        ("-j REJECT --reject-with icmp-port-unreachable", (Verdict("drop"),)),
        ("-j FROBNICATE --much", (Opaque("FROBNICATE"),)),
        ("-j NFQUEUE --queue-num 1 --queue-bypass", (Opaque("NFQUEUE"),)),
        ("-j MARK --set-xmark 0x1/0xff", (SetMark("packet", 0xFF, 1),)),
        ("-j CONNMARK --or-mark 4", (SetMark("ct", 4, 4),)),
        ("-j CT --notrack", (Untrack(),)),
        ("-j CT --helper ftp", ()),
        ("-j REDIRECT --to-ports 8080", (Translate(4, None, ((8080, 8080),), here=True),)),
        ("-j DNAT --to-destination 10.0.0.1:80-90", (Translate(4, ((0x0A000001, 0x0A000001),), ((80, 90),)),)),
        ("-j DNAT --to-destination :80", (Translate(4, None, ((80, 80),)),)),
        ("-j SET --add-set seen src", ()),
        ("-j SET --map-set marks src", (Opaque("SET"),)),
    ],
)  # fmt: skip
def test_a_rule(words, expected):
    found = steps(f"-A INPUT {words}")
    if expected is not None:
        assert found == expected


def test_a_rule_of_ipv6():
    assert steps("-A INPUT -j DNAT --to-destination [2001:db8::1]:80", 6) == (
        Translate(6, (address_range("2001:db8::1")[1:],), ((80, 80),)),
    )
    assert steps("-A INPUT -j DNAT --to-destination 2001:db8::1", 6) == (
        Translate(6, (address_range("2001:db8::1")[1:],)),
    )
    assert steps("-A INPUT -s 10.0.0.1 -j ACCEPT", 6) == (Unknown("-s"), ACCEPT)


def test_counters_quotes_and_numbers():
    text = "*filter\n:INPUT DROP [3:4]\n[1:60] -A INPUT -j ACCEPT\n# x\n-A INPUT -j DROP\nCOMMIT\n"
    [table], _ = iptables.parse(text.split("\n"), "file:/x", 4, "legacy", IpSets({}))
    chain = table.chains["INPUT"]
    assert (chain.hook, chain.priority, chain.policy, chain.quote.lines) == (
        "input",
        0,
        "drop",
        "2",
    )
    assert [(rule.number, rule.quote.lines) for rule in chain.rules] == [(1, "3"), (2, "5")]


@pytest.mark.parametrize("line", ["frobnicate", "-I INPUT -j ACCEPT", "-A", ":INPUT"])
def test_a_line_that_is_not_understood_is_kept(line):
    _, problems = iptables.parse(["*filter", line, "COMMIT"], "x", 4, "legacy", IpSets({}))
    assert [(problem.text, problem.quote.lines) for problem in problems] == [(line, "2")]


def test_a_chain_that_a_rule_names_without_declaring_it_is_opaque():
    assert steps("-A INPUT -j nowhere") == (Opaque("nowhere"),)


WORDS = [
    "-A",
    "INPUT",
    "-s",
    "-d",
    "-p",
    "tcp",
    "udp",
    "-m",
    "conntrack",
    "--ctstate",
    "NEW",
    "--dport",
    "22",
    "80:90",
    "!",
    "-j",
    "ACCEPT",
    "DROP",
    "-g",
    "web",
    "-i",
    "eth0",
    "multiport",
    "--dports",
    "set",
    "--match-set",
    "a",
    "src",
    "mark",
    "--mark",
    "0x1/0xff",
    "DNAT",
    "--to-destination",
    "10.0.0.1:80",
    "MARK",
    "--set-xmark",
    "recent",
    "--set",
    "comment",
    "--comment",
    '"a',
    'b"',
    "*",
    ":",
    "COMMIT",
    "filter",
    "[0:0]",
    "1",
]


@given(
    st.lists(
        st.sampled_from([*WORDS, "\n", "\n-A INPUT", "\n*filter\n", "\n:INPUT DROP [0:0]\n"]),
        max_size=60,
    )
)
def test_garbage_is_survived(words):
    tables, problems = iptables.parse(" ".join(words).split("\n"), "x", 4, "legacy", IpSets({}))
    assert isinstance(problems, list)
    for table in tables:
        for chain in table.chains.values():
            assert all(isinstance(rule.steps, tuple) for rule in chain.rules)


@given(st.text(max_size=200))
def test_any_text_is_survived(text):
    iptables.parse(f"*filter\n-A INPUT {text}".split("\n"), "x", 4, "legacy", IpSets({}))
