"""From one target to its evidence: one script there, one stream back."""

import datetime as dt
import secrets

from audit_agent import collector, evidence
from audit_agent.model import Evidence
from audit_agent.transport import HostUnreachable, Transport


def collect(transport: Transport) -> Evidence:
    """Read one host.

    Raises:
        HostUnreachable: it could not be reached, or what it sent is not a collector's stream.
    """
    nonce = secrets.token_hex(16)
    started = dt.datetime.now().astimezone().replace(microsecond=0)
    recording = transport.run(collector.script(nonce))
    try:
        stream = evidence.parse_stream(recording.stream, nonce)
        return evidence.from_stream(
            stream,
            target=transport.target,
            address=recording.address,
            via=recording.via,
            collected_at=started,
            interrupted=recording.interrupted,
            extra=recording.witnesses,
        )
    except evidence.StreamError as error:
        reason = recording.interrupted or str(error)
        raise HostUnreachable("no-stream", f"{transport.target}: {reason}") from error
