"""What gpu functions can say, run on both engines of lanes, and what they must not say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from emu.devices.gpu.dispatch import FaultCode
from emu.errors import AiosError
from tests.kern.gpu.bench import KernelBench, Sliced

Array = NDArray[Any]
_ME = np.arange(64)


def _run(body: str, *arrays: Array, parameters: str = "", items: int = 64, more: str = "") -> Array:
    """The array `out` of 64 numbers after `items` work-items in groups of 64 ran a body."""
    text = f"gpu fn k(out: ptr[int]{parameters}) {{\n{body}\n}}\n{more}"
    out = np.zeros(max(items, 64), np.int64)
    got: Array = KernelBench("m", text).run("k", (items,), (64,), out, *arrays)[0]
    return got


# ── Where a lane stands ──────────────────────────────────────────────────────────────────────────


def test_indices_in_three_dimensions() -> None:
    text = """
gpu fn k(out: ptr[int]) {
    x = global_id(0)
    y = global_id(1)
    z = global_id(2)
    at = (z * grid_size(1) + y) * grid_size(0) + x
    own = (local_id(2) * 100 + local_id(1)) * 100 + local_id(0)
    group = (group_id(2) * 100 + group_id(1)) * 100 + group_id(0)
    sizes = group_size(0) * 100 + group_size(1) * 10 + group_size(2)
    out[at] = (own * 1000000 + group) * 1000 + sizes
}"""
    (got,) = KernelBench("m", text).run("k", (5, 4, 3), (4, 3, 2), np.zeros((3, 4, 5), np.int64))
    z, y, x = np.indices((3, 4, 5))
    own = (z % 2 * 100 + y % 3) * 100 + x % 4
    group = (z // 2 * 100 + y // 3) * 100 + x // 4
    np.testing.assert_array_equal(got, (own * 10**6 + group) * 1000 + 432)


def test_lanes_count_in_warps() -> None:
    np.testing.assert_array_equal(_run("out[global_id(0)] = lane()"), _ME % 32)


# ── Together ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("call", "source"),
    [
        ("shuffle_up(v, 3)", np.where(_ME % 32 >= 3, _ME - 3, _ME)),
        ("shuffle_down(v, 5)", np.where(_ME % 32 < 27, _ME + 5, _ME)),
        ("shuffle_xor(v, 6)", _ME ^ 6),
        ("shuffle_idx(v, 9)", _ME // 32 * 32 + 9),
        ("shuffle_idx(v, lane() * 7 % 32)", _ME // 32 * 32 + _ME % 32 * 7 % 32),
    ],
)
@pytest.mark.parametrize("type_", ["int", "f32", "u8"])
def test_shuffles_of_every_type(call: str, source: Array, type_: str) -> None:
    got = _run(f"v = {type_}(global_id(0) * 3)\nout[global_id(0)] = int({call})")
    np.testing.assert_array_equal(got, source * 3)


def test_votes_ask_the_lanes_that_take_part() -> None:
    got = _run("""
    i = global_id(0)
    if i % 4 != 0 {
        all = vote_all(i > 0)
        any = vote_any(i == 33)
        out[i] = int(all) + 2 * int(any) + int(ballot(i % 8 == 1)) * 4
    }""")
    ballot = sum(1 << lane for lane in range(32) if lane % 8 == 1)
    want = np.where(_ME % 4 != 0, 1 + 2 * (_ME >= 32) + 4 * ballot, 0)
    np.testing.assert_array_equal(got, want)


def test_group_memory_and_barriers_reverse_a_group() -> None:
    got = _run("""
    local kept: array[int, 64]
    me = local_id(0)
    kept[me] = global_id(0)
    barrier()
    out[global_id(0)] = kept[63 - me]
    """, items=128)  # fmt: skip
    np.testing.assert_array_equal(got, np.append(_ME[::-1], _ME[::-1] + 64))


def test_a_lane_that_returned_before_a_barrier_of_its_warp_is_a_fault() -> None:
    """What docs/kern.md says of `barrier`; a warp that has left as a whole is not waited for."""
    text = """
gpu fn k(n: int, out: ptr[int]) {
    if local_id(0) >= n { return }
    barrier()
    out[local_id(0)] = 1
}"""
    bench, out = KernelBench("m", text), np.zeros(64, np.int64)
    (got,) = bench.run("k", (64,), (64,), 32, out)
    np.testing.assert_array_equal(got, _ME < 32)
    outcome, _ = bench.attempt("k", (64,), (64,), 40, out)
    assert outcome.fault is not None
    assert outcome.fault.code is FaultCode.DIVERGED


def test_lanes_meet_again_before_a_barrier_behind_divergent_loops() -> None:
    """A barrier that only some lanes of a warp reached would be a fault."""
    got = _run("""
    local sums: array[int, 64]
    me = local_id(0)
    sum = 0
    i = 0
    while i < me {
        if i % 3 == 1 {
            i += 2
            continue
        }
        if sum > 500 { break }
        for j in 0..i % 4 { sum += j }
        sum += i
        i++
    }
    sums[me] = sum
    barrier()
    out[me] = sums[me ^ 32]
    """)

    def expected(me: int) -> int:
        total = i = 0
        while i < me:
            if i % 3 == 1:
                i += 2
                continue
            if total > 500:
                break
            total += sum(range(i % 4)) + i
            i += 1
        return total

    np.testing.assert_array_equal(got, [expected(me ^ 32) for me in range(64)])


@pytest.mark.parametrize("type_", ["i32", "u64"])
@pytest.mark.parametrize(
    ("operation", "want"),
    [
        ("add", 5 + sum(range(64))), ("min", 0), ("max", 63), ("and", 0), ("or", 63),
        ("xor", 5),
    ],
)  # fmt: skip
def test_atomics(type_: str, operation: str, want: int) -> None:
    text = f"gpu fn k(p: ptr[{type_}]) {{ atomic_{operation}(p, {type_}(global_id(0))) }}"
    width = {"i32": np.int32, "u32": np.uint32, "int": np.int64, "u64": np.uint64}[type_]
    (got,) = KernelBench("m", text).run("k", (64,), (64,), np.array([5], width))
    assert got[0] == want


def test_atomics_give_the_old_value() -> None:
    got = _run("out[atomic_add(&count[0], 1)] = atomic_cas(&count[1], i32(7), 8)",
               np.array([0, 7], np.int32), parameters=", count: ptr[i32]")  # fmt: skip
    assert sorted(got) == [7] + [8] * 63


# ── Values and memory ────────────────────────────────────────────────────────────────────────────


def test_select_takes_either_value_without_parting_lanes() -> None:
    text = """
gpu fn k(x: ptr[f32], n: ptr[int], p: ptr[u8]) {
    i = global_id(0)
    x[i] = select(i % 3 == 0, x[i], -1.5)
    n[i] = select(i > 20, n[i], 0)
    p[i] = select(p[i] < 9, u8(200), p[i])
}"""
    x, n, p = _ME.astype(np.float32), _ME * 10**12, _ME.astype(np.uint8)
    bench = KernelBench("m", text)
    outcome, got = bench.attempt("k", (64,), (64,), x, n, p)
    np.testing.assert_array_equal(got[0], np.where(_ME % 3 == 0, x, -1.5))
    np.testing.assert_array_equal(got[1], np.where(_ME > 20, n, 0))
    np.testing.assert_array_equal(got[2], np.where(p < 9, 200, p))
    assert outcome.counts.lane_instructions == 32 * outcome.counts.warp_instructions


def test_functions_structs_constants_and_private_arrays() -> None:
    more = """
SQUARES = [0, 1, 4, 9, 16]
struct Pair { a: int, b: int }
fn swapped(p: Pair) -> Pair { return Pair{a: p.b, b: p.a} }
fn Pair.spread(self) -> int { return self.a - self.b }
"""
    got = _run("""
    i = global_id(0)
    kept: array[int, 9]
    for j in 0..9 { kept[j] = j * i }
    p = swapped(Pair{a: kept[i % 9], b: SQUARES[i % 5]})
    out[i] = p.spread()
    """, more=more)  # fmt: skip
    np.testing.assert_array_equal(got, (_ME % 5) ** 2 - _ME % 9 * _ME)


def test_large_private_arrays_are_zero_and_copied_whole() -> None:
    got = _run("""
    i = global_id(0)
    first: array[int, 100]
    for j in 0..100 { first[j] += j * i }
    second = first
    for j in 0..100 { first[j] = 0 }
    sum = 0
    for j in 0..100 { sum += second[j] }
    out[i] = sum
    """)
    np.testing.assert_array_equal(got, 4950 * _ME)


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ("local x: array[u8, 300000]\n    x[global_id(0)] = 1",
         "m.kern:1:8: the local memory of 'k' takes 300000 bytes; a workgroup has at most 262144."),
        ("x: array[int, 9000]\n    x[global_id(0)] = 1\n    out[0] = x[out[1]]",
         "The gpu function 'm.k' needs 72"),
    ],
)  # fmt: skip
def test_memory_that_no_lane_has_is_refused(body: str, sentence: str) -> None:
    with pytest.raises(AiosError) as raised:
        _run(body)
    assert str(raised.value).startswith(sentence)


def test_arguments_of_all_kinds() -> None:
    text = """
enum Colour { red, green }
gpu fn k(a: i8, flag: bool, c: Colour, x: f32, y: float, s: slice[i16], out: ptr[float]) {
    i = global_id(0)
    if i >= len(s) { return }
    out[i] = float(a) + float(x) * y + float(s[i]) + float(i32(c)) + float(int(flag))
}"""
    s = np.arange(5, dtype=np.int16)
    *_, got = KernelBench("m", text).run(
        "k", (32,), (32,), -3, True, 1, 0.5, 4.25, Sliced(s), np.zeros(5)
    )
    np.testing.assert_array_equal(got, -3 + 0.5 * 4.25 + s + 1 + 1)


@pytest.mark.parametrize(
    "body",
    ["out[global_id(0)] = x[global_id(0)]", "out[0] = 5 / (3 - global_id(0))",
     'assert(global_id(0) != 3, "lane {}", lane())', "match lane() { 3 { unreachable() } }"],
)  # fmt: skip
def test_failing_check_is_an_illegal_instruction_of_its_lane(body: str) -> None:
    text = f"gpu fn k(out: ptr[int], x: slice[int]) {{\n    {body}\n}}"
    outcome, _ = KernelBench("m", text).attempt(
        "k", (4,), (4,), np.zeros(4, np.int64), Sliced(np.zeros(3, np.int64))
    )
    assert outcome.fault is not None
    assert (outcome.fault.code, outcome.fault.lane) == (FaultCode.ILLEGAL_INSTRUCTION, 3)


def test_wrong_pointer_is_a_fault_at_its_address() -> None:
    text = "gpu fn k(p: ptr[int]) { p[global_id(0)] = 1 }"
    outcome, _ = KernelBench("m", text).attempt("k", (4,), (4,), 0x40)
    assert outcome.fault is not None
    assert (outcome.fault.code, outcome.fault.address) == (FaultCode.STORE_ADDRESS, 0x40)


# ── What must not be said ────────────────────────────────────────────────────────────────────────

_REFUSALS = [
    ("gpu fn k() -> int { return 1 }",
     "1:8: the gpu function 'k' cannot give a result | give it the address where its results go"),
    ("export gpu fn k() { }", "1:15: a gpu function cannot be exported"),
    ("gpu fn k(x: array) { }",
     "1:10: the gpu function's parameter 'x' needs its full type | as in slice[f32]"),
    ("v: int\ngpu fn k() { v = 3 }",
     "2:14: lanes run 'k', which uses the variable 'v'; they cannot | "
     "pass its address as an argument"),
    ("fn f(n: int) -> int { return f(n) }\ngpu fn k() { f(1) }",
     "1:30: 'f' leads back to 'f'; lanes cannot recurse | write it as a loop"),
    ("fn f() -> int! { fail \"no\" }\ngpu fn k() { f() else { } }",
     "1:18: lanes run 'f', which can fail; they cannot"),
    ("gpu fn k(f: fn()) { f() }",
     "1:21: lanes run 'k', which calls through a function's address; they cannot"),
    ("extern fn f()\ngpu fn k() { f() }",
     "2:14: lanes run 'k', which calls 'f', which is not written in Kern; they cannot"),
    ("gpu fn k() { wfi() }", "1:14: lanes run 'k', which uses 'wfi'; they cannot"),
    ("gpu fn k(a: str) { if a == \"b\" { } }",
     "1:23: lanes run 'k', which compares texts; they cannot"),
    ("gpu fn k(a: float) { x = a % 2.0 }",
     "1:26: lanes run 'k', which takes the remainder of floats; they cannot"),
    ("fn f() { local x: int }", "1:16: only a gpu function's own body declares local memory"),
    ("gpu fn k() { local x: int = 3 }",
     "1:20: local memory has no initial value: lanes store to it, then wait at a barrier"),
    ("gpu fn k() { x = global_id(3) }", "1:28: 3 is no dimension, 0 to 2"),
    ("export fn f() -> int { return lane() }",
     "1:31: 'lane' works only in a gpu function and in what it calls"),
    ("fn g() -> int { return lane() }\nexport fn f() -> int { return g() }",
     "2:31: 'g' uses 'lane', so only gpu functions can call it"),
    ("gpu fn k() { }\nfn f() { k() }",
     "2:10: 'k' is a gpu function, so lanes run it | launch k(...) over its extents"),
    ("gpu fn k() { }\nfn f() { g = k }", "2:14: the gpu function 'k' has no address | launch it"),
    ("gpu fn k(p: ptr[u8]) { atomic_add(p, 1) }",
     "1:35: 'atomic_add' works on i32, u32, int or u64 in memory | "
     "its first argument is a ptr to one"),
]  # fmt: skip


@pytest.mark.parametrize("case", _REFUSALS, ids=lambda case: case[0][:40])
def test_what_lanes_cannot_do_is_said(rejects: Callable[..., None], case: tuple[str, ...]) -> None:
    rejects(*case)


_DRIVER = """
fn launch(device: int, kernel: ptr, kernarg: ptr, bytes: int, gx: int, gy: int, gz: int,
          wx: int, wy: int, wz: int, signal: ptr)! { }
"""


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("launch k(1, x) over 5", "3:1: the error of this call is dropped | "
         "write 'try' before it, or 'else e { ... }' after it"),
        ("try launch k(1) over 5", "3:12: 'k' takes 2 arguments, not 1"),
        ("try launch k(1, 2.0) over 5",
         "3:17: the argument 'x' of 'k' must be ptr[int], not float"),
        ("try launch k(1, x) over 5 by x", "3:30: the group must be int, not ptr[int] | "
         "write int(...) if that is meant"),
        ("try launch f(x) over 5", "3:12: 'f' is no gpu function | declare it as gpu fn f(...)"),
        ("try launch x over 5", "3:12: a launch needs a call of a gpu function | "
         "launch name(arguments) over extent"),
    ],
)  # fmt: skip
def test_launch_is_checked_as_a_call(
    rejects: Callable[..., None], statement: str, message: str
) -> None:
    text = f"gpu fn k(n: int, x: ptr[int]) {{ }}\nfn f(x: ptr[int])! {{\n{statement}\n}}"
    rejects(text, message, gpu=_DRIVER)


def test_launch_needs_the_driver(rejects: Callable[..., None]) -> None:
    rejects(
        "gpu fn k() { }\nfn f()! { try launch k() over 5 }",
        "2:15: a launch needs the module 'gpu' with its function 'launch' | "
        "compile kernel_src/gpu.kern too",
    )


def test_words_of_gpu_functions_are_names_elsewhere(accepts: Callable[..., Any]) -> None:
    accepts("fn f(gpu: int) { local = gpu\nlaunch = local\nover = launch\nby = over + launch }")
