"""TLS-01, TLS-02, TLS-07 and TLS-09 over evidence made of freshly issued certificates."""

import datetime as dt

import pytest

from audit_agent.model import Gap

NOW = dt.datetime(2026, 11, 24, 12, 0, tzinfo=dt.timezone(dt.timedelta(hours=8)))
PASSWD = (
    "root:x:0:0::/root:/bin/bash\nwww:x:33:33::/:/usr/sbin/nologin\nalice:x:1000:100::/:/bin/bash\n"
)
GROUP = "root:x:0:\nssl-cert:x:110:www\nwww:x:33:\nusers:x:100:\nops:x:200:alice,www\n"
CONF = "/etc/nginx/nginx.conf"


def host(files=None, *, conf=None, modes="", more=None, rows="", processes="nginx\thost\tnginx\n"):
    """Evidence of an nginx whose servers a.example, b.example ... each use one of `files`."""
    files = files or {}
    lines = []
    for name, path in zip("abcdefgh", files, strict=False):
        key = path.replace(".pem", ".key")
        lines.append(
            f"server {{ server_name {name}.example; ssl_certificate {path};"
            f" ssl_certificate_key {key}; }}"
        )
    sections = {
        "tls.configuration": f"main\tnginx\t/etc/nginx\t{CONF}\n{rows}",
        f"file:{CONF}": conf if conf is not None else "\n".join(lines),
        "tls.processes": processes,
        "tls.modes": modes,
        "file:/etc/passwd": PASSWD,
        "file:/etc/group": GROUP,
    }
    for path, content in files.items():
        sections[f"certificates:{path}"] = content
    return sections | (more or {})


def statuses(findings):
    return [(finding.status, finding.subject) for finding in findings]


@pytest.mark.parametrize(
    ("since", "days", "in_date", "left"),
    [
        (-30, 365, "pass", "pass"),
        (-400, -1, "fail", "fail"),
        (-400, -0.001, "fail", "fail"),
        (-400, 0, "pass", "fail"),
        (-400, 0.5, "pass", "fail"),
        (-400, 7, "pass", "fail"),
        (-400, 7.5, "pass", "warn"),
        (-400, 8, "pass", "warn"),
        (-400, 30, "pass", "warn"),
        (-400, 30.01, "pass", "pass"),
        (1, 365, "fail", "pass"),
        (0, 365, "pass", "pass"),
        # A third of a short lifetime: 47 days (15.7), 6 days (2).
        (-31, 16, "pass", "pass"),
        (-32, 15, "pass", "warn"),
        (-2, 4, "pass", "pass"),
        (-4.5, 1.5, "pass", "fail"),
    ],
)
def test_dates(judge, issue, since, days, in_date, left):
    sections = host({"/s/a.pem": issue(since=since, days=days).pem})
    assert statuses(judge("TLS-01", sections)) == [(in_date, "/s/a.pem")]
    assert statuses(judge("TLS-02", sections)) == [(left, "/s/a.pem")]


def test_a_finding_shows_where_the_certificate_is_named_and_where_it_stands(judge, issue):
    pair = issue(days=-3)
    sections = host({"/s/a.pem": "\n\n" + pair.pem})
    (finding,) = judge("TLS-01", sections)
    end = 2 + len(pair.pem.splitlines())
    assert [(quote.section, quote.lines) for quote in finding.quotes] == [
        ("certificates:/s/a.pem", f"3-{end}"),
        (f"file:{CONF}", "1"),
    ]
    assert "nginx (a.example)" in finding.summary.en
    assert "3 days ago" in finding.summary.en
    assert "距今 3 天" in finding.summary.zh
    assert "2026-11-21 04:00Z" in finding.observed


def test_a_server_that_does_not_run_is_judged_and_said(judge, issue):
    sections = host({"/s/a.pem": issue(days=-3).pem}, processes="")
    (finding,) = judge("TLS-01", sections)
    assert finding.status == "fail"
    assert "nginx (a.example, not running)" in finding.summary.en
    assert "nginx（a.example，未运行）" in finding.summary.zh
    (finding,) = judge("TLS-01", sections | {"tls.processes": Gap.DENIED})
    assert "running" not in finding.summary.en


def test_files_with_the_same_certificate_are_one_finding(judge, issue):
    ca = issue("CA", ca=True)
    pair, other = issue(issuer=ca), issue("other")
    files = {"/s/full.pem": pair.pem + ca.pem, "/s/cert.pem": pair.pem, "/s/other.pem": other.pem}
    found = judge("TLS-01", host(files))
    assert [finding.subject for finding in found] == ["/s/full.pem, /s/cert.pem", "/s/other.pem"]
    assert "a.example, b.example" in found[0].summary.en
    assert {quote.section for quote in found[0].quotes} >= {f"file:{CONF}"}


def test_intermediates_count_and_a_root_only_a_little(judge, issue):
    root = issue("root", ca=True, since=-4000, days=-5)
    middle = issue("middle", ca=True, issuer=root, days=-2)
    fresh = issue("fresh", ca=True, issuer=root, days=3)
    leaf, other = issue("leaf", issuer=middle), issue("other", issuer=fresh)
    sections = host(
        {"/s/a.pem": leaf.pem + middle.pem, "/s/b.pem": other.pem + fresh.pem + root.pem}
    )
    a, b = judge("TLS-01", sections)
    assert (a.status, b.status) == ("fail", "warn")
    assert "CN=middle" in a.summary.en
    assert "CN=root" in b.summary.en
    a, b = judge("TLS-02", sections)
    assert (a.status, b.status) == ("fail", "fail")
    assert "CN=fresh" in b.summary.en


def test_a_chain_file_without_leaf(judge, issue):
    root = issue("root", ca=True, key="rsa1024", days=3)
    middle = issue("middle", ca=True, issuer=root, days=12)
    conf = "<VirtualHost *:443>\nServerName x\nSSLCertificateChainFile /s/chain.pem\n</VirtualHost>"
    sections = host() | {
        "tls.configuration": "main\tapache\t/etc/httpd\t/etc/httpd/conf/httpd.conf\n",
        "file:/etc/httpd/conf/httpd.conf": conf,
        "certificates:/s/chain.pem": root.pem + middle.pem,
        "tls.processes": "",
    }
    assert [finding.status for finding in judge("TLS-01", sections)] == ["pass"]
    (finding,) = judge("TLS-02", sections)
    assert (finding.status, "CN=middle" in finding.summary.en) == ("warn", True)
    (finding,) = judge("TLS-09", sections)
    assert finding.status == "unknown"


@pytest.mark.parametrize(
    ("key", "status"),
    [
        ("rsa2048", "pass"),
        ("rsa1024", "fail"),
        ("ec", "pass"),
        ("p384", "pass"),
        ("p192", "fail"),
        ("ed25519", "pass"),
        ("ed448", "pass"),
        ("dsa", "fail"),
    ],
)
def test_keys(judge, issue, key, status):
    (finding,) = judge("TLS-07", host({"/s/a.pem": issue(key=key).pem}))
    assert finding.status == status


@pytest.mark.parametrize(
    ("words", "status", "what"),
    [
        (("-newkey", "rsa:2048", "-sha1"), "fail", "RSA/SHA-1"),
        (("-newkey", "rsa:2048", "-md5"), "fail", "RSA/MD5"),
        (("-newkey", "rsa:2048", "-sha224"), "warn", "RSA/SHA-224"),
        (("-newkey", "rsa:2048", "-sha3-256"), "pass", "RSA/SHA3-256"),
        (("-newkey", "rsa:1024", "-sha1"), "fail", "RSA 1024"),
        (("-newkey", "rsa:2048", "-sha1", "-sigopt", "rsa_padding_mode:pss"), "fail", "PSS/SHA-1"),
        (("-newkey", "rsa:2048", "-sha256", "-sigopt", "rsa_padding_mode:pss"), "pass", "SHA-256"),
        (("-algorithm", "sm2", "-sm3"), "pass", "SM2 SM2/SM3"),
    ],
)
def test_signatures(judge, openssl, tmp_path, words, status, what):
    made = ("-nodes", "-keyout", tmp_path / "k")
    if words[0] == "-algorithm":
        openssl("genpkey", *words[:2], "-out", tmp_path / "k")
        made, words = ("-new", "-key", tmp_path / "k"), words[2:]
    pem = openssl("req", "-x509", "-days", "3650", "-subj", "/CN=x", *made, *words)
    (finding,) = judge("TLS-07", host({"/s/a.pem": pem}))
    assert finding.status == status
    assert what in finding.summary.en
    assert judge("TLS-01", host({"/s/a.pem": pem}), now=dt.datetime.now(dt.UTC))[0].status == "pass"


def test_an_unknown_algorithm_is_unknown(judge, issue):
    pair = issue(key="ec")
    der = pair.der.replace(
        bytes.fromhex("06082a8648ce3d040302"), bytes.fromhex("06082a8648ce3d04037f")
    )
    (finding,) = judge("TLS-07", host({"/s/a.pem": pem_of(der)}))
    assert (finding.status, "1.2.840.10045.4.3.127" in finding.summary.en) == ("unknown", True)


def test_the_signature_of_a_root_does_not_count(judge, issue, openssl, tmp_path):
    root = openssl("req", "-x509", "-nodes", "-keyout", tmp_path / "k", "-newkey", "rsa:2048",
                   "-sha1", "-subj", "/CN=root")  # fmt: skip
    leaf = issue().pem
    assert judge("TLS-07", host({"/s/a.pem": leaf + root}))[0].status == "pass"
    assert judge("TLS-07", host({"/s/a.pem": root + leaf}))[0].status == "fail"


def pem_of(der, label="CERTIFICATE"):
    import base64  # noqa: PLC0415 - only here

    return f"-----BEGIN {label}-----\n{base64.encodebytes(der).decode()}-----END {label}-----\n"


def test_unusual_files(judge, issue, openssl, tmp_path):
    """Each is read as OpenSSL reads it; what OpenSSL refuses is unknown."""
    pem = issue(days=-3).pem
    trusted = openssl("x509", "-trustout", "-addtrust", "serverAuth", data=pem)
    odd = issue(days=-3).der.replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x00", 1)
    forms = {
        "crlf": (pem.replace("\n", "\r\n"), "fail"),
        "preamble": ("\n\n\n" + pem + "\n\n", "fail"),
        "trusted": (trusted, "fail"),
        "refused by cryptography": (pem_of(odd), "fail"),
        "old label": (pem.replace("CERTIFICATE", "X509 CERTIFICATE"), "fail"),
        "several": (pem + issue("other").pem, "fail"),
        "joined": (pem.rstrip("\n") + pem, "unknown"),
        "not base64": (pem.replace("MII", "M!I"), "unknown"),
        "no end": (pem.replace("-----END CERTIFICATE-----", ""), "unknown"),
        "cut": (pem_of(issue().der[:200]), "unknown"),
        "empty": ("", "unknown"),
        "no certificate": ("\n\n[a private key, not collected]\n\n", "unknown"),
        "one of two broken": (issue().pem + pem_of(b"\x30\x03\x02\x01\x00"), "unknown"),
        "one of two expired": (pem + pem_of(b"\x30\x03\x02\x01\x00"), "fail"),
    }
    for form, (text, status) in forms.items():
        for check in ("TLS-01", "TLS-02"):
            (finding,) = judge(check, host({"/s/a.pem": text}))
            assert finding.status == status, (check, form)
        if status == "fail":
            where = tmp_path / "c.pem"
            where.write_bytes(text.encode())
            assert "notAfter=" in openssl("x509", "-noout", "-dates", "-in", where), form


@pytest.mark.parametrize("gap", [Gap.DENIED, Gap.ABSENT, Gap.TRUNCATED, Gap.LOST, Gap.FAILED])
def test_a_file_that_was_not_read_is_unknown_and_the_others_are_judged(judge, issue, gap):
    sections = host({"/s/a.pem": gap, "/s/b.pem": issue(days=-1).pem})
    for check in ("TLS-01", "TLS-02", "TLS-07"):
        found = judge(check, sections)
        assert found[0].status == "unknown"
        assert found[0].remediation is not None
        assert found[1].subject == "/s/b.pem"
    absent = judge("TLS-01", sections)[0]
    assert ("does not exist" in absent.summary.en) == (gap is Gap.ABSENT)
    del sections["certificates:/s/a.pem"]
    assert judge("TLS-01", sections)[0].status == "unknown"


@pytest.mark.parametrize("check", ["TLS-01", "TLS-02", "TLS-07", "TLS-09"])
def test_what_may_name_more_is_never_silent(judge, issue, check):
    """A variable, a file that was not read, a container, another program: each has its row."""
    pair = issue()
    conf = (
        "ssl_certificate /s/a.pem; ssl_certificate_key /s/a.key; include denied.conf;\n"
        "ssl_certificate $x.pem; ssl_certificate_key $x.key;"
    )
    sections = host(
        {"/s/a.pem": pair.pem},
        conf=conf,
        modes="-rw------- 1 0 0 9 Nov 1 2026 /s/a.key\n",
        more={"file:/etc/nginx/denied.conf": Gap.DENIED},
        rows="denied\thaproxy\t/etc/haproxy/haproxy.cfg\n",
        processes="nginx\thost\tx\nnginx\tother\tx\nnginx\tother\ty\nhttpd\thost\tx\ncaddy\thost\tx\n",
    )
    found = {finding.subject: finding.status for finding in judge(check, sections)}
    path = "/s/a.key" if check == "TLS-09" else "/s/a.pem"
    assert found == {
        "/etc/nginx/denied.conf": "unknown",
        "/etc/haproxy/haproxy.cfg": "unknown",
        "nginx": "unknown",
        "apache": "unknown",
        "caddy": "manual",
        "$x.key" if check == "TLS-09" else "$x.pem": "unknown",
        path: "pass",
    }


@pytest.mark.parametrize("check", ["TLS-01", "TLS-02", "TLS-07", "TLS-09"])
def test_not_applicable_only_where_nothing_is_there(judge, check):
    nothing = {"tls.configuration": "absent\tnginx\t/etc/nginx/nginx.conf\n", "tls.processes": ""}
    assert statuses(judge(check, nothing)) == [("not_applicable", "")]
    assert statuses(judge(check, nothing | {"tls.processes": Gap.DENIED})) == [
        ("unknown", "tls.processes")
    ]
    assert statuses(judge(check, nothing | {"tls.processes": "java\thost\t\n"})) == [
        ("manual", "java")
    ]
    assert statuses(judge(check, {"tls.processes": ""})) == [("unknown", "")]
    assert statuses(judge(check, host(conf="http { }"))) == [("not_applicable", "")]
    assert statuses(judge(check, host(conf="http { }") | {"tls.processes": Gap.DENIED})) == [
        ("unknown", "tls.processes")
    ]
    (finding,) = judge(check, host(conf="#ssl_certificate /s/a.pem;"))
    assert (finding.status, "names no certificate" in finding.summary.en) == (
        "not_applicable",
        True,
    )


def key(mode, owner=0, group=0, path="/s/a.key"):
    return f"{mode} 1 {owner} {group} 1704 Nov  1  2026 {path}\n"


@pytest.mark.parametrize(
    ("modes", "status", "message"),
    [
        (key("-rw-------"), "pass", "mode 0600, owner root, group root"),
        (key("-r--------"), "pass", "mode 0400"),
        (key("-rw-r-----", 0, 110), "pass", "group ssl-cert"),
        (key("-rw-r-----"), "pass", "group root"),
        (key("-rw-------", 33, 33), "pass", "owner www"),
        (key("-rw-------."), "pass", "0600"),
        (key("-rw-r--r--"), "fail", "open to every account"),
        (key("-rw----r--"), "fail", "open to every account"),
        (key("-rw-----w-"), "fail", "open to every account"),
        (key("-rw-r-----", 0, 200), "warn", "alice"),
        (key("-rw-r-----", 0, 100), "warn", "alice"),
        (key("-rw-r-----", 0, 999), "unknown", "gid 999"),
        (key("-rw-r-----+", 0, 110), "unknown", "access-control list"),
        (key("-rw-------+"), "pass", "0600"),
        (key("-rw-------", 1000, 100), "warn", "alice"),
        (key("-rw-------", 4711, 0), "warn", "uid 4711"),
        (key("-rwx------"), "warn", "wider"),
        (key("-rw-rw----", 0, 110), "warn", "wider"),
        (key("-rw------x"), "warn", "wider"),
        ("", "unknown", "could not be seen"),
        (Gap.DENIED, "unknown", "could not be seen"),
    ],
)
def test_key_modes(judge, issue, modes, status, message):
    (finding,) = judge("TLS-09", host({"/s/a.pem": issue().pem}, modes=modes))
    assert (finding.status, finding.subject) == (status, "/s/a.key")
    assert message in finding.summary.en


def test_a_key_that_is_not_there_and_one_that_cannot_be_seen(judge, issue):
    sections = host({"/s/a.pem": issue().pem, "/s/b.pem": issue().pem})
    sections |= {"mode:/s/a.key": Gap.ABSENT, "mode:/s/b.key": Gap.DENIED}
    a, b = judge("TLS-09", sections)
    assert (a.status, b.status) == ("unknown", "unknown")
    assert "does not exist" in a.summary.en
    assert "could not be seen" in b.summary.en


def test_a_readable_key_in_a_closed_directory_is_said_to_be_so(judge, issue):
    sections = host({"/s/a.pem": issue().pem}, modes=key("-rw-r--r--"))
    ways = "/s/a.key\t/real/a.key\ndrwx------ 2 0 0 4096 Nov  1  2026 /real\n"
    (finding,) = judge("TLS-09", sections | {"tls.ways": ways})
    assert finding.status == "warn"
    assert "/real (0700)" in finding.summary.en
    (finding,) = judge("TLS-09", sections | {"tls.ways": ways.replace("drwx------", "drwx-----x")})
    assert finding.status == "fail"


def test_a_key_inside_a_certificate_file(judge, issue):
    pem = "[a private key, not collected]\n\n" + issue().pem
    conf = "frontend f\nbind :443 ssl crt /s/a.pem\nbind :444 ssl crt /s/denied.pem"
    sections = host(modes=key("-rw-r--r--", path="/s/a.pem")) | {
        "tls.configuration": "main\thaproxy\t-\t/etc/haproxy/haproxy.cfg\n",
        "file:/etc/haproxy/haproxy.cfg": conf,
        "certificates:/s/a.pem": pem,
        "certificates:/s/denied.pem": Gap.DENIED,
        "tls.processes": "",
    }
    assert statuses(judge("TLS-09", sections)) == [
        ("unknown", "/s/denied.pem"),
        ("fail", "/s/a.pem"),
    ]


@pytest.mark.root
def test_on_a_prepared_host(judge, root, issue):
    """From the collector to the finding."""
    good, old = issue("good.example.com"), issue("old.example.com", key="rsa1024", days=-2)
    root.write(
        "/etc/nginx/nginx.conf",
        "http {\nserver { server_name good.example.com; ssl_certificate good.pem;\n"
        "ssl_certificate_key good.key; }\nserver { server_name old.example.com;\n"
        "ssl_certificate old.pem; ssl_certificate_key old.key; }\n}\n",
    )
    root.write("/etc/nginx/good.pem", good.pem)
    root.write("/etc/nginx/good.key", good.key, 0o640, (0, 110))
    root.write("/etc/nginx/old.pem", old.pem)
    root.write("/etc/nginx/old.key", old.key, 0o644)
    sections = {
        name: section.gap or section.stdout for name, section in root.collect().sections.items()
    }
    for check in ("TLS-01", "TLS-02", "TLS-07", "TLS-09"):
        end = "key" if check == "TLS-09" else "pem"
        assert statuses(judge(check, sections)) == [
            ("pass", f"/etc/nginx/good.{end}"),
            ("fail", f"/etc/nginx/old.{end}"),
        ], check


BOOT = int(NOW.timestamp()) - 1000


@pytest.mark.parametrize(
    ("written", "processes", "status"),
    [
        (500, "start nginx 10000\nstart nginx 40000\n", "unknown"),
        (500, "start nginx 10000\nstart nginx 60000\n", "pass"),
        (500, "start apache2 10000\n", "pass"),  # another server's
        (501, "start nginx 50000\n", "pass"),
        (500, "start nginx 10000\nstart nginx 900000\n", "pass"),  # younger than the uptime
        (500, "", "pass"),
    ],
)
@pytest.mark.parametrize("ident", ["TLS-01", "TLS-02", "TLS-07"])
def test_a_file_that_was_not_loaded_does_not_pass(judge, issue, ident, written, processes, status):
    times = f"{BOOT + written} /s/a.pem\n{processes}uptime 1000.5\nnow {BOOT + 1000}\n"
    sections = host({"/s/a.pem": issue().pem}, more={"tls.times": times})
    [finding] = judge(ident, sections)
    assert finding.status == status, finding.summary.en
    if status == "unknown":
        assert "after nginx last started a process" in finding.summary.en
        assert finding.quotes[0].section == "tls.times"


def test_what_fails_fails_whether_it_was_loaded_or_not(judge, issue):
    times = f"{BOOT + 500} /s/a.pem\nstart nginx 10000\nuptime 1000.5\nnow {BOOT + 1000}\n"
    sections = host({"/s/a.pem": issue(since=-9, days=-1).pem}, more={"tls.times": times})
    [finding] = judge("TLS-01", sections)
    assert finding.status == "fail"


def test_what_a_file_that_was_cut_off_includes_is_out_of_sight(judge, issue):
    site = "server { server_name a.example; ssl_certificate /s/a.pem; }"
    rows = f"include\tnginx\t{CONF}\t9\t/etc/nginx/sites/*\n"
    more = {f"file:{CONF}": Gap.TRUNCATED, "file:/etc/nginx/sites/a": site}
    sections = host({"/s/a.pem": issue().pem}, rows=rows, more=more)
    for check in ("TLS-01", "TLS-02", "TLS-07", "TLS-09"):
        assert ("unknown", CONF) in statuses(judge(check, sections))
