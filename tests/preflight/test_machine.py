from __future__ import annotations

import resource
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from masuka_magic.diagnosis.machine import Machine
from masuka_magic.preflight.cgroup import Limit, Limits
from masuka_magic.preflight.check import CheckContext
from masuka_magic.preflight.gpu import GpuCheck
from masuka_magic.preflight.machine import (
    MachineCheck,
    ResourceLimits,
    judge_limits,
    machine_checks,
    own_resources,
)
from masuka_magic.preflight.memory import Memory, judge_memory, low_below, parse_meminfo, read_memory, within

GB = 1_000_000_000
MEMINFO = """\
MemTotal:       16000000 kB
MemFree:          800000 kB
MemAvailable:   12000000 kB
Buffers:          100000 kB
Cached:          5000000 kB
SwapTotal:       2000000 kB
SwapFree:        1500000 kB
HugePages_Total:       0
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Give a folder that stands for /, with the memory of a healthy machine and no control groups."""
    folder = tmp_path / "root"
    (folder / "proc/self").mkdir(parents=True)
    (folder / "proc/meminfo").write_text(MEMINFO)
    (folder / "proc/self/mountinfo").write_text("")
    (folder / "proc/self/cgroup").write_text("0::/\n")
    return folder


@pytest.fixture
def look(make_config, tmp_path):
    """Run a check of the machine for this test's folders."""

    def run(check: MachineCheck, **environ: str):
        config = make_config()
        context = CheckContext(
            config, lambda _: None, threading.Event(), {"TMPDIR": str(tmp_path), **environ}, str(tmp_path)
        )
        return check.run(context)

    return run


def check_of(root: Path, **given) -> MachineCheck:
    values = {
        "installed": lambda _: (),
        "resources": lambda: ResourceLimits(files=1024, files_hard=4096),
        "machine": Machine,
    }
    return MachineCheck(root=root, **{**values, **given})


def test_a_healthy_machine(root, look) -> None:
    """The line has what is free; every look is a layer of its own."""
    result = look(check_of(root))

    assert "pass" == result.verdict
    assert result.text.startswith("12 GB of 16 GB memory free, ")
    assert result.text.endswith(" disk")
    assert result.finding is None
    assert [("disk", "pass"), ("memory", "pass"), ("cpu", "pass"), ("open files", "pass")] == [
        (layer.name, layer.verdict) for layer in result.layers
    ]
    assert "12 GB of 16 GB free, 1.5 GB of 2.0 GB swap" == result.layers[1].text


def test_a_container_with_little_left(root, look) -> None:
    """What counts is what the container's limit leaves; the finding names the file that sets it."""
    (root / "proc/self/mountinfo").write_text("30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n")
    (root / "sys/fs/cgroup").mkdir(parents=True)
    (root / "sys/fs/cgroup/memory.max").write_text("4000000000\n")
    (root / "sys/fs/cgroup/memory.current").write_text("3700000000\n")

    result = look(check_of(root))

    text = "only 300 MB of 4.0 GB memory is free of the container's limit"
    assert ("warn", text) == (result.verdict, result.text)
    assert ("memory-low", text) == (result.finding.code, result.finding.title)
    assert "the limit is set in /sys/fs/cgroup/memory.max" in result.finding.notes


def test_two_things_at_once_are_one_finding_with_notes(root, look) -> None:
    """The first is the finding, the others are its notes; the line has both."""
    (root / "proc/meminfo").write_text("MemTotal: 16000000 kB\nMemAvailable: 400000 kB\n")

    result = look(check_of(root, resources=lambda: ResourceLimits(files=256, files_hard=256)))

    files = "a process may have no more than 256 files and connections open at once"
    assert f"only 410 MB of 16 GB memory is free; {files}" == result.text
    assert "memory-low" == result.finding.code
    assert files in result.finding.notes


def test_a_place_that_cannot_be_looked_at_is_told(root, look, tmp_path) -> None:
    """A path that leads in a circle is a layer that is skipped, and worries nobody."""
    (tmp_path / "circle").symlink_to(tmp_path / "circle")

    result = look(check_of(root), TMPDIR=f"{tmp_path}/circle/tmp")

    assert "pass" == result.verdict
    assert ["skip"] == [layer.verdict for layer in result.layers if "circle" in layer.text]


def test_a_hugging_face_cache_is_looked_at_where_it_is_used(root, look) -> None:
    """The interpreter of the backend is asked for what is installed."""
    asked = []

    def installed(python: str):
        asked.append(python)
        return {"diffusers": "0.30"}

    result = look(check_of(root, installed=installed))

    assert ["/usr/bin/python3"] == asked
    assert any("Hugging Face cache" in layer.text for layer in result.layers)


def test_without_proc_nothing_is_invented(tmp_path, look) -> None:
    """Where the kernel tells no memory, the line has the disk alone."""
    result = look(check_of(tmp_path / "nothing"))

    assert "pass" == result.verdict
    assert "memory" not in result.text
    assert ["disk", "cpu", "open files"] == [layer.name for layer in result.layers]


def test_this_machine_in_time(look) -> None:
    """On the machine of the tests it takes a few milliseconds; a busy one is given ten times as many."""
    check = MachineCheck()
    first = look(check)
    begun = time.monotonic()
    again = look(check)

    assert time.monotonic() - begun < 0.15
    assert {"disk", "memory", "cpu"} <= {layer.name for layer in first.layers}
    assert [layer.name for layer in first.layers] == [layer.name for layer in again.layers]


def test_a_gpu_is_looked_at_when_one_is_asked_for(make_config) -> None:
    """The list has the check named gpu only with `gpu = true`."""
    assert ["machine"] == [check.name for check in machine_checks(make_config())]
    checks = machine_checks(make_config(gpu=True))
    assert ["machine", "gpu"] == [check.name for check in checks]
    assert isinstance(checks[1], GpuCheck)


def test_meminfo_of_an_old_kernel() -> None:
    """Without MemAvailable what is free, buffered and cached counts."""
    old = "MemTotal: 2000000 kB\nMemFree: 100000 kB\nBuffers: 50000 kB\nCached: 350000 kB\n"

    assert Memory(2_048_000_000, 512_000_000) == parse_meminfo(old)
    assert None is parse_meminfo("")
    assert None is parse_meminfo("MemTotal: unknown\n")


def test_psutil_says_the_same_as_proc() -> None:
    """What is asked on macOS agrees, here, with what the kernel's file says."""
    from masuka_magic.preflight.memory import _by_psutil

    ours, theirs = read_memory(), _by_psutil()

    assert ours is not None
    assert (ours.total, ours.swap_total) == (theirs.total, theirs.swap_total)
    assert abs(ours.available - theirs.available) < ours.total / 5


@pytest.mark.parametrize(
    ("total", "expected"),
    [(GB // 2, GB // 4), (GB, GB // 2), (4 * GB, GB), (16 * GB, 1.6 * GB), (512 * GB, 4 * GB)],
)
def test_what_is_called_low(total, expected) -> None:
    """1 GB or 10 %, no more than 4 GB, and half of a machine that is small itself."""
    assert expected == low_below(total)


def test_a_limit_above_the_machine_is_none() -> None:
    """A group's limit counts only below what the machine has; its swap is not counted on then."""
    memory = Memory(16 * GB, 12 * GB, 2 * GB, 2 * GB)

    assert memory is within(memory, Limit(16 * GB, 0, "x"))
    assert memory is within(memory, None)
    assert Memory(4 * GB, 3 * GB, source="x") == within(memory, Limit(4 * GB, 1 * GB, "x"))
    # The machine itself may have less than the group may take.
    assert Memory(14 * GB, 12 * GB, source="x") == within(memory, Limit(14 * GB, 0, "x"))
    assert "pass" == judge_memory(memory).verdict


def test_processors_are_told_and_never_judged() -> None:
    """A quota below what there is, is named; one above is not."""
    assert ["2 cores"] == [item.text for item in judge_limits(Limits(cpus=4.0), ResourceLimits(), 2)]
    assert ["1.5 of 2 cores (the container's limit)"] == [
        item.text for item in judge_limits(Limits(cpus=1.5), ResourceLimits(), 2)
    ]


@pytest.mark.parametrize(("used", "expected"), [(400, "pass"), (480, "warn"), (512, "warn")])
def test_processes_that_a_container_allows(used, expected) -> None:
    """Threads count too, and a server starts 40 at once."""
    item = judge_limits(Limits(processes=Limit(512, used, "/pids.max")), ResourceLimits(), 2)[1]

    assert ("processes", expected) == (item.name, item.verdict)
    assert f"{used} of 512 processes and threads" in item.text
    assert ("too-many-processes" if expected == "warn" else None) == (item.finding and item.finding.code)


def test_few_open_files() -> None:
    """The remedy raises the soft limit in the kernel, as far as the hard one lets it."""
    raised = judge_limits(Limits(), ResourceLimits(files=256, files_hard=524288), 2)[1]
    fixed = judge_limits(Limits(), ResourceLimits(files=256, files_hard=256), 2)[1]

    assert raised.finding is not None
    assert fixed.finding is not None
    assert ("warn", "too-many-files") == (raised.verdict, raised.finding.code)
    assert ["import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 524288))"] == [
        remedy.command for remedy in raised.finding.remedies
    ]
    assert () == fixed.finding.remedies


def test_a_limited_address_space() -> None:
    """Under `ulimit -v` allocations fail with a MemoryError while memory is free."""
    item = judge_limits(Limits(), ResourceLimits(space=8 * GB), 2)[1]

    assert item.finding is not None
    assert ("warn", "memory-python") == (item.verdict, item.finding.code)
    assert "the address space of a process is limited to 8.0 GB" == item.text
    assert "resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY)" in str(
        item.finding.remedies[0].command
    )


def test_the_remedy_for_open_files_works() -> None:
    """Pasted into a process with a low soft limit, the command raises it, and a child inherits that."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    known_hard = None if hard == resource.RLIM_INFINITY else hard
    finding = judge_limits(Limits(), ResourceLimits(files=256, files_hard=known_hard), 2)[1].finding
    assert finding is not None
    code = (
        "import resource, subprocess, sys\n"
        f"resource.setrlimit(resource.RLIMIT_NOFILE, (256, {hard}))\n"
        f"{finding.remedies[0].command}\n"
        "subprocess.run(['sh', '-c', 'ulimit -n'])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert min(4096, hard if known_hard else 4096) == int(done.stdout)


def test_the_limits_of_this_process() -> None:
    """No limit is None."""
    files, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    found = own_resources()

    assert (found.files, found.files_hard) == tuple(
        None if value == resource.RLIM_INFINITY else value for value in (files, hard)
    )
