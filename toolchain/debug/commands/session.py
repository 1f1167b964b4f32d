"""The session itself: help, and the end."""

from __future__ import annotations

from toolchain.debug.commands import all_commands, command, find
from toolchain.debug.session import Session


@command("help", "h", group="Session", usage="[COMMAND]")
def help_(session: Session, argument: str) -> None:
    """List the commands, or explain one."""
    if argument:
        found = find(argument.split()[0])
        session.say(f"{found.title}\n{found.help}")
        return
    group = ""
    for each in all_commands():
        if each.group != group:
            group = each.group
            session.say(f"{group}:")
        session.say(f"  {each.title:34} {each.summary}")


@command("quit", "q", "exit", group="Session")
def quit_(session: Session, argument: str) -> None:
    """Leave; the machine is switched off."""
    session.leaving = True
