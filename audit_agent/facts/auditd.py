"""auditd: where its log lies, and what happens when the file is full (auditd.conf(5))."""

import re

from msgspec import Struct

from audit_agent.model import Evidence, Quote


class Auditd(Struct, frozen=True):
    """The settings that decide how long records stay; names and defaults are auditd.conf's.

    `action` is max_log_file_action in lower case; `files` num_logs; `megabytes` max_log_file.
    `cutting` are the settings for a full disk that delete the oldest file.
    """

    log_file: str
    action: str
    files: int
    megabytes: int
    cutting: tuple[str, ...]
    quotes: tuple[Quote, ...]


def read_auditd(evidence: Evidence) -> Auditd | None:
    """Parse auditd.conf; None where there is none.

    Raises:
        EvidenceMissing: it exists and could not be read.
    """
    section = evidence.file("/etc/audit/auditd.conf")
    if section is None:
        return None
    values: dict[str, str] = {}
    quotes: dict[str, Quote] = {}
    for number, line in enumerate(section.lines, 1):
        match = re.fullmatch(r"\s*([A-Za-z_]+)\s*=\s*(\S+).*", line)
        if match is not None:
            name = match[1].lower()
            values[name] = match[2]
            quotes[name] = Quote(section.name, number, number)
    deciding = ("log_file", "max_log_file_action", "num_logs", "max_log_file")
    return Auditd(
        log_file=values.get("log_file", "/var/log/audit/audit.log"),
        action=values.get("max_log_file_action", "ignore").lower(),
        files=_number(values.get("num_logs", "0")),
        megabytes=_number(values.get("max_log_file", "0")),
        cutting=tuple(
            name
            for name in ("space_left_action", "admin_space_left_action", "disk_full_action")
            if values.get(name, "").lower() == "rotate"
        ),
        quotes=tuple(quotes[name] for name in deciding if name in quotes) or (Quote(section.name),),
    )


def _number(text: str) -> int:
    return int(text) if re.fullmatch(r"\d{1,9}", text) else 0
