"""The SSH servers of a host: which run, and what their settings can be for a connection."""

import itertools
import re

from msgspec import Struct

from audit_agent.facts.packages import file_times
from audit_agent.facts.sshd_config import Applies, Match, Setting, SshdConfig, read_sshd_config
from audit_agent.model import Evidence, EvidenceMissing, Gap, Quote

_PLACES = ("/etc/ssh/sshd_config", "/usr/etc/ssh/sshd_config")
_DEFAULTS = {
    "passwordauthentication": "yes",
    "kbdinteractiveauthentication": "yes",
    "pubkeyauthentication": "yes",
    "authenticationmethods": "any",
}
"""sshd_config(5) of every version; distributions set other values in the file, not in the code."""


class Daemon(Struct, frozen=True):
    """One SSH server that runs, from its command line.

    `config` is the file named with -f, or ""; `overrides` are the values given with -o, by
    lower-case keyword, which go before those of the file.
    """

    pid: int
    uid: int | None
    program: str
    command: str
    config: str
    overrides: dict[str, str]
    quote: Quote

    @property
    def is_openssh(self) -> bool:
        """Whether it is OpenSSH's."""
        return self.program.removesuffix(" (deleted)").endswith("/sshd") or (
            not self.program and "sshd" in self.command.partition(" ")[0]
        )


class Value(Struct, frozen=True):
    """What a setting can be: `text` is lower-case, or None where nothing tells."""

    text: str | None
    quotes: tuple[Quote, ...]
    match: Match | None = None


class Scenario(Struct, frozen=True):
    """The settings under one combination of Match blocks; `source_limited` by their Address."""

    values: dict[str, Value]
    source_limited: bool
    matches: tuple[Match, ...]


class Sshd(Struct, frozen=True):
    """The SSH servers that are installed and that run.

    `all_seen` is whether the list of processes was whole; `effective` holds what `sshd -T` said,
    for a connection from far, with the number of each line; None where it could not be asked
    (`refused` says why). `version` is like (9, 2). `started` names the units that start a server
    at boot or on demand, None where the host's units are not known; `socket` is the line of a unit
    that listens now and starts a server for whoever connects. `reloaded` is False where the
    configuration was changed after sshd last read it, None where that cannot be told.
    """

    programs: tuple[str, ...]
    daemons: tuple[Daemon, ...]
    all_seen: bool
    effective: dict[str, tuple[str, int]] | None
    refused: str
    version: tuple[int, int] | None
    started: tuple[str, ...] | None
    socket: Quote | None
    reloaded: bool | None


def read_sshd(evidence: Evidence) -> Sshd:
    """Which SSH servers there are.

    Raises:
        EvidenceMissing: nobody looked for them.
    """
    programs = tuple(dict.fromkeys(evidence["sshd.programs"].lines))
    processes = evidence["sshd.processes"]
    daemons = [
        daemon
        for number, line in enumerate(processes.lines, 1)
        if (daemon := _daemon(line, Quote(processes.name, number, number)))
    ]
    effective, refused = _effective(evidence)
    return Sshd(
        programs=tuple(path for path in programs if path.startswith("/")),
        daemons=tuple(daemons),
        all_seen="all processes are visible" in processes.lines,
        effective=effective,
        refused=refused,
        version=_version(evidence),
        started=_started(evidence),
        socket=_socket(evidence),
        reloaded=_reloaded(evidence),
    )


def _daemon(line: str, quote: Quote) -> Daemon | None:
    fields = line.split("\t")
    if len(fields) != 4 or re.fullmatch("[0-9]{1,10}", fields[0]) is None:
        return None
    command = re.sub(r"^sshd: (?=/)| \[listener\].*$", "", fields[3].strip())
    words = command.split()
    config, overrides = "", dict[str, str]()
    while words:
        word = words.pop(0)
        if word.startswith("-f"):
            config = word[2:] or (words.pop(0) if words else "")
        elif word.startswith("-o"):
            text = word[2:] or (words.pop(0) if words else "")
            keyword, equals, value = text.partition("=")
            if not equals and words and not words[0].startswith("-"):
                value = words.pop(0)
            overrides.setdefault(keyword.lower(), value.lower())
    uid = int(fields[1]) if re.fullmatch("[0-9]{1,10}", fields[1]) else None
    return Daemon(int(fields[0]), uid, fields[2], command, config, overrides, quote)


def _effective(evidence: Evidence) -> tuple[dict[str, tuple[str, int]] | None, str]:
    try:
        section = evidence["sshd.effective"]
    except EvidenceMissing as missing:
        refused = missing.detail.partition("\n")[0].strip() or str(missing.gap)
        return None, refused
    values: dict[str, tuple[str, int]] = {}
    for number, line in enumerate(section.lines, 1):
        keyword, _, value = line.partition(" ")
        keyword = keyword.replace("challengeresponse", "kbdinteractive")
        if keyword in {"listenaddress", "allowusers"} and keyword in values:
            values[keyword] = (f"{values[keyword][0]} {value}", values[keyword][1])
        elif keyword == "kbdinteractiveauthentication" and value == "yes":
            values[keyword] = (value, number)  # before 8.7 either of its two names is enough
        else:
            values.setdefault(keyword, (value.strip(), number))
    return (values, "") if "permitrootlogin" in values else (None, "no permitrootlogin in it")


def _version(evidence: Evidence) -> tuple[int, int] | None:
    section = evidence.sections.get("sshd.version")
    text = section.text if section is not None else ""
    found = re.search(r"OpenSSH_(\d{1,4})\.(\d{1,4})", text)
    return (int(found[1]), int(found[2])) if found else None


def _started(evidence: Evidence) -> tuple[str, ...] | None:
    """Enabled units of an SSH server, a socket that starts one on demand included."""
    section = evidence.sections.get("host.unit-files")
    if section is None or section.gap is not None:
        return None
    return tuple(
        found[1] or found[2] or found[3]
        for line in section.lines
        if (found := _STARTED.match(line.strip()))
    )


_STARTED = re.compile(
    r"((?:ssh|sshd|dropbear)(?:@\S*)?\.(?:service|socket))\s+enabled"  # systemctl
    r"|(sshd|dropbear)\s+\|\s*\S"  # rc-update show
    r"|(/\S*/S\d+(?:ssh|sshd|dropbear))$"  # links of System V's init
)


def _socket(evidence: Evidence) -> Quote | None:
    """ssh.socket of Debian and Ubuntu, sshd.socket elsewhere, where it waits for connections."""
    section = evidence.sections.get("host.units")
    for number, line in enumerate(section.lines if section is not None else [], 1):
        if re.match(r"\W*(ssh|sshd|dropbear)\.socket\s+loaded\s+active\s", line):
            return Quote("host.units", number, number)
    return None


def _reloaded(evidence: Evidence) -> bool | None:
    """The daemon writes /run/sshd.pid anew when it starts and whenever it reads its files again."""
    section = evidence.sections.get("sshd.times")
    times = file_times(section) if section is not None and section.gap is None else {}
    started = times.pop("/run/sshd.pid", None)
    if started is None or not times:
        return None
    return max(at for at, _ in times.values()) <= started[0]


class Server(Struct, frozen=True):
    """The settings of one server, running or not, as far as files and `sshd -T` tell."""

    sshd: Sshd
    daemon: Daemon | None
    config: SshdConfig | None
    effective: dict[str, tuple[str, int]] | None
    defaults: dict[str, str]

    def scenarios(self, user: str | None, *keywords: str) -> list[Scenario]:
        """Every combination of Match blocks that may apply to `user` (None: to anybody).

        Raises:
            EvidenceMissing: there are more combinations than can be looked at.
        """
        settings = self.config.conditional(*keywords) if self.config is not None else []
        settings = [s for s in settings if s.applies_to(user) is not Applies.NEVER]
        blocks = list(dict.fromkeys(s.matches for s in settings))
        sure = [b for b in blocks if all(m.applies_to(user) is Applies.ALWAYS for m in b)]
        open_ = [block for block in blocks if block not in sure]
        if len(open_) > 10:
            raise EvidenceMissing("sshd.effective", Gap.FAILED, "too many Match blocks")
        scenarios: list[Scenario] = []
        for chosen in itertools.product((False, True), repeat=len(open_)):
            on = [block for block, is_on in zip(open_, chosen, strict=True) if is_on]
            off = [block for block in open_ if block not in on]
            active = [s for s in settings if s.matches in sure or s.matches in on]
            scenarios.append(
                Scenario(
                    values={keyword: self._value(keyword, active) for keyword in keywords},
                    source_limited=any(m.limits_source for block in on for m in block)
                    or any(all(m.spares_source for m in block) for block in off),
                    matches=tuple(m for block in on for m in block),
                )
            )
        return scenarios

    def _value(self, keyword: str, active: list[Setting]) -> Value:
        for setting in active:
            if setting.keyword == keyword:
                quotes = (setting.matches[-1].quote, setting.quote)
                return Value(setting.value.lower(), quotes, setting.matches[-1])
        return self.base(keyword)

    def base(self, keyword: str) -> Value:
        """The value where no Match block applies: the command line's, sshd's own, the file's."""
        if self.daemon is not None and keyword in self.daemon.overrides:
            return Value(self.daemon.overrides[keyword], (self.daemon.quote,))
        conditional = self.config is None or bool(self.config.conditional(keyword))
        if self.effective is not None and keyword in self.effective and not conditional:
            text, number = self.effective[keyword]
            return Value(text.lower(), (Quote("sshd.effective", number, number),))
        if self.config is None or self.config.unseen:
            return Value(None, self.config.unseen if self.config is not None else ())
        if setting := self.config.first(keyword):
            return Value(setting.value.lower(), (setting.quote,))
        return Value(self.defaults.get(keyword), (self.config.whole,))


def read_servers(evidence: Evidence, sshd: Sshd, family: str) -> list[Server]:
    """One entry for each OpenSSH server that runs; where none runs, one for what would start."""
    daemons: list[Daemon | None] = [daemon for daemon in sshd.daemons if daemon.is_openssh]
    return [_server(evidence, sshd, daemon, family) for daemon in daemons or [None]]


def _server(evidence: Evidence, sshd: Sshd, daemon: Daemon | None, family: str) -> Server:
    asked = evidence.sections.get("sshd.effective")
    program = asked.command.partition(" ")[0] if asked is not None else ""
    effective = sshd.effective
    path = daemon.config if daemon is not None else ""
    if daemon is not None and (
        (path and path not in _PLACES)
        or (program.startswith("/") and daemon.program.removesuffix(" (deleted)") != program)
    ):
        effective = None
    try:
        config = read_sshd_config(evidence, path or _config_of(evidence, daemon))
    except EvidenceMissing:
        config = None
    defaults = _defaults(sshd.version, family)
    if effective is not None:  # one that was built without PAM does not name it
        defaults["usepam"] = "no"
    return Server(sshd, daemon, config, effective, defaults)


def _config_of(evidence: Evidence, daemon: Daemon | None) -> str:
    """The file a server reads by itself: one built by hand has it beside its own tree."""
    places = list(_PLACES)
    if daemon is not None and daemon.program.startswith("/usr/local/"):
        places = ["/usr/local/etc/sshd_config", "/usr/local/etc/ssh/sshd_config", *places]
    for path in places:
        section = evidence.sections.get(f"file:{path}")
        if section is not None and section.gap is not Gap.ABSENT:
            return path
    return places[0]


def _defaults(version: tuple[int, int] | None, family: str) -> dict[str, str]:
    """PermitRootLogin is prohibit-password since 7.0; Red Hat's and SUSE's builds differed."""
    known = dict(_DEFAULTS)
    if version is not None and version >= (7, 0) and family in {"debian", "alpine"}:
        known["permitrootlogin"] = "prohibit-password"
    return known
