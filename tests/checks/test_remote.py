"""SSH: remote administration. Hand-written evidence."""

import msgspec
import pytest

from audit_agent import engine, plugins
from audit_agent.model import Gap

SEEN = "all processes are visible\n"
RUNS = f"700\t0\t/usr/sbin/sshd\tsshd: /usr/sbin/sshd -D [listener] 0 of 10-100 startups\n{SEEN}"
EFFECTIVE = (
    "port 22\nlistenaddress 0.0.0.0:22\nusepam yes\npermitrootlogin {root}\n"
    "pubkeyauthentication yes\npasswordauthentication {plain}\n"
    "kbdinteractiveauthentication {interactive}\nauthenticationmethods {methods}\n"
)


def says(root="no", plain="no", interactive="no", methods="any"):
    return EFFECTIVE.format(root=root, plain=plain, interactive=interactive, methods=methods)


def host(effective, config="", processes=RUNS, **more):
    sections = {
        "file:/etc/os-release": "ID=debian\nVERSION_ID=12\n",
        "sshd.programs": "/usr/sbin/sshd\n",
        "sshd.processes": processes,
        "sshd.effective": effective,
        "sshd.version": "OpenSSH_9.2p1 Debian\n",
        "file:/etc/ssh/sshd_config": config,
        "dir:/etc/ssh/sshd_config.d": Gap.ABSENT,
        "file:/etc/pam.d/sshd": "@include common-auth\n",
    }
    return sections | {name.replace("__", "-"): value for name, value in more.items()}


@pytest.mark.parametrize(
    ("sections", "status", "message"),
    [
        (host(says("no")), "pass", "root cannot log in"),
        (host(says("yes")), "fail", "directly"),
        (host(says("without-password")), "warn", "not with a password"),
        (host(says("forced-commands-only")), "warn", "not with a password"),
        (host(says("new-value")), "unknown", "could read"),
        # A Match block that may apply to root counts; one that cannot does not.
        (host(says("no"), "PermitRootLogin no\nMatch Address 10.0.0.0/8\nPermitRootLogin yes\n"),
         "fail", "(PermitRootLogin yes (Match Address 10.0.0.0/8))"),
        (host(says("no"), "PermitRootLogin no\nMatch User bob\nPermitRootLogin yes\n"),
         "pass", "cannot"),
        (host(says("no"), "PermitRootLogin no\nMatch Group x\nPermitRootLogin prohibit-password\n"),
         "warn", "Match Group x"),
        # sshd -T was asked for a connection from far: that block applied there, not everywhere.
        (host(says("no"), "PermitRootLogin yes\nMatch Address *\nPermitRootLogin no\n"),
         "fail", "directly"),
        (host(says("no"), "PermitRootLogin yes\nMatch all\nPermitRootLogin no\n"),
         "pass", "cannot"),
        (host(says("yes"), "AllowUsers ops admin\n"), "warn", "keeps root out"),
        (host(says("yes"), "DenyUsers root\n"), "warn", "keeps root out"),
        (host(says("yes"), "AllowUsers ops root@10.*\n"), "fail", "directly"),
        (host(says("no"), "Include /srv/x\n"), "unknown", "Include"),
        # sshd could not be asked: the files, then what the manual page says of every version.
        (host(Gap.FAILED, "PermitRootLogin no\n"), "pass", "cannot"),
        (host(Gap.FAILED, "#PermitRootLogin no\n"), "warn", "prohibit-password"),
        (host(Gap.FAILED, "", **{"file:/etc/os-release": "ID=rhel\n"}), "unknown", "could read"),
        (host(Gap.FAILED, Gap.DENIED), "unknown", "could read"),
        (host(Gap.FAILED, "Include /srv/x\nPermitRootLogin no\n"), "unknown", "could read"),
        # Which server runs, if any.
        (host(says(), processes=f"7\t0\t/usr/sbin/dropbear\tdropbear\n{SEEN}",
              **{"sshd.programs": "/usr/sbin/dropbear\n"}), "manual", "dropbear"),
        (host(says("no"), processes=""), "pass", "cannot"),
        (host(says("yes"), processes=SEEN), "warn", "does not run at present; once started"),
        (host(says("no"), processes=SEEN), "pass", "does not run at present"),
        (host(says("yes"), processes=SEEN, **{"host.unit__files": "cron.service enabled\n"}),
         "not_applicable", "no unit starts one"),
        (host(says("yes"), processes=SEEN, **{"host.unit__files": "ssh.socket enabled enabled\n"}),
         "warn", "once started"),
        (host(says("yes"), processes=SEEN, **{
            "host.unit__files": "ssh.socket enabled enabled\nssh.service disabled enabled\n",
            "host.units": "ssh.socket loaded active listening OpenBSD Secure Shell server socket\n",
        }), "fail", "started by whoever connects: root can log in"),
        (host(says(), processes=SEEN, **{"sshd.programs": ""}), "not_applicable", "no SSH server"),
        (host(says(), processes="", **{"sshd.programs": ""}), "unknown", "every process"),
        (host(says(), **{"sshd.times": "200 /etc/ssh/sshd_config\n100 /run/sshd.pid\n"}),
         "unknown", "changed after"),
        (host(says(), **{"sshd.times": "100 /etc/ssh/sshd_config\n100 /run/sshd.pid\n"}),
         "pass", "cannot"),
    ],
)  # fmt: skip
def test_ssh_01(judge, sections, status, message):
    (finding,) = judge("SSH-01", sections)
    assert (finding.status, message in finding.summary.en) == (status, True), finding.summary.en


OTP = {"file:/etc/pam.d/sshd": "auth required pam_google_authenticator.so\n"}


@pytest.mark.parametrize(
    ("sections", "status", "message"),
    [
        (host(says()), "pass", "passwords are off"),
        (host(says(plain="yes")), "fail", "named addresses only"),
        (host(says(interactive="yes")), "fail", "a password alone"),
        (host(says(interactive="yes").replace("usepam yes", "usepam no")), "pass", "off"),
        (host(says(interactive="yes").replace("usepam yes\n", "")), "pass", "off"),
        (host(says(interactive="yes"), **OTP), "manual", "second factor"),
        (host(says(plain="yes", methods="publickey,password")), "pass", "two factors"),
        (host(says(plain="yes", methods="publickey")), "pass", "passwords are off"),
        (host(says(plain="yes", methods="publickey,password password")), "fail", "alone"),
        (host(says(plain="yes", methods="password,keyboard-interactive")), "fail", "alone"),
        (host(says(methods="keyboard-interactive:pam"), **OTP), "manual", "second factor"),
        (host(says(methods="publickey,keyboard-interactive"), **OTP), "pass", "two factors"),
        (host(says(), "PasswordAuthentication no\nMatch User sftp\nPasswordAuthentication yes\n"),
         "fail", "Match User sftp"),
        (host(says(), "PasswordAuthentication no\nKbdInteractiveAuthentication no\n"
              "Match Address 10.0.0.0/8\nPasswordAuthentication yes\n"), "warn", "named addresses"),
        (host(says(plain="yes"), "PasswordAuthentication yes\n"
              "Match Address *,!10.0.0.0/8\nPasswordAuthentication no\n"), "warn", "addresses"),
        (host(says(plain="yes"), "PasswordAuthentication yes\n"
              "Match User *,!sftp\nPasswordAuthentication no\n"), "fail", "alone"),
        (host(says(plain="yes"), "PasswordAuthentication yes\nMatch all\n"
              "PasswordAuthentication no\n"), "pass", "off"),
        (host(says(plain="yes"), "AllowUsers ops@10.0.0.1 adm@10.0.0.*\n"), "warn", "named"),
        (host(says(plain="yes"), "AllowUsers ops@10.0.0.1 adm\n"), "fail", "alone"),
        (host(says(plain="yes").replace("0.0.0.0:22", "127.0.0.1:22")), "warn", "named"),
        (host(says(plain="yes").replace("0.0.0.0:22", "127.0.0.1:22\nlistenaddress [::]:22")),
         "fail", "alone"),
        (host(Gap.FAILED, "UsePAM yes\n"), "fail", "alone"),
        (host(Gap.FAILED, "PasswordAuthentication no\nChallengeResponseAuthentication no\n"),
         "pass", "off"),
        (host(Gap.FAILED, "PasswordAuthentication no\n"), "unknown", "not every setting"),
        (host(Gap.FAILED, Gap.DENIED), "unknown", "not every setting"),
        (host(says(plain="yes"), processes=SEEN), "warn", "once started"),
        (host(says(plain="yes"), processes="7\t0\t/usr/sbin/sshd\t/usr/sbin/sshd -D "
              f"-oPasswordAuthentication=no -o KbdInteractiveAuthentication=no\n{SEEN}"),
         "pass", "off"),
    ],
)  # fmt: skip
def test_ssh_02(judge, sections, status, message):
    (finding,) = judge("SSH-02", sections)
    assert (finding.status, message in finding.summary.en) == (status, True), finding.summary.en


def test_before_8_7_either_name_of_keyboard_interactive_is_enough(judge):
    text = says() + "challengeresponseauthentication yes\n"
    assert [finding.status for finding in judge("SSH-02", host(text))] == ["fail"]


def test_what_another_program_says_of_itself_does_not_count(make_evidence):
    read = make_evidence(
        host(says("no"), processes=RUNS.replace("/usr/sbin/sshd", "/opt/sbin/sshd"))
    )
    asked = {"sshd.effective": "/usr/sbin/sshd -T -C user=root"}
    sections = {
        name: msgspec.structs.replace(section, command=asked.get(name, name))
        for name, section in read.sections.items()
    }
    (check,) = [check for check in plugins.checks() if check.id == "SSH-01"]
    (finding,) = engine.audit(msgspec.structs.replace(read, sections=sections), [check])
    assert finding.observed == "PermitRootLogin prohibit-password"


def test_each_server_is_judged(judge):
    other = "9\t0\t/usr/sbin/sshd\tsshd: /usr/sbin/sshd -f /etc/ssh/two [listener] 0 of 1\n"
    sections = host(says(), processes=RUNS + other)
    sections["file:/etc/ssh/two"] = "PermitRootLogin yes\n"
    found = {finding.subject: finding.status for finding in judge("SSH-01", sections)}
    assert found == {"/usr/sbin/sshd -D": "pass", "/usr/sbin/sshd -f /etc/ssh/two": "fail"}
