"""TM-01 on a real chronyd, with and without a server that answers."""

import datetime as dt
import shutil

import pytest

from audit_agent import collector, engine, evidence, plugins

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(
        shutil.which("chronyd") is None,
        reason="needs chrony, which would replace this machine's own time service",
    ),
]

# -x: neither of the two touches this machine's clock.
SETUP = """
ip link set lo up
mkdir -p /run/chrony
printf 'local stratum 8\\nallow\\nport 11123\\ncmdport 0\\npidfile /run/server.pid\\n' > /srv/server
printf 'bindcmdaddress /\\n' >> /srv/server
printf 'server 127.0.0.1 port 11123 iburst minpoll 0 maxpoll 0\\nport 0\\n' > /srv/client
printf 'pidfile /run/client.pid\\n' >> /srv/client
@SERVER@
chronyd -x -f /srv/client
n=0
while [ "$n" -lt @TENTHS@ ] && ! chronyc -n -h 127.0.0.1 sources | grep -q '^\\^\\*'; do
    sleep 0.1; n=$((n + 1))
done
sh -s < /mnt/collector > /mnt/stream
"""


@pytest.mark.parametrize(
    ("server", "tenths", "status", "said"),
    [
        ("chronyd -x -f /srv/server", "100", "pass", "chrony 127.0.0.1 Leap status: Normal"),
        ("true", "5", "fail", "chrony 00000000 () Leap status: Not synchronised"),
    ],
    ids=["followed", "silent"],
)
def test_chrony(overlay, server, tenths, status, said):
    out = overlay(
        SETUP.replace("@SERVER@", server).replace("@TENTHS@", tenths),
        collector=collector.script("0" * 32),
    )
    stream = evidence.parse_stream((out / "stream").read_bytes())
    now = dt.datetime.now(dt.UTC)
    read = evidence.from_stream(stream, target="t", address="", via="login", collected_at=now)
    (finding,) = engine.audit(read, [c for c in plugins.checks() if c.id == "TM-01"])
    assert (finding.status, finding.observed) == (status, said)
    assert "clock.chrony" in {quote.section for quote in finding.quotes}
