"""What a rule of logrotate's promises, counted in days; and what the real program leaves."""

import datetime as dt
import gzip
import os
import re
import shutil
import subprocess
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit_agent.facts.logfiles import read_listing
from audit_agent.facts.logrotate import Settings, read_logrotate
from audit_agent.facts.retention import FOREVER, Promise, months_before, promise

DAY = 86400
LOGROTATE = shutil.which("logrotate", path="/usr/sbin:/usr/bin")


@pytest.mark.parametrize(
    ("settings", "least", "most"),
    [
        (Settings(criterion="daily", rotate=184), 184, 185),
        (Settings(criterion="weekly", rotate=4), 28, 35),
        (Settings(criterion="weekly", rotate=24), 168, 175),
        (Settings(criterion="weekly", rotate=26), 182, 189),
        (Settings(criterion="weekly", rotate=27), 189, 196),
        (Settings(criterion="monthly", rotate=6), 181, 216),
        (Settings(criterion="monthly", rotate=7), 212, 246),
        (Settings(criterion="monthly", rotate=12), 365, 398),
        (Settings(criterion="yearly", rotate=1), 365, 732),
        (Settings(criterion="yearly", rotate=0), 0, 366),
        (Settings(criterion="daily", rotate=0), 0, 1),
        (Settings(criterion="hourly", rotate=48), None, 49),
        (Settings(criterion="hourly", rotate=0), 0, 1),
        (Settings(), 0, None),
        (Settings(rotate=200), None, None),
        (Settings(rotate=-1), FOREVER, None),
        (Settings(rotate=-1, maxage=200), 200, None),
        (Settings(criterion="weekly", rotate=-1), FOREVER, None),
        (Settings(criterion="weekly", rotate=-1, maxage=200), 200, 214),
        (Settings(criterion="weekly", rotate=27, maxage=30), 30, 44),
        (Settings(criterion="weekly", rotate=4, maxage=365), 28, 35),
        (Settings(criterion="weekly", rotate=27, maxsize=1), None, 196),
        (Settings(criterion="weekly", rotate=27, minsize=1), 189, None),
        (Settings(criterion="weekly", rotate=27, ifempty=False), 189, None),
        (Settings(criterion="monthly", rotate=2**31 - 1), 365 * (2**31 // 12) + 212, None),
    ],
)
def test_a_promise_is_an_interval(settings, least, most):
    found = promise(settings)
    assert found.least == least
    if most is not None or settings.rotate < 2**30:
        assert found.most == most


@given(
    st.sampled_from(["daily", "weekly", "monthly", "yearly", "hourly", "size"]),
    st.integers(-1, 400),
    st.integers(0, 400),
    st.sampled_from([0, 1]),
)
def test_at_least_is_never_more_than_at_most(criterion, rotate, maxage, maxsize):
    found = promise(Settings(criterion=criterion, rotate=rotate, maxage=maxage, maxsize=maxsize))
    assert found.least is None or found.most is None or 0 <= found.least <= found.most
    if maxage:
        assert found.least is None or found.least <= maxage


def test_months_are_counted_from_every_first_of_the_month():
    """`monthly` x N against the calendar: the fewest days between two firsts N months apart."""
    firsts = [dt.date(2021 + n // 12, n % 12 + 1, 1) for n in range(96)]
    for count in range(1, 30):
        spans = [(later - first).days for first, later in zip(firsts, firsts[count:], strict=False)]
        kept = promise(Settings(criterion="monthly", rotate=count))
        assert kept.least == min(spans) or (count % 12 == 0 and kept.least <= min(spans))
        assert kept.least <= min(spans)


@pytest.mark.parametrize(
    ("day", "expected"),
    [
        ("2026-11-24", "2026-05-24"),
        ("2026-08-31", "2026-02-28"),
        ("2024-08-31", "2024-02-29"),
        ("2024-08-29", "2024-02-29"),
        ("2026-08-29", "2026-02-28"),
        ("2026-03-31", "2025-09-30"),
        ("2026-06-30", "2025-12-30"),
        ("2026-01-01", "2025-07-01"),
        ("2026-06-01", "2025-12-01"),
        ("2026-12-31", "2026-06-30"),
    ],
)
def test_six_months_are_calendar_months(day, expected):
    assert months_before(dt.date.fromisoformat(day), 6).isoformat() == expected


@given(st.dates(dt.date(1972, 1, 1), dt.date(2199, 12, 31)))
def test_six_months_are_181_to_184_days(day):
    before = months_before(day, 6)
    assert 181 <= (day - before).days <= 184
    assert before.day == day.day or (before + dt.timedelta(days=1)).day == 1


needs_logrotate = pytest.mark.skipif(
    LOGROTATE is None, reason="logrotate is not installed (make test installs it as root on Debian)"
)


def rotated(folder, rule):
    """One forced run of the real program over folder/x.log."""
    conf = folder / "conf"
    conf.write_text(f"{folder}/x.log {{\n{rule}\n}}\n")
    conf.chmod(0o644)
    folder.chmod(0o755)
    subprocess.run(
        [LOGROTATE, "-f", "-s", folder / "state", conf], check=True, timeout=20, capture_output=True
    )


def texts(folder):
    """What can still be read in any of the log's files."""
    return "".join(
        (gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()).decode()
        for path in folder.glob("x.log*")
    )


@needs_logrotate
@pytest.mark.parametrize(
    "rule",
    ["daily\nrotate {}", "weekly\nrotate {}\ndateext\ncompress", "size 1\nrotate {}\nstart 5"],
)
@pytest.mark.parametrize("rotate", [0, 1, 3])
def test_a_record_goes_with_the_rotation_that_was_promised(tmp_path, rule, rotate):
    """Each run is a period; a date in a name is set back, as if the runs were days apart."""
    gone = {}
    for period in range(8):
        (tmp_path / "x.log").write_text(f"record {period}\n")
        rotated(tmp_path, rule.format(rotate))
        for path in tmp_path.glob(time.strftime("x.log-%Y*")):
            path.rename(tmp_path / path.name.replace(time.strftime("%Y"), f"200{period}"))
        left = texts(tmp_path)
        for written in range(period + 1):
            if f"record {written}\n" not in left:
                gone.setdefault(written, period - written)
    assert {gone[written] for written in range(4)} == {rotate}


@needs_logrotate
@pytest.mark.parametrize("naming", ["nodateext", "dateext"])
def test_maxage_takes_no_record_that_is_younger(tmp_path, naming):
    names = {"nodateext": "x.log.{}", "dateext": "x.log-2026{:02}01"}[naming]
    days = {1: 10, 2: 29.9, 3: 30.1, 4: 200}
    for number, age in days.items():
        place = number if naming == "nodateext" else 5 - number
        path = tmp_path / names.format(place)
        path.write_text(f"record {number}\n")
        os.utime(path, (time.time() - age * DAY,) * 2)
    (tmp_path / "x.log").write_text("record 0\n")
    rotated(tmp_path, f"daily\nrotate -1\nmaxage 30\n{naming}")
    assert re.findall(r"record \d", "".join(sorted(texts(tmp_path).splitlines()))) == [
        "record 0", "record 1", "record 2",
    ]  # fmt: skip


@needs_logrotate
def test_without_a_number_of_rotations_nothing_goes(tmp_path):
    for period in range(12):
        (tmp_path / "x.log").write_text(f"record {period}\n")
        rotated(tmp_path, "weekly\nrotate -1")
    assert len(texts(tmp_path).splitlines()) == 12


def test_the_promise_of_a_packaged_file(make_evidence):
    """Read, promised, and the block quoted: Debian's own rule for rsyslog, as an example."""
    text = "/var/log/syslog\n/var/log/auth.log\n{\n\trotate 4\n\tweekly\n\tmissingok\n}\n"
    evidence = make_evidence(
        {"file:/etc/logrotate.conf": text, "logs.files": "drwxr-xr-x 0 0 1 1 0 /var/log\n"}
    )
    rule = read_logrotate(evidence, read_listing(evidence)).rule("/var/log/auth.log")
    assert promise(rule.settings) == Promise(28, 35)
    assert rule.quote.lines == "1-7"
    assert rule.settings.quotes["rotate"].lines == "4"
    assert rule.settings.quotes["criterion"].lines == "5"
