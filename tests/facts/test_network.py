"""Addresses, interfaces and routes: in the words of ip, and of ifconfig and /proc as collected."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from audit_agent.facts.network import read_network
from audit_agent.model import EvidenceMissing, Gap

ADDRESSES = """\
1: lo    inet 127.0.0.1/8 scope host lo\\       valid_lft forever preferred_lft forever
1: lo    inet6 ::1/128 scope host \\       valid_lft forever preferred_lft forever
2: eth0    inet 198.51.100.7/24 brd 198.51.100.255 scope global dynamic eth0\\       valid_lft 1sec
2: eth0    inet 10.1.2.3/8 scope global secondary eth0:1\\       valid_lft forever
2: eth0    inet6 2001:db8::7/64 scope global temporary dynamic \\       valid_lft forever
2: eth0    inet6 fe80::1/64 scope link \\       valid_lft forever
3: eth1@if9    inet 10.0.0.1/24 scope global eth1
4: ppp0    inet 100.64.0.2 peer 100.64.0.1/32 scope global ppp0
5: br0    inet6 fd00::1/64 scope global
"""
INTERFACES = """\
br0 flags=0x1003 operstate=up bridge lower=veth1 lower=eth2
eth0 flags=0x1003 operstate=up
eth1 flags=0x1003 operstate=up
eth2 flags=0x1103 operstate=up
eth3 flags=0x1002 operstate=down
lo flags=0x9 operstate=unknown
ppp0 flags=0x10d1 operstate=unknown
veth1 flags=0x1103 operstate=up
"""
ROUTES = (
    "default via 198.51.100.1 dev eth0 \ndefault via fe80::9 dev eth0 metric 1024 pref medium\n"
)


@pytest.fixture
def network(make_evidence):
    def read(**changed):
        sections = {
            "net.addresses": ADDRESSES,
            "net.interfaces": INTERFACES,
            "net.routes": ROUTES,
            "net.settings": "ipv4/ip_forward:1\nipv4/ip_local_port_range:32768\t60999\n",
        }
        named = {f"net.{name}": value for name, value in changed.items()}
        return read_network(make_evidence(sections | named))

    return read


def test_addresses(network):
    rows = [
        (each.interface, each.text, each.length, each.scope, each.public, each.loopback)
        for each in network().addresses
    ]
    assert rows == [
        ("lo", "127.0.0.1", 8, "host", False, True),
        ("lo", "::1", 128, "host", False, True),
        ("eth0", "198.51.100.7", 24, "global", True, False),
        ("eth0", "10.1.2.3", 8, "global", False, False),
        ("eth0", "2001:db8::7", 64, "global", True, False),
        ("eth0", "fe80::1", 64, "link", False, False),
        ("eth1", "10.0.0.1", 24, "global", False, False),
        ("ppp0", "100.64.0.2", 32, "global", False, False),
        ("br0", "fd00::1", 64, "global", False, False),
    ]


def test_packets_come_in_by_what_is_up_and_no_port_of_a_bridge(network):
    assert [each.name for each in network().outside()] == ["br0", "eth0", "eth1", "ppp0"]


@pytest.mark.parametrize(
    ("interface", "family", "routes", "faces"),
    [
        ("eth0", 4, ROUTES, True),
        ("eth1", 4, ROUTES, False),
        ("br0", 6, ROUTES, False),
        ("br0", 4, ROUTES, True),  # without an address it may still take what comes
        ("eth0", 4, "", True),  # a public address
        ("eth1", 4, "default dev eth1\n", True),
        (
            "eth1",
            4,
            "default\n\tnexthop via 10.0.0.9 dev eth0 weight 1\n\tnexthop dev eth1\n",
            True,
        ),
        ("eth1", 4, Gap.FAILED, True),
    ],
)
def test_which_interfaces_face_the_internet(network, interface, family, routes, faces):
    assert network(routes=routes).faces_internet(interface, family) is faces


def test_settings(network):
    assert network().settings["ipv4/ip_local_port_range"] == "32768\t60999"
    assert network(settings=Gap.FAILED).settings == {}


def test_without_addresses_nothing_is_known(network):
    with pytest.raises(EvidenceMissing):
        network(addresses=Gap.NO_TOOL)


NET_SH = Path(__file__).parents[2] / "audit_agent/collector/sections/net.sh"


def collector(function):
    done = subprocess.run(
        ["sh", "-c", f". {NET_SH}; {function}"], capture_output=True, text=True, check=True
    )
    return done.stdout


@pytest.mark.skipif(not (shutil.which("ip") and shutil.which("ifconfig")), reason="needs both")
def test_ifconfig_and_ip_of_this_kernel_agree(network):
    """busybox hosts have ifconfig only: the collector turns it into the words of ip."""
    told = {
        name: {(a.interface, a.text, a.length, a.scope) for a in network(addresses=text).addresses}
        for name, text in (
            ("ip", collector("ip -o addr")),
            ("ifconfig", collector("addresses_of_ifconfig")),
        )
    }
    assert told["ip"] == told["ifconfig"]
    assert told["ip"]


@pytest.mark.skipif(not shutil.which("ip"), reason="needs ip")
def test_proc_alone_knows_the_same_addresses(network):
    ip, proc = collector("ip -o addr"), collector("addresses_of_proc")
    one, other = ({a.text for a in network(addresses=text).addresses} for text in (ip, proc))
    assert one == other


def test_default_routes_of_proc_are_those_of_ip(network):
    one = network(routes=collector("default_routes_of_proc")).default
    other = network(routes=collector("default_routes")).default
    assert one == other


def test_this_kernels_interfaces(network):
    listed = collector("interfaces")
    names = {
        line.split(":")[0].strip() for line in Path("/proc/net/dev").read_text().split("\n")[2:]
    }
    found = network(
        interfaces=listed, addresses="1: lo    inet 127.0.0.1/8 scope host lo\n"
    ).interfaces
    assert {each.name for each in found} == names - {""}
    assert [each.name for each in found if each.loopback] == ["lo"]


def test_this_kernels_settings(network):
    settings = network(settings=collector("net_settings")).settings
    assert re.fullmatch(r"[01]", settings["ipv4/ip_forward"])
    assert os.path.exists("/proc/sys/net/ipv4/ip_local_port_range") == (  # noqa: PTH110
        "ipv4/ip_local_port_range" in settings
    )
