"""Fixtures that any test may use: networks, hosts with a real sshd, and a client's files."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from testbed.debian import root_of
from testbed.machine import Machine
from testbed.network import Namespace, Network
from testbed.processes import check

_PROGRAMS = ("ip", "nsenter", "openssl", "setpriv", "ssh", "ssh-keygen", "sshd", "sudo", "unshare")


class Client:
    """The files of somebody who logs in: `key`, `known_hosts` and the ssh configuration `config`.

    Nothing of this machine's own user comes into play.
    """

    def __init__(self, directory: Path, key: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.key = key
        self.known_hosts = directory / "known_hosts"
        self.known_hosts.touch()
        self.config = directory / "config"
        self.configure()

    def configure(self, before: str = "", identity: "Path | None" = None) -> None:
        """Write the configuration: the lines `before` come first and therefore win."""
        self.config.write_text(
            f"{before}\n"
            "Host *\n"
            f"  IdentityFile {identity or self.key}\n"
            "  IdentityAgent none\n"
            f"  UserKnownHostsFile {self.known_hosts}\n"
            f"  GlobalKnownHostsFile {self.directory / 'global_known_hosts'}\n"
        )

    def trust(self, *machines: Machine) -> None:
        """Record the machines' host keys."""
        with self.known_hosts.open("a") as file:
            file.writelines(machine.known_hosts() for machine in machines)


class Keys:
    """Keys made for this test run: `user` opens every login, `authority` signs certificates."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.user = self.make("user")
        self.authority = self.make("authority")

    def make(self, name: str, kind: str = "ed25519", *options: str, passphrase: str = "") -> Path:
        """A new key pair."""
        path = self.directory / name
        check(["ssh-keygen", "-q", "-t", kind, *options, "-N", passphrase, "-f", str(path)])
        return path


def need_root() -> None:
    """Skip, with the reason, where namespaces cannot be made or a program is missing."""
    if os.geteuid() != 0:
        pytest.skip("needs root: makes namespaces and mounts")
    missing = [name for name in _PROGRAMS if shutil.which(name) is None]
    if missing:
        pytest.skip(f"needs {', '.join(missing)} (see tests/system-packages.txt)")


@pytest.fixture(scope="session")
def network() -> Iterator[Network]:
    """A network of namespaces with this machine on it."""
    need_root()
    made = Network()
    yield made
    made.close()


@pytest.fixture
def namespace(network: Network) -> Namespace:
    """A fresh network namespace with an address that this machine can reach."""
    return network.namespace()


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    """Keys for this test run."""
    return Keys(tmp_path_factory.mktemp("keys"))


MakeMachine = Callable[..., Machine]


@pytest.fixture(scope="session")
def make_machine(
    network: Network, keys: Keys, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[MakeMachine]:
    """Makes hosts with users and a running sshd; see Machine for what can be chosen."""
    made: list[Machine] = []
    directory = tmp_path_factory.mktemp("machines")

    def make(**options: object) -> Machine:
        machine = Machine(network, directory / f"root{len(made)}", **options)  # type: ignore[arg-type]
        made.append(machine)
        machine.prepare(
            keys.user.with_suffix(".pub").read_text(),
            keys.authority.with_suffix(".pub").read_text(),
        )
        machine.serve()
        return machine

    yield make
    for machine in made:
        machine.close()


@pytest.fixture(scope="session")
def sshd_host(make_machine: MakeMachine) -> Machine:
    """A copy of this machine that answers SSH; its users are those of testbed.machine.USERS.

    It is shared: a test that changes it must change it back.
    """
    return make_machine()


@pytest.fixture(scope="session")
def debian_root() -> Callable[[str], Path]:
    """The root file system of a Debian release, by its name."""
    need_root()
    if shutil.which("debootstrap") is None:
        pytest.skip("needs debootstrap (see tests/system-packages.txt)")
    return root_of


@pytest.fixture
def client(tmp_path: Path, keys: Keys) -> Client:
    """A client who knows no host yet."""
    return Client(tmp_path / "client", keys.user)


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Callable[[Path], Path]]:
    """Adds a key to an ssh-agent and returns the agent's socket."""
    path = tmp_path / "agent"
    process = subprocess.Popen(
        ["ssh-agent", "-D", "-a", str(path)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:

        def add(key: Path) -> Path:
            environment = os.environ | {"SSH_AUTH_SOCK": str(path)}
            for _ in range(100):
                if path.exists():
                    break
                subprocess.run(["sleep", "0.02"], check=True)
            check(["ssh-add", "-q", str(key)], env=environment)
            return path

        yield add
    finally:
        process.kill()
        process.wait()
