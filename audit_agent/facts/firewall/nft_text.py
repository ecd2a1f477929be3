"""nft's own language, brought to the form of its JSON: for hosts whose nft has none, and for files.

What is not understood in a rule becomes a statement that nobody understands, so that the rule may
do anything; what is not understood outside of rules is a problem.
"""

import re
from collections.abc import Callable, Sequence

from audit_agent.facts.firewall.iptables import Problem
from audit_agent.facts.firewall.jsonvalues import single
from audit_agent.facts.firewall.nft import Json, Lines, from_objects
from audit_agent.facts.firewall.nft_tokens import Token, tokens
from audit_agent.facts.firewall.rules import Table
from audit_agent.model import Quote

_PRIORITIES = {"raw": -300, "mangle": -150, "dstnat": -100, "filter": 0, "security": 50,
               "srcnat": 100}  # fmt: skip
_BRIDGE_PRIORITIES = {"dstnat": -300, "filter": -200, "out": 100, "srcnat": 300}
_FAMILIES = {"ip", "ip6", "inet", "bridge", "netdev", "arp"}
_PAYLOADS = {"ip", "ip6", "tcp", "udp", "udplite", "sctp", "dccp", "th", "icmp", "icmpv6", "igmp",
             "esp", "ah", "comp", "ether", "arp", "vlan", "gre"}  # fmt: skip
_META = {"iif", "iifname", "oif", "oifname", "mark", "pkttype", "skuid", "skgid", "iiftype",
         "oiftype", "iifgroup", "oifgroup", "cgroup", "nfproto", "l4proto", "protocol", "length",
         "priority", "nftrace", "cpu", "time", "day", "hour", "rtclassid"}  # fmt: skip
_BITS = {"and": "&", "or": "|", "xor": "^", "&": "&", "|": "|", "^": "^"}
_COMPARED = {"==": "==", "!=": "!=", "<": "<", ">": ">", "<=": "<=", ">=": ">=", "!": "!",
             "eq": "==", "ne": "!=", "lt": "<", "gt": ">", "le": "<=", "ge": ">="}  # fmt: skip
_ENDS = {"\n", ";", "}"}
_VERDICTS = {"accept", "drop", "return", "continue"}
_UNDECIDED = {"socket", "osf", "rt", "ipsec", "exthdr", "hbh", "dst", "frag", "srh", "mh", "jhash",
              "symhash"}  # fmt: skip


def parse(
    lines: Sequence[str], section: str, *, listing: bool = False
) -> tuple[list[Table], list[Problem]]:
    """The tables of `nft list ruleset` (`listing`), or those that a file of commands leaves."""
    reader = _Reader(tokens(lines, listing=listing), section)
    reader.read()
    tables, _ = from_objects(reader.objects, reader.lines)
    return tables, reader.problems


class _NotNft(Exception):  # noqa: N818 - reads as what it says
    """The next token is not what the language has there; the message is its text."""


class _Reader:
    """A list of tokens and the place in it."""

    def __init__(self, found: list[Token], section: str) -> None:
        self.objects: list[dict[str, Json]] = []
        self.lines: Lines = {}
        self.problems: list[Problem] = []
        self._tokens = found
        self._at = 0
        self._section = section
        self._handle = 0

    # The stream of tokens.

    @property
    def _text(self) -> str:
        return self._tokens[self._at].text if self._at < len(self._tokens) else ""

    @property
    def _quoted(self) -> bool:
        return self._at < len(self._tokens) and self._tokens[self._at].quoted

    @property
    def _line(self) -> int:
        return self._tokens[min(self._at, len(self._tokens) - 1)].line if self._tokens else 0

    def _next(self) -> str:
        if self._at >= len(self._tokens):
            raise _NotNft("")
        text = self._text
        self._at += 1
        return text

    def _take(self, *texts: str) -> bool:
        """Whether the next token is one of these, which is then behind us."""
        if self._text in texts and not self._quoted and self._at < len(self._tokens):
            self._at += 1
            return True
        return False

    def _expect(self, text: str) -> None:
        if not self._take(text):
            raise _NotNft(self._text)

    def _blank(self) -> None:
        while self._take("\n", ";"):
            pass

    def _skip(self) -> str:
        """Goes to the end of this statement, over any brackets; returns its words."""
        words: list[str] = []
        depth = 0
        while self._at < len(self._tokens):
            text = self._text
            if depth == 0 and text in _ENDS and not self._quoted:
                break
            depth += (text == "{") - (text == "}")
            words.append(text)
            self._at += 1
        return " ".join(words)

    # Commands and blocks.

    def read(self) -> None:
        """The whole text."""
        while self._at < len(self._tokens):
            self._blank()
            start = self._at
            if self._at >= len(self._tokens):
                break
            try:
                self._command()
            except (_NotNft, RecursionError):
                self._at = max(start, self._at)
                self._problem(self._skip())
            if self._at == start:
                self._problem(self._next())

    def _problem(self, text: str) -> None:
        quote = Quote(self._section, self._line, self._line)
        self.problems.append(Problem(text, quote))

    def _command(self) -> None:
        verb = "add"
        if self._text in {"add", "create", "insert", "flush", "delete", "destroy", "include"}:
            verb = self._next()
        if verb in {"flush", "delete", "destroy"}:
            self._flush(verb)
        elif verb == "include":
            self._skip()
        elif self._take("table"):
            family, name = self._named()
            self._table(family, name)
        elif self._text in {"chain", "rule", "set", "map", "element"}:
            self._added(self._next(), verb)
        else:
            raise _NotNft(self._text)

    def _named(self) -> tuple[str, str]:
        family = self._next() if self._text in _FAMILIES else "ip"
        return family, self._next()

    def _flush(self, verb: str) -> None:
        """`flush ruleset` and the taking away of tables empty what was read before."""
        if self._take("ruleset"):
            if self._text in _FAMILIES:
                raise _NotNft(self._text)
            self.objects.clear()
        elif self._take("table"):
            family, name = self._named()
            self.objects = [
                each
                for each in self.objects
                if not _of(each, family, name) or (verb == "flush" and "rule" not in each)
            ]
        else:
            raise _NotNft(self._text)

    def _added(self, kind: str, verb: str) -> None:
        family, table = self._named()
        name = self._next()
        if kind == "rule":
            self._rule(family, table, name, first=verb == "insert")
        elif kind == "chain":
            body: dict[str, object] = {"family": family, "table": table, "name": name}
            self._object("chain", body)
            if self._take("{"):
                self._chain(body)
        elif kind == "element":
            elements = self._set_body()
            self._object(
                "element", {"family": family, "table": table, "name": name, "elem": elements}
            )
        else:
            self._set(kind, family, table, name)

    def _object(self, kind: str, body: dict[str, object]) -> None:
        """A table or chain that is declared twice stays the one it is."""
        known = {"table", "chain"}
        if kind in known and any(
            each.get(kind, {}).get("name") == body["name"]
            and each[kind].get("family") == body["family"]
            and each[kind].get("table") == body.get("table")
            for each in self.objects
        ):
            self.objects.append({f"again {kind}": body})
            return
        self.objects.append({kind: body})

    def _table(self, family: str, name: str) -> None:
        body: dict[str, object] = {"family": family, "name": name}
        self._object("table", body)
        if not self._take("{"):
            return
        while not self._take("}"):
            self._blank()
            if self._take("}"):
                return
            if self._at >= len(self._tokens):
                raise _NotNft("")
            if self._take("flags"):
                body["flags"] = self._skip().replace(" ", "").split(",")
            elif self._take("chain"):
                chain: dict[str, object] = {"family": family, "table": name, "name": self._next()}
                self._object("chain", chain)
                self._expect("{")
                self._chain(chain)
            elif self._text in {"set", "map"}:
                kind = self._next()
                self._set(kind, family, name, self._next())
            else:
                self._other()

    def _other(self) -> None:
        """Counters, quotas, helpers, flow tables and comments: nothing that decides."""
        start = self._at
        self._skip()
        if self._at == start:
            raise _NotNft(self._text)

    def _chain(self, body: dict[str, object]) -> None:
        family, table, name = str(body["family"]), str(body["table"]), str(body["name"])
        while True:
            self._blank()
            if self._take("}"):
                return
            if self._at >= len(self._tokens):
                raise _NotNft("")
            if self._text == "type" and not self._quoted:
                self._base(body)
            elif self._take("policy"):
                body["policy"] = self._next()
            elif self._take("comment"):
                self._next()
            else:
                self._rule(family, table, name, first=False)

    def _base(self, body: dict[str, object]) -> None:
        quote = Quote(self._section, self._line, self._line)
        key = (str(body["family"]), str(body["table"]), str(body["name"]), 0)
        self.lines[key] = (quote, "")
        self._expect("type")
        body["type"] = self._next()
        self._expect("hook")
        body["hook"] = self._next()
        devices: list[str] = []
        while not self._take("priority"):
            if self._text in _ENDS:
                raise _NotNft(self._text)
            word = self._next()
            if word not in {"device", "devices", "=", "{", "}", ","}:
                devices.append(word)
        body["dev"] = devices
        body["prio"] = self._priority(str(body["family"]))

    def _priority(self, family: str) -> int:
        names = _PRIORITIES | _BRIDGE_PRIORITIES if family == "bridge" else _PRIORITIES
        word = self._next()
        words = "" if self._text in _ENDS else self._skip().replace(" ", "")
        try:
            return names[word] + int(words or 0) if word in names else int(word + words)
        except ValueError as error:
            raise _NotNft(word) from error

    def _set(self, kind: str, family: str, table: str, name: str) -> None:
        body: dict[str, object] = {"family": family, "table": table, "name": name}
        self._object(kind, body)
        self._expect("{")
        while True:
            self._blank()
            if self._take("}"):
                return
            if self._at >= len(self._tokens):
                raise _NotNft("")
            if self._take("elements"):
                self._expect("=")
                body["elem"] = self._set_body()
            else:
                self._skip()

    # Rules.

    def _rule(self, family: str, table: str, chain: str, *, first: bool) -> None:
        """One rule, to the end of its line; it is kept whatever it says."""
        start, line = self._at, self._line
        if self._text in {"position", "index", "handle"} and not self._quoted:
            raise _NotNft(self._text)
        statements: list[Json] = []
        try:
            while self._text not in _ENDS or self._quoted:
                if self._at >= len(self._tokens):
                    break
                statements.append(self._statement())
        except (_NotNft, RecursionError) as what:
            statements.append({"not understood": str(what)})
        self._skip()
        words = " ".join(
            f'"{token.text}"' if token.quoted else token.text
            for token in self._tokens[start : self._at]
            if token.text != "\n"
        )
        self._handle += 1
        last = self._tokens[self._at - 1].line if self._at > start else line
        self.lines[family, table, chain, self._handle] = (Quote(self._section, line, last), words)
        rule: dict[str, object] = {
            "family": family, "table": table, "chain": chain, "handle": self._handle,
            "expr": statements,
        }  # fmt: skip
        position = len(self.objects)
        if first:
            position = next(
                (
                    index
                    for index, each in enumerate(self.objects)
                    if "rule" in each
                    and _of(each, family, table)
                    and each["rule"]["chain"] == chain
                ),
                position,
            )
        self.objects.insert(position, {"rule": rule})

    def _statement(self) -> Json:
        word = self._text
        if self._quoted:
            raise _NotNft(word)
        if word in {*_VERDICTS, "notrack"}:
            self._at += 1
            return {word: None}
        readers: dict[str, Callable[[], Json]] = {
            "jump": self._jump, "goto": self._jump, "reject": self._reject, "log": self._log,
            "counter": self._counter, "comment": self._comment, "limit": self._limit,
            "quota": self._quota, "masquerade": self._nat, "snat": self._nat, "dnat": self._nat,
            "redirect": self._nat, "add": self._dynamic, "update": self._dynamic,
            "set": self._dynamic, "delete": self._dynamic, "flow": self._rest, "dup": self._rest,
            "last": self._rest,
        }  # fmt: skip
        if word in readers:
            return readers[word]()
        if word in _UNDECIDED or self._ahead in {"option", "exthdr"}:
            return self._undecided(word, {*readers, *_VERDICTS})
        return self._match()

    @property
    def _ahead(self) -> str:
        return self._tokens[self._at + 1].text if self._at + 1 < len(self._tokens) else ""

    def _undecided(self, word: str, ends: set[str]) -> Json:
        """A match on something that addresses do not decide, or the writing of a TCP option."""
        words: list[str] = []
        while self._text not in (ends - {"set"}) | _ENDS or (self._quoted and words):
            words.append(self._next())
        name = "tcp option" if words[:2] == ["tcp", "option"] else word
        if "set" in words:
            return {"mangle": {"key": {name: {}}, "value": None}}
        return {"match": {"op": "==", "left": {name: {}}, "right": words[-1]}}

    def _verdict(self) -> Json:
        word = self._text
        if word in {"jump", "goto"}:
            return self._jump()
        if word not in _VERDICTS:
            raise _NotNft(word)
        self._at += 1
        return {word: None}

    def _jump(self) -> Json:
        kind = self._next()
        return {kind: {"target": self._next()}}

    def _reject(self) -> Json:
        self._next()
        if not self._take("with"):
            return {"reject": None}
        kind = "tcp reset" if self._text == "tcp" else self._text
        self._skip_words()
        return {"reject": {"type": kind}}

    def _skip_words(self) -> None:
        """What a final statement still has to say."""
        while self._text not in _ENDS and self._text != "comment":
            self._next()

    def _log(self) -> Json:
        self._next()
        while self._text in {"prefix", "level", "group", "snaplen", "queue-threshold", "flags"}:
            option = self._next()
            self._next()
            while option == "flags" and (self._take(",") or self._text in _LOG_FLAGS):
                if self._text in _LOG_FLAGS:
                    self._at += 1
        return {"log": None}

    def _counter(self) -> Json:
        self._next()
        if self._take("packets"):
            self._next()
            self._expect("bytes")
            self._next()
        elif self._take("name") or self._quoted:
            self._next()
        return {"counter": None}

    def _comment(self) -> Json:
        self._next()
        self._next()
        return {"comment": None}

    def _limit(self) -> Json:
        self._next()
        if self._take("name"):
            self._next()
            return {"limit": None}
        self._expect("rate")
        self._take("over")
        while re.match(r"\d|[a-z]*bytes/|/", self._text) and not self._quoted:
            self._at += 1
        if self._take("burst"):
            self._next()
            self._take("packets", "bytes", "kbytes", "mbytes")
        return {"limit": None}

    def _quota(self) -> Json:
        self._next()
        if self._take("name"):
            self._next()
            return {"quota": None}
        self._take("over", "until")
        self._next()
        self._take("bytes", "kbytes", "mbytes", "gbytes")
        if self._take("used"):
            self._next()
            self._take("bytes", "kbytes", "mbytes", "gbytes")
        return {"quota": None}

    def _dynamic(self) -> Json:
        """`add @set { ip saddr limit rate 1/second }`: the braces may hold statements."""
        kind = self._next()
        if not self._text.startswith("@"):
            raise _NotNft(kind)
        name = self._next()
        self._expect("{")
        depth = 1
        words: list[str] = []
        while depth and self._at < len(self._tokens):
            depth += (self._text == "{") - (self._text == "}")
            words.append(self._next())
        with_statement = bool({"limit", "quota", "count", "connlimit"} & set(words))
        return {"set": {"op": kind, "set": name, "stmt": [True] if with_statement else []}}

    def _rest(self) -> Json:
        kind = self._next()
        self._skip_words()
        return {kind: None}

    def _nat(self) -> Json:
        kind = self._next()
        body: dict[str, object] = {}
        if self._text in {"ip", "ip6"}:
            body["family"] = self._next()
        prefixed = self._take("prefix", "addr", "interval")
        if self._take("addr") and not prefixed:
            prefixed = True
        if self._take(". port"):
            prefixed = True
        if self._take("to"):
            if kind in {"dnat", "redirect"}:
                self._target(body)
            else:
                self._skip_words()
        while self._take("random", "fully-random", "persistent", ","):
            pass
        if prefixed:
            raise _NotNft(f"{kind} prefix")
        return {kind: body or None}

    def _target(self, body: dict[str, object]) -> None:
        """`1.2.3.4:80`, `:80`, `[2001:db8::1]:80`, ranges of these, or a map."""
        if self._text.startswith(":") and len(self._text) > 1:
            body["port"] = _port(self._next()[1:])
            return
        if self._take(":"):
            body["port"] = _port(self._next())
            return
        if not re.match(r"[0-9a-fA-F:.\[]+[-\]:0-9a-fA-F.]*$", self._text):
            key = self._expression()
            self._expect("map")
            body["addr"] = {"map": {"key": key, "data": self._data()}}
            return
        address, port = _address_and_port(self._next())
        body["addr"] = _ranged(address)
        if not port and self._take(":"):
            port = self._next()
        if port:
            body["port"] = _port(port)

    def _data(self) -> object:
        if self._text.startswith("@"):
            return self._next()
        return {"set": self._set_body()}

    # Expressions.

    def _match(self) -> Json:
        left = self._expression()
        if self._take("vmap"):
            return {"vmap": {"key": left, "data": self._data()}}
        if left == {"ct count": None}:
            return {"ct count": None}
        if self._take("set"):
            return {"mangle": {"key": left, "value": self._value_set()}}
        operator = _COMPARED.get(self._text, "") if not self._quoted else ""
        if operator:
            self._at += 1
        right = self._right()
        if self._take("/"):
            left = {"&": [left, self._right()]}
            operator = operator or "=="
        if not operator:
            operator = "in" if _is_bits(left) and single(right)[0] != "set" else "=="
        return {"match": {"op": operator, "left": left, "right": right}}

    def _expression(self) -> object:
        """A field, fields joined by ".", or a field and a mask."""
        parts = [self._field()]
        while self._take("."):
            parts.append(self._field())
        left: object = {"concat": parts} if len(parts) > 1 else parts[0]
        while self._text in _BITS and not self._quoted:
            operator = _BITS[self._next()]
            left = {operator: [left, self._bits()]}
        return left

    def _bits(self) -> object:
        if self._take("("):
            words = [self._next()]
            while self._take("|", "or"):
                words.append(self._next())
            self._expect(")")
            return words
        text = self._next()
        return int(text, 0) if re.fullmatch(r"0x[0-9a-fA-F]+|\d+", text) else text

    def _field(self) -> Json:
        word = self._next()
        if word == "meta":
            return {"meta": {"key": self._next()}}
        if word == "ct":
            return self._conntrack()
        if word == "fib":
            return self._fib()
        if word in _PAYLOADS:
            return {"payload": {"protocol": word, "field": self._next()}}
        if word in _META:
            return {"meta": {"key": word}}
        if word == "numgen":
            while self._text not in {"map", "vmap", *_ENDS}:
                self._next()
            return {"numgen": {}}
        raise _NotNft(word)

    def _conntrack(self) -> Json:
        if self._take("count"):
            self._take("over")
            self._next()
            return {"ct count": None}
        body: dict[str, object] = {}
        if self._text in {"original", "reply"}:
            body["dir"] = self._next()
        key = self._next()
        if key in {"ip", "ip6"}:
            key = f"{key} {self._next()}"
        return {"ct": {**body, "key": key}}

    def _fib(self) -> Json:
        flags = [self._next()]
        while self._take("."):
            flags.append(self._next())
        return {"fib": {"flags": flags, "result": self._next()}}

    def _value_set(self) -> object:
        """What a statement sets: a number, another field, or a field and bits."""
        if re.fullmatch(r"0x[0-9a-fA-F]+|\d+", self._text):
            return int(self._next(), 0)
        if self._text in {"meta", "ct", *_META, *_PAYLOADS}:
            value = self._expression()
            if self._take("map"):
                return {"map": {"key": value, "data": self._data()}}
            return value
        return self._next()

    def _right(self) -> object:
        if self._text == "{" and not self._quoted:
            return {"set": self._set_body()}
        if self._text.startswith("@") and not self._quoted:
            return self._next()
        values = [self._value()]
        while self._take(","):
            self._blank()
            values.append(self._value())
        return values[0] if len(values) == 1 else values

    def _value(self) -> object:
        if self._take("("):
            inner = self._value()
            self._expect(")")
            return inner
        quoted = self._quoted
        text = self._next()
        if not text or (text in _ENDS and not quoted):
            raise _NotNft(text)
        value: object = text if quoted else _ranged(text)
        if not quoted and text in {"missing", "exists"}:
            value = text == "exists"
        while self._text in {"|", "or"} and not self._quoted:
            self._at += 1
            value = {"|": [value, self._next()]}
        if self._text == "." and not self._quoted:
            parts = [value]
            while self._take("."):
                parts.append(self._value_alone())
            return {"concat": parts}
        return value

    def _value_alone(self) -> object:
        quoted = self._quoted
        text = self._next()
        return text if quoted else _ranged(text)

    def _set_body(self) -> list[object]:
        """Elements in braces; of a map, pairs."""
        self._expect("{")
        found: list[object] = []
        while True:
            while self._take("\n", ",", ";"):
                pass
            if self._take("}"):
                return found
            if self._at >= len(self._tokens):
                raise _NotNft("")
            value = self._value()
            self._element_options()
            if self._take(":"):
                self._blank()
                found.append([value, self._mapped()])
                self._element_options()
            else:
                found.append(value)

    def _element_options(self) -> None:
        """Timeouts, counters, comments and limits of an element."""
        while self._text not in {",", "}", ":", "\n", ""} or self._quoted:
            self._next()

    def _mapped(self) -> object:
        if self._text in {*_VERDICTS, "jump", "goto"}:
            return self._verdict()
        return self._value()


_LOG_FLAGS = {"tcp", "sequence", "options", "ip", "skuid", "ether", "all"}


def _of(item: dict[str, Json], family: str, table: str) -> bool:
    [(kind, body)] = item.items()
    name = body.get("name") if kind in {"table", "again table"} else body.get("table")
    return (body.get("family"), name) == (family, table)


def _is_bits(left: object) -> bool:
    """Fields of which an implicit comparison asks for any of several bits."""
    fields = ({"ct": {"key": "state"}}, {"ct": {"key": "status"}})
    return left in fields or left == {"payload": {"protocol": "tcp", "field": "flags"}}


def _ranged(text: str) -> object:
    """`80-90` and `10.0.0.1-10.0.0.9` are ranges; `echo-request` is a name."""
    first, dash, last = text.partition("-")
    if dash and re.fullmatch(r"[0-9][0-9a-fA-Fx:./]*|[0-9a-fA-F]*:[0-9a-fA-F:.]*", first):
        return {"range": [first, last]}
    return text


def _port(text: str) -> object:
    first, dash, last = text.partition("-")
    if not (first.isdigit() and (last.isdigit() or not dash)):
        raise _NotNft(text)
    return {"range": [int(first), int(last)]} if dash else int(first)


def _address_and_port(text: str) -> tuple[str, str]:
    if text.startswith("["):
        addresses, _, port = text.rpartition("]")
        return addresses[1:].replace("]-[", "-"), port.removeprefix(":")
    if text.count(":") == 1:
        address, _, port = text.partition(":")
        return address, port
    return text, ""
