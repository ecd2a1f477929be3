"""Three releases of Debian read over SSH: as root, through sudo, and without privilege."""

import pytest
from testbed.debian import SUITES
from testbed.machine import PASSWORDS

from audit_agent.collect import collect
from audit_agent.model import Gap
from audit_agent.transport import Limits
from audit_agent.transport.privilege import Sudo
from audit_agent.transport.ssh import Ssh, SshOptions

pytestmark = [pytest.mark.root, pytest.mark.hosts]


@pytest.fixture(scope="module", params=SUITES)
def debian_host(request, make_machine, debian_root):
    machine = make_machine(lower=debian_root(request.param))
    machine.suite = request.param
    yield machine
    machine.close()


@pytest.fixture
def read(client, debian_host):
    client.trust(debian_host)

    def read(user, sudo=None):
        options = SshOptions(config_file=client.config)
        return collect(Ssh(f"{user}@{debian_host.address}", Limits(), options, sudo))

    return read


def gaps(found):
    return {name: section.gap for name, section in found.sections.items() if section.gap}


@pytest.mark.parametrize(
    ("user", "sudo", "uid", "via"),
    [
        ("root", None, 0, "login"),
        ("root", Sudo(), 0, "login"),
        ("audit", Sudo(), 0, "sudo"),
        ("auditpw", Sudo(lambda _: PASSWORDS["auditpw"]), 0, "sudo"),
        ("plain", None, None, "login"),
        ("noisy", None, None, "login"),
    ],
    ids=["root", "root-sudo", "sudo", "sudo-password", "plain", "noisy"],
)
def test_the_collector_is_whole(read, debian_host, user, sudo, uid, via):
    found = read(user, sudo)
    assert (found.complete, found.interrupted) == (True, "")
    assert found.identity.hostname == debian_host.name
    assert found.address == debian_host.address
    assert found.identity.addresses == (debian_host.address,)
    assert found.privilege.via == via
    assert found.privilege.root is (uid == 0)
    assert found.privilege.user == ("root" if uid == 0 else user)
    release = found.file("/etc/os-release").text
    assert f"VERSION_CODENAME={debian_host.suite}" in release
    found_gaps = gaps(found)
    assert Gap.LOST not in found_gaps.values()
    assert Gap.TRUNCATED not in found_gaps.values()
    assert Gap.TIMEOUT not in found_gaps.values()


def test_what_only_root_sees_is_denied_to_others_and_not_absent(read):
    as_root, as_plain = read("root"), read("plain")
    assert as_root.sections.keys() - as_plain.sections.keys() <= {
        name for name in as_root.sections if name.startswith(("file:", "dir:"))
    }
    assert Gap.DENIED not in gaps(as_root).values(), gaps(as_root)
    denied = {name for name, gap in gaps(as_plain).items() if gap is Gap.DENIED}
    assert "accounts.passwords" in denied or any("shadow" in name for name in denied), denied


def test_the_same_eyes_through_sudo(read):
    as_root, through_sudo = read("root"), read("audit", Sudo())
    assert as_root.sections.keys() == through_sudo.sections.keys()
    assert gaps(as_root) == gaps(through_sudo)
