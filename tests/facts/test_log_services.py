"""What writes logs, what rotates them, how old the host is. (All evidence is written by hand.)"""

import datetime as dt

import pytest

from audit_agent.facts.auditd import read_auditd
from audit_agent.facts.host_age import read_host_age
from audit_agent.facts.log_services import read_log_services
from audit_agent.facts.logfiles import read_listing
from audit_agent.model import EvidenceMissing, Gap

LISTING = "drwxr-xr-x 0 0 4096 9 1795507587 /var/log\n"
SCRIPT = "-rwxr-xr-x 0 0 377 1 1671041810 /etc/cron.daily/logrotate\n"
STATE = "-rw-r--r-- 0 0 377 1 1795500000 /var/lib/logrotate/status\n"
FUTURE = "-rw-r--r-- 0 0 377 1 1895500000 /var/lib/logrotate/status\n"
UNITS = """\
rsyslog.service loaded active running System Logging Service
systemd-journald.service loaded active running Journal Service
logrotate.service loaded inactive dead Rotate log files
"""
TIMER = "logrotate.timer loaded active waiting Daily rotation of log files\n"
UNIT_FILES = """\
logrotate.service static -
rsyslog.service enabled enabled
systemd-journald.service static -
logrotate.timer disabled enabled
"""
OPENRC = """\
Runlevel: default
 crond                                                             [  started  ]
 syslog                                                            [  stopped  ]
 rsyslog                                                           [  started  ]
"""
OPENRC_FILES = "                crond |      default\n              rsyslog |\n"


def services(make_evidence, listing=LISTING, uid=0, **sections):
    found = {
        "logs.files": listing,
        "logs.processes": "",
        "logs.cron": "",
        "host.units": Gap.NO_TOOL,
    } | {name.replace("__", ".").replace("_", "-"): text for name, text in sections.items()}
    evidence = make_evidence(found, uid=uid)
    return read_log_services(evidence, read_listing(evidence))


@pytest.mark.parametrize(
    ("sections", "writers"),
    [
        (
            {"host__units": UNITS, "host__unit_files": UNIT_FILES},
            [("rsyslog", True, True), ("systemd-journald", True, True)],
        ),
        (
            {"host__units": UNITS.replace("active running", "inactive dead", 1),
             "host__unit_files": UNIT_FILES.replace("rsyslog.service e", "rsyslog.service x")},
            [("rsyslog", False, False), ("systemd-journald", True, True)],
        ),
        ({"host__units": UNITS}, [("rsyslog", True, None), ("systemd-journald", True, None)]),
        (
            {"host__units": OPENRC, "host__unit_files": OPENRC_FILES},
            [("syslogd", False, None), ("rsyslog", True, False)],
        ),
        (
            {"logs__processes": "rsyslogd /usr/sbin/rsyslogd\ncron /usr/sbin/cron\n",
             "host__unit_files": "/etc/rc2.d/S01rsyslog\n"},
            [("rsyslog", True, True)],
        ),
        ({"logs__processes": "syslogd /bin/busybox\n"}, [("syslogd", True, None)]),
        ({"logs__processes": "systemd-journal /usr/lib/systemd/systemd-journald\n"},
         [("systemd-journald", True, None)]),
        ({"host__units": "● rsyslog.service loaded failed failed x\n"}, [("rsyslog", False, None)]),
        ({}, []),
    ],
)  # fmt: skip
def test_writers(make_evidence, sections, writers):
    found = services(make_evidence, **sections).writers
    assert [(writer.name, writer.running, writer.enabled) for writer in found] == writers


def test_busybox_rotates_by_itself(make_evidence):
    assert services(make_evidence, logs__processes="syslogd /bin/busybox\n").busybox
    assert not services(make_evidence, logs__processes="syslogd /usr/sbin/syslogd\n").busybox


CRON = {"logs__processes": "crond /usr/sbin/crond\n"}
LINE = "/etc/crontab:0 3 * * * root /usr/sbin/logrotate /etc/logrotate.conf\n"


@pytest.mark.parametrize(
    ("listing", "sections", "scheduled"),
    [
        (LISTING, {"host__units": UNITS + TIMER, "host__unit_files": UNIT_FILES}, True),
        (LISTING, {"host__units": UNITS, "host__unit_files": UNIT_FILES}, False),
        # Debian's script leaves the work to the timer where systemd runs.
        (LISTING + SCRIPT, {"host__units": UNITS, "host__unit_files": UNIT_FILES} | CRON, None),
        (LISTING + SCRIPT, {"host__units": UNITS, "host__unit_files": "x.timer\n"} | CRON, True),
        (LISTING + SCRIPT, CRON, True),
        (LISTING + SCRIPT, {}, False),
        (LISTING + SCRIPT.replace("-rwxr-xr-x", "-rw-r--r--"), CRON, False),
        (LISTING, CRON | {"logs__cron": LINE}, True),
        (LISTING, CRON | {"logs__cron": LINE.replace("0 3", "#0 3")}, False),
        (LISTING, {"logs__cron": LINE}, False),
        (LISTING, {"logs__cron": Gap.DENIED}, None),
        (LISTING, {"host__units": Gap.TIMEOUT}, None),
        (LISTING, {"uid": 1000}, None),
    ],
)  # fmt: skip
def test_the_job_that_rotates(make_evidence, listing, sections, scheduled):
    assert services(make_evidence, listing, **sections).job.scheduled is scheduled


def test_the_last_run_of_the_job(make_evidence):
    run = services(make_evidence, LISTING + STATE).job.last
    assert run == dt.datetime.fromtimestamp(1795500000, dt.UTC)
    assert services(make_evidence, LISTING).job.last is None
    assert services(make_evidence, LISTING + FUTURE).job.last is None


def test_without_processes_nothing_is_known(make_evidence):
    with pytest.raises(EvidenceMissing):
        services(make_evidence, logs__processes=Gap.DENIED)


OLD, NEW = 1750775860, 1795507592  # 2025-06-24, 2026-11-24
DAY = dt.date(2026, 5, 24)


@pytest.mark.parametrize(
    ("birth", "before"),
    [
        (f"/ {OLD} {NEW}\n/etc/machine-id {OLD} {OLD}\n", True),
        (f"/ 0 {NEW}\n/etc/machine-id - {OLD}\n/etc/ssh/ssh_host_rsa_key.pub ? {OLD}\n", True),
        (f"/ {NEW} {NEW}\n/etc/machine-id {NEW} {NEW}\n/etc/hostname 0 {OLD}\n", False),
        # An image that was started for the first time today.
        (f"/ {OLD} {NEW}\n/etc/machine-id 0 {OLD}\n/etc/ssh/ssh_host_rsa_key.pub 0 {NEW}\n", None),
        (f"/etc/machine-id 0 {OLD}\n", None),
        (f"/ 0 {OLD}\n/lost+found 0 {OLD}\n", None),
        ("/etc/machine-id 0 0\n/etc/ssh/ssh_host_rsa_key.pub 0 1\n", None),
        ("", None),
        ("nonsense\n", None),
    ],
)
def test_the_age_of_a_host(make_evidence, birth, before):
    assert read_host_age(make_evidence({"host.birth": birth})).before(DAY) is before


@pytest.mark.parametrize(
    ("text", "action", "files", "megabytes", "cutting"),
    [
        ("max_log_file_action = ROTATE\nnum_logs = 5\nmax_log_file = 8\n", "rotate", 5, 8, ()),
        ("  Num_Logs=99\n#num_logs = 3\n", "ignore", 99, 0, ()),
        ("num_logs = x\ndisk_full_action = rotate\n", "ignore", 0, 0, ("disk_full_action",)),
        ("", "ignore", 0, 0, ()),
    ],
)
def test_auditd(make_evidence, text, action, files, megabytes, cutting):
    found = read_auditd(make_evidence({"file:/etc/audit/auditd.conf": text}))
    assert (found.action, found.files, found.megabytes, found.cutting) == (
        action, files, megabytes, cutting,
    )  # fmt: skip


def test_no_auditd(make_evidence):
    assert read_auditd(make_evidence({"file:/etc/audit/auditd.conf": Gap.ABSENT})) is None
    with pytest.raises(EvidenceMissing):
        read_auditd(make_evidence({"file:/etc/audit/auditd.conf": Gap.DENIED}))
