"""Assembles the collector: one POSIX sh program from a prelude and one fragment per topic."""

import pkgutil

from audit_agent import __version__

FRAGMENTS = ("host", "net", "firewall", "tls", "patches", "logs", "sshd", "accounts", "clock")
"""The fragments in the order they run; NAME.sh defines the function `collect_NAME`."""

_OWN_NONCE = "N=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \\n')"


def script(nonce: str | None = None, *, compress: bool = True) -> bytes:
    """The whole program, to be run by `sh` or fed to `sh -s`.

    With `nonce` (32 hex digits) its stream is framed with that; without, as for a file that is
    carried by hand, the host makes its own at run time. Nothing runs before the last line was
    read, so a script that was cut on the way does nothing.
    """
    body = "\n".join(
        [
            f"N={nonce}" if nonce else _OWN_NONCE,
            f"VERSION={__version__}",
            _source("prelude.sh"),
            *(_source(f"sections/{name}.sh") for name in FRAGMENTS),
            "collect_all() {",
            "    exec 3>&1 # frames write their output here, past what they capture",
            *(f"    collect_{name}" for name in FRAGMENTS),
            '    echo "@$N done"',
            "}",
        ]
    )
    return (
        f"audit_agent_main() {{\n{body}\n{_run(compress=compress)}\n}}\naudit_agent_main\n".encode()
    )


def _run(*, compress: bool) -> str:
    plain = 'echo "AUDIT-AGENT-STREAM/1 $N $VERSION plain"\ncollect_all </dev/null'
    if not compress:
        return plain
    zipped = 'echo "AUDIT-AGENT-STREAM/1 $N $VERSION gzip"\n(collect_all </dev/null) | gzip -1 -c'
    return f"if have gzip; then\n{zipped}\nelse\n{plain}\nfi"


def _source(name: str) -> str:
    data = pkgutil.get_data(__name__, name)
    if data is None:
        raise FileNotFoundError(f"the installation lacks audit_agent/collector/{name}")
    return data.decode()
