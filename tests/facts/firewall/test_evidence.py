"""From the collector's own output to answers; and what becomes of them where a part is missing."""

import subprocess

import pytest

from audit_agent import collector, engine, evidence, plugins
from audit_agent.facts.exposure import PacketFilter
from audit_agent.facts.firewall import read_loaded
from audit_agent.facts.network import read_network

pytestmark = pytest.mark.root

RULES = """
iptables-legacy -w -P INPUT DROP
iptables-legacy -w -A INPUT -i lo -j ACCEPT
iptables-legacy -w -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
iptables-legacy -w -A INPUT -p tcp -m multiport --dports 22,80 -j ACCEPT
ip6tables-legacy -w -P INPUT DROP
nft -f - <<'END'
table inet more {
    set office { type ipv4_addr; flags interval; elements = { 10.0.0.0/8 } }
    chain input {
        type filter hook input priority 10; policy accept;
        tcp dport 80 ip saddr != @office drop
    }
}
END
"""


def collect(arena):
    """What the whole collector prints in the host's namespace."""
    done = subprocess.run(
        ["ip", "netns", "exec", arena.host.name, "sh", "-s"],
        input=collector.script("0" * 32),
        capture_output=True,
        check=True,
        timeout=120,
    )
    stream = evidence.parse_stream(done.stdout, "0" * 32)
    return evidence.from_stream(stream, target="h", address="h")


@pytest.fixture(scope="module")
def collected(arena):
    arena.load(RULES)
    return collect(arena)


def test_both_engines_are_read(arena, collected, ask):
    model = PacketFilter(read_loaded(collected), read_network(collected))
    assert model.loaded.missing == {4: (), 6: ()}
    probes = [
        (source, "10.99.1.1", port)
        for source in ("10.99.1.77", "203.0.113.5")
        for port in (22, 80, 443)
    ]
    arena.load(RULES)
    for probe, through in zip(probes, arena.connects("tcp", probes, 0.5), strict=True):
        assert ask(model, "tcp", *probe) == ("open" if through else "closed")


def test_the_checks_quote_the_rules(collected):
    known = [check for check in plugins.checks() if check.area in {"firewall", "ports"}]
    findings = {finding.check: finding for finding in engine.audit(collected, known)}
    assert findings["FW-01"].status == "pass"
    assert findings["FW-02"].status == "pass"
    [quote] = findings["FW-02"].quotes
    line = collected.sections[quote.section].lines[int(quote.lines) - 1]
    assert line.startswith(":INPUT DROP")
    assert findings["FW-05"].status == "pass"
    assert not [finding for finding in findings.values() if finding.status == "error"]


def test_collecting_creates_no_tables(arena):
    """Asking for a table that is not there would make the kernel create it."""
    fresh = f"{arena.host.name}x"
    subprocess.run(["ip", "netns", "add", fresh], check=True)
    inside = ["ip", "netns", "exec", fresh]
    try:
        subprocess.run(
            [*inside, "sh", "-s"], input=collector.script("0" * 32), capture_output=True, check=True
        )
        for words in (
            ["cat", "/proc/net/ip_tables_names", "/proc/net/ip6_tables_names"],
            ["nft", "list", "ruleset"],
        ):
            done = subprocess.run([*inside, *words], capture_output=True, text=True, check=True)
            assert done.stdout == ""
    finally:
        subprocess.run(["ip", "netns", "del", fresh], check=True)


@pytest.mark.parametrize(
    ("without", "open_port"),
    [
        (("firewall.nft-json",), True),  # the text says the same
        (("firewall.nft-json", "firewall.nft"), False),
        (("firewall.iptables-legacy",), False),
        (("firewall.iptables-nft", "firewall.ip6tables-nft"), True),  # nothing of theirs is loaded
    ],
)
def test_a_part_that_is_missing_makes_undecided_what_it_may_hold(arena, ask, without, open_port):
    arena.load(RULES)
    model = arena.filter(without=without)
    answers = {
        ask(model, "tcp", source, "10.99.1.1", port).partition(":")[0]
        for source in ("10.99.1.77", "203.0.113.5")
        for port in (22, 80, 443)
    }
    assert answers == ({"open", "closed"} if open_port else {"undecided"})
