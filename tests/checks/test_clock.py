"""TM-01. Hand-written evidence; the chrony answers were recorded from chrony 4.3."""

import datetime as dt

import pytest

from audit_agent.model import Gap

BASE = {
    "host.clock": "2026-11-24T04:00:00Z\n+0800\n",
    "host.confinement": "CapEff:\t000001ffffffffff\n",
    "file:/proc/uptime": "90000.12 1.0\n",
    "clock.jobs": "all crontabs are visible\n",
    "clock.agents": "",
}
SEEN = "all processes are visible\n"
CHRONY = f"8 chronyd\n{SEEN}"
TRACKING = (
    "Reference ID    : 7F000001 (127.0.0.1)\nStratum         : 9\n"
    "Ref time (UTC)  : Tue Nov 24 09:09:36 2026\nLeap status     : Normal\n"
)
SOURCES = (
    "MS Name/IP address         Stratum Poll Reach LastRx Last sample               \n"
    "===============================================================================\n"
    "^* 127.0.0.1                     8   0   377     1   +380ns[ +123ns] +/- 3071ns\n"
)
NTPQ = (
    "     remote           refid      st t when poll reach   delay   offset  jitter\n"
    "==============================================================================\n"
    "{mark}{peer}    10.137.38.86     2 u   22   64  {reach}    1.234   -0.012   0.045\n"
)
LISTED = f"{int(dt.datetime(2026, 11, 23, tzinfo=dt.UTC).timestamp())} /run/systemd/timesync\n"


def synced(hours):
    at = dt.datetime(2026, 11, 24, 4, tzinfo=dt.UTC) - dt.timedelta(hours=hours)
    return f"{LISTED}{int(at.timestamp())} /run/systemd/timesync/synchronized\n"


UNSYNC = "    status:       64 (UNSYNC)\n"
SYNC = "    status:       8193 (PLL | NANO)\n"


@pytest.mark.parametrize(
    ("processes", "more", "status", "message"),
    [
        (CHRONY, {"clock.chrony": TRACKING, "clock.chrony-sources": SOURCES}, "pass", "follows"),
        (
            CHRONY,
            {"clock.chrony": TRACKING, "clock.chrony-sources": SOURCES.replace("^*", "^?")},
            "fail", "no time source",
        ),
        (
            CHRONY,
            {"clock.chrony": TRACKING, "clock.chrony-sources": SOURCES.replace("377", "  0")},
            "fail", "no time source",
        ),
        (
            CHRONY,
            {
                "clock.chrony": TRACKING.replace("Normal", "Not synchronised"),
                "clock.chrony-sources": SOURCES.replace("^*", "^?"),
                "file:/proc/uptime": "42.1 1.0\n",
            },
            "unknown", "minutes ago",
        ),
        (CHRONY, {"clock.chrony": Gap.FAILED}, "unknown", "could not be asked"),
        (
            CHRONY, {"clock.chrony": Gap.FAILED, "clock.timedatectl": "NTPSynchronized=yes\n"},
            "pass", "says that its clock is synchronised",
        ),
        # Without rtcsync chrony does not tell the kernel, so "no" proves nothing.
        (
            CHRONY, {"clock.chrony": Gap.FAILED, "clock.timedatectl": "NTPSynchronized=no\n"},
            "unknown", "could not be asked",
        ),
        (CHRONY, {"clock.chrony": Gap.NO_TOOL, "clock.kernel": SYNC}, "pass", "the kernel"),
        (CHRONY, {"clock.chrony": Gap.NO_TOOL, "clock.kernel": UNSYNC}, "unknown", "not be asked"),
        (
            f"9 ntpd\n{SEEN}",
            {"clock.ntp": NTPQ.format(mark="*", peer="203.107.6.88", reach="377")},
            "pass", "follows 203.107.6.88",
        ),
        (
            f"9 ntpd\n{SEEN}",
            {"clock.ntp": NTPQ.format(mark=" ", peer="203.107.6.88", reach="377")},
            "fail", "no time source",
        ),
        # The undisciplined local clock is no source.
        (
            f"9 ntpd\n{SEEN}",
            {"clock.ntp": NTPQ.format(mark="*", peer="127.127.1.0 ", reach="377")},
            "fail", "no time source",
        ),
        (f"9 ntpd\n{SEEN}", {"clock.ntp": "127.0.0.1: timed out\n"}, "unknown", "not be asked"),
        (f"9 systemd-timesyn\n{SEEN}", {"clock.timesync": synced(0.5)}, "pass", "30 minutes ago"),
        (f"9 systemd-timesyn\n{SEEN}", {"clock.timesync": synced(10)}, "fail", "600 minutes old"),
        (f"9 systemd-timesyn\n{SEEN}", {"clock.timesync": synced(-5)}, "unknown", "in the future"),
        (f"9 systemd-timesyn\n{SEEN}", {"clock.timesync": LISTED}, "fail", "no time source"),
        (f"9 systemd-timesyn\n{SEEN}", {"clock.timesync": ""}, "unknown", "not be asked"),
        # Of two services one is enough.
        (
            f"8 chronyd\n9 ptp4l\n{SEEN}",
            {"clock.chrony": TRACKING, "clock.chrony-sources": SOURCES}, "pass", "follows",
        ),
        (SEEN, {}, "fail", "no time service runs, and nothing else"),
        ("", {}, "unknown", "could not see every process"),
        (SEEN, {"clock.jobs": ""}, "unknown", "could not see every process"),
        (
            SEEN,
            {"clock.jobs": "/etc/crontab:0 * * * * root ntpdate ntp.aliyun.com\n"},
            "manual", "ntpdate",
        ),
        (
            SEEN,
            {"clock.jobs": "/etc/crontab:# 0 * * * * root ntpdate x\nall crontabs are visible\n"},
            "fail", "nothing else",
        ),
        (f"7 vmtoolsd\n{SEEN}", {}, "manual", "vmtoolsd"),
        (SEEN, {"clock.agents": "/sys/bus/vmbus/drivers/hv_utils\n"}, "manual", "hv_utils"),
        (SEEN, {"clock.kernel": SYNC}, "manual", "adjtimex"),
        (SEEN, {"host.confinement": "container=lxc\n"}, "not_applicable", "container"),
        (
            CHRONY,
            {
                "host.confinement": "container=lxc\n", "clock.chrony": TRACKING,
                "clock.chrony-sources": SOURCES,
            },
            "pass", "follows",
        ),
        (Gap.FAILED, {}, "unknown", "command failed"),
    ],
)  # fmt: skip
def test_tm_01(judge, processes, more, status, message):
    (finding,) = judge("TM-01", BASE | {"clock.processes": processes} | more)
    assert (finding.status, message in finding.summary.en) == (status, True), finding.summary.en
    assert finding.quotes
