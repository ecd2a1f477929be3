"""sshd_config(5), against sshd -T itself over made-up configurations and connections."""

import json
import os
import shutil
import subprocess

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audit_agent.facts.sshd import read_servers, read_sshd
from audit_agent.facts.sshd_config import Applies, Match, matches, read_sshd_config, split
from audit_agent.model import Gap, Quote

KEYWORDS = ("permitrootlogin", "passwordauthentication", "authenticationmethods", "usepam")
SETTINGS = st.sampled_from(
    [
        "PermitRootLogin no",
        "permitrootlogin = yes",
        "PermitRootLogin\tprohibit-password   ",
        'PermitRootLogin "forced-commands-only"',
        "PasswordAuthentication no",
        "  PasswordAuthentication=yes",
        "AuthenticationMethods publickey,password publickey,keyboard-interactive",
        "AuthenticationMethods publickey",
        "MaxAuthTries 3",
        "# PermitRootLogin yes",
        "",
    ]
)
MATCHES = st.sampled_from(
    [
        "Match User root",
        "match user bob,alice",
        "Match User *,!root",
        "Match User r?ot Address 10.0.0.0/8",
        "Match Address 10.0.0.0/8",
        "Match Address *,!10.0.0.0/8",
        "Match Group root",
        "Match LocalPort 22",
        "Match all",
    ]
)
LINES = st.lists(SETTINGS | SETTINGS | MATCHES, max_size=7)
CONNECTIONS = [
    f"user={user},host=h.example,addr={address},laddr=192.0.2.9,lport={port}"
    for user in ("root", "bob")
    for address, port in (("10.1.2.3", 22), ("198.51.100.7", 2222))
]

# sshd asks for this folder; the host may lack it, so it is made where only this process sees it.
_ENTER = "mount -t tmpfs tmpfs /run && mkdir /run/sshd && exec sh -s"


@pytest.fixture(scope="module")
def key(tmp_path_factory):
    if os.geteuid() != 0:
        pytest.skip("needs root: sshd -T in a mount namespace of its own")
    if shutil.which("sshd") is None:
        pytest.skip("needs sshd (make test installs it)")
    path = tmp_path_factory.mktemp("key") / "host_key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
    return path


def asked(key, config, connections):
    """What sshd -T says for each connection."""
    script = "".join(
        f"/usr/sbin/sshd -T -f {config} -h {key} -C {connection} || echo failed; echo @\n"
        for connection in connections
    )
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", _ENTER], input=script, text=True, capture_output=True,
        check=True,
    )  # fmt: skip
    return done.stdout.split("@\n")[:-1], done.stderr


def answers(text):
    found = dict(line.split(" ", 1) for line in text.splitlines() if " " in line)
    return same(found[keyword] for keyword in KEYWORDS)


def same(values):
    """One value has two names."""
    return tuple(value.replace("without-password", "prohibit-password") for value in values)


@pytest.mark.root
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(before=LINES, first=LINES, second=LINES, after=LINES, with_effective=st.booleans())
def test_sshd_is_among_what_we_say_can_be(
    key, tmp_path, make_evidence, before, first, second, after, with_effective
):
    folder = tmp_path / "d"
    folder.mkdir(exist_ok=True)
    files = {
        str(folder / "10-a.conf"): "\n".join(first),
        str(folder / "20-b.conf"): "\n".join([*second, ""]),
        str(tmp_path / "c"): "\n".join([*before, f"Include {folder}/*.conf", *after, ""]),
    }
    for path, text in files.items():
        with open(path, "w") as file:  # noqa: PTH123 - beside the paths that sshd is given
            file.write(text)
    config = str(tmp_path / "c")
    told, errors = asked(key, config, [*CONNECTIONS, CONNECTIONS[1]])
    assert "failed" not in "".join(told), errors
    sections = {f"file:{path}": text for path, text in files.items()}
    sections |= {
        "file:/etc/ssh/sshd_config": files[config],
        f"dir:{folder}": "total 0",
        "sshd.programs": "/usr/sbin/sshd\n",
        "sshd.processes": "7\t0\t/usr/sbin/sshd\tsshd: /usr/sbin/sshd -D [listener] 0\n",
        "sshd.version": "OpenSSH_9.2p1\n",
        "sshd.effective": told[-1] if with_effective else Gap.FAILED,
    }
    evidence = make_evidence(sections)
    server = read_servers(evidence, read_sshd(evidence), "debian")[0]
    for connection, text in zip(CONNECTIONS, told, strict=False):
        user = connection.split(",")[0].removeprefix("user=")
        possible = {
            same(scenario.values[keyword].text for keyword in KEYWORDS[:3])
            for scenario in server.scenarios(user, *KEYWORDS[:3])
        }
        truth = answers(text)[:3]
        assert truth in possible, json.dumps(files, indent=1)
        if not any("match" in text.lower() for text in files.values()):
            assert possible == {truth}


@pytest.mark.root
def test_a_directive_of_the_parser_is_one_of_sshd(key, tmp_path):
    """The notation: quotes, comments, "=", case."""
    lines = ['"PermitRootLogin" no', "PasswordAuthentication = no # why", 'Banner "/etc/is sue"']
    (tmp_path / "c").write_text("\n".join(lines) + "\n")
    (told,), errors = asked(key, tmp_path / "c", CONNECTIONS[:1])
    assert "failed" not in told, errors
    for words in map(split, lines):
        assert f"{words[0].lower()} {' '.join(words[1:])}\n" in told


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", []),
        ("   # x", []),
        ("Match User a Address 10.0.0.0/8", ["Match", "User", "a", "Address", "10.0.0.0/8"]),
        ("Subsystem sftp 'internal sftp' -l", ["Subsystem", "sftp", "internal sftp", "-l"]),
        ("AllowUsers a#b #c", ["AllowUsers", "a#b"]),
        ("!!", ["!!"]),
    ],
)
def test_split(line, words):
    assert split(line) == words


@given(st.text(max_size=60))
def test_split_never_raises(line):
    assert isinstance(split(line), list)


@pytest.mark.parametrize(
    ("criteria", "root", "anybody", "limits", "spares"),
    [
        ((("user", "root"),), "always", "perhaps", False, False),
        ((("user", "bob"),), "never", "perhaps", False, False),
        ((("user", "*,!root"),), "never", "perhaps", False, False),
        ((("address", "10.0.0.0/8"),), "perhaps", "perhaps", True, False),
        ((("address", "*,!10.0.0.0/8"),), "perhaps", "perhaps", False, True),
        ((("address", "0.0.0.0/0"),), "perhaps", "perhaps", False, False),
        ((("all", ""),), "always", "always", False, False),
        ((("invalid-user", ""),), "never", "never", False, False),
        ((("new-thing", "x"),), "perhaps", "perhaps", False, False),
    ],
)
def test_match(criteria, root, anybody, limits, spares):
    match = Match(criteria, "Match ...", Quote("file:x", 1, 1))
    assert match.applies_to("root") is Applies(root)
    assert match.applies_to(None) is Applies(anybody)
    assert match.limits_source is limits
    assert match.spares_source is spares


def test_pattern_lists():
    assert matches("root", "r*t,x")
    assert not matches("root", "*,!r?ot")
    assert not matches("root", "roo")


def test_an_include_that_nobody_collected_is_named(make_evidence):
    text = "Include /etc/ssh/sshd_config.d/*.conf\nInclude /srv/more\nInclude other.d/*\n"
    evidence = make_evidence(
        {
            "file:/etc/ssh/sshd_config": text,
            "dir:/etc/ssh/sshd_config.d": Gap.ABSENT,
            "file:/etc/ssh/other.d/x": Gap.DENIED,
        }
    )
    config = read_sshd_config(evidence, "/etc/ssh/sshd_config")
    assert [quote.first for quote in config.unseen] == [2, 3]


def test_includes_that_include_each_other_end(make_evidence):
    evidence = make_evidence({"file:/etc/ssh/sshd_config": "Include sshd_config\nPort 22\n"})
    config = read_sshd_config(evidence, "/etc/ssh/sshd_config")
    assert config.unseen
    assert config.first("port")
