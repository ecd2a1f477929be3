"""Listening sockets: in the words of ss of several ages, netstat, busybox and /proc/net."""

# ruff: noqa: E501 - as the programs print it

import contextlib
import os
import shutil
import socket
import subprocess

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audit_agent.facts.sockets import read_listeners
from audit_agent.model import EvidenceMissing, Gap, Section

# iproute2 6.1, ss -lntupe
TODAY = """\
Netid State  Recv-Q Send-Q             Local Address:Port Peer Address:PortProcess
udp   UNCONN 0      0                        0.0.0.0:9003      0.0.0.0:*    users:(("dns",pid=7,fd=5)) uid:53 ino:21 sk:2 cgroup:/ <->
tcp   LISTEN 0      128                 0.0.0.0%eth0:9006      0.0.0.0:*    users:(("a b",pid=8,fd=8),("a b",pid=9,fd=8)) ino:22 sk:3 <->
tcp   LISTEN 0      128           [::ffff:127.0.0.1]:9004            *:*    users:(("java",pid=6,fd=6)) ino:23 sk:4 cgroup:/ v6only:0 <->
tcp   LISTEN 0      128    [fe80::fc:ff:fe00:1]%eth0:9005         [::]:*    ino:24 sk:5 cgroup:/ v6only:1 <->
tcp   LISTEN 0      128                         [::]:9002         [::]:*    users:(("x",pid=6,fd=4)) ino:25 v6only:1 <->
tcp   LISTEN 0      128                            *:9001            *:*    users:(("y",pid=6,fd=3)) ino:26 v6only:0 <->
"""
# CentOS 7 (iproute 4.11): a star is IPv4, and brackets do not tell
SEVEN = """\
Netid State      Recv-Q Send-Q Local Address:Port               Peer Address:Port
udp   UNCONN     0      0         *:68                    *:*                   users:(("dhclient",pid=3,fd=6)) ino:9 sk:1 <->
tcp   LISTEN     0      128       *:22                    *:*                   users:(("sshd",pid=1,fd=3)) ino:10 sk:2 <->
tcp   LISTEN     0      128    [::]:22                 [::]:*                   users:(("sshd",pid=1,fd=4)) ino:11 sk:3 <->
tcp   LISTEN     0      128    [::]:80                 [::]:*                   users:(("httpd",pid=2,fd=4)) ino:12 sk:4 <->
"""
OLDER = """\
tcp    LISTEN     0      128                   :::22                   :::*      users:(("sshd",1,4))
tcp    LISTEN     0      128                    *:22                    *:*      users:(("sshd",1,3))
"""
NETSTAT = """\
Active Internet connections (only servers)
Proto Recv-Q Send-Q Local Address           Foreign Address         State       PID/Program name
tcp        0      0 0.0.0.0:22              0.0.0.0:*               LISTEN      1/sshd: /usr/sbin
tcp        0      0 127.0.0.1:25            0.0.0.0:*               LISTEN      -
tcp6       0      0 :::22                   :::*                    LISTEN      1/sshd
tcp6       0      0 :::80                   :::*                    LISTEN      5/httpd
udp        0      0 0.0.0.0:68              0.0.0.0:*                           7/dhclient
"""
BUSYBOX = """\
Proto Recv-Q Send-Q Local Address           Foreign Address         State
tcp        0      0 0.0.0.0:22              0.0.0.0:*               LISTEN
udp        0      0 0.0.0.0:68              0.0.0.0:*
"""
PROC = """\
tcp 0100007F:0019 00000000:0000 0A 0 77
tcp 00000000:0016 00000000:0000 0A 0 78
tcp6 00000000000000000000000000000000:0016 00000000000000000000000000000000:0000 0A 0 79
tcp6 00000000000000000000000000000000:0050 00000000000000000000000000000000:0000 0A 48 80
udp 00000000:0044 00000000:0000 07 0 81
udp 0100007F:1234 0100007F:0035 07 0 82
"""
OWNERS = "78 1 sshd\n80 5 httpd\n81 7 dhclient\n77 9 master\n"


def read(make_evidence, text, command="ss -lntupe", **more):
    evidence = make_evidence({"net.sockets": text, **more})
    section = evidence.sections["net.sockets"]
    if section.gap is None:
        told = Section(section.name, command, 0, stdout=section.stdout)
        evidence = make_evidence(more)
        evidence.sections["net.sockets"] = told
    return read_listeners(evidence, {0: "root", 48: "apache", 53: "named"})


def rows(listeners):
    return [(each.name, each.dual, each.process, each.pid, each.user) for each in listeners]


def test_ss_of_today(make_evidence):
    listeners = read(make_evidence, TODAY)
    assert rows(listeners) == [
        ("udp/0.0.0.0:9003", False, "dns", 7, "named"),
        ("tcp/0.0.0.0:9006", False, "a b", 8, "root"),
        ("tcp/[::ffff:127.0.0.1]:9004", False, "java", 6, "root"),
        ("tcp/[fe80::fc:ff:fe00:1]:9005", False, "", None, "root"),
        ("tcp/[::]:9002", False, "x", 6, "root"),
        ("tcp/[::]:9001", True, "y", 6, "root"),
    ]
    assert [each.interface for each in listeners] == ["", "eth0", "", "eth0", "", ""]
    assert [each.families for each in listeners] == [(4,), (4,), (4,), (6,), (6,), (4, 6)]
    assert [each.quote.lines for each in listeners] == ["2", "3", "4", "5", "6", "7"]
    assert [each.loopback for each in listeners] == [False, False, True, False, False, False]


def test_a_star_of_an_older_ss_is_ipv4(make_evidence):
    assert [(row[0], row[1]) for row in rows(read(make_evidence, SEVEN))] == [
        ("udp/0.0.0.0:68", False),
        ("tcp/0.0.0.0:22", False),
        ("tcp/[::]:22", False),  # 0.0.0.0:22 is another socket's
        ("tcp/[::]:80", None),
    ]
    assert [row[0] for row in rows(read(make_evidence, OLDER))] == ["tcp/[::]:22", "tcp/0.0.0.0:22"]


def test_netstat_with_what_proc_knows_of_owners(make_evidence):
    more = {"net.proc-sockets": PROC, "net.socket-owners": OWNERS}
    assert rows(read(make_evidence, NETSTAT, "netstat -lntup", **more)) == [
        ("tcp/0.0.0.0:22", False, "sshd: /usr/sbin", 1, "root"),
        ("tcp/127.0.0.1:25", False, "master", 9, "root"),
        ("tcp/[::]:22", False, "sshd", 1, "root"),
        ("tcp/[::]:80", None, "httpd", 5, "apache"),
        ("udp/0.0.0.0:68", False, "dhclient", 7, "root"),
    ]
    assert rows(read(make_evidence, BUSYBOX, "netstat -lntu", **more)) == [
        ("tcp/0.0.0.0:22", False, "sshd", 1, "root"),
        ("udp/0.0.0.0:68", False, "dhclient", 7, "root"),
    ]


def test_proc_alone(make_evidence):
    more = {"net.proc-sockets": PROC, "net.socket-owners": OWNERS}
    listeners = read(make_evidence, Gap.NO_TOOL, **more)
    assert rows(listeners) == [
        ("tcp/127.0.0.1:25", False, "master", 9, "root"),
        ("tcp/0.0.0.0:22", False, "sshd", 1, "root"),
        ("tcp/[::]:22", False, "", None, "root"),
        ("tcp/[::]:80", None, "httpd", 5, "apache"),
        ("udp/0.0.0.0:68", False, "dhclient", 7, "root"),  # a connected one takes nothing new
    ]


@pytest.mark.skipif(
    not (shutil.which("ss") and shutil.which("netstat")), reason="needs ss and netstat"
)
def test_ss_and_proc_of_this_kernel_agree(make_evidence, of_this_process):
    told = {name: read(make_evidence, text, name, **more) for name, text, more in of_this_process}
    keys = [
        {(each.protocol, each.address, each.port) for each in listeners}
        for listeners in told.values()
    ]
    assert keys[0] == keys[1] == keys[2]
    assert len(keys[0]) == 5
    for listeners in told.values():
        assert {each.pid for each in listeners} <= {os.getpid(), None}


@pytest.fixture
def of_this_process():
    """This process's sockets as ss, netstat and /proc tell them."""
    made = []
    for family, address, kind, only in (
        (socket.AF_INET, "127.0.0.1", socket.SOCK_STREAM, None),
        (socket.AF_INET6, "::1", socket.SOCK_STREAM, None),
        (socket.AF_INET6, "::", socket.SOCK_STREAM, 1),
        (socket.AF_INET, "127.0.0.1", socket.SOCK_DGRAM, None),
        (socket.AF_INET6, "::", socket.SOCK_DGRAM, 1),
    ):
        opened = socket.socket(family, kind)
        if only is not None:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only)
        opened.bind((address, 0))
        if kind == socket.SOCK_STREAM:
            opened.listen()
        made.append(opened)
    ports = [str(each.getsockname()[1]) for each in made]

    def lines(*words):
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        return done.stdout.splitlines(keepends=True)

    def ours(found, *marks):
        return "".join(line for line in found if any(mark in line for mark in marks))

    colons = [f":{port} " for port in ports]
    hexes = [f":{int(port):04X} " for port in ports]
    proc = "".join(
        f"{name} {words[1]} {words[2]} {words[3]} {words[7]} {words[9]}\n"
        for name in ("tcp", "tcp6", "udp", "udp6")
        for line in lines("cat", f"/proc/net/{name}")
        if any(mark in line for mark in hexes)
        for words in [line.split()]
    )
    yield [
        ("ss -lntupe", ours(lines("ss", "-lntupe"), *colons), {}),
        ("netstat -lntup", ours(lines("netstat", "-lntup"), *colons), {}),
        ("", Gap.NO_TOOL, {"net.proc-sockets": proc}),
    ]
    for opened in made:
        opened.close()


WORDS = [*TODAY.split(), *SEVEN.split(), *NETSTAT.split(), *PROC.split(), "\n", " "]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(WORDS), max_size=40), st.sampled_from(["ss", "netstat -l", ""]))
def test_garbage_is_survived(make_evidence, words, command):
    text = " ".join(words)
    with contextlib.suppress(EvidenceMissing):
        read(make_evidence, text or Gap.NO_TOOL, command, **{"net.proc-sockets": text})


@pytest.mark.parametrize(
    ("command", "line"),
    [
        ("ss -lntupe", "tcp   LISTEN 0      128    0.0.0.0;22 0.0.0.0:*"),
        ("ss -lntupe", "tcp   LISTEN 0      128    1.2.3:22   0.0.0.0:*"),
        ("netstat -lntup", "tcp        0      0 0.0.0.0       0.0.0.0:*  LISTEN"),
        ("ss -lntupe", None),
    ],
)
def test_a_socket_that_cannot_be_read_does_not_vanish(make_evidence, command, line):
    with pytest.raises(EvidenceMissing):
        read(make_evidence, f"heading\n{line}\n" if line else "", command)
