"""logrotate's configuration, read as the real program reads it: it is asked with `logrotate -d`."""

import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audit_agent.facts.logfiles import read_listing
from audit_agent.facts.logrotate import read_logrotate
from audit_agent.model import Gap

pytestmark = pytest.mark.skipif(
    shutil.which("logrotate", path="/usr/sbin:/usr/bin") is None,
    reason="logrotate is not installed (make test installs it as root on Debian)",
)

HEAD = re.compile(
    r"rotating pattern: (?P<pattern>.*?) (?:(?P<when>hourly|weekly|monthly|yearly)"
    r"|after (?P<days>\d+) days|(?P<bytes>\d+) bytes) "
    r"(?:\((?:(?P<count>\d+) rotations|no old logs will be kept)\)\n)?(?P<rest>.*?)"
    r"(?=\nrotating pattern: |\Z)",
    re.DOTALL,
)


def asked(conf):
    """What the real program says of each block."""
    done = subprocess.run(
        ["/usr/sbin/logrotate", "-d", "-s", f"{conf}.state", str(conf)],
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )
    blocks = []
    for block in HEAD.finditer(done.stderr):
        rest = block["rest"]
        empty = "no old logs will be kept" in block[0].split("empty log files")[0]
        blocks.append(
            {
                "criterion": block["when"] or ("daily" if block["days"] else "size"),
                "size": int(block["bytes"] or 0),
                "rotate": int(block["count"]) if block["count"] else 0 if empty else -1,
                "minsize": number(r"only log files >= (\d+) bytes are rotated", rest),
                "maxsize": number(r"log files >= (\d+) are rotated earlier", rest),
                "minage": number(r"only log files older than (-?\d+) days", rest),
                "ifempty": "empty log files are rotated" in rest,
                "olddir": (re.findall(r"olddir is (.*?), ", rest) or [""])[0],
                "files": re.findall(r"considering log (.*)", rest),
            }
        )
    return blocks


def number(pattern, text):
    found = re.search(pattern, text)
    return int(found[1]) if found else 0


def understood(make_evidence, conf, folders=(), root="/nonexistent"):
    """The same of our own reading."""
    sections = {"file:/etc/logrotate.conf": conf.read_bytes()}
    for folder in folders:
        sections[f"dir:{folder}"] = "listing"
        sections |= {f"file:{f}": f.read_bytes() for f in sorted(folder.iterdir())}
    listed = subprocess.run(
        ["find", str(root), "-exec", "stat", "-c", "%A %u %g %s %h %Y %n", "{}", "+"],
        capture_output=True,
        check=False,
    ).stdout
    sections["logs.files"] = listed or b"drwxr-xr-x 0 0 1 1 0 /var/log\n"
    evidence = make_evidence(sections)
    found = read_logrotate(evidence, read_listing(evidence))
    return [
        {
            "criterion": rule.settings.criterion,
            "size": rule.settings.size if rule.settings.criterion == "size" else 0,
            "rotate": rule.settings.rotate,
            "minsize": rule.settings.minsize,
            "maxsize": rule.settings.maxsize,
            "minage": rule.settings.minage,
            "ifempty": rule.settings.ifempty,
            "olddir": rule.settings.olddir,
            "files": [path for pattern in rule.patterns for path in pattern.files],
        }
        for rule in found.rules
    ]


def write(path, text):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    path.chmod(0o644)
    return path


def packaged():
    return [
        *(p for p in Path("/etc/logrotate.d").glob("*") if p.is_file()),
        *([Path("/etc/logrotate.conf")] if Path("/etc/logrotate.conf").exists() else []),
    ]


@pytest.mark.parametrize("path", packaged(), ids=str)
def test_a_packaged_file_is_read_as_logrotate_reads_it(make_evidence, tmp_path, path):
    text = re.sub(r"(?m)^\s*include .*", "", path.read_text())
    conf = write(tmp_path / "conf", text)
    expected = asked(conf)
    assert understood(make_evidence, conf, root="/var/log") == expected


# %s stands for a folder with the logs a.log, b.log, c.log, sub/d.log and a.log.1.
ODD = {
    "one line": "%s/a.log { rotate 3 }\n",
    "one line, then a block": "%s/a.log { rotate 3 }\n%s/b.log {\n daily\n rotate 5\n}\n",
    "one line without argument": "%s/a.log { daily }\n",
    "flags on one line": "%s/a.log {\n daily dateext rotate 9\n}\n",
    "a comment behind a flag": "daily # every day\n%s/a.log {\n rotate 7\n}\n",
    "a comment behind a number": "%s/a.log {\n rotate 7 # a week\n}\n%s/b.log {\n daily\n}\n",
    "a comment behind weekly": "%s/a.log {\n weekly # sunday\n rotate 9\n}\n%s/b.log { \n}\n",
    "weekday": "%s/a.log {\n weekly 3\n rotate 9\n}\n",
    "bad weekday": "%s/b.log {\n daily\n}\n%s/a.log {\n weekly 9\n rotate 9\n}\n",
    "the last wins": "%s/a.log {\n weekly\n size 10M\n monthly\n rotate 9\n}\n",
    "size last": "weekly\n%s/a.log {\n rotate 9\n size = 10k\n}\n",
    "size units": "%s/a.log {\n minsize 1G\n maxsize 7K\n size 0x10M\n}\n",
    "bad unit": "%s/a.log {\n size 10m\n rotate 2\n}\n%s/b.log {\n daily\n}\n",
    "size without number": "%s/a.log {\n daily\n size\n rotate 2\n}\n",
    "octal": "%s/a.log {\n rotate 010\n}\n",
    "bad octal": "%s/a.log {\n rotate 08\n}\n",
    "minus one": "%s/a.log {\n rotate -1\n}\n",
    "minus two": "%s/a.log {\n rotate -2\n}\n",
    "huge": "%s/a.log {\n rotate 99999999999999999999\n}\n",
    "wrapped": "%s/a.log {\n rotate 4294967299\n}\n",
    "equals": "%s/a.log {\n rotate=4\n minage = 3\n weekly=1\n}\n",
    "capital": "%s/a.log {\n Rotate 4\n daily\n}\n",
    "typo": "%s/a.log {\n rotat 4\n daily\n}\n",
    "no space": "%s/a.log {\n rotate4\n daily\n}\n%s/b.log {\n daily\n}\n",
    "quotes": "\"%s/a.log\" '%s/b.log' {\n daily\n}\n",
    "names over lines": "%s/a.log\n# more\n%s/b.log\n{\n daily\n}\n",
    "escaped": "%s/a\\.log {\n daily\n}\n",
    "wildcards": "%s/*.log %s/sub/[a-d].log {\n daily\n}\n",
    "negated": "%s/[!ab].log {\n daily\n}\n",
    "no match": "%s/*.nothing {\n daily\n}\n",
    "a folder matches": "%s/* {\n daily\n}\n",
    "duplicate": "%s/b.log {\n daily\n}\n%s/*.log {\n weekly\n}\n",
    "duplicate in one": "%s/a.log %s/*.log {\n weekly\n}\n",
    "ignored duplicate": "ignoreduplicates\n%s/b.log {\n daily\n}\n%s/*.log {\n weekly\n}\n",
    "script": "%s/a.log {\n postrotate\n  rotate 3 }\n endscript\n daily\n}\n",
    "script without end": "%s/b.log {\n daily\n}\n%s/a.log {\n postrotate\n  x\n}\n",
    "script with end in a word": "%s/a.log {\n prerotate\n endscripts\n endscript x\n daily\n}\n",
    "indented brace after a mistake": "%s/a.log {\n rotate x\n }\n%s/b.log {\n daily\n}\n",
    "brace after a mistake": "%s/a.log {\n rotate x\n}\n%s/b.log {\n daily\n}\n",
    "script after a mistake": "%s/a.log {\n rotate x\n postrotate\n}\n endscript\n}\n%s/b.log {}\n",
    "no closing brace": "%s/a.log {\n daily\n rotate 4\n",
    "no closing brace, then a block": "%s/a.log {\n daily\n%s/b.log {\n weekly\n}\n",
    "text behind the brace": "%s/a.log {\n daily\n} x\nweekly\n%s/b.log {\n}\n",
    "brace alone": "daily\n}\n%s/a.log {\n}\n",
    "globals after": "daily\n%s/a.log {\n rotate 2\n}\nweekly\nrotate 5\n%s/b.log {\n}\n",
    "block does not leak": "%s/a.log {\n daily\n rotate 2\n}\n%s/b.log {\n}\n",
    "flag at the end of the file": "%s/a.log {\n}\ndaily",
    "number at the end of the file": "%s/a.log {\n}\nrotate 4",
    "no final newline": "%s/a.log {\n daily\n}",
    "carriage returns": "daily\r\n%s/a.log {\r\n rotate 4\r\n}\r\n",
    "global mistake": "%s/a.log {\n}\nrotate x\n%s/b.log {\n}\n",
    "olddir": "%s/a.log {\n daily\n olddir sub\n}\n%s/b.log {\n daily\n olddir %s/sub\n}\n",
    "olddir missing": "%s/a.log {\n daily\n olddir gone\n}\n%s/b.log {\n daily\n}\n",
    "create": "%s/a.log {\n create 0640 root adm\n daily\n}\n%s/b.log {\n create root\n daily\n}\n",
    "create too much": "%s/a.log {\n create 0640 root adm x\n daily\n}\n%s/b.log {\n daily\n}\n",
    "su": "%s/a.log {\n su root root\n daily\n}\n%s/b.log {\n su root\n daily\n}\n",
    "relative": "a.log {\n daily\n}\n%s/b.log {\n daily\n}\n",
    "brace in comment": "# {\n%s/a.log {\n # }\n daily\n}\n",
    "compressoptions": "%s/a.log {\n compressoptions\n daily\n}\n%s/b.log {\n daily\n}\n",
    "mail": "%s/a.log {\n mail a b\n daily\n}\n%s/b.log {\n nomail\n mail x@y\n daily\n}\n",
    "include inside": "%s/a.log {\n include %s/none\n daily\n}\n",
    "taboo inside": "%s/a.log {\n tabooext + .x\n daily\n}\n%s/b.log {\n daily\n}\n",
    "empty block": "%s/a.log {}\n%s/b.log {\n}\n",
    "space before the brace": " %s/a.log{\n\tdaily\n\t}\n%s/b.log {\n}\n",
    "yearly hourly": "%s/a.log {\n yearly\n}\n%s/b.log {\n hourly\n notifempty\n}\n",
    "noolddir": "olddir sub\n%s/a.log {\n noolddir\n}\n%s/b.log {\n}\n",
}  # fmt: skip


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("logs")
    (folder / "sub").mkdir()
    for name in ("a.log", "b.log", "c.log", "sub/d.log", "a.log.1"):
        (folder / name).write_text("x\n")
    return folder


@pytest.mark.parametrize("name", ODD)
def test_an_odd_configuration_is_read_as_logrotate_reads_it(make_evidence, logs, tmp_path, name):
    conf = write(tmp_path / "conf", ODD[name].replace("%s", str(logs)))
    assert understood(make_evidence, conf, root=logs) == asked(conf)


NUMBERS = st.sampled_from(["1", "4", "27", "0", "-1", "x", "4 # c", "010", "5 daily", " 3"])
LINES = st.one_of(
    st.sampled_from([
        "daily", "weekly", "monthly", "yearly", "hourly", "compress", "dateext", "notifempty",
        "missingok", "ignoreduplicates", "daily rotate 2", "weekly 2", "# note", "", "}", " }",
        "postrotate", "endscript", " x }", "create 640 root adm", "su root root", "typo 3",
        "%s/a.log {", "%s/*.log {", '"%s/b.log"', "{", "%s/c.log {\n rotate 2\n}", "} x",
        "%s/a.log %s/b.log {\n weekly\n}", "olddir sub", "olddir gone",
    ]),
    st.builds("{} {}".format, st.sampled_from(["rotate", "maxage", "minage", "start"]), NUMBERS),
    st.builds(
        "{}{}{}{}".format,
        st.sampled_from(["size", "minsize", "maxsize"]),
        st.sampled_from([" ", "=", " = "]),
        st.sampled_from(["1", "20", "0x10"]),
        st.sampled_from(["", "k", "M", "G", "m", " M"]),
    ),
)  # fmt: skip
BLOCKS = st.builds(
    "{} {{\n{}\n}}".format,
    st.sampled_from(["%s/a.log", "%s/b.log", "%s/*.log", "%s/sub/* %s/c.log"]),
    st.lists(LINES, max_size=5).map("\n ".join),
)
TEXTS = st.builds(
    "{}{}".format,
    st.lists(st.one_of(BLOCKS, BLOCKS, LINES), max_size=6).map("\n".join),
    st.sampled_from(["\n", ""]),
)


@settings(
    max_examples=200,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(text=TEXTS, included=TEXTS, include=st.booleans())
def test_any_configuration_is_read_as_logrotate_reads_it(
    make_evidence, logs, tmp_path, text, included, include
):
    folder = tmp_path / "inc"
    folder.mkdir(exist_ok=True)
    write(folder / "one", included.replace("%s", str(logs)))
    text = f"include {folder}\n" * include + text.replace("%s", str(logs))
    conf = write(tmp_path / "conf", text)
    assert understood(make_evidence, conf, [folder], root=logs) == asked(conf)


@pytest.mark.parametrize(
    "before",
    ["", "tabooext + .x\n", "tabooext .y,.z\n", "taboopat + a*\n", "taboopat *\n", "tabooext +\n"],
)
def test_the_files_of_a_folder_are_read_in_logrotates_order(make_evidence, logs, tmp_path, before):
    """Defaults that one file sets reach the next ones, unless it holds a mistake."""
    folder = tmp_path / "inc"
    folder.mkdir()
    names = {"a": "daily\nrotate 3\n", "b.x": f"{logs}/b.log {{\n}}\n", "B": "rotate 5\nsize x\n"}
    names |= {
        "c": f"{logs}/c.log {{\n}}\n",
        "d.y": "weekly\n",
        "e.bak": "hourly\n",
        "f~": "yearly\n",
    }
    names |= {".g": "minsize 7\n", "z": f"{logs}/sub/d.log {{\nrotate 9\n}}\n"}
    for name, text in names.items():
        write(folder / name, text)
    text = f"{before}{logs}/a.log {{\n}}\ninclude {folder}\n{logs}/a.log.1 {{\n}}\n"
    conf = write(tmp_path / "conf", text)
    assert understood(make_evidence, conf, [folder], root=logs) == asked(conf)


def parsed(make_evidence, text, **more):
    sections = {"file:/etc/logrotate.conf": text, "logs.files": "drwxr-xr-x 0 0 1 1 0 /var/log\n"}
    evidence = make_evidence(sections | more)
    return read_logrotate(evidence, read_listing(evidence))


def test_a_file_that_was_not_collected_is_not_taken_for_absent(make_evidence):
    listing = (
        "-rw-r--r-- 0 0 1 1 0 /etc/logrotate.d/.hidden\n-rw-r--r-- 0 0 1 1 0 /etc/logrotate.d/a~\n"
    )
    more = {"dir:/etc/logrotate.d": "x", "logs.files": listing}
    found = parsed(make_evidence, "include /etc/logrotate.d\n", **more)
    assert [(m.cost, m.text) for m in found.mistakes] == [
        ("unread", "/etc/logrotate.d/.hidden could not be read")
    ]
    for gap in (Gap.DENIED, Gap.TRUNCATED):
        found = parsed(make_evidence, "include /x\n", **{"file:/x": gap})
        assert not found.whole
    assert parsed(make_evidence, "include /x\n", **{"file:/x": Gap.ABSENT}).whole


def test_a_file_that_others_may_write_is_ignored_as_logrotate_ignores_it(make_evidence):
    for line in ("-rw-rw-r-- 0 0", "-rw-r--rw- 0 0", "-rw-r--r-- 7 0"):
        more = {"logs.files": f"{line} 1 1 0 /etc/logrotate.conf\n"}
        assert parsed(make_evidence, "/x {\n}\n", **more).rules == ()


@pytest.mark.parametrize(
    ("version", "rotate", "doubtful"),
    [("3.21.0", -1, False), ("3.15.0", -1, False), ("3.14.0", None, None), ("", -1, False)],
)
def test_old_versions_know_no_endless_rotation(make_evidence, version, rotate, doubtful):
    text = "/x {\nrotate -1\n}\n/y {\n}\n"
    found = parsed(make_evidence, text, **{"logs.logrotate.version": f"logrotate {version}\n"})
    rule = found.rule("/x")
    assert (rule and rule.settings.rotate, rule and rule.doubtful) == (rotate, doubtful)
    assert not found.rule("/y").doubtful


@pytest.mark.parametrize(
    ("version", "doubtful"), [("3.21.0", False), ("3.12.0", False), ("3.8.6", True), ("", True)]
)
def test_what_a_mistake_elsewhere_costs(make_evidence, version, doubtful):
    """Since 3.12 it costs its own block; before, everything."""
    text = "/x {\n}\n/y {\nrotate z\n}\n"
    found = parsed(make_evidence, text, **{"logs.logrotate.version": f"logrotate {version}\n"})
    assert found.rule("/x").doubtful is doubtful
    assert found.rule("/y") is None


@given(st.text(alphabet="/ab{}#\"'\\\n\t =0-9drxyz*~", max_size=200))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_configuration_breaks_the_reading(make_evidence, text):
    parsed(make_evidence, text)


def test_a_huge_configuration_is_read_in_time(make_evidence):
    lines = "".join(f"/var/log/{n}.log {{\n daily\n rotate 3\n}}\n" for n in range(6000))
    started = time.perf_counter()
    assert len(parsed(make_evidence, lines).rules) == 6000
    parsed(make_evidence, "daily\n" * 40000)
    assert time.perf_counter() - started < 20
