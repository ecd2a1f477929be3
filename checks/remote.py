"""SSH: remote administration."""

from collections.abc import Iterator, Mapping

from audit_agent.engine import Evaluate, Params
from audit_agent.facts import Host
from audit_agent.facts.sshd import Scenario, Server, Value
from audit_agent.facts.sshd_config import matches
from audit_agent.model import Outcome, Quote, Status, Text

_KEYS_ONLY = {"prohibit-password", "without-password", "forced-commands-only"}
_PASSWORDS = {"password", "keyboard-interactive"}
_LOOPBACK = ("127.", "[::1]", "::1", "localhost")
_OTP = (
    "pam_google_authenticator", "pam_oath", "pam_otpw", "pam_totp", "pam_duo", "pam_radius",
    "pam_securid", "pam_u2f", "pam_yubico", "pam_privacyidea", "pam_2fa",
)  # fmt: skip
"""PAM modules that ask for a second factor."""


def no_root_login(host: Host, _: Params) -> Iterator[Outcome]:
    """SSH-01: PermitRootLogin as root meets it, under every Match block that may apply."""
    yield from _absent(host)
    for server in _servers(host):
        yield _root_login(server)


def key_or_two_factors(host: Host, _: Params) -> Iterator[Outcome]:
    """SSH-02: whether a password alone opens a session, for anybody, from anywhere."""
    yield from _absent(host)
    for server in _servers(host):
        yield _password_login(server, _asks_second_factor(host))


# --- which servers there are ---


def _servers(host: Host) -> list[Server]:
    """The OpenSSH servers to judge: those that run, or the one that would start."""
    sshd = host.sshd
    runs = any(daemon.is_openssh for daemon in sshd.daemons)
    installed = any(path.endswith("/sshd") for path in sshd.programs)
    if runs or (installed and not _never_starts(host)):
        return host.ssh_servers
    return []


def _never_starts(host: Host) -> bool:
    """No server runs, and no unit starts one at boot or on demand."""
    sshd = host.sshd
    return not sshd.daemons and sshd.all_seen and sshd.started == () and sshd.socket is None


def _absent(host: Host) -> Iterator[Outcome]:
    """Servers of other makes, for a person to look at; or that there is none."""
    sshd = host.sshd
    quotes = (Quote("sshd.programs"), Quote("sshd.processes"))
    others = [daemon for daemon in sshd.daemons if not daemon.is_openssh]
    for daemon in others:
        name = (daemon.program or daemon.command).rpartition("/")[2]
        yield Outcome(
            Status.MANUAL,
            "other_server",
            subject=daemon.command,
            observed=daemon.command,
            values={"name": name},
            quotes=(daemon.quote,),
        )
    if others or _servers(host):
        return
    if not sshd.all_seen:
        yield Outcome(Status.UNKNOWN, "not_all_seen", quotes=quotes)
    elif sshd.programs:
        observed = ", ".join(sshd.programs)
        yield Outcome(
            Status.NOT_APPLICABLE,
            "never_starts",
            observed=observed,
            quotes=(*quotes, Quote("host.unit-files")),
        )
    else:
        yield Outcome(Status.NOT_APPLICABLE, "no_server", quotes=quotes)


def _subject(server: Server) -> str:
    """Empty for the usual, only server; the command line where there are several."""
    daemons = [daemon for daemon in server.sshd.daemons if daemon.is_openssh]
    if server.daemon is None or (len(daemons) == 1 and not server.daemon.config):
        return ""
    return server.daemon.command


def _state(server: Server) -> Text:
    """Put before the sentence where the server does not run now."""
    if _waiting(server):
        return Text(
            en="sshd is started by whoever connects: ", zh="sshd 由套接字单元在有连接时启动："
        )
    if not _stopped(server):
        return Text(en="", zh="")
    return Text(en="sshd does not run at present; once started: ", zh="sshd 目前未运行；一旦启动：")


def _waiting(server: Server) -> bool:
    """Whether no server runs, but one is started for whoever connects."""
    return server.daemon is None and server.sshd.socket is not None


def _stopped(server: Server) -> bool:
    return server.daemon is None and server.sshd.all_seen and server.sshd.socket is None


def _outcome(
    server: Server,
    status: Status,
    message: str,
    observed: str,
    quotes: tuple[Quote, ...],
    **more: str,
) -> Outcome:
    """An outcome, with what holds for every sentence about a server.

    A stopped one does not fail, and a pass needs the whole configuration, really loaded.
    """
    unseen = server.config.unseen if server.config is not None else ()
    if status is Status.PASS and server.sshd.reloaded is False and server.daemon is not None:
        status, message, quotes = Status.UNKNOWN, "not_reloaded", (Quote("sshd.times"),)
    elif status is Status.PASS and (unseen or server.config is None):
        status, message, quotes = Status.UNKNOWN, "unseen", unseen or quotes
    elif status is Status.FAIL and _stopped(server):
        status = Status.WARN
    if _waiting(server) and server.sshd.socket is not None:
        quotes = (*quotes, server.sshd.socket)
    values: dict[str, str | int | Text] = {"state": _state(server), **more}
    return Outcome(
        status,
        message,
        subject=_subject(server),
        observed=observed,
        values=values,
        quotes=tuple(dict.fromkeys(quotes)),
    )


# --- SSH-01 ---


def _root_login(server: Server) -> Outcome:
    keyword = "permitrootlogin"
    values = [s.values[keyword] for s in server.scenarios("root", keyword)]
    worst = max(values, key=_root_rank)
    text = worst.text or "?"
    rank = _root_rank(worst)
    message = ("no", "keys_only", "not_told", "yes")[rank]
    status = (Status.PASS, Status.WARN, Status.UNKNOWN, Status.FAIL)[rank]
    quotes = (
        tuple(quote for value in values for quote in value.quotes) if rank == 0 else worst.quotes
    )
    where = worst.match.text if worst.match is not None else ""
    if rank in {1, 3} and (kept_out := _root_kept_out(server)):
        status, message, quotes = Status.WARN, "kept_out", (*quotes, *kept_out)
    return _outcome(
        server,
        status,
        message,
        f"PermitRootLogin {text}" + (f" ({where})" if where else ""),
        quotes,
        value=text,
        where=f" ({where})" if where else "",
        reason=server.sshd.refused,
    )


def _root_rank(value: Value) -> int:
    if value.text == "no":
        return 0
    if value.text in _KEYS_ONLY:
        return 1
    return 3 if value.text == "yes" else 2


def _root_kept_out(server: Server) -> tuple[Quote, ...]:
    """The line by which AllowUsers or DenyUsers turns root away, from wherever it comes."""
    config = server.config
    if config is None or config.conditional("allowusers", "denyusers"):
        return ()
    deny = [s for s in config.settings if s.keyword == "denyusers"]
    for setting in deny:
        if any(matches("root", word) for word in setting.value.split() if "@" not in word):
            return (setting.quote,)
    allow = [s for s in config.settings if s.keyword == "allowusers"]
    words = [word.partition("@")[0] for setting in allow for word in setting.value.split()]
    if words and not any(matches("root", word) for word in words):
        return tuple(setting.quote for setting in allow)
    return ()


# --- SSH-02 ---

_AUTHENTICATION = (
    "passwordauthentication",
    "kbdinteractiveauthentication",
    "authenticationmethods",
    "usepam",
)


def _asks_second_factor(host: Host) -> bool:
    """Whether PAM's stack for sshd holds a module that asks for a second factor."""
    section = host.evidence.sections.get("file:/etc/pam.d/sshd")
    lines = section.lines if section is not None and section.gap is None else []
    return any(name in line for line in lines if not line.lstrip().startswith("#") for name in _OTP)


def _password_login(server: Server, second_factor: bool) -> Outcome:  # noqa: FBT001 - seen once
    scenarios = server.scenarios(None, *_AUTHENTICATION)
    judged = [(_login(scenario, second_factor), scenario) for scenario in scenarios]
    everywhere = _limited_everywhere(server)

    def found(kind: str, *, limited: bool | None = None) -> Scenario | None:
        for login, scenario in judged:
            is_limited = scenario.source_limited or bool(everywhere)
            if login == kind and limited in {None, is_limited}:
                return scenario
        return None

    for scenario, status, message in (
        (found("password", limited=False), Status.FAIL, "password"),
        (found("unknown"), Status.UNKNOWN, "not_told"),
        (found("otp"), Status.MANUAL, "otp"),
        (found("password"), Status.WARN, "password_limited"),
        (found("factors"), Status.PASS, "factors"),
        (found("keys"), Status.PASS, "keys"),
    ):
        if scenario is not None:
            chosen = judged if status is Status.PASS else [(message, scenario)]
            quotes = tuple(
                quote
                for _, one in chosen
                for value in one.values.values()
                for quote in value.quotes
            )
            if status is Status.WARN:
                quotes += everywhere
            where = "; ".join(match.text for match in scenario.matches)
            return _outcome(
                server,
                status,
                message,
                _shown(scenario),
                quotes,
                where=f" ({where})" if where else "",
                reason=server.sshd.refused,
            )
    raise AssertionError("every scenario has a kind")


def _shown(scenario: Scenario) -> str:
    return ", ".join(f"{key} {value.text or '?'}" for key, value in scenario.values.items())


def _login(scenario: Scenario, second_factor: bool) -> str:  # noqa: FBT001 - seen once
    """What opens a session: "password", "otp" (perhaps a second factor), "factors", "keys"."""
    password, interactive, methods, pam = (scenario.values[k].text for k in _AUTHENTICATION)
    if methods is None:
        return "unknown"
    if methods not in {"any", ""}:
        return _by_methods(methods, second_factor)
    asked = "otp" if second_factor else "password"
    if password == "yes":  # noqa: S105 - a setting
        return asked
    if interactive == "yes" and pam == "yes":
        return asked
    if password != "no" or (interactive != "no" and pam != "no"):  # noqa: S105 - a setting
        return "unknown"
    return "keys"


def _by_methods(methods: str, second_factor: bool) -> str:  # noqa: FBT001 - seen once
    """AuthenticationMethods: alternatives, each a list of methods that must all succeed."""
    kinds: set[str] = set()
    for alternative in methods.split():
        names = {name.partition(":")[0] for name in alternative.split(",")}
        if not names - _PASSWORDS:
            otp = second_factor and "keyboard-interactive" in names
            kinds.add("otp" if otp else "password")
        elif names & _PASSWORDS:
            kinds.add("factors")
        else:
            kinds.add("password" if "none" in names else "keys")
    return next(kind for kind in ("password", "otp", "factors", "keys") if kind in kinds)


def _limited_everywhere(server: Server) -> tuple[Quote, ...]:
    """What limits the sources of every connection: loopback addresses, or AllowUsers user@host."""
    addresses = server.effective.get("listenaddress") if server.effective is not None else None
    if addresses is not None and all(a.startswith(_LOOPBACK) for a in addresses[0].split()):
        return (Quote("sshd.effective", addresses[1], addresses[1]),)
    config = server.config
    if config is None or config.conditional("allowusers"):
        return ()
    allow = [s for s in config.settings if s.keyword == "allowusers"]
    words = [word for setting in allow for word in setting.value.split()]
    hosts = [word.partition("@")[2] for word in words]
    if hosts and all(host.strip("*.:/0") for host in hosts):
        return tuple(setting.quote for setting in allow)
    return ()


CHECKS: Mapping[str, Evaluate] = {
    "SSH-01": no_root_login,
    "SSH-02": key_or_two_factors,
}
