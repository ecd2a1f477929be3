"""The numbers behind the names that rules may use: protocols, TCP flags, services, ICMP aside."""

PROTOCOLS = {
    "ip": 0, "icmp": 1, "igmp": 2, "ipencap": 4, "ipip": 4, "tcp": 6, "udp": 17, "dccp": 33,
    "ipv6": 41, "ipv6-route": 43, "ipv6-frag": 44, "gre": 47, "esp": 50, "ipv6-crypt": 50,
    "ah": 51, "ipv6-auth": 51, "icmpv6": 58, "ipv6-icmp": 58, "ipv6-nonxt": 59, "ipv6-opts": 60,
    "ospf": 89, "ospfigp": 89, "pim": 103, "comp": 108, "ipcomp": 108, "vrrp": 112, "l2tp": 115,
    "sctp": 132, "mh": 135, "mobility-header": 135, "udplite": 136,
}  # fmt: skip
"""IANA protocol numbers under the names of /etc/protocols and of nft."""

TCP_FLAGS = {
    "fin": 0x01, "syn": 0x02, "rst": 0x04, "psh": 0x08, "ack": 0x10, "urg": 0x20,
    "ecn": 0x40, "ece": 0x40, "cwr": 0x80, "all": 0x3F, "none": 0,
}  # fmt: skip

SERVICES = {
    "ftp-data": 20, "ftp": 21, "ssh": 22, "telnet": 23, "smtp": 25, "domain": 53, "bootps": 67,
    "bootpc": 68, "tftp": 69, "http": 80, "www": 80, "kerberos": 88, "pop3": 110, "sunrpc": 111,
    "ntp": 123, "netbios-ns": 137, "netbios-dgm": 138, "netbios-ssn": 139, "imap2": 143,
    "imap": 143, "snmp": 161, "snmp-trap": 162, "snmptrap": 162, "bgp": 179, "ldap": 389,
    "https": 443, "microsoft-ds": 445, "submissions": 465, "urd": 465, "isakmp": 500,
    "syslog": 514, "shell": 514, "submission": 587, "ipp": 631, "ldaps": 636, "rsync": 873,
    "imaps": 993, "pop3s": 995, "openvpn": 1194, "ms-sql-s": 1433, "nfs": 2049, "mysql": 3306,
    "ms-wbt-server": 3389, "ipsec-nat-t": 4500, "sip": 5060, "mdns": 5353, "postgresql": 5432,
    "http-alt": 8080, "webcache": 8080, "zabbix-agent": 10050, "dhcpv6-client": 546,
    "dhcpv6-server": 547,
}  # fmt: skip
"""The services that rules written by hand name; a name that is not here stays undecided."""


def protocol(text: str) -> int | None:
    """The number of a protocol named or numbered, or None."""
    if text.isascii() and text.isdigit():
        return int(text) if len(text) < 10 and int(text) <= 255 else None
    return PROTOCOLS.get(text.lower())


def port(text: str) -> int | None:
    """The number of a port named or numbered, or None."""
    if text.isascii() and text.isdigit():
        return int(text) if len(text) < 10 and int(text) <= 65535 else None
    return SERVICES.get(text.lower())
