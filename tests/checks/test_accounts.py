"""AC: accounts and passwords."""

import pytest

from audit_agent.model import Gap

PASSWD = "root:x:0:0:root:/root:/bin/bash\ndaemon:x:1:1::/usr/sbin:/usr/sbin/nologin\n"
SHADOW = "root:$y:20000:0:99999:7:::\ndaemon:none:20000:0:99999:7:::\n"


@pytest.mark.parametrize(
    ("passwd", "status", "lines"),
    [
        (PASSWD, "pass", [""]),
        (PASSWD + "toor:x:0:0::/root:/bin/sh\n", "fail", ["1", "3"]),
        (PASSWD + "toor:x:00:0::/root:/bin/sh\n", "fail", ["1", "3"]),
        # the C library takes these for accounts with UID 0 (getent passwd toor)
        (PASSWD + "toor:x:0:0\n", "fail", ["1", "3"]),
        (PASSWD + " \ttoor:x:+0:0::/:/bin/sh\n", "fail", ["1", "3"]),
        # and these for none: a reference to NIS, and a line without a number
        (PASSWD + "+::0:0:::\n+@admins::::::\ntoor:x:0x0:0::/:/bin/sh\n", "pass", [""]),
        ("daemon:x:1:1::/:/bin/sh\n", "warn", [""]),
        (Gap.DENIED, "unknown", [""]),
        ("", "unknown", [""]),
    ],
)
def test_ac_02(judge, passwd, status, lines):
    findings = judge("AC-02", {"file:/etc/passwd": passwd})
    assert [finding.status for finding in findings] == [status]
    assert [quote.lines for quote in findings[0].quotes] == lines


@pytest.mark.parametrize(
    ("passwd", "shadow", "statuses"),
    [
        (PASSWD, SHADOW, ["pass"]),
        (PASSWD, SHADOW.replace("$y", "empty"), ["fail"]),
        (PASSWD, SHADOW.replace("none", "empty"), ["warn"]),
        (PASSWD.replace("root:x", "root:"), SHADOW, ["fail"]),
        (PASSWD + "+::::::\n", SHADOW + "+:empty::::::\n", ["pass"]),
        (PASSWD + "toor::0:0\n", SHADOW, ["fail"]),
        (PASSWD, Gap.DENIED, ["unknown"]),
        (PASSWD, "", ["unknown"]),
    ],
)
def test_ac_03(judge, passwd, shadow, statuses):
    sections = {"file:/etc/passwd": passwd, "accounts.shadow": shadow}
    assert [finding.status for finding in judge("AC-03", sections)] == statuses
