"""Running the steps of a plan, emitted: alone, or a step's parts by several threads.

    run_steps(steps, bases, team) -> i64      0, or 1 + the number of the step whose check failed
    work(team)                                what a thread of the team does until it is to quit
    open_team(team), close_team(team)         make the lock, before anything else; have all quit

A parallel step is a *job* of as many parts as there are threads. One word, the ticket, has the
job's number and how many parts have been begun; whoever raises that count does the part. So the
thread that issued the step never waits for one that the host has not woken yet: it does the part
itself. Which thread does a part does not matter to the result. Threads look at the ticket for a
while, then sleep on a condition variable.
"""

from __future__ import annotations

from llvmlite import ir

from emu.cpu.tensor.unit.layout import Step, Steps, Team
from emu.cpu.tensor.unit.writer import I32, I64, POINTER, VOID, Value, Writer, i64

KERNEL = ir.FunctionType(I64, [POINTER, I64, I64])
_SPINS = 50
"""How often a waiting thread looks before it lets another one run: one or two microseconds. On a
host with fewer processors free than threads, the other one is what it waits for."""
_LOOKS = 200
"""How often it does so before it sleeps: half a millisecond, as the next job is often near."""


def write_teamwork(module: ir.Module) -> None:
    """Add the functions to the module."""
    _write_open(module)
    _write_close(module)
    _write_parts(module)
    _write_work(module)
    _write_job(module)
    _write_run(module)


def _write_open(module: ir.Module) -> None:
    w = Writer(module, "open_team", VOID, [POINTER], public=True)
    null = ir.Constant(POINTER, None)
    for name, place in (("mutex", Team.MUTEX), ("cond", Team.CONDITION)):
        w.call(f"pthread_{name}_init", I32, w.at(w.args[0], place), null)
    w.b.ret_void()


def _write_close(module: ir.Module) -> None:
    w = Writer(module, "close_team", VOID, [POINTER], public=True)
    (team,) = w.args
    w.publish(i64(1), team, Team.QUIT)
    for what in ("mutex_lock", "cond_broadcast", "mutex_unlock"):
        _on(w, team, what)
    w.b.ret_void()


def _on(w: Writer, team: Value, what: str) -> None:
    """An operation on the lock or the condition variable."""
    place = Team.MUTEX if what.startswith("mutex") else Team.CONDITION
    w.call(f"pthread_{what}", I32, w.at(team, place))


def _split(w: Writer, ticket: Value) -> tuple[Value, Value, Value]:
    """A ticket's job, parts, and parts begun."""
    b, mask = w.b, i64(0xFFFF)
    return b.lshr(ticket, i64(32)), b.and_(b.lshr(ticket, i64(16)), mask), b.and_(ticket, mask)


def _is_open(w: Writer, team: Value) -> Value:
    """Whether there is a part that nobody has begun."""
    _, parts, begun = _split(w, w.atomic(team, Team.TICKET))
    return w.b.icmp_unsigned("<", begun, parts)


def _write_parts(module: ir.Module) -> None:
    """`do_parts(team)`: begin and do parts of the present job until all are begun."""
    w = Writer(module, "do_parts", VOID, [POINTER], public=False)
    (team,) = w.args
    with w.forever() as end:
        ticket = w.atomic(team, Team.TICKET)
        _, parts, begun = _split(w, ticket)
        w.leave_if(w.b.icmp_unsigned(">=", begun, parts), end, likely=True)
        taken = w.exchange(team, Team.TICKET, ticket, w.b.add(ticket, i64(1)))
        with w.b.if_then(taken):  # the job cannot end before this part has: what follows is its
            kernel = w.load(team, Team.KERNEL, KERNEL.as_pointer())
            w.b.call(kernel, [w.pointer(team, Team.BLOCK), begun, parts])
            w.add_atomic(team, Team.PENDING, -1)
    w.b.ret_void()


def _write_work(module: ir.Module) -> None:
    w = Writer(module, "work", VOID, [POINTER], public=True)
    (team,) = w.args
    out = w.function.append_basic_block("out")
    with w.forever():
        found = w.function.append_basic_block("found")
        with w.loop(i64(_LOOKS)):
            with w.loop(i64(_SPINS)):
                w.leave_if(_is_open(w, team), found)
                w.pause()
            w.leave_if(w.is_set(w.atomic(team, Team.QUIT)), out)
            w.call("sched_yield", I32)
        _write_sleep(w, team)
        w.b.branch(found)
        w.b.position_at_end(found)
        w.call("do_parts", VOID, team)
    w.b.branch(out)
    w.b.position_at_end(out)
    w.b.ret_void()


def _write_sleep(w: Writer, team: Value) -> None:
    """Sleep until there is a job that was not there before. It may be over by the time we run, but
    where there was one the next is near: the thread looks for it, awake."""
    _on(w, team, "mutex_lock")
    w.publish(i64(1), team, Team.ASLEEP)
    job, parts, begun = _split(w, w.atomic(team, Team.TICKET))
    is_open = w.b.icmp_unsigned("<", begun, parts)
    with w.forever() as awake:
        w.leave_if(is_open, awake)
        w.leave_if(w.is_set(w.atomic(team, Team.QUIT)), awake)
        now, _, _ = _split(w, w.atomic(team, Team.TICKET))
        w.leave_if(w.b.icmp_unsigned("!=", now, job), awake)
        w.call("pthread_cond_wait", I32, w.at(team, Team.CONDITION), w.at(team, Team.MUTEX))
    _on(w, team, "mutex_unlock")


def _write_job(module: ir.Module) -> None:
    """`do_job(team, kernel, block, parts)`: a parallel step, all of it; the team must be free."""
    w = Writer(module, "do_job", VOID, [POINTER, POINTER, POINTER, I64], public=False)
    team, kernel, block, parts = w.args
    b = w.b
    w.store(kernel, team, Team.KERNEL)
    w.store(block, team, Team.BLOCK)
    w.publish(parts, team, Team.PENDING)
    job, _, _ = _split(w, w.atomic(team, Team.TICKET))
    following = b.shl(b.add(job, i64(1)), i64(32))
    w.publish(b.or_(following, b.shl(parts, i64(16))), team, Team.TICKET)
    with b.if_then(w.is_set(w.atomic(team, Team.ASLEEP)), likely=False):
        _on(w, team, "mutex_lock")
        w.publish(i64(0), team, Team.ASLEEP)  # woken once: they may not run for a while
        _on(w, team, "cond_broadcast")
        _on(w, team, "mutex_unlock")
    w.call("do_parts", VOID, team)
    with w.forever() as end:
        with w.loop(i64(_SPINS)):
            w.leave_if(w.is_zero(w.atomic(team, Team.PENDING)), end)
            w.pause()
        w.call("sched_yield", I32)
    b.ret_void()


def _write_run(module: ir.Module) -> None:
    w = Writer(module, "run_steps", I64, [POINTER, POINTER, POINTER], public=True)
    b = w.b
    steps, bases, team = w.args
    block = b.alloca(I64, size=w.load(steps, Steps.WORDS))
    block.type = POINTER
    first = w.at(steps, Steps.HEAD_SIZE)
    failed = w.function.append_basic_block("failed")
    with w.loop(w.load(steps, Steps.COUNT)) as index:
        step = w.at(first, b.mul(index, i64(Step.SIZE)))
        _fill(w, step, bases, block)
        kernel = w.load(step, Step.KERNEL, KERNEL.as_pointer())
        status = w.variable(i64(0))
        together = w.function.append_basic_block("together")
        alone, done = (w.function.append_basic_block(n) for n in ("alone", "done"))
        b.cbranch(w.is_set(w.load(step, Step.PARALLEL)), together, alone)
        b.position_at_end(together)
        parts = w.load(team, Team.PARTS)
        w.leave_if(b.icmp_unsigned("<", parts, i64(2)), alone)
        free = w.exchange(team, Team.BUSY, i64(0), i64(1))
        w.leave_if(b.not_(free), alone)
        w.call("do_job", VOID, team, w.pointer(step, Step.KERNEL), block, parts)
        w.publish(i64(0), team, Team.BUSY)
        b.branch(done)
        b.position_at_end(alone)
        b.store(b.call(kernel, [block, i64(0), i64(1)]), status)
        b.branch(done)
        b.position_at_end(done)
        w.leave_if(w.is_set(w.load(status)), failed)
    b.ret(i64(0))
    b.position_at_end(failed)
    b.ret(b.add(index, i64(1)))


def _fill(w: Writer, step: Value, bases: Value, block: Value) -> None:
    """The parameter block of a step, with addresses."""
    b = w.b
    words = w.pointer(step, Step.WORDS)
    with w.loop(w.load(step, Step.WORDS_COUNT)) as i:
        offset = b.shl(i, i64(3))
        w.store(w.load(words, offset), block, offset)
    holes = w.pointer(step, Step.HOLES)
    with w.loop(w.load(step, Step.HOLES_COUNT)) as i:
        hole = b.shl(i, i64(4))
        place = w.load(holes, hole)
        base = w.load(bases, b.shl(w.load(holes, b.add(hole, i64(8))), i64(3)))
        w.store(b.add(w.load(block, place), base), block, place)
