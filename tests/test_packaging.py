"""What is installed is what is in the tree, and the doors into it refuse to be empty."""

import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from audit_agent import engine, plugins
from audit_agent.model import Severity, Text

ROOT = Path(__file__).parent.parent
INSTALLED = ("audit_agent/", "checks/", "reports/")


def tracked(*folders):
    done = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", *folders],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip("not a git checkout")
    return done.stdout.split()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    out = tmp_path_factory.mktemp("wheel")
    source = tmp_path_factory.mktemp("source")
    for name in tracked():
        target = source / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((ROOT / name).read_bytes())
    subprocess.run(
        [sys.executable, "-m", "build", "-q", "--wheel", "--no-isolation", "-o", out, source],
        check=True,
        capture_output=True,
    )
    (path,) = out.glob("*.whl")
    return path


def test_the_wheel_holds_every_file(wheel):
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
    for name in tracked("audit_agent", "checks", "reports"):
        if name.endswith(("ruff.toml", ".po", ".pot")):
            continue
        place = name if name.startswith("audit_agent/") else f"audit_agent/{name}"
        assert place in held, f"{name} is not in the wheel: see setup.cfg"


def test_the_wheel_brings_no_top_level_checks_or_reports(wheel):
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.partition("/")[0] for name in archive.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"audit_agent"}


def test_the_wheel_finds_its_checks_from_anywhere(wheel, tmp_path):
    """Unpacked far from the checkout, with a foreign `checks` package in the way."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    (tmp_path / "site" / "checks").mkdir()
    (tmp_path / "site" / "checks" / "__init__.py").write_text("raise ImportError('not ours')\n")
    code = (
        "import sys; sys.path.insert(0, 'site'); import audit_agent;"
        "from audit_agent import plugins;"
        "assert 'site' in audit_agent.__file__; print(len(plugins.checks()), *plugins.formats())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    count, *formats = done.stdout.split()
    assert int(count) == len(plugins.checks())
    assert formats == plugins.formats()


def test_every_dependency_is_locked():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    locks = {
        "run.lock": project["project"]["dependencies"],
        "iptables.lock": project["project"]["optional-dependencies"]["iptables"],
        "dev.lock": project["dependency-groups"]["dev"],
    }
    for lock, wanted in locks.items():
        text = (ROOT / "requirements" / lock).read_text()
        for requirement in wanted:
            name = requirement.partition(">=")[0].partition("[")[0]
            assert f"\n{name}==" in f"\n{text}", f"{name} is not in {lock}: run `make lock`"


def test_the_command_is_installed():
    (command,) = entry_points(group="console_scripts", name="audit-agent")
    assert command.value == "audit_agent.cli:main"


def test_no_file_names_checks_or_reports_by_import():
    for name in tracked("audit_agent", "checks", "reports", "tests"):
        if name.endswith(".py"):
            for line in (ROOT / name).read_text().splitlines():
                assert not line.strip().startswith(
                    ("import audit_agent.checks", "from audit_agent.checks",
                     "import audit_agent.reports", "from audit_agent.reports")
                ), name  # fmt: skip


CHECKS = plugins.checks()


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.id)
def test_every_check_is_fully_worded(check):
    assert isinstance(check.severity, Severity)
    assert check.basis in {"LAW", "STD", "STD*", "GUIDE", "PRACTICE"}
    texts = [check.title, check.why, check.expected, *check.messages.values()]
    texts += [remediation.text for remediation in check.remediations.values()]
    for text in texts:
        assert isinstance(text, Text)
        assert text.en.isascii() or not any("\u4e00" <= c <= "\u9fff" for c in text.en)
        assert any("\u4e00" <= c <= "\u9fff" for c in text.zh), text.zh
    for remediation in check.remediations.values():
        assert remediation.commands.keys() <= {"any", "debian", "rhel", "suse", "alpine"}
    unknown = check.remediations.keys() - check.messages.keys() - {"default"}
    assert not unknown
    for cite in check.citations:
        assert cite.kind in {"LAW", "STD", "GUIDE", "PRACTICE"}
        assert cite.grade in {"V1", "V2", "V3", "U"}


def test_check_ids_are_unique_and_shaped():
    ids = [check.id for check in CHECKS]
    assert len(ids) == len(set(ids))
    assert all(ident.partition("-")[2].isdigit() for ident in ids)


def test_no_checks_at_all_is_an_error(monkeypatch):
    monkeypatch.setattr(plugins, "_modules", lambda _package: [])
    with pytest.raises(plugins.BrokenPlugin, match="no checks"):
        plugins.checks()


def test_a_double_id_is_an_error(monkeypatch):
    monkeypatch.setattr(plugins, "_modules", lambda _package: ["accounts", "accounts"])
    with pytest.raises(plugins.BrokenPlugin, match="double ids"):
        plugins.checks()


def test_a_check_that_raises_or_says_nothing_is_an_error_and_the_audit_goes_on(make_evidence):
    def broken(_host, _params):
        raise ZeroDivisionError("oops")
        yield

    good = CHECKS[0]
    silent = engine.Check(
        **{name: getattr(good, name) for name in good.__struct_fields__}
        | {"evaluate": lambda _h, _p: []}
    )
    raising = engine.Check(
        **{name: getattr(good, name) for name in good.__struct_fields__} | {"evaluate": broken}
    )
    findings = engine.audit(make_evidence({}), [raising, silent, good])
    assert [finding.status for finding in findings][:2] == ["error", "error"]
    assert len(findings) >= 3
    assert "ZeroDivisionError" in findings[0].observed


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.id)
def test_no_evidence_is_never_a_pass(check, make_evidence):
    """Nothing collected at all: every check gives a row, and none of them says that all is well."""
    findings = engine.audit(make_evidence({}), [check])
    assert findings
    for finding in findings:
        assert finding.status in {"unknown", "manual"}, finding
