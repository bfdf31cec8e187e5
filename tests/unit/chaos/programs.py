"""Random runs: calls that overlap, get lost, arrive twice or late; watchers; and the phases of a run."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from heapq import heappop, heappush
from itertools import count

from hypothesis import strategies as st

from lab.chaos.history import Kind
from lab.chaos.judge.hours import LATE_SECONDS
from lab.chaos.judge.operations import RULE_CHANGES
from tests.unit.chaos.stage import (
    MAX_HOLD_SECONDS,
    Call,
    Stage,
    adjustment,
    creation,
    item_message,
    sale_id_of,
    time_message,
    transfer,
    window,
)
from tests.unit.chaos.watcher import MovementWatcher, StockWatcher

STALE_SECONDS = 0.2

FATES = ("answered",) * 12 + ("lost", "lost", "vanished", "late", "resent", "refused", "remembered", "remembered")
"""The fate of a call: answered; its answer lost; the call itself lost; applied after all callers gave up; applied
twice; refused without having been applied; refused from memory if that says so, or read from before a COMMIT."""


@dataclass(frozen=True)
class Step:
    """One call. `pick` chooses the reservation, the key and so on; times are in milliseconds."""

    action: str
    wait: int
    customer: str
    pick: int
    key: int
    quantity: int
    flag: bool
    travel: int
    back: int
    fate: str


@dataclass(frozen=True)
class Program:
    stock: int
    limit: int
    item_limit: int
    steps: tuple[Step, ...]


_ACTIONS = (
    ("create",) * 8
    + ("confirm",) * 4
    + (
        (
            "release",
            "extend",
            "adjust",
            "recount",
            "shut",
            "transfer",
            "get_item",
            "get_item",
            "get_reservation",
            "watch",
            "watch",
            "again",
        )
    )
)
_milliseconds = st.sampled_from((0, 1, 5, 10, 30, 100))

steps = st.builds(
    Step,
    action=st.sampled_from(_ACTIONS),
    wait=st.sampled_from((0, 0, 1, 5, 20, 60, 300, 1500)),
    customer=st.sampled_from(("ann", "bob", "cyd")),
    pick=st.integers(0, 11),
    key=st.integers(0, 12),
    quantity=st.sampled_from((1, 1, 1, 2, 3)),
    flag=st.booleans(),
    travel=_milliseconds,
    back=_milliseconds,
    fate=st.sampled_from(FATES),
)


def programs_of(fewest: int, most: int) -> st.SearchStrategy[Program]:
    """Programs with this number of steps."""
    return st.builds(
        Program,
        stock=st.sampled_from((2, 4, 6, 12)),
        limit=st.sampled_from((0, 0, 3, 6)),
        item_limit=st.sampled_from((0, 0, 0, 2)),
        steps=st.lists(steps, min_size=fewest, max_size=most).map(tuple),
    )


class Run:
    """Runs a program on a stage, to its end."""

    def __init__(self, program: Program) -> None:
        stock = {"x": program.stock, "y": 2}
        self.stage = Stage(stock, limit=program.limit, item_limit=program.item_limit)
        self.watchers = [MovementWatcher(self.stage, "watcher-1"), StockWatcher(self.stage, "watcher-2")]
        self.names: list[str] = []
        self.requests: list[tuple[str, dict]] = []
        self.unknown: list[Call] = []
        self._memory: dict[str, tuple[float, dict[str, int]]] = {}
        self._uncommitted: dict[str, dict[str, dict]] = {}
        """Items of a sale before its latest write, while that is not acknowledged."""
        self._ties = count()
        self._agenda: list[tuple[float, int, Callable[[], object]]] = []
        self.stage.phase("load")
        for watcher in self.watchers:
            watcher.open()
        self._load(program)
        self._phases_after_load()

    # Load

    def _load(self, program: Program) -> None:
        at = self.stage.now
        for step in program.steps:
            at += step.wait / 1000
            self._at(at, lambda step=step: self._begin(step))
        while self._agenda:
            time, _, act = heappop(self._agenda)
            self.stage.now = max(self.stage.now, time)
            act()

    def _at(self, time: float, act: Callable[[], object]) -> None:
        heappush(self._agenda, (time, next(self._ties), act))

    def _begin(self, step: Step) -> None:
        if step.action == "watch":
            self._watch(step)
            return
        asked = self._asked(step)
        if asked is None:
            return
        action, request = asked
        fate = self._fate(step, action, request)
        self.requests.append((action, request))
        call = self.stage.invoke(action, f"client-{step.pick}", **request)
        applied = self.stage.now + step.travel / 1000
        ended = applied + step.back / 1000
        if fate == "late":
            applied, ended = ended + 0.05, applied
        if fate not in {"vanished", "refused"}:
            self._at(applied, lambda: self._apply(call, remembering=fate == "remembered"))
        if fate == "resent":
            self._at((applied + ended) / 2, lambda: self._apply(call))
        self._at(ended, lambda: self._end(call, fate))

    def _fate(self, step: Step, action: str, request: dict) -> str:
        """Return the call's fate. A create without a key is always answered, because callers do not send it twice."""
        is_keyless = action == "create" and not request["request_id"]
        return "answered" if is_keyless and step.fate in {"resent", "late", "lost", "vanished"} else step.fate

    def _asked(self, step: Step) -> tuple[str, dict] | None:
        sale = "a" if step.pick % 3 else "b"
        item = "x" if step.pick % 4 else "y"
        name = self.names[step.pick % len(self.names)] if self.names else ""
        match step.action:
            case "again":
                return self.requests[step.pick % len(self.requests)] if self.requests else None
            case "create":
                key = f"k-{step.key}" if step.key else ""
                flags = {"allow_partial": step.flag and step.pick % 2 == 0, "confirm": step.flag and step.pick > 8}
                lines = {item: step.quantity} | ({"unicorn": 1} if step.pick == 7 and step.flag else {})
                if step.pick == 5 and step.flag:
                    flags["hold_time"] = f"{MAX_HOLD_SECONDS + 1:.3f}s"
                return "create", creation(step.customer, key, sale, lines, **flags)
            case "adjust":
                delta = step.quantity if step.flag else -step.quantity
                return "adjust", adjustment(delta, f"a-{step.key}", sale, item)
            case "recount":
                version = self.stage.stores[sale].items[item].version - step.key // 10
                return "adjust", adjustment(step.quantity, f"r-{step.key}", sale, item, version)
            case "shut":
                return self._shutting(step, f"sales/{sale}")
            case "transfer":
                return "transfer", transfer(step.quantity, f"t-{step.key}")
            case "get_item":
                return "get_item", {"name": f"sales/{sale}/items/{item}"}
        return (step.action, self._on_reservation(step, name)) if name else None

    def _shutting(self, step: Step, name: str) -> tuple[str, dict]:
        """Return a change of a sale's hours by staff. A closed sale is usually opened again."""
        sale, soon = name.rpartition("/")[2], self.stage.clock + timedelta(seconds=0.1 * step.key)
        match step.pick // 3:
            case 0:
                return "pause", {"name": name}
            case 1:
                return "update", window(sale, close_time=soon if step.flag else None)
            case 2:
                return "update", window(sale, open_time=soon)
        return "resume", {"name": name}

    def _on_reservation(self, step: Step, name: str) -> dict:
        match step.action:
            case "confirm":
                return {"name": name, "order": f"o-{name[-4:]}-{step.key % 2}", "allow_late": step.flag}
            case "extend":
                return {"name": name, "expire_time": time_message(self.stage.clock + timedelta(seconds=step.key))}
        return {"name": name}

    def _apply(self, call: Call, *, remembering: bool = False) -> None:
        sale = sale_id_of(call.request)
        then, available = self._memory.get(sale, (-1.0, {}))
        if remembering and self.stage.now - then <= STALE_SECONDS and self.stage.rests_on_stock(call):
            line = call.request["lines"][0]
            if available[line["item"]] < line["quantity"]:
                call.outcome = Kind.FAIL, {"reason": "INSUFFICIENT_STOCK"}
                return
        if remembering and call.action == "get_item" and sale in self._uncommitted:
            # The latest write is in COMMIT and not visible.
            call.outcome = Kind.OK, {"answer": self._uncommitted[sale][call.request["name"]]}
            return
        store = self.stage.stores[sale]
        before = {message["name"]: message for message in map(partial(item_message, sale), store.items.values())}
        self.stage.apply(call)
        self._uncommitted = {} if call.action.startswith("get_") else {sale: before}
        if self.stage.now - then > STALE_SECONDS and not store.due(self.stage.clock):
            self._memory[sale] = self.stage.now, {item.item_id: item.available for item in store.items.values()}

    def _end(self, call: Call, fate: str) -> None:
        self._uncommitted = {}
        if fate == "refused":
            self.stage.refuse(call)
        elif fate in {"lost", "vanished", "late"}:
            self.stage.lose(call)
            self.unknown.append(call)
        else:
            self.stage.answer(call)
            _, told = call.outcome
            if call.action == "create" and "answer" in told:
                self.names.append(told["answer"]["name"])

    def _watch(self, step: Step) -> None:
        self._uncommitted = {}
        watcher = self.watchers[step.pick % len(self.watchers)]
        if step.flag and isinstance(watcher, StockWatcher):
            watcher.open(lagged=step.pick > 8)
        elif step.flag:
            watcher.open()
        watcher.take(step.quantity)

    # The phases after the load

    def _phases_after_load(self) -> None:
        stage = self.stage
        stage.wait(1)
        stage.phase("heal")
        stage.phase("replay")
        for call in self.unknown:
            if call.action not in RULE_CHANGES:
                stage.do(call.action, **call.request)
        stage.phase("drain")
        stage.wait(max(MAX_HOLD_SECONDS + 6, LATE_SECONDS + 2))
        stage.sweep()
        self._open()
        stage.wait(2)
        stage.phase("sell-out")
        self._sell_out()
        stage.phase("end")
        for watcher in self.watchers:
            watcher.take()

    def _open(self) -> None:
        """Open the sales when no lost request can arrive any more, so that their state is certain."""
        for sale in self.stage.stores:
            self.stage.do("resume", name=f"sales/{sale}")
            self.stage.do("update", **window(sale, open_time=self.stage.clock, close_time=None))

    def _sell_out(self) -> None:
        for number in count():
            sold = [
                self.stage.create(f"fan-{number}", f"s-{sale}-{item}", sale, {item: 1}, confirm=True)
                for sale in ("a", "b")
                for item in ("x", "y")
            ]
            if set(sold) == {"INSUFFICIENT_STOCK"}:
                return
