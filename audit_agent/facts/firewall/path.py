"""The packet path: from an interface through every base chain to a socket, for all sources at once.

A connection gets in if its first packet passes every base chain of every hook it meets, in both
engines, and if the answer passes on its way back. So the walk keeps, for each form the packet can
have taken (marks, translation), the atoms that may be there; an atom that may be accepted and may
be dropped is undecided. "May" errs to the larger side only, so what comes out as decided is
decided.
"""

import heapq
import itertools
from collections.abc import Mapping
from typing import TypeVar

import msgspec
from msgspec import Struct

from audit_agent.facts.firewall.ranges import Ranges, contains, size
from audit_agent.facts.firewall.rules import (
    Action,
    Cases,
    Chain,
    Condition,
    CopyMark,
    DestinationIn,
    DestinationKind,
    InterfaceIn,
    LoseMark,
    Opaque,
    OriginalIn,
    Packet,
    Rule,
    SetMark,
    SourceKind,
    Translate,
    Unknown,
    Untrack,
    Verdict,
    conditions,
)
from audit_agent.facts.firewall.ruleset import CONNTRACK, Layout, Plain, Ruleset
from audit_agent.model import Quote

UDP = 17
TOO_MUCH = "more rules than can be followed"
_BUDGET = 200_000
"""Rules looked at for one question; beyond that it is undecided (rules can nest without end)."""

LOOPBACK: dict[int, Ranges] = {4: ((127 << 24, (128 << 24) - 1),), 6: ((1, 1),)}

_DEPTH = 64
_FORMS = 64


class Decision(Struct, frozen=True):
    """A verdict ("accept", "drop", "translate") that a chain gave to some atoms.

    `rule` is None where the chain's policy decided. `hook` is where the packet was: "input", or
    "output" on the way back. For the atoms in `unsure` it is not decided whether the rule applies.
    """

    chain: Chain
    rule: Rule | None
    verdict: str
    atoms: int
    hook: str


class Doubted(Struct, frozen=True):
    """Atoms for which it is not decided whether a rule applies, and the construct's name."""

    chain: Chain | None
    rule: Rule | None
    construct: str
    atoms: int


Arrival = tuple[int | None, int | None, bool]
"""Where a connection arrives: address, port (None: the one it was sent to), and whether here."""


class Fate(Struct, frozen=True):
    """What becomes of the atoms. An atom in both `passed` and `stopped` is undecided.

    `translated` says whether a rule sends some of them elsewhere.
    """

    passed: int
    stopped: int
    translated: bool
    arrivals: Mapping[Arrival, int]


class _Frame:
    """Where the walk is: a rule of a chain, what goes on to the next rule, what returns."""

    def __init__(self, chain: Chain, depth: int) -> None:
        self.chain = chain
        self.depth = depth
        self.rule = _NO_RULE
        self.stay: dict[Packet, int] = {}
        self.back: dict[Packet, int] = {}


_NO_RULE = Rule((), 0, "", Quote(""))


class Walk:
    """One question put to a ruleset. With `record`, it keeps who decided what, and what is unsure.

    A record of thousands of rules is large; so fates are kept, and records made when asked for.
    `gave_up` says that there were more rules than can be followed.
    """

    def __init__(self, ruleset: Ruleset, *, record: bool = False) -> None:
        self.decisions: list[Decision] = []
        self.doubts: list[Doubted] = []
        self.gave_up = False
        self._record = record
        self._rules = ruleset
        self._hooks = ruleset.there
        self._space = ruleset.space
        self._stopped = 0
        self._redirected = False
        self._budget = _BUDGET
        self._order = itertools.count(1)
        self._accepted: dict[Packet, int] = {}
        self._hook = ""

    def fate(self, packet: Packet, atoms: int | None = None) -> Fate:
        """What becomes of connections that begin with `packet`, for all atoms of the space."""
        flows = {packet: self._space.full if atoms is None else atoms}
        if self._rules.too_large:
            return self._given_up()
        self._bridges(packet)
        flows = self._ingress(packet, flows)
        flows = self._prerouting(flows)
        here, onward = self._routed(flows)
        arrivals: dict[Arrival, int] = {}
        for local, some in ((True, here), (False, onward)):
            hooks = ("input",) if local else ("forward", "postrouting")
            for final, going in self._through(hooks, some).items():
                port = final.port if final.port != packet.port else None
                key = (final.destination, port, local)
                arriving = self._answered(packet, final, going, local=local)
                if arriving:
                    arrivals[key] = arrivals.get(key, 0) | arriving
        passed = 0
        for arriving in arrivals.values():
            passed |= arriving
        if self._budget <= 0:
            return self._given_up()
        return Fate(passed, self._stopped, self._redirected, arrivals)

    @property
    def steps(self) -> int:
        """How many rules were looked at."""
        return _BUDGET - self._budget

    def _given_up(self) -> Fate:
        full = self._space.full
        self._doubt(None, None, TOO_MUCH, full)
        self.gave_up = True
        return Fate(full, full, self._redirected, {(None, None, True): full})

    def _through(self, hooks: tuple[str, ...], flows: dict[Packet, int]) -> dict[Packet, int]:
        for hook in hooks:
            for chain in self._hooks.base.get(hook, []):
                flows = self._base(chain, flows)
        return flows

    def _answered(self, first: Packet, final: Packet, atoms: int, *, local: bool) -> int:
        """The atoms whose answer may get back; a datagram needs none."""
        if self._rules.answers_pass or final.protocol == UDP:
            return atoms
        answer = msgspec.structs.replace(
            final,
            iif="" if local else final.oif,
            oif=first.iif,
            mark=0,
            state="invalid",
            answer=True,
        )
        self._hooks = self._rules.back
        flows = {answer: atoms}
        for hook in ("output",) if local else ("prerouting", "forward"):
            flows = self._tracking(hook, flows, final.state)
        flows = self._through(("postrouting",), flows)
        for chain in self._hooks.base.get("egress", []):
            if first.iif is None or first.iif in chain.devices:
                flows = self._base(chain, flows)
        self._hooks = self._rules.there
        back = 0
        for packet, some in flows.items():
            if packet.translated and packet.state == "untracked":
                self._stopped |= some
                self._doubt(None, None, "a translated connection is not tracked", some)
            back |= some
        return back

    def _tracking(self, hook: str, flows: dict[Packet, int], state: str) -> dict[Packet, int]:
        """A hook in which packets meet connection tracking.

        `state` is that of the connection's first packet, for an answer; "" for a first packet.
        """
        tracked = hook == "forward"
        known = {"": "new", "new": "established"}.get(state, "invalid")
        for chain in self._hooks.base.get(hook, []):
            if chain.priority > CONNTRACK and not tracked:
                flows, tracked = _recognised(flows, known), True
            flows = self._base(chain, flows)
        return flows if tracked else _recognised(flows, known)

    def _doubt(self, chain: Chain | None, rule: Rule | None, construct: str, atoms: int) -> None:
        if atoms and self._record:
            self.doubts.append(Doubted(chain, rule, construct, atoms))

    def _bridges(self, packet: Packet) -> None:
        """Chains of the bridge family see frames, which is not followed here."""
        if packet.bridged or packet.iif is None:
            for chain in self._rules.bridge:
                self._stopped |= self._space.full
                self._doubt(chain, None, f"bridge chain {chain.place}", self._space.full)

    def _ingress(self, packet: Packet, flows: dict[Packet, int]) -> dict[Packet, int]:
        below = self._rules.layout.lower.get(packet.iif or "", ())
        for chain in self._hooks.base.get("ingress", []):
            if packet.iif in chain.devices:
                flows = self._base(chain, flows)
            elif packet.iif is None or set(below) & set(chain.devices) or not chain.devices:
                self._base(chain, dict(flows))  # its drops count as possible; the rest goes on
                self._doubt(chain, None, f"ingress chain {chain.place}", self._space.full)
        return flows

    def _prerouting(self, flows: dict[Packet, int]) -> dict[Packet, int]:
        return self._tracking("prerouting", flows, "")

    def _routed(self, flows: dict[Packet, int]) -> tuple[dict[Packet, int], dict[Packet, int]]:
        """Parts the flows into those delivered here and those forwarded."""
        layout = self._rules.layout
        here: dict[Packet, int] = {}
        onward: dict[Packet, int] = {}
        for packet, atoms in flows.items():
            if packet.kind in {"local", ""} and self._delivered(packet, atoms):
                here[packet] = atoms
            if packet.kind == "local":
                continue
            if packet.kind == "":
                self._doubt(None, None, "translated to an address that is not known", atoms)
            if layout.forwarding is not True:
                self._stopped |= atoms
            if layout.forwarding is None:
                self._doubt(None, None, "whether the host forwards packets", atoms)
            if layout.forwarding is not False:
                oif = _connected(layout, packet.destination)
                onward[msgspec.structs.replace(packet, oif=oif, here=False)] = atoms
        return here, onward

    def _delivered(self, packet: Packet, atoms: int) -> bool:
        """Packets translated to a loopback address are only taken where route_localnet says so."""
        if packet.destination is None or not contains(LOOPBACK[packet.family], packet.destination):
            return True
        taken = self._rules.layout.localnet.get(packet.iif or "") if packet.family == 4 else None
        if taken is not True:
            self._stopped |= atoms
        if taken is None:
            self._doubt(None, None, "whether the interface takes packets for loopback", atoms)
        return taken is not False

    def _base(self, chain: Chain, flows: dict[Packet, int]) -> dict[Packet, int]:
        """One base chain; returns what it lets on to the next."""
        outer, self._accepted = self._accepted, {}
        self._hook = chain.hook
        for packet, atoms in flows.items():
            if chain.kind == "nat" and (packet.translated or packet.state != "new"):
                _add(self._accepted, packet, atoms)
                self._untranslated(chain, packet, atoms)
                continue
            for rest, some in self._chain(chain, packet, atoms, 0).items():
                self._policy(chain, rest, some)
        passed, self._accepted = self._accepted, outer
        return _merged(passed)

    def _untranslated(self, chain: Chain, packet: Packet, atoms: int) -> None:
        """Later packets of a connection whose first is not tracked may still be sent elsewhere."""
        if packet.state != "untracked" or packet.answer or packet.protocol == UDP:
            return
        if not self._rules.tracks_in_part:
            return
        probe = Walk(self._rules, record=True)
        probe._chain(chain, msgspec.structs.replace(packet, state="new"), atoms, 0)
        elsewhere = 0
        for decision in probe.decisions:
            elsewhere |= decision.atoms if decision.verdict == "translate" else 0
        self._stopped |= elsewhere
        self._doubt(chain, None, "translation of a connection that is not tracked", elsewhere)

    def _policy(self, chain: Chain, packet: Packet, atoms: int) -> None:
        if chain.policy == "drop":
            self._stopped |= atoms
            self._decide(chain, None, "drop", atoms)
        else:
            _add(self._accepted, packet, atoms)
            self._decide(chain, None, "accept", atoms)

    def _chain(self, chain: Chain, packet: Packet, atoms: int, depth: int) -> dict[Packet, int]:
        """Walks one chain; returns what falls off its end or returns from it."""
        frame = _Frame(chain, depth)
        index = self._rules.filter(chain)
        forms = {packet}
        pending: list[tuple[int, int, Packet]] = [(0, 0, packet)]
        waiting: dict[tuple[int, Packet], int] = {(0, packet): atoms}
        while pending:
            start, _, form = heapq.heappop(pending)
            rest = waiting.pop((start, form))
            for candidate in index.candidates(form, start):
                self._budget -= 1
                if isinstance(candidate, Plain):
                    hit = rest & candidate.atoms
                    rest ^= hit
                    if hit:
                        self._plainly(chain, candidate, form, hit)
                else:
                    frame.rule, frame.stay = chain.rules[candidate], {}
                    self._rule(frame, form, rest)
                    rest = frame.stay.pop(form, 0)
                    for changed, some in frame.stay.items():
                        kept = changed if len(forms) < _FORMS else _forgotten(changed)
                        forms.add(kept)
                        if (candidate + 1, kept) not in waiting:
                            heapq.heappush(pending, (candidate + 1, next(self._order), kept))
                        _add(waiting, (candidate + 1, kept), some)
                if not rest:
                    break
            if rest:
                _add(frame.back, form, rest)
        return frame.back

    def _plainly(self, chain: Chain, plain: Plain, packet: Packet, atoms: int) -> None:
        """The verdict of rules about sources alone."""
        if plain.verdict == "drop":
            self._stopped |= atoms
        else:
            _add(self._accepted, packet, atoms)
        for position in plain.positions if self._record else ():
            one = self._rules.filter(chain).plain(packet, position)
            self._decide(chain, chain.rules[position], plain.verdict, atoms & one)
            atoms &= ~one

    def _rule(self, frame: _Frame, packet: Packet, atoms: int) -> None:
        """Takes `atoms` through one rule."""
        if self._budget <= 0:
            return
        for step in frame.rule.steps:
            if isinstance(step, Action):
                if isinstance(step, SetMark | CopyMark | LoseMark | Untrack):
                    packet = _changed(packet, step)
                    continue
                self._end(frame, step, packet, atoms)
                return
            sure, may = step.holds(packet, self._space)
            if self._record and (unsure := atoms & may & ~sure):
                self._doubt(frame.chain, frame.rule, construct(step), unsure)
            _add(frame.stay, packet, atoms & ~sure)
            atoms &= may
            if not atoms:
                return
        _add(frame.stay, packet, atoms)

    def _end(
        self,
        frame: _Frame,
        action: Verdict | Cases | Translate | Opaque,
        packet: Packet,
        atoms: int,
    ) -> None:
        """The action that a rule ends with."""
        if isinstance(action, Verdict):
            self._verdict(frame, action, packet, atoms)
        elif isinstance(action, Translate):
            self._translate(frame, action, packet, atoms)
        elif isinstance(action, Cases):
            self._cases(frame, action, packet, atoms)
        else:
            self._opaque(frame, action.construct, packet, atoms)

    def _decide(self, chain: Chain, rule: Rule | None, verdict: str, atoms: int) -> None:
        self._redirected = self._redirected or verdict == "translate"
        if self._record and atoms:
            self.decisions.append(Decision(chain, rule, verdict, atoms, self._hook))

    def _cases(self, frame: _Frame, step: Cases, packet: Packet, atoms: int) -> None:
        for condition, action in step.cases:
            sure, may = condition.holds(packet, self._space)
            hit = atoms & may
            if not hit:
                continue
            if self._record:
                self._doubt(frame.chain, frame.rule, construct(condition), hit & ~sure)
            self._end(frame, action, packet, hit)
            atoms &= ~sure
            if not atoms:
                return
        _add(frame.stay, packet, atoms)

    def _verdict(self, frame: _Frame, verdict: Verdict, packet: Packet, atoms: int) -> None:
        if verdict.kind == "accept":
            _add(self._accepted, packet, atoms)
            self._decide(frame.chain, frame.rule, "accept", atoms)
        elif verdict.kind == "drop":
            self._stopped |= atoms
            self._decide(frame.chain, frame.rule, "drop", atoms)
        elif verdict.kind == "return":
            _add(frame.back, packet, atoms)
        elif verdict.kind == "continue":
            _add(frame.stay, packet, atoms)
        else:
            self._jump(frame, verdict, packet, atoms)

    def _jump(self, frame: _Frame, verdict: Verdict, packet: Packet, atoms: int) -> None:
        target = self._hooks.target(frame.chain, verdict.chain)
        if target is None or frame.depth >= _DEPTH:
            self._opaque(frame, f"jump to {verdict.chain}", packet, atoms)
            return
        goes_on = frame.back if verdict.kind == "goto" else frame.stay
        for form, some in self._chain(target, packet, atoms, frame.depth + 1).items():
            _add(goes_on, form, some)

    def _translate(self, frame: _Frame, step: Translate, packet: Packet, atoms: int) -> None:
        if step.family not in {0, packet.family}:
            _add(frame.stay, packet, atoms)
            return
        self._decide(frame.chain, frame.rule, "translate", atoms)
        if not step.certain or size(step.ports) > 1:
            self._opaque(frame, "translation to a range", packet, atoms)
            return
        port = step.ports[0][0] if step.ports else packet.port
        address, kind = self._translated(packet, step)
        changed = msgspec.structs.replace(
            packet,
            destination=address,
            port=port,
            kind=kind,
            here=None,
            translated=True,
            original=packet.original or (packet.destination, packet.port),
        )
        _add(self._accepted, changed, atoms)

    def _translated(self, packet: Packet, step: Translate) -> tuple[int | None, str]:
        """The new destination and what kind of address it is."""
        layout = self._rules.layout
        if step.here:
            return layout.primary.get(packet.iif or ""), "local"
        if step.addresses is None:
            return packet.destination, packet.kind
        address = step.addresses[0][0] if size(step.addresses) == 1 else None
        local = [
            contains(layout.own, number) or contains(LOOPBACK[packet.family], number)
            for ends in step.addresses
            for number in ends
        ]
        if not layout.own or (address is None and any(local)):
            return address, "local" if all(local) else ""
        return address, "local" if all(local) else "unicast"

    def _opaque(self, frame: _Frame, name: str, packet: Packet, atoms: int) -> None:
        """Whatever can happen, may."""
        _add(self._accepted, packet, atoms)
        self._stopped |= atoms
        self._doubt(frame.chain, frame.rule, name, atoms)
        _add(frame.stay, _forgotten(packet), atoms)


def _forgotten(packet: Packet) -> Packet:
    """The packet with marks that are not known."""
    return msgspec.structs.replace(packet, mark=None, connmark=None)


_Key = TypeVar("_Key")


def _add(flows: dict[_Key, int], key: _Key, atoms: int) -> None:
    if atoms:
        flows[key] = flows.get(key, 0) | atoms


def _merged(flows: dict[Packet, int]) -> dict[Packet, int]:
    """Forgets marks where packets have taken more forms than can be followed."""
    if len(flows) <= _FORMS:
        return flows
    merged: dict[Packet, int] = {}
    for packet, atoms in flows.items():
        _add(merged, _forgotten(packet), atoms)
    return merged


def _recognised(flows: dict[Packet, int], state: str) -> dict[Packet, int]:
    """Connection tracking meets the packets that were not taken out of it."""
    found: dict[Packet, int] = {}
    for packet, atoms in flows.items():
        known = packet.state if packet.state == "untracked" else state
        _add(found, msgspec.structs.replace(packet, state=known), atoms)
    return found


def _connected(layout: Layout, address: int | None) -> str | None:
    if address is None:
        return None
    for name, ranges in layout.networks:
        if contains(ranges, address):
            return name
    return None


def _changed(packet: Packet, step: SetMark | CopyMark | LoseMark | Untrack) -> Packet:
    if isinstance(step, Untrack):
        return msgspec.structs.replace(packet, state="untracked")
    mark, connmark = packet.mark, packet.connmark
    if isinstance(step, LoseMark):
        mark, connmark = (None, connmark) if step.which == "packet" else (mark, None)
    elif isinstance(step, SetMark):
        if step.which == "packet":
            mark = _computed(mark, step)
        else:
            connmark = _computed(connmark, step)
    elif step.direction == "save":
        connmark = _copied(mark, connmark, step)
    else:
        mark = _copied(connmark, mark, step)
    return msgspec.structs.replace(packet, mark=mark, connmark=connmark)


def _computed(mark: int | None, step: SetMark) -> int | None:
    if mark is None and step.clear != 0xFFFFFFFF:
        return None
    return ((mark or 0) & ~step.clear) ^ step.flip


def _copied(source: int | None, target: int | None, step: CopyMark) -> int | None:
    if source is None or (target is None and step.target_mask != 0xFFFFFFFF):
        return None
    return ((target or 0) & ~step.target_mask) ^ (source & step.source_mask)


def construct(condition: Condition) -> str:
    """The name of what makes a condition undecidable, for the reader of a report."""
    for part in conditions((condition,)):
        if isinstance(part, Unknown):
            return part.construct
    for part in conditions((condition,)):
        if isinstance(part, InterfaceIn):
            return "interface not known"
        if isinstance(part, DestinationIn | OriginalIn):
            return "destination address not known"
        if isinstance(part, SourceKind | DestinationKind):
            return "type of the address"
    return type(condition).__name__
