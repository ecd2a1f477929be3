"""What the collector reads of real log trees: time stamps, and nothing else of their text."""

import bz2
import contextlib
import gzip
import lzma
import os
import random
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from audit_agent import collector, evidence
from audit_agent.model import Gap

NONCE = "0123456789abcdef" * 2
FOLDER = Path(collector.__file__).parent
PRELUDE = (FOLDER / "prelude.sh").read_text()
FRAGMENT = (FOLDER / "sections" / "logs.sh").read_text()
SHELLS = {"dash": ["dash"], "busybox": ["busybox", "sh"], "mksh": ["mksh"], "ksh93": ["ksh93"]}
BUSYBOX = ("find", "stat", "sort", "awk", "head", "tail", "tr", "sed", "gzip", "xz", "bzip2")
DAY = 86400

SECRET = "hunter2 203.0.113.77 /secret/url alice"
FORMATS = {
    "auth.log": ("May 20 10:01:02 web1 sshd[1]: " + SECRET, "May 20 10:01:02"),
    "syslog": ("2026-05-20T10:01:02.123+08:00 web1 x: " + SECRET, "2026-05-20T10:01:02.123+08:00"),
    "messages": ("<13>May  2 10:01:02 web1 x: " + SECRET, "May  2 10:01:02"),
    "audit.log": (
        "type=USER_LOGIN msg=audit(1779242462.123:77): pid=1 acct=alice addr=203.0.113.77",
        "audit(1779242462.123",
    ),
    "access.log": (
        '203.0.113.77 - alice [20/May/2026:10:01:02 +0800] "GET /secret/url?p=hunter2" 200',
        "[20/May/2026:10:01:02 +0800]",
    ),
    "access_json.log": (
        '{"ip":"203.0.113.77","url":"/secret/url","t":"2026-05-20T10:01:02+08:00"}',
        "2026-05-20T10:01:02+08:00",
    ),
    "named.log": ("20-May-2026 10:01:02 client 203.0.113.77: query: alice", "-"),
    "query.log": ("2026/05/20 10:01:02 client 203.0.113.77 alice", "2026/05/20 10:01:02"),
    "sudo.log": ("May 20 10:01:02 2026 : alice : COMMAND=/bin/hunter2", "May 20 10:01:02"),
    "unbound.log": ("[Wed May 20 10:01:02.5 2026] [error] alice", "[Wed May 20 10:01:02.5 2026]"),
}  # fmt: skip


@pytest.fixture(params=SHELLS)
def shell(request):
    words = SHELLS[request.param]
    if shutil.which(words[0]) is None:
        pytest.skip(f"{words[0]} is not installed (make test installs it as root on Debian)")
    return words


def collected(shell, commands, **options):
    source = f"N={NONCE}\nVERSION=test\n{PRELUDE}\n{FRAGMENT}\n"
    body = f'{source}all() {{\nexec 3>&1\n{commands}\necho "@$N done"\n}}'
    script = f'{body}\necho "AUDIT-AGENT-STREAM/1 $N test plain"\nall </dev/null\n'
    done = subprocess.run(
        [*shell, "-s"],
        input=script.encode(),
        capture_output=True,
        timeout=120,
        check=False,
        **options,
    )
    stream = evidence.parse_stream(done.stdout)
    assert stream.complete
    return stream.sections


def stamps(shell, folder, before=""):
    commands = f"{before}\nframe logs.records 262144 x logs_records {folder}"
    lines = collected(shell, commands)["logs.records"].lines
    return {
        (word, path.removeprefix(f"{folder}/")): stamp for word, stamp, path in map(fields, lines)
    }


def fields(line):
    word, stamp, path = line.split("\t")
    return word, stamp, path


def aged(path, data, days):
    path.write_bytes(data)
    then = time.time() - days * DAY
    os.utime(path, (then, then))


def test_of_every_format_only_the_time_stamp_leaves(shell, tmp_path):
    for name, (line, _) in FORMATS.items():
        (tmp_path / name).write_text(f"  continued {SECRET}\n{line}\n{line}\n")
    found = stamps(shell, tmp_path)
    assert found == {
        (word, name): stamp for name, (_, stamp) in FORMATS.items() for word in ("first", "last")
    }


def test_busyboxs_tools_see_the_same(tmp_path):
    for name, (line, _) in FORMATS.items():
        (tmp_path / name).write_text(f"{line}\n")
    with gzip.open(tmp_path / "syslog.2.gz", "wb") as file:
        file.write(FORMATS["syslog"][0].encode())
    tools = "\n".join(f'{tool}() {{ busybox {tool} "$@"; }}' for tool in BUSYBOX)
    expected = stamps(["dash"], tmp_path)
    assert stamps(["dash"], tmp_path, tools) == expected
    assert expected["first", "syslog.2.gz"] == FORMATS["syslog"][1]


def packers():
    yield ".gz", gzip.compress
    yield ".xz", lzma.compress
    yield ".bz2", bz2.compress
    for tool, ending in (("zstd", ".zst"), ("lz4", ".lz4")):
        if shutil.which(tool):
            yield (
                ending,
                lambda data, tool=tool: (
                    subprocess.run([tool, "-c"], input=data, capture_output=True, check=True).stdout
                ),
            )


@pytest.mark.parametrize(("ending", "pack"), list(packers()))
def test_a_compressed_file_is_read(tmp_path, ending, pack):
    text = "".join(f"{FORMATS['syslog'][0]} {i}\n" for i in range(20000)).encode()
    aged(tmp_path / f"syslog.2{ending}", pack(text), 10)
    aged(tmp_path / "syslog", b"2026-11-20T10:00:00Z x\n", 0)
    assert stamps(["dash"], tmp_path) == {
        ("first", f"syslog.2{ending}"): FORMATS["syslog"][1],
        ("first", "syslog"): "2026-11-20T10:00:00Z",
        ("last", "syslog"): "2026-11-20T10:00:00Z",
    }


def test_a_missing_program_is_named(tmp_path):
    aged(tmp_path / "syslog.2.zst", b"x", 10)
    found = stamps(["dash"], tmp_path, 'have() { [ "$1" != zstd ] && command -v "$1" >/dev/null; }')
    assert list(found) == [("no-tool", "syslog.2.zst")]


def test_the_files_that_matter_are_picked(shell, tmp_path):
    """Of 200 daily files: the oldest two, the oldest by name, those after a silence, the newest."""
    for n in range(1, 201):
        if not 50 < n < 80:
            aged(tmp_path / f"auth.log.{n}", b"May 20 10:01:02 x\n", n)
    aged(tmp_path / "auth.log", b"May 20 10:01:02 x\n", 0)
    aged(tmp_path / "auth.log.999", b"May 20 10:01:02 x\n", 3.5)
    found = {path for _, path in stamps(shell, tmp_path)}
    assert found == {"auth.log", "auth.log.200", "auth.log.199", "auth.log.50", "auth.log.999"}


def test_dates_in_names_count_down(tmp_path):
    for day in range(10, 29):
        aged(tmp_path / f"messages-202610{day}", b"May 20 10:01:02 x\n", 1 + day / 100)
    aged(tmp_path / "messages", b"May 20 10:01:02 x\n", 0)
    found = {path for _, path in stamps(["dash"], tmp_path)}
    assert "messages-20261010" in found
    assert len(found) <= 4


def test_whatever_stands_in_a_log_no_text_of_it_leaves(tmp_path):
    pick = random.Random(7)  # noqa: S311 - the same noise in every run
    other = "f" * 32
    words = [*(line for line, _ in FORMATS.values()), f"{other} first /x", "\x1b[31m", "\t"]
    for n in range(30):
        data = bytearray()
        for _ in range(40):
            piece = pick.choice(words).encode()
            cut = pick.randrange(len(piece) + 1)
            data += piece[:cut] + pick.randbytes(pick.randrange(4)) + piece[cut:]
            data += pick.choice([b"\n", b" ", b"\r\n", b"\0"])
        (tmp_path / f"auth.log-{n}").write_bytes(data)
        (tmp_path / f"x{n}access.log").write_bytes(data)
    section = collected(["dash"], f"frame logs.records 262144 x logs_records {tmp_path}")[
        "logs.records"
    ]
    allowed = re.compile(
        r"(first|last)\t(-|[][0-9:.,+/TZ -]*|audit\([0-9.]+|[][A-Z][a-z]{2} [ 0-9:]+"
        r"|\[[A-Z][a-z]{2} [A-Z][a-z]{2} [0-9 :.]+\]|\[\d\d/[A-Z][a-z]{2}/[0-9: +-]+\])\t/\S+"
    )
    assert len(section.lines) > 50
    for line in section.lines:
        assert allowed.fullmatch(line), line


def test_the_listing_is_one_line_a_file_whatever_its_name(shell, tmp_path):
    for name in ("plain", "with space", "with\nnewline", "ümläut", "quote'd"):
        (tmp_path / name).write_text("x")
    (tmp_path / "link").symlink_to("plain")
    (tmp_path / "closed").mkdir(mode=0o000)
    commands = f"frame logs.files 100000 x logs_files {tmp_path}"
    options = {"user": 65534, "group": 65534, "cwd": "/"} if os.geteuid() == 0 else {}
    for parent in (tmp_path, *tmp_path.parents):
        if parent.stat().st_uid == os.geteuid() and not parent.stat().st_mode & 0o005:
            parent.chmod(0o755)
    section = collected(shell, commands, **options)["logs.files"]
    assert section.gap is None
    entries = [line for line in section.lines if re.match(r"[-dl][rwxsStT-]{9} ", line)]
    assert len(entries) == 7
    assert any(line.endswith(f"{tmp_path}/with space") for line in entries)
    assert [line for line in section.lines if "Permission denied" in line]


def test_passwords_in_scripts_do_not_leave(tmp_path):
    path = tmp_path / "mysql"
    path.write_text(
        "/var/log/mysql.log {\n postrotate\n  mysqladmin -u root -phunter2 flush-logs\n"
        "  mysql --password=hunter2\n  curl -u alice:hunter2 https://bob:hunter2@x/\n"
        " endscript\n}\n"
    )
    commands = f"logs_secretive={path}\nlogs_rotation_file {path}"
    text = collected(["dash"], commands)[f"file:{path}"].text
    assert "hunter2" not in text
    assert text.count("\n") == 7


def test_nothing_there_is_no_gap(tmp_path):
    sections = collected(["dash"], f"frame logs.records 262144 x logs_records {tmp_path}")
    assert sections["logs.records"].gap is None
    assert sections["logs.records"].stdout == b""


def test_a_whole_run_frames_every_section():
    sections = collected(["dash"], "collect_logs")
    for name in ("logs.files", "logs.records", "logs.processes", "logs.cron"):
        assert sections[name].gap in {None, Gap.NO_TOOL}
    assert "file:/etc/logrotate.conf" in sections


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="makes a process namespace: needs root")
def test_the_log_service_of_a_container_is_not_the_hosts(tmp_path):
    """A process called rsyslogd, here and in a process namespace of its own."""
    shutil.copy(shutil.which("sleep"), tmp_path / "rsyslogd")
    ours = subprocess.Popen([tmp_path / "rsyslogd", "60"])
    try:
        assert str(tmp_path).encode() in run_processes()
    finally:
        ours.kill()
        ours.wait()
    words = ["unshare", "--pid", "--fork", "--kill-child", tmp_path / "rsyslogd", "60"]
    theirs = subprocess.Popen(words)
    try:
        deadline = time.monotonic() + 10
        while not runs(tmp_path / "rsyslogd"):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert str(tmp_path).encode() not in run_processes()
    finally:
        theirs.kill()
        theirs.wait()


def runs(program):
    """Whether a process of this program is seen in /proc."""
    for link in Path("/proc").glob("[0-9]*/exe"):
        with contextlib.suppress(OSError):
            if link.readlink() == program:
                return True
    return False


def run_processes():
    """The collector's section of log daemons on this machine."""
    done = subprocess.run(
        ["sh", "-s"], input=collector.script(), capture_output=True, timeout=60, check=True
    )
    return evidence.parse_stream(done.stdout).sections["logs.processes"].stdout
