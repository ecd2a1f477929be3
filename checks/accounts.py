"""AC: accounts and passwords."""

from collections.abc import Iterator, Mapping

from audit_agent.engine import Evaluate, Params
from audit_agent.facts import Host
from audit_agent.model import Outcome, Quote, Status


def only_root_has_uid_0(host: Host, _: Params) -> Iterator[Outcome]:
    """AC-02: every other account with UID 0 is root under another name."""
    zero = [account for account in host.accounts if account.uid == 0]
    others = [account for account in zero if account.name != "root"]
    quotes = tuple(account.quote for account in zero)
    whole = (Quote("file:/etc/passwd"),)
    observed = ", ".join(f"{account.name}:0" for account in zero)
    if others:
        names = ", ".join(account.name for account in others)
        yield Outcome(
            Status.FAIL, "others", observed=observed, values={"names": names}, quotes=quotes
        )
    elif not zero:
        yield Outcome(Status.WARN, "no_root", quotes=whole)
    else:
        values = {"count": len(host.accounts)}
        yield Outcome(Status.PASS, "only_root", observed=observed, values=values, quotes=whole)


def no_empty_password(host: Host, _: Params) -> Iterator[Outcome]:
    """AC-03: an empty field in shadow(5), or in passwd(5), which then asks for no password."""
    bare = [account for account in host.accounts if account.password_field == ""]
    if bare:
        yield Outcome(
            Status.FAIL,
            "passwd_field",
            observed=", ".join(account.name for account in bare),
            values={"names": ", ".join(account.name for account in bare)},
            quotes=tuple(account.quote for account in bare),
        )
    shells = {account.name: account.can_log_in for account in host.accounts}
    empty = [password for password in host.passwords if password.state == "empty"]
    for status, message, login in (
        (Status.FAIL, "empty", True),
        (Status.WARN, "empty_no_shell", False),
    ):
        found = [password for password in empty if shells.get(password.name, True) is login]
        if found:
            yield Outcome(
                status,
                message,
                observed=", ".join(f"{password.name}:" for password in found),
                values={"names": ", ".join(password.name for password in found)},
                quotes=tuple(password.quote for password in found),
            )
    if not empty and not bare:
        yield Outcome(
            Status.PASS,
            "none",
            values={"count": len(host.passwords)},
            quotes=(Quote("accounts.shadow"),),
        )


CHECKS: Mapping[str, Evaluate] = {
    "AC-02": only_root_has_uid_0,
    "AC-03": no_empty_password,
}
