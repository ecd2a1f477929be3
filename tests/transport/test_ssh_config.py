"""The ssh configuration, asked of `ssh -G` and read without an ssh."""

import getpass
import shutil
from pathlib import Path

import pytest

from audit_agent.transport import HostUnreachable
from audit_agent.transport.ssh_config import Target, parse_target, resolve

needs_ssh = pytest.mark.skipif(shutil.which("ssh") is None, reason="needs ssh")

CONFIG = """
Host web
    HostName 10.99.0.5
    User ops
    Port 2222
    IdentityFile /keys/%h-%r
    IdentityFile ~/.ssh/other
    IdentitiesOnly yes
    IdentityAgent none
    ProxyJump gate@bastion:2200,inner
    UserKnownHostsFile /known/first /known/second
    GlobalKnownHostsFile /known/global
    HostKeyAlias Web-Key
    HashKnownHosts yes
    PasswordAuthentication no
Host direct inner
    ProxyJump none
Match originalhost matched user root
    Port 2022
Host *.example !not.example
    User pattern
Match all
    UserKnownHostsFile /known/default
    IdentityFile /keys/default
"""


@pytest.fixture(params=[pytest.param("ssh -G", marks=needs_ssh), "no ssh"])
def reader(request, monkeypatch):
    """Both ways of reading."""
    if request.param == "no ssh":
        monkeypatch.setenv("PATH", "/nonexistent")
    return request.param


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "config"
    path.write_text(CONFIG)
    return path


@pytest.mark.usefixtures("reader")
def test_everything_a_host_can_have(config):
    found = resolve(parse_target("web"), config)
    assert (found.host, found.port, found.user) == ("10.99.0.5", 2222, "ops")
    assert found.identity_files[:2] == (
        Path("/keys/10.99.0.5-ops"),
        Path("~/.ssh/other").expanduser(),
    )
    assert found.identities_only
    assert not found.agent
    assert found.jumps == (Target("bastion", "gate", 2200), Target("inner"))
    assert found.user_known_hosts == (Path("/known/first"), Path("/known/second"))
    assert found.global_known_hosts == (Path("/known/global"),)
    assert found.key_alias == "web-key"
    assert found.hash_known_hosts
    assert found.methods == {"publickey", "keyboard-interactive"}


@pytest.mark.usefixtures("reader")
def test_what_the_user_types_wins(config):
    found = resolve(parse_target("me@web:22"), config)
    assert (found.host, found.port, found.user) == ("10.99.0.5", 22, "me")


@pytest.mark.usefixtures("reader")
def test_match_looks_at_what_the_user_typed(config):
    assert resolve(parse_target("root@matched"), config).port == 2022
    assert resolve(parse_target("ops@matched"), config).port == 22


@pytest.mark.usefixtures("reader")
def test_patterns_and_defaults(config):
    assert resolve(parse_target("a.example"), config).user == "pattern"
    found = resolve(parse_target("Not.Example"), config)
    assert (found.host, found.port, found.user) == ("not.example", 22, getpass.getuser())
    assert found.user_known_hosts == (Path("/known/default"),)
    assert found.identity_files == (Path("/keys/default"),)
    assert found.jumps == ()


@pytest.mark.usefixtures("reader")
def test_keys_named_on_the_command_line_come_first(config):
    found = resolve(parse_target("x"), config, (Path("/mine"),))
    assert found.identity_files == (Path("/mine"), Path("/keys/default"))


@pytest.mark.usefixtures("reader")
def test_no_jump(config):
    assert resolve(parse_target("direct"), config).jumps == ()


def test_a_jump_host_is_not_reached_through_itself(tmp_path, reader):
    path = tmp_path / "config"
    path.write_text("Host *\n    ProxyJump 10.99.0.1\n")
    assert resolve(parse_target("web"), path).jumps == (Target("10.99.0.1"),)
    if reader == "no ssh":  # ssh itself calls it a loop, and so the user cannot have that
        assert resolve(parse_target("10.99.0.1"), path).jumps == ()


@pytest.mark.usefixtures("reader")
def test_agent(tmp_path, monkeypatch):
    path = tmp_path / "config"
    path.write_text("Host named\n IdentityAgent /run/named\nHost env\n IdentityAgent $OTHER\n")
    monkeypatch.setenv("SSH_AUTH_SOCK", "/run/usual")
    monkeypatch.setenv("OTHER", "/run/other")
    assert resolve(parse_target("named"), path).agent == "/run/named"
    assert resolve(parse_target("env"), path).agent == "/run/other"
    assert resolve(parse_target("plain"), path).agent == "/run/usual"


@pytest.mark.usefixtures("reader")
def test_what_is_not_supported_is_said(tmp_path):
    path = tmp_path / "config"
    path.write_text("Host web\n    ProxyCommand nc %h %p\nHost off\n    ProxyCommand none\n")
    with pytest.raises(HostUnreachable, match="proxycommand") as caught:
        resolve(parse_target("web"), path)
    assert caught.value.reason == "ssh-config"
    assert "ProxyJump" in caught.value.advice
    assert resolve(parse_target("off"), path).host == "off"


@pytest.mark.usefixtures("reader")
def test_a_missing_file_is_said(tmp_path):
    with pytest.raises(HostUnreachable, match="cannot read the ssh configuration"):
        resolve(parse_target("web"), tmp_path / "missing")


@needs_ssh
def test_include(tmp_path):
    (tmp_path / "more").write_text("Host web\n    HostName 10.99.0.9\n")
    path = tmp_path / "config"
    path.write_text(f"Include {tmp_path}/mo*\n")
    assert resolve(parse_target("web"), path).host == "10.99.0.9"


@needs_ssh
def test_a_broken_file_is_quoted(tmp_path):
    path = tmp_path / "config"
    path.write_text("Host web\n    Port eighty\n")
    with pytest.raises(HostUnreachable, match="line 2: Bad") as caught:
        resolve(parse_target("web"), path)
    assert f"ssh -G -F {path} web" in caught.value.advice


@pytest.mark.parametrize(
    "line",
    ["Include {}/more", "Match tagged x", "Match localnetwork 10.0.0.0/8", "Match !version x"],
)
def test_without_ssh_what_would_be_misread_is_refused(tmp_path, monkeypatch, line):
    monkeypatch.setenv("PATH", "/nonexistent")
    (tmp_path / "more").write_text("Host web\n    User other\n")
    path = tmp_path / "config"
    path.write_text(f"Port 22\n{line.format(tmp_path)}\n    User wrong\n")
    with pytest.raises(HostUnreachable, match="cannot be read rightly") as caught:
        resolve(parse_target("web"), path)
    assert f"{path}:2" in str(caught.value)
    path.write_text(f"Include {tmp_path}/none-such*\nMatch host web\n    User right\n")
    assert resolve(parse_target("web"), path).user == "right"


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("web", Target("web")),
        ("ops@web", Target("web", "ops")),
        ("ops@web:2222", Target("web", "ops", 2222)),
        ("10.0.0.5:22", Target("10.0.0.5", "", 22)),
        ("fe80::1%eth0", Target("fe80::1%eth0")),
        ("[fe80::1]:2222", Target("fe80::1", "", 2222)),
        ("ops@[::1]", Target("::1", "ops")),
        ("corp\\ops@web", None),
        ("a@b@web", Target("web", "a@b")),
        ("ssh://ops@web:22", Target("web", "ops", 22)),
        ("", None),
        ("@web", None),
        ("web:", None),
        ("web:0", None),
        ("web:65536", None),
        ("-oProxyCommand=x", None),
        ("-l@web", None),
        ("we b", None),
        ("web\n", None),
        ("$(id)@web", None),
        ("web;id", None),
    ],
)
def test_targets(text, target):
    if target is None:
        with pytest.raises(ValueError, match="is not"):
            parse_target(text)
    else:
        assert parse_target(text) == target
        assert parse_target(str(target)) == target
