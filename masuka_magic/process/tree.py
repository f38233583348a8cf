"""Find the processes of one run: the leader, what it started, and what has left it since.

Ours is what carries the run's value in its environment, what descends from one that is ours, and what is in
the leader's session while the leader is there. This room signals nothing and keeps nothing.
"""

from __future__ import annotations

import os
from collections import defaultdict
from typing import TYPE_CHECKING

from masuka_magic.process.identity import (
    ProcessFacts,
    ProcessIdentity,
    boot_id,
    exists,
    has_proc,
    look,
    look_again,
    run_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable


def members(run: str, leader: ProcessIdentity | None) -> list[ProcessIdentity]:
    """List the living processes of a run, the leader first. Zombies and this process itself are left out.

    Each was proved while it was looked at; a pid that changed hands during the look is not in the list.
    """
    table = _snapshot()
    here = boot_id()
    leads = leader is not None and leader.boot_id == here and _same(table.get(leader.pid), leader.start)
    children: dict[int, list[ProcessFacts]] = defaultdict(list)
    for facts in table.values():
        children[facts.parent].append(facts)

    ours: set[int] = set()
    for facts in table.values():
        if leader is not None and leads and facts.pid == leader.pid:
            ours.add(facts.pid)
        elif leader is not None and leads and facts.session == leader.pid:
            # A session's number is not given out again while its leader holds it.
            if exists(leader):
                ours.add(facts.pid)
        elif run_of(facts.pid) == run != "" and _same(look(facts.pid), facts.start):
            ours.add(facts.pid)
    open_ends = [table[pid] for pid in ours]
    while open_ends:
        parent = open_ends.pop()
        for child in children[parent.pid]:
            if child.pid not in ours and _is_child(child, parent):
                ours.add(child.pid)
                open_ends.append(child)

    ourselves = os.getpid()
    found = [
        ProcessIdentity(pid, table[pid].start, here)
        for pid in ours
        if pid != ourselves and not table[pid].dead
    ]
    return sorted(found, key=lambda identity: (identity != leader, identity.pid))


def _same(facts: ProcessFacts | None, start: int) -> bool:
    return facts is not None and facts.start == start


def _is_child(child: ProcessFacts, parent: ProcessFacts) -> bool:
    """Look at both again, the parent last.

    The table was not read in one moment: a parent's pid may have been given to another between two rows. When
    the parent is the same before and after the child names it, it was the same in between.
    """
    now = look(child.pid)
    if now is None or now.start != child.start or now.parent != parent.pid:
        return False
    return _same(look(parent.pid), parent.start)


def _snapshot() -> dict[int, ProcessFacts]:
    if has_proc():
        pids: Iterable[int] = (int(name) for name in os.listdir("/proc") if name.isdecimal())  # noqa: PTH208
    else:
        import psutil

        pids = psutil.pids()
    looks = (look(pid) for pid in pids)
    return {facts.pid: facts for facts in looks if facts is not None}


def live_runs() -> set[str]:
    """List the run values that living processes carry."""
    found = (run_of(facts.pid) for facts in _snapshot().values() if not facts.dead)
    return {run for run in found if run}


def usage(processes: Iterable[ProcessIdentity]) -> tuple[float, int]:
    """Sum up processor seconds and resident bytes; those that are gone count nothing.

    Pages that several processes share are counted for each. A child that was waited for still counts through
    its parent, so that a busy tree of short-lived processes does not look idle.
    """
    cpu_s, rss_bytes = 0.0, 0
    for identity in processes:
        facts = look_again(identity)
        if facts is not None:
            cpu_s += facts.cpu_s
            rss_bytes += facts.rss_bytes
    return cpu_s, rss_bytes
