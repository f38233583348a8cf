from __future__ import annotations

import os
import shlex
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from masuka_magic.diagnosis.machine import Machine
from masuka_magic.preflight.check import CheckContext, CheckResult
from masuka_magic.preflight.gpu import GpuCheck
from masuka_magic.preflight.nvidia import App, Gpu, parse_apps, parse_gpus, trouble_in, visible

MIB = 1024 * 1024
T4 = "0, Tesla T4, 550.54.15, 15360, 3, 15095, 7.5, [N/A]\n"
FULL_T4 = "0, Tesla T4, 550.54.15, 15360, 14791, 307, 7.5, [N/A]\n"
# It ends with NVML's own codes (nvmlReturn_t).
INVALID, NOT_FOUND, NO_DRIVER, MISMATCH = 2, 6, 9, 18


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Give a folder that stands for /, with no device and no process."""
    folder = tmp_path / "root"
    (folder / "proc").mkdir(parents=True)
    (folder / "dev").mkdir()
    return folder


@pytest.fixture
def fake_smi(tmp_path: Path) -> Callable[..., Path]:
    """Put an `nvidia-smi` on the PATH of the check that answers as told and writes down what it is asked."""

    def make(
        gpus: str = "", apps: str = "", *, code: int = 0, unknown: str | None = None, first: str = ""
    ) -> Path:
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        refusal = f'Field "{unknown}" is not a valid field to query.\n\n'
        lines = [
            "#!/bin/sh",
            f'echo "$@" >> {shlex.quote(str(tmp_path / "asked"))}',
            first,
            'case "$1" in',
            f"*{unknown}*) printf %s {shlex.quote(refusal)}; exit {INVALID};;" if unknown else "",
            f"--query-gpu=*) printf %s {shlex.quote(gpus)}; exit {code};;",
            f"--query-compute-apps=*) printf %s {shlex.quote(apps)};;",
            f"*) exit {INVALID};;",
            "esac",
        ]
        program = folder / "nvidia-smi"
        program.write_text("\n".join(line for line in lines if line))
        program.chmod(0o755)
        return folder

    return make


@pytest.fixture
def asked(tmp_path: Path) -> Callable[[], list[str]]:
    return lambda: (tmp_path / "asked").read_text().splitlines()


@pytest.fixture
def look(make_config, root: Path, tmp_path: Path) -> Callable[..., CheckResult]:
    """Run the check with a PATH that has the fake alone, and the shell's own programs."""

    def run(
        *,
        machine: Machine | None = None,
        run_of: Callable[[int], str | None] = lambda _: None,
        limit_s: float = 30.0,
        cancelled: threading.Event | None = None,
        in_cell: dict[str, str] | None = None,
        **environ: str,
    ) -> CheckResult:
        check = GpuCheck(limit_s=limit_s, root=root, run_of=run_of, machine=lambda: machine or Machine())
        path = f"{tmp_path / 'bin'}:{tmp_path / 'tools'}"
        tools = tmp_path / "tools"
        tools.mkdir(exist_ok=True)
        config = make_config(gpu=True, env=in_cell or {})
        environ = {"PATH": path, **environ, **(in_cell or {})}
        return check.run(CheckContext(config, lambda _: None, cancelled or threading.Event(), environ))

    return run


def with_process(root: Path, pid: int, command: str) -> None:
    """Put a process with CUDA's memory device open into the tree."""
    folder = root / "proc" / str(pid)
    (folder / "fd").mkdir(parents=True)
    (folder / "comm").write_text(f"{command}\n")
    (folder / "fd" / "7").symlink_to("/dev/nvidia-uvm")
    (folder / "fd" / "8").symlink_to("socket:[1234]")


def test_a_gpu_with_room(fake_smi, look, asked) -> None:
    """A T4, 15,360 MiB of which are told, as on Colab (github.com/modal-labs/modal-client pull 2797)."""
    fake_smi(T4)

    result = look()

    assert CheckResult("pass", "Tesla T4, 16 GB of 16 GB free, driver 550.54.15, compute 7.5") == CheckResult(
        result.verdict, result.text, result.finding
    )
    assert [("gpu", "pass")] == [(layer.name, layer.verdict) for layer in result.layers]
    # Who has the memory is asked only where it is short.
    fields = "index,name,driver_version,memory.total,memory.used,memory.free,compute_cap,mig.mode.current"
    assert [f"--query-gpu={fields} --format=csv,noheader,nounits"] == asked()


def test_a_driver_that_does_not_know_a_field(fake_smi, look, asked) -> None:
    """Driver 470 has no compute_cap: exit 2 and a line on stdout (github.com/huggingface/candle issue 733,
    github.com/CoHDI/composable-resource-operator issue 37); the others are asked for again.
    """
    fake_smi("0, Tesla T4, 470.182.03, 15109, 0, 15109, [N/A]\n", unknown="compute_cap")

    assert "Tesla T4, 16 GB of 16 GB free, driver 470.182.03" == look().text
    assert 2 == len(asked())


def test_a_gpu_that_shares_the_machines_memory(fake_smi, look) -> None:
    """A GB10 tells no memory at all (github.com/unslothai/unsloth pull 10703): a GPU, and nothing to judge."""
    fake_smi("0, NVIDIA GB10, 580.126.09, [N/A], [N/A], [N/A], 12.1, [N/A]\n")

    assert ("pass", "NVIDIA GB10, does not tell its memory, driver 580.126.09, compute 12.1") == (
        look().verdict,
        look().text,
    )


def test_an_instance_of_a_divided_gpu(fake_smi, look) -> None:
    """In a container with a MIG instance the memory is not for us to see
    (github.com/Stability-AI/StableSwarmUI issue 388).
    """
    hidden = "[Insufficient Permissions], [Insufficient Permissions], [Insufficient Permissions]"
    fake_smi(f"0, NVIDIA A100-SXM4-80GB, 535.161.08, {hidden}, 8.0, Enabled\n")

    assert (
        "NVIDIA A100-SXM4-80GB, divided into instances (MIG), driver 535.161.08, compute 8.0" == look().text
    )
    # What the whole GPU has left says nothing of an instance.
    fake_smi("0, NVIDIA A100-SXM4-80GB, 535.161.08, 81920, 81900, 20, 8.0, Enabled\n")
    assert "pass" == look().verdict


def test_no_gpu_at_all(look) -> None:
    """Neither program nor device: the start is prevented, and going without a GPU is offered."""
    result = look()

    title = "a GPU is required and there is none: there is no nvidia-smi and no GPU device in /dev"
    assert ("fail", title) == (result.verdict, result.text)
    assert result.finding is not None
    assert ("no-gpu", title) == (result.finding.code, result.finding.title)
    assert ["gpu = false"] == [remedy.command for remedy in result.finding.remedies]


def test_no_gpu_on_colab(look) -> None:
    """There it is a menu away."""
    finding = look(machine=Machine(colab=True)).finding

    assert finding is not None
    assert "take a runtime with a GPU, in the menu: Runtime > Change runtime type > T4 GPU" == (
        finding.remedies[0].text
    )


def test_no_gpu_in_docker(look, root) -> None:
    """A container has the GPUs that it was started with."""
    (root / ".dockerenv").touch()

    finding = look().finding

    assert finding is not None
    assert "docker run --gpus all" in finding.remedies[0].text


@pytest.mark.parametrize("device", ["nvidia0", "kfd", "dri/renderD128", "dxg", "nvhost-gpu"])
def test_a_device_without_the_program(look, root, device) -> None:
    """A GPU of AMD's, a Jetson, or a container without nvidia-smi: that one is there is all that can be said."""
    (root / "dev" / device).parent.mkdir(exist_ok=True)
    (root / "dev" / device).touch()

    result = look()

    assert ("warn", f"/dev/{device} is there, but no nvidia-smi to ask about it: not checked") == (
        result.verdict,
        result.text,
    )


def test_the_program_may_lie_beside_the_path(fake_smi, look, root, tmp_path) -> None:
    """Colab has it in /opt/bin, WSL in /usr/lib/wsl/lib."""
    program = fake_smi(T4) / "nvidia-smi"
    (root / "opt/bin").mkdir(parents=True)
    program.rename(root / "opt/bin/nvidia-smi")

    assert "pass" == look().verdict


def test_no_driver(fake_smi, look) -> None:
    """The program without a driver
    (github.com/GoogleCloudPlatform/compute-gpu-installation pull 18).
    """
    fake_smi(
        "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. "
        "Make sure that the latest NVIDIA driver is installed and running.\n\n",
        code=NO_DRIVER,
    )

    result = look()

    assert "fail" == result.verdict
    assert result.text.endswith("nvidia-smi cannot reach an NVIDIA driver")
    assert result.finding is not None
    assert "no-gpu" == result.finding.code
    assert result.finding.evidence[0].text.startswith("NVIDIA-SMI has failed because")


@pytest.mark.parametrize("code", [0, NOT_FOUND])
def test_no_device(fake_smi, look, code) -> None:
    """A driver without a GPU; "No devices were found" (github.com/beasteers/singuconda issue 6)."""
    fake_smi("No devices were found\n", code=code)

    result = look()

    assert ("fail", "a GPU is required and there is none: nvidia-smi found no device") == (
        result.verdict,
        result.text,
    )


def test_driver_and_library_differ(fake_smi, look) -> None:
    """An update without a restart: exit 18 and two lines (github.com/anderskm/gputil issue 55)."""
    fake_smi(
        "Failed to initialize NVML: Driver/library version mismatch\nNVML library version: 535.161\n",
        code=MISMATCH,
    )

    result = look()

    assert ("fail", "gpu-driver") == (result.verdict, result.finding and result.finding.code)
    assert (
        "the loaded NVIDIA driver is not that of its library, which is 535.161, so CUDA cannot start"
        == result.text
    )


def test_a_gpu_that_has_fallen_off_the_bus(fake_smi, look) -> None:
    """A new or rare error is shown in its own words and prevents nothing: other GPUs may work
    (github.com/NVIDIA/open-gpu-kernel-modules issue 387).
    """
    line = "Unable to determine the device handle for GPU 0000:0B:00.0: Unknown Error"
    fake_smi(f"{line}\n", code=255)

    result = look()

    assert ("warn", f"nvidia-smi does not tell of any GPU: {line}") == (result.verdict, result.text)
    assert ("gpu-driver", line) == (
        result.finding and result.finding.code,
        result.finding and result.finding.evidence[0].text,
    )


def test_foreign_words_are_shown_on_one_line(fake_smi, look) -> None:
    """Escape sequences and long lines of the program do not reach the screen."""
    fake_smi("\x1b[2Jbroken\t" + "x" * 500 + "\n", code=1)

    text = look().text

    assert text.isprintable()
    assert len(text) < 260


def test_a_program_that_hangs_is_cut_off(fake_smi, look, tmp_path, wait_until) -> None:
    """A driver in trouble never answers: after the limit it is a warning, and nothing is left running."""
    fake_smi(T4, first=f"echo $$ > {tmp_path / 'pid'}; /bin/sleep 300")
    begun = time.monotonic()

    result = look(limit_s=1.0)

    assert time.monotonic() - begun < 15
    assert ("warn", "nvidia-smi has not answered within 1 s") == (result.verdict, result.text)
    pid = int((tmp_path / "pid").read_text())
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), what="the end of nvidia-smi")


def test_an_interrupt_ends_it(fake_smi, look) -> None:
    """The user does not wait for the limit."""
    fake_smi(T4, first="/bin/sleep 300")
    cancelled = threading.Event()
    threading.Timer(0.2, cancelled.set).start()
    begun = time.monotonic()

    result = look(cancelled=cancelled, limit_s=60.0)

    assert ("skip", "interrupted") == (result.verdict, result.text)
    assert time.monotonic() - begun < 30


def test_a_program_that_cannot_be_run(fake_smi, look) -> None:
    """One for another processor, say: a warning with the system's words."""
    program = fake_smi(T4) / "nvidia-smi"
    program.write_bytes(b"\x7fELF")

    result = look()

    assert "warn" == result.verdict
    assert result.text.endswith("cannot be run: Exec format error")


@pytest.mark.parametrize("value", ["", "-1", "none", "7"])
def test_a_variable_that_hides_every_gpu(fake_smi, look, value) -> None:
    """CUDA takes no entry behind an invalid one, so the backend would find none."""
    fake_smi(T4)

    result = look(CUDA_VISIBLE_DEVICES=value)

    title = f'CUDA_VISIBLE_DEVICES="{value}" hides the one GPU from the backend'
    assert ("fail", title) == (result.verdict, result.text)
    assert result.finding is not None
    assert ("no-gpu", ("the variable is set in the kernel's environment",)) == (
        result.finding.code,
        result.finding.notes,
    )
    in_cell = look(in_cell={"CUDA_VISIBLE_DEVICES": value}).finding
    assert in_cell is not None
    assert ("the variable is set in [env]",) == in_cell.notes


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        ("0", (0,)),
        ("1,0", (1, 0)),
        (" 1 , 3", (1,)),
        ("0,-1,1", (0,)),
        ("GPU-8932f937-d72c-4106-c12f-20bd9faed9f6", None),
        ("MIG-GPU-8932f937/1/2", None),
        ("0x1", ()),
    ],
)
def test_what_cuda_can_see_of_two(value, expected) -> None:
    """Indexes up to the first invalid one; UUIDs are not followed up."""
    assert expected == visible(value, 2)


def test_memory_held_by_an_earlier_start(fake_smi, look, root) -> None:
    """A backend that still runs is named and can be stopped; it is known by its run, not by its name."""
    fake_smi(FULL_T4, "812, /content/venv/bin/python3, 14788\n")
    with_process(root, 812, "python3")
    folder = "/root/.local/state/masuka_magic/backend-0123456789abcdef/20261123T120000.000000Z-00ff"

    result = look(run_of={812: folder}.get)

    title = "only 322 MB of 16 GB are free on GPU 0, Tesla T4"
    assert ("warn", title) == (result.verdict, result.text)
    assert result.finding is not None
    assert ("cuda-oom", title) == (result.finding.code, result.finding.title)
    assert ("pid 812, the backend backend of an earlier start, holds 16 GB",) == result.finding.notes
    assert ["%masuka_stop backend"] == [remedy.command for remedy in result.finding.remedies]


def test_memory_held_by_this_kernel(fake_smi, look, root) -> None:
    """A notebook that tried the model itself has it still; nvidia-smi cannot name it in a container, where it
    counts by the host's numbers (github.com/NVIDIA/nvidia-docker issue 1483).
    """
    fake_smi(FULL_T4, "40170, [Not Found], 14788\n")
    with_process(root, os.getpid(), "python3")

    finding = look().finding

    assert finding is not None
    assert ("this kernel itself has the GPU open",) == finding.notes
    assert ["import gc, torch; gc.collect(); torch.cuda.empty_cache()"] == [
        remedy.command for remedy in finding.remedies
    ]


def test_memory_held_by_somebody_else(fake_smi, look, root) -> None:
    """Others' processes are named, the largest first, and nothing is proposed against them."""
    fake_smi(FULL_T4, "90, /usr/lib/xorg/Xorg, 12\n700, /opt/a, b/train, 14000\n")
    with_process(root, 90, "Xorg")

    finding = look(run_of=lambda _: "").finding

    assert finding is not None
    assert ("pid 700 (train) holds 15 GB", "pid 90 (Xorg) holds 13 MB") == finding.notes
    assert () == finding.remedies


def test_a_number_of_the_host_is_not_taken_for_a_process_here(fake_smi, look, root) -> None:
    """A process with the same number that has no GPU open is not accused."""
    fake_smi(FULL_T4, "812, [Not Found], 14788\n")
    (root / "proc/812/fd").mkdir(parents=True)

    finding = look(run_of=lambda _: "/state/backend-0123456789abcdef/run").finding

    assert finding is not None
    assert ("processes that cannot be seen from here hold 16 GB",) == finding.notes
    assert () == finding.remedies


def test_nobody_to_be_seen(fake_smi, look) -> None:
    """The memory is short all the same."""
    fake_smi(FULL_T4)

    finding = look().finding

    assert finding is not None
    assert ("which process has it cannot be seen from here",) == finding.notes


TWO = (
    "0, NVIDIA A100-SXM4-40GB, 550.54.15, 40960, 40000, 960, 8.0, Disabled\n"
    "1, NVIDIA A100-SXM4-40GB, 550.54.15, 40960, 500, 40460, 8.0, Disabled\n"
)


@pytest.mark.parametrize(
    ("variable", "expected"), [(None, "warn"), ("0", "warn"), ("1", "pass"), ("1,0", "pass")]
)
def test_of_two_gpus_the_first_one_counts(fake_smi, look, variable, expected) -> None:
    """A backend takes CUDA's first, which the variable may change; the others are shown."""
    fake_smi(TWO)

    result = look(**({} if variable is None else {"CUDA_VISIBLE_DEVICES": variable}))

    assert expected == result.verdict
    assert ["gpu 0", "gpu 1"] == [layer.name for layer in result.layers]
    if expected == "pass":
        assert result.text.endswith(", the first of 2")


def test_of_different_gpus_any_may_be_the_first(fake_smi, look) -> None:
    """CUDA puts the fastest first, nvidia-smi counts by bus: one with room is enough, unless the variable says."""
    fake_smi(TWO.replace("A100-SXM4-40GB", "GeForce RTX 4090", 1))

    assert "pass" == look().verdict
    assert "warn" == look(CUDA_DEVICE_ORDER="PCI_BUS_ID").verdict


def test_rows_that_are_none_are_passed_over() -> None:
    """Warnings between the rows, torn rows and a header do not count."""
    text = f"index, name\nWARNING: infoROM is corrupted at gpu 0000:00:1E.0\n{T4}1, torn\n"

    assert (Gpu(0, "Tesla T4", "550.54.15", 15360 * MIB, 3 * MIB, 15095 * MIB, "7.5"),) == parse_gpus(text)
    assert (App(7, "a, b", None), App(8, None, 5 * MIB)) == parse_apps(
        "pid, process_name, used\n7, a, b, [N/A]\n8, [Not Found], 5\n9\n\n"
    )
    assert "unknown" == trouble_in(T4)
