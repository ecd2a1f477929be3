"""The HTML report: self-contained, complete, honest about what it does not know."""

# ruff: noqa: E501 - sentences in two languages, side by side

import base64
import datetime as dt
import hashlib
import itertools
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audit_agent import seal
from audit_agent.model import Gap, Identity, Privilege, Quote, Severity, Status, Text, Unreachable

STATIC = Path(__file__).parents[2] / "reports" / "static"
WORD = {
    "en": {
        Status.FAIL: "Not met", Status.WARN: "Partly met", Status.UNKNOWN: "Undetermined",
        Status.MANUAL: "Needs a person", Status.ERROR: "Check error", Status.PASS: "Met",
        Status.NOT_APPLICABLE: "Not applicable",
    },
    "zh": {
        Status.FAIL: "不符合", Status.WARN: "部分符合", Status.UNKNOWN: "无法判定",
        Status.MANUAL: "需人工确认", Status.ERROR: "检查出错", Status.PASS: "符合",
        Status.NOT_APPLICABLE: "不适用",
    },
}  # fmt: skip
UNREACHABLE = (
    Unreachable("db1", "10.0.0.7", "host-key-unknown", "db1: SHA256:abc is not in known_hosts"),
    Unreachable("old", "10.0.0.8", "some-new-reason", "it did not work"),
)
HAN = re.compile(r"[\u4e00-\u9fff]")


@pytest.fixture(params=["en", "zh"])
def lang(request):
    return request.param


@pytest.fixture(params=["one", "several", "none"])
def any_results(request, sample):
    if request.param == "one":
        return sample.make()
    if request.param == "several":
        return sample.make(hosts=2, unreachable=UNREACHABLE)
    return sample.make(hosts=0, unreachable=UNREACHABLE)


# ---- self-contained


def test_it_refers_to_nothing_outside(sample, any_results, lang):
    page = sample.page(any_results, lang)
    ids = [element.attrs["id"] for element in page.walk() if "id" in element.attrs]
    assert len(ids) == len(set(ids))
    allowed = {
        "html", "head", "meta", "title", "style", "body", "main", "header", "footer", "section",
        "article", "h1", "h2", "h3", "h4", "p", "ul", "ol", "li", "dl", "div", "dt", "dd", "span",
        "b", "i", "em", "a", "code", "pre", "br", "table", "caption", "thead", "tbody", "tr", "th",
        "td", "details", "summary", "input", "label", "svg", "symbol", "use", "circle", "path",
        "rect", "",
    }  # fmt: skip
    for element in page.walk():
        assert element.tag in allowed
        for name, value in element.attrs.items():
            assert not name.startswith("on")
            assert name not in {"style", "src", "srcset", "action", "data", "background", "ping"}
            assert not re.search(r"url\(|//", value), (element.tag, name, value)
            if name in {"href", "for"}:
                assert value.removeprefix("#") in ids
                assert (name == "for") or value.startswith("#")
    for style in page.all("style"):
        assert not re.search(r"url|@import|image|expression|//", style.text)


def test_the_policy_allows_the_two_style_sheets_and_nothing_else(sample, any_results):
    data = sample.render(any_results, "zh")
    page = sample.page(any_results, "zh")
    [policy] = [
        meta.attrs["content"]
        for meta in page.all("meta")
        if meta.attrs.get("http-equiv") == "Content-Security-Policy"
    ]
    styles = re.findall(rb"<style>(.*?)</style>", data, re.DOTALL)
    hashes = [base64.b64encode(hashlib.sha256(style).digest()).decode() for style in styles]
    assert len(hashes) == 2
    assert policy == (
        f"default-src 'none'; style-src 'sha256-{hashes[0]}' 'sha256-{hashes[1]}'; "
        "base-uri 'none'; form-action 'none'"
    )
    assert data.index(b"Content-Security-Policy") < data.index(b"<style>")
    assert b"<script" not in data


def test_it_is_sealed_and_the_same_every_time(sample, any_results, lang):
    data = sample.render(any_results, lang)
    seal.verify(data)
    assert data == sample.render(any_results, lang)
    assert data.startswith(b"<!DOCTYPE html>")


def test_a_report_of_40_findings_is_small(sample):
    findings = (sample.findings * 3)[:42]
    assert len(sample.render(sample.make(findings), "zh")) < 400_000


# ---- first screen


def test_the_first_screen_says_who_when_and_how(sample, lang):
    page = sample.page(sample.make(), lang)
    facts = page.one("dl", "facts").text
    for what in [
        "2026-11-24 14:05:33 (UTC+08:00)",
        {"en": "auditor's clock", "zh": "审计机时钟"}[lang],
        "zhang.wei@bastion",
        {"en": "ops (uid 1000)", "zh": "ops（uid 1000）"}[lang],
        {"en": "not root", "zh": "非 root"}[lang],
        "Debian GNU/Linux 12 (bookworm)",
        {"en": "3 could not be read whole", "zh": "3 节未能完整读取"}[lang],
        "audit-agent 0.1.0",
        sample.sha,
    ]:
        assert what in facts
    assert page.one("h1").text == "web1.example.cn"
    assert {"en": "Internal document", "zh": "内部资料"}[lang] in page.one("p", "stamp").text
    text = page.one("main").text
    order = [text.index(section) for section in {
        "en": ["Read without root", "What to mend first", "What could not be determined", "Findings FW",
               "How to read this report", "Annex A", "Annex B"],
        "zh": ["未以 root 权限采集", "优先整改事项", "未能判定的事项", "各项结论 展开", "阅读说明", "附件A 证据清单", "附件B"],
    }[lang] if "Findings FW" not in section]  # fmt: skip
    assert order == sorted(order)


def test_every_status_is_counted_and_the_open_ones_stand_out(sample, lang):
    page = sample.page(sample.make(), lang)
    tiles = {tile.one("span").text: int(tile.one("b").text) for tile in page.all("li", "tile")}
    expected = {
        WORD[lang][status]: sum(finding.status is status for finding in sample.findings)
        for status in Status
    }
    assert tiles == expected
    assert list(tiles)[:4] == [WORD[lang][s] for s in (Status.FAIL, Status.WARN, Status.UNKNOWN, Status.MANUAL)]  # fmt: skip
    assert all(len(tile.all("svg")) == 1 for tile in page.all("li", "tile")), "symbol and word"
    rows = page.one("table", "matrix").one("tbody").all("tr")
    sums = [[int(cell.text) if cell.text != "·" else 0 for cell in row.all("td")] for row in rows]
    assert [sum(column) for column in zip(*sums, strict=True)] == list(tiles.values())


def test_zero_unknown_and_manual_are_shown_too(sample):
    page = sample.page(sample.make((sample.finding("X-1", Status.PASS),)))
    tiles = {tile.one("span").text: tile.one("b").text for tile in page.all("li", "tile")}
    assert tiles["Undetermined"] == tiles["Needs a person"] == tiles["Not met"] == "0"
    assert "Check error" not in tiles
    assert "0 undetermined" in page.all("p", "verdict")[0].text


@pytest.mark.parametrize(
    ("more", "title", "shown"),
    [
        ({}, "Read without root privilege", True),
        ({"privilege": Privilege("root", 0)}, "Read without root privilege", False),
        ({"privilege": Privilege("", None)}, "privilege of the collection is not known", True),
        ({"complete": False, "interrupted": "took longer than 180 s"}, "took longer than 180 s", True),
        ({}, "collection is not complete", False),
        ({"clock": "host"}, "told by the host itself", True),
        ({}, "told by the host itself", False),
        ({}, "Nothing could be judged", False),
    ],
)  # fmt: skip
def test_what_limits_the_audit_is_said_first(sample, more, title, shown):
    page = sample.page(sample.make(**more))
    notices = " ".join(notice.text for notice in page.all("div", "notice"))
    assert (title in notices) is shown


def test_an_audit_without_any_judgement_says_so(sample, lang):
    findings = (sample.finding("X-1", Status.UNKNOWN), sample.finding("X-2", Status.NOT_APPLICABLE))
    [grave, _] = sample.page(sample.make(findings), lang).all("div", "notice")
    assert {"en": "Nothing could be judged", "zh": "未能对该主机的任何一项作出判定"}[
        lang
    ] in grave.text


def test_what_to_mend_comes_fails_first_and_the_most_severe_first(sample):
    page = sample.page(sample.make())
    tasks = page.one("section", "mend").all("li", "task")
    assert [task.one("span", "id").text for task in tasks] == [
        "PS-03", "AC-02", "FW-01", "LG-02", "TLS-02",
    ]  # fmt: skip
    assert "0.0.0.0:6379" in tasks[0].text
    assert "0.0.0.0:9200" in tasks[0].text
    assert "127.0.0.1:3306" not in tasks[0].text
    assert [line.text for line in tasks[2].one("pre", "cmd").all("code")] == [
        "apt-get install nftables", "systemctl enable --now nftables", "nft list ruleset",
    ]  # fmt: skip


def test_a_task_is_of_one_status_and_weight(sample):
    advice = {"remediation": Text("Do it.", "去做。")}
    findings = (
        sample.finding("X-1", Status.WARN, subject="a", **advice),
        sample.finding("X-1", Status.FAIL, subject="b", severity=Severity.CRITICAL, **advice),
        sample.finding("X-1", Status.FAIL, subject="c", **advice),
        sample.finding("X-1", Status.FAIL, subject="d", **advice),
    )
    page = sample.page(sample.make(findings))
    tasks = page.one("section", "mend").all("li", "task")
    assert [task.one("p", "head").text for task in tasks] == [
        "Not met Severity Critical Title of X-1 X-1",
        "Not met Severity High Title of X-1 X-1",
        "Partly met Severity High Title of X-1 X-1",
    ]
    assert [len(task.one("ul", "subjects").all("li")) for task in tasks] == [1, 2, 1]
    check = check_of(page, "X-1")
    assert not check.one("h4").all("span", "sev")
    assert [item.one("span", "sev").text for item in check.all("section", "item")] == [
        "Severity Critical", "Severity High", "Severity High", "Severity High",
    ]  # fmt: skip


def test_what_is_not_known_stands_with_what_would_make_it_known(sample, lang):
    unsettled = sample.page(sample.make(), lang).one("section", "unsettled")
    asked = {entry.one("p", "do").text: entry.text for entry in unsettled.all("ul", "open")[0].all("li") if entry.all("p", "do")}  # fmt: skip
    [again] = [advice for advice in asked if "--sudo" in advice]
    assert "AC-03" in asked[again]
    assert "LG-03" not in asked[again]
    assert {"PS-02", "LG-08"} <= {element.text for element in unsettled.all("span", "id")}


def test_nothing_to_mend_is_not_called_safe(sample):
    passed = (sample.finding("X-1", Status.PASS),)
    opened = (*passed, sample.finding("X-2", Status.UNKNOWN))
    assert "What was not checked is not covered" in sample.page(sample.make(passed)).one("section", "mend").text  # fmt: skip
    assert "See below" in sample.page(sample.make(opened)).one("section", "mend").text


# ---- findings


def check_of(page, check):
    """The part of the page about one check."""
    [found] = [
        c for c in page.all("article", "check") if c.one("h4").one("span", "id").text == check
    ]
    return found


def test_every_finding_is_there_with_all_it_says(sample, lang):
    page = sample.page(sample.make(), lang)
    checks = {check.one("h4").one("span", "id").text: check for check in page.all("article", "check")}  # fmt: skip
    assert checks.keys() == {finding.check for finding in sample.findings}
    assert len(page.all("section", "item")) == len(sample.findings)
    for finding in sample.findings:
        check = checks[finding.check]
        items = [item.text for item in check.all("section", "item")]
        said = finding.summary.in_(lang)
        [item] = [text for text in items if said in text and finding.subject in text]
        assert WORD[lang][finding.status] in item
        for text in [finding.title, finding.expected, finding.why, finding.remediation]:
            assert text is None or text.in_(lang) in check.text
        for text in [finding.observed, *finding.commands]:
            assert text in check.text
        for cite in finding.citations:
            assert cite.title.in_(lang) in check.text


def test_advice_for_several_findings_is_given_once(sample):
    check = check_of(sample.page(sample.make()), "PS-03")
    assert check.text.count("Bind the service to loopback") == 1
    assert len(check.all("section", "item")) == 3


@pytest.mark.parametrize(
    ("lang", "check", "words"),
    [
        ("zh", "PS-02", "判定阈值为行业实践，标准未规定数值"),
        ("en", "PS-02", "The standard demands the measure; it sets no number."),
        ("zh", "LG-02", "U 出处待核"),
        ("en", "LG-02", "U source to be verified"),
        ("zh", "LG-02", "《中华人民共和国网络安全法》（2025年修正） 第二十三条（三） 法律法规 V1 已核全文"),
        ("en", "LG-02", "Cybersecurity Law of the PRC (as amended in 2025) Art. 23(3) Law V1"),
        ("zh", "PS-02", "7.1.4.4 b / 8.1.4.4 b 国家标准 V2 已核引文"),
        ("zh", "FW-05", "该项未引用法律法规或标准"),
        ("en", "LG-08", "Assessors' field guide for level 3 Assessors' guide V3 described by others"),
    ],
)  # fmt: skip
def test_sources_are_cited_with_their_kind_and_grade(sample, lang, check, words):
    page = sample.page(sample.make(), lang)
    assert words in check_of(page, check).text


def test_a_grade_or_basis_that_is_not_known_is_not_taken_for_verified(sample):
    cite = sample.findings[0].citations[0]
    odd = type(cite)(cite.key, "art 9", "DECREE", "V9", cite.title)
    text = sample.page(sample.make((sample.finding("X-1", Status.FAIL, citations=(odd,), basis="OWN"),))).text  # fmt: skip
    assert "art 9 DECREE U source to be verified" in text
    assert "OWN" in text


@pytest.mark.parametrize(
    ("clause", "zh"),
    [
        ("10", "第十条"), ("14", "第十四条"), ("20", "第二十条"), ("61", "第六十一条"),
        ("100", "第一百条"), ("101", "第一百零一条"), ("110", "第一百一十条"),
        ("23(3)", "第二十三条（三）"), ("7 (3)", "7 (3)"), ("", "《法》 法律法规"),
    ],
)  # fmt: skip
def test_articles_of_law_are_numbered_as_in_chinese_law(sample, clause, zh):
    cite = type(sample.findings[0].citations[0])("L", clause, "LAW", "V1", Text("Law", "《法》"))
    page = sample.page(sample.make((sample.finding("X-1", Status.FAIL, citations=(cite,)),)), "zh")
    assert zh in page.one("ul", "cites").text


# ---- evidence


def folded(page, check):
    """The evidence of a check's findings, as (from, [(line number, text)])."""
    return [
        (
            excerpt.one("p", "from").text,
            [(line.one("i").text, line.one("code").text) for line in excerpt.all("li")],
        )
        for excerpt in check_of(page, check).all("div", "excerpt")
    ]


def test_evidence_is_quoted_with_its_line_numbers(sample):
    page = sample.page(sample.make())
    [(source, lines)] = folded(page, "PS-02")
    assert [number for number, _ in lines] == ["1", "2", "3", "4", "⋮", "6"]
    assert "redis-server" in lines[3][1]
    assert "java" in lines[5][1]
    assert source == "net.sockets lines 1–4, 6 command ss -H -tulnp , exit status 0, 0.02 s, annex A, no. 1"  # fmt: skip
    assert [lines for _, lines in folded(page, "LG-02")] == [[("2", "rotate 4"), ("3", "weekly")]]


def test_a_whole_section_is_shown_up_to_its_limit(sample):
    page = sample.page(sample.make())
    [(source, lines), (empty, none)] = folded(page, "FW-01")
    assert "firewall.iptables whole" in source
    assert [number for number, _ in lines] == [str(number) for number in range(1, 41)]
    assert none == []
    assert "firewall.nft whole" in empty
    check = check_of(page, "FW-01")
    assert "33 more lines are not shown here" in check.text
    assert "it is empty (0 bytes)" in check.text


def test_the_same_long_quotation_is_printed_once(sample):
    page = sample.page(sample.make())
    again = page.all("div", "again")
    assert len(again) == 1
    assert again[0].one("p", "elsewhere").text == "The same quotation is printed under FW-01."
    css = (STATIC / "report.css").read_text()
    assert re.search(r"@media print.*\.again \.quote.*display: none", css, re.DOTALL)


@pytest.mark.parametrize("gap", Gap)
def test_a_gap_is_shown_for_what_it_is(sample, lang, gap):
    name = "some.section"
    sections = (sample.section(name, gap=gap, exit_status=1, stderr=b"why it failed\n"),)
    findings = (sample.finding("X-1", Status.UNKNOWN, quotes=(Quote(name),)),)
    page = sample.page(sample.make(findings, sections=sections), lang)
    [(source, lines)] = folded(page, "X-1")
    words = {
        Gap.ABSENT: "主机上不存在", Gap.NO_TOOL: "主机上没有所需程序", Gap.DENIED: "权限不足",
        Gap.TIMEOUT: "超时中止", Gap.TRUNCATED: "超出大小上限，已截断", Gap.FAILED: "命令执行失败",
        Gap.LOST: "采集中断，内容缺失", Gap.NOT_COLLECTED: "未采集",
    }  # fmt: skip
    if lang == "zh":
        assert words[gap] in source
        assert gap is Gap.ABSENT or words[gap] in page.one("table", "manifest").text
    assert lines == [("1", "why it failed")]


@pytest.mark.parametrize(("complete", "word"), [(True, "not collected"), (False, "lost")])
def test_a_section_that_is_not_in_the_evidence_is_not_hidden(sample, complete, word):
    findings = (sample.finding("X-1", Status.UNKNOWN, quotes=(Quote("never.read"),)),)
    page = sample.page(sample.make(findings, complete=complete))
    [(source, _)] = folded(page, "X-1")
    assert source.startswith(f"never.read {word}")


def test_quotes_are_bounded(sample):
    sections = tuple(sample.section(f"s.{n}", "x" * 1000 + "\n" + "y\n" * 500) for n in range(30))
    quotes = tuple(Quote(section.name, 1, 10**9) for section in sections)
    findings = (sample.finding("X-1", Status.FAIL, quotes=quotes),)
    data = sample.render(sample.make(findings, sections=sections), "en")
    assert len(data) < 150_000
    assert b"18 more sections are quoted" in data
    assert b"[600 more characters]" in data
    assert b"461 more lines" in data


def test_the_evidence_follows_its_fold_so_that_any_browser_prints_it(sample):
    page = sample.page(sample.make())
    assert all(not fold.all("div", "excerpt") for fold in page.all("details"))
    css = (STATIC / "report.css").read_text()
    screen, paper = css.split("@media print")
    assert "details:not([open]) + .folded { display: none; }" in screen
    assert ".folded { display: block !important; }" in paper
    assert "thead { display: table-header-group; }" in paper


def test_the_manifest_lists_every_section_with_its_hash(sample, lang):
    page = sample.page(sample.make(), lang)
    for number, section in enumerate(sample.sections, 1):
        row = page.by_id(f"h1-s{number}")
        assert section.name in row.text
        if section.gap is Gap.ABSENT:
            assert row in page.one("ul", "absent").content
            continue
        cells = [cell.text for cell in row.all("td")]
        assert cells[4] == str(len(section.stdout))
        if section.stdout:
            assert cells[6] == hashlib.sha256(section.stdout).hexdigest()
    assert "audit-agent verify" in page.one("section", "verify").text
    assert sample.sha in page.one("section", "verify").text


# ---- languages


def chrome(page):
    """The text of the page without what hosts and commands say."""

    def walk(element):
        classes = element.attrs.get("class", "").split()
        if element.tag in {"style", "code"} or {"raw", "quote", "cmd", "hash"} & set(classes):
            return
        for child in element.content:
            if isinstance(child, str):
                yield child
            else:
                yield from walk(child)

    return " ".join(" ".join(walk(page)).split())


def test_the_english_report_has_no_chinese_of_its_own(sample, any_results):
    page = sample.page(any_results, "en")
    assert page.one("html").attrs["lang"] == "en"
    assert not HAN.search(chrome(page))


def test_the_chinese_report_has_no_english_of_its_own(sample, any_results):
    page = sample.page(any_results, "zh")
    assert page.one("html").attrs["lang"] == "zh-CN"
    text = chrome(page)
    known = {
        "web1.example.cn", "zhang.wei@bastion", "Debian", "GNU/Linux", "bookworm", "UTC", "SHA-256",
        "root", "ops", "uid", "audit-agent", "sudo", "UID", "GB/T", "CA/", "IPv6", "IPv4", "default",
        "redis-server", "Elasticsearch", "mysqld", "toor", "accounts.shadow", "logs.journal",
        "--sudo", "--ask-sudo-password", "A", "B", "V1", "V2", "V3", "U", "x", "b", "db1", "old",
        "some-new-reason", "SSH", "ops@192.0.2.10", "db8",
    }  # fmt: skip
    text = re.sub(r"\b[A-Z]{2,3}-\d\d\b|2001:\S+", "", text)  # identifiers and addresses
    words = set(re.findall(r"(?<![\d-])[A-Za-z-][A-Za-z0-9@./-]*", text))
    assert words <= known, words - known


# ---- hosts


def test_several_hosts_have_an_index_and_a_part_each(sample, lang):
    page = sample.page(sample.make(hosts=2, unreachable=UNREACHABLE), lang)
    index, lost = page.all("table", "index")
    assert len(index.one("tbody").all("tr")) == 2
    assert len(page.all("article", "host")) == 2
    assert len(page.all("table", "manifest")) == 2
    assert [row.text for row in lost.one("tbody").all("tr")] == {
        "en": [
            "db1 10.0.0.7 host key not known db1: SHA256:abc is not in known_hosts",
            "old 10.0.0.8 some-new-reason it did not work",
        ],
        "zh": [
            "db1 10.0.0.7 主机密钥未知 db1: SHA256:abc is not in known_hosts",
            "old 10.0.0.8 some-new-reason it did not work",
        ],
    }[lang]
    tiles = page.one("section", "fleet").all("li", "tile")
    assert tiles[0].one("b").text == "10"


def test_one_host_beside_an_unreachable_one_is_a_fleet(sample):
    page = sample.page(sample.make(unreachable=UNREACHABLE[:1]))
    assert "db1" in page.one("section", "fleet").text
    assert len(page.all("article", "host")) == 1


def test_no_host_at_all_is_no_good_news(sample):
    page = sample.page(sample.make(hosts=0, unreachable=UNREACHABLE))
    assert page.one("h1").text == "No host was audited"
    assert not page.all("li", "tile")


# ---- hostile hosts

NASTY = [
    "<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "'; } body { display: none } /*",
    "</style><script>alert(1)</script>", "--><h1>pass</h1><!--", "{{ 7 * 7 }}{% raw %}{{ ''.__class__ }}",
    "&lt;b&gt;&#x3c;", "]]>", "\x1b[2J\x1b[1;31mred", "\u202egnp.exe\u2066", "a\x00b\x07\x7f\x9b", "\ufeff\u200b\u200d",
    "\r\nSet-Cookie: x", "\ud800", "z" * 5000, "e" + "\u0301" * 300, "\u2028\u2029",
]  # fmt: skip


def hostile(sample, text):
    """Results in which a host says `text` wherever it can say something."""
    words = Text(text, text)
    finding = sample.finding(
        "X-1", Status.FAIL, subject=text, summary=words, observed=text, commands=(text,),
        remediation=words, quotes=(Quote("s", 1, 1), Quote(f"n{text}")),
    )  # fmt: skip
    line = text.replace("\n", " ").encode("utf-8", "replace")
    return sample.make(
        (finding,),
        sections=(
            sample.section("s", line + b"\n\xff\xfe\n", command=text, stderr=line, gap=Gap.FAILED),
        ),
        identity=Identity(text or "h", "", (text,)),
        privilege=Privilege(text, 1000),
        target=text,
        address=text,
        complete=False,
        interrupted=text or "x",
        unreachable=(Unreachable(text, text, text, text),),
    )


def skeleton(element):
    return [
        (e.tag, sorted(e.attrs.items())) for e in element.walk() if e.tag not in {"style", "meta"}
    ]


@pytest.mark.parametrize("text", NASTY)
def test_a_host_cannot_write_markup(sample, lang, text):
    results = hostile(sample, text)
    data = sample.render(results, lang)
    page = sample.page(results, lang)
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]", data.decode())  # fmt: skip
    assert not page.all("script") + page.all("img")
    assert len(page.all("style")) == 2
    seal.verify(data)


def test_what_is_invisible_is_shown(sample):
    text = sample.page(hostile(sample, "a\x1b[2J\u202eb\x00\x7f")).text
    assert "a␛[2J‹U+202E›b␀␡" in text


def test_chinese_tabs_and_wide_spaces_stay_as_they_are(sample):
    sections = (sample.section("s", "业务\u3000一\t二 £ 𠮷 🙂\n"),)
    findings = (sample.finding("X-1", Status.FAIL, quotes=(Quote("s", 1, 1),)),)
    data = sample.render(sample.make(findings, sections=sections), "zh").decode()
    assert "业务\u3000一\t二 £ 𠮷 🙂" in data


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.text(max_size=60))
def test_whatever_a_host_says_the_page_has_the_same_elements(sample, text):
    if not text.strip() or len({"s", f"n{text}"}) < 2:
        text = "plain"
    plain = sample.page(hostile(sample, "plain"))
    said = sample.page(hostile(sample, text))
    assert skeleton(said) == skeleton(plain)


@pytest.mark.parametrize(
    "name", ['"; } body { display: none } /*', "\\", "a\nb", "</style>", "主机"]
)
def test_a_host_name_in_the_running_head_stays_a_string(sample, name):
    page = sample.page(sample.make(identity=Identity(name)), "zh")
    css = page.all("style")[1].text
    assert re.fullmatch(
        r'@page \{( @(top|bottom)-(left|right) \{ content: ("(\\[0-9a-f]{6}|[A-Za-z0-9])*"|counter\(page\) " / " counter\(pages\)); \}){4} \}',
        css,
    )


# ---- what a reader with little time or another eye needs


def test_status_colours_have_contrast():
    css = (STATIC / "report.css").read_text()
    colours = dict(re.findall(r"--([a-z_]+): (#[0-9a-f]{6})", css))
    tints = dict(re.findall(r"\.s-(\w+) \{ --c: [^;]+; --t: (#[0-9a-f]{6})", css))
    assert set(tints) == set(Status)

    def luminance(colour):
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        r, g, b = (p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
        return 0.2126 * r + 0.7152 * g + 0.0722 * b

    def contrast(one, other):
        high, low = sorted([luminance(one), luminance(other)], reverse=True)
        return (high + 0.05) / (low + 0.05)

    for name in [*Status, "ink", "dim", "brand"]:
        for back in ["#ffffff", tints.get(name, colours["soft"]), colours["soft"]]:
            assert contrast(colours[name], back) >= 4.5, (name, back)


def test_headings_do_not_skip_a_level(sample, any_results, lang):
    page = sample.page(any_results, lang)
    levels = [int(e.tag[1]) for e in page.walk() if re.fullmatch("h[1-6]", e.tag)]
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


def test_times_keep_their_offset(sample):
    when = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.timezone(-dt.timedelta(hours=3, minutes=30)))
    page = sample.page(sample.make(collected_at=when))
    assert "2026-01-02 03:04:05 (UTC-03:30)" in page.one("dl", "facts").text


def test_severity_has_a_word_each(sample, lang):
    findings = tuple(sample.finding(f"X-{s.rank}", Status.PASS, severity=s) for s in Severity)
    words = {e.text for e in sample.page(sample.make(findings), lang).all("span", "sev")}
    assert len(words) == 5
