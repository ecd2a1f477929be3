"""PT-03 on a host with a real apt: what apt itself would install is what we say is pending."""

import datetime as dt
import gzip
import hashlib
import random
import re
import shutil
from pathlib import Path

import pytest

from audit_agent import collector, evidence
from audit_agent.facts import Host
from audit_agent.model import Evidence

pytestmark = pytest.mark.root

NOW = dt.datetime(2026, 11, 24, 12, 0, tzinfo=dt.UTC)
RELEASE = b'ID=debian\nVERSION_ID="12"\nVERSION="12 (bookworm)"\nPRETTY_NAME="Debian 12"\n'
VERSIONS = ["1.0", "1.0-1", "1.0-1+deb12u1", "1.0-1+deb12u2", "1.0~rc1-1", "1:0.9-1", "1.10-1", "2"]

SETUP = """
export DEBIAN_FRONTEND=noninteractive
rm -rf /etc/apt/sources.list.d /etc/apt/sources.list /etc/apt/preferences.d /var/lib/apt/lists/*
rm -f /var/log/dpkg.log* /var/log/apt/history.log*
mkdir -p /etc/apt/sources.list.d
cp -r /mnt/repo /srv/repo
cp /mnt/sources /etc/apt/sources.list
cp /mnt/status /var/lib/dpkg/status
cp /mnt/arch /var/lib/dpkg/arch
mkdir /etc/apt/preferences.d
: > /var/lib/dpkg/status-old
rm -rf /var/lib/dpkg/info /var/lib/dpkg/updates && mkdir /var/lib/dpkg/info /var/lib/dpkg/updates
cp /mnt/release /etc/os-release
own="-o APT::Sandbox::User=root -o Acquire::Check-Date=false"
apt-get -q $own @OPTIONS@ update >/mnt/update.log 2>&1
ls /var/lib/apt/lists > /mnt/lists
caches="-o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache="
apt-get -s $caches dist-upgrade > /mnt/apt || echo failed > /mnt/apt
sh -s < /mnt/collector > /mnt/stream
"""


def stanza(name, version, architecture="amd64", **more):
    fields = {"Package": name, "Architecture": architecture, "Version": version}
    fields |= {"Maintainer": "T <t@example.cn>", "Description": f"{name}\n more: words"} | more
    return "".join(f"{key.replace('_', '-')}: {value}\n" for key, value in fields.items()) + "\n"


def offered(name, version, architecture="amd64"):
    path = f"pool/{name}_{version.replace(':', '%3a')}_{architecture}.deb"
    return stanza(name, version, architecture, Filename=path, Size="1000", SHA256="0" * 64)


def write_suite(repo: Path, suite: str, label: str, lists, when=NOW):
    """One suite of an apt repository: {component/architecture: text of Packages}."""
    base = repo / "dists" / suite
    sums = []
    for place, text in lists.items():
        component, architecture = place.split("/")
        folder = base / component / f"binary-{architecture}"
        folder.mkdir(parents=True)
        packed = gzip.compress(text.encode())
        for name, data in (("Packages", text.encode()), ("Packages.gz", packed)):
            (folder / name).write_bytes(data)
            digest = hashlib.sha256(data).hexdigest()
            sums.append(f" {digest} {len(data)} {component}/binary-{architecture}/{name}\n")
    architectures = " ".join(sorted({place.split("/")[1] for place in lists}))
    components = " ".join(sorted({place.split("/")[0] for place in lists}))
    (base / "Release").write_text(
        f"Origin: Debian\nLabel: {label}\nSuite: old{suite}\nCodename: {suite}\n"
        f"Date: {when:%a, %d %b %Y %H:%M:%S} UTC\nArchitectures: {architectures}\n"
        f"Components: {components}\nSHA256:\n{''.join(sums)}"
    )


def apt_host(overlay, tmp_path, status, security, main="", *, options="", foreign=""):
    """A host with these installed packages and this repository; apt's own answer, and ours."""
    repo = tmp_path / "repo"
    shutil.rmtree(repo, ignore_errors=True)
    lists = {"main/amd64": security}
    if foreign:
        lists["main/i386"] = foreign
    write_suite(repo, "bookworm-security", "Debian-Security", lists)
    write_suite(repo, "bookworm", "Debian", {"main/amd64": main})
    sources = "deb [trusted=yes arch=amd64{}] file:/srv/repo {} main\n"
    extra = ",i386" if foreign else ""
    script = SETUP.replace("@OPTIONS@", options)
    out = overlay(
        script,
        repo=repo,
        release=RELEASE,
        status=status.encode(),
        sources=(
            sources.format(extra, "bookworm-security") + sources.format("", "bookworm")
        ).encode(),
        arch=b"amd64\ni386\n" if foreign else b"amd64\n",
        collector=collector.script("0" * 32),
    )
    apt = {}
    for line in (out / "apt").read_text().splitlines():
        found = re.match(r"Inst (\S+) \[(\S+)\] \((\S+) (.*?)\[", line)
        # The same version with another architecture is none that is newer.
        if found and "security" in found[4].lower() and found[2] != found[3]:
            apt[found[1].partition(":")[0]] = found[3]
    stream = evidence.parse_stream((out / "stream").read_bytes())
    return apt, evidence.from_stream(stream, target="t", address="", via="login", collected_at=NOW)


def pending(read: Evidence):
    return {u.package: u.candidate for u in Host(read).security_updates.pending}


@pytest.mark.parametrize(
    "options",
    ["", "-o Acquire::GzipIndexes=true -o Acquire::CompressionTypes::Order::=gz"],
    ids=["plain", "packed"],
)
def test_what_apt_would_install_is_pending(overlay, tmp_path, options):
    pick = random.Random(5)  # noqa: S311 - the same packages every time
    installed, security, main = "", "", ""
    for number in range(60):
        name = f"p{number}"
        architecture = "all" if number % 7 == 0 else "amd64"
        installed += stanza(
            name, pick.choice(VERSIONS), architecture, Status="install ok installed"
        )
        if pick.random() < 0.7:
            moved = "all" if number % 11 == 0 else architecture  # a package may become "all"
            security += offered(name, pick.choice(VERSIONS), moved)
    security += offered("not-installed", "9")
    installed += stanza("gone", "0.1", Status="deinstall ok config-files")
    security += offered("gone", "9") + offered("p1", "0.1")
    apt, read = apt_host(overlay, tmp_path, installed, security, main, options=options)
    assert len(apt) > 10
    assert pending(read) == apt
    assert Host(read).security_updates.doubts == ()


def test_a_held_package_is_pending_though_apt_leaves_it(overlay, tmp_path):
    installed = stanza("held", "1", Status="hold ok installed")
    installed += stanza("other", "1", Status="install ok installed")
    apt, read = apt_host(overlay, tmp_path, installed, offered("held", "2") + offered("other", "1"))
    assert apt == {}
    assert pending(read) == {"held": "2"}
    assert [update.held for update in Host(read).security_updates.pending] == [True]


def test_an_architecture_without_list_is_a_doubt(overlay, tmp_path):
    installed = stanza("a", "1", Status="install ok installed")
    installed += stanza("b", "1", "i386", Status="install ok installed", Multi_Arch="same")
    _, read = apt_host(overlay, tmp_path, installed, offered("a", "1"))
    updates = Host(read).security_updates
    assert [(doubt.reason, doubt.subject) for doubt in updates.doubts] == [("no-list", "i386")]


def installed_twice(amd64, i386):
    return "".join(
        stanza("a", version, architecture, Status="install ok installed", Multi_Arch="same")
        for architecture, version in (("amd64", amd64), ("i386", i386))
    )


def test_a_foreign_architecture_has_a_list_of_its_own(overlay, tmp_path):
    same = "\nMulti-Arch: same\n\n"
    lists = {a: offered("a", "2", a).replace("\n\n", same) for a in ("amd64", "i386")}
    apt, read = apt_host(
        overlay, tmp_path, installed_twice("1", "1"), lists["amd64"], foreign=lists["i386"]
    )
    updates = Host(read).security_updates
    assert apt == {"a": "2"}
    assert {(u.package, u.architecture) for u in updates.pending} == {("a", "amd64"), ("a", "i386")}
    assert updates.doubts == ()
    # apt gives up where the two differ; what the lists offer stays true.
    _, read = apt_host(
        overlay, tmp_path, installed_twice("2", "1"), lists["amd64"],
        foreign=offered("a", "1", "i386"),
    )  # fmt: skip
    assert Host(read).security_updates.pending == ()


def test_the_collector_writes_nothing(overlay):
    """Not a file or folder changes while the collector runs, be it for a moment."""
    script = "touch /mnt/mark\nsh -s < /mnt/collector > /mnt/stream\n"
    out = overlay(script, collector=collector.script("0" * 32))
    assert (out / "stream").stat().st_size > 10_000
    assert (out / "written").read_text() == ""


LOG = """
export DEBIAN_FRONTEND=noninteractive
rm -f /var/log/dpkg.log* /var/log/apt/history.log*
for v in 1 2; do
    mkdir -p /srv/d$v/DEBIAN
    printf '%s\\n' 'Package: zz-test' "Version: $v" 'Architecture: all' 'Description: t' \
        'Maintainer: T <t@example.cn>' > /srv/d$v/DEBIAN/control
    dpkg-deb -b /srv/d$v /srv/$v.deb >/dev/null
done
@STEPS@
sh -s < /mnt/collector > /mnt/stream
"""


@pytest.mark.parametrize(
    ("steps", "basis"),
    [
        ("dpkg -i /srv/1.deb; dpkg -i /srv/2.deb", "log"),
        (
            "dpkg -i /srv/1.deb; dpkg -i /srv/2.deb; gzip /var/log/dpkg.log; : > /var/log/dpkg.log",
            "log",
        ),
        ("dpkg -i /srv/1.deb", "silent-log"),
        ("dpkg -i /srv/2.deb; : > /var/log/dpkg.log; dpkg -i /srv/1.deb", "silent-log"),
        ("dpkg -i /srv/1.deb; : > /var/log/dpkg.log; dpkg -i /srv/1.deb", "silent-log"),
    ],
    ids=["upgrade", "rotated", "new package", "downgrade", "reinstallation"],
)
def test_dpkg_s_own_log(overlay, steps, basis):
    out = overlay(LOG.replace("@STEPS@", steps), collector=collector.script("0" * 32))
    stream = evidence.parse_stream((out / "stream").read_bytes())
    now = dt.datetime.now(dt.UTC)
    read = evidence.from_stream(stream, target="t", address="", via="login", collected_at=now)
    upgrade = Host(read).last_upgrade
    assert upgrade.basis == basis
    assert (upgrade.earliest == upgrade.latest) is (basis == "log")
    assert abs(now - upgrade.latest) < dt.timedelta(minutes=2)
