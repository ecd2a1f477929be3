"""Jobs beside logrotate's that may delete logs: of cron, of systemd-tmpfiles, of scripts."""

import re

from msgspec import Struct

from audit_agent.model import Evidence, Quote

_ENOUGH = 184
"""Days after which a job that deletes no longer shortens what is asked for."""


class Remover(Struct, frozen=True):
    """One line that may delete logs. `targets` are the paths it names, up to the first wildcard."""

    text: str
    targets: tuple[str, ...]
    quote: Quote

    def reaches(self, path: str) -> bool:
        """Whether it may delete this log, or a file that was rotated out of it."""
        return any(
            path == target.rstrip("/")
            or path.startswith(target.rstrip("/") + "/")
            or target.startswith((f"{path}.", f"{path}-"))
            for target in self.targets
        )


def read_log_removers(evidence: Evidence) -> list[Remover]:
    """The lines that the collector found; none where it did not look."""
    section = evidence.sections.get("logs.removers")
    found: list[Remover] = []
    for number, line in enumerate(section.lines if section is not None else [], 1):
        path, _, text = line.partition(":")
        text = text.strip()
        late = _age_of_tmpfiles(text) if path.startswith("/etc/tmpfiles.d/") else _age(text)
        if not text.startswith("#") and (late is None or late < _ENOUGH):
            named = re.findall(r"(?<![\w.*?-])/[\w./@%+-]+", text)
            targets = tuple(each for each in named if re.search(r"logs?(/|$)|/log/", each))
            found.append(Remover(text, targets, Quote("logs.removers", number, number)))
    return found


def _age(text: str) -> int | None:
    """The days of find's -mtime or -ctime; None where the line names none."""
    days = [int(each) for each in re.findall(r"-[cm]time \+(\d{1,6})\b", text)]
    return min(days, default=None)


def _age_of_tmpfiles(text: str) -> int | None:
    """tmpfiles.d(5): type, path, mode, user, group, age; what has no age deletes nothing."""
    words = text.split()
    age = words[5].lstrip("~") if len(words) > 5 else "-"
    found = re.fullmatch(r"(\d{1,6})([dw])", age)
    if found is None:
        return _ENOUGH if age == "-" else None
    return int(found[1]) * (7 if found[2] == "w" else 1)
