"""Hand-made results that hold every status, gap and length a report has to show."""

# ruff: noqa: E501, S104 - sentences in two languages; made-up listeners

import dataclasses
import datetime as dt
from collections.abc import Iterator
from html.parser import HTMLParser
from types import SimpleNamespace
from typing import Any

import pytest

from audit_agent import plugins
from audit_agent.model import (
    Citation,
    Evidence,
    Finding,
    Gap,
    HostReport,
    Identity,
    Privilege,
    Quote,
    Results,
    Section,
    Severity,
    Status,
    Text,
    Unreachable,
)

NOW = dt.datetime(2026, 11, 24, 14, 5, 33, tzinfo=dt.timezone(dt.timedelta(hours=8)))
SHA = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

CSL = Citation(
    "CSL-23-3", "23(3)", "LAW", "V1",
    Text("Cybersecurity Law of the PRC (as amended in 2025)", "《中华人民共和国网络安全法》（2025年修正）"),
)  # fmt: skip
GB = Citation(
    "GB22239", "7.1.4.4 b / 8.1.4.4 b", "STD", "V2",
    Text(
        "GB/T 22239-2019 Baseline for classified protection of cybersecurity",
        "GB/T 22239-2019《信息安全技术 网络安全等级保护基本要求》",
    ),
)  # fmt: skip
GUIDE = Citation(
    "ASSESS", "", "GUIDE", "V3",
    Text("Assessors' field guide for level 3", "等级保护第三级现场测评指导书"),
)  # fmt: skip
OPEN = Citation(
    "MPS82-7-3", "7(3)", "LAW", "U",
    Text("Provisions on Technical Measures for Internet Security (MPS Order 82)", "《互联网安全保护技术措施规定》（公安部令第82号）"),
)  # fmt: skip
RFC = Citation(
    "CAB-BR", "", "PRACTICE", "V3",
    Text("CA/Browser Forum Baseline Requirements", "CA/浏览器论坛《基线要求》"),
)  # fmt: skip

AREAS = {
    "firewall": Text("Firewall", "防火墙"),
    "ports": Text("Ports and services", "端口与服务"),
    "tls": Text("Certificates and TLS", "证书与加密传输"),
    "logs": Text("Logs", "日志"),
    "accounts": Text("Accounts and passwords", "账户与口令"),
}

SOCKETS = "\n".join(
    f"tcp LISTEN 0 511 {address}:{port} 0.0.0.0:* users:((\"{name}\",pid={port},fd=6))"
    for address, port, name in [
        ("0.0.0.0", 22, "sshd"), ("0.0.0.0", 80, "nginx"), ("0.0.0.0", 443, "nginx"),
        ("0.0.0.0", 6379, "redis-server"), ("127.0.0.1", 3306, "mysqld"),
        ("0.0.0.0", 9200, "java"), ("127.0.0.53", 53, "systemd-resolve"),
    ]
)  # fmt: skip
RULES = (
    "*filter\n:INPUT ACCEPT [0:0]\n"
    + "\n".join(
        f"-A INPUT -s 10.0.{n}.0/24 -p tcp -m tcp --dport {8000 + n} -m comment --comment 业务{n} -j ACCEPT"
        for n in range(70)
    )
    + "\nCOMMIT\n"
)
LOGROTATE = "/var/log/syslog {\n\trotate 4\n\tweekly\n\tmissingok\n\tcompress\n}\n"
LONG = "ssl_ciphers " + ":".join(f"ECDHE-RSA-AES{n}-GCM-SHA384" for n in range(40)) + ";"
NGINX = f"server {{\n    listen 443 ssl;\n    server_name www.example.cn;\n    {LONG}\n}}\n"
PASSWD = "root:x:0:0:root:/root:/bin/bash\ndaemon:x:1:1::/usr/sbin:/usr/sbin/nologin\ntoor:x:0:0::/root:/bin/sh\n"


def section(name: str, stdout: str | bytes = b"", **more: Any) -> Section:
    data = stdout.encode() if isinstance(stdout, str) else stdout
    base = {"command": name.removeprefix("file:"), "exit_status": 0, "duration": 0.02}
    return Section(name=name, stdout=data, **(base | more))


SECTIONS = (
    section("net.sockets", SOCKETS, command="ss -H -tulnp"),
    section("firewall.iptables", RULES, command="iptables-save"),
    section("firewall.nft", "", command="nft list ruleset"),
    section("file:/etc/logrotate.conf", LOGROTATE),
    section("file:/etc/nginx/sites-enabled/www.example.cn.conf", NGINX),
    section("file:/etc/passwd", PASSWD),
    section("accounts.shadow", gap=Gap.DENIED, exit_status=1, stderr=b"cat: /etc/shadow: Permission denied\n"),
    section("logs.journal", "Nov 01 first\n", gap=Gap.TRUNCATED, truncated=True),
    section("net.ufw", gap=Gap.NO_TOOL, exit_status=127, stderr=b"sh: ufw: not found\n"),
    section("file:/etc/redhat-release", gap=Gap.ABSENT, exit_status=None),
)  # fmt: skip


def finding(check: str, status: Status, **more: Any) -> Finding:
    """A finding; what is not said is plain."""
    area = more.pop("area", "ports")
    base: dict[str, Any] = {
        "severity": Severity.HIGH,
        "title": Text(f"Title of {check}", f"{check} 标题"),
        "subject": "",
        "summary": Text(f"Summary of {check}", f"{check} 概述"),
        "why": Text("Because.", "原因说明。"),
        "observed": "",
        "expected": Text("Something else", "应为其他状态"),
        "basis": "STD*",
        "citations": (GB,),
        "quotes": (),
        "remediation": None,
        "commands": (),
        "fingerprint": "0123456789abcdef",
    }
    return Finding(check=check, status=status, area=area, area_title=AREAS[area], **(base | more))


ROOT_AGAIN = Text(
    "Repeat the audit as root, or with --sudo or --ask-sudo-password.",
    "以 root 身份，或使用 --sudo、--ask-sudo-password 重新审计。",
)

FINDINGS = (
    finding(
        "FW-01", Status.FAIL, area="firewall",
        title=Text("Host firewall active", "主机防火墙启用"),
        summary=Text(
            "no packet filter rejects anything on input; 4 listeners are open to every address",
            "入站方向没有任何拒绝规则；4 个监听端口对任意地址开放",
        ),
        why=Text(
            "Without a host firewall every service that somebody starts is reachable at once from wherever the network lets packets through.",
            "没有主机防火墙时，任何新启动的服务只要网络可达，就会立即对外暴露。",
        ),
        observed="INPUT policy ACCEPT, 70 rules, 0 drop",
        expected=Text("a ruleset with a drop or reject decision is loaded on input", "入站方向已加载含拒绝动作的规则集"),
        citations=(CSL, GB),
        quotes=(Quote("firewall.iptables"), Quote("firewall.nft")),
        remediation=Text(
            "Allow what the declared services need, then set the default to drop. Keep a second session open while you do it.",
            "先放行已申报业务所需端口，再将默认策略设为拒绝。操作期间请保持另一个会话。",
        ),
        commands=("apt-get install nftables", "systemctl enable --now nftables", "nft list ruleset"),
    ),
    finding(
        "FW-03", Status.PASS, area="firewall", severity=Severity.HIGH,
        title=Text("No any-to-any accept", "无全通放行规则"),
        summary=Text("each of the 70 accept rules names a source and a port", "70 条放行规则均限定了来源与端口"),
        quotes=(Quote("firewall.iptables"),),
    ),
    finding(
        "FW-05", Status.NOT_APPLICABLE, area="firewall", basis="PRACTICE", citations=(),
        title=Text("IPv6 filtered like IPv4", "IPv6 与 IPv4 策略一致"),
        summary=Text("the host has no global IPv6 address", "主机没有全局 IPv6 地址"),
        quotes=(Quote("file:/etc/redhat-release"),),
    ),
    finding(
        "PS-01", Status.PASS, severity=Severity.INFO, basis="STD",
        title=Text("Listening-port inventory", "监听端口清单"),
        summary=Text("7 listeners, each with its process", "共 7 个监听端口，均已识别进程"),
        observed="22, 53, 80, 443, 3306, 6379, 9200",
        quotes=(Quote("net.sockets", 1, 7),),
    ),
    finding(
        "PS-02", Status.MANUAL,
        title=Text("No undeclared exposed port", "无未申报的对外端口"),
        summary=Text("no list of declared ports was given", "未提供已申报端口清单"),
        quotes=(Quote("net.sockets", 1, 4), Quote("net.sockets", 6, 6)),
        remediation=Text("Compare the exposed ports with those of your filing.", "请将对外端口与备案申报的端口逐一核对，并附核对记录。"),
    ),
    *(
        finding(
            "PS-03", Status.FAIL, severity=Severity.CRITICAL,
            title=Text("No high-risk port exposed", "高危端口未对外暴露"),
            subject=subject,
            summary=Text(f"{name} is reachable from any address", f"{name} 可从任意地址访问"),
            why=Text(
                "Data and management services on these ports are scanned for without pause; many answer without a password.",
                "这些端口上的数据与管理服务持续遭到扫描，且往往无需口令即可访问。",
            ),
            expected=Text("none, or loopback only", "无，或仅监听本地回环地址"),
            quotes=(Quote("net.sockets", line, line),),
            remediation=Text("Bind the service to loopback, or let only named sources reach it.", "将服务绑定到本地回环地址，或仅允许指定来源访问。"),
            commands=("ss -tlnp",),
        )
        for subject, name, line in [("0.0.0.0:6379", "redis-server", 4), ("0.0.0.0:9200", "Elasticsearch", 6)]
    ),
    finding(
        "PS-03", Status.PASS, severity=Severity.CRITICAL, subject="127.0.0.1:3306",
        title=Text("No high-risk port exposed", "高危端口未对外暴露"),
        expected=Text("none, or loopback only", "无，或仅监听本地回环地址"),
        why=Text(
            "Data and management services on these ports are scanned for without pause; many answer without a password.",
            "这些端口上的数据与管理服务持续遭到扫描，且往往无需口令即可访问。",
        ),
        summary=Text("mysqld listens on loopback only", "mysqld 仅监听本地回环地址"),
        quotes=(Quote("net.sockets", 5, 5),),
    ),
    finding(
        "TLS-02", Status.WARN, area="tls", severity=Severity.MEDIUM, basis="PRACTICE", citations=(RFC,),
        title=Text("Certificate not about to expire", "证书到期预警"),
        subject="/etc/ssl/www.example.cn.pem",
        summary=Text("expires in 19 days, on 2026-12-13", "将于 2026-12-13 到期，剩余 19 天"),
        observed="notAfter=2026-12-13T23:59:59Z",
        quotes=(Quote("file:/etc/nginx/sites-enabled/www.example.cn.conf", 2, 4),),
        remediation=Text("Renew it now and reload the server.", "请尽快续期并重新加载服务。"),
        commands=("certbot renew", "systemctl reload nginx"),
    ),
    finding(
        "LG-02", Status.FAIL, area="logs", basis="LAW", citations=(CSL, OPEN),
        title=Text("Configured retention of six months", "日志留存配置不少于六个月"),
        subject="/var/log/syslog",
        summary=Text("4 weekly rotations keep 28 days", "每周轮转、保留 4 份，仅可留存 28 天"),
        observed="weekly, rotate 4",
        expected=Text("184 days or more", "不少于 184 天"),
        quotes=(Quote("file:/etc/logrotate.conf", 2, 3),),
        remediation=Text("Keep 27 weekly files, and dates in their names.", "将保留份数改为 27，并启用按日期命名。"),
        commands=("sed -i 's/rotate 4/rotate 27/' /etc/logrotate.d/rsyslog",),
    ),
    finding(
        "LG-03", Status.UNKNOWN, area="logs", basis="LAW", citations=(CSL,),
        title=Text("Oldest record six months old", "实际最早日志满六个月"),
        summary=Text("logs.journal is larger than its limit and was cut", "logs.journal 超出大小上限，已被截断"),
        quotes=(Quote("logs.journal"),),
        remediation=Text("Confirm this control on the host by hand and attach what you saw.", "请在主机上人工核实该项，并附上佐证材料。"),
    ),
    finding(
        "LG-08", Status.ERROR, area="logs", severity=Severity.MEDIUM, citations=(GB, GUIDE),
        title=Text("Log files protected", "日志文件权限"),
        summary=Text(
            "The check itself failed; this is a fault of audit-agent, not of the host. Please report it",
            "检查程序自身出错；这是 audit-agent 的缺陷，与主机无关，请反馈",
        ),
        observed="ValueError: 0o9",
    ),
    finding(
        "AC-02", Status.FAIL, area="accounts", severity=Severity.CRITICAL,
        title=Text("Only root has UID 0", "仅 root 为 UID 0"),
        summary=Text("toor also have UID 0", "toor 的 UID 也为 0"),
        observed="root:0, toor:0",
        quotes=(Quote("file:/etc/passwd", 1, 1), Quote("file:/etc/passwd", 3, 3)),
        remediation=Text("Give each of these accounts a UID of its own.", "为这些账户分配各自的 UID。"),
        commands=("usermod -u NEW_UID NAME",),
    ),
    finding(
        "AC-03", Status.UNKNOWN, area="accounts", severity=Severity.CRITICAL, basis="STD",
        title=Text("No empty password", "无空口令账户"),
        summary=Text(
            "accounts.shadow could not be read: it takes more privilege than the audit had",
            "无法读取 accounts.shadow：本次审计的权限不足",
        ),
        observed="cat: /etc/shadow: Permission denied",
        quotes=(Quote("accounts.shadow"),),
        remediation=ROOT_AGAIN,
    ),
)  # fmt: skip


def evidence(sections: tuple[Section, ...] = SECTIONS, **more: Any) -> Evidence:
    base: dict[str, Any] = {
        "identity": Identity("web1.example.cn", SHA[::-1], ("192.0.2.10", "2001:db8::10")),
        "privilege": Privilege("ops", 1000),
        "target": "ops@192.0.2.10",
        "address": "192.0.2.10",
        "collected_at": NOW,
        "clock": "controller",
        "collector": "0.1.0",
        "complete": True,
        "interrupted": "",
    }
    return Evidence(sections={item.name: item for item in sections}, **(base | more))


def make(
    findings: tuple[Finding, ...] = FINDINGS,
    *,
    hosts: int = 1,
    unreachable: tuple[Unreachable, ...] = (),
    **more: Any,
) -> Results:
    host = HostReport(
        evidence=evidence(**more),
        evidence_sha256=SHA,
        system="Debian GNU/Linux 12 (bookworm)",
        findings=findings,
    )
    return Results(
        tool_version="0.1.0",
        started_at=NOW,
        auditor="zhang.wei@bastion",
        profile="default",
        profile_title=Text(
            "All licences; protection level not declared", "全部许可类别；未申报等保级别"
        ),
        hosts=(host,) * hosts,
        unreachable=unreachable,
    )


@dataclasses.dataclass
class Element:
    """An element of a page; `content` holds its texts and children in order."""

    tag: str
    attrs: dict[str, str]
    content: list["Element | str"] = dataclasses.field(default_factory=list)

    def walk(self) -> Iterator["Element"]:
        yield self
        for child in self.content:
            if isinstance(child, Element):
                yield from child.walk()

    def all(self, tag: str = "", cls: str = "") -> list["Element"]:
        return [
            element
            for element in self.walk()
            if tag in {"", element.tag}
            and (not cls or cls in element.attrs.get("class", "").split())
        ]

    def one(self, tag: str = "", cls: str = "") -> "Element":
        [found] = self.all(tag, cls)
        return found

    def by_id(self, ident: str) -> "Element":
        [found] = [element for element in self.walk() if element.attrs.get("id") == ident]
        return found

    @property
    def text(self) -> str:
        inner = (child if isinstance(child, str) else child.text for child in self.content)
        return " ".join(" ".join(inner).split())


class _Builder(HTMLParser):
    """Builds the tree and insists that every element is closed in its place."""

    VOID = frozenset({"meta", "input", "br"})

    def __init__(self) -> None:
        super().__init__()
        self.root = Element("", {})
        self.open = [self.root]
        self.comments: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"double attributes: {tag} {names}"
        element = Element(tag, {name: value or "" for name, value in attrs})
        self.open[-1].content.append(element)
        if tag not in self.VOID:
            self.open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open[-1].tag == tag, f"</{tag}> closes <{self.open[-1].tag}>"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.open[-1].content.append(data)

    def handle_comment(self, data: str) -> None:
        self.comments.append(data)


def parse(data: bytes) -> Element:
    builder = _Builder()
    builder.feed(data.decode())
    builder.close()
    assert builder.open == [builder.root], "an element is left open"
    assert len(builder.comments) == 1, "the seal is the only comment"
    return builder.root


@pytest.fixture
def sample() -> SimpleNamespace:
    """The makers of results, findings, sections and pages of this room."""
    render = plugins.renderer("html")
    return SimpleNamespace(
        make=make,
        finding=finding,
        section=section,
        evidence=evidence,
        findings=FINDINGS,
        sections=SECTIONS,
        sha=SHA,
        render=render,
        page=lambda results, lang="en": parse(render(results, lang)),
    )
