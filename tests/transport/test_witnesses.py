"""The second witnesses, each in a network namespace with something to see."""

import importlib.util
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import msgspec
import pytest

from audit_agent.model import Gap, Section
from audit_agent.transport import legacy_tables, witnesses

PROGRAM = (
    "import msgspec, sys; from audit_agent.transport.witnesses import observe;"
    "sys.stdout.buffer.write(msgspec.json.encode(observe()))"
)


@pytest.fixture
def observe(namespace):
    """{name: section} as seen from inside a namespace, after some commands there."""

    def run(*commands, **environment):
        for command in commands:
            namespace.run("sh", "-c", command)
        done = subprocess.run(
            namespace.command(sys.executable, "-c", PROGRAM),
            capture_output=True,
            check=True,
            env=os.environ | environment,
        )
        assert not done.stderr
        found = msgspec.json.decode(done.stdout, type=list[Section])
        return {section.name: section for section in found}

    return run


def test_this_machines_sockets():
    with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
        tcp.bind(("127.0.0.1", 0))
        tcp.listen()
        udp.bind(("127.0.0.1", 0))
        section = next(s for s in witnesses.observe() if s.name == "witness.psutil-sockets")
        name = Path("/proc/self/comm").read_text().strip()
        for kind, made in (("tcp", tcp), ("udp", udp)):
            line = f"{kind} 127.0.0.1 {made.getsockname()[1]} {os.getpid()} "
            assert [name] == [s[len(line) :] for s in section.lines if s.startswith(line)]
    assert section.command.startswith("the controller's library psutil ")
    assert (section.gap, section.exit_status) == (None, 0)


@pytest.mark.root
def test_connected_sockets_are_not_listeners(observe, namespace):
    """And a process that calls itself something odd makes no line of its own."""
    program = (
        "import ctypes, socket, time\n"
        "ctypes.CDLL(None).prctl(15, b'a b\\nudp x', 0, 0, 0)\n"
        "a = socket.socket(socket.AF_INET6); a.bind(('::', 8080)); a.listen()\n"
        "b = socket.create_connection(('127.0.0.1', 8080)); c = a.accept()\n"
        "d = socket.socket(type=socket.SOCK_DGRAM); d.connect(('127.0.0.1', 53))\n"
        "print(1, flush=True); time.sleep(60)"
    )
    process = namespace.start(sys.executable, "-c", program, stdout=subprocess.PIPE)
    process.stdout.readline()
    section = observe()["witness.psutil-sockets"]
    process.kill()
    process.communicate()
    assert [line.split(" ", 4)[:3] for line in section.lines] == [["tcp6", "::", "8080"]]
    assert section.lines[0].endswith(" a b?udp x")


needs_iptc = pytest.mark.skipif(
    importlib.util.find_spec("iptc") is None, reason="needs the extra [iptables]"
)
TABLES = ("/proc/net/ip_tables_names", "/proc/net/ip6_tables_names")


def existing(namespace):
    return {name: namespace.run("cat", name).split() for name in TABLES}


@pytest.mark.root
def test_no_legacy_table_and_none_after_looking(observe, namespace):
    section = observe("iptables-nft -A INPUT -j DROP")["witness.python-iptables"]
    assert section.gap is Gap.ABSENT
    assert existing(namespace) == {TABLES[0]: [], TABLES[1]: []}


@needs_iptc
@pytest.mark.root
def test_only_the_tables_that_exist_are_read(observe, namespace):
    section = observe(
        "iptables-legacy -A INPUT -p tcp --dport 22 -s 10.0.0.0/8 -j ACCEPT",
        "iptables-legacy -P INPUT DROP",
        "iptables-legacy -N OWN",
        "ip6tables-legacy -t mangle -A OUTPUT -j ACCEPT",
    )["witness.python-iptables"]
    assert section.gap is None, section.stderr
    assert section.command.startswith("the controller's library python-iptables")
    chains = [json.loads(line) for line in section.lines]
    named = {(c["family"], c["table"], c["chain"]): c for c in chains}
    assert {(family, table) for family, table, _ in named} == {
        ("ipv4", "filter"),
        ("ipv6", "mangle"),
    }
    entry = named["ipv4", "filter", "INPUT"]
    assert entry["policy"] == "DROP"
    [rule] = entry["rules"]
    assert (rule["src"], rule["tcp"]["dport"], rule["target"]) == ("10.0.0.0/8", "22", "ACCEPT")
    assert named["ipv4", "filter", "OWN"]["policy"] is None
    assert len(named["ipv6", "mangle", "OUTPUT"]["rules"]) == 1
    assert existing(namespace) == {TABLES[0]: ["filter"], TABLES[1]: ["mangle"]}


@pytest.mark.root
def test_the_library_starts_no_compiler_and_loads_no_module(observe, namespace, tmp_path):
    """Whatever programs it looks for: none of them may be one of these."""
    for name in ("gcc", "cc", "ld", "modprobe"):
        (tmp_path / name).write_text(f"#!/bin/sh\necho {name} >>{tmp_path}/started\n")
        (tmp_path / name).chmod(0o755)
    observe("iptables-legacy -A INPUT -j ACCEPT", PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert not (tmp_path / "started").exists()


@pytest.mark.root
@pytest.mark.skipif(not Path(TABLES[0]).exists(), reason="this kernel has no legacy iptables")
def test_without_root_the_kernel_does_not_say():
    if os.geteuid() != 0:
        pytest.skip("needs root, to become somebody else")
    witnesses.observe()  # whoever we become may not read the library's files
    os.setegid(65534)
    os.seteuid(65534)
    try:
        found = {section.name: section for section in witnesses.observe()}
    finally:
        os.seteuid(0)
        os.setegid(0)
    assert found["witness.python-iptables"].gap is Gap.DENIED
    assert found["witness.psutil-sockets"].gap is None


def test_the_library_is_told_that_there_are_no_modules(monkeypatch):
    """On a kernel that has some, it would load its own."""
    seen = []
    library = ModuleType("iptc")
    library.Table = lambda name: seen.append((name, os.path.exists("/proc/modules")))  # noqa: PTH110
    monkeypatch.setitem(sys.modules, "iptc", library)
    monkeypatch.setattr(legacy_tables, "_exists", lambda _: True)
    monkeypatch.setattr(os.path, "exists", lambda _: True)  # as such a kernel would say
    legacy_tables.main(["ipv4:filter"])
    assert seen == [("filter", False)]


def test_an_unreadable_list_is_not_an_empty_one(tmp_path, monkeypatch):
    monkeypatch.setattr(witnesses, "_NAMES", {"ipv4": tmp_path})  # a folder: cannot be read
    section = next(s for s in witnesses.observe() if s.name == "witness.python-iptables")
    assert section.gap is Gap.FAILED


def test_without_the_library(tmp_path, monkeypatch):
    (tmp_path / "names").write_text("filter\n")
    monkeypatch.setattr(witnesses, "_NAMES", {"ipv4": tmp_path / "names"})
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    section = next(s for s in witnesses.observe() if s.name == "witness.python-iptables")
    assert section.gap is Gap.NO_TOOL
