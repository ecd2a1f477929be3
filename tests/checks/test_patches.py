"""PT: patches and releases. All evidence here is written by hand, from the programs' formats."""

import csv
import datetime as dt
from pathlib import Path

import pytest

from audit_agent.facts.support import releases
from audit_agent.model import Gap

BOOKWORM = (
    'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\nVERSION_ID="12"\n'
    'VERSION="12 (bookworm)"\n'
)


def release(ident, version_id, version="", name="", platform=""):
    return (
        f'ID="{ident}"\nVERSION_ID="{version_id}"\nVERSION="{version}"\nNAME="{name}"\n'
        f'PLATFORM_ID="{platform}"\nPRETTY_NAME="{name} {version}"\n'
    )


# --- PT-01 ---


@pytest.mark.parametrize(
    ("os_release", "status", "words"),
    [
        (BOOKWORM, "pass", "long-term support, which is free, until 2028-06-30, 584 days"),
        (BOOKWORM.replace("12", "13"), "pass", "until 2028-08-09"),
        (BOOKWORM.replace("12", "11"), "fail", "ended on 2026-08-31, 85 days ago"),
        (release("centos", "7", "7 (Core)", "CentOS Linux"), "fail", "ended on 2024-06-30"),
        (release("centos", "8", "8", "CentOS Linux"), "fail", "ended on 2021-12-31"),
        (release("centos", "8", "8", "CentOS Stream"), "fail", "ended on 2024-05-31"),
        (release("centos", "9", "9", "CentOS Stream"), "pass", "until 2027-05-31, 188 days"),
        (release("rhel", "7.9"), "fail", "paid extended support exists until 2029-05-31"),
        (release("rhel", "9.4"), "pass", "until 2032-05-31"),
        (release("rocky", "9.4"), "pass", "2032"),
        (release("openEuler", "22.03", "22.03 (LTS-SP4)"), "fail", "grade V3"),
        (release("openEuler", "24.03", "24.03 (LTS)"), "fail", "ended on 2026-05-31"),
        (release("openEuler", "24.03", "24.03 (LTS-SP1)"), "warn", "end on 2026-12-31, in 37 days"),
        (release("openEuler", "24.03", "24.03 (LTS-SP3)"), "manual", "no verified date"),
        (release("kylin", "V10", "V10 (Sword)"), "manual", "Sword SP2"),
        (release("alinux", "2"), "fail", "ended on 2024-03-31, 968 days ago (source"),
        (release("alinux", "3", platform="platform:al8"), "pass", "2031-03-31"),
        (release("ubuntu", "22.04"), "warn", "paid extended support exists until 2032-04-21"),
        (release("ubuntu", "24.04"), "pass", "2029-05-31"),
        (release("anolis", "8.8"), "manual", "no verified date"),
        (release("alpine", "3.21.3"), "fail", "2026-11-01"),
        (release("nobody", "1"), "manual", "no verified date"),
        (Gap.DENIED, "unknown", "more privilege"),
    ],
)
def test_pt_01(judge, os_release, status, words):
    (finding,) = judge("PT-01", {"file:/etc/os-release": os_release})
    # 22.04 ends 128 days after the audit's date.
    assert (finding.status, words in finding.summary.en) == (status, True), finding.summary.en
    assert finding.quotes


def test_pt_01_prefers_the_table_to_what_the_release_says_itself(judge):
    text = release("amzn", "2") + 'SUPPORT_END="2030-01-01"\n'
    (finding,) = judge("PT-01", {"file:/etc/os-release": text})
    assert finding.status == "fail"
    assert "SUPPORT_END=2030-01-01" in finding.observed
    assert [quote.lines for quote in finding.quotes] == ["", "7"]


def test_every_release_has_what_its_words_need():
    for row in releases():
        assert row.id == row.id.lower()
        assert (row.ends is None) <= (row.extended is None), row.title
        assert bool(row.extension) == (row.extended is not None), row.title
        assert row.grade in ({"V1", "V3"} if row.ends else {"U", "V3"}), row.title


DISTRO_INFO = Path("/usr/share/distro-info")


@pytest.mark.skipif(not DISTRO_INFO.is_dir(), reason="needs distro-info-data")
@pytest.mark.parametrize("distribution", ["debian", "ubuntu"])
def test_no_date_is_later_than_distro_info_says(distribution):
    with (DISTRO_INFO / f"{distribution}.csv").open() as file:
        rows = {row["version"].removesuffix(" LTS"): row for row in csv.DictReader(file)}
    for ours in (row for row in releases() if row.id == distribution and row.version in rows):
        theirs = rows[ours.version]
        assert ours.ends <= dt.date.fromisoformat(theirs["eol"])
        more = theirs.get("eol-lts") or theirs.get("eol-esm")
        if ours.extended is not None:
            assert ours.extended <= dt.date.fromisoformat(more)


# --- PT-02: the audit's time is 2026-11-24 12:00 +08:00 ---

DPKG = "ii \tbash\tamd64\t5.2\n"
HOST = {
    "file:/etc/os-release": BOOKWORM,
    "packages.dpkg": DPKG,
    "host.clock": "2026-11-24T04:00:00Z\n+0800\n",
}
FILE = "file\t/var/log/dpkg.log\n"


def upgraded(date, old="1", new="2"):
    return f"{date} 10:00:00 upgrade bash:amd64 {old} {new}\n"


def listed(*stamps):
    """The dates of .list files as stat prints them, from (package, date)."""
    return "".join(
        f"{int(dt.datetime.fromisoformat(f'{date}T00:00:00+00:00').timestamp())} "
        f"/var/lib/dpkg/info/{name}.list\n"
        for name, date in stamps
    )


@pytest.mark.parametrize(
    ("log", "times", "status", "message"),
    [
        (upgraded("2026-11-20"), None, "pass", "4 days old (2026-11-20; packages: 1)"),
        (upgraded("2026-10-25"), None, "pass", "30 days old"),
        (upgraded("2026-10-24"), None, "warn", "31 days old"),
        (upgraded("2026-08-26"), None, "warn", "90 days old"),
        (upgraded("2026-08-25"), None, "fail", "91 days old"),
        (upgraded("2026-08-01") + upgraded("2026-11-20", "2", "1"), None, "fail", "115 days"),
        (upgraded("2027-03-01"), None, "unknown", "lies in the future"),
        (
            "first\t2026-06-01 10:00:00\n2026-06-01 10:00:00 install base-files:amd64 <none> 12\n",
            None, "fail", "installed 176 days ago",
        ),
        ("first\t2026-07-01 10:00:00\n", None, "fail", "nothing was upgraded since 2026-07-01"),
        ("first\t2026-11-01 10:00:00\n", None, "unknown", "cannot be told"),
        # Only dates: an essential package that is younger than the rest was upgraded.
        ("", [("bash", "2026-11-20"), ("adduser", "2025-01-01")], "pass", "2026-11-20"),
        ("", [("nginx", "2026-11-20"), ("bash", "2025-01-01")], "unknown", "cannot be told"),
        ("", [("nginx", "2026-01-01"), ("bash", "2025-01-01")], "fail", "since 2026-01-01"),
        # A copied system: every file has the date of the copy.
        ("", [("nginx", "2026-11-20"), ("bash", "2026-11-20")], "unknown", "cannot be told"),
        ("", None, "unknown", "does not exist"),
        ("denied\t/var/log/dpkg.log\n" + upgraded("2026-01-01"), None, "unknown", "privilege"),
        (Gap.TIMEOUT, None, "unknown", "too long"),
    ],
)  # fmt: skip
def test_pt_02_dpkg(judge, log, times, status, message):
    sections = HOST | {"patches.dpkg-log": log if isinstance(log, Gap) or not log else FILE + log}
    if times:
        sections["patches.dpkg-times"] = listed(*times)
    (finding,) = judge("PT-02", sections)
    assert (finding.status, message in finding.summary.en) == (status, True), finding.summary.en


OPENEULER = release("openEuler", "22.03", "22.03 (LTS-SP4)", "openEuler")


def rpm(name, version, release_, date, arch="x86_64", epoch="(none)"):
    stamp = int(dt.datetime.fromisoformat(f"{date}T03:00:00+00:00").timestamp())
    return f"{name}\t{epoch}\t{version}\t{release_}\t{arch}\t{stamp}\t{stamp}\n"


BASE = rpm("setup", "2.13", "1", "2026-01-01") + rpm("glibc", "2.34", "1", "2026-01-01")


@pytest.mark.parametrize(
    ("packages", "log", "status", "message"),
    [
        (BASE, "2026-11-20T10:00:00+0800 SUBDEBUG Upgrade: glibc-2-1.x86_64\n", "pass", "4 days"),
        (BASE, "", "fail", "installed 327 days ago"),
        (BASE + rpm("nginx", "1", "1", "2026-11-20"), "", "unknown", "cannot be told"),
        (BASE + rpm("nginx", "1", "1", "2026-08-01"), "", "fail", "since 2026-08-01"),
        (BASE + rpm("bash", "5.2", "2", "2026-11-20"), "", "pass", "4 days"),
        # yum 3 leaves out the year; rpm knows it. This very version came in 2025.
        (
            rpm("setup", "1", "1", "2024-01-01")
            + rpm("openssl-libs", "1.0.2k", "26.el7_9", "2025-11-20", epoch="1"),
            "Nov 20 10:00:00 Updated: 1:openssl-libs-1.0.2k-26.el7_9.x86_64\n", "fail", "369 days",
        ),
        (BASE, "2026-11-01 10:00:00 zypp curl 8.0-1 8.1-1\n", "pass", "23 days"),
        (BASE, "2026-11-01 10:00:00 zypp curl 8.1-1 8.0-1\n", "fail", "installed"),
    ],
)  # fmt: skip
def test_pt_02_rpm(judge, packages, log, status, message):
    sections = HOST | {
        "file:/etc/os-release": OPENEULER, "packages.rpm": packages, "patches.rpm-log": log,
    }  # fmt: skip
    (finding,) = judge("PT-02", sections)
    assert (finding.status, message in finding.summary.en) == (status, True), finding.summary.en


# --- PT-03 ---

SUITE = "/var/lib/apt/lists/m_debian-security_dists_bookworm-security_InRelease"
FIELDS = (
    ("Origin", "Debian"), ("Label", "Debian-Security"), ("Suite", "oldstable-security"),
    ("Codename", "bookworm-security"), ("Date", "Mon, 23 Nov 2026 00:53:02 UTC"),
)  # fmt: skip
SUITES = "".join(f"{SUITE}:{key}: {value}\n" for key, value in FIELDS)
LIST = f"list\t{SUITE}\t{SUITE[:-9]}main_binary-amd64_Packages\t900\n"
OFFER = f"offer\tbash\tamd64\t5.2\t5.3\t{SUITE}\n"


@pytest.mark.parametrize(
    ("suites", "lists", "status", "message"),
    [
        (SUITES, LIST, "pass", "none of the 1 installed packages"),
        (SUITES, LIST + OFFER, "warn", "security lists: 1 (bash)"),
        (SUITES, LIST + OFFER.replace("5.3", "5.1"), "pass", "none"),
        (SUITES.replace("Mon, 23 Nov", "Mon, 16 Nov"), LIST, "unknown", "8 days old"),
        (SUITES.replace("Mon, 23 Nov", "Tue, 17 Nov"), LIST, "pass", "none"),
        (SUITES.replace("Mon, 23 Nov", "Sat, 28 Nov"), LIST, "unknown", "in the future"),
        (SUITES.replace("Date", "Dote"), LIST, "unknown", "could not be read"),
        (SUITES.replace("bookworm", "bullseye"), LIST, "unknown", "own security suite"),
        (SUITES.replace("Origin: Debian", "Origin: Acme"), LIST, "unknown", "own security suite"),
        (SUITES.replace("security", "updates").replace("Security", "x"), LIST, "unknown", "own"),
        ("", "", "unknown", "no package lists"),
        (SUITES, "", "unknown", "architecture amd64 is missing"),
        (SUITES, LIST.replace("900", "0"), "unknown", "architecture amd64 is missing"),
        (SUITES, LIST.replace("main", "contrib"), "unknown", "architecture amd64 is missing"),
        (SUITES, LIST + f"failed\t{SUITE}\t/x\n", "unknown", "/x could not be read"),
        (SUITES, Gap.TRUNCATED, "unknown", "was cut"),
        (Gap.ABSENT, Gap.ABSENT, "unknown", "does not exist"),
    ],
)
def test_pt_03_apt(judge, suites, lists, status, message):
    sections = HOST | {"patches.apt-suites": suites, "patches.apt-security": lists}
    finding = judge("PT-03", sections)[0]
    assert (finding.status, message in finding.summary.en) == (status, True), finding.summary.en
    assert finding.quotes


DIR = "/var/cache/dnf/update-0123456789abcdef/repodata"
CHECKED = int(dt.datetime(2026, 11, 22, tzinfo=dt.UTC).timestamp())
REPO = f"{DIR}\t{CHECKED}\t{CHECKED}\t{CHECKED}\tupdateinfo\n"
COUNT = f"list\t{DIR}\t{DIR}/u\ncount\t{DIR}\t9\topenEuler-SA-2026-9\n"


def offer(severity, issued, version="2.35"):
    return (
        f"offer\t{DIR}\topenEuler-SA-2026-1\t{severity}\t{issued}\tglibc\t0\t{version}\t1"
        "\tx86_64\t\n"
    )


@pytest.mark.parametrize(
    ("repo", "advisories", "status", "message"),
    [
        (REPO, COUNT, "pass", "none of the 2"),
        (REPO, COUNT + offer("Low", "2026-01-01"), "warn", "security lists: 1"),
        (REPO, COUNT + offer("Important", "2026-11-01"), "warn", "security lists: 1"),
        (REPO, COUNT + offer("Important", "2026-10-01"), "fail", "1 critical or important"),
        (REPO, COUNT + offer("High", "2026-10-01"), "fail", "1 critical or important"),
        (REPO, COUNT + offer("Critical", "?"), "warn", "security lists: 1"),
        (REPO, COUNT + offer("Critical", "2026-01-01", "2.33"), "pass", "none"),
        (REPO, COUNT.replace("openEuler-SA", "FEDORA-EPEL"), "unknown", "security advisories"),
        (REPO, "", "unknown", "security advisories"),
        (REPO.replace(str(CHECKED), str(CHECKED - 9 * 86400), 1), COUNT, "unknown", "days old"),
        (
            REPO.replace(f"\t{CHECKED}\tupdateinfo", f"\t{CHECKED - 90 * 86400}\tupdateinfo"),
            COUNT, "unknown", "stopped following",
        ),
        ("", COUNT, "unknown", "repository update has no metadata"),
        (REPO.replace("update-", "gone-"), COUNT, "unknown", "has no metadata"),
        (REPO, Gap.FAILED, "unknown", "command failed"),
    ],
)  # fmt: skip
def test_pt_03_rpm(judge, repo, advisories, status, message):
    sections = HOST | {
        "file:/etc/os-release": OPENEULER,
        "packages.rpm": BASE,
        "patches.rpm-repos": repo,
        "patches.rpm-security": advisories,
        "dir:/etc/yum.repos.d": "total 0\n",
        "file:/etc/yum.repos.d/a.repo": "[update]\nenabled=1\n[debug]\nenabled = 0\n",
        "dir:/etc/dnf/modules.d": Gap.ABSENT,
    }
    finding = judge("PT-03", sections)[0]
    assert (finding.status, message in finding.summary.en) == (status, True), finding.summary.en


def test_pt_03_apk_has_no_advisories(judge):
    sections = HOST | {
        "file:/etc/os-release": release("alpine", "3.22.1"),
        "packages.apk": "musl\tx86_64\t1.2-r1\n",
    }  # fmt: skip
    (finding,) = judge("PT-03", sections)
    assert finding.status == "unknown"


# --- PT-04 ---

DEBIAN_UNAME = "Linux 6.1.0-25-amd64 #1 SMP PREEMPT_DYNAMIC Debian 6.1.106-3 (2024-08-26) x86_64\n"
BARE = {"host.confinement": "CapEff:\t000001ffffffffff\n"}


def image(name, version):
    return f"ii \tlinux-image-{name}\tamd64\t{version}\n"


def when(path, date):
    return f"{int(dt.datetime.fromisoformat(f'{date}T00:00:00+00:00').timestamp())} {path}\n"


def kernel_list(name, date):
    return when(f"/var/lib/dpkg/info/linux-image-{name}.list", date)


OLD = image("6.1.0-25-amd64", "6.1.106-3")
NEW = image("6.1.0-100-amd64", "6.1.140-1")


@pytest.mark.parametrize(
    ("uname", "packages", "files", "more", "status", "message"),
    [
        (DEBIAN_UNAME, OLD, "", {}, "pass", "the newest kernel"),
        (DEBIAN_UNAME, OLD + image("amd64", "6.1.140-1"), "", {}, "pass", "the newest kernel"),
        (
            DEBIAN_UNAME, OLD + NEW, kernel_list("6.1.0-100-amd64", "2026-11-01"), {},
            "warn", "since 2026-11-01, 23 days",
        ),
        (
            DEBIAN_UNAME, OLD + NEW, kernel_list("6.1.0-100-amd64", "2026-10-01"), {},
            "fail", "54 days",
        ),
        (DEBIAN_UNAME, OLD + NEW, "", {}, "warn", "since when cannot be told"),
        # Another flavour is no update of this one.
        (DEBIAN_UNAME, OLD + NEW.replace("-amd64", "-rt-amd64"), "", {}, "pass", "newest"),
        (DEBIAN_UNAME, OLD + NEW.replace("-amd64\t", "-amd64-dbg\t"), "", {}, "pass", "newest"),
        # The same name, rebuilt: what runs is the old build.
        (DEBIAN_UNAME, OLD.replace("106-3", "106-10"), "", {}, "warn", "6.1.106-10"),
        # The running kernel's package was removed already.
        (DEBIAN_UNAME, NEW, "", {}, "warn", "6.1.140-1"),
        (
            DEBIAN_UNAME, OLD + NEW, "", {"patches.livepatch": "/sys/kernel/livepatch/kp 1\n"},
            "pass", "live patch kp active",
        ),
        (
            DEBIAN_UNAME, OLD + NEW, "", {"patches.livepatch": "/sys/kernel/livepatch/kp 0\n"},
            "warn", "waits for a restart",
        ),
        (
            DEBIAN_UNAME, OLD, when("/run/reboot-required", "2026-11-10"),
            {"file:/run/reboot-required.pkgs": "libc6\nlibc6\n"}, "warn", "wanted (libc6) since",
        ),
        (DEBIAN_UNAME, OLD, when("/run/reboot-required", "2026-09-10"), {}, "fail", "75 days"),
        ("Linux 6.18.4-fc #1 SMP @0 x86_64\n", "", "", {}, "unknown", "does not come from"),
        (
            "Linux 6.9.1 #1 SMP x86_64\n", "", when("/boot/vmlinuz-6.9.1", "2026-01-01"), {},
            "unknown", "belongs to no installed package",
        ),
        (
            DEBIAN_UNAME, OLD + NEW, "", {"host.confinement": "/.dockerenv\n"},
            "not_applicable", "container",
        ),
        # A virtual machine made of a container's image still has /.dockerenv.
        (
            DEBIAN_UNAME, OLD, "",
            {"host.confinement": "/.dockerenv\n", "file:/proc/2/comm": "kthreadd\n"},
            "pass", "newest",
        ),
        (Gap.FAILED, OLD, "", {}, "unknown", "command failed"),
        (
            "Linux 6.5.0-28-generic #29~22.04.1-Ubuntu SMP x86_64\n",
            image("6.5.0-28-generic", "6.5.0-28.29~22.04.1+1"), "",
            {"file:/proc/version_signature": "Ubuntu 6.5.0-28.29~22.04.1-generic 6.5.13\n"},
            "pass", "newest",
        ),
    ],
)  # fmt: skip
def test_pt_04_debian(judge, uname, packages, files, more, status, message):
    sections = HOST | BARE | {"packages.dpkg": DPKG + packages, "host.kernel": uname}
    (finding,) = judge("PT-04", sections | {"patches.kernel-files": files} | more)
    assert (finding.status, message in finding.summary.en) == (status, True), finding.summary.en


def kernel(version, release_, date, name="kernel-core"):
    return rpm(name, version, release_, date)


@pytest.mark.parametrize(
    ("uname", "packages", "status"),
    [
        ("5.14.0-503.el9.x86_64", kernel("5.14.0", "503.el9", "2026-01-01"), "pass"),
        (
            "5.14.0-503.el9.x86_64",
            kernel("5.14.0", "503.el9", "2026-01-01") + kernel("5.14.0", "570.el9", "2026-11-20"),
            "warn",
        ),
        (
            "5.14.0-503.el9.x86_64",
            kernel("5.14.0", "503.el9", "2026-01-01") + kernel("5.14.0", "1570.el9", "2026-10-02"),
            "fail",
        ),
        # An older one that was installed later is no update.
        (
            "5.14.0-503.el9.x86_64",
            kernel("5.14.0", "503.el9", "2026-01-01") + kernel("5.14.0", "99.el9", "2026-11-20"),
            "pass",
        ),
        ("5.14.0-400.el9.x86_64", kernel("5.14.0", "503.el9", "2026-11-20"), "warn"),
        (
            "5.14.0-503.el9.x86_64+rt",
            kernel("5.14.0", "503.el9", "2026-01-01", "kernel-rt-core"), "pass",
        ),
        (
            "5.14.21-150500.55.59-default",
            kernel("5.14.21", "150500.55.59.1", "2026-01-01", "kernel-default"), "pass",
        ),
        (
            "5.14.21-150500.55.59-default",
            kernel("5.14.21", "150500.55.59.1", "2026-01-01", "kernel-default")
            + kernel("5.14.21", "150500.55.100.1", "2026-11-20", "kernel-default"), "warn",
        ),
        ("6.6.0-custom", kernel("5.14.0", "503.el9", "2026-01-01"), "unknown"),
    ],
)  # fmt: skip
def test_pt_04_rpm(judge, uname, packages, status):
    sections = HOST | BARE | {
        "file:/etc/os-release": OPENEULER,
        "packages.rpm": BASE + packages,
        "host.kernel": f"Linux {uname} #1 SMP PREEMPT_DYNAMIC x86_64\n",
        "patches.kernel-files": "",
    }  # fmt: skip
    (finding,) = judge("PT-04", sections)
    assert finding.status == status, finding.summary.en


@pytest.mark.parametrize(("version", "status"), [("6.6.58-r0", "pass"), ("6.6.60-r0", "warn")])
def test_pt_04_alpine(judge, version, status):
    sections = HOST | BARE | {
        "file:/etc/os-release": release("alpine", "3.22.1"),
        "packages.apk": f"linux-lts\tx86_64\t{version}\n",
        "host.kernel": "Linux 6.6.58-0-lts #1-Alpine SMP x86_64\n",
        "patches.kernel-files": "",
    }  # fmt: skip
    assert [finding.status for finding in judge("PT-04", sections)] == [status]
