"""The collector under every shell it may meet, and what it promises: bounded, framed, read-only."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from audit_agent import collector, evidence
from audit_agent.model import Gap

NONCE = "0123456789abcdef" * 2
PRELUDE = Path(collector.__file__).with_name("prelude.sh").read_text()
SHELLS = {
    "dash": ["dash"],
    "bash": ["bash"],
    "bash-posix": ["bash", "--posix"],
    "busybox": ["busybox", "sh"],
    "mksh": ["mksh"],
    "ksh93": ["ksh93"],
}


@pytest.fixture(params=SHELLS)
def shell(request):
    words = SHELLS[request.param]
    if shutil.which(words[0]) is None:
        pytest.skip(f"{words[0]} is not installed (make test installs it as root on Debian)")
    return words


def run(shell, script, **options):
    done = subprocess.run(
        [*shell, "-s"], input=script, capture_output=True, timeout=120, check=False, **options
    )
    return evidence.parse_stream(done.stdout, None)


def framed(commands):
    """A collector with these commands in place of the fragments."""
    body = (
        f'N={NONCE}\nVERSION=test\n{PRELUDE}\nall() {{\nexec 3>&1\n{commands}\necho "@$N done"\n}}'
    )
    return f'{body}\necho "AUDIT-AGENT-STREAM/1 $N test plain"\nall </dev/null\n'.encode()


def test_every_shell_reads_the_same(shell):
    reference = run(["dash"], collector.script(NONCE))
    found = run(shell, collector.script(NONCE))
    assert found.complete
    assert found.sections.keys() == reference.sections.keys()
    for name, section in reference.sections.items():
        assert (name, found.sections[name].gap) == (name, section.gap)
        assert (name, found.sections[name].exit_status) == (name, section.exit_status)
    for name in ("host.name", "file:/etc/os-release", "file:/etc/passwd", "accounts.shadow"):
        assert found.sections[name].stdout == reference.sections[name].stdout


def test_a_frame_survives_whatever_a_command_does(shell, tmp_path):
    (tmp_path / "nul").write_bytes(b"\0\xff\n\n@x\\n\n\n")
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "back\\slash").write_bytes(b"x")
    found = run(
        shell,
        framed(
            f"""
both() {{ echo out; echo err >&2; return 3; }}
noisy() {{ i=0; while [ $i -lt 2000 ]; do echo "error $i" >&2; i=$((i + 1)); done; echo end; }}
reader() {{ cat; echo after; }}
run t.binary 100 5 cat {tmp_path}/nul
run t.long 10 5 echo 123456789012345
run t.absent-tool 10 5 no-such-tool-here
run t.slow 10 1 sleep 30
frame t.both 100 both both
frame t.noisy 100 noisy noisy
frame t.stdin 100 reader reader
file {tmp_path}/nul
file {tmp_path}/empty
file {tmp_path}/missing/deep
file '{tmp_path}/back\\slash'
directory {tmp_path}
directory {tmp_path}/missing
"""
        ),
    )
    sections = found.sections
    assert found.complete
    assert sections["t.binary"].stdout == b"\0\xff\n\n@x\\n\n\n"
    assert (sections["t.long"].stdout, sections["t.long"].gap) == (b"1234567890", Gap.TRUNCATED)
    assert sections["t.absent-tool"].gap is Gap.NO_TOOL
    assert sections["t.slow"].gap is Gap.TIMEOUT
    assert sections["t.slow"].duration < 10
    assert (sections["t.both"].stdout, sections["t.both"].stderr) == (b"out\n", b"err")
    assert (sections["t.both"].exit_status, sections["t.both"].gap) == (3, Gap.FAILED)
    assert sections["t.noisy"].stdout == b"end\n"
    assert len(sections["t.noisy"].stderr) <= 4000
    assert sections["t.stdin"].stdout == b"after\n"
    assert sections[f"file:{tmp_path}/nul"].stdout == b"\0\xff\n\n@x\\n\n\n"
    assert sections[f"file:{tmp_path}/empty"].gap is None
    assert sections[f"file:{tmp_path}/missing/deep"].gap is Gap.ABSENT
    assert sections[f"dir:{tmp_path}/missing"].gap is Gap.ABSENT
    assert sections[f"dir:{tmp_path}"].gap is None
    assert not [name for name in sections if "\\" in name]


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="drops from root to another user")
def test_absent_is_only_said_of_what_could_be_seen(tmp_path):
    (tmp_path / "closed").mkdir(mode=0o700)
    (tmp_path / "closed" / "file").write_text("x")
    (tmp_path / "secret").write_text("x")
    (tmp_path / "secret").chmod(0o600)
    for parent in (tmp_path, *tmp_path.parents):
        if parent.stat().st_uid == 0 and not parent.stat().st_mode & 0o001:
            parent.chmod(0o755)
    script = framed(
        "\n".join(
            f"file {tmp_path}/{name}" for name in ("closed/file", "closed/other", "secret", "gone")
        )
        + f"\ndirectory {tmp_path}/closed\n"
    )
    found = run(["dash"], script, user=65534, group=65534, cwd="/")
    gaps = {name.rpartition("/")[2]: section.gap for name, section in found.sections.items()}
    assert gaps == {
        "file": Gap.DENIED,
        "other": Gap.DENIED,
        "secret": Gap.DENIED,
        "gone": Gap.ABSENT,
        "closed": Gap.DENIED,
    }


def test_a_script_that_was_cut_on_the_way_does_nothing():
    script = collector.script(NONCE)
    for length in range(1000, len(script) - 20, len(script) // 25):
        done = subprocess.run(
            ["dash", "-s"], input=script[:length], capture_output=True, timeout=60, check=False
        )
        assert done.stdout == b""


def test_a_script_for_carrying_makes_its_own_nonce():
    nonces = set()
    for _ in range(2):
        done = subprocess.run(
            ["sh", "-s"], input=collector.script(), capture_output=True, timeout=60, check=True
        )
        nonces.add(evidence.parse_stream(done.stdout).nonce)
    assert len(nonces) == 2


@pytest.mark.parametrize(
    "line",
    [
        "password = hunter2",
        "    bind_password: hunter2",
        'proxy_set_header Authorization "Basic hunter2";',
        "user admin insecure-password hunter2",
        "requirepass hunter2",
        "auth_token=hunter2",
        "client_secret: 'hunter2'",
        "server = https://me:hunter2@example.net/x",
        "PASSWD hunter2",
    ],
)
def test_secrets_in_configuration_are_cut_at_the_source(shell, tmp_path, line):
    path = tmp_path / "x.conf"
    path.write_text(f"before\n{line}\nafter\n")
    section = run(shell, framed(f"redacted {path}")).sections[f"file:{path}"]
    assert b"hunter2" not in section.stdout
    assert section.lines[0] == "before"
    assert section.lines[2] == "after"


def test_no_password_hash_leaves_the_host(shell, tmp_path):
    """The awk that reduces shadow(5), on states as shadow(5) and crypt(5) name them."""
    shadow = tmp_path / "shadow"
    shadow.write_text(
        "root:$y$j9T$salt$hash:20000:0:99999:7:::\nlocked:!$6$salt$hash:1::::::\n"
        "none:!:1::::::\nstar:*:1::::::\nempty::1::::::\nold:ab0123456789.:1::::::\n"
        "lockedempty:!!:1::::::\nsm3:$sm3$salt$hash:1::::::\n"
    )
    passwd = tmp_path / "passwd"
    passwd.write_text("a:x:0:0::/:/bin/sh\nb:$1$salt$hash:1:1::/:/bin/sh\nc::2:2::/:/bin/sh\n")
    fragment = Path(collector.__file__).with_name("sections") / "accounts.sh"
    text = fragment.read_text().replace("/etc/shadow", str(shadow))
    text = text.replace("/etc/passwd", str(passwd))
    found = run(shell, framed(f"{text}\ncollect_accounts")).sections
    states = [line.split(":")[:2] for line in found["accounts.shadow"].lines]
    assert states == [
        ["root", "$y"], ["locked", "locked+$6"], ["none", "none"], ["star", "none"],
        ["empty", "empty"], ["old", "des"], ["lockedempty", "none"], ["sm3", "$sm3"],
    ]  # fmt: skip
    passwds = [line.split(":")[:2] for line in found[f"file:{passwd}"].lines]
    assert passwds == [["a", "x"], ["b", "[redacted]"], ["c", ""]]
    for section in found.values():
        assert b"hash" not in section.stdout
