"""journald's configuration, against systemd's own reading of files and time spans."""

import re
import shutil
import subprocess

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audit_agent.facts.journald import read_journal_span, read_journald, seconds
from audit_agent.facts.logfiles import read_listing
from audit_agent.model import EvidenceMissing, Gap

FOLDERS = ("etc", "run", "usr/local/lib", "usr/lib")
IN_MEMORY = "drwxr-xr-x 0 0 4096 2 1795507587 /var/log\n"
ON_DISK = IN_MEMORY + "drwxr-sr-x 0 999 4096 2 1795507587 /var/log/journal\n"
MONTH = 2629800 / 86400

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed"
)


def sections(files, listing=ON_DISK):
    """Evidence as the collector makes it: {path: text, or None for a link to /dev/null}."""
    found = {"logs.files": listing}
    for folder in FOLDERS:
        found[f"file:/{folder}/systemd/journald.conf"] = Gap.ABSENT
        found[f"dir:/{folder}/systemd/journald.conf.d"] = ""
    for path, text in files.items():
        if text is not None:
            found[f"file:{path}"] = text
        else:
            directory, _, name = path.rpartition("/")
            found[f"dir:{directory}"] += f"lrwxrwxrwx 1 0 0 9 Nov 24 08:00 {name} -> /dev/null\n"
    return found


def read(make_evidence, files, listing=ON_DISK):
    evidence = make_evidence(sections(files, listing))
    return read_journald(evidence, read_listing(evidence))


CONF = "/etc/systemd/journald.conf"
DROP = "/etc/systemd/journald.conf.d/10-x.conf"


@pytest.mark.parametrize(
    ("files", "listing", "storage", "retention", "lines"),
    [
        ({}, ON_DISK, "persistent", 0, ["2"]),
        ({}, IN_MEMORY, "volatile", 0, ["1"]),
        ({CONF: "[Journal]\n#Storage=none\n"}, ON_DISK, "persistent", 0, ["2"]),
        ({CONF: "[Journal]\nStorage=none\n"}, ON_DISK, "none", 0, ["2"]),
        ({CONF: "Storage=none\n"}, ON_DISK, "persistent", 0, ["2"]),
        ({CONF: "[Other]\nStorage=none\n"}, ON_DISK, "persistent", 0, ["2"]),
        ({CONF: "[Journal]\nStorage=Volatile\n"}, ON_DISK, "persistent", 0, ["2"]),
        ({CONF: "[Journal]\nStorage = volatile  \n"}, ON_DISK, "volatile", 0, ["2"]),
        ({CONF: "[Journal]\nStorage=none\nStorage=volatile\n"}, ON_DISK, "volatile", 0, ["3"]),
        ({CONF: "[Journal]\nMaxRetentionSec=90day\n"}, ON_DISK, "persistent", 90, ["2", "2"]),
        ({CONF: "[Journal]\nMaxRetentionSec=0\n"}, ON_DISK, "persistent", 0, ["2", "2"]),
        ({CONF: "[Journal]\nMaxRetentionSec=junk\n"}, ON_DISK, "persistent", 0, ["2"]),
        ({CONF: "[Journal]\nMaxRetentionSec=\\\n 2w\n"}, ON_DISK, "persistent", 14, ["2-3", "2"]),
        (
            {CONF: "[Journal]\nStorage=none\n", DROP: "[Journal]\nStorage=persistent\n"},
            IN_MEMORY, "persistent", 0, ["2"],
        ),
        (
            {CONF: "[Journal]\nMaxRetentionSec=1w\n", DROP: "[Journal]\nMaxRetentionSec=1year\n"},
            ON_DISK, "persistent", 365.25, ["2", "2"],
        ),
    ],
)  # fmt: skip
def test_the_settings_in_force(make_evidence, files, listing, storage, retention, lines):
    found = read(make_evidence, files, listing)
    assert found.storage == storage
    assert found.retention == pytest.approx(retention)
    assert [quote.lines for quote in found.quotes] == lines


def test_a_retention_is_certain_but_for_one_file(make_evidence):
    text = "[Journal]\nMaxRetentionSec=184day\n"
    assert read(make_evidence, {CONF: text}).least == pytest.approx(184 - MONTH)
    assert read(make_evidence, {CONF: text + "MaxFileSec=1day\n"}).least == pytest.approx(183)
    assert read(make_evidence, {CONF: text + "MaxFileSec=0\n"}).least == 0


def test_a_file_that_may_not_be_read_is_no_default(make_evidence):
    with pytest.raises(EvidenceMissing):
        read(make_evidence, {CONF: Gap.DENIED})
    with pytest.raises(EvidenceMissing):
        read(make_evidence, {DROP: Gap.DENIED})


@needs_systemd
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    chosen=st.dictionaries(
        st.tuples(
            st.sampled_from(FOLDERS),
            st.sampled_from(["", "10-a.conf", "20-b.conf", "05-c.conf", "z.conf", "x.txt"]),
        ),
        st.booleans(),
        max_size=8,
    )
)
def test_files_count_in_systemds_order(make_evidence, tmp_path_factory, chosen):
    """Each file sets another value: the last one that systemd lists must be in force."""
    root = tmp_path_factory.mktemp("root")
    files = {}
    for number, ((folder, name), masked) in enumerate(chosen.items(), 1):
        if name == "" and folder != "etc":
            continue  # older and newer versions differ in whether they look for a main file there
        place = f"/{folder}/systemd/journald.conf" + (f".d/{name}" if name else "")
        files[place] = None if masked and name else f"[Journal]\nMaxRetentionSec={number}day\n"
        path = root / place[1:]
        path.parent.mkdir(parents=True, exist_ok=True)
        if files[place] is None:
            path.symlink_to("/dev/null")
        else:
            path.write_text(files[place])
    done = subprocess.run(
        ["systemd-analyze", f"--root={root}", "cat-config", "systemd/journald.conf"],
        capture_output=True, text=True, check=False, timeout=20,
    )  # fmt: skip
    values = re.findall(r"^MaxRetentionSec=(\d+)day", done.stdout, re.MULTILINE)
    found = read(make_evidence, files)
    assert round(found.retention) == (int(values[-1]) if values else 0)


@needs_systemd
def test_time_spans_are_systemds():
    spans = [
        "6month", "6 months", "26w", "184d", "184 days", "1y", "1year 2month", "2592000", "1.5h",
        "2h30min", "1M", "1m", "90m", "5s 3ms", "7weeks", "1 d", "0", "2hr", "10us",
    ]  # fmt: skip
    for span in spans:
        done = subprocess.run(
            ["systemd-analyze", "timespan", span], capture_output=True, text=True, check=True
        )
        told = re.search(r"s: (\d+)", done.stdout)
        assert seconds(span) == pytest.approx(int(told[1]) / 1e6), span
    for wrong in ("", "x", "1 fortnight", "-1d", "d"):
        assert seconds(wrong) is None
    assert seconds("infinity") == 0


def test_the_span_of_the_journal(make_evidence):
    told = "first 1779242462123456\nlast 1795507587000000\n"
    span = read_journal_span(make_evidence({"logs.journal": told}))
    assert span.first.isoformat()[:10] == "2026-05-20"
    assert span.last.isoformat()[:10] == "2026-11-24"
    empty = read_journal_span(make_evidence({"logs.journal": ""}))
    assert (empty.first, empty.last) == (None, None)
    with pytest.raises(EvidenceMissing):
        read_journal_span(make_evidence({"logs.journal": Gap.DENIED}))
