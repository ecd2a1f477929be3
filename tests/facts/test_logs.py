"""Which files make up a log, and how far back it reaches. (The listings are written by hand.)"""

import datetime as dt
import re
import shutil
import subprocess

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audit_agent.facts import Host
from audit_agent.facts.logfiles import Listing, read_listing, wildcard
from audit_agent.facts.logs import base_path, kind_of
from audit_agent.model import EvidenceMissing, Gap

DAY = 86400
NOW = dt.datetime(2026, 11, 24, 4, 0, tzinfo=dt.UTC)
SILENCE = dt.timedelta(days=31)


def listed(files):
    """{path: age in days, or (age, size)} as the collector lists it."""
    lines = ["drwxr-xr-x 0 0 4096 9 1795507587 /var/log"]
    for path, age in files.items():
        days, size = age if isinstance(age, tuple) else (age, 100)
        lines.append(f"-rw-r----- 0 4 {size} 1 {int(NOW.timestamp() - days * DAY)} {path}")
    return "\n".join(lines) + "\n"


def recorded(stamps):
    """{path: age of its first record in days, or a gap}."""
    lines = []
    for path, days in stamps.items():
        if isinstance(days, str):
            lines.append(f"{days}\t-\t{path}")
        else:
            lines.append(f"first\t{NOW - dt.timedelta(days=days):%Y-%m-%dT%H:%M:%SZ}\t{path}")
    return "\n".join(lines) + "\n"


def logs(make_evidence, files, stamps, **more):
    sections = {"logs.files": listed(files), "logs.records": recorded(stamps)}
    return Host(make_evidence(sections | more)).logs


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/log/auth.log", "auth"),
        ("/var/log/secure", "auth"),
        ("/var/log/syslog", "system"),
        ("/var/log/messages", "system"),
        ("/var/log/audit/audit.log", "audit"),
        ("/var/log/nginx/access.log", "web"),
        ("/var/log/nginx/shop/access.log", "web"),
        ("/var/log/nginx/error.log", ""),
        ("/var/log/httpd/ssl_access_log", "web"),
        ("/var/log/apache2/other_vhosts_access.log", "web"),
        ("/www/wwwlogs/example.com.log", "web"),
        ("/www/wwwlogs/example.com.error.log", ""),
        ("/usr/local/nginx/logs/access.log", "web"),
        ("/var/log/dpkg.log", ""),
        ("/var/log/ufw.log", "firewall"),
        ("/var/log/named/query.log", "dns"),
        ("/home/x/var/log/auth.log", ""),
    ],
)
def test_a_path_has_a_class(path, kind):
    assert kind_of(path) == kind


@pytest.mark.parametrize(
    ("path", "base"),
    [
        ("/var/log/auth.log", "/var/log/auth.log"),
        ("/var/log/auth.log.1", "/var/log/auth.log"),
        ("/var/log/auth.log.27.gz", "/var/log/auth.log"),
        ("/var/log/secure-20260520", "/var/log/secure"),
        ("/var/log/secure-20260520.xz", "/var/log/secure"),
        ("/var/log/secure-2026052013.zst", "/var/log/secure"),
        ("/var/log/secure-20260520-1779242462", "/var/log/secure"),
        ("/var/log/secure.2026-05-20.bz2", "/var/log/secure"),
        ("/var/log/nginx/access-20260520.log.gz", "/var/log/nginx/access.log"),
        ("/var/log/nginx/access_2026-05-20.log", "/var/log/nginx/access.log"),
        ("/var/log/nginx/old/access.log-20260520", "/var/log/nginx/access.log"),
        ("/var/log/audit/audit.log.4", "/var/log/audit/audit.log"),
        ("/var/log/syslog.old", "/var/log/syslog.old"),
        ("/www/wwwlogs/1.example.com.log", "/www/wwwlogs/1.example.com.log"),
        ("/www/wwwlogs/10.0.0.7.log", "/www/wwwlogs/10.0.0.7.log"),
        ("/var/log/nginx/access.1.log", "/var/log/nginx/access.log"),
    ],
)
def test_a_rotated_file_belongs_to_its_log(make_evidence, path, base):
    listing = read_listing(make_evidence({"logs.files": listed({"/var/log/nginx/access.log": 0})}))
    assert base_path(path, listing, {}) == base


def test_an_olddir_of_logrotates_belongs_to_its_log(make_evidence):
    files = {"/var/log/secure": 0, "/data/old/secure-20260520.gz": 188}
    conf = "/var/log/secure {\nweekly\nrotate 30\nolddir /data/old\n}\n"
    found = logs(make_evidence, files, {}, **{"file:/etc/logrotate.conf": conf})
    assert [log.path for log in found] == ["/var/log/secure"]
    assert len(found[0].files) == 2


def test_auditd_may_write_elsewhere(make_evidence):
    conf = {"file:/etc/audit/auditd.conf": "log_file = /var/log/a/x.log\n"}
    found = logs(make_evidence, {"/var/log/a/x.log": 0, "/var/log/a/x.log.1": 9}, {}, **conf)
    assert [(log.kind, log.path, len(log.files)) for log in found] == [
        ("audit", "/var/log/a/x.log", 2)
    ]


A = "/var/log/auth.log"


@pytest.mark.parametrize(
    ("files", "stamps", "since", "sure", "earlier"),
    [
        # One file.
        ({A: 0}, {A: 3}, 3, True, None),
        # Weekly files without a gap.
        (
            {A: 0, f"{A}.1": 7, f"{A}.2.gz": 14},
            {A: 7, f"{A}.1": 14, f"{A}.2.gz": 21},
            21,
            True,
            None,
        ),
        # The middle was not looked into: neighbours in time join.
        ({A: 0, f"{A}.1": 7, f"{A}.2.gz": 14}, {A: 7, f"{A}.2.gz": 21}, 21, True, None),
        # A leftover of another time does not count.
        (
            {A: 0, f"{A}.1": 7, f"{A}-20250101": 600},
            {A: 7, f"{A}.1": 14, f"{A}-20250101": 607},
            14,
            True,
            607,
        ),
        # A silence within one file is not looked for; one between files is.
        ({A: 0, f"{A}.1": 40}, {A: 39, f"{A}.1": 47}, 47, True, None),
        ({A: 0, f"{A}.1": 40}, {A: 2, f"{A}.1": 47}, 2, True, 47),
        # An older file that could not be read.
        (
            {A: 0, f"{A}.1": 7, f"{A}.2.zst": 14},
            {A: 7, f"{A}.1": 14, f"{A}.2.zst": "no-tool"},
            14,
            False,
            None,
        ),
        # A younger file that could not be read does not matter.
        (
            {A: 0, f"{A}.1": 7, f"{A}.2.gz": 14},
            {A: 7, f"{A}.1": "denied", f"{A}.2.gz": 21},
            21,
            True,
            None,
        ),
        # Empty files hold nothing.
        ({A: (0, 0), f"{A}.1": 7}, {f"{A}.1": 14}, 14, True, None),
        # The file's time is new, its records are old: it does not close the gap behind it.
        ({A: 0, f"{A}.1": 7, f"{A}.9": 1}, {A: 7, f"{A}.1": 14, f"{A}.9": 200}, 14, True, 200),
        # The file's time is old, its records are new.
        ({A: 0, f"{A}.1": 7, f"{A}.9": 300}, {A: 7, f"{A}.1": 14, f"{A}.9": 5}, 14, True, None),
    ],
)
def test_how_far_a_log_reaches(make_evidence, files, stamps, since, sure, earlier):
    (log,) = logs(make_evidence, files, stamps)
    reach = log.reach(SILENCE)
    assert (NOW - reach.since.first.time).days == since
    assert reach.sure is sure
    assert (reach.earlier and (NOW - reach.earlier.first.time).days) == earlier


def test_stamps_without_a_year_in_a_file_that_was_never_rotated_are_not_sure(make_evidence):
    for files, sure in (({A: 0}, False), ({A: 0, f"{A}.1": 9}, True)):
        sections = {"logs.files": listed(files), "logs.records": f"first\tOct 10 10:00:00\t{A}\n"}
        (log,) = Host(make_evidence(sections)).logs
        assert log.reach(SILENCE).sure is sure


@given(
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 60)), min_size=1, max_size=12),
    st.integers(1, 60),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_a_reach_is_a_record_and_no_silence_lies_before_it(make_evidence, spans, silence):
    """spans: (age of the last record, days it covers), every file read."""
    files = {f"{A}.{n}": end for n, (end, _) in enumerate(spans)}
    stamps = {f"{A}.{n}": end + length for n, (end, length) in enumerate(spans)}
    (log,) = logs(make_evidence, files, stamps)
    reach = log.reach(dt.timedelta(days=silence))
    ages = sorted(stamps.values())
    assert (NOW - reach.since.first.time).days in ages
    if reach.earlier is None:
        assert (NOW - reach.since.first.time).days == ages[-1]


def test_without_a_listing_nothing_is_known(make_evidence):
    for content in (Gap.TIMEOUT, Gap.TRUNCATED, "find: '/var/log': Permission denied\n", ""):
        with pytest.raises(EvidenceMissing):
            read_listing(make_evidence({"logs.files": content}))


def test_what_could_not_be_entered_is_known(make_evidence):
    text = listed({A: 0}) + "find: '/var/log/audit': Permission denied\n"
    listing = read_listing(make_evidence({"logs.files": text}))
    assert listing.hidden("/var/log/audit/audit.log")
    assert not listing.hidden("/var/log/auth.log")


@pytest.mark.parametrize(
    ("mode", "bits"),
    [("-rw-r-----", 0o640), ("drwxrwxrwt", 0o1777), ("-rwsr-sr-x", 0o6755), ("-rw-rwSr-T", 0o3664)],
)
def test_modes_are_read(make_evidence, mode, bits):
    listing = read_listing(make_evidence({"logs.files": f"{mode} 0 0 1 1 1795507587 /x\n"}))
    assert listing.files["/x"].mode == bits


@given(st.lists(st.binary(max_size=60), max_size=8))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_listing_breaks_the_reading(make_evidence, lines):
    text = b"-rw-r----- 0 4 1 1 999999999999 /var/log/x\n" + b"\n".join(lines)
    assert "/var/log/x" in read_listing(make_evidence({"logs.files": text})).files


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is the oracle for wildcards")
def test_wildcards_match_as_in_a_shell(tmp_path):
    names = ["a.log", "b.log", ".hidden.log", "access.log", "x[1]", "a-1", "ab1", "a]", "a\\b", "A"]
    patterns = [
        "*.log", "?.log", "[ab].log", "[!a].log", "[^a].log", "a*", ".*", "x[[]1]", "a[-0-9]1",
        "a[]]", "[[:alpha:]].log", "a[[:digit:]x]", "\\a.log", "[a-c]*", "[", "a[", "*\\\\*",
        "[]a]*",
    ]  # fmt: skip
    for name in names:
        (tmp_path / name).write_text("")
    listing = Listing({}, ())
    listing.names = {"": names}
    for pattern in patterns:
        script = f"cd {tmp_path}; shopt -s nullglob; printf '%s\\n' {pattern}"
        done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True,
                              env={"LC_ALL": "C", "PATH": "/bin:/usr/bin"})  # fmt: skip
        expected = sorted(set(done.stdout.split("\n")) & set(names))
        found = sorted(name for name in names if re.fullmatch(wildcard(pattern), name))
        assert found == expected, pattern
