"""LG: the judging of logs. (All evidence is written by hand in the formats of the collector.)"""

import datetime as dt

import pytest

from audit_agent.model import Gap

ZONE = dt.timezone(dt.timedelta(hours=8))
NOW = dt.datetime(2026, 11, 24, 12, 0, tzinfo=ZONE)
DAY = 86400
OLD, NEW = 1750775860, 1795507592  # 2025-06-24, 2026-11-24
OLD_HOST = f"/ {OLD} {NEW}\n/etc/machine-id 0 {OLD}\n/etc/ssh/ssh_host_rsa_key.pub 0 {OLD}\n"
YOUNG_HOST = f"/ {NEW} {NEW}\n/etc/machine-id 0 {NEW}\n/etc/ssh/ssh_host_rsa_key.pub 0 {NEW}\n"
IMAGE = f"/ {OLD} {NEW}\n/etc/machine-id 0 {OLD}\n/etc/ssh/ssh_host_rsa_key.pub 0 {NEW}\n"
UNITS = (
    "rsyslog.service loaded active running x\nsystemd-journald.service loaded active running x\n"
    "logrotate.timer loaded active waiting x\n"
)
UNIT_FILES = "rsyslog.service enabled enabled\nsystemd-journald.service static -\n"
AUTH, SYS, WEB = "/var/log/auth.log", "/var/log/syslog", "/var/log/nginx/access.log"
AUDIT = "/var/log/audit/audit.log"


def listing(files=(), more=""):
    """{path: (age in days, mode)} or {path: age}."""
    lines = ["drwxr-xr-x 0 0 4096 9 1795507587 /var/log"]
    for path, value in dict(files).items():
        age, mode = value if isinstance(value, tuple) else (value, "-rw-r-----")
        lines.append(f"{mode} 0 4 100 1 {int(NOW.timestamp() - age * DAY)} {path}")
    return "\n".join(lines) + "\n" + more


def records(stamps):
    """{path: age of the first record} or {path: (first, last)}, or a gap."""
    lines = []
    for path, value in stamps.items():
        if isinstance(value, str):
            lines.append(f"{value}\t-\t{path}")
            continue
        ends = value if isinstance(value, tuple) else (value,)
        for word, age in zip(("first", "last"), ends, strict=False):
            lines.append(f"{word}\t{(NOW - dt.timedelta(days=age)).isoformat()}\t{path}")
    return "\n".join(lines) + "\n"


def host(**changed):
    """A quiet host with systemd, rsyslog and weekly rotation, in service since last year."""
    sections = {
        "logs.files": listing({AUTH: 0, SYS: 0}),
        "logs.records": records({AUTH: (200, 0.1), SYS: (200, 0.1)}),
        "logs.processes": "rsyslogd /usr/sbin/rsyslogd\nsystemd-journal /x\n",
        "logs.journal": "",
        "logs.cron": "",
        "logs.logrotate.version": "logrotate 3.21.0\n",
        "host.units": UNITS,
        "host.unit-files": UNIT_FILES,
        "host.clock": "x\n+0800\n",
        "host.birth": OLD_HOST,
        "host.confinement": "CapEff:\t000001ffffffffff\n",
        "file:/etc/logrotate.conf": "weekly\nrotate 27\n/var/log/auth.log /var/log/syslog {\n}\n",
        "file:/etc/audit/auditd.conf": Gap.ABSENT,
        "file:/etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody123:x:9:9::/:/bin/sh\n",
        "file:/etc/group": "root:x:0:\nadm:x:4:\nusers:x:100:\n",
    }
    for folder in ("/etc", "/run", "/usr/local/lib", "/usr/lib"):
        sections[f"file:{folder}/systemd/journald.conf"] = Gap.ABSENT
        sections[f"dir:{folder}/systemd/journald.conf.d"] = Gap.ABSENT
    return sections | changed


def found(findings):
    return {(finding.subject, str(finding.status)) for finding in findings}


def messages(findings):
    return [(finding.subject, str(finding.status), finding.summary.en) for finding in findings]


# LG-01


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({}, "pass"),
        ({"logs.records": records({AUTH: (200, 1.1)})}, "fail"),
        ({"logs.files": listing({AUTH: 0, WEB: 0}),
          "logs.records": records({AUTH: (200, 1.1), WEB: (200, 0.1)})}, "fail"),
        ({"logs.records": records({AUTH: (200, 0.9)})}, "pass"),
        ({"logs.records": records({AUTH: 200})}, "unknown"),
        ({"logs.records": records({AUTH: 200}), "logs.journal": f"last {NEW}000000\n"}, "pass"),
        ({"logs.records": Gap.TIMEOUT, "logs.journal": Gap.DENIED}, "unknown"),
        ({"logs.records": records({AUTH: (200, -30)})}, "unknown"),
        ({"host.units": "x.service loaded active running x\n"}, "fail"),
        ({"host.units": UNITS.replace("active running", "inactive dead")}, "fail"),
        ({"host.units": Gap.NO_TOOL, "logs.processes": ""}, "fail"),
        ({"host.units": Gap.NO_TOOL, "logs.processes": Gap.DENIED}, "unknown"),
        (
            {"host.units": Gap.NO_TOOL, "logs.processes": "", "host.confinement": "/.dockerenv\n"},
            "manual",
        ),
        (
            {"host.units": UNITS.replace("systemd-journald", "x"),
             "host.unit-files": UNIT_FILES.replace("enabled", "disabled")},
            "warn",
        ),
        ({"logs.files": Gap.TRUNCATED}, "unknown"),
        ({"logs.records": records({AUTH: "denied"}), "logs.journal": Gap.DENIED}, "unknown"),
    ],
)  # fmt: skip
def test_lg_01(judge, changed, status):
    findings = judge("LG-01", host(**changed), now=NOW)
    assert [finding.status for finding in findings] == [status]
    if status == "pass":
        assert {"host.units", "logs.records"} <= {
            quote.section for quote in findings[0].quotes
        } or findings[0].quotes[-1].section == "logs.journal"


# LG-02


def conf(block, more=""):
    return f"{more}\n{AUTH} {SYS} {{\n{block}\n}}\n"


@pytest.mark.parametrize(
    ("block", "status", "word"),
    [
        ("weekly\nrotate 27", "pass", "189 days"),
        ("weekly\nrotate 26", "warn", "182 days"),
        ("weekly\nrotate 25", "fail", "175 days"),
        ("weekly\nrotate 24", "fail", "168 days"),
        ("weekly\nrotate 4", "fail", "28 days"),
        ("monthly\nrotate 7", "pass", "212 days"),
        ("monthly\nrotate 6", "warn", "181 days"),
        ("monthly\nrotate 5", "fail", "150 days"),
        ("daily\nrotate 184", "pass", "184 days"),
        ("daily\nrotate 183", "warn", "183 days"),
        ("daily\nrotate 181", "warn", "181 days"),
        ("daily\nrotate 180", "fail", "180 days"),
        ("yearly\nrotate 1", "pass", "365 days"),
        ("weekly\nrotate 0", "fail", "0 days"),
        ("weekly\nrotate -1", "pass", "never removes"),
        ("weekly\nrotate -1\nmaxage 183", "warn", "183 days"),
        ("weekly\nrotate -1\nmaxage 184", "pass", "184 days"),
        ("weekly\nrotate 52\nmaxage 90", "fail", "90 days"),
        ("size 100M\nrotate 200", "warn", "by size"),
        ("weekly\nrotate 27\nmaxsize 10M", "warn", "by size"),
        ("weekly\nrotate 4\nmaxsize 10M", "fail", "35 days"),
        ("weekly\nrotate 27\nminsize 1M", "pass", "189 days"),
        ("weekly\nrotate 4\nsize 1M\nmonthly\nrotate 12", "pass", "365 days"),
        ("hourly\nrotate 200", "warn", "how often logrotate runs"),
        ("hourly\nrotate 24", "fail", "25 days"),
        ("rotate x", "warn", "no rule"),
        ("", "fail", "0 days"),
        ("weekly\nrotate 27\ncreate 0640 nobody123 adm", "pass", "189"),
    ],
)
def test_lg_02_by_rule(judge, block, status, word):
    findings = judge("LG-02", host(**{"file:/etc/logrotate.conf": conf(block)}), now=NOW)
    assert found(findings) == {(AUTH, status), (SYS, status)}, messages(findings)
    assert all(word in finding.summary.en for finding in findings), messages(findings)
    assert all(finding.quotes for finding in findings)


def test_lg_02_shows_where_the_numbers_come_from(judge):
    text = f"weekly\nrotate 4\n{AUTH} {SYS} {{\n missingok\n}}\n"
    finding = judge("LG-02", host(**{"file:/etc/logrotate.conf": text}), now=NOW)[0]
    assert [quote.lines for quote in finding.quotes] == ["3-5", "1", "2"]
    assert finding.observed == "weekly, rotate 4 = 28 d"


BOTH = listing({AUTH: 0, SYS: 0})
GROUP_WRITABLE = BOTH.replace("drwxr-xr-x 0 0", "drwxrwxr-x 0 110")
TIMERLESS = {"host.units": UNITS.replace("logrotate.timer", "x.timer")}
STATE = "-rw-r--r-- 0 0 1 1 {} /var/lib/logrotate/status\n"


@pytest.mark.parametrize(
    ("changed", "status", "word"),
    [
        (TIMERLESS, "warn", "nothing runs logrotate"),
        (TIMERLESS | {"logs.cron": Gap.DENIED}, "pass", "189"),
        ({"logs.logrotate.version": Gap.NO_TOOL}, "warn", "nothing runs logrotate"),
        ({"logs.logrotate.version": "logrotate 3.8.6\n",
          "file:/etc/logrotate.conf": conf("weekly\nrotate 27") + "/x {\n rotate y\n}\n"},
         "warn", "mistake"),
        ({"logs.files": listing({AUTH: 0, SYS: 0}, STATE.format(OLD))}, "warn", "has not run"),
        ({"logs.files": listing({AUTH: 0, SYS: 0}, STATE.format(NEW))}, "pass", "189"),
        ({"file:/etc/logrotate.conf": Gap.ABSENT, "file:/usr/etc/logrotate.conf": Gap.ABSENT},
         "warn", "no rule"),
        ({"file:/etc/logrotate.conf": Gap.DENIED}, "unknown", "could not be read"),
        ({"file:/etc/logrotate.conf": "include /x\n"}, "unknown", "includes could not be read"),
        ({"file:/etc/logrotate.conf": conf("weekly\nrotate 27", "rotate x\n")}, "warn", "gives up"),
        ({"file:/etc/logrotate.conf": conf("weekly\nrotate 27", "nonsense 7")}, "pass", "189"),
        ({"file:/etc/logrotate.conf": conf("weekly\nrotate 27") + "/x {\n rotate y\n}\n"},
         "pass", "189"),
        ({"file:/etc/logrotate.conf": conf("weekly\nrotate 27\nrotate 28x")}, "warn", "gives up"),
        (
            {"file:/etc/logrotate.conf": "/var/log/* {\n weekly\n rotate 27\n}\n",
             "logs.files": listing({AUTH: 0, SYS: 0, f"{AUTH}.1": 7, f"{SYS}.1": 7})},
            "warn", "rotated again",
        ),
        (
            {"logs.files": GROUP_WRITABLE},
            "warn", "others than root may write",
        ),
        (
            {"logs.files": GROUP_WRITABLE,
             "file:/etc/logrotate.conf": conf("weekly\nrotate 27\nsu root adm")},
            "pass", "189",
        ),
        ({"logs.files": BOTH.replace("100 1 ", "100 2 ")}, "warn", "hard link"),
    ],
)  # fmt: skip
def test_lg_02_around_the_rule(judge, changed, status, word):
    findings = judge("LG-02", host(**changed), now=NOW)
    assert found(findings) == {(AUTH, status), (SYS, status)}, messages(findings)
    assert all(word in finding.summary.en for finding in findings), messages(findings)


def test_lg_02_a_log_that_something_else_rotates(judge):
    changed = {
        "file:/etc/logrotate.conf": "",
        "logs.files": listing({AUTH: 0, SYS: 0, f"{AUTH}.1": 7}),
    }
    findings = judge("LG-02", host(**changed), now=NOW)
    assert "something rotates it" in findings[0].summary.en
    assert "no rotated file lies beside it" in findings[1].summary.en


def test_lg_02_busybox(judge):
    changed = {"logs.processes": "syslogd /bin/busybox\n", "file:/etc/logrotate.conf": ""}
    findings = judge("LG-02", host(**changed), now=NOW)
    assert all("busybox" in finding.summary.en for finding in findings)
    assert {finding.status for finding in findings} == {"warn"}


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("max_log_file_action = keep_logs\n", "pass"),
        ("max_log_file_action = keep_logs\ndisk_full_action = rotate\n", "warn"),
        ("max_log_file_action = ROTATE\nnum_logs = 5\nmax_log_file = 8\n", "warn"),
        ("max_log_file_action = suspend\n", "warn"),
        ("num_logs = 5\n", "warn"),
        (Gap.DENIED, "unknown"),
    ],
)
def test_lg_02_auditd(judge, text, status):
    changed = {
        "logs.files": listing({AUTH: 0, SYS: 0, AUDIT: 0}),
        "file:/etc/audit/auditd.conf": text,
    }
    findings = judge("LG-02", host(**changed), now=NOW)
    assert (AUDIT, status) in found(findings), messages(findings)


JOURNAL_ONLY = listing(more="drwxr-sr-x 0 999 4096 3 1795507587 /var/log/journal\n")
JOURNALD = {"logs.files": JOURNAL_ONLY, "host.units": UNITS.replace("rsyslog", "x")}
JOURNALD_CONF = "file:/etc/systemd/journald.conf"


@pytest.mark.parametrize(
    ("changed", "status", "word"),
    [
        ({}, "warn", "up to a size"),
        ({JOURNALD_CONF: "[Journal]\nStorage=volatile\n"}, "fail", "memory only"),
        ({"logs.files": listing()}, "fail", "memory only"),
        ({JOURNALD_CONF: "[Journal]\nStorage=none\n"}, "fail", "discards"),
        ({JOURNALD_CONF: "[Journal]\nMaxRetentionSec=90day\n"}, "fail", "90 days"),
        ({JOURNALD_CONF: "[Journal]\nMaxRetentionSec=184day\n"}, "warn", "only 153 days"),
        ({JOURNALD_CONF: "[Journal]\nMaxRetentionSec=1year\n"}, "warn", "up to a size"),
        ({JOURNALD_CONF: "[Journal]\nSystemMaxUse=500M\n"}, "warn", "500M"),
        ({JOURNALD_CONF: Gap.DENIED}, "unknown", "could not be read"),
        ({"logs.processes": Gap.DENIED}, "unknown", "could not be read"),
        # A leftover of the days before the journal is not the log of today.
        ({"logs.files": listing({AUTH: 90, SYS: 90}) + JOURNAL_ONLY}, "warn", "up to a size"),
    ],
)
def test_lg_02_journal_only(judge, changed, status, word):
    findings = judge("LG-02", host(**JOURNALD | changed), now=NOW)
    assert found(findings) == {("systemd-journald", status)}, messages(findings)
    assert word in findings[0].summary.en


NO_LOGS = {
    "logs.files": listing(),
    "host.units": Gap.NO_TOOL,
    "logs.processes": "",
    "logs.journal": Gap.NO_TOOL,
}


@pytest.mark.parametrize("check", ["LG-02", "LG-03"])
@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({}, "fail"),
        ({"logs.files": listing(more="find: '/var/log/x': Permission denied\n")}, "unknown"),
        ({"logs.processes": "syslogd /usr/sbin/syslogd\n"}, "unknown"),
        ({"host.confinement": "/.dockerenv\n"}, "manual"),
        ({"logs.journal": Gap.DENIED}, "unknown"),
        ({"logs.files": Gap.TIMEOUT}, "unknown"),
    ],
)
def test_a_host_without_any_log_does_not_pass(judge, check, changed, status):
    sections = host(**NO_LOGS | {"logs.records": ""} | changed)
    findings = judge(check, sections, now=NOW)
    assert [finding.status for finding in findings] == [status], messages(findings)


CRON = "/etc/cron.d/clean:0 3 * * * root "


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (CRON + "find /var/log -name '*.gz' -mtime +30 -delete", "warn"),
        (CRON + "find /var/log/ -type f -mtime +30 -exec rm {} +", "warn"),
        (CRON + "rm -f /var/log/auth.log.*", "warn"),
        (CRON + "rm -rf /var/log/*", "warn"),
        ("/etc/cron.daily/x:rm -f /var/log/auth.log-$(date +%Y)", "warn"),
        ("/etc/logrotate.d/x:  find /var/log -mtime +9 -delete", "warn"),
        ("/etc/tmpfiles.d/x.conf:d /var/log 0755 root root 30d", "warn"),
        ("/etc/tmpfiles.d/x.conf:e /var/log/* - - - 3w", "warn"),
        # old enough, elsewhere, or none at all
        (CRON + "find /var/log -mtime +200 -delete", "pass"),
        (CRON + "rm -rf /var/log/app /srv/log/*", "pass"),
        ("/etc/cron.d/clean:# 0 3 * * * root rm -rf /var/log", "pass"),
        ("/etc/tmpfiles.d/x.conf:d /var/log 0755 root root -", "pass"),
        ("/etc/tmpfiles.d/x.conf:d /var/log 0755 root root 30w", "pass"),
        ("", "pass"),
    ],
)
def test_lg_02_what_another_job_deletes_is_not_kept(judge, line, status):
    findings = judge("LG-02", host(**{"logs.removers": f"{line}\n"}), now=NOW)
    assert (AUTH, status) in found(findings)
    if status == "warn":
        [auth] = [finding for finding in findings if finding.subject == AUTH]
        assert line.partition(":")[2].strip() in auth.summary.en
        assert "logs.removers" in {quote.section for quote in auth.quotes}


# LG-03: the audit is of 2026-11-24, six calendar months reach back to 2026-05-24: 184 days.


@pytest.mark.parametrize(
    ("age", "birth", "status"),
    [
        (184, OLD_HOST, "pass"),
        (400, OLD_HOST, "pass"),
        (183, OLD_HOST, "fail"),
        (181, OLD_HOST, "fail"),
        (30, OLD_HOST, "fail"),
        (30, YOUNG_HOST, "unknown"),
        (30, IMAGE, "unknown"),
        (30, "", "unknown"),
        (30, Gap.FAILED, "unknown"),
        (184, YOUNG_HOST, "pass"),
    ],
)
def test_lg_03_by_age(judge, age, birth, status):
    changed = {
        "logs.records": records({AUTH: (age, 0.1), SYS: (300, 0.1)}),
        "host.birth": birth,
    }
    findings = judge("LG-03", host(**changed), now=NOW)
    assert found(findings) == {(AUTH, status), (SYS, "pass")}, messages(findings)


@pytest.mark.parametrize(
    ("now", "first", "status"),
    [
        ("2026-08-31T12:00:00+08:00", "2026-02-28T23:59:00+08:00", "pass"),
        ("2026-08-31T12:00:00+08:00", "2026-03-01T00:00:00+08:00", "fail"),
        ("2024-08-31T12:00:00+08:00", "2024-02-29T00:00:00+08:00", "pass"),
        ("2024-08-31T12:00:00+08:00", "2024-03-01T00:00:00+08:00", "unknown"),
        ("2026-09-01T00:30:00+08:00", "2026-03-01T12:00:00+08:00", "pass"),
        ("2026-09-01T00:30:00+08:00", "2026-03-01T23:00:00Z", "fail"),
        ("2026-03-31T12:00:00+08:00", "2025-09-30T12:00:00+08:00", "pass"),
        ("2026-03-31T12:00:00+08:00", "2025-10-01T12:00:00+08:00", "fail"),
    ],
)
def test_lg_03_counts_calendar_months(judge, now, first, status):
    now = dt.datetime.fromisoformat(now)
    then = int(now.timestamp())
    changed = {
        "logs.files": f"drwxr-xr-x 0 0 1 1 {then} /var/log\n"
        + "".join(f"-rw-r----- 0 4 9 1 {then} {path}\n" for path in (AUTH, SYS)),
        "logs.records": f"first\t{first}\t{AUTH}\nfirst\t{first}\t{SYS}\n",
    }
    findings = judge("LG-03", host(**changed), now=now)
    assert found(findings) == {(AUTH, status), (SYS, status)}, messages(findings)


FOUR_WEEKS = {AUTH: 0, f"{AUTH}.1": 7, f"{AUTH}.2.gz": 14, f"{AUTH}.3.gz": 21}


@pytest.mark.parametrize(
    ("files", "stamps", "status", "word"),
    [
        (FOUR_WEEKS, {AUTH: 7, f"{AUTH}.3.gz": 28}, "fail", "auth.log.3.gz"),
        (FOUR_WEEKS, {AUTH: 7, f"{AUTH}.3.gz": 190}, "pass", "auth.log.3.gz"),
        (FOUR_WEEKS, {AUTH: 7, f"{AUTH}.3.gz": "no-tool"}, "unknown", "could not be read"),
        (FOUR_WEEKS, {AUTH: 7, f"{AUTH}.3.gz": "denied"}, "unknown", "could not be read"),
        (FOUR_WEEKS, {}, "unknown", "no record"),
        ({AUTH: 0}, {AUTH: "first"}, "unknown", "no record"),
        # A leftover of long ago, and nothing between.
        (FOUR_WEEKS | {f"{AUTH}-20250101": 690},
         {AUTH: 7, f"{AUTH}.3.gz": 28, f"{AUTH}-20250101": 700},
         "warn", "nothing was found for more than 31 days"),
        (FOUR_WEEKS | {f"{AUTH}-x-20260901": 84}, {AUTH: 7, f"{AUTH}.3.gz": 28}, "fail", ""),
        # Content old, time new; and the other way round.
        (FOUR_WEEKS | {f"{AUTH}.9": 0.5}, {AUTH: 7, f"{AUTH}.3.gz": 28, f"{AUTH}.9": 250},
         "warn", "nothing was found"),
        (FOUR_WEEKS | {f"{AUTH}.9": 250}, {AUTH: 7, f"{AUTH}.3.gz": 28, f"{AUTH}.9": 5},
         "fail", ""),
    ],
)  # fmt: skip
def test_lg_03_reads_the_files_of_a_log(judge, files, stamps, status, word):
    changed = {
        "logs.files": listing(files | {SYS: 0}),
        "logs.records": records(stamps | {SYS: (300, 0.1)}),
    }
    findings = judge("LG-03", host(**changed), now=NOW)
    assert found(findings) == {(AUTH, status), (SYS, "pass")}, messages(findings)
    assert word in findings[0].summary.en


WEB_RULE = f"{WEB} {{\n daily\n rotate 3\n}}\n"


@pytest.mark.parametrize(
    ("rotated", "rule", "status"),
    [
        (3, WEB_RULE, "fail"),
        (2, WEB_RULE, "unknown"),
        (3, "", "unknown"),
        (3, Gap.DENIED, "unknown"),
    ],
)
def test_lg_03_a_service_may_be_younger_than_its_host(judge, rotated, rule, status):
    """Only a rotation that has come round has deleted something."""
    files = {AUTH: 0, SYS: 0, WEB: 0} | {f"{WEB}.{n}": n for n in range(1, rotated + 1)}
    stamps = {AUTH: 300, SYS: 300, WEB: 1, f"{WEB}.{rotated}": rotated + 1}
    changed = {
        "logs.files": listing(files),
        "logs.records": records(stamps),
        "file:/etc/logrotate.conf": rule,
    }
    findings = judge("LG-03", host(**changed), now=NOW)
    assert (WEB, status) in found(findings), messages(findings)


def journal(first):
    return f"first {int((NOW - dt.timedelta(days=first)).timestamp() * 1e6)}\nlast {NEW}000000\n"


@pytest.mark.parametrize(
    ("told", "closed", "status"),
    [
        (journal(200), 180, "pass"),
        (journal(184), 180, "pass"),
        (journal(183), 180, "fail"),
        (journal(2000), 180, "unknown"),
        ("", 180, "unknown"),
        (Gap.DENIED, 180, "unknown"),
    ],
)
def test_lg_03_journal_only(judge, told, closed, status):
    file = "/var/log/journal/0123/system@1.journal"
    changed = JOURNALD | {
        "logs.files": JOURNAL_ONLY + listing({file: closed}),
        "logs.records": "",
        "logs.journal": told,
    }
    findings = judge("LG-03", host(**changed), now=NOW)
    assert found(findings) == {("systemd-journald", status)}, messages(findings)


RSYSLOG = "auth,authpriv.* /data/secure\n*.*;auth,authpriv.none -/var/log/syslog\n"


@pytest.mark.parametrize(
    ("conf", "told", "expected"),
    [
        # The login log is written where nobody looked.
        (RSYSLOG, journal(30), [("", "unknown")]),
        (RSYSLOG, journal(300), [("systemd-journald", "pass")]),
        (Gap.DENIED, journal(30), [("", "unknown")]),
        # Everything goes into one file, as on SUSE.
        ("*.*;mail.none -/var/log/syslog\n", journal(30), []),
        # It is only sent away: what is here is the journal.
        (
            "auth.* @@192.0.2.1\ndaemon.* /var/log/syslog\n",
            journal(30),
            [("systemd-journald", "fail")],
        ),
    ],
)
def test_lg_03_where_rsyslog_writes(judge, conf, told, expected):
    changed = {
        "logs.files": listing({SYS: 0}),
        "file:/etc/rsyslog.conf": conf,
        "dir:/etc/rsyslog.d": Gap.ABSENT,
        "logs.journal": told,
    }
    findings = judge("LG-03", host(**changed), now=NOW)
    assert found(findings) == {(SYS, "pass"), *expected}, messages(findings)


def test_lg_03_without_a_look_into_the_logs(judge):
    findings = judge("LG-03", host(**{"logs.records": Gap.NO_TOOL}), now=NOW)
    assert [finding.status for finding in findings] == ["unknown"]


def test_lg_03_a_container_has_no_age(judge):
    changed = {"logs.records": records({AUTH: 30, SYS: 30}), "host.confinement": "/.dockerenv\n"}
    assert found(judge("LG-03", host(**changed), now=NOW)) == {(AUTH, "unknown"), (SYS, "unknown")}


def test_lg_03_a_stamp_without_a_year_on_a_young_host_is_of_this_year(judge):
    lines = "first\tNov 24 10:17:05\t" + SYS + "\n"
    changed = {"logs.files": listing({SYS: 0}), "logs.records": lines}
    [young, _] = judge("LG-03", host(**changed, **{"host.birth": YOUNG_HOST}), now=NOW)
    assert "the host itself was set up after" in young.summary.en
    [old, _] = judge("LG-03", host(**changed), now=NOW)
    assert "their lines name no year" in old.summary.en
    assert young.status == old.status == "unknown"


@pytest.mark.parametrize("ident", ["LG-02", "LG-03"])
def test_a_container_whose_log_service_runs_has_one(judge, ident):
    changed = {
        "host.confinement": "/run/systemd/container lxc\n",
        "logs.files": listing({SYS: 0}),
        "file:/etc/rsyslog.conf": RSYSLOG,
        "dir:/etc/rsyslog.d": Gap.ABSENT,
        "logs.journal": journal(30),
    }
    [_, other] = judge(ident, host(**changed), now=NOW)
    assert "it may be written elsewhere" in other.summary.en
    changed |= {"host.units": "x.service loaded active running x\n", "logs.journal": ""}
    [_, other] = judge(ident, host(**changed), now=NOW)
    assert "without a log service" in other.summary.en


# LG-08


@pytest.mark.parametrize(
    ("files", "status", "word"),
    [
        ({AUTH: 0, f"{AUTH}.1": 7}, "pass", "every file (2)"),
        ({AUTH: (0, "-rw-------")}, "pass", ""),
        ({AUTH: (0, "-rw-r--r--")}, "warn", "0644"),
        ({AUTH: (0, "-rw-rw----")}, "warn", "0660"),
        ({AUTH: 0, f"{AUTH}.1": (7, "-rw-r--r--")}, "warn", "auth.log.1"),
        ({AUTH: (0, "-rw-rw-rw-")}, "fail", "0666"),
        ({AUTH: 0, f"{AUTH}.2.gz": (7, "-rw-rw-rw-")}, "fail", "auth.log.2.gz"),
    ],
)
def test_lg_08(judge, files, status, word):
    findings = judge("LG-08", host(**{"logs.files": listing(files)}), now=NOW)
    assert found(findings) == {(AUTH, status)}
    assert word in findings[0].summary.en
    assert all(quote.section == "logs.files" for quote in findings[0].quotes)


def test_lg_08_folders_and_groups(judge):
    text = listing({AUTH: 0})
    world = text.replace("drwxr-xr-x", "drwxrwxrwx")
    sticky = text.replace("drwxr-xr-x", "drwxrwxrwt")
    users = text.replace(" 0 4 100", " 0 100 100")
    for changed, status in ((world, "fail"), (sticky, "pass"), (users, "warn")):
        assert found(judge("LG-08", host(**{"logs.files": changed}), now=NOW)) == {(AUTH, status)}
    findings = judge("LG-08", host(**{"file:/etc/group": Gap.DENIED}), now=NOW)
    assert [finding.status for finding in findings] == ["unknown"]


def test_lg_08_nothing_and_closed(judge):
    none = judge("LG-08", host(**{"logs.files": listing()}), now=NOW)
    assert [finding.status for finding in none] == ["unknown"]
    text = listing({AUTH: 0}, "find: '/var/log/audit': Permission denied\n")
    closed = judge("LG-08", host(**{"logs.files": text}), now=NOW)
    assert found(closed) == {(AUTH, "pass"), (AUDIT, "unknown")}


def test_lg_08_journal(judge):
    text = JOURNAL_ONLY + listing({"/var/log/journal/0123/system.journal": (0, "-rw-r--r--")})
    assert found(judge("LG-08", host(**{"logs.files": text}), now=NOW)) == {
        ("systemd-journald", "warn")
    }
