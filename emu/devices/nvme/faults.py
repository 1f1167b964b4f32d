"""A fault plan: what goes wrong with a drive, on purpose and repeatably.

    seed = 7

    [[fault]]
    kind = "read-error"     # reads of these blocks end with an unrecovered read error
    lba = 1000              # the first block; default: the whole drive
    blocks = 8
    nth = 3                 # only the third command that matches, or:
    probability = 0.01      # each with that probability; default: every one

Kinds: `read-error` (status 2/81 for Read, Compare, Verify and the sources of Copy), `write-error`
(2/80 for what changes blocks), `slow` (Read, Write, Compare, Verify; needs `delay_us`) and
`torn-write` (a power cut leaves a beginning of a lost write on the medium, in whole units of the
atomic write unit). `namespace` limits a rule to one namespace, `times` the number of its hits.

Chance depends on the seed, the rule's place in the file and how many commands it has matched so
far, on nothing else: a run repeats exactly.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from emu.clock import PS_PER_US
from emu.errors import AiosError

READ_ERROR, WRITE_ERROR, SLOW, TORN_WRITE = KINDS = (
    *("read-error", "write-error"),
    *("slow", "torn-write"),
)
_MASK = (1 << 64) - 1
_DELAY_MAX_US = 3_600_000_000


@dataclass(frozen=True)
class Rule:
    """One [[fault]]; None where the plan leaves the choice open."""

    kind: str
    namespace: int | None = None
    lba: int = 0
    blocks: int | None = None
    nth: int | None = None
    times: int | None = None
    probability: float = 1.0
    delay_us: int = 0

    def covers(self, nsid: int, lba: int, blocks: int) -> bool:
        """Whether the rule is about some of these blocks."""
        if self.namespace is not None and self.namespace != nsid:
            return False
        end = lba + blocks
        return self.lba < end and (self.blocks is None or lba < self.lba + self.blocks)


@dataclass
class FaultPlan:
    """The rules of one drive, and how often each has matched and hit so far."""

    seed: int = 0
    rules: tuple[Rule, ...] = ()
    matched: list[int] = field(default_factory=list)
    hits: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.matched = self.matched or [0] * len(self.rules)
        self.hits = self.hits or [0] * len(self.rules)

    def strike(self, kind: str, nsid: int, lba: int, blocks: int) -> Rule | None:
        """The rule of that kind that hits a command on these blocks; the first one if several do.
        Every rule that matches counts the command."""
        found = None
        for i, rule in enumerate(self.rules):
            if rule.kind == kind and rule.covers(nsid, lba, blocks) and self._chance(i, rule):
                found = found or rule
        return found

    def _chance(self, i: int, rule: Rule) -> bool:
        self.matched[i] += 1
        if rule.times is not None and self.hits[i] >= rule.times:
            return False
        if rule.nth is not None and self.matched[i] != rule.nth:
            return False
        if rule.probability < 1 and self._random(i) >= rule.probability * 2**64:
            return False
        self.hits[i] += 1
        return True

    def _random(self, i: int) -> int:
        """64 bits from the seed, the rule and its count."""
        return _mix(_mix(_mix(self.seed) + i) + self.matched[i])

    def delay_ps(self, nsid: int, lba: int, blocks: int) -> int:
        """By how much a command on these blocks is late."""
        rule = self.strike(SLOW, nsid, lba, blocks)
        return 0 if rule is None else rule.delay_us * PS_PER_US

    def torn(self, nsid: int, lba: int, blocks: int, unit: int) -> int:
        """How many blocks at the start of a lost write stay on the medium: whole units, and not
        the whole write."""
        rule = self.strike(TORN_WRITE, nsid, lba, blocks)
        if rule is None:
            return 0
        units = -(-blocks // unit)
        return _mix(self._random(self.rules.index(rule)) + 1) % units * unit


def _mix(x: int) -> int:
    """A permutation of 64 bits that leaves no pattern (the finaliser of SplitMix64)."""
    x = (x + 0x9E37_79B9_7F4A_7C15) & _MASK
    x = (x ^ x >> 30) * 0xBF58_476D_1CE4_E5B9 & _MASK
    x = (x ^ x >> 27) * 0x94D0_49BB_1331_11EB & _MASK
    return x ^ x >> 31


def load(path: str) -> FaultPlan:
    """The plan in a TOML file; AiosError says what is wrong with it."""
    try:
        table = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise AiosError(f"The fault plan {path} cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise AiosError(f"The fault plan {path} is not valid TOML: {error}.") from error
    return parse(table, f"The fault plan {path}")


def parse(table: Mapping[str, Any], where: str = "The fault plan") -> FaultPlan:
    """The plan that a TOML table holds; `where` begins the sentences of errors."""
    for key in table:
        if key not in ("seed", "fault"):
            raise AiosError(f"{where} has an unknown key '{key}'; it takes seed and [[fault]].")
    seed, faults = table.get("seed", 0), table.get("fault", [])
    if type(seed) is not int:
        raise AiosError(f"{where} says seed = {seed!r}, but it must be an integer.")
    if not isinstance(faults, list) or not all(isinstance(fault, dict) for fault in faults):
        raise AiosError(f"{where} must list its faults as [[fault]] tables.")
    return FaultPlan(seed & _MASK, tuple(_rule(fault, where) for fault in faults))


def _rule(table: Mapping[str, Any], where: str) -> Rule:
    known = {field.name for field in fields(Rule)}
    for key, value in table.items():
        if key not in known:
            raise AiosError(f"{where} has a fault with the unknown key '{key}'.")
        _check(key, value, where)
    if "kind" not in table:
        raise AiosError(f"{where} has a fault without a kind; the kinds are {', '.join(KINDS)}.")
    rule = Rule(**table)
    if (rule.kind == SLOW) != (rule.delay_us > 0):
        raise AiosError(f"{where}: a fault needs delay_us if it is slow, and takes it only then.")
    return rule


def _check(key: str, value: object, where: str) -> None:
    """Raise AiosError if a fault may not say `key = value`."""
    if key == "kind":
        good, must = value in KINDS, f"one of {', '.join(KINDS)}"
    elif key == "probability":
        good = type(value) in (int, float) and 0 <= float(str(value)) <= 1
        must = "between 0 and 1"
    elif key == "delay_us":
        good, must = type(value) is int and 1 <= value <= _DELAY_MAX_US, "1 us to an hour"
    else:
        least = 0 if key in ("lba", "times") else 1
        good, must = type(value) is int and value >= least, f"a number of at least {least}"
    if not good:
        raise AiosError(f"{where} says {key} = {value!r}, but it must be {must}.")
