"""Time stamps of logs: every format, the year that RFC 3164 leaves out, and what is no time."""

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit_agent.facts.log_records import Stamp, host_zone, moment, read_ends
from audit_agent.model import Quote

CST = dt.timezone(dt.timedelta(hours=8))
WRITTEN = dt.datetime(2026, 11, 24, 4, 0, tzinfo=dt.UTC)


def read(text, written=WRITTEN, zone=CST):
    found = moment(Stamp(text, "", Quote("logs.records", 1, 1)), written, zone)
    return found and found.time.isoformat()


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("May 20 10:01:02", "2026-05-20T10:01:02+08:00"),
        ("May  2 10:01:02", "2026-05-02T10:01:02+08:00"),
        ("Dec 20 10:01:02", "2025-12-20T10:01:02+08:00"),
        ("Nov 24 12:00:00", "2026-11-24T12:00:00+08:00"),
        ("Nov 25 11:00:00", "2026-11-25T11:00:00+08:00"),
        ("Nov 26 10:01:02", "2025-11-26T10:01:02+08:00"),
        ("Feb 29 10:01:02", "2024-02-29T10:01:02+08:00"),
        ("Feb 30 10:01:02", None),
        ("Foo 10 10:01:02", None),
        ("2026-05-20T10:01:02.123456+08:00", "2026-05-20T10:01:02+08:00"),
        ("2026-05-20T10:01:02Z", "2026-05-20T10:01:02+00:00"),
        ("2026-05-20 10:01:02,123", "2026-05-20T10:01:02+08:00"),
        ("2026/05/20 10:01:02", "2026-05-20T10:01:02+08:00"),
        ("[2026-05-20 10:01:02 -0530", "2026-05-20T10:01:02-05:30"),
        ("2026-13-20T10:01:02Z", None),
        ("2026-05-20T10:01:60Z", "2026-05-20T10:01:59+00:00"),
        ("[20/May/2026:10:01:02 +0800]", "2026-05-20T10:01:02+08:00"),
        ("[20/Mai/2026:10:01:02 +0800]", None),
        ("[Wed May 20 10:01:02.5 2026]", "2026-05-20T10:01:02+08:00"),
        ("audit(1779242462.123", "2026-05-20T02:01:02.123000+00:00"),
        ("1779242462.123", "2026-05-20T02:01:02.123000+00:00"),
        ("1970-01-01T00:00:07Z", None),
        ("audit(7.0", None),
        ("-", None),
        ("", None),
        ("2026-05-20T10:01:02+99:99", None),
    ],
)
def test_a_stamp_is_read(text, time):
    assert read(text) == time


def test_a_year_is_inferred_from_the_files_own_time():
    old = dt.datetime(2024, 1, 3, tzinfo=dt.UTC)
    assert read("Dec 28 10:01:02", old) == "2023-12-28T10:01:02+08:00"
    assert read("Jan  2 10:01:02", old) == "2024-01-02T10:01:02+08:00"


@given(st.datetimes(dt.datetime(2001, 1, 1), dt.datetime(2100, 1, 1)), st.integers(0, 300))
def test_an_inferred_year_is_never_too_early(time, days):
    """Whatever was written within 300 days before the file's time gets its own year back."""
    time = time.replace(microsecond=0, tzinfo=dt.UTC)
    text = f"{time:%b} {time.day:2} {time:%H:%M:%S}"
    found = read(text, time + dt.timedelta(days=days), dt.UTC)
    assert found == time.isoformat() or (time.month, time.day) == (2, 29)


@given(st.text(max_size=60))
def test_no_text_breaks_the_reading(text):
    read(text)


def test_the_ends_of_files(make_evidence):
    ends = read_ends(
        make_evidence(
            {
                "logs.records": "first\tMay 20 10:01:02\t/var/log/a\nlast\t-\t/var/log/a\n"
                "denied\t-\t/var/log/b\nfirst\t-\t/var/log/with\ttab\nnonsense\n"
            }
        )
    )
    assert ends["/var/log/a"].first.text == "May 20 10:01:02"
    assert ends["/var/log/a"].last.gap == "none"
    assert ends["/var/log/b"].first.gap == "denied"
    assert ends["/var/log/with\ttab"].first.quote.lines == "4"


@pytest.mark.parametrize(
    ("clock", "hours"),
    [("2026-11-24T04:00:00Z\n+0800\n", 8), ("x\n-0330\n", -3.5), ("", 8), ("2026\n", 8)],
)
def test_the_hosts_zone(make_evidence, clock, hours):
    zone = host_zone(make_evidence({"host.clock": clock}))
    assert zone.utcoffset(None) == dt.timedelta(hours=hours)
