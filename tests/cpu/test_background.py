"""Functions that run in a process of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from emu.cpu.background import Background

SERVICE = """
import os, time

def double(request: bytes) -> bytes:
    print("this must not come between the answers")
    return request * 2

def refuse(request: bytes) -> bytes:
    raise ValueError(f"no {request.decode()}")

def process(request: bytes) -> bytes:
    return str(os.getpid()).encode()

def die_if_asked(request: bytes) -> bytes:
    if request == b"die":
        os.abort()
    return request

def write_twice(request: bytes) -> bytes:
    with open(request, "w") as file:
        print("begun", file=file, flush=True)
        time.sleep(0.3)
        print(os.getpid(), file=file)
    return b""

def sleep(request: bytes) -> bytes:
    time.sleep(1000)
    return b""
"""

Start = Callable[[str], Background[str]]


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Makes a Background of one of the functions above."""
    (tmp_path / "background_service.py").write_text(SERVICE)
    monkeypatch.syspath_prepend(str(tmp_path))
    made: list[Background[str]] = []

    def make(name: str) -> Background[str]:
        made.append(Background(f"background_service:{name}"))
        return made[-1]

    yield make
    for background in made:
        background.close()


def collect(background: Background[str]) -> dict[str, bytes | str]:
    """All answers that are still to come."""
    answers: dict[str, bytes | str] = {}
    while background.pending:
        arrived = background.wait(30)
        assert arrived, "no answer within 30 seconds"
        answers.update(arrived)
    return answers


def wait_for_end(process: int) -> None:
    """Return when there is no such process any more, a zombie that init has yet to see excepted."""
    for _ in range(200):
        try:
            state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return
        if state == "Z":
            return
        time.sleep(0.05)
    raise AssertionError(f"process {process} still runs")


def test_requests_are_answered_in_their_order(start: Start) -> None:
    background = start("double")
    for n in range(5):
        background.submit(f"key {n}", b"%d" % n)
    answers = collect(background)
    assert list(answers.items()) == [(f"key {n}", b"%d%d" % (n, n)) for n in range(5)]
    assert background.poll() == []


def test_requests_larger_than_a_pipe_pass(start: Start) -> None:
    background = start("double")
    content = os.urandom(3 << 20)
    background.submit("a", content)
    background.submit("b", content)
    assert collect(background) == {"a": content * 2, "b": content * 2}


def test_an_exception_is_an_answer(start: Start) -> None:
    background = start("refuse")
    background.submit("a", b"thanks")
    assert collect(background) == {"a": "ValueError: no thanks"}


def test_a_function_that_cannot_be_imported_answers_why(start: Start) -> None:
    background = start("absent")
    background.submit("a", b"")
    answer = collect(background)["a"]
    assert isinstance(answer, str)
    assert "has no attribute 'absent'" in answer


def test_a_request_that_kills_the_process_fails_alone(start: Start) -> None:
    background = start("die_if_asked")
    for key in ("before", "die", "after"):
        background.submit(key, key.encode())
    assert collect(background) == {
        "before": b"before",
        "die": "'background_service:die_if_asked' did not answer, because its process died.",
        "after": b"after",
    }


def test_a_request_that_can_wait_is_not_blamed_for_another(start: Start) -> None:
    background = start("die_if_asked")
    background.submit("patient", b"1", later=True)
    background.submit("die", b"die")
    answers = collect(background)
    assert answers["patient"] == b"1"
    assert isinstance(answers["die"], str)


def test_a_process_that_dies_again_is_not_replaced(start: Start) -> None:
    background = start("die_if_asked")
    for key in ("a", "b", "c"):
        background.submit(key, b"die")
    reasons = ["its process died", "its process died", "its process died 2 times"]
    name = "'background_service:die_if_asked'"
    assert [*collect(background).values()] == [
        f"{name} did not answer, because {reason}." for reason in reasons
    ]
    background.submit("d", b"alive")
    assert collect(background) == {"d": f"{name} did not answer, because {reasons[2]}."}


def test_without_processes_every_request_is_answered(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    background = start("double")
    background.submit("a", b"1")
    answer = collect(background)["a"]
    assert isinstance(answer, str)
    assert "because no process can be started: " in answer


def test_a_request_that_can_wait_lets_others_go_first(start: Start) -> None:
    background = start("double")
    background.submit("patient", b"1", later=True)
    for key in ("a", "b"):
        background.submit(key, b"2")
    assert [*collect(background)] == ["a", "b", "patient"]


def test_a_request_that_can_wait_is_served_at_the_end(start: Start, tmp_path: Path) -> None:
    background = start("write_twice")
    background.submit("patient", bytes(tmp_path / "file"), later=True)
    background.close()
    for _ in range(200):
        time.sleep(0.02)
        if (tmp_path / "file").exists() and len((tmp_path / "file").read_text().split()) == 2:
            break
    assert (tmp_path / "file").read_text().startswith("begun\n")


def test_all_users_of_a_function_share_a_process(start: Start) -> None:
    first, second = start("process"), start("process")
    for key in ("a", "b"):
        first.submit(key, b"")
        second.submit(key.upper(), b"")
    shares = collect(first), collect(second)
    assert [[*share] for share in shares] == [["a", "b"], ["A", "B"]]
    (process,) = {answer for share in shares for answer in share.values()}
    first.submit("forgotten", b"")
    first.close()
    second.submit("a", b"")
    assert collect(second) == {"a": process}
    second.close()
    wait_for_end(int(process))


def test_a_fork_has_a_process_of_its_own(start: Start) -> None:
    background, other = start("process"), start("process")
    background.submit("pid", b"")
    process = collect(background)["pid"]
    child = os.fork()
    if not child:
        try:
            other.submit("pid", b"")
            os._exit(0 if collect(other)["pid"] != process else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_request_is_finished_after_closing_and_no_other_is_begun(
    start: Start, tmp_path: Path
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    background = start("write_twice")
    background.submit("first", bytes(first))
    background.submit("second", bytes(second))
    while not first.exists() or not first.read_text():
        time.sleep(0.01)
    before = time.monotonic()
    background.close()
    assert time.monotonic() - before < 0.2
    assert background.pending == 0
    while len(said := first.read_text().split()) < 2:
        time.sleep(0.01)
    wait_for_end(int(said[1]))
    assert not second.exists()


def test_a_process_does_not_go_on_for_long_after_closing(start: Start) -> None:
    background = start("sleep")
    background.submit("a", b"")
    assert background.wait(0.5) == []
    assert background._service is not None
    assert background._service._worker is not None
    process = background._service._worker.stop.peek()[2][1]
    background.close()
    wait_for_end(process)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks into /proc")
def test_the_process_ends_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    (tmp_path / "background_service.py").write_text(SERVICE)
    program = (
        "import os, sys; from emu.cpu.background import Background\n"
        "first, second = (Background('background_service:' + n) for n in ('process', 'sleep'))\n"
        "first.submit('pid', b''); print(int(first.wait(30)[0][1]), flush=True)\n"
        "second.submit('a', b''); print(second._service._worker.stop.peek()[2][1], flush=True)\n"
        "sys.stdin.read()"
    )
    paths = os.pathsep.join([str(tmp_path), *sys.path])
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": paths},
        text=True,
    ) as parent:
        assert parent.stdout is not None
        workers = [int(parent.stdout.readline()) for _ in range(2)]
        time.sleep(0.5)  # so that the second is asleep in its request
        parent.send_signal(signal.SIGKILL)
    for worker in workers:
        wait_for_end(worker)
