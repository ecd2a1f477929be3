"""PT-02, PT-03 and PT-04 on a host with real rpm, dnf and an own repository with advisories."""

import datetime as dt
import re
import shutil

import pytest

from audit_agent import collector, evidence
from audit_agent.facts import Host

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(
        not all(shutil.which(name) for name in ("rpmbuild", "dnf", "createrepo_c")),
        reason="needs rpm, dnf and createrepo-c (make test installs them)",
    ),
]

SPEC = b"""
Name: %{n}
Version: %{v}
Release: %{r}
Summary: test
License: MIT
BuildArch: noarch
%description
test
%files
"""

# What the packages are: name, version, release; the newest of each is on offer.
PACKAGES = [
    ("foo", "1.0", "1.oe2203"), ("foo", "1.10", "1.oe2203"), ("bar", "2.0", "9.oe2203"),
    ("bar", "2.0", "10.oe2203"), ("baz", "3", "1"), ("baz", "4", "1"), ("kernel", "5.14.0", "1"),
    ("kernel", "5.15.0", "1"), ("glibc", "2.34", "1"),
]  # fmt: skip
INSTALLED = "foo-1.0 bar-2.0-9.oe2203 baz-3 kernel-5.14.0 glibc"

ADVISORY = """<update from="x" status="final" type="{type}" version="1"><id>{ident}</id>
 <title>t</title><severity>{severity}</severity><issued date="{issued}"/>
 <description>A &lt;package name="foo"&gt; in words.</description>
 <pkglist><collection short="x"><name>x</name>{module}
  <package name="{name}" version="{version}" release="{release}" epoch="0" arch="noarch">
   <filename>f.rpm</filename></package>
 </collection></pkglist></update>
"""

SETUP = """
rm -rf /etc/yum.repos.d /var/lib/rpm /var/cache/dnf /var/log/dnf* /etc/dnf/modules.d/*
mkdir -p /etc/rpm /etc/yum.repos.d /var/lib/rpm /srv/repo /root/rb
echo '%_dbpath /var/lib/rpm' > /etc/rpm/macros
cp /mnt/release /etc/os-release
rm -f /usr/bin/dpkg-query /etc/debian_version
while read -r n v r; do
    rpmbuild -bb --quiet --define "n $n" --define "v $v" --define "r $r" \
        --define '_topdir /root/rb' \
        --define '_build_name_fmt %%{NAME}-%%{VERSION}-%%{RELEASE}.rpm' \
        /mnt/spec 2>/dev/null
done < /mnt/packages
cp /root/rb/RPMS/*.rpm /srv/repo
createrepo_c -q /srv/repo
modifyrepo_c --mdtype=updateinfo /mnt/updateinfo.xml /srv/repo/repodata >/dev/null
printf '[update]\\nname=u\\nbaseurl=file:///srv/repo\\ngpgcheck=0\\n' > /etc/yum.repos.d/x.repo
dnf="dnf -q -y --releasever=22.03"
$dnf install @INSTALLED@ >/dev/null
@MORE@
$dnf -C updateinfo list --security > /mnt/dnf
touch /mnt/mark
sh -s < /mnt/collector > /mnt/stream
"""

RELEASE = b'ID="openEuler"\nVERSION_ID="22.03"\nVERSION="22.03 (LTS-SP4)"\nNAME="openEuler"\n'


def advisory(
    ident, name, version, release, severity="Important", issued="2026-01-01 00:00:00", **more
):
    values = {"type": "security", "module": ""} | more
    return ADVISORY.format(
        ident=ident, name=name, version=version, release=release, severity=severity, issued=issued,
        **values,
    )  # fmt: skip


ADVISORIES = (
    advisory("openEuler-SA-2026-1", "foo", "1.10", "1.oe2203")
    + advisory("openEuler-SA-2026-2", "bar", "2.0", "10.oe2203", "Low", "2026-11-20 00:00:00")
    + advisory("openEuler-SA-2025-9", "foo", "1.0", "1.oe2203", "Critical")
    + advisory("openEuler-SA-2026-3", "absent", "9", "1", "Critical")
    + advisory("openEuler-BA-2026-4", "baz", "4", "1", type="bugfix")
)


def rpm_host(overlay, more="true", advisories=ADVISORIES, release=RELEASE):
    """What dnf calls pending on such a host, the host's facts, and what the collector wrote."""
    out = overlay(
        SETUP.replace("@INSTALLED@", INSTALLED).replace("@MORE@", more),
        spec=SPEC,
        packages="".join(" ".join(p) + "\n" for p in PACKAGES).encode(),
        release=release,
        collector=collector.script("0" * 32),
        **{"updateinfo.xml": f"<updates>\n{advisories}</updates>\n".encode()},
    )
    dnf = {}
    for line in (out / "dnf").read_text().splitlines():
        ident, _, nevra = line.split()
        dnf[ident] = re.sub(r"\.noarch$", "", nevra)
    stream = evidence.parse_stream((out / "stream").read_bytes())
    now = dt.datetime.now(dt.UTC)
    read = evidence.from_stream(stream, target="t", address="", via="login", collected_at=now)
    return dnf, Host(read), (out / "written").read_text()


def pending(host):
    return {u.source: f"{u.package}-{u.candidate}" for u in host.security_updates.pending}


def test_what_dnf_calls_pending_is_pending_and_nothing_is_written(overlay):
    dnf, host, written = rpm_host(overlay)
    assert set(dnf) == {"openEuler-SA-2026-1", "openEuler-SA-2026-2"}
    assert pending(host) == dnf
    assert host.security_updates.doubts == ()
    assert {u.severity for u in host.security_updates.pending} == {"important", "low"}
    assert written == ""
    assert host.last_upgrade.basis == "installation"


def test_after_an_upgrade(overlay):
    dnf, host, _ = rpm_host(overlay, more="sleep 1; $dnf upgrade foo bar >/dev/null")
    assert dnf == {} == pending(host)
    assert host.security_updates.doubts == ()
    upgrade = host.last_upgrade
    assert (upgrade.basis, upgrade.packages) == ("log", 2)


def test_a_new_package_or_a_downgrade_is_no_upgrade(overlay):
    _, host, _ = rpm_host(overlay, more="$dnf downgrade bar-2.0-9.oe2203 >/dev/null || true")
    assert host.last_upgrade.basis == "installation"


@pytest.mark.parametrize(
    ("more", "advisories", "release", "reason"),
    [
        ("true", ADVISORIES.replace("openEuler-", "FEDORA-EPEL-"), RELEASE, "no-advisories"),
        ("true", ADVISORIES, RELEASE.replace(b"openEuler", b"centos"), "no-advisories"),
        (
            "printf '[more]\\nname=m\\nbaseurl=file:///none\\n' > /etc/yum.repos.d/more.repo",
            ADVISORIES, RELEASE, "no-metadata",
        ),
    ],
    ids=["only an add-on's", "a distribution without", "a repository never asked"],
)  # fmt: skip
def test_doubts(overlay, more, advisories, release, reason):
    more += "; dnf() { true; }; dnf=true"  # dnf would only complain
    _, host, _ = rpm_host(overlay, more, advisories, release)
    assert reason in {doubt.reason for doubt in host.security_updates.doubts}


def test_a_module_stream_that_is_not_enabled_offers_nothing(overlay):
    module = '<module name="foo" stream="2" version="1" context="c" arch="noarch"/>'
    advisories = advisory("openEuler-SA-2026-8", "foo", "1.10", "1.oe2203", module=module)
    _, host, _ = rpm_host(overlay, advisories=advisories)
    assert pending(host) == {}
    enable = (
        "printf '[foo]\\nname=foo\\nstream=2\\nstate=enabled\\n' > /etc/dnf/modules.d/foo.module"
    )
    _, host, _ = rpm_host(overlay, enable, advisories)
    assert pending(host) == {"openEuler-SA-2026-8": "foo-1.10-1.oe2203"}
