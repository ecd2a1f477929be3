"""The kernel as oracle: a host and a client in network namespaces of their own.

The host (10.99.1.1/24, 2001:db8:1::1/64, and a second address of each) listens on every port of
`PORTS`; the client connects from every address of `SOURCES`. What the kernel delivers is compared
with what the rules, read back as the collector reads them, are said to do.
"""

import concurrent.futures
import contextlib
import ctypes
import datetime as dt
import os
import selectors
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import pytest
from hypothesis import assume

from audit_agent.facts.exposure import PacketFilter
from audit_agent.facts.firewall import read_loaded
from audit_agent.facts.firewall.ranges import contains, network
from audit_agent.facts.network import read_network
from audit_agent.facts.sockets import Listener
from audit_agent.model import Evidence, Gap, Identity, Privilege, Quote, Section

T = TypeVar("T")

HOST = {4: ("10.99.1.1", "10.99.1.2"), 6: ("2001:db8:1::1", "2001:db8:1::2")}
SOURCES = {
    4: ("10.99.1.77", "172.31.5.9", "192.168.7.7", "198.51.100.9", "203.0.113.5"),
    6: ("2001:db8:1::77", "2001:db8:5::9", "fd00:7::7"),
}
PORTS = (22, 53, 80, 443, 3306, 8080)
CONTAINER = "172.17.0.2"

_COMMANDS = {
    "net.addresses": ("ip", "-o", "addr"),
    "firewall.iptables-legacy": ("iptables-legacy-save", "-c"),
    "firewall.ip6tables-legacy": ("ip6tables-legacy-save", "-c"),
    "firewall.iptables-nft": ("iptables-nft-save", "-c"),
    "firewall.ip6tables-nft": ("ip6tables-nft-save", "-c"),
    "firewall.nft-json": ("nft", "-j", "list", "ruleset"),
    "firewall.nft": ("nft", "-a", "list", "ruleset"),
    "firewall.ipset": ("ipset", "save"),
}


class Namespace:
    """A network namespace with a thread that lives in it."""

    def __init__(self, name: str) -> None:
        self.name = name
        _run("ip", "netns", "add", name)
        self._thread = concurrent.futures.ThreadPoolExecutor(1)
        self.within(_enter, name)

    def within(self, call: Callable[..., T], *arguments: object) -> T:
        """The call's result, made by the thread in the namespace."""
        return self._thread.submit(call, *arguments).result(timeout=60)

    def run(self, *words: str, text: str | None = None) -> str:
        """A program's standard output, run in the namespace."""
        return _run("ip", "netns", "exec", self.name, *words, text=text)

    def close(self) -> None:
        self._thread.shutdown()
        _run("ip", "netns", "del", self.name)


def _run(*words: str, text: str | None = None) -> str:
    done = subprocess.run(words, input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}: {done.stderr.strip()}\n{text or ''}")
    return done.stdout


def _enter(name: str) -> None:
    handle = os.open(f"/run/netns/{name}", os.O_RDONLY)
    try:
        if ctypes.CDLL(None, use_errno=True).setns(handle, 0x40000000):
            raise OSError(ctypes.get_errno(), "setns")
    finally:
        os.close(handle)


class Arena:
    """Host, client and a container behind the host, with listeners on every port."""

    def __init__(self) -> None:
        unique = f"aa{os.getpid()}"
        self._stack = contextlib.ExitStack()
        self.host = self._namespace(f"{unique}h")
        self.client = self._namespace(f"{unique}c")
        self.container = self._namespace(f"{unique}d")
        self._wire()
        self._sockets = [
            *self.host.within(_listen, PORTS),
            *self.container.within(_listen, (80,)),
        ]

    def _namespace(self, name: str) -> Namespace:
        made = Namespace(name)
        self._stack.callback(made.close)
        return made

    def _wire(self) -> None:
        for peer, inner, outer in (
            (self.client, "eth0", "eth0"),
            (self.container, "docker0", "eth0"),
        ):
            _run(
                "ip", "link", "add", inner, "netns", self.host.name, "type", "veth",
                "peer", "name", outer, "netns", peer.name,
            )  # fmt: skip
        for space in (self.host, self.client, self.container):
            space.run("sysctl", "-qw", "net.ipv6.conf.all.accept_dad=0")
            space.run("sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0")
            space.run("ip", "link", "set", "lo", "up")
            space.run("ip", "link", "set", "eth0", "up")
        self.host.run("ip", "link", "set", "docker0", "up")
        self.host.run("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv4.conf.all.rp_filter=0")
        # what an earlier probe left in the connection table must not meet a later one
        timeouts = "/proc/sys/net/netfilter/nf_conntrack_*_timeout*"
        self.host.run("sh", "-c", f"for f in {timeouts}; do echo 1 >$f; done")
        for family, length in ((4, 24), (6, 64)):
            for address in HOST[family]:
                self.host.run(
                    "ip", "addr", "add", f"{address}/{length}", "dev", "eth0", *_nodad(family)
                )
            for address in SOURCES[family]:
                full = 32 if family == 4 else 128
                own = length if address == SOURCES[family][0] else full
                self.client.run(
                    "ip", "addr", "add", f"{address}/{own}", "dev", "eth0", *_nodad(family)
                )
                if own == full:
                    self.host.run(
                        "ip", "route", "add", f"{address}/{full}", "via", SOURCES[family][0]
                    )
            self.host.run("ip", f"-{family}", "route", "add", "default", "via", SOURCES[family][0])
        self.client.run("ip", "route", "add", "172.17.0.0/16", "via", HOST[4][0])
        self.host.run("ip", "addr", "add", "172.17.0.1/16", "dev", "docker0")
        self.container.run("ip", "addr", "add", f"{CONTAINER}/16", "dev", "eth0")
        self.container.run("ip", "route", "add", "default", "via", "172.17.0.1")

    def close(self) -> None:
        for opened in self._sockets:
            opened.close()
        self._stack.close()

    def load(self, script: str) -> None:
        """Empty both engines, then run a shell script on the host."""
        clean = [
            "nft flush ruleset",
            # nft lets go of its rules a little later than it says
            "ipset flush; for _ in 1 2 3 4 5 6 7 8; do ipset destroy && break; sleep 0.05; done",
        ]
        for command in ("iptables-legacy", "ip6tables-legacy"):
            names = f"/proc/net/{'ip6' if command.startswith('ip6') else 'ip'}_tables_names"
            clean.insert(
                0,
                f"for t in $(cat {names}); do {command} -w -t $t -F; {command} -w -t $t -X; "
                f"for c in PREROUTING INPUT FORWARD OUTPUT POSTROUTING; do "
                f"{command} -w -t $t -P $c ACCEPT 2>/dev/null || true; done; done",
            )
        self.host.run("sh", "-ec", "\n".join([*clean, script]))

    def evidence(self, *, without: Sequence[str] = ()) -> Evidence:
        """What the collector would have read of the host's rules and addresses."""
        sections = {
            name: self._section(name, words)
            for name, words in _COMMANDS.items()
            if name not in without
        }
        for name in ("ip_tables_names", "ip6_tables_names"):
            text = self.host.run("cat", f"/proc/net/{name}")
            sections[f"file:/proc/net/{name}"] = Section(
                f"file:/proc/net/{name}", "", stdout=text.encode()
            )
        for name, text in {
            "net.interfaces": "lo flags=0x9\neth0 flags=0x1003\ndocker0 flags=0x1003\n",
            "net.routes": self.host.run("ip", "-4", "route", "show", "default")
            + self.host.run("ip", "-6", "route", "show", "default"),
            "net.settings": "ipv4/ip_forward:1\nipv6/conf/all/forwarding:0\n"
            "ipv4/conf/all/route_localnet:0\nipv4/conf/eth0/route_localnet:0\n",
        }.items():
            sections[name] = Section(name, "", stdout=text.encode())
        return Evidence(
            identity=Identity("h"),
            privilege=Privilege("root", 0),
            target="h",
            address="h",
            collected_at=dt.datetime.now(dt.UTC),
            clock="controller",
            collector="test",
            complete=True,
            interrupted="",
            sections=sections,
        )

    def _section(self, name: str, words: Sequence[str]) -> Section:
        try:
            return Section(name, " ".join(words), 0, stdout=self.host.run(*words).encode())
        except RuntimeError as error:
            return Section(name, " ".join(words), 1, gap=Gap.FAILED, stderr=str(error).encode())

    def filter(self, **options: Sequence[str]) -> PacketFilter:
        """The model of what is loaded."""
        evidence = self.evidence(**options)
        return PacketFilter(read_loaded(evidence), read_network(evidence))

    def connects(
        self, protocol: str, probes: Sequence[tuple[str, str, int]], wait: float = 0.12
    ) -> list[bool]:
        """Which of the (source, destination, port) probes get through."""
        if protocol == "udp":
            return self.client.within(_datagrams, probes, wait, self._sockets)
        found = self.client.within(_connections, probes, wait)
        self._take_calls()
        return found

    def _take_calls(self) -> None:
        """A listener whose queue is full takes no more connections."""
        for each in self._sockets:
            if each.type == socket.SOCK_STREAM:
                each.settimeout(0)
                with contextlib.suppress(BlockingIOError):
                    while True:
                        each.accept()[0].close()


def _nodad(family: int) -> tuple[str, ...]:
    return ("nodad",) if family == 6 else ()


def _listen(ports: Sequence[int]) -> list[socket.socket]:
    opened: list[socket.socket] = []
    for port in ports:
        for family, address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):  # noqa: S104
            listening = socket.socket(family, socket.SOCK_STREAM)
            echo = socket.socket(family, socket.SOCK_DGRAM)
            for made in (listening, echo):
                made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                made.bind((address, port))
            listening.listen(256)
            opened += [listening, echo]
    return opened


def _connections(probes: Sequence[tuple[str, str, int]], wait: float) -> list[bool]:
    found = [False] * len(probes)
    with selectors.DefaultSelector() as selector, contextlib.ExitStack() as stack:
        for index, (source, destination, port) in enumerate(probes):
            made = stack.enter_context(
                socket.socket(socket.AF_INET6 if ":" in source else socket.AF_INET)
            )
            made.settimeout(0)
            made.bind((source, 0))
            if made.connect_ex((destination, port)) == 0:
                found[index] = True
            else:
                selector.register(made, selectors.EVENT_WRITE, index)
        deadline = time.monotonic() + wait
        while selector.get_map() and (left := deadline - time.monotonic()) > 0:
            for key, _ in selector.select(left):
                made = key.fileobj
                found[key.data] = made.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
                selector.unregister(made)
    return found


def _datagrams(
    probes: Sequence[tuple[str, str, int]], wait: float, receivers: Sequence[socket.socket]
) -> list[bool]:
    waiting = [each for each in receivers if each.type == socket.SOCK_DGRAM]
    for each in waiting:
        each.settimeout(0)
        with contextlib.suppress(BlockingIOError):
            while each.recv(64):
                pass
    mark = os.urandom(8)
    for index, (source, destination, port) in enumerate(probes):
        with socket.socket(
            socket.AF_INET6 if ":" in source else socket.AF_INET, socket.SOCK_DGRAM
        ) as made:
            made.bind((source, 0))
            with contextlib.suppress(OSError):
                made.sendto(mark + str(index).encode(), (destination, port))
    time.sleep(wait)
    found = [False] * len(probes)
    for each in waiting:
        with contextlib.suppress(BlockingIOError):
            while data := each.recv(64):
                if data.startswith(mark):
                    found[int(data[8:])] = True
    return found


@pytest.fixture(scope="session")
def arena() -> Iterator[Arena]:
    if os.geteuid() != 0:
        pytest.skip("needs root: makes network namespaces")
    for program in ("ip", "nft", "iptables-legacy", "iptables-nft", "ipset"):
        if shutil.which(program) is None:
            pytest.skip(f"needs {program}")
    made = Arena()
    yield made
    made.close()


def listener(protocol: str, address: str, port: int) -> Listener:
    return Listener(
        protocol=protocol,
        address=address,
        port=port,
        interface="",
        dual=False,
        process="test",
        pid=1,
        user="root",
        quote=Quote("net.sockets"),
    )


def answer(model: PacketFilter, protocol: str, source: str, destination: str, port: int) -> str:
    """What the model says of one probe: "open", "closed", "undecided: ..." or "open: ..."."""
    family, number, _ = network(source)
    [exposure] = [
        each
        for each in model.exposures(listener(protocol, destination, port))
        if each.interface == "eth0" and each.family == family
    ]
    if contains(exposure.by_source_port, number):
        return "open: by its source port"
    if contains(exposure.accept, number):
        return "open"
    if contains(exposure.drop, number):
        return "closed"
    constructs = {each.construct for each in exposure.because() if each.construct}
    return f"undecided: {', '.join(sorted(constructs))}"


@pytest.fixture(scope="session")
def ask() -> Callable[..., str]:
    """What the model says of one probe; see `answer`."""
    return answer


@pytest.fixture
def compare(arena: Arena) -> Callable[..., dict[str, int]]:
    """Loads rules, probes, and fails where the model is wrong; returns how often it said what."""

    def run(
        script: str,
        *,
        protocol: str = "tcp",
        ports: Sequence[int] = PORTS,
        families: Sequence[int] = (4, 6),
        second: bool = False,
        decided: bool = False,
        generated: bool = False,
    ) -> dict[str, int]:
        try:
            arena.load(script)
        except RuntimeError:
            assume(not generated)  # not every ruleset that can be written is one
            raise
        model = arena.filter()
        assert not model.loaded.problems
        probes = [
            (source, destination, port)
            for family in families
            for source in SOURCES[family]
            for destination in HOST[family][: 2 if second else 1]
            for port in ports
        ]
        said = [answer(model, protocol, *probe) for probe in probes]
        wrong = _disagreements(arena, protocol, probes, said)
        assert not wrong, "\n".join([script, *wrong])
        undecided = {word for word in said if word.startswith("undecided")}
        assert not (decided and undecided), "\n".join([script, *undecided])
        counts = {"open": 0, "closed": 0, "undecided": 0}
        for word in said:
            counts[word.partition(":")[0]] += 1
        return counts

    return run


def _disagreements(
    arena: Arena, protocol: str, probes: Sequence[tuple[str, str, int]], said: Sequence[str]
) -> list[str]:
    """Asks again, and longer, where the kernel seems to disagree: a busy machine answers late."""
    wrong = list(range(len(probes)))
    for wait in (0.12, 2.5):
        truth = arena.connects(protocol, [probes[index] for index in wrong], wait)
        wrong = [
            index
            for index, through in zip(wrong, truth, strict=True)
            if said[index] in {"open", "closed"} and (said[index] == "open") != through
        ]
        if not wrong:
            break
    return [f"{protocol} {probes[index]}: we say {said[index]}, the kernel not" for index in wrong]
