"""nft's own language: what is read of it is what nft's JSON says, and any text is survived."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit_agent.facts.firewall import nft, nft_text
from audit_agent.facts.firewall.rules import Cases, Opaque, Translate, Unknown, Verdict

RULES = """
    ct original ip daddr 1.2.3.4 accept
    meta l4proto tcp ct original proto-dst 80 accept
    ct status dnat accept
    ct direction original accept
    meta mark and 0xff == 0x1 accept
    meta mark set mark and 0xff or 0x100
    meta mark set ct mark
    ct mark set mark
    ct mark set 7
    meta nfproto ipv6 fib saddr . mark . iif oif missing drop
    fib daddr . iif type != { local, broadcast, multicast } drop
    fib saddr type local drop
    tcp flags syn accept
    tcp flags == syn accept
    tcp flags & (fin|syn|rst|ack) != syn accept
    tcp flags ! fin,rst accept
    tcp flags { syn, syn|ack } accept
    ip saddr != @s4 drop
    iifname @ifs accept
    iifname { "eth0", "wg*" } accept
    ip saddr . meta l4proto . th dport @cc accept
    tcp dport vmap @m
    tcp dport > 1024 accept
    tcp dport != { 1, 2 } accept
    meta l4proto { tcp, udp } th dport 53 accept
    ip protocol tcp accept
    ip6 nexthdr tcp accept
    ether type ip accept
    add @dyn { ip saddr } accept
    add @dyn { ip saddr limit rate 1/second } accept
    ct count 3 accept
    limit rate over 3/second drop
    limit rate 10/minute burst 20 packets accept
    meta pkttype host accept
    meta protocol ip accept
    ct state vmap { established : accept, related : accept, invalid : drop }
    ct state new,untracked accept
    ct state != established drop
    icmp type echo-request accept
    icmpv6 type { nd-neighbor-solicit, nd-router-advert } accept
    iif lo accept
    iif != lo ip daddr 127.0.0.0/8 drop
    meta hour "08:00"-"17:00" accept
    ip dscp set cs1
    quota over 10 mbytes drop
    reject with icmpx type admin-prohibited
    reject with tcp reset
    meta nfproto ipv4 reject with icmp host-prohibited
    meta nfproto ipv6 reject with icmpv6 admin-prohibited
    reject
    ip saddr & 0.0.0.255 == 0.0.0.3 drop
    ip saddr and 255.255.0.0 == 10.1.0.0 drop
    log prefix "x; y {" level info flags all drop
    socket transparent 1 accept
    tcp dport 1-1024 tcp sport 53 accept
    ip saddr { 10.0.0.0/8 } ip daddr 192.0.2.1 accept comment "a } b"
    meta skuid 0 accept
    ip saddr 0.0.0.0/0 counter accept
    ip6 saddr { fd00::/8, 2001:db8::1-2001:db8::9, ::1 } accept
    udp dport . ip saddr vmap { 53 . 1.2.3.4 : accept, 54 . 10.0.0.0/8 : drop }
    jump u
    goto u
    continue
    return
"""

NAT = """
    tcp dport 81 dnat ip to 10.1.1.1:80
    tcp dport 82 redirect to :8082
    tcp dport 83 redirect
    dnat ip to tcp dport map @d
    dnat ip to tcp dport map { 83 : 10.2.2.2, 84 : 10.2.2.3 }
    tcp dport 85 dnat ip to numgen random mod 2 map { 0 : 10.0.0.1, 1 : 10.0.0.2 }
    tcp dport 86 dnat ip to 10.3.3.0-10.3.3.9:90-95
    tcp dport 87 dnat ip6 to [2001:db8::1]:80
    tcp dport 88 dnat ip6 to 2001:db8::1
    tcp dport 89 dnat ip to 10.1.1.1:80 random,persistent
"""

SETS = """
    set s4 {
        type ipv4_addr; flags interval
        elements = { 10.0.0.0/8, 192.168.1.1, 172.16.0.1-172.16.0.9 }
    }
    set dyn { type ipv4_addr; flags dynamic,timeout; timeout 1m; }
    map m { type inet_service : verdict; elements = { 22 : accept, 23 : jump u } }
    map d { type inet_service : ipv4_addr . inet_service; elements = { 8080 : 10.1.1.1 . 80 } }
    set ifs { type ifname; flags interval; elements = { "eth0", "wg*" } }
    set cc {
        type ipv4_addr . inet_proto . inet_service; flags interval
        elements = { 10.0.0.0/8 . tcp . 80-90, 10.9.0.1 . udp . 53 }
    }
    set timed {
        type ipv4_addr; flags timeout
        elements = { 10.0.0.1 timeout 1h comment "x", 10.0.0.2 }
    }
"""  # fmt: skip

WHOLE = f"""
table inet f {{
    {SETS}
    chain u {{ counter; }}
    chain pre {{ type nat hook prerouting priority dstnat; policy accept; {NAT} }}
    chain input {{ type filter hook input priority filter + 10; policy drop; {RULES} }}
}}
table netdev early {{
    chain in {{
        type filter hook ingress device "lo" priority -500; policy accept;
        ip saddr 10.0.0.0/8 drop
    }}
}}
table ip asleep {{
    flags dormant
    chain input {{ type filter hook input priority 0; policy drop; }}
}}
"""  # fmt: skip


def shape(tables, asleep=()):
    """What counts of tables: not where they stand."""
    return {
        (table.family, table.name, chain.name): (
            chain.hook,
            chain.priority,
            chain.policy,
            chain.kind,
            chain.devices,
            [rule.steps for rule in chain.rules],
        )
        for table in tables
        if (table.family, table.name) not in asleep
        for chain in table.chains.values()
    }


@pytest.mark.root
def test_text_and_json_say_the_same(arena):
    arena.load(f"nft -f - <<'END'\n{WHOLE}\nEND")
    listed = arena.host.run("nft", "-a", "list", "ruleset")
    lines = nft.rule_lines(listed.split("\n"), "firewall.nft")
    expected, _ = nft.parse(arena.host.run("nft", "-j", "list", "ruleset"), lines)
    tables, problems = nft_text.parse(listed.split("\n"), "firewall.nft", listing=True)
    assert problems == []
    asleep = nft.dormant(listed.split("\n"))
    assert asleep == {("ip", "asleep")}
    one, other = shape(tables), shape(expected, asleep)
    assert one.keys() == other.keys()
    for key in one:
        assert one[key][:-1] == other[key][:-1]
        [chain] = [table.chains[key[2]] for table in tables if table.name == key[1]]
        texts = [rule.text for rule in chain.rules]
        for text, mine, theirs in zip(texts, one[key][-1], other[key][-1], strict=True):
            assert comparable(mine) == comparable(theirs), text


def comparable(steps):
    """The names of what is not decided differ between the two."""
    return [type(step).__name__ if isinstance(step, Unknown | Opaque) else step for step in steps]


@pytest.mark.root
def test_a_file_of_rules_is_read_as_nft_reads_it(arena):
    """The file as it was written, with variables, and what the kernel has after loading it."""
    written = f"""
        #!/usr/sbin/nft -f
        flush ruleset
        define office = {{ 10.0.0.0/8, 192.168.1.1 }}
        define web = 80
        {WHOLE}
        table inet more {{
            chain input {{
                type filter hook input priority 0
                policy drop
                ip saddr $office tcp dport $web accept  # a comment
                tcp dport {{ 22,
                    443 }} \\
                    accept
            }}
        }}
        add chain inet more late
        add rule inet more late tcp dport 8080 accept
        insert rule inet more late tcp dport 53 drop
        add table ip six
    """
    arena.load(f"cat >/tmp/nft.$$ <<'END'\n{written}\nEND\nnft -f /tmp/nft.$$; rm /tmp/nft.$$")
    listed = arena.host.run("nft", "-a", "list", "ruleset")
    lines = nft.rule_lines(listed.split("\n"), "firewall.nft")
    expected, _ = nft.parse(arena.host.run("nft", "-j", "list", "ruleset"), lines)
    tables, problems = nft_text.parse(written.split("\n"), "file:/etc/nftables.conf")
    assert problems == []
    mine, theirs = shape(tables), shape(expected, {("ip", "asleep")})
    assert mine.keys() == theirs.keys()
    for key in mine:
        assert mine[key][:-1] == theirs[key][:-1]
        assert len(mine[key][-1]) == len(theirs[key][-1])
    for key in (("inet", "more", "input"), ("inet", "more", "late")):
        assert mine[key] == theirs[key]


def test_what_is_not_understood_may_do_anything():
    text = "table ip f { chain input { type filter hook input priority 0; frobnicate 1 drop\n } }"
    [table], problems = nft_text.parse(text.split("\n"), "x")
    [rule] = table.chains["input"].rules
    assert problems == []
    assert isinstance(rule.steps[-1], Opaque)
    assert rule.text == "frobnicate 1 drop"


def test_what_a_listing_says_in_a_comment_counts():
    """nft has no words of its own for some of what iptables-nft writes."""
    text = "table ip f { chain input {\nip saddr 10.0.0.1 # xt_multiport\n accept # handle 3\n} }"
    [table], _ = nft_text.parse(text.split("\n"), "x", listing=True)
    first, second = table.chains["input"].rules
    assert isinstance(first.steps[-1], Opaque)
    assert second.steps == (Verdict("accept"),)


def test_what_stands_outside_of_rules_is_named():
    _, problems = nft_text.parse(["table ip f { }", "frobnicate all"], "x")
    assert [(problem.text, problem.quote.lines) for problem in problems] == [
        ("frobnicate all", "2")
    ]


@given(
    st.lists(st.sampled_from([*'{};,:.="@$# \n\\()/-!', *WHOLE.split()]), max_size=60).map("".join)
)
def test_garbage_is_survived(text):
    nft_text.parse(text.split("\n"), "x")


@given(
    st.lists(
        st.sampled_from([*WHOLE.replace("\n", " \n ").split(" "), "define", "flush"]), max_size=80
    )
)
def test_shuffled_words_are_survived(words):
    tables, _ = nft_text.parse(" ".join(words).split("\n"), "x")
    for table in tables:
        for chain in table.chains.values():
            for rule in chain.rules:
                for step in rule.steps:
                    assert step is not None or isinstance(step, Verdict | Cases | Translate)


def test_text_that_breaks_off_anywhere_is_survived():
    text = WHOLE.replace("}", " reject with icmp x numgen random mod 2 vmap { } }")
    text += " table netdev d { chain c { type filter hook ingress device lo priority 0 ; } }"
    words = text.replace("\n", " \n ").split(" ")
    for length in range(len(words)):
        nft_text.parse(" ".join(words[:length]).split("\n"), "x")


def test_a_handle_without_a_rule_is_survived():
    lines = ["table ip f {", "\tchain c {", " # handle 7", "\t}", "}"]
    assert [text for _, text in nft.rule_lines(lines, "x").values()] == [""]
