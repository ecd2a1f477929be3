"""The four configuration dialects on the controller's side. Samples are written by hand."""

import datetime as dt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit_agent.facts.webconfig import apache, haproxy, nginx, postfix, read_tls_configuration
from audit_agent.facts.webconfig.configuration import Tree
from audit_agent.model import Evidence, Gap, Identity, Privilege, Quote, Section

NOW = dt.datetime(2026, 11, 24, 12, 0, tzinfo=dt.UTC)


def collected(files):
    sections = {}
    for path, content in files.items():
        gap = content if isinstance(content, Gap) else None
        data = b"" if gap else content.encode()
        name = path if path.startswith(("dir:", "tls.")) else f"file:{path}"
        sections[name] = Section(name=name, command=path, gap=gap, stdout=data)
    return Evidence(
        identity=Identity(hostname="web1"), privilege=Privilege(user="root", uid=0), target="",
        address="", collected_at=NOW, clock="", collector="", complete=True, interrupted="",
        sections=sections,
    )  # fmt: skip


def tree(files, *mains, base="/b"):
    return Tree(collected(files), base, mains or [next(iter(files))])


def paths(dialect, files, *mains, base="/b"):
    return [
        (r.path or r.written, r.names) for r in dialect.references(tree(files, *mains, base=base))
    ]


def test_nginx_statements_keep_their_lines():
    text = 'a 1;\nb\n  2\n  3;\n\nc { d;\n} # e;\nf \'g;h\' "i\\"}" j\\ k;'
    found = nginx.parse(Section(name="s", command="", stdout=text.encode()))
    assert [(d.words, d.quote.lines) for d in found] == [
        (["a", "1"], "1"),
        (["b", "2", "3"], "2-4"),
        (["c"], "6"),
        (["f", "g;h", 'i"}', "j\\ k"], "8"),
    ]
    assert found[2].block[0].words == ["d"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ssl_certificate /a;", [("/a", ())]),
        ("ssl_certificate a;", [("/b/a", ())]),
        ("server{server_name x _ y;ssl_certificate a;}", [("/b/a", ("x", "y"))]),
        ("ssl_certificate $a;", [("$a", ())]),
        ("ssl_certificate data:$a;", [("data:$a", ())]),
        ("ssl_certificate_key engine:pkcs11:id;", [("engine:pkcs11:id", ())]),
        ("#ssl_certificate a;", []),
        ("x #ssl_certificate a;\n;", []),
        ("log_format m 'ssl_certificate a;'; ssl_certificate b;", [("/b/b", ())]),
        ("proxy_ssl_certificate a; ssl_client_certificate b; ssl_trusted_certificate c;", []),
        ("ssl_certificate;", []),
        # Too many braces, too few, and a server that never closes.
        ("} } ssl_certificate a;", [("/b/a", ())]),
        ("server { server_name x; location / { \nserver { server_name y; ssl_certificate a; }",
         [("/b/a", ("y",))]),
        ("server { server_name x; location / { \nserver { ssl_certificate a; }", [("/b/a", ())]),
        # What redaction leaves behind: a lost brace, a lost quote.
        ('server { server_name x; proxy_set_header Authorization [redacted]\nssl_certificate a; }',
         [("/b/a", ("x",))]),
        ('server { server_name x; add_header A "b token [redacted]\nssl_certificate a; # "\n}',
         [("/b/a", ("x",))]),
        ('if ($a = "b;") { return 1; } ssl_certificate a;', [("/b/a", ())]),
        ("location ~ ${x}y { } ssl_certificate a;", [("/b/a", ())]),
        # Lua is not nginx: braces and quotes in it do not count.
        ("content_by_lua_block { -- don't } {\n x = '}' y = {} z = [[ } ]] } ssl_certificate a;",
         [("/b/a", ())]),
        ("content_by_lua_block { unclosed ssl_certificate a; }", []),
        ("stream { server { ssl_certificate a; } } mail { server { ssl_certificate c; } }",
         [("/b/a", ()), ("/b/c", ())]),
    ],
)  # fmt: skip
def test_nginx(text, expected):
    assert paths(nginx, {"/b/nginx.conf": text}) == expected


def test_nginx_includes():
    files = {
        "/b/nginx.conf": "include conf.d/*.conf; include one.conf; include ssl/*/[ab].inc;"
        " include gone.conf; include denied.conf; include closed/*; include nginx.conf;",
        "/b/conf.d/1.conf": "server { server_name x; include /b/snip; }",
        "/b/conf.d/2.conf": "server { server_name y; include /b/snip; }",
        "/b/conf.d/deep/3.conf": "ssl_certificate no;",
        "/b/conf.d/4.txt": "ssl_certificate no;",
        "/b/one.conf": "ssl_certificate one; include one.conf;",
        "/b/ssl/q/a.inc": "ssl_certificate a;",
        "/b/ssl/q/c.inc": "ssl_certificate no;",
        "/b/snip": "ssl_certificate snip;",
        "/b/gone.conf": Gap.ABSENT,
        "/b/denied.conf": Gap.DENIED,
        "dir:/b/closed": Gap.DENIED,
    }
    found = tree(files)
    named = [(r.path, r.names, r.quote) for r in nginx.references(found)]
    assert named == [
        ("/b/snip", ("x",), Quote("file:/b/snip", 1, 1)),
        ("/b/snip", ("y",), Quote("file:/b/snip", 1, 1)),
        ("/b/one", (), Quote("file:/b/one.conf", 1, 1)),
        ("/b/a", (), Quote("file:/b/ssl/q/a.inc", 1, 1)),
    ]
    assert found.missing == {"file:/b/denied.conf": Gap.DENIED, "dir:/b/closed": Gap.DENIED}


def test_includes_that_multiply_are_stopped():
    files = {f"/b/{n}": f"include {n + 1};" * 50 for n in range(8)}
    files["/b/8"] = "ssl_certificate a;"
    found = tree(files)
    assert len(list(nginx.references(found))) <= 4000
    assert found.missing == {"tls.configuration": Gap.TRUNCATED}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("SSLCertificateFile /a", [("/a", ())]),
        ("  sslcertificatefile\t'a b'  ", [("/b/a b", ())]),
        ("ServerRoot /r\nSSLCertificateFile a", [("/r/a", ())]),
        ('ServerRoot "/r"\nSSLCertificateChainFile "a"', [("/r/a", ())]),
        ("# SSLCertificateFile /a", []),
        ("# comment \\\nSSLCertificateFile /a", []),
        ("SSLCertificateFile \\\n  /a", [("/a", ())]),
        ("Define d /x\nSSLCertificateFile ${d}/a", [("/x/a", ())]),
        ("Define d ${e}\nDefine e ${d}\nSSLCertificateFile ${d}/a", [("${e}/a", ())]),
        ("SSLCertificateFile ${d}/a", [("${d}/a", ())]),
        ("<Macro V $n>\nSSLCertificateFile /x/$n.pem\n</Macro>", [("/x/$n.pem", ())]),
        ("<VirtualHost *:443>\nServerName x\nServerAlias y z\nSSLCertificateFile /a\n</VirtualHost>"
         "\nSSLCertificateFile /c", [("/a", ("x", "y", "z")), ("/c", ())]),
        ("<VirtualHost 192.0.2.1:443 [::1]:443>\nSSLCertificateFile /a\n</VirtualHost>",
         [("/a", ("192.0.2.1:443", "[::1]:443"))]),
        ("<VirtualHost *:443>\nSSLCertificateFile /a", [("/a", ("*:443",))]),
        ("SSLCertificateKeyFile pkcs11:token=x", [("pkcs11:token=x", ())]),
        ("SSLCertificateFile", [("", ())]),
        ("SSLProxyMachineCertificateFile /a\nSSLCACertificateFile /c", []),
    ],
)  # fmt: skip
def test_apache(text, expected):
    found = [(r.path or r.written, r.names) for r in apache.references(tree({"/b/x": text}))]
    assert found == expected


def test_apache_includes():
    files = {
        "/b/x": "Include conf\nInclude d*\n<VirtualHost a>\nInclude v\n</VirtualHost>\n"
        "Include ${nowhere}/x",
        "/b/conf/1": "SSLCertificateFile /1",
        "/b/conf/deep/2": "SSLCertificateFile /no",
        "/b/dir/3": "SSLCertificateFile /3",
        "/b/v": "SSLCertificateFile /v",
    }
    found = tree(files)
    assert [(r.path, r.names) for r in apache.references(found)] == [
        ("/1", ()),
        ("/3", ()),
        ("/v", ("a",)),
    ]
    assert found.missing == {"file:/b/x": Gap.FAILED}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("frontend f\nbind :1 ssl crt /a crt '/b c' no-sslv3", [("/a", ("frontend f",)),
                                                               ("/b c", ("frontend f",))]),
        ("listen l\n  bind :1 ssl crt a", [("a", ("listen l",))]),
        ("global\ncrt-base /g\nlisten l\nbind :1 ssl crt a # crt /c", [("/g/a", ("listen l",))]),
        ("#bind :1 ssl crt /a\nlisten l\nbind :1\\ ssl 'crt' /c#d", [("/c", ("listen l",))]),
        ("backend b\nserver s 1:1 ssl crt /a\ndefault-server crt /c", []),
        ('listen l\nbind :1 ssl crt "$D/a" crt @store/x', [("$D/a", ("listen l",)),
                                                          ("@store/x", ("listen l",))]),
        ("crt-store s\ncrt-base /s\nkey-base /k\nload crt a key c alias x\n"
         "listen l\nbind :1 ssl crt a", [("/s/a", ("crt-store s",)), ("/k/c", ("crt-store s",)),
                                         ("a", ("listen l",))]),
        ("listen l\nbind :1 ssl crt-list relative", [("relative", ("listen l",))]),
        ("listen l\nbind :1 ssl crt", []),
    ],
)  # fmt: skip
def test_haproxy(text, expected):
    assert paths(haproxy, {"/b/haproxy.cfg": text}, base="-") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("smtpd_tls_cert_file=/a", ["/a"]),
        ("smtpd_tls_cert_file = /a\nsmtpd_tls_cert_file =\n  /c", ["/c"]),
        ("smtpd_tls_key_file = $smtpd_tls_cert_file", []),
        ("x = /x\nsmtpd_tls_chain_files = ${x}/1 $(x)/2, $config_directory/3",
         ["/x/1", "/x/2", "/b/3"]),
        ("a = $c\nc = $a\nsmtpd_tls_cert_file = $a/x", ["$a/x"]),
        ("smtpd_tls_cert_file = cert.pem", ["/var/spool/postfix/cert.pem"]),
        ("smtpd_tls_cert_file = ${x?/a}", ["${x?/a}"]),
        ("tls_server_sni_maps = hash:/b/sni", ["hash:/b/sni"]),
        ("smtpd_tls_eckey_file = none\nsmtpd_tls_cert_file =", []),
        ("smtp_tls_cert_file = /a\nsmtpd_tls_CAfile = /b\nsmtpd_tls_req_ccert = no", []),
    ],
)  # fmt: skip
def test_postfix(text, expected):
    found = [path for path, _ in paths(postfix, {"/b/main.cf": text})]
    assert found == expected


ALPHABET = st.sampled_from(
    [
        "{", "}", ";", "#", "'", '"', "\\", "\n", "\r", " ", "\t", "$", "${a}", "(", ")", "[", "]",
        "include *;", "include /b/x;", "server", "ssl_certificate a;", "x_by_lua_block {", "[[",
        "]]", "--", "[redacted]\n", "<VirtualHost a>", "</VirtualHost>", "Include x\n",
        "SSLCertificateFile ", "Define a ${a}${a}\n", "ServerRoot ", "bind crt crt-list /b/x\n",
        "crt-store\n", "load ", "smtpd_tls_cert_file = ", "a = $a$a\n", "-o {", "é", "\x00", "\x85",
    ]
)  # fmt: skip


@pytest.mark.parametrize("dialect", [nginx, apache, haproxy, postfix])
@given(st.one_of(st.text(max_size=80), st.lists(ALPHABET, max_size=40).map("".join)))
@settings(max_examples=60, deadline=None)
def test_nothing_in_a_configuration_raises(dialect, text):
    files = {"/b/x": text, "/b/master.cf": text}
    for reference in dialect.references(tree(files, "/b/x", "/b/master.cf")):
        assert reference.quote.first >= 1
        lines = Section(name="", command="", stdout=text.encode()).lines
        assert reference.quote.last <= max(len(lines), 1)


@given(st.lists(st.lists(st.text(max_size=8), max_size=6).map("\t".join), max_size=8))
def test_nothing_in_the_list_of_names_raises(lines):
    read_tls_configuration(collected({"tls.configuration": "\n".join(lines)}))


@pytest.mark.parametrize(
    "text",
    [
        '"' * 100_000,
        "x_by_lua_block {" * 16_000,
        "{" * 100_000,
        "${" * 30_000,
        "a{" * 60_000 + "ssl_certificate a;",
        "[[" * 30_000,
    ],
    ids=["quotes", "lua", "braces", "variables", "blocks", "brackets"],
)
def test_hostile_nginx_configurations_cost_little(text):
    list(nginx.references(tree({"/b/x": text})))
    list(nginx.references(tree({"/b/x": "x_by_lua_block {" + text})))
