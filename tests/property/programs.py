"""Random programs: requests of callers and staff to two sales, in steps of whole seconds.

Pools are small and times are coarse, so that ids are reused, stock runs out and holds end on the very second.
"""

from dataclasses import dataclass

from hypothesis import strategies as st

from holdfast_inventory.domain.commands import Admission
from holdfast_inventory.domain.movement import AdjustReason

ITEMS = ("apple", "bread", "cider")
MISSING_ITEM = "unicorn"
CUSTOMERS = ("ann", "bob", "cyd")


@dataclass(frozen=True)
class Buy:
    customer: str
    lines: tuple[tuple[str, int], ...]
    hold_seconds: int | None
    allow_partial: bool
    confirm: bool
    order: str
    request_id: str | None
    by_buyer: bool
    admission: Admission


@dataclass(frozen=True)
class Pay:
    target: int
    order: str
    allow_late: bool
    asker: str
    by_buyer: bool


@dataclass(frozen=True)
class GiveBack:
    target: int
    asker: str


@dataclass(frozen=True)
class Prolong:
    target: int
    seconds: int
    asker: str


@dataclass(frozen=True)
class SendBack:
    """A return; without lines, of everything."""

    target: int
    lines: tuple[tuple[str, int], ...]
    restock: bool
    reason: AdjustReason
    asker: str
    request_id: str | None


@dataclass(frozen=True)
class Recount:
    """`version_behind`: by how much the expected version is older than the item's; None: no expected version."""

    item_id: str
    delta: int
    reason: AdjustReason
    version_behind: int | None
    request_id: str | None


@dataclass(frozen=True)
class CleanUp:
    pass


@dataclass(frozen=True)
class Again:
    """The same command again."""

    target: int


@dataclass(frozen=True)
class Batch:
    sale: int
    steps: tuple


@dataclass(frozen=True)
class Wait:
    seconds: int


@dataclass(frozen=True)
class Rule:
    """A change of a sale's rules; see `_change`."""

    sale: int
    change: str
    value: int


@dataclass(frozen=True)
class Move:
    """A transfer of stock from `source` to the other sale."""

    source: int
    item_id: str
    to_item_id: str
    quantity: int
    request_id: str | None


@dataclass(frozen=True)
class Setup:
    """How a sale begins."""

    stock: tuple[int, int, int]
    item_limits: tuple[int, int, int]
    limit: int


@dataclass(frozen=True)
class Program:
    setups: tuple[Setup, Setup]
    acts: tuple


def _weighted(*choices: tuple[int, st.SearchStrategy]) -> st.SearchStrategy:
    """Return one of the strategies with these weights. `one_of` would count equal ones once."""
    often = [strategy for weight, strategy in choices for _ in range(weight)]
    return st.sampled_from(often).flatmap(lambda strategy: strategy)


_item = st.sampled_from(("apple",) * 14 + ("bread",) * 6 + ("cider",) * 4 + (MISSING_ITEM,))
_customer = st.sampled_from(CUSTOMERS)
_target = st.integers(0, 7)
_asker = st.sampled_from(("anyone",) * 4 + ("owner", "stranger"))
_request_id = st.sampled_from((None, None, "r1", "r2", "r3"))
_order = st.sampled_from(("", "o-1", "o-2"))
_rarely = st.sampled_from((False, False, False, True))
_lines = st.lists(st.tuples(_item, st.sampled_from((1, 1, 2, 3, 4))), min_size=1, max_size=3).map(tuple)
_hold_seconds = st.sampled_from((None, None, None, 1, 1, 2, 2, 3, 5, 10, 20, 21))

_admission = st.sampled_from(Admission)

_buy = st.builds(
    Buy, _customer, _lines, _hold_seconds, _rarely, _rarely, _order, _request_id, st.booleans(), _admission
)
_pay = st.builds(Pay, _target, _order, st.booleans(), _asker, _rarely)
_give_back = st.builds(GiveBack, _target, _asker)
_prolong = st.builds(Prolong, _target, st.integers(-3, 22), _asker)
_recount = st.builds(
    Recount,
    _item,
    st.sampled_from((-9, -3, -2, -1, 1, 2, 3, 5, 2_147_483_640)),
    st.sampled_from((AdjustReason.RECEIVED, AdjustReason.LOST)),
    st.sampled_from((None, None, 0, 0, 1)),
    _request_id,
)
_send_back = st.builds(
    SendBack,
    _target,
    st.one_of(st.just(()), _lines),
    st.booleans(),
    st.sampled_from((AdjustReason.RETURNED, AdjustReason.DAMAGED)),
    _asker,
    _request_id,
)
_again = st.builds(Again, _target)
_step = _weighted(
    (8, _buy),
    (5, _pay),
    (2, _give_back),
    (2, _prolong),
    (1, _recount),
    (2, _send_back),
    (2, _again),
    (1, st.just(CleanUp())),
)

_which = st.sampled_from((0, 0, 0, 1))
_batch = st.builds(Batch, _which, st.lists(_step, min_size=1, max_size=10).map(tuple))
_wait = st.builds(Wait, st.sampled_from((1, 1, 2, 3, 5, 10, 20)))
_change = st.sampled_from(
    [
        "pause",
        "resume",
        "resume",
        "close",
        "reopen",
        "reopen",
        "postpone",
        "open",
        "open",
        "cancel",
        "cancel",
        "limit",
        "limit",
        "max_hold",
        "max_hold",
        "shop_confirms",
        "admission_required",
        "early_access",
    ]
)
_rule = st.builds(Rule, _which, _change, st.sampled_from((0, 2, 3, 15)))
_move = st.builds(Move, _which, _item, _item, st.integers(1, 4), _request_id)
_act = _weighted((7, _batch), (3, _wait), (1, _rule), (1, _move))

_item_limit = st.sampled_from((0, 0, 0, 2, 4))
_limit = st.sampled_from((0, 0, 4, 6, 9))
_stock = st.sampled_from((5, 0, 2, 3, 7, 12))
_setup = st.builds(Setup, st.tuples(_stock, _stock, _stock), st.tuples(_item_limit, _item_limit, _item_limit), _limit)

_opening = st.builds(Batch, st.just(0), st.lists(_buy, min_size=2, max_size=6).map(tuple))
_acts = st.builds(lambda opening, acts: (opening, *acts), _opening, st.lists(_act, min_size=5, max_size=25))

programs = st.builds(Program, st.tuples(_setup, _setup), _acts)

# Many short holds expire at once, and then many customers want their units.
_apples = st.tuples(st.tuples(st.just("apple"), st.sampled_from((1, 1, 2, 4))))
_short_hold = st.builds(
    Buy,
    _customer,
    _apples,
    st.sampled_from((1, 2)),
    st.just(False),
    st.just(False),
    st.just(""),
    st.none(),
    st.just(False),
    st.just(Admission.NONE),
)
_greedy = _weighted(
    (
        4,
        st.builds(
            Buy,
            _customer,
            _apples,
            st.none(),
            st.booleans(),
            _rarely,
            st.just(""),
            st.none(),
            st.just(False),
            st.just(Admission.NONE),
        ),
    ),
    (2, st.builds(Pay, st.integers(0, 15), st.just(""), st.just(True), st.just("anyone"), st.just(False))),
    (1, st.builds(Recount, st.just("apple"), st.integers(-5, -1), st.just(AdjustReason.LOST), st.none(), st.none())),
)
_round = st.tuples(
    st.builds(Batch, st.just(0), st.lists(_short_hold, min_size=3, max_size=6).map(tuple)),
    st.builds(Wait, st.sampled_from((1, 2, 3))),
    st.one_of(
        st.builds(Batch, st.just(0), st.lists(_greedy, min_size=1, max_size=4).map(tuple)),
        st.builds(Move, st.just(0), st.just("apple"), st.just("bread"), st.integers(1, 4), st.none()),
    ),
)
_crowded = st.builds(
    Setup, st.tuples(st.integers(2, 8), _stock, _stock), st.just((0, 0, 0)), st.sampled_from((0, 0, 5))
)

stampedes = st.builds(
    lambda setup, other, rounds: Program((setup, other), tuple(act for one in rounds for act in one)),
    _crowded,
    _setup,
    st.lists(_round, min_size=2, max_size=5),
)
