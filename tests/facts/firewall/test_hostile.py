"""Rules as nobody means them: what a host sends may not cost the controller hours or gigabytes."""

import time

import pytest

from audit_agent.facts.exposure import PacketFilter
from audit_agent.facts.firewall import nft, nft_text, read_loaded
from audit_agent.facts.firewall.ipsets import IpSets, parse
from audit_agent.facts.network import read_network
from audit_agent.facts.sockets import Listener
from audit_agent.model import Gap, Quote

HEAD = "*filter\n:INPUT DROP [0:0]\n"


def answer(make_evidence, rules, ports=(80,)):
    sections = {
        "net.addresses": "2: eth0    inet 192.0.2.10/24 scope global eth0\n",
        "net.interfaces": "eth0 flags=0x1003\nlo flags=0x9\n",
        "file:/proc/net/ip_tables_names": "filter\n",
        "file:/proc/net/ip6_tables_names": Gap.ABSENT,
        "firewall.iptables-legacy": f"{HEAD}{rules}COMMIT\n",
        "firewall.nft-json": Gap.ABSENT,
        "firewall.ipset": Gap.ABSENT,
    }
    evidence = make_evidence(sections)
    model = PacketFilter(read_loaded(evidence), read_network(evidence))
    quote = Quote("x")
    return [
        exposure
        for port in ports
        for exposure in model.exposures(
            Listener(
                protocol="tcp",
                address="0.0.0.0",  # noqa: S104
                port=port,
                interface="",
                dual=False,
                process="",
                pid=None,
                user="",
                quote=quote,
            )
        )
    ]


def constructs(exposure):
    return {each.construct for each in exposure.because()} - {""}


def test_chains_that_call_each_other_without_end(make_evidence):
    """Each of thirty chains jumps twice to the next, under a condition that nothing decides."""
    lines = [f":c{number} - [0:0]\n" for number in range(31)]
    for number in range(30):
        jump = f"-A c{number} -m limit --limit 1/s -j c{number + 1}\n"
        lines += [jump, jump.replace("1/s", "2/s")]
    start = time.monotonic()
    [exposure] = answer(make_evidence, "".join(lines) + "-A INPUT -j c0\n-A c30 -j ACCEPT\n")
    assert time.monotonic() - start < 30
    assert exposure.accept == exposure.drop == ()
    assert "more rules than can be followed" in constructs(exposure)


def test_a_chain_that_calls_itself(make_evidence):
    [exposure] = answer(make_evidence, ":a - [0:0]\n-A INPUT -j a\n-A a -j a\n")
    assert exposure.drop == ()


def test_marks_that_multiply(make_evidence):
    """Each rule may or may not set another bit: two to the power of thirty forms of a packet."""
    rules = "".join(
        f"-A INPUT -m limit --limit {bit + 1}/s -j MARK --set-xmark {1 << bit:#x}/{1 << bit:#x}\n"
        for bit in range(30)
    )
    start = time.monotonic()
    [exposure] = answer(make_evidence, rules + "-A INPUT -m mark --mark 0x7 -j ACCEPT\n")
    assert time.monotonic() - start < 10
    assert exposure.accept == ()
    assert exposure.undecided == ((0, 0xFFFFFFFF),)


def test_every_source_port_times_every_source(make_evidence):
    rules = "".join(
        f"-A INPUT -s 10.{n >> 8}.{n & 255}.7 -p tcp --sport {n + 1} -j ACCEPT\n"
        for n in range(8000)
    )
    start = time.monotonic()
    [exposure] = answer(make_evidence, rules)
    assert time.monotonic() - start < 20
    assert constructs(exposure) == {"more rules than can be followed"}


def test_thousands_of_rules_and_hundreds_of_listeners(make_evidence):
    rules = "".join(
        f"-A INPUT -s 10.{n >> 8}.{n & 255}.7 -j DROP\n"
        f"-A INPUT -p tcp --dport {n + 1} -j ACCEPT\n"
        f"-A INPUT -s 172.{n >> 8}.{n & 255}.7 -p tcp --dport {n % 600} -j ACCEPT\n"
        for n in range(3300)
    )
    start = time.monotonic()
    exposures = answer(make_evidence, rules, ports=range(500))
    assert len(exposures) == 500
    assert all(each.accept or each.drop for each in exposures)
    assert time.monotonic() - start < 8


def test_lists_of_lists_of_sets():
    text = "".join(f"create l{n} list:set size 99\n" for n in range(9))
    text += "".join(f"add l{n} l{m}\n" for n in range(9) for m in range(9) for _ in range(9))
    IpSets(parse(text)).match("l0", ("src",))


@pytest.mark.parametrize(
    "text", ["(" * 50000, "{" * 50000, "table ip f { chain c { ip saddr " + "(" * 9999]
)
def test_brackets_without_end(text):
    nft_text.parse([text], "x")


def test_json_without_end():
    deep = '{"nftables": [{"rule": {"expr": [' + '{"match": {"left": ' * 5000
    with pytest.raises(nft.NotARuleset):
        nft.parse(deep, {})
    nested = "[" * 400 + "]" * 400
    rule = '{"rule": {"family": "ip", "table": "f", "chain": "c", "expr": [{"match": {"op": "in", '
    rule += (
        '"left": {"payload": {"protocol": "tcp", "field": "flags"}}, "right": ' + nested + "}}]}}"
    )
    head = '{"table": {"family": "ip", "name": "f"}}, {"chain": {"family": "ip", "table": "f", '
    head += '"name": "c", "type": "filter", "hook": "input", "prio": 0}}, '
    nft.parse('{"nftables": [' + head + rule + "]}", {})
