"""SSH-01 and SSH-02 on a real sshd: the one that runs, with what it was started with and loaded."""

import datetime as dt
import shutil

import pytest

from audit_agent import collector, engine, evidence, plugins

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(shutil.which("sshd") is None, reason="needs sshd (make test installs it)"),
]

SETUP = """
rm -rf /etc/ssh/sshd_config.d && mkdir -p /run/sshd /etc/ssh/sshd_config.d
ssh-keygen -A >/dev/null
cp /mnt/config /etc/ssh/sshd_config
touch -d '1 hour ago' /etc/ssh/sshd_config /etc/ssh/sshd_config.d
n=0
@START@
while [ ! -s /run/sshd.pid ] && [ "$n" -lt 50 ]; do sleep 0.1; n=$((n + 1)); done
@THEN@
sh -s < /mnt/collector > /mnt/stream
"""
KEYS_ONLY = "PermitRootLogin no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"


def judged(overlay, config, start="/usr/sbin/sshd -p 2222", then="true"):
    """{check: [(status, message's section quotes)]} on such a host."""
    out = overlay(
        SETUP.replace("@START@", start).replace("@THEN@", then),
        config=config.encode(),
        collector=collector.script("0" * 32),
    )
    stream = evidence.parse_stream((out / "stream").read_bytes())
    now = dt.datetime.now(dt.UTC)
    read = evidence.from_stream(stream, target="t", address="", via="login", collected_at=now)
    checks = [check for check in plugins.checks() if check.id in {"SSH-01", "SSH-02"}]
    found = {}
    for finding in engine.audit(read, checks):
        sections = {quote.section for quote in finding.quotes}
        found.setdefault(finding.check, []).append((str(finding.status), sections))
    return found


def test_keys_only(overlay):
    found = judged(overlay, KEYS_ONLY)
    assert found == {
        "SSH-01": [("pass", {"sshd.effective"})],
        "SSH-02": [("pass", {"sshd.effective"})],
    }


def test_what_the_daemon_was_started_with_goes_before_the_file(overlay):
    start = "/usr/sbin/sshd -p 2222 -o PermitRootLogin=yes -o 'PasswordAuthentication yes'"
    found = judged(overlay, KEYS_ONLY, start)
    assert [status for status, _ in found["SSH-01"] + found["SSH-02"]] == ["fail", "fail"]
    assert found["SSH-01"][0][1] == {"sshd.processes"}


def test_a_changed_file_counts_once_it_is_loaded(overlay):
    change = "sleep 1.1; cp /mnt/config /etc/ssh/sshd_config"
    found = judged(overlay, KEYS_ONLY, then=change)
    assert [status for status, _ in found["SSH-01"]] == ["unknown"]
    load = f"{change}; kill -HUP $(cat /run/sshd.pid); sleep 1"
    assert [status for status, _ in judged(overlay, KEYS_ONLY, then=load)["SSH-01"]] == ["pass"]


def test_a_second_daemon_with_a_file_of_its_own(overlay):
    second = "printf 'PermitRootLogin yes\\nPidFile none\\n' > /etc/ssh/two; "
    second += "/usr/sbin/sshd -p 2223 -f /etc/ssh/two"
    found = judged(overlay, KEYS_ONLY, then=second)
    assert sorted(status for status, _ in found["SSH-01"]) == ["pass", "unknown"]


def test_match_blocks(overlay):
    config = (
        KEYS_ONLY
        + "Match Address 10.0.0.0/8\n  PasswordAuthentication yes\n  PermitRootLogin yes\n"
    )
    found = judged(overlay, config)
    assert [status for status, _ in found["SSH-01"]] == ["fail"]
    assert [status for status, _ in found["SSH-02"]] == ["warn"]  # from those addresses only


def test_sshd_that_does_not_run_and_cannot_be_asked(overlay):
    """Without /run/sshd `sshd -T` refuses; the files still tell what they say."""
    found = judged(overlay, KEYS_ONLY, start="rmdir /run/sshd; n=50")
    assert found["SSH-01"] == [("pass", {"file:/etc/ssh/sshd_config"})]
    assert found["SSH-02"] == [("pass", {"file:/etc/ssh/sshd_config"})]


def test_the_sshd_of_a_container_is_another_host_s(overlay):
    inside = (
        "printf 'PermitRootLogin yes\\nPidFile none\\n' > /etc/ssh/two\n"
        "unshare --pid --fork --kill-child /usr/sbin/sshd -D -p 2223 -f /etc/ssh/two & sleep 1"
    )
    found = judged(overlay, KEYS_ONLY, then=inside)
    assert [status for status, _ in found["SSH-01"]] == ["pass"]
