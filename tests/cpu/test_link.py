"""Linked code computes what LLVM's own loader makes it compute, wherever it is loaded."""

from __future__ import annotations

import ctypes

import pytest

from emu.cpu import hostcpu, jit
from emu.cpu.blob import Blob, LoadError, pack
from emu.cpu.link import link

pytestmark = pytest.mark.skipif(not hostcpu.is_x86(), reason="our linker knows x86-64 only")

MODULE = """
@numbers = internal constant [4 x i64] [i64 3, i64 5, i64 7, i64 11]
@exported = constant [2 x ptr] [ptr @third, ptr getelementptr (i8, ptr @numbers, i64 24)]

declare i64 @labs(i64)
declare double @fmod(double, double)
declare i64 @elsewhere(i64)

define i64 @third(i64 %x) {
  %at = getelementptr i64, ptr @numbers, i64 2
  %n = load i64, ptr %at
  %r = add i64 %x, %n
  ret i64 %r
}

define i64 @through_a_table(i64 %x) {
  %f = load ptr, ptr @exported
  %y = call i64 %f(i64 %x)
  %slot = getelementptr ptr, ptr @exported, i64 1
  %p = load ptr, ptr %slot
  %n = load i64, ptr %p
  %r = mul i64 %y, %n
  ret i64 %r
}

define i64 @through_the_library(i64 %x) {
  %y = call i64 @labs(i64 %x)
  ret i64 %y
}

define double @remainder(double %x) {
  %y = call double @fmod(double %x, double 2.5)
  ret double %y
}

define ptr @library_address() { ret ptr @labs }

define i64 @through_an_argument(i64 %x) {
  %y = musttail call i64 @elsewhere(i64 %x)
  ret i64 %y
}

define i64 @switches(i64 %x) {
  switch i64 %x, label %other [ i64 0, label %a i64 1, label %b i64 2, label %c i64 3, label %d
                                i64 4, label %e i64 5, label %f ]
a: br label %end
b: br label %end
c: br label %end
d: br label %end
e: br label %end
f: br label %end
other: br label %end
end:
  %r = phi i64 [10, %a], [77, %b], [30, %c], [41, %d], [5, %e], [66, %f], [-1, %other]
  %s = call i64 @third(i64 %r)
  ret i64 %s
}
"""
CASES = [
    *(("third", n) for n in (0, 2**40)),
    *(("through_a_table", n) for n in (1, 100)),
    *(("through_the_library", n) for n in (-9, 4)),
    *(("switches", n) for n in range(7)),
]
INTEGER = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)
DOUBLE = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double)


@INTEGER
def plus_one(x: int) -> int:
    return x + 1


SYMBOLS = {"elsewhere": ctypes.cast(plus_one, ctypes.c_void_p).value or 0}


@pytest.fixture(scope="module")
def object_file() -> bytes:
    return jit.compile_object(MODULE, opt=0)


@pytest.fixture(scope="module")
def blob(object_file: bytes) -> bytes:
    linked = link(object_file)
    assert linked is not None
    return linked


@pytest.mark.parametrize(("name", "argument"), CASES)
def test_a_function_gives_what_it_gives_when_llvm_loads_it(
    object_file: bytes, blob: bytes, name: str, argument: int
) -> None:
    codes = [jit.ObjectCode(object_file, SYMBOLS), Blob(blob, SYMBOLS)]
    ours, theirs = (INTEGER(code.address(name))(argument) for code in codes)
    assert ours == theirs


def test_functions_of_other_libraries_are_found(blob: bytes) -> None:
    code = Blob(blob, SYMBOLS)
    assert DOUBLE(code.address("remainder"))(7.0) == 2.0
    labs = ctypes.CFUNCTYPE(ctypes.c_void_p)(code.address("library_address"))()
    assert INTEGER(labs)(-3) == 3


def test_symbols_given_are_preferred_to_those_of_the_process(blob: bytes) -> None:
    assert INTEGER(Blob(blob, SYMBOLS).address("through_an_argument"))(41) == 42
    swapped = {**SYMBOLS, "labs": SYMBOLS["elsewhere"]}
    assert INTEGER(Blob(blob, swapped).address("through_the_library"))(-9) == -8


def test_a_function_that_nobody_has_is_named(blob: bytes) -> None:
    with pytest.raises(LoadError, match=r"calls 'elsewhere', which this process does not have\."):
        Blob(blob)


def test_copies_of_a_blob_do_not_share_memory(blob: bytes) -> None:
    first, second = Blob(blob, SYMBOLS), Blob(blob, SYMBOLS)
    first.close()
    assert INTEGER(second.address("through_a_table"))(1) == 88


def test_only_names_that_the_module_exports_have_an_address(blob: bytes) -> None:
    code = Blob(blob, SYMBOLS)
    assert code.address("exported") % 8 == 0
    for name in ("numbers", "labs", "thir", "third 0", ""):
        with pytest.raises(KeyError):
            code.address(name)


def test_data_that_is_written_to_is_left_to_llvm(tmp_path: object) -> None:
    text = "@n = global i64 1\ndefine i64 @f() {\n%x = load i64, ptr @n\nret i64 %x\n}"
    assert link(jit.compile_object(text)) is None
    code = jit.load(jit.compile_code(text))
    assert isinstance(code, jit.ObjectCode)
    assert ctypes.CFUNCTYPE(ctypes.c_int64)(code.address("f"))() == 1
    code.close()


def test_a_file_for_another_processor_is_left_to_llvm(object_file: bytes) -> None:
    aarch64 = object_file[:18] + (183).to_bytes(2, "little") + object_file[20:]
    assert link(aarch64) is None


def test_what_is_no_blob_is_refused() -> None:
    with pytest.raises(LoadError, match="begins with b'aiosblb1', not b'someting'"):
        Blob(b"someting" + pack(b"\xc3", (), (), ())[8:])


def test_the_host_is_told_by_what_its_processor_says() -> None:
    words = hostcpu.identity().split()[2:]
    maker = b"".join(int(words[n], 16).to_bytes(4, "little") for n in (1, 3, 2))
    assert maker.decode().isprintable()  # such as "GenuineIntel"
    assert hostcpu.identity() == hostcpu.identity.__wrapped__()
