"""Whether the servers have read their certificate files since these were written."""

import datetime as dt
import re

from msgspec import Struct

from audit_agent.facts.packages import file_times
from audit_agent.model import Evidence, Quote

_SERVERS = {
    "nginx": "nginx",
    "openresty": "nginx",
    "apache2": "apache",
    "httpd": "apache",
    "haproxy": "haproxy",
}
_TICKS = 100  # a second, in /proc/PID/stat (USER_HZ)
_SLACK = dt.timedelta(seconds=2)


class Reloads(Struct, frozen=True):
    """`started` is when the youngest process of each server began, `written` each file's time.

    These servers begin new processes whenever they read their configuration and files again.
    """

    started: dict[str, dt.datetime]
    written: dict[str, tuple[dt.datetime, Quote]]

    def unread(self, path: str, server: str) -> Quote | None:
        """The line that shows that the server runs with what the file held before."""
        started, written = self.started.get(server), self.written.get(path)
        if started is None or written is None or written[0] <= started + _SLACK:
            return None
        return written[1]


def read_reloads(evidence: Evidence) -> Reloads:
    """The times that the host tells; none where it was not asked."""
    section = evidence.sections.get("tls.times")
    if section is None or section.gap is not None:
        return Reloads({}, {})
    text = section.text
    now = re.search(r"^now (\d{1,12})$", text, re.MULTILINE)
    uptime = re.search(r"^uptime (\d{1,12})", text, re.MULTILINE)
    started: dict[str, dt.datetime] = {}
    if now is not None and uptime is not None:
        for comm, ticks in re.findall(r"^start (\S+) (\d{1,18})$", text, re.MULTILINE):
            age = int(uptime[1]) - int(ticks) // _TICKS
            if comm in _SERVERS and 0 <= age <= int(now[1]):
                began = dt.datetime.fromtimestamp(int(now[1]) - age, dt.UTC)
                server = _SERVERS[comm]
                started[server] = max(began, started.get(server, began))
            elif comm in _SERVERS:  # an uptime of another clock than the processes' (lxcfs)
                return Reloads({}, {})
    return Reloads(started, file_times(section))
