"""What the controller's own libraries say of this machine, as second witnesses of a local audit.

They are never a verdict's only ground. The sections are

* `witness.psutil-sockets`: one line for each listening TCP and bound UDP socket,
  "PROTOCOL ADDRESS PORT PID PROCESS", protocol tcp, tcp6, udp or udp6; PID and PROCESS are "-"
  where the account may not see them; PROCESS goes to the end of the line.
* `witness.python-iptables`: one JSON object a line for each chain of the legacy tables, with
  "family" (ipv4, ipv6), "table", "chain", "policy" (null for user chains) and "rules" (the
  library's own dictionaries). Absent means that the kernel has no legacy table.
"""

import importlib.util
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from audit_agent.model import Gap, Section

if TYPE_CHECKING:
    from types import ModuleType

    from psutil._ntuples import sconn

_IPTABLES = "witness.python-iptables"
_SOCKETS = "witness.psutil-sockets"
_NAMES = {
    "ipv4": Path("/proc/net/ip_tables_names"),
    "ipv6": Path("/proc/net/ip6_tables_names"),
}
_EXTENSIONS = (
    "/usr/lib/*-linux-gnu*/xtables",
    "/usr/lib64/xtables",
    "/usr/lib/xtables",
    "/usr/libexec/xtables",
    "/lib/xtables",
)
_SECONDS = 20
_LIMIT = 4 * 1024 * 1024


def observe() -> tuple[Section, ...]:
    """Every witness's section; one that cannot speak says why by its gap."""
    return (_sockets(), _legacy_tables())


def _sockets() -> Section:
    started = time.monotonic()
    try:
        import psutil  # noqa: PLC0415 - not paid for by remote audits
    except ImportError as error:
        return Section(
            _SOCKETS, "psutil", gap=Gap.NO_TOOL, stderr=str(error).encode(errors="replace")
        )
    command = f"the controller's library psutil {psutil.__version__}: net_connections('inet')"
    try:
        lines = [
            _line(psutil, connection)
            for connection in psutil.net_connections("inet")
            if connection.status == psutil.CONN_LISTEN
            or (connection.type == socket.SOCK_DGRAM and not connection.raddr)
        ]
    except psutil.AccessDenied as error:
        return Section(_SOCKETS, command, gap=Gap.DENIED, stderr=str(error).encode())
    except (psutil.Error, OSError, RuntimeError) as error:
        return Section(_SOCKETS, command, gap=Gap.FAILED, stderr=str(error).encode())
    return Section(
        _SOCKETS,
        command,
        exit_status=0,
        duration=round(time.monotonic() - started, 2),
        stdout="".join(f"{line}\n" for line in sorted(lines)).encode("utf-8", "replace"),
    )


def _line(psutil: "ModuleType", connection: "sconn") -> str:
    kind = "udp" if connection.type == socket.SOCK_DGRAM else "tcp"
    six = "6" if connection.family == socket.AF_INET6 else ""
    process = "-"
    if connection.pid is not None:
        try:
            process = psutil.Process(connection.pid).name()
        except (psutil.Error, OSError):
            process = "-"
    # A process chooses its own name: it must not make a line of its own.
    process = "".join(c if c.isprintable() else "?" for c in process) or "-"
    pid = connection.pid if connection.pid is not None else "-"
    address, port = connection.laddr or ("-", "-")
    return f"{kind}{six} {address} {port} {pid} {process}"


def _legacy_tables() -> Section:
    """Read the legacy tables with python-iptables, only those that the kernel already has.

    Opening a table creates it, and importing the library starts programs: so nothing of it is
    touched unless there is a table to read, and then in a child process.
    """
    command = "the controller's library python-iptables, for the tables in " + " ".join(
        str(path) for path in _NAMES.values()
    )
    tables, gap = _existing_tables()
    if not tables or gap is not None:
        return Section(_IPTABLES, command, gap=gap or Gap.ABSENT)
    if importlib.util.find_spec("iptc") is None:
        return Section(_IPTABLES, command, gap=Gap.NO_TOOL)
    started = time.monotonic()
    try:
        done = subprocess.run(  # noqa: S603 - our own module, by this very interpreter
            [sys.executable, "-I", "-m", "audit_agent.transport.legacy_tables", *tables],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_SECONDS,
            cwd="/",
            # No compiler on this PATH: the library would start one to look for its own parts.
            env={"PATH": "/usr/sbin:/sbin", "LC_ALL": "C", "XTABLES_LIBDIR": _extensions()},
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Section(_IPTABLES, command, gap=Gap.TIMEOUT)
    except OSError as error:
        return Section(_IPTABLES, command, gap=Gap.FAILED, stderr=str(error).encode())
    truncated = len(done.stdout) > _LIMIT
    gap = Gap.TRUNCATED if truncated else Gap.FAILED if done.returncode else None
    return Section(
        _IPTABLES,
        command,
        exit_status=done.returncode,
        duration=round(time.monotonic() - started, 2),
        truncated=truncated,
        gap=gap,
        stdout=done.stdout[:_LIMIT],
        stderr=done.stderr[-4000:],
    )


def _existing_tables() -> tuple[list[str], Gap | None]:
    """The kernel's legacy tables as "ipv4:filter" ..., and why they may not be all of them."""
    tables: list[str] = []
    for family, path in _NAMES.items():
        try:
            names = path.read_text("ascii", "replace").split()
        except FileNotFoundError:
            continue
        except PermissionError:
            return [], Gap.DENIED
        except OSError:
            return [], Gap.FAILED
        tables += (f"{family}:{name}" for name in names)
    return tables, None


def _extensions() -> str:
    for pattern in _EXTENSIONS:
        for path in sorted(Path("/").glob(pattern.lstrip("/"))):
            return str(path)
    return ""
