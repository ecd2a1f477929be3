"""A network of namespaces: a switch in one of them, hosts on it, this machine at its .1 address.

Nothing of it has a name that could be left behind: the kernel takes it down with the last process
in it, and those are killed when the test run ends.
"""

import fcntl
import itertools
import os
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from testbed.processes import check, start, wait_until

if TYPE_CHECKING:
    import subprocess

_OWN = Path("/proc/self/ns/net").readlink()


class Namespace:
    """A network namespace with the address `address`; `pid` is a process inside it."""

    def __init__(self, network: "Network", address: str, pid: int) -> None:
        self.network = network
        self.address = address
        self.pid = pid

    def command(self, *words: str) -> list[str]:
        """The words of a program's command line, run inside."""
        return ["nsenter", "-t", str(self.pid), "-n", "--", *words]

    def run(self, *words: str) -> str:
        """Run a program inside that must succeed; its standard output."""
        return check(self.command(*words))

    def start(self, *words: str, **options: object) -> "subprocess.Popen[bytes]":
        """Start a program inside; it ends with the test run at the latest."""
        return start(self.command(*words), **options)


class Network:
    """10.99.N.0/24, with an N that no other test run on this machine uses."""

    def __init__(self) -> None:
        self._lock, self._number = _claim()
        self._hosts = itertools.count(2)
        self._links = itertools.count(1)
        self._holders: list[subprocess.Popen[bytes]] = []
        self._switch = self._hold()
        outside = f"aat{os.getpid()}"
        self._inside("link", "add", "bridge", "type", "bridge")
        self._inside("link", "set", "bridge", "up")
        check(["ip", "link", "add", outside, "type", "veth", "peer", "name", "uplink",
               "netns", str(self._switch)])  # fmt: skip
        self._inside("link", "set", "uplink", "master", "bridge", "up")
        self.gateway = f"10.99.{self._number}.1"
        check(["ip", "address", "add", f"{self.gateway}/24", "dev", outside])
        check(["ip", "link", "set", outside, "up"])

    def close(self) -> None:
        for holder in self._holders:
            holder.kill()
            holder.wait()
        self._lock.close()

    def address(self) -> str:
        """An address that nobody has yet."""
        return f"10.99.{self._number}.{next(self._hosts)}"

    def namespace(self) -> Namespace:
        """A new namespace on the network."""
        return self.attach(self._hold())

    def attach(self, pid: int) -> Namespace:
        """Put the namespace of a process on the network."""
        address, port = self.address(), f"port{next(self._links)}"
        self._inside("link", "add", port, "type", "veth", "peer", "name", "eth0",
                     "netns", str(pid))  # fmt: skip
        self._inside("link", "set", port, "master", "bridge", "up")
        return _configure(Namespace(self, address, pid), "eth0", f"{address}/24")

    def attach_behind(self, gate: Namespace, pid: int) -> Namespace:
        """Connect the namespace of a process to one other namespace only."""
        address, link = self.address(), f"inner{next(self._links)}"
        gate.run("ip", "link", "add", link, "type", "veth", "peer", "name", "eth0",
                 "netns", str(pid))  # fmt: skip
        gate.run("ip", "link", "set", link, "up")
        gate.run("ip", "route", "add", address, "dev", link, "src", gate.address)
        inner = _configure(Namespace(self, address, pid), "eth0", f"{address}/32")
        inner.run("ip", "route", "add", gate.address, "dev", "eth0")
        return inner

    def _hold(self) -> int:
        holder = start(["unshare", "--net", "sleep", "infinity"])
        self._holders.append(holder)
        wait_until(lambda: Path(f"/proc/{holder.pid}/ns/net").readlink() != _OWN, "a namespace")
        return holder.pid

    def _inside(self, *words: str) -> None:
        check(["nsenter", "-t", str(self._switch), "-n", "ip", *words])


def _configure(made: Namespace, link: str, address: str) -> Namespace:
    made.run("ip", "address", "add", address, "dev", link)
    made.run("ip", "link", "set", link, "up")
    made.run("ip", "link", "set", "lo", "up")
    return made


def _claim() -> tuple[TextIO, int]:
    """A number for a network, held by a lock for as long as the file is open."""
    for number in range(1, 255):
        file = Path(f"/run/lock/audit-agent-test-{number}").open("w")  # noqa: SIM115 - kept open
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
        else:
            return file, number
    raise AssertionError("all 254 test networks are in use")
