"""The installed command, as a user types it: exit statuses, one-line errors, standard output."""

import datetime as dt
import hashlib
import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

AGENT = str(Path(sys.executable).parent / "audit-agent")


def agent(*words, cwd, env=None, data=None):
    clean = {"PATH": os.environ["PATH"], "HOME": str(cwd), "LANG": "C.UTF-8"}
    return subprocess.run(
        [AGENT, *map(str, words)],
        cwd=cwd,
        env=clean | (env or {}),
        input=data,
        capture_output=True,
        timeout=120,
        check=False,
    )


@pytest.fixture(scope="module")
def collected(tmp_path_factory):
    """This machine's evidence, collected once through the command."""
    folder = tmp_path_factory.mktemp("collected")
    done = agent("collect", "-o", "here.evidence.zip", cwd=folder)
    assert (done.returncode, done.stderr.count(b"Traceback")) == (0, 0), done.stderr
    assert done.stdout == b"here.evidence.zip\n"
    return folder / "here.evidence.zip"


def test_run_leaves_a_report_and_its_evidence(tmp_path):
    done = agent("run", "--format", "json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    report = tmp_path / done.stdout.decode().strip()
    results = json.loads(report.read_bytes())
    assert results["schema"] == "audit-agent/results/1"
    (evidence,) = tmp_path.glob("*.evidence.zip")
    verified = agent("verify", evidence, cwd=tmp_path)
    assert verified.returncode == 0
    assert results["hosts"][0]["evidence_sha256"] in verified.stdout.decode()
    assert evidence.stat().st_mode & 0o077 == 0


def test_every_selected_check_has_a_row(collected, tmp_path):
    listed = agent("checks", cwd=tmp_path).stdout.decode().splitlines()
    ids = {line.split()[0] for line in listed}
    done = agent("evaluate", collected, "--format", "json", "-o", "-", cwd=tmp_path)
    (host,) = json.loads(done.stdout)["hosts"]
    assert {finding["check"] for finding in host["findings"]} == ids
    only = agent(
        "evaluate", collected, "--format", "json", "-o", "-", "--only", "ac-02", "--only", "AC-03",
        "--skip", "AC-03", cwd=tmp_path,
    )  # fmt: skip
    (host,) = json.loads(only.stdout)["hosts"]
    assert {finding["check"] for finding in host["findings"]} == {"AC-02"}


def test_every_quote_points_at_lines_that_are_there(collected, tmp_path):
    done = agent("evaluate", collected, "--format", "json", "-o", "-", cwd=tmp_path)
    with zipfile.ZipFile(collected) as archive:
        manifest = json.loads(archive.read("manifest.json"))
        sizes = {
            row["name"]: archive.read(row["file"]).count(b"\n") + 1 for row in manifest["sections"]
        }
    (host,) = json.loads(done.stdout)["hosts"]
    for finding in host["findings"]:
        if finding["status"] in {"pass", "fail", "warn"}:
            assert finding["evidence"], finding["check"]
        for quote in finding["evidence"]:
            if finding["status"] == "unknown" and quote["section"] not in sizes:
                continue
            last = int(quote["lines"].rpartition("-")[2] or 0)
            assert last <= sizes[quote["section"]], (finding["check"], quote)


def test_the_carried_script_gives_the_same_verdicts(tmp_path):
    assert agent("collect", "--script", "-o", "collect.sh", cwd=tmp_path).returncode == 0
    with (tmp_path / "host.stream").open("wb") as stream:
        subprocess.run(["sh", tmp_path / "collect.sh"], stdout=stream, check=True)
    verdicts = []
    for words, data in (
        (["host.stream"], None),
        (["-"], (tmp_path / "host.stream").read_bytes()),
    ):
        done = agent("evaluate", *words, "--format", "json", "-o", "-", cwd=tmp_path, data=data)
        assert done.returncode == 0, done.stderr
        (host,) = json.loads(done.stdout)["hosts"]
        assert host["clock"] == "host"
        verdicts.append([(f["check"], f["subject"], f["status"]) for f in host["findings"]])
    assert verdicts[0] == verdicts[1]


def test_a_stream_that_broke_off_is_judged_and_is_incomplete(tmp_path):
    agent("collect", "--script", "-o", "collect.sh", cwd=tmp_path)
    script = (tmp_path / "collect.sh").read_text().replace("if have gzip; then", "if false; then")
    whole = subprocess.run(["sh", "-s"], input=script.encode(), capture_output=True, check=True)
    (tmp_path / "half.stream").write_bytes(whole.stdout[: len(whole.stdout) // 2])
    done = agent("evaluate", "half.stream", "--format", "json", "-o", "-", cwd=tmp_path)
    assert done.returncode == 3
    (host,) = json.loads(done.stdout)["hosts"]
    assert host["complete"] is False
    assert "unknown" in {finding["status"] for finding in host["findings"]}


def test_fail_on(tmp_path):
    """A host with two roots: AC-02 is critical."""
    agent("collect", "--script", "-o", "collect.sh", cwd=tmp_path)
    script = (tmp_path / "collect.sh").read_text().replace("if have gzip; then", "if false; then")
    whole = subprocess.run(["sh", "-s"], input=script.encode(), capture_output=True, check=True)
    bad = re.sub(rb"\ndaemon:x:1:", rb"\ndaemon:x:0:", whole.stdout)
    (tmp_path / "bad.stream").write_bytes(bad)
    words = ["evaluate", "bad.stream", "--only", "AC-02", "--format", "json", "-o", "-"]
    assert agent(*words, cwd=tmp_path).returncode == 0
    assert agent(*words, "--fail-on", "critical", cwd=tmp_path).returncode == 4
    (tmp_path / "good.stream").write_bytes(whole.stdout)
    words[1] = "good.stream"
    assert agent(*words, "--fail-on", "info", cwd=tmp_path).returncode == 0


def bare_stream(when):
    """A stream with no evidence but a name and a clock."""
    nonce = "0" * 32
    clock = f"{when:%Y-%m-%dT%H:%M:%SZ}\n+0800"
    body = "".join(
        f"@{nonce} begin {name}\nx\n{text}\n\n"
        f"@{nonce} end 0 100\n\n@{nonce} status 0\n@{nonce} close\n"
        for name, text in (("host.name", "bare"), ("host.clock", clock))
    )
    return f"AUDIT-AGENT-STREAM/1 {nonce} 0.1.0 plain\n{body}@{nonce} done\n"


def test_nothing_judged_is_not_success(tmp_path):
    """An audit whose every row is unknown says so."""
    (tmp_path / "bare.stream").write_text(bare_stream(dt.datetime.now(dt.UTC)))
    done = agent("evaluate", "bare.stream", "--format", "json", "-o", "-", cwd=tmp_path)
    assert done.returncode == 3
    assert b"nothing could be judged" in done.stderr


def test_a_stream_from_the_future_is_refused(tmp_path):
    """Its host's clock runs ahead: today's log would count as one of last year."""
    ahead = dt.datetime.now(dt.UTC) + dt.timedelta(days=400)
    (tmp_path / "ahead.stream").write_text(bare_stream(ahead))
    done = agent("evaluate", "ahead.stream", "--format", "json", "-o", "-", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (5, b"")
    assert b"has not come yet" in done.stderr


def test_a_damaged_file_is_refused_with_its_section(tmp_path, collected):
    damaged = tmp_path / "damaged.evidence.zip"
    with zipfile.ZipFile(collected) as source, zipfile.ZipFile(damaged, "w") as target:
        for name in source.namelist():
            data = source.read(name)
            target.writestr(name, data.replace(b"root:", b"toor:") if "passwd" in name else data)
    for command in ("verify", "evaluate", "facts"):
        done = agent(command, damaged, cwd=tmp_path)
        assert (command, done.returncode) == (command, 5)
        assert b"file:/etc/passwd" in done.stderr
        assert done.stderr.count(b"\n") == 1 or command == "evaluate"


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (["evaluate", "gone.zip"], 2, "gone.zip"),
        (["evaluate", "."], 2, "."),
        (["verify", "gone.zip"], 2, "gone.zip"),
        (["facts", "gone.zip"], 2, "gone.zip"),
        (["run", "--only", "XX-99", "--format", "json"], 2, "'XX-99'"),
        (["run", "--only", "AC-02", "--skip", "accounts", "--format", "json"], 2, "--skip"),
        (["run", "--format", "json", "-o", "no/such/folder/x"], 2, "no/such/folder/x"),
        (["collect", "-o", "no/such/folder/x"], 2, "no/such/folder/x"),
        (["collect", "--script", "-o", "no/such/folder/x"], 2, "no/such/folder/x"),
        (["run", "--format", "docx"], 2, "docx"),
        (["run", "--timeout", "0"], 2, "--timeout"),
        (["run", "--timeout", "nan"], 2, "--timeout"),
        (["run", "--timeout", "1e9"], 2, "--timeout"),
        (["run", "-o", "x", "--evidence", "./x"], 2, "--evidence"),
        (["checks", "AC-02", "XX-99"], 2, "XX-99"),
        (["checks", "XX-99"], 2, "XX-99"),
        (["frobnicate"], 2, "frobnicate"),
    ],
)
def test_foreseeable_errors_are_one_line(words, status, says, tmp_path):
    done = agent(*words, cwd=tmp_path)
    last = done.stderr.decode().strip().splitlines()[-1]
    assert (done.returncode, b"Traceback" in done.stderr) == (status, False), done.stderr
    assert says in done.stderr.decode()
    assert last
    assert not [path for path in tmp_path.iterdir() if path.name.endswith((".json", ".html"))]


def test_a_report_for_elsewhere_needs_nothing_of_the_current_folder(tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    (there / "link").symlink_to("target")
    here.rmdir()  # a folder that not even root can write to
    words = [AGENT, "run", "-q", "--format", "json", "-o"]
    command = 'mkdir "$1" && cd "$1" && rmdir "$1" && shift && exec "$@"'
    for output in (there, there / "link", "-"):
        done = subprocess.run(
            ["sh", "-c", command, "sh", here, *words, output], capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr
    assert (there / "link").is_symlink()
    assert b"audit-agent/results" in (there / "target").read_bytes()


def test_a_pipe_is_written_to_and_not_replaced(tmp_path, collected):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(["cat", pipe], stdout=subprocess.PIPE) as reader:
        done = agent("evaluate", collected, "--format", "json", "-o", pipe, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert json.loads(reader.stdout.read())["schema"] == "audit-agent/results/1"
    assert pipe.is_fifo()
    assert list(tmp_path.iterdir()) == [pipe]


@pytest.mark.parametrize("words", ["checks", "facts", "verify", "evaluate -q -o -"])
@pytest.mark.parametrize("out", [">&-", ">/dev/full"])
def test_output_that_cannot_be_written(words, out, tmp_path, collected):
    file = "" if words == "checks" else collected
    done = subprocess.run(
        ["sh", "-c", f"{AGENT} {words} {file} {out}"],
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert b"cannot write standard output: " in done.stderr
    assert done.stderr.count(b"\n") == 1


def test_a_reader_that_goes_away_is_no_error_of_ours(tmp_path, collected):
    done = subprocess.run(
        ["bash", "-c", f"{AGENT} facts {collected} | head -c 1; exit ${{PIPESTATUS[0]}}"],
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (141, b"{", b"")


@pytest.mark.parametrize("err", ["2>&-", "2>/dev/full"])
def test_an_audit_does_not_need_anybody_to_listen(err, tmp_path, collected):
    done = subprocess.run(
        ["sh", "-c", f"{AGENT} evaluate {collected} {err}"],
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0
    assert (tmp_path / done.stdout.decode().strip()).stat().st_size > 10000


def test_names_inside_a_damaged_file_reach_the_terminal_clean(tmp_path):
    manifest = b'{"format": "\\u001b[31mred\\u202e"}'
    with zipfile.ZipFile(tmp_path / "x", "w") as archive:
        archive.writestr("manifest.json", manifest)
        archive.writestr("manifest.sha256", hashlib.sha256(manifest).hexdigest())
    for command in ("verify", "facts", "evaluate"):
        done = agent(command, "x", cwd=tmp_path)
        assert done.returncode == 5
        assert b"\x1b" not in done.stderr


def test_one_damaged_file_among_good_ones_is_named_in_the_report(tmp_path, collected):
    (tmp_path / "bad.stream").write_bytes(b"Connection closed\n")
    done = agent("evaluate", "bad.stream", collected, "--lang", "zh", "-o", "-", cwd=tmp_path)
    assert done.returncode == 5
    page = done.stdout.decode()
    assert "bad.stream" in page
    assert "已损坏，或不是证据文件" in page


@pytest.mark.parametrize("content", [b"", b"hello\n", b"PK\x03\x04broken", b"\0" * 100])
def test_files_that_are_not_evidence(tmp_path, content):
    (tmp_path / "x").write_bytes(content)
    done = agent("evaluate", "x", cwd=tmp_path)
    assert done.returncode == 5
    assert b"Traceback" not in done.stderr
    assert done.stderr.startswith(b"audit-agent: x: ") or b"\naudit-agent: x: " in done.stderr


def test_control_characters_of_a_host_never_reach_the_terminal(tmp_path):
    (tmp_path / "x").write_bytes(b"\x1b[31mred\x07\n")
    done = agent("evaluate", "x", cwd=tmp_path)
    assert b"\x1b" not in done.stderr
    assert b"\x07" not in done.stderr


def test_help_loads_nothing_heavy(tmp_path):
    code = (
        "import sys; sys.argv = ['audit-agent', '--help']\n"
        "from audit_agent.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print(sorted({'paramiko', 'cryptography', 'jinja2', 'psutil', 'msgspec', 'ssl',"
        " 'importlib.metadata'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_chinese_locale_speaks_chinese(tmp_path):
    done = agent("--help", cwd=tmp_path, env={"LANG": "zh_CN.UTF-8"})
    text = done.stdout.decode()
    assert "用法" in text
    assert "退出状态" in text
    assert not re.search(r"[a-z]{4,} [a-z]{4,} [a-z]{4,}", text), "an English sentence was left"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shell_completion_is_offered(tmp_path, shell):
    done = agent(cwd=tmp_path, env={"_AUDIT_AGENT_COMPLETE": f"{shell}_source"})
    assert done.returncode == 0
    assert b"_AUDIT_AGENT_COMPLETE" in done.stdout


def test_internal_errors_are_told_apart(tmp_path):
    code = (
        "import audit_agent.evidence as e\n"
        "def boom(*a, **k): raise ZeroDivisionError('x')\n"
        "e.load = boom\n"
        "import sys; sys.argv = ['audit-agent', 'verify', 'x']\n"
        "from audit_agent.cli import main; main()"
    )
    (tmp_path / "x").write_bytes(b"PK\x03\x04")
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": os.environ["PATH"], "TMPDIR": str(tmp_path), "LANG": "C.UTF-8"},
    )
    assert done.returncode == 1
    assert "internal error: ZeroDivisionError" in done.stderr
    assert "Traceback" not in done.stderr
    (log,) = tmp_path.glob("audit-agent-*.log")
    assert "Traceback" in log.read_text()


def test_facts_keep_their_names(collected, tmp_path):
    done = agent("facts", collected, cwd=tmp_path)
    assert done.returncode == 0
    facts = json.loads(done.stdout)
    assert facts["schema"] == "audit-agent/facts/1"
    assert {"host", "os", "listeners", "firewall", "certificates", "packages", "logs"} <= set(facts)
    for listener in facts["listeners"] or []:
        assert {"protocol", "address", "port", "process", "user"} <= set(listener)
    assert facts["os"]["pretty_name"]
