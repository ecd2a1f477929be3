"""Into which files rsyslog writes. (The configurations are written by hand in its own formats.)"""

import pytest

from audit_agent.facts.rsyslog import read_targets, selected
from audit_agent.model import EvidenceMissing, Gap

DEBIAN = """\
module(load="imuxsock")
$FileOwner root
$IncludeConfig /etc/rsyslog.d/*.conf
auth,authpriv.*\t\t\t/var/log/auth.log
*.*;auth,authpriv.none\t\t-/var/log/syslog
#cron.*\t/var/log/cron.log
kern.*\t-/var/log/kern.log
*.emerg :omusrmsg:*
"""
RHEL = """\
*.info;mail.none;authpriv.none;cron.none /var/log/messages
authpriv.* /var/log/secure
cron.* /var/log/cron
*.* @@log.example.com:514
"""
SCRIPT = """\
authpriv.* action(type="omfile" File="/var/log/auth.log" template="x")
if $programname == 'sshd' then /var/log/ssh.log
if $x == 'y' then {
    action(type="omfile" file="/var/log/y.log")
}
daemon.notice\t/a;RSYSLOG_Format
& -/b
& stop
:msg, contains, "x" /c
"""


@pytest.mark.parametrize(
    ("selector", "kinds"),
    [
        ("auth,authpriv.*", {"auth"}),
        ("*.*;auth,authpriv.none", {"system"}),
        ("*.info;mail.none;authpriv.none;cron.none", {"system"}),
        ("*.info;auth.none;authpriv.none", {"system"}),
        ("*.none", set()),
        ("kern.*", set()),
        ("daemon.=notice", {"system"}),
        ("authpriv.none;authpriv.info", {"auth"}),
        ("*.*", {"auth", "system"}),
    ],
)
def test_a_selector_takes_classes(selector, kinds):
    assert selected(selector) == kinds


def targets(make_evidence, text, dropins=Gap.ABSENT):
    evidence = make_evidence({"file:/etc/rsyslog.conf": text, "dir:/etc/rsyslog.d": dropins})
    return [
        (target.path, None if target.kinds is None else set(target.kinds), target.quote.lines)
        for target in read_targets(evidence)
    ]


def test_the_files_of_a_configuration(make_evidence):
    assert targets(make_evidence, DEBIAN) == [
        ("/var/log/auth.log", {"auth"}, "4"),
        ("/var/log/syslog", {"system"}, "5"),
        ("/var/log/kern.log", set(), "7"),
    ]
    assert [path for path, _, _ in targets(make_evidence, RHEL)] == [
        "/var/log/messages", "/var/log/secure", "/var/log/cron",
    ]  # fmt: skip
    assert targets(make_evidence, SCRIPT) == [
        ("/var/log/auth.log", {"auth"}, "1"),
        ("/var/log/y.log", None, "4"),
        ("/a", {"system"}, "6"),
        ("/b", {"system"}, "7"),
    ]


def test_what_cannot_be_read_is_not_nothing(make_evidence):
    assert targets(make_evidence, Gap.ABSENT) == []
    with pytest.raises(EvidenceMissing):
        targets(make_evidence, Gap.DENIED)
    with pytest.raises(EvidenceMissing):
        targets(make_evidence, DEBIAN, Gap.DENIED)
