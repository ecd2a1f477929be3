"""The TLS fragment on prepared hosts: it finds what is named and lets no private key out."""

import os
import re
import shutil
import subprocess

import pytest
from cryptography.hazmat.primitives import serialization

from audit_agent import collector
from audit_agent.evidence import parse_stream
from audit_agent.facts import Host
from audit_agent.model import Gap

NONCE = "ab" * 16

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="chroot and mount namespaces take root"),
]

NGINX = """\
worker_processes 1;
error_log stderr;
pid nginx-test.pid;
events {}
http {
    access_log off;
    include conf.d/*.conf;   # ssl_certificate commented/out.pem;
    include absent-is-fine/*.conf;
    include "with space/one.conf";
}
"""
NGINX_FILES = {
    "conf.d/a.conf": """\
server {
    listen 127.0.0.1:8443 ssl; server_name a.example.com www.a.example.com;
    # ssl_certificate /etc/nginx/commented.pem;
    ssl_certificate ssl/a.pem; ssl_certificate_key ssl/a.key;
    location / { proxy_pass http://127.0.0.1:1; }
    location /x { return 200 "# not a comment; { } ssl_certificate none;"; }
}
server {
    listen 127.0.0.1:8444 ssl;
    server_name ~^(?<x>b)\\.example\\.com$; include snippets/b.conf;
}
""",
    "conf.d/b.conf": (
        "server {\r\n  listen 127.0.0.1:8445 ssl;\r\n  server_name 'c.example.com';\r\n"
        "  ssl_certificate\r\n    'ssl/with space.pem';\r\n"
        '  ssl_certificate_key "ssl/a.key";\r\n}\r\n'
    ),
    "conf.d/empty.conf": "",
    "conf.d/variable.conf": """\
map $ssl_server_name $pair { default a; }
server {
    listen 127.0.0.1:8446 ssl; server_name d.example.com;
    ssl_certificate ssl/$pair.pem; ssl_certificate_key ssl/${pair}.key;
}
""",
    "snippets/b.conf": "ssl_certificate ssl/a.pem;\nssl_certificate_key ssl/a.key;\n",
    "with space/one.conf": "# nothing but a comment with a { and a '\n",
}


def nginx_host(root, issue):
    site = issue("a.example.com", key="rsa2048")
    root.write("/etc/nginx/nginx.conf", NGINX)
    for name, text in NGINX_FILES.items():
        root.write(f"/etc/nginx/{name}", text)
    root.write("/etc/nginx/ssl/a.pem", site.pem)
    root.write("/etc/nginx/ssl/with space.pem", site.pem)
    root.write("/etc/nginx/ssl/a.key", site.key, 0o600)
    return site


def named(evidence):
    found = Host(evidence).tls_configuration
    return {(r.server, r.role, r.path or r.written, r.names) for r in found.references}


@pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed")
def test_what_nginx_reads_is_what_is_collected(root, issue):
    """The same files are given to a real nginx, which says whether it likes them and lists them."""
    nginx_host(root, issue)
    folder = root.path / "etc/nginx"
    done = subprocess.run(
        ["nginx", "-T", "-p", folder, "-c", folder / "nginx.conf", "-e", "stderr"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "test is successful" in done.stderr, done.stderr
    read = set(re.findall(r"^# configuration file (.*):$", done.stdout, re.MULTILINE))
    evidence = root.collect()
    collected = {
        name.removeprefix("file:") for name in evidence.sections if name.startswith("file:/etc/ngi")
    }
    assert collected == {name.removeprefix(str(root.path)) for name in read}
    assert not Host(evidence).tls_configuration.missing
    (folder / "nginx-test.pid").unlink(missing_ok=True)


def test_nginx(root, issue):
    site = nginx_host(root, issue)
    evidence = root.collect()
    a, here = ("a.example.com", "www.a.example.com"), "/etc/nginx/ssl/"
    b, c, d = ("~^(?<x>b)\\.example\\.com$",), ("c.example.com",), ("d.example.com",)
    assert named(evidence) == {
        ("nginx", "certificate", f"{here}a.pem", a),
        ("nginx", "key", f"{here}a.key", a),
        ("nginx", "certificate", f"{here}a.pem", b),
        ("nginx", "key", f"{here}a.key", b),
        ("nginx", "certificate", f"{here}with space.pem", c),
        ("nginx", "key", f"{here}a.key", c),
        ("nginx", "certificate", "ssl/$pair.pem", d),
        ("nginx", "key", "ssl/${pair}.key", d),
    }
    host = Host(evidence)
    assert [file.path for file in host.certificate_files] == [
        f"{here}a.pem",
        f"{here}with space.pem",
    ]
    for file in host.certificate_files:
        (certificate,) = file.certificates
        assert certificate.sha256 == site.sha256
    (reference,) = [r for r in host.tls_configuration.references if "with space" in r.path]
    lines = evidence[reference.quote.section].lines[
        reference.quote.first - 1 : reference.quote.last
    ]
    assert [line.strip() for line in lines] == ["ssl_certificate", "'ssl/with space.pem';"]
    (key,) = host.key_files
    assert (key.path, str(key.mode), key.gap) == (f"{here}a.key", "0600", None)


# Written by hand from the servers' manuals and from what distributions ship.
APACHE_DEBIAN = {
    "apache2.conf": """\
# ServerRoot "/etc/elsewhere"
IncludeOptional mods-enabled/*.load
Define SITES /etc/ssl/sites
IncludeOptional sites-enabled/*.conf
IncludeOptional nothing.d
""",
    "mods-enabled/ssl.load": "LoadModule ssl_module /usr/lib/apache2/modules/mod_ssl.so\n",
    "sites-enabled/shop.conf": """\
<IfModule mod_ssl.c>
\t<VirtualHost _default_:443>
\t\tServerName shop.example.com
\t\tServerAlias www.shop.example.com \\
\t\t\tm.shop.example.com
\t\tSSLEngine on
\t\tsslcertificatefile\t"${SITES}/shop.pem"
\t\tSSLCertificateKeyFile ${SITES}/shop.key
#\t\tSSLCertificateChainFile /etc/ssl/old-chain.pem
\t\tSSLCertificateChainFile ssl/chain.pem
\t\tInclude extra
\t</VirtualHost>
</IfModule>
<VirtualHost *:8443>
  SSLCertificateFile ${UNKNOWN}/x.pem
</VirtualHost>
""",
    "extra/more.inc": "SSLCertificateFile /etc/ssl/sites/shop-ecdsa.pem\n",
}
APACHE_RHEL = {
    "conf/httpd.conf": 'ServerRoot "/etc/httpd"\nInclude conf.modules.d/*.conf\n'
    "IncludeOptional conf.d/*.conf\n",
    "conf.d/ssl.conf": "Listen 443 https\n<VirtualHost _default_:443>\nSSLEngine on\n"
    "SSLCertificateFile /etc/pki/tls/certs/localhost.crt\n"
    "SSLCertificateKeyFile /etc/pki/tls/private/localhost.key\n</VirtualHost>\n",
}
HAPROXY = {
    "haproxy.cfg": """\
global
    crt-base /etc/ssl/haproxy   # where relative names begin
    stats socket /run/haproxy.sock
defaults
    mode http
frontend web
    bind :443 ssl crt site.pem crt /etc/haproxy/certs/ alpn h2,http/1.1
    bind :444 ssl crt-list /etc/haproxy/list.txt
    bind :445 ssl crt "/etc/haproxy/${WHICH}.pem" # crt /etc/haproxy/comment.pem
    bind :446 ssl crt pair
    stats auth admin:hunter2
backend app
    server one 192.0.2.1:443 ssl crt /etc/haproxy/client.pem verify none
userlist people
    user admin insecure-password hunter2
""",
    "list.txt": "# comment\nlisted.pem [alpn h2 ocsp-update on] shop.example.com *.example.net\n",
}
POSTFIX = {
    "main.cf": """\
# smtpd_tls_cert_file = /etc/postfix/comment.pem
smtpd_tls_cert_file = /etc/postfix/first.pem
smtpd_tls_cert_file =
    $tls_dir/mail.pem
tls_dir = ${config_directory}/tls
smtpd_tls_key_file = $smtpd_tls_cert_file
smtpd_tls_chain_files = $tls_dir/ec.pem,
# in between
  $tls_dir/rsa.pem
smtpd_tls_eccert_file = none
smtp_tls_cert_file = /etc/postfix/client.pem
smtp_sasl_password_maps = static:me:hunter2
""",
    "master.cf": """\
smtp      inet  n       -       y       -       -       smtpd
submission inet n       -       y       -       -       smtpd
  -o smtpd_tls_security_level=encrypt
  -o smtpd_tls_cert_file=/etc/postfix/tls/submission.pem
  -o { smtpd_tls_key_file = $tls_dir/submission.key }
""",
}


def other_servers(root):
    for folder, files in (
        ("apache2", APACHE_DEBIAN),
        ("httpd", APACHE_RHEL),
        ("haproxy", HAPROXY),
        ("postfix", POSTFIX),
    ):
        for name, text in files.items():
            root.write(f"/etc/{folder}/{name}", text)


SHOP = ("shop.example.com", "www.shop.example.com", "m.shop.example.com")
EXPECTED = {
    ("apache", "certificate", "/etc/ssl/sites/shop.pem", SHOP),
    ("apache", "key", "/etc/ssl/sites/shop.key", SHOP),
    ("apache", "chain", "/etc/apache2/ssl/chain.pem", SHOP),
    ("apache", "certificate", "/etc/ssl/sites/shop-ecdsa.pem", SHOP),
    ("apache", "certificate", "${UNKNOWN}/x.pem", ("*:8443",)),
    ("apache", "certificate", "/etc/pki/tls/certs/localhost.crt", ("_default_:443",)),
    ("apache", "key", "/etc/pki/tls/private/localhost.key", ("_default_:443",)),
    ("haproxy", "bundle", "/etc/ssl/haproxy/site.pem", ("frontend web",)),
    ("haproxy", "bundle", "/etc/haproxy/certs/one.pem", ("frontend web",)),
    ("haproxy", "bundle", "/etc/haproxy/certs/two", ("frontend web",)),
    ("haproxy", "bundle", "/etc/ssl/haproxy/listed.pem", ("shop.example.com", "*.example.net")),
    ("haproxy", "bundle", "/etc/haproxy/${WHICH}.pem", ("frontend web",)),
    ("haproxy", "bundle", "/etc/ssl/haproxy/pair.rsa", ("frontend web",)),
    ("haproxy", "bundle", "/etc/ssl/haproxy/pair.ecdsa", ("frontend web",)),
    ("postfix", "certificate", "/etc/postfix/tls/mail.pem", ()),
    ("postfix", "key", "/etc/postfix/tls/mail.pem", ()),
    ("postfix", "bundle", "/etc/postfix/tls/ec.pem", ()),
    ("postfix", "bundle", "/etc/postfix/tls/rsa.pem", ()),
    ("postfix", "certificate", "/etc/postfix/tls/submission.pem", ("submission",)),
    ("postfix", "key", "/etc/postfix/tls/submission.key", ("submission",)),
}


def test_apache_haproxy_and_postfix(root, issue):
    other_servers(root)
    paths = {path for _, _, path, _ in EXPECTED if path.startswith("/") and "$" not in path}
    issued = {}
    for path in sorted(paths):
        pair = issue("x", key="ec")
        issued[path] = pair.sha256
        whole = pair.key + pair.pem if "haproxy" in path or "postfix" in path else pair.pem
        root.write(path, pair.key if path.endswith(".key") else whole, 0o600)
    root.write("/etc/haproxy/certs/two.key", issue().key, 0o640, (0, 110))
    root.write("/etc/haproxy/certs/one.pem.ocsp", b"\x30\x03\x0a\x01\x00")
    evidence = root.collect()
    assert named(evidence) == EXPECTED
    host = Host(evidence)
    for file in host.certificate_files:
        assert [c.sha256 for c in file.certificates] == [issued[file.path]], file.path
        assert (file.key is not None) == ("haproxy" in file.path or "postfix" in file.path)
    assert {key.path for key in host.key_files} == {
        "/etc/haproxy/certs/one.pem", "/etc/haproxy/certs/two",
        "/etc/pki/tls/private/localhost.key",
        "/etc/postfix/tls/ec.pem", "/etc/postfix/tls/mail.pem", "/etc/postfix/tls/rsa.pem",
        "/etc/postfix/tls/submission.key", "/etc/postfix/tls/submission.pem",
        "/etc/ssl/haproxy/listed.pem", "/etc/ssl/haproxy/pair.ecdsa", "/etc/ssl/haproxy/pair.rsa",
        "/etc/ssl/haproxy/site.pem", "/etc/ssl/sites/shop.key",
    }  # fmt: skip
    assert b"hunter2" not in root.stream
    assert "hunter2" not in str(evidence.sections)


def windows(text, size=12):
    text = "".join(line for line in text.split() if "-----" not in line)
    return {text[n : n + size] for n in range(len(text) - size + 1)}


def test_no_byte_of_a_private_key_leaves_the_host(root, issue):
    """However a key got into a file that is read, by design or by mistake."""
    made = {kind: issue(kind, key=kind) for kind in ("ec", "rsa2048", "ed25519", "p384")}
    ec, rsa = made["ec"], made["rsa2048"]
    traditional = rsa.private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    ).decode()
    locked = rsa.private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"x"),
    ).decode()
    body = "".join(line for line in rsa.key.splitlines(keepends=True) if "--" not in line)
    begin, end = "-----BEGIN CERTIFICATE-----\n", "-----END CERTIFICATE-----\n"
    der = rsa.private.private_bytes(
        serialization.Encoding.DER,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    files = {
        "bundle": ec.pem + ec.key,
        "key-first": rsa.key + rsa.pem,
        "traditional": rsa.pem + traditional,
        "locked": locked + rsa.pem,
        "crlf": (rsa.key + rsa.pem + ec.key).replace("\n", "\r\n"),
        "preamble": f"Bag Attributes\n  friendlyName: x\n{ec.key}\nsubject=x\n{ec.pem}tail\n",
        "joined": ec.pem.rstrip("\n") + ec.key,
        "only-a-key": made["ed25519"].key,
        "key-as-certificate": begin + body + end,
        "small-key-as-certificate": made["ed25519"].key.replace("PRIVATE KEY", "CERTIFICATE"),
        "locked-as-certificate": locked.replace("ENCRYPTED PRIVATE KEY", "CERTIFICATE"),
        "key-glued-on": ec.pem.replace(end, "") + body + end,
        "key-glued-on-in-line": ec.pem.replace("\n" + end, "") + body + end,
        "certificate-without-end": ec.pem.replace(end, "") + rsa.key,
        "certificate-without-end-or-begin": ec.pem.replace(end, "") + body,
        "key-inside": begin + rsa.key + end,
        "no-last-line-break": (ec.pem + rsa.key).rstrip("\n"),
        "one-line": ec.pem.replace("\n", "") + rsa.key.replace("\n", ""),
        "old-mac": (ec.pem + rsa.key).replace("\n", "\r"),
        "binary": der,
    }
    lines = ["http {"]
    for name, content in files.items():
        root.write(f"/etc/nginx/{name}.pem", content)
        lines.append(f"ssl_certificate {name}.pem; ssl_certificate_key {name}.pem;")
    lines += [f'set $inline "{rsa.key}";', f"# {ec.key}".replace("\n", "\n# ")]
    lines.append('set $escaped "' + made["p384"].key.replace("\n", "\\n") + '";')
    lines.append("include *.pem; }")
    root.write("/etc/nginx/nginx.conf", "\n".join(lines))
    evidence = root.collect()
    public = set().union(*(windows(pair.pem) for pair in made.values()))
    stream = "".join(root.stream.decode("latin-1").split())
    for text in [pair.key for pair in made.values()] + [traditional, locked]:
        secret = windows(text) - public
        assert len(secret) > 20
        assert [window for window in secret if window in stream] == []
    assert der[40:60] not in root.stream
    assert "PRIVATEKEY" not in stream
    files_read = {file.path: file for file in Host(evidence).certificate_files}
    for name, count in {
        "bundle": 1, "key-first": 1, "traditional": 1, "locked": 1, "crlf": 1, "preamble": 1,
        "key-glued-on": 1, "no-last-line-break": 1, "only-a-key": 0, "key-as-certificate": 0,
    }.items():  # fmt: skip
        file = files_read[f"/etc/nginx/{name}.pem"]
        assert len(file.certificates) == count, name
        assert (file.key is None) == (name in {"key-glued-on", "key-as-certificate"}), name
    assert evidence["file:/etc/nginx/nginx.conf"].lines[-1] == "include *.pem; }"


def test_line_numbers_are_those_of_the_file(root, issue):
    pair = issue()
    root.write("/etc/nginx/nginx.conf", "http { ssl_certificate a.pem; }")
    root.write("/etc/nginx/a.pem", f"Subject: x\n\n{pair.key}between\n{pair.pem}{pair.pem}")
    (file,) = Host(root.collect()).certificate_files
    text = (root.path / "etc/nginx/a.pem").read_text().splitlines()
    assert text[file.key.first - 1] == "-----BEGIN PRIVATE KEY-----"
    for certificate in file.certificates:
        assert text[certificate.quote.first - 1] == "-----BEGIN CERTIFICATE-----"
        assert text[certificate.quote.last - 1] == "-----END CERTIFICATE-----"


def test_nothing_there(root):
    found = Host(root.collect()).tls_configuration
    assert (found.servers, found.references, found.missing, found.unread) == ((), (), {}, ())


def test_what_a_plain_user_cannot_see_is_said(root, issue):
    pair = issue()
    root.write(
        "/etc/nginx/nginx.conf",
        "http { include open/*; include closed/*; ssl_certificate a.pem;"
        " ssl_certificate_key closed/a.key; ssl_certificate closed/a.pem; ssl_certificate gone.pem;"
        " ssl_certificate link.pem; }",
    )
    root.write("/etc/nginx/open/secret.conf", "", 0o600)
    root.write("/etc/nginx/a.pem", pair.pem, 0o600)
    root.write("/etc/nginx/closed/a.key", pair.key, 0o600)
    (root.path / "etc/nginx/closed").chmod(0o700)
    (root.path / "etc/nginx/link.pem").symlink_to("nowhere.pem")
    root.write("/etc/haproxy/haproxy.cfg", "", 0o600)
    evidence = root.collect(user="alice")
    gaps = {
        name: section.gap
        for name, section in evidence.sections.items()
        if "nginx" in name or "haproxy" in name
    }
    assert {name for name, gap in gaps.items() if gap is Gap.DENIED} == {
        "file:/etc/nginx/open/secret.conf", "dir:/etc/nginx/closed",
        "file:/etc/haproxy/haproxy.cfg",
        "certificates:/etc/nginx/a.pem", "certificates:/etc/nginx/closed/a.pem",
        "mode:/etc/nginx/closed/a.key",
    }  # fmt: skip
    assert gaps["certificates:/etc/nginx/gone.pem"] is Gap.ABSENT
    assert gaps["certificates:/etc/nginx/link.pem"] is Gap.ABSENT
    assert set(Host(evidence).tls_configuration.missing) == {
        "file:/etc/nginx/open/secret.conf", "dir:/etc/nginx/closed",
        "file:/etc/haproxy/haproxy.cfg",
    }  # fmt: skip


def test_a_running_server_names_its_configuration(root, issue):
    """Made-up programs with the servers' names: one with -c, one by its prefix, one in a jail."""
    sleeper = "#!/bin/sh\nsleep 100\n"
    for name in ("/opt/tengine/sbin/nginx", "/srv/app/bin/httpd", "/usr/local/sbin/caddy"):
        root.write(name, sleeper, 0o755)
    root.write("/srv/conf/web.conf", "http { ssl_certificate web.pem; }")
    root.write("/srv/conf/web.pem", issue().pem)
    shutil.copytree(root.path / "bin", root.path / "jail/bin", symlinks=True)
    root.write("/jail/haproxy", sleeper, 0o755)
    root.before = (
        "/opt/tengine/sbin/nginx -c /srv/conf/web.conf >/dev/null 2>&1 </dev/null &\n"
        "/usr/local/sbin/caddy >/dev/null 2>&1 </dev/null &\n"
        "chroot /jail /haproxy -f /x.cfg >/dev/null 2>&1 </dev/null &\n"
        "sleep 0.3"
    )
    evidence = root.collect()
    seen = {tuple(line.split("\t")[:2]) for line in evidence["tls.processes"].lines}
    assert seen == {("nginx", "host"), ("caddy", "host"), ("haproxy", "other")}
    found = Host(evidence).tls_configuration
    assert [(s.name, s.main, s.running) for s in found.servers] == [
        ("nginx", "/srv/conf/web.conf", True)
    ]
    assert [reference.path for reference in found.references] == ["/srv/conf/web.pem"]
    assert {(p.program, p.server) for p in found.unread} == {("caddy", ""), ("haproxy", "haproxy")}


def test_limits_are_kept_and_said(root, issue):
    pair = issue()
    root.write(
        "/etc/nginx/nginx.conf",
        "http { include big.conf; ssl_certificate big.pem; include loop.conf; include many/*; }",
    )
    for number in range(420):
        root.write(f"/etc/nginx/many/{number:03}.conf", f"ssl_certificate {number}.pem;\n")
    root.write(
        "/etc/nginx/big.conf",
        "# filler line\n" * 20000 + "ssl_certificate late.pem;\nssl_certificate $late.pem;\n",
    )
    root.write("/etc/nginx/loop.conf", "include loop.conf; include nginx.conf;")
    root.write("/etc/nginx/late.pem", pair.pem)
    root.write("/etc/nginx/big.pem", pair.pem + "x\n" * 600_000)
    evidence = root.collect()
    assert evidence.sections["file:/etc/nginx/big.conf"].gap is Gap.TRUNCATED
    assert evidence.sections["certificates:/etc/nginx/big.pem"].gap is Gap.TRUNCATED
    found = Host(evidence).tls_configuration
    assert found.missing == {"tls.configuration": Gap.TRUNCATED}
    names = {(reference.path, reference.written) for reference in found.references}
    assert ("/etc/nginx/late.pem", "/etc/nginx/late.pem") in names
    assert ("", "/etc/nginx/$late.pem") in names
    assert len(root.stream) < 3_000_000


@pytest.mark.parametrize(
    ("shell", "awk"),
    [
        (["dash"], "mawk"),
        (["bash"], "gawk"),
        (["busybox", "sh"], "busybox"),
        (["mksh"], "original-awk"),
        (["ksh93"], "mawk"),
    ],
)
def test_every_shell_and_awk_reads_the_same(root, issue, monkeypatch, shell, awk):
    for program in (shell[0], awk):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed (make test installs it as root on Debian)")
    nginx_host(root, issue)
    other_servers(root)
    root.write("/etc/ssl/haproxy/site.pem", issue().pem + issue().key, 0o644)
    reference = root.collect()
    bundle = root.path / "etc/alternatives"
    bundle.mkdir()
    (bundle / "awk").symlink_to(shutil.which(awk))
    monkeypatch.setattr(collector, "FRAGMENTS", ("tls",))
    script = collector.script(NONCE, compress=False)
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c",
         f"mount --bind {root.path}/etc /etc && exec {' '.join(shell)} -s"],
        input=script, capture_output=True, timeout=60, check=True,
    )  # fmt: skip
    found = parse_stream(done.stdout, NONCE)
    assert found.complete, done.stderr
    kinds = ("file:/etc/", "certificates:", "dir:", "mode:")
    for name, section in reference.sections.items():
        if name.startswith(kinds) and name not in {"file:/etc/passwd", "file:/etc/group"}:
            assert found.sections[name].gap == section.gap, name
            assert name.startswith("dir:") or found.sections[name].stdout == section.stdout, name
    rows = [set(s["tls.configuration"].lines) for s in (reference.sections, found.sections)]
    assert rows[0] == rows[1]


def test_whose_key_everybody_may_read_is_followed_to_its_place(root, issue):
    """As certbot keeps them: links in one directory, files in another, both closed or not."""
    key = issue().key
    root.write("/etc/letsencrypt/archive/a/privkey1.pem", key, 0o644)
    root.write("/etc/letsencrypt/live/a/README", "")
    (root.path / "etc/letsencrypt/live/a/privkey.pem").symlink_to("../../archive/a/privkey1.pem")
    root.write("/etc/nginx/open.key", key, 0o644)
    root.write(
        "/etc/nginx/nginx.conf",
        "http { ssl_certificate_key /etc/letsencrypt/live/a/privkey.pem;\n"
        "ssl_certificate_key open.key; }\n",
    )
    for folder, closed_by in (("live", None), ("archive", "/etc/letsencrypt/archive")):
        (root.path / "etc/letsencrypt" / folder).chmod(0o700)
        linked, plain = Host(root.collect()).key_files
        assert (linked.closed_by[0] if linked.closed_by else None) == closed_by
        assert plain.closed_by is None
        assert str(linked.mode) == str(plain.mode) == "0644"


def test_the_bt_panel(root, issue):
    """Where aaPanel (BT) keeps nginx; written by hand from its documentation."""
    root.write(
        "/www/server/nginx/conf/nginx.conf",
        "http {\ninclude mime.types;\ninclude /www/server/panel/vhost/nginx/*.conf;\n}\n",
    )
    cert = "/www/server/panel/vhost/cert/example.com/fullchain.pem"
    root.write(
        "/www/server/panel/vhost/nginx/example.com.conf",
        "server\n{\n    listen 443 ssl http2;\n    server_name example.com;\n    #SSL-START\n"
        f"    ssl_certificate    {cert};\n    #HTTP_TO_HTTPS_START\n    #SSL-END\n}}\n",
    )
    root.write(cert, issue("example.com").pem)
    host = Host(root.collect())
    (file,) = host.certificate_files
    assert file.certificates[0].subject.startswith("CN=example.com")
    assert file.references[0].names == ("example.com",)
    assert host.tls_configuration.missing == {}
