"""What the model says of real rules against what the kernel does with real connections."""

import pytest

pytestmark = pytest.mark.root

DROP = "iptables -P INPUT DROP; ip6tables -P INPUT DROP"

NFT_DROP = (
    "nft add table inet f; "
    "nft add chain inet f input '{ type filter hook input priority 0; policy drop; }'; "
    "nft add rule inet f input icmpv6 type '{ nd-neighbor-solicit, nd-neighbor-advert }' accept"
)

# Thirteen small rulesets on which other tools are wrong, with what is true of port 80.
PITFALLS = {
    "no rules": ("true", "open", "open"),
    "policy drop, nothing accepted": (DROP, "closed", "closed"),
    "accepts that change nothing": (
        "".join(
            f"iptables -A INPUT -p tcp --dport {port} -j ACCEPT; "
            f"ip6tables -A INPUT -p tcp --dport {port} -j ACCEPT; "
            for port in range(1001, 1008)
        ),
        "open",
        "open",
    ),
    "a drop for 8080 only": ("iptables -A INPUT -p tcp --dport 8080 -j DROP", "open", "open"),
    "accept everything, then drop": (
        "iptables -A INPUT -j ACCEPT; iptables -A INPUT -p tcp --dport 80 -j DROP; "
        "ip6tables -A INPUT -j ACCEPT; ip6tables -A INPUT -p tcp --dport 80 -j DROP",
        "open",
        "open",
    ),
    "drop 80, accept the rest": (
        "iptables -A INPUT -p tcp --dport 80 -j DROP; ip6tables -A INPUT -p tcp --dport 80 -j DROP",
        "closed",
        "closed",
    ),
    "80 from elsewhere only": (
        f"{DROP}; iptables -A INPUT -s 203.0.114.0/24 -p tcp --dport 80 -j ACCEPT",
        "closed",
        "closed",
    ),
    "80 accepted in a user chain": (
        f"{DROP}; iptables -N web; iptables -A web -p tcp --dport 80 -j ACCEPT; "
        "iptables -A INPUT -j web",
        "open",
        "closed",
    ),
    "multiport": (
        f"{DROP}; iptables -A INPUT -p tcp -m multiport --dports 22,80 -j ACCEPT",
        "open",
        "closed",
    ),
    "IPv6 forgotten": ("iptables -P INPUT DROP", "closed", "open"),
    "nft alone": (
        NFT_DROP,
        "closed",
        "closed",
    ),
    "nft, 80 accepted": (
        f"{NFT_DROP}; nft add rule inet f input tcp dport 80 accept",
        "open",
        "open",
    ),
    "a drop for UDP 80 only": ("iptables -A INPUT -p udp --dport 80 -j DROP", "open", "open"),
}


def through(engine: str) -> str:
    """Shell functions that make `iptables` and `ip6tables` those of one engine."""
    return "".join(
        f'{name}() {{ {name}-{engine} -w "$@"; }}\n'
        f'{name}_restore() {{ {name}-{engine}-restore "$@"; }}\n'
        for name in ("iptables", "ip6tables")
    )


@pytest.mark.parametrize("engine", ["legacy", "nft"])
@pytest.mark.parametrize("name", PITFALLS)
def test_pitfalls_of_other_tools(compare, name, engine):
    script, four, six = PITFALLS[name]
    script = through(engine) + script
    if "ip6tables -P INPUT DROP" in script:
        script += "; ip6tables -I INPUT -p icmpv6 -j ACCEPT"
    counts = compare(script, ports=(80,))
    assert counts["undecided"] == 0
    assert counts["open"] == 5 * (four == "open") + 3 * (six == "open")


ND = "ip6tables -A INPUT -p icmpv6 -j ACCEPT"

# Decidable rulesets in the words of iptables: not one probe may be left undecided.
IPTABLES = {
    "jumps, returns and gotos": f"""
        {DROP}; {ND}
        iptables -N a; iptables -N b; iptables -N c
        iptables -A INPUT -s 10.0.0.0/8 -j a
        iptables -A INPUT -g b
        iptables -A INPUT -j ACCEPT
        iptables -A a -p tcp --dport 22 -j RETURN
        iptables -A a -p tcp --dport 80 -j ACCEPT
        iptables -A a -g c
        iptables -A b -p tcp --dport 443 -j ACCEPT
        iptables -A c -p tcp --dport 3306 -j ACCEPT
        """,
    "negations": f"""
        {DROP}; {ND}
        iptables -A INPUT ! -s 10.0.0.0/8 -p tcp ! --dport 80 -j ACCEPT
        iptables -A INPUT ! -i docker0 -p tcp -m multiport ! --dports 22,443,3000:4000 -j ACCEPT
        ip6tables -A INPUT ! -s fd00::/8 -p tcp --dport 22 -j ACCEPT
        """,
    "ranges, both ends of ports, source ports": f"""
        {DROP}; {ND}
        iptables -A INPUT -m iprange --src-range 198.51.100.0-203.0.113.4 -p tcp --dport :80 \
            -j ACCEPT
        iptables -A INPUT -p tcp --sport 1024: --dport 443:8080 -j REJECT
        iptables -A INPUT -s 192.168.7.7 -j ACCEPT
        """,
    "states": f"""
        {DROP}; {ND}
        iptables -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
        iptables -A INPUT -m conntrack --ctstate INVALID -j DROP
        iptables -A INPUT -p tcp -m conntrack --ctstate NEW -m tcp --dport 22 -j ACCEPT
        iptables -A INPUT -p tcp -m state --state NEW -m tcp --syn --dport 80 -j ACCEPT
        iptables -A INPUT -p tcp ! --syn -j ACCEPT
        iptables -A INPUT -p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN --dport 443 -j ACCEPT
        """,
    "untracked": f"""
        {DROP}; {ND}
        iptables -t raw -A PREROUTING -p tcp --dport 22 -j CT --notrack
        iptables -A INPUT -p tcp --dport 22 -m conntrack --ctstate NEW -j ACCEPT
        iptables -A INPUT -p tcp --dport 80 -m conntrack --ctstate NEW -j ACCEPT
        iptables -t raw -A PREROUTING -p tcp --dport 443 -j CT --notrack
        iptables -A INPUT -p tcp --dport 443 -m conntrack --ctstate UNTRACKED -j ACCEPT
        """,
    "marks": f"""
        {DROP}; {ND}
        iptables -t mangle -A PREROUTING -s 10.0.0.0/8 -j MARK --set-mark 1
        iptables -t mangle -A PREROUTING -s 172.16.0.0/12 -j MARK --set-xmark 0x12/0xff
        iptables -t mangle -A PREROUTING -s 172.16.0.0/12 -j CONNMARK --save-mark
        iptables -t mangle -A PREROUTING -s 203.0.113.5 -j MARK --or-mark 8
        iptables -A INPUT -m mark --mark 1 -p tcp --dport 22 -j ACCEPT
        iptables -A INPUT -m connmark --mark 0x12 -p tcp --dport 80 -j ACCEPT
        iptables -A INPUT -m mark --mark 8/8 -p tcp --dport 443 -j ACCEPT
        iptables -A INPUT -m mark --mark 0 -p tcp --dport 3306 -j ACCEPT
        """,
    "four tables": """
        iptables -t raw -A PREROUTING -s 10.0.0.0/8 -p tcp --dport 22 -j DROP
        iptables -t mangle -A PREROUTING -s 172.16.0.0/12 -p tcp --dport 80 -j DROP
        iptables -t mangle -A INPUT -s 192.168.0.0/16 -p tcp --dport 443 -j DROP
        iptables -t raw -A PREROUTING -s 203.0.113.5 -j ACCEPT
        iptables -A INPUT -p tcp --dport 8080 -j REJECT --reject-with tcp-reset
        ip6tables -A INPUT -p tcp --dport 8080 -j REJECT
        """,
    "the address of the socket": f"""
        {DROP}; {ND}
        iptables -A INPUT -d 10.99.1.2 -p tcp --dport 22 -j ACCEPT
        iptables -A INPUT -d 10.99.1.1 -p tcp --dport 80 -j ACCEPT
        iptables -A INPUT -m addrtype --dst-type LOCAL -p tcp --dport 443 -j ACCEPT
        iptables -A INPUT -m addrtype ! --dst-type LOCAL -p tcp --dport 3306 -j ACCEPT
        ip6tables -A INPUT -d 2001:db8:1::2 -p tcp --dport 22 -j ACCEPT
        """,
    "interfaces": f"""
        {DROP}; {ND}
        iptables -A INPUT -i lo -j ACCEPT
        iptables -A INPUT -i docker0 -p tcp --dport 22 -j ACCEPT
        iptables -A INPUT -i eth+ -p tcp --dport 80 -j ACCEPT
        iptables -A INPUT -i eth0 -p tcp --dport 443 -j ACCEPT
        """,
    "sent to another port": f"""
        {DROP}; {ND}
        iptables -t nat -A PREROUTING -p tcp --dport 80 -j REDIRECT --to-ports 8080
        iptables -t nat -A PREROUTING -s 10.0.0.0/8 -p tcp --dport 443 -j DNAT --to 10.99.1.2:22
        iptables -A INPUT -p tcp --dport 8080 -j ACCEPT
        iptables -A INPUT -d 10.99.1.2 -p tcp --dport 22 -j ACCEPT
        iptables -A INPUT -m conntrack --ctorigdstport 3306 --ctstate NEW -j ACCEPT
        """,
    "sets of addresses and ports": f"""
        {DROP}; {ND}
        ipset create nets hash:net
        ipset add nets 10.0.0.0/8
        ipset add nets 10.99.1.77 nomatch
        ipset add nets 198.51.100.0/24
        ipset create pairs hash:ip,port
        ipset add pairs 203.0.113.5,tcp:443
        ipset add pairs 192.168.7.7,udp:53
        ipset create six hash:net family inet6
        ipset add six 2001:db8:5::/48
        ipset create all list:set
        ipset add all nets
        ipset create ports bitmap:port range 0-1024
        ipset add ports 80-90
        iptables -A INPUT -p tcp --dport 22 -m set --match-set nets src -j ACCEPT
        iptables -A INPUT -m set --match-set pairs src,dst -j ACCEPT
        iptables -A INPUT -s 172.31.5.9 -m set --match-set ports dst -j ACCEPT
        iptables -A INPUT -p tcp --dport 3306 -m set ! --match-set all src -j ACCEPT
        ip6tables -A INPUT -m set --match-set six src -p tcp --dport 22 -j ACCEPT
        """,
    "as ufw lays it out": """
        for six in "" 6; do
            f="ip${six}tables"; icmp=icmp; [ -z "$six" ] || icmp=icmpv6
            for c in before after user reject track skip; do $f -N ufw$six-$c-input; done
            $f -N ufw$six-logging-deny; $f -N ufw$six-not-local
            $f -P INPUT DROP
            for c in before after reject track; do $f -A INPUT -j ufw$six-$c-input; done
            $f -A ufw$six-before-input -i lo -j ACCEPT
            $f -A ufw$six-before-input -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
            $f -A ufw$six-before-input -m conntrack --ctstate INVALID -j ufw$six-logging-deny
            $f -A ufw$six-before-input -m conntrack --ctstate INVALID -j DROP
            $f -A ufw$six-before-input -p $icmp -j ACCEPT
            $f -A ufw$six-before-input -j ufw$six-not-local
            $f -A ufw$six-not-local -m addrtype --dst-type LOCAL -j RETURN
            $f -A ufw$six-not-local -m addrtype --dst-type MULTICAST -j RETURN
            $f -A ufw$six-not-local -j DROP
            $f -A ufw$six-before-input -j ufw$six-user-input
            $f -A ufw$six-user-input -p tcp --dport 22 -j ACCEPT
            $f -A ufw$six-logging-deny -m limit --limit 3/min -j LOG --log-prefix "[UFW BLOCK] "
            $f -A ufw$six-after-input -p udp --dport 137 -j ufw$six-skip-input
            $f -A ufw$six-skip-input -j DROP
        done
        ip6tables -I ufw6-before-input -m rt --rt-type 0 -j DROP
        iptables -A ufw-user-input -s 10.0.0.0/8 -p tcp --dport 3306 -j ACCEPT
        """,
    "answers that may not leave": """
        iptables -P OUTPUT DROP; ip6tables -A OUTPUT -p icmpv6 -j ACCEPT; ip6tables -P OUTPUT DROP
        iptables -A OUTPUT -d 10.0.0.0/8 -p tcp --sport 22 -j ACCEPT
        iptables -A OUTPUT -o docker0 -j ACCEPT
        iptables -A OUTPUT -p tcp -m multiport --sports 80,443 -m conntrack --ctstate ESTABLISHED \\
            -j ACCEPT
        iptables -A OUTPUT -d 203.0.113.5 -m conntrack --ctstate NEW -j ACCEPT
        iptables -t mangle -A POSTROUTING -d 192.168.7.7 -j DROP
        iptables -t raw -A OUTPUT -p tcp --sport 443 -d 172.16.0.0/12 -j CT --notrack
        iptables -A OUTPUT -m conntrack --ctorigsrc 198.51.100.9 --ctdir REPLY -j ACCEPT
        ip6tables -A OUTPUT -p tcp --tcp-flags SYN,ACK SYN,ACK --sport 80 -j ACCEPT
        """,
    "a container's published port": f"""
        {DROP}; {ND}
        iptables -P FORWARD DROP
        iptables -t nat -N DOCKER; iptables -N DOCKER; iptables -N DOCKER-USER
        iptables -t nat -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
        iptables -t nat -A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
        iptables -t nat -A DOCKER -i docker0 -j RETURN
        iptables -t nat -A DOCKER ! -i docker0 -p tcp --dport 8080 -j DNAT --to 172.17.0.2:80
        iptables -A FORWARD -j DOCKER-USER
        iptables -A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
        iptables -A FORWARD -o docker0 -j DOCKER
        iptables -A FORWARD -i docker0 ! -o docker0 -j ACCEPT
        iptables -A DOCKER -d 172.17.0.2/32 ! -i docker0 -o docker0 -p tcp --dport 80 -j ACCEPT
        iptables -A DOCKER-USER -i eth0 -s 203.0.113.0/24 -j DROP
        iptables -A DOCKER-USER -j RETURN
        """,
}  # fmt: skip


@pytest.mark.parametrize("engine", ["legacy", "nft"])
@pytest.mark.parametrize("name", IPTABLES)
def test_rules_of_iptables(compare, name, engine):
    compare(through(engine) + IPTABLES[name], second=True, decided=True)


NFT = {
    "sets, maps and intervals": """
        table inet f {
            set office { type ipv4_addr; flags interval; elements = { 10.0.0.0/8, 198.51.100.9 } }
            set six { type ipv6_addr; flags interval; elements = { 2001:db8:5::/48 } }
            map ports {
                type inet_service : verdict
                elements = { 80 : accept, 443 : jump web, 3306 : drop }
            }
            chain web { ip saddr 172.16.0.0/12 accept; ip6 saddr @six return; counter drop; }
            chain input {
                type filter hook input priority filter; policy drop;
                icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept
                ct state vmap { established : accept, related : accept, invalid : drop }
                tcp dport vmap @ports
                ip saddr @office tcp dport 22 accept
                ip6 saddr @six tcp dport { 22, 443, 8000-9000 } accept
                ip saddr . tcp dport { 203.0.113.5 . 53, 10.99.0.0/16 . 8000-9000 } accept
            }
        }
        """,
    "two base chains": """
        table inet one {
            chain input {
                type filter hook input priority -5; policy accept;
                icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept
                tcp dport { 22, 80 } accept
                tcp dport 443 drop
            }
        }
        table ip two {
            chain input {
                type filter hook input priority 5; policy drop;
                ip saddr 10.0.0.0/8 accept
                tcp dport 80 accept
                tcp dport 443 accept
            }
        }
        """,
    "prerouting, negations and comparisons": """
        table inet f {
            chain early {
                type filter hook prerouting priority -300; policy accept;
                tcp dport 22 notrack
                ip saddr != { 10.0.0.0/8, 172.16.0.0/12 } tcp dport > 3000 drop
            }
            chain input {
                type filter hook input priority 0; policy drop;
                icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept
                ct state untracked ip saddr 203.0.113.5 accept
                ct state new tcp dport < 81 ip saddr & 255.255.0.0 == 10.99.0.0 accept
                meta l4proto { tcp, udp } th dport 443 meta nfproto ipv6 accept
                tcp flags & (fin | syn | rst | ack) == syn tcp dport 8080 accept
                tcp flags syn tcp dport 3306 iifname "eth*" accept
                tcp flags ! syn accept
            }
        }
        """,
    "marks and gotos": """
        table inet f {
            chain early {
                type filter hook prerouting priority mangle; meta mark set 0x10
                ip saddr 10.0.0.0/8 meta mark set mark or 0x1 ct mark set mark
            }
            chain late { tcp dport 80 accept; }
            chain input {
                type filter hook input priority 0; policy drop;
                icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept
                meta mark and 0xf == 1 tcp dport 22 accept
                ct mark 0x11 tcp dport 443 accept
                meta mark 0x10 goto late
                tcp dport 8080 accept
            }
        }
        """,
    "translations": """
        table ip nat {
            map where {
                type inet_service : ipv4_addr . inet_service
                elements = { 443 : 10.99.1.2 . 22 }
            }
            chain pre {
                type nat hook prerouting priority dstnat;
                tcp dport 80 redirect to :8080
                dnat ip to tcp dport map @where
                ip saddr 10.0.0.0/8 tcp dport 3306 dnat to 172.17.0.2:80
            }
        }
        table inet f {
            chain input {
                type filter hook input priority 0; policy drop;
                icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept
                tcp dport 8080 accept
                ct status dnat accept
            }
            chain forward {
                type filter hook forward priority 0; policy drop;
                ct state established,related accept
                oifname "docker0" meta l4proto tcp ct original proto-dst 3306 accept
            }
        }
        """,
    "as firewalld lays it out": """
        table inet firewalld {
            chain mangle_PREROUTING {
                type filter hook prerouting priority mangle + 10; policy accept;
            }
            chain filter_PREROUTING {
                type filter hook prerouting priority filter + 10; policy accept;
                icmpv6 type { nd-router-advert, nd-neighbor-solicit } accept
                meta nfproto ipv6 fib saddr . mark . iif oif missing drop
            }
            chain filter_IN_public_allow {
                tcp dport 22 accept
                ip6 daddr fe80::/64 udp dport 546 accept
                ip saddr 10.0.0.0/8 tcp dport 3306 accept
            }
            chain filter_IN_public_deny { ip saddr 203.0.113.0/24 reject; }
            chain filter_IN_public {
                jump filter_IN_public_deny
                jump filter_IN_public_allow
                meta l4proto { icmp, ipv6-icmp } accept
                reject with icmpx admin-prohibited
            }
            chain filter_IN_trusted { accept; }
            chain filter_INPUT_ZONES {
                ip saddr 192.168.7.7 goto filter_IN_trusted
                iifname "eth0" goto filter_IN_public
                goto filter_IN_public
            }
            chain filter_INPUT {
                type filter hook input priority filter + 10; policy accept;
                ct state { established, related } accept
                ct status dnat accept
                iifname "lo" accept
                ct state invalid drop
                jump filter_INPUT_ZONES
                reject with icmpx admin-prohibited
            }
            chain filter_OUTPUT {
                type filter hook output priority filter + 10; policy accept;
                ct state { established, related } accept
                oifname "lo" accept
            }
            chain nat_PREROUTING {
                type nat hook prerouting priority dstnat + 10; policy accept;
                tcp dport 8080 redirect to :80
            }
        }
        """,
    "answers": """
        table inet f {
            chain output {
                type filter hook output priority 0; policy drop;
                icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept
                ct state established,related ip daddr 10.0.0.0/8 accept
                ct direction reply tcp sport 80 accept
                tcp sport 443 oifname "eth0" ip6 daddr fd00::/8 accept
                ct state new accept
            }
            chain post { type filter hook postrouting priority 0; ip daddr 203.0.113.5 drop; }
        }
        """,
    "types of addresses": """
        table inet f {
            chain input {
                type filter hook input priority 0; policy drop;
                icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept
                fib saddr . iif oif missing drop
                fib daddr type local tcp dport 22 accept
                fib daddr . iif type != { local, broadcast, multicast } drop
                fib saddr type local tcp dport 443 accept
                meta pkttype host tcp dport 80 accept
                iif "eth0" tcp dport 8080 accept
            }
        }
        """,
}  # fmt: skip


@pytest.mark.parametrize("name", NFT)
def test_rules_of_nft(compare, name):
    compare(f"nft -f - <<'END'\n{NFT[name]}\nEND", second=True, decided=True)


def test_both_engines_filter(compare):
    """A packet must pass both."""
    counts = compare(
        "iptables-legacy -w -P INPUT DROP; "
        "iptables-legacy -w -A INPUT -p tcp --dport 22 -j ACCEPT; "
        "iptables-legacy -w -A INPUT -p tcp --dport 80 -j ACCEPT; "
        "iptables-nft -w -A INPUT -p tcp -m multiport --dports 80,443 -j DROP",
        families=(4,),
    )
    assert counts == {"open": 5, "closed": 25, "undecided": 0}


@pytest.mark.parametrize("engine", ["legacy", "nft"])
def test_what_rules_do_not_decide(compare, engine):
    """A rate, a list that packets write themselves: never called open, never called closed."""
    counts = compare(
        through(engine)
        + f"{DROP}; {ND}; iptables -A INPUT -p tcp --dport 22 -m limit --limit 5/min -j ACCEPT; "
        "iptables -A INPUT -p tcp --dport 80 -m recent --rcheck --name knocked -j ACCEPT; "
        "iptables -A INPUT -p tcp --dport 443 -m statistic --mode nth --every 2 --packet 0 "
        "-j ACCEPT; "
        "iptables -A INPUT -p tcp --dport 3306 -m limit --limit 5/min -j LOG",
        families=(4,),
    )
    assert counts == {"open": 0, "closed": 15, "undecided": 15}


@pytest.mark.parametrize("engine", ["legacy", "nft"])
def test_datagrams(compare, engine):
    counts = compare(
        through(engine) + f"{DROP}; {ND}; iptables -A INPUT -p udp --dport 53 -j ACCEPT; "
        "iptables -A INPUT -s 10.0.0.0/8 -m conntrack --ctstate NEW -j ACCEPT; "
        "iptables -A INPUT -p tcp -j ACCEPT; "
        "ip6tables -A INPUT -p udp -m multiport --dports 53,80 -j ACCEPT",
        protocol="udp",
    )
    assert counts == {"open": 4 + 6 + 6, "closed": 20 + 12, "undecided": 0}
