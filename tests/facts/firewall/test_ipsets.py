"""ipset: every kind of set that the kernel has, asked by real connections."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit_agent.facts.firewall.ipsets import IpSets, parse
from audit_agent.facts.firewall.rules import NEVER, SourceIn, Unknown

# what is created, what is added, the directions of the match
SETS = {
    "hash:ip": ("hash:ip", ["10.99.1.77", "203.0.113.0/29"], "src"),
    "hash:ip netmask": ("hash:ip netmask 16", ["10.99.200.200", "203.0.113.5"], "src"),
    "hash:ip range": ("hash:ip", ["198.51.100.1-198.51.100.20"], "src"),
    "hash:ip of the host": ("hash:ip", ["10.99.1.2"], "dst"),
    "hash:net": ("hash:net", ["10.0.0.0/8", "10.99.1.0/24 nomatch", "10.99.1.77", "192.168.0.0/16"],
                 "src"),
    "bitmap:ip": ("bitmap:ip range 10.99.0.0/16", ["10.99.1.70-10.99.1.80"], "src"),
    "bitmap:port": ("bitmap:port range 0-1024", ["22", "80-90"], "dst"),
    "hash:ip,port": ("hash:ip,port", ["10.99.1.77,tcp:22", "203.0.113.5,udp:80", "192.168.7.7,80"],
                     "src,dst"),
    "hash:net,port": ("hash:net,port", ["10.0.0.0/8,22", "172.16.0.0/12,tcp:80-443"], "src,dst"),
    "hash:ip,port,ip": ("hash:ip,port,ip", ["10.99.1.77,22,10.99.1.1"], "src,dst,dst"),
    "hash:ip,port,net": ("hash:ip,port,net", ["10.99.1.2,443,203.0.113.0/24"], "dst,dst,src"),
    "hash:net,iface": ("hash:net,iface", ["10.0.0.0/8,eth0", "203.0.113.0/24,docker0"], "src,src"),
    "list:set": ("list:set", ["other"], "src"),
    "timeout": ("hash:ip timeout 600", ["10.99.1.77 timeout 300", "203.0.113.5"], "src"),
}  # fmt: skip


@pytest.mark.root
@pytest.mark.parametrize("name", SETS)
def test_every_kind_of_set(compare, name):
    create, entries, directions = SETS[name]
    lines = ["iptables-legacy -w -P INPUT DROP", "ipset create other hash:net"]
    lines += ["ipset add other 172.16.0.0/12", f"ipset create asked {create}"]
    lines += [f"ipset add asked {entry}" for entry in entries]
    lines += [
        f"iptables-legacy -w -A INPUT -p tcp -m set --match-set asked {directions} -j ACCEPT",
        "iptables-legacy -w -A INPUT -p tcp -m set ! --match-set asked "
        f"{directions} -m tcp --dport 8080 -j ACCEPT",
    ]
    counts = compare("\n".join(lines), families=(4,), second=True, decided=True)
    assert counts["open"] > 0
    assert counts["closed"] > 0


def test_a_set_that_is_not_there_decides_nothing():
    sets = IpSets(parse("create here hash:ip family inet\nadd here 10.0.0.1\n"), frozenset({"own"}))
    assert sets.match("here", ("src",)) == SourceIn(4, ((0x0A000001, 0x0A000001),))
    assert sets.match("gone", ("src",)) == Unknown("ipset gone (not collected)")


@pytest.mark.parametrize(
    "line",
    [
        "add here 10.0.0.1,00:11:22:33:44:55",
        "add here 10.0.0.999",
        "add here 2001:db8::1",
        "add here",
        "add other 10.0.0.1",
        "frobnicate",
    ],
)
def test_an_odd_line_is_survived(line):
    kind = "hash:ip,mac" if ":11:" in line else "hash:ip"
    found = IpSets(parse(f"create here {kind} family inet\n{line}\n")).match("here", ("src",))
    assert found == SourceIn(4, ()) or isinstance(found, Unknown)


def test_an_empty_set_of_several_dimensions_holds_nothing():
    assert IpSets(parse("create a hash:ip,port family inet\n")).match("a", ("src", "dst")) == NEVER


def test_a_set_that_rules_write_to_decides_nothing():
    sets = IpSets(parse("create own hash:ip family inet\nadd own 10.0.0.1\n"), frozenset({"own"}))
    assert isinstance(sets.match("own", ("src",)), Unknown)


WORDS = ["create", "add", "a", "hash:ip", "hash:net,port", "list:set", "family", "inet6", "netmask",
         "nomatch", "10.0.0.1", "10.0.0.0/8,80", "a,b,c", "timeout", "0", "\n"]  # fmt: skip


@given(st.lists(st.sampled_from(WORDS), max_size=30))
def test_garbage_is_survived(words):
    found = parse(" ".join(words))
    for name in [*found, "x"]:
        for directions in (("src",), ("dst", "src"), ("src", "dst", "src")):
            IpSets(found).match(name, directions)
