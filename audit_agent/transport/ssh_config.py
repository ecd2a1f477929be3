"""What the user's ssh configuration says of a host: asked of `ssh -G`, which knows best.

Where there is no ssh, paramiko's reader must do; it ignores Include and takes every Match
criterion that it does not know as fulfilled, so files that use those are refused.
"""

import getpass
import glob
import os
import pwd
import re
import shlex
import shutil
import socket
import subprocess
from pathlib import Path
from typing import cast

from msgspec import Struct

from audit_agent.transport import HostUnreachable

_SSH_G_SECONDS = 15
_SYSTEM_FILE = Path("/etc/ssh/ssh_config")
_KEYS = ("id_rsa", "id_ecdsa", "id_ed25519")
_GLOBAL_KNOWN_HOSTS = "/etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2"
_METHODS = {
    "publickey": "pubkeyauthentication",
    "keyboard-interactive": "kbdinteractiveauthentication",
    "password": "passwordauthentication",
}
_MATCH_CRITERIA = {"all", "canonical", "exec", "final", "host", "localuser", "originalhost", "user"}
_UNSUPPORTED = {
    "proxycommand": "use ProxyJump where it does the same",
    "revokedhostkeys": "mark the keys @revoked in a known_hosts file",
}
"""Options that would be wrong to ignore."""


class Target(Struct, frozen=True):
    """A host as the user named it; `port` 0 and `user` "" mean: as configured."""

    host: str
    user: str = ""
    port: int = 0

    def __str__(self) -> str:
        host = f"[{self.host}]" if self.port and ":" in self.host else self.host
        return f"{self.user}@" * bool(self.user) + host + f":{self.port}" * bool(self.port)


class HostConfig(Struct, frozen=True):
    """Where a host is and how to log in.

    `jumps` are the hosts to go through, first one first. `key_alias` is the name for known_hosts
    if it is not `host`. `agent` is the path of the agent's socket, or "". `methods` are the ways
    to log in that the user allows.
    """

    host: str
    port: int
    user: str
    methods: frozenset[str]
    identity_files: tuple[Path, ...]
    identities_only: bool
    agent: str
    jumps: tuple[Target, ...]
    user_known_hosts: tuple[Path, ...]
    global_known_hosts: tuple[Path, ...]
    key_alias: str
    hash_known_hosts: bool


def parse_target(text: str) -> Target:
    """Read `[user@]host[:port]`, `[IPv6]:port` or a bare IPv6 address.

    Raises:
        ValueError: it is none of these; the message is a sentence for the user.
    """
    user, at, rest = text.removeprefix("ssh://").rpartition("@")
    bracketed = re.fullmatch(r"\[([^\[\]]+)\](?::(\d+))?", rest)
    plain = re.fullmatch(r"([^:\[\]]+)(?::(\d+))?", rest)
    found = bracketed or plain
    host, digits = (found[1], found[2]) if found else (rest, None)
    if found is None and not re.fullmatch(r"[0-9A-Fa-f:.]+(%\w+)?", rest):
        raise ValueError(f"{text!r} is not [user@]host[:port]")
    port = int(digits) if digits else 0
    if digits and not 0 < port < 65536:
        raise ValueError(f"{text!r}: {digits} is not a port")
    # A leading "-" would be read as an option by ssh.
    if any(not word or word[0] == "-" or _odd(word) for word in ([user] if at else []) + [host]):
        raise ValueError(f"{text!r} is not [user@]host[:port]")
    return Target(host=host, user=user, port=port)


def _odd(word: str) -> bool:
    return any(c.isspace() or not c.isprintable() or c in "'\"`$\\;&<>|(){}" for c in word)


def resolve(
    target: Target, config_file: Path | None, identities: tuple[Path, ...] = ()
) -> HostConfig:
    """What the configuration says of the host; `config_file` stands in for the usual ones.

    `identities` are key files that come before those of the configuration.

    Raises:
        HostUnreachable: the configuration cannot be read, or asks for what is not supported.
    """
    if config_file is not None and not os.access(config_file, os.R_OK):
        raise HostUnreachable("ssh-config", f"cannot read the ssh configuration {config_file}")
    ssh = shutil.which("ssh")
    options = _ask_ssh(ssh, target, config_file) if ssh else _read(target, config_file)
    for name, instead in _UNSUPPORTED.items():
        value = options.get(name, ["none"])[0]
        if value.lower() != "none":
            raise HostUnreachable(
                "ssh-config",
                f"{target}: the ssh configuration sets {name} ({value}), which is not supported",
                instead,
            )
    return _host_config(target, options, identities)


def _ask_ssh(ssh: str, target: Target, config_file: Path | None) -> dict[str, list[str]]:
    words = [ssh, "-G"]
    words += ["-F", str(config_file.resolve())] if config_file else []
    words += ["-l", target.user] if target.user else []
    words += ["-p", str(target.port)] if target.port else []
    try:
        done = subprocess.run(  # noqa: S603 - a list of words; the host cannot look like an option
            [*words, "--", target.host],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_SSH_G_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise HostUnreachable("ssh-config", f"{target}: ssh -G failed: {error}") from error
    if done.returncode:
        said = [
            "".join(c if c.isprintable() else "?" for c in line)
            for line in done.stderr.decode("utf-8", "replace").splitlines()
            if line.strip() and not line.startswith("Pseudo-terminal")
        ]
        raise HostUnreachable(
            "ssh-config",
            f"{target}: ssh cannot read its configuration: " + "; ".join(said)[:300],
            f"see: {shlex.join([*words, target.host])}",
        )
    options: dict[str, list[str]] = {}
    for line in done.stdout.decode("utf-8", "replace").splitlines():
        name, _, value = line.partition(" ")
        options.setdefault(name, []).append(value)
    return options


def _read(target: Target, config_file: Path | None) -> dict[str, list[str]]:
    """The same from paramiko's reader, in the shape of `ssh -G`."""
    import paramiko  # noqa: PLC0415 - slow to import, and needed only without an ssh

    config = paramiko.SSHConfig()
    # What the user typed comes first and therefore wins, also where Match looks at it.
    typed = [f"User {target.user}"] * bool(target.user) + [f"Port {target.port}"] * bool(
        target.port
    )
    config.parse(iter(["Host *", *typed]))
    for path in [config_file] if config_file else [_home() / ".ssh/config", _SYSTEM_FILE]:
        try:
            lines = path.read_text("utf-8", "replace").splitlines()
        except OSError:
            continue
        _refuse_what_would_be_misread(path, lines)
        try:
            config.parse(iter(lines))
        except paramiko.SSHException as error:
            raise HostUnreachable("ssh-config", f"{path}: {error}") from error
    try:
        # Its stubs say that every value is text; some are lists.
        found = cast("dict[str, str | list[str] | None]", config.lookup(target.host))
    except (paramiko.SSHException, OSError, KeyError, ValueError) as error:
        raise HostUnreachable("ssh-config", f"{target}: {error}") from error
    return {
        name: value if isinstance(value, list) else [str(value)] for name, value in found.items()
    }


def _refuse_what_would_be_misread(path: Path, lines: list[str]) -> None:
    for number, line in enumerate(lines, 1):
        words = re.split(r"[\s=]+", line.strip())
        keyword = words[0].lower()
        criteria = {word.lower().lstrip("!") for word in words[1:]}
        if keyword == "include":
            bad = any(_included(path, word) for word in words[1:])
        else:
            bad = keyword == "match" and not _understood(line, criteria)
        if bad:
            raise HostUnreachable(
                "ssh-config",
                f"{path}:{number}: cannot be read rightly without the ssh program: {line.strip()}",
                "install openssh-client, or name a simpler file with --ssh-config",
            )


def _understood(line: str, words: set[str]) -> bool:
    """Whether a Match line has only criteria that paramiko knows."""
    if words == {"all"}:
        return True
    try:
        split = shlex.split(line.replace("=", " ", 1))[1:]
    except ValueError:
        return False
    names = split[:]
    while names:
        name = names.pop(0).lower().lstrip("!")
        if name not in _MATCH_CRITERIA:
            return False
        if name not in {"all", "canonical", "final"}:
            names[:1] = []
    return True


def _included(path: Path, word: str) -> bool:
    """Whether an Include names a file that exists; one that finds nothing changes nothing."""
    base = Path("/etc/ssh") if path == _SYSTEM_FILE else _home() / ".ssh"
    pattern = str(base / _tilde(word.strip('"')))
    return bool(glob.glob(pattern))  # noqa: PTH207 - the pattern may be absolute


def _host_config(
    target: Target, options: dict[str, list[str]], identities: tuple[Path, ...]
) -> HostConfig:
    def one(name: str, default: str) -> str:
        return options.get(name, [default])[0]

    host = one("hostname", target.host).lower()
    port = int(one("port", "22"))
    user = one("user", getpass.getuser())
    alias = one("hostkeyalias", "").lower()
    tokens = _tokens(target, host, port, user, alias)

    def paths(words: list[str]) -> tuple[Path, ...]:
        return tuple(
            Path(_tilde(_expand(word, tokens))) for word in words if word.lower() != "none"
        )

    ssh = str(_home() / ".ssh")
    return HostConfig(
        host=host,
        port=port,
        user=user,
        methods=frozenset(
            method
            for method, option in _METHODS.items()
            if one(option, "yes") not in {"no", "false"}
        ),
        identity_files=(
            *identities,
            *paths(options.get("identityfile") or [f"{ssh}/{key}" for key in _KEYS]),
        ),
        identities_only=one("identitiesonly", "no") == "yes",
        agent=_agent(one("identityagent", ""), tokens),
        jumps=_jumps(one("proxyjump", "none"), target, tokens),
        user_known_hosts=paths(
            _words(one("userknownhostsfile", f"{ssh}/known_hosts {ssh}/known_hosts2"))
        ),
        global_known_hosts=paths(_words(one("globalknownhostsfile", _GLOBAL_KNOWN_HOSTS))),
        key_alias=alias,
        hash_known_hosts=one("hashknownhosts", "no") == "yes",
    )


def _words(text: str) -> list[str]:
    return [quoted or plain for quoted, plain in re.findall(r'"([^"]*)"|(\S+)', text)]


def _agent(configured: str, tokens: dict[str, str]) -> str:
    """The agent's socket: IdentityAgent, else SSH_AUTH_SOCK."""
    if configured.lower() == "none":
        return ""
    if configured in {"", "SSH_AUTH_SOCK"}:
        return os.environ.get("SSH_AUTH_SOCK", "")
    if re.fullmatch(r"\$\w+", configured):
        return os.environ.get(configured[1:], "")
    return _tilde(_expand(configured, tokens))


def _jumps(value: str, target: Target, tokens: dict[str, str]) -> tuple[Target, ...]:
    if value.lower() == "none":
        return ()
    try:
        hops = tuple(parse_target(word) for word in _expand(value, tokens).split(","))
    except ValueError as error:
        raise HostUnreachable("ssh-config", f"{target}: ProxyJump: {error}") from error
    # "Host *" with a ProxyJump also matches the jump host itself, which is reached directly.
    return () if hops[-1].host == target.host else hops


def _tokens(target: Target, host: str, port: int, user: str, alias: str) -> dict[str, str]:
    """The percent tokens of ssh_config(5) that file names may hold."""
    local = socket.gethostname()
    return {
        "%%": "%",
        "%d": str(_home()),
        "%h": host,
        "%i": str(os.getuid()),
        "%k": alias or target.host,
        "%l": local,
        "%L": local.partition(".")[0],
        "%n": target.host,
        "%p": str(port),
        "%r": user,
        "%u": getpass.getuser(),
    }


def _expand(text: str, tokens: dict[str, str]) -> str:
    text = re.sub(r"%.", lambda found: tokens.get(found[0], found[0]), text)
    return re.sub(r"\$\{(\w+)\}", lambda found: os.environ.get(found[1], found[0]), text)


def _home() -> Path:
    """The home directory that ssh uses: the one in the user database, not $HOME."""
    try:
        return Path(pwd.getpwuid(os.getuid()).pw_dir)
    except KeyError:
        return Path.home()


def _tilde(path: str) -> str:
    return str(_home() / path[2:]) if path.startswith("~/") else path
