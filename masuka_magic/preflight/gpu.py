"""Check the GPU that a start asks for: that there is one, that its driver works, what memory is free, who has it.

Only what is sure prevents the start: no device, no driver, a driver that does not fit its library, a variable
that hides every GPU. Where nvidia-smi hangs, is missing beside a device, or says something new, it is a warning.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from masuka_magic.diagnosis.findings import EvidenceLine, Finding, Remedy
from masuka_magic.preflight import nvidia
from masuka_magic.preflight.check import CheckContext, CheckResult
from masuka_magic.preflight.gpu_holders import Holder, describe, find_holders, remedies_for
from masuka_magic.preflight.here import this_machine
from masuka_magic.preflight.items import Item, as_result
from masuka_magic.process.identity import run_of
from masuka_magic.quantities import size

if TYPE_CHECKING:
    import threading

    from masuka_magic.diagnosis.machine import Machine

#: nvidia-smi needs 20 ms to 1 s, the longer where the driver is loaded for it; in trouble it never returns.
LIMIT_S = 3.0
#: A CUDA context alone takes 300 to 500 MB, before anything of a model is loaded.
LOW_BYTES = 1_000_000_000
LOW_SHARE = 0.1

_MENU = "Runtime > Change runtime type > T4 GPU"
# Where it lies beside PATH: WSL, Colab, GKE.
_ELSEWHERE = ("usr/lib/wsl/lib/nvidia-smi", "opt/bin/nvidia-smi", "usr/local/nvidia/bin/nvidia-smi")
# Devices of an NVIDIA GPU (Linux, Jetson, WSL), then of another one (AMD's compute device, any that renders).
_DEVICES = ("nvidia[0-9]*", "nvhost-gpu", "nvgpu", "dxg", "kfd", "dri/renderD*")
# What the program needs: no secret of the backend's is handed on.
_PASSED_ON = ("PATH", "LD_LIBRARY_PATH", "HOME")
_VARIABLE = "CUDA_VISIBLE_DEVICES"


class GpuCheck:
    """Ask nvidia-smi, for `limit_s` in all. `root` is the folder that stands for /."""

    name = "gpu"
    requires: tuple[str, ...] = ()

    def __init__(
        self,
        *,
        limit_s: float = LIMIT_S,
        root: Path = Path("/"),
        run_of: Callable[[int], str | None] = run_of,
        machine: Callable[[], Machine] = this_machine,
    ) -> None:
        self._limit_s = limit_s
        self._root = root
        self._run_of = run_of
        self._machine = machine

    def run(self, context: CheckContext) -> CheckResult:
        deadline = time.monotonic() + self._limit_s
        environ = context.environ or os.environ
        program = self._find(environ.get("PATH"))
        if program is None:
            return self._without_program()
        env = {name: environ[name] for name in _PASSED_ON if name in environ} | {"LC_ALL": "C"}
        try:
            answer, gpus = _ask_for_gpus(program, env, deadline, context.cancelled)
        except OSError as error:
            words = f"{program} cannot be run: {error.strerror}"
            return _warned(words, Finding("gpu-driver", words, program, _said(words)))
        if context.cancelled.is_set():
            return CheckResult("skip", "interrupted")
        if not gpus:
            return self._refused(answer)
        seen = nvidia.visible(environ.get(_VARIABLE), len(gpus))
        if seen == ():
            return self._hidden(environ[_VARIABLE], len(gpus), in_cell=_VARIABLE in context.config.env)
        chosen = _chosen(gpus, seen, by_bus=environ.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID")
        holders: tuple[Holder, ...] = ()
        if any(_is_low(gpu) for gpu in chosen):
            holders = self._holders(program, env, deadline, context.cancelled)
        return _judge(gpus, chosen, holders)

    def _find(self, search: str | None) -> str | None:
        beside = (self._root / place for place in _ELSEWHERE)
        return shutil.which("nvidia-smi", path=search) or next(
            (str(path) for path in beside if path.is_file()), None
        )

    def _without_program(self) -> CheckResult:
        if not (self._root / "proc").exists():
            return CheckResult("skip", "only NVIDIA's GPUs on Linux are checked")
        devices = self._root / "dev"
        found = next((path for pattern in _DEVICES for path in sorted(devices.glob(pattern))), None)
        if found is not None:
            device = f"/{found.relative_to(self._root)}"
            return CheckResult("warn", f"{device} is there, but no nvidia-smi to ask about it: not checked")
        return self._no_gpu("there is no nvidia-smi and no GPU device in /dev")

    def _refused(self, answer: nvidia.Answer) -> CheckResult:
        """Judge an answer without a GPU in it."""
        if answer.returncode is None:
            words = f"nvidia-smi has not answered within {self._limit_s:g} s"
            note = "it waits for the driver: CUDA will probably do so too"
            return _warned(words, Finding("gpu-driver", words, "nvidia-smi", _said(words), (note,)))
        match nvidia.trouble_in(answer.text):
            case "no-device":
                return self._no_gpu("nvidia-smi found no device", *answer.first_lines)
            case "no-driver":
                return self._no_gpu("nvidia-smi cannot reach an NVIDIA driver", *answer.first_lines)
            case "mismatch":
                return _mismatch(answer)
        first = answer.first_lines[0] if answer.first_lines else f"it ended with {answer.returncode}"
        words = f"nvidia-smi does not tell of any GPU: {first}"
        finding = Finding("gpu-driver", words, "nvidia-smi", _said(*answer.first_lines))
        return _warned(words, finding)

    def _no_gpu(self, why: str, *lines: str) -> CheckResult:
        title = f"a GPU is required and there is none: {why}"
        remedies = []
        notes = []
        if self._machine().colab:
            remedies.append(Remedy(f"take a runtime with a GPU, in the menu: {_MENU}", kind="edit"))
            notes.append("another runtime is another machine: its files and variables are new")
        elif (self._root / ".dockerenv").exists():
            remedies.append(Remedy("give the container the GPUs: docker run --gpus all …", kind="edit"))
        remedies.append(
            Remedy("or start without one, in the cell", "gpu = false", kind="cell", confidence=0.5)
        )
        finding = Finding("no-gpu", title, None, _said(*(lines or (why,))), tuple(notes), tuple(remedies))
        return CheckResult("fail", title, finding)

    def _hidden(self, value: str, count: int, *, in_cell: bool) -> CheckResult:
        shown = "".join(char for char in value if char.isprintable())[:40]
        there = "the one GPU" if count == 1 else f"all {count} GPUs"
        title = f'{_VARIABLE}="{shown}" hides {there} from the backend'
        place = "[env]" if in_cell else "the kernel's environment"
        remedy = Remedy("name the GPU to use, in the cell", f'[env]\n{_VARIABLE} = "0"', kind="cell")
        note = f"the variable is set in {place}"
        return CheckResult(
            "fail", title, Finding("no-gpu", title, _VARIABLE, _said(title), (note,), (remedy,))
        )

    def _holders(
        self, program: str, env: Mapping[str, str], deadline: float, cancelled: threading.Event
    ) -> tuple[Holder, ...]:
        answer = nvidia.ask(nvidia.query_apps(program), env, deadline, cancelled)
        apps = nvidia.parse_apps(answer.text) if answer.returncode == 0 else ()
        return find_holders(apps, self._root, self._run_of)


def _ask_for_gpus(
    program: str, env: Mapping[str, str], deadline: float, cancelled: threading.Event
) -> tuple[nvidia.Answer, tuple[nvidia.Gpu, ...]]:
    """Ask for the GPUs, again without a field that this version does not know."""
    fields: tuple[str, ...] = nvidia.FIELDS
    while True:
        answer = nvidia.ask(nvidia.query_gpus(program, fields), env, deadline, cancelled)
        refused = nvidia.refused_field(answer.text)
        if answer.returncode is None or refused not in fields or refused == "index":
            return answer, nvidia.parse_gpus(answer.text, fields)
        fields = tuple(field for field in fields if field != refused)


def _chosen(
    gpus: Sequence[nvidia.Gpu], seen: Sequence[int] | None, *, by_bus: bool
) -> tuple[nvidia.Gpu, ...]:
    """Return the GPUs that the backend may use first.

    CUDA numbers the fastest first, nvidia-smi by bus (CUDA_DEVICE_ORDER): the two agree for equal GPUs, and
    where the variable says so. Otherwise every GPU may be the first.
    """
    if not by_bus and len({gpu.name for gpu in gpus}) > 1:
        return tuple(gpus)
    first = 0 if seen is None else seen[0]
    return (gpus[first],)


def _is_low(gpu: nvidia.Gpu) -> bool:
    """Say whether the memory is nearly full; what a divided GPU tells is not its instances'."""
    if gpu.free is None or gpu.total is None or gpu.mig:
        return False
    return gpu.free < max(LOW_BYTES, gpu.total * LOW_SHARE)


def _judge(
    gpus: Sequence[nvidia.Gpu], chosen: Sequence[nvidia.Gpu], holders: Sequence[Holder]
) -> CheckResult:
    """Warn where every GPU that may be taken first is nearly full; the others are shown as they are."""
    full = all(_is_low(gpu) for gpu in chosen)
    items = []
    for gpu in gpus:
        name = "gpu" if len(gpus) == 1 else f"gpu {gpu.index}"
        if full and gpu in chosen:
            items.append(Item(name, "warn", _shown(gpu), _nearly_full(gpu, holders)))
        else:
            items.append(Item(name, "pass", _shown(gpu)))
    healthy = _shown(chosen[0]) + (f", the first of {len(gpus)}" if len(gpus) > 1 else "")
    result = as_result(items, healthy)
    return result if result.finding is None else replace(result, text=result.finding.title)


def _shown(gpu: nvidia.Gpu) -> str:
    parts = [_plain(gpu.name)]
    if gpu.mig:
        parts.append("divided into instances (MIG)")
    elif gpu.free is not None and gpu.total is not None:
        parts.append(f"{size(gpu.free)} of {size(gpu.total)} free")
    else:
        parts.append("does not tell its memory")
    if gpu.driver is not None:
        parts.append(f"driver {_plain(gpu.driver)}")
    if gpu.capability is not None:
        parts.append(f"compute {_plain(gpu.capability)}")
    return ", ".join(parts)


def _nearly_full(gpu: nvidia.Gpu, holders: Sequence[Holder]) -> Finding:
    free, total = size(gpu.free or 0), size(gpu.total or 0)
    title = f"only {free} of {total} are free on GPU {gpu.index}, {_plain(gpu.name)}"
    notes = tuple(describe(holder) for holder in holders) or (
        "which process has it cannot be seen from here",
    )
    return Finding("cuda-oom", title, f"GPU {gpu.index}", _said(_shown(gpu)), notes, remedies_for(holders))


def _mismatch(answer: nvidia.Answer) -> CheckResult:
    library = nvidia.library_version(answer.text)
    which = f", which is {library}," if library else ""
    title = f"the loaded NVIDIA driver is not that of its library{which} so CUDA cannot start"
    notes = ("the driver was updated while the old one was loaded",)
    remedies = (
        Remedy("restart the machine (of a container: the host), which loads the new driver", kind="edit"),
    )
    finding = Finding("gpu-driver", title, "nvidia-smi", _said(*answer.first_lines), notes, remedies)
    return CheckResult("fail", title, finding)


def _warned(words: str, finding: Finding) -> CheckResult:
    return CheckResult("warn", words, finding)


def _said(*lines: str) -> tuple[EvidenceLine, ...]:
    return tuple(EvidenceLine("gpu", None, line) for line in lines)


def _plain(text: str) -> str:
    return re.sub(r"[^\x20-\x7e]", "", text)[:60]
