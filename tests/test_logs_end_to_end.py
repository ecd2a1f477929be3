"""From real log files to findings: logrotate makes a tree, the collector reads it, LG judges it."""

import datetime as dt
import gzip
import os
import re
import shutil
import subprocess

import pytest

from audit_agent import collector, engine, evidence, plugins

NONCE = "0123456789abcdef" * 2
LOGROTATE = shutil.which("logrotate", path="/usr/sbin:/usr/bin")

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="mounts a log tree over /var/log, as root"),
    pytest.mark.skipif(LOGROTATE is None, reason="logrotate is not installed"),
    pytest.mark.skipif(shutil.which("unshare") is None, reason="unshare is not installed"),
]


@pytest.fixture
def tree(tmp_path):
    """A log that was rotated once a week for 40 weeks, by the real program."""
    log = tmp_path / "log"
    log.mkdir(mode=0o755)

    def grow(rule, weeks, now):
        conf = tmp_path / "logrotate.conf"
        conf.write_text(f"/var/log/auth.log /var/log/syslog {{\n{rule}\n}}\n")
        conf.chmod(0o644)
        for week in range(weeks, -1, -1):
            for name in ("auth.log", "syslog"):
                write_week(log / name, now - dt.timedelta(weeks=week))
            if week:
                inside(tmp_path, [LOGROTATE, "-f", "-s", "/dev/shm/unused", "/etc/logrotate.conf"])
        return tmp_path

    return grow


def write_week(path, end):
    """One record a day up to `end`, in a file that was last written then."""
    days = [end - dt.timedelta(days=day) for day in range(6, -1, -1)]
    path.write_text("".join(f"{day.isoformat()} web1 sshd[1]: alice 203.0.113.7\n" for day in days))
    os.utime(path, (end.timestamp(), end.timestamp()))
    path.chmod(0o640)


def inside(tmp_path, words, data=b""):
    """Run a program that sees our tree as /var/log and our file as /etc/logrotate.conf."""
    script = (
        f"mount --bind {tmp_path}/log /var/log && mount -t tmpfs none /dev/shm"
        f' && mount --bind {tmp_path}/logrotate.conf /etc/logrotate.conf && exec "$@"'
    )
    return subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, "sh", *words],
        input=data, capture_output=True, check=True, timeout=60,
    ).stdout  # fmt: skip


def judged(tmp_path, now):
    stream = evidence.parse_stream(inside(tmp_path, ["sh", "-s"], collector.script(NONCE)), NONCE)
    assert stream.complete
    found = evidence.from_stream(stream, target="test", collected_at=now)
    checks = [check for check in plugins.checks() if check.area == "logs"]
    return found, engine.audit(found, checks)


@pytest.mark.parametrize(
    ("rule", "weeks", "declared", "observed", "oldest"),
    [
        ("weekly\nrotate 4\ncompress", 12, "fail", None, 28 + 6),
        ("weekly\nrotate 27\ncompress\ndelaycompress", 30, "pass", "pass", 189 + 6),
        ("weekly\nrotate 26", 30, "warn", "pass", 182 + 6),
        ("weekly\nrotate -1\nmaxage 60\ncompress", 20, "fail", None, None),
    ],
)
def test_what_is_promised_and_what_is_there(tree, rule, weeks, declared, observed, oldest):
    now = dt.datetime.now().astimezone().replace(microsecond=0)
    path = tree(rule, weeks, now)
    found, findings = judged(path, now)
    about = {
        finding.check: finding for finding in findings if finding.subject == "/var/log/auth.log"
    }
    words = about["LG-02"].summary.en
    if "nothing runs logrotate" in words:  # a machine without a timer or cron says so instead
        assert about["LG-02"].status == "warn"
    else:
        assert about["LG-02"].status == declared
    assert re.match(r"weekly, rotate -?\d+", about["LG-02"].observed)
    # How old this very machine is decides between "fail" and "unknown": never "pass".
    assert about["LG-03"].status == observed or (
        observed is None and about["LG-03"].status in {"fail", "unknown"}
    )
    if oldest is not None:
        first = dt.datetime.fromisoformat(about["LG-03"].observed.split()[0])
        assert (now - first).days == oldest
    assert about["LG-08"].status == "pass"
    text = b"".join(section.stdout for section in found.sections.values())
    assert b"203.0.113.7" not in text
    assert b"alice" not in text


def test_a_gap_in_the_middle_does_not_pass(tree):
    now = dt.datetime.now().astimezone().replace(microsecond=0)
    path = tree("weekly\nrotate 30\ncompress", 29, now)
    for number in range(5, 15):
        (path / "log" / f"auth.log.{number}.gz").unlink()
    _, findings = judged(path, now)
    statuses = {finding.subject: finding.status for finding in findings if finding.check == "LG-03"}
    assert statuses["/var/log/auth.log"] == "warn"
    assert statuses["/var/log/syslog"] == "pass"


def test_a_restored_archive_is_read_by_its_records(tree):
    """Copied without its times, an old file looks new; what it says counts, and its gap shows."""
    now = dt.datetime.now().astimezone().replace(microsecond=0)
    path = tree("weekly\nrotate 4\ncompress", 8, now)
    old = now - dt.timedelta(days=250)
    (path / "log" / "auth.log.40.gz").write_bytes(gzip.compress(f"{old.isoformat()} x\n".encode()))
    _, findings = judged(path, now)
    found = next(f for f in findings if f.check == "LG-03" and f.subject == "/var/log/auth.log")
    assert found.status == "warn"
    assert old.date().isoformat() in found.summary.en
