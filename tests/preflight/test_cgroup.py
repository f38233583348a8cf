from __future__ import annotations

from pathlib import Path

import pytest

from masuka_magic.preflight.cgroup import (
    Limit,
    Limits,
    Mount,
    levels,
    parse_cpu_max,
    parse_limit,
    parse_mounts,
    parse_own_groups,
    read_limits,
)

V2_MOUNT = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
V1_MOUNTS = (
    "36 31 0:33 /docker/4f1a /sys/fs/cgroup/memory ro,nosuid master:15 - cgroup cgroup rw,memory\n"
    "33 31 0:30 /docker/4f1a /sys/fs/cgroup/cpu,cpuacct ro master:12 - cgroup cgroup rw,cpu,cpuacct\n"
    "38 31 0:36 /docker/4f1a /sys/fs/cgroup/pids ro master:18 - cgroup cgroup rw,pids\n"
    "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
)
V1_GROUPS = "9:memory:/docker/4f1a\n4:cpu,cpuacct:/docker/4f1a\n8:pids:/docker/4f1a\n1:name=systemd:/\n0::/\n"
# What version 1 writes where nothing is limited.
V1_NONE = "9223372036854771712\n"


@pytest.fixture
def tree(tmp_path: Path):
    """Give a function that writes files below a folder that stands for /, and returns that folder."""

    def write(files: dict[str, str]) -> Path:
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path

    return write


def test_a_containers_limits_of_version_2(tree) -> None:
    """Memory, processes and processors are read; cache that nobody used lately does not count as used."""
    root = tree(
        {
            "proc/self/mountinfo": V2_MOUNT,
            "proc/self/cgroup": "0::/\n",
            "sys/fs/cgroup/memory.max": "2147483648\n",
            "sys/fs/cgroup/memory.high": "max\n",
            "sys/fs/cgroup/memory.current": "1500000000\n",
            "sys/fs/cgroup/memory.stat": "anon 900000000\nfile 600000000\ninactive_file 500000000\n",
            "sys/fs/cgroup/pids.max": "512\n",
            "sys/fs/cgroup/pids.current": "100\n",
            "sys/fs/cgroup/cpu.max": "150000 100000\n",
        }
    )

    assert Limits(
        Limit(2147483648, 1_000_000_000, "/sys/fs/cgroup/memory.max"),
        Limit(512, 100, "/sys/fs/cgroup/pids.max"),
        1.5,
    ) == read_limits(root)


def test_a_group_above_may_be_tighter(tree) -> None:
    """A limit on a parent group holds for us: the level with the least left decides, not the lowest limit."""
    below = "sys/fs/cgroup/user.slice/notebook.scope"
    root = tree(
        {
            "proc/self/mountinfo": V2_MOUNT,
            "proc/self/cgroup": "0::/user.slice/notebook.scope\n",
            f"{below}/memory.max": "4000000000\n",
            f"{below}/memory.current": "100000000\n",
            "sys/fs/cgroup/user.slice/memory.max": "8000000000\n",
            "sys/fs/cgroup/user.slice/memory.current": "7900000000\n",
        }
    )

    assert (
        Limit(8_000_000_000, 7_900_000_000, "/sys/fs/cgroup/user.slice/memory.max")
        == read_limits(root).memory
    )


def test_memory_high_is_a_limit_too(tree) -> None:
    """Above memory.high the kernel slows a group down, so a start stands still there."""
    root = tree(
        {
            "proc/self/mountinfo": V2_MOUNT,
            "proc/self/cgroup": "0::/\n",
            "sys/fs/cgroup/memory.max": "max\n",
            "sys/fs/cgroup/memory.high": "1000000000\n",
            "sys/fs/cgroup/memory.current": "1200000000\n",
        }
    )

    limit = read_limits(root).memory

    assert limit == Limit(1_000_000_000, 1_200_000_000, "/sys/fs/cgroup/memory.high")
    assert limit.left == 0


def test_limits_of_version_1_seen_from_inside_docker(tree) -> None:
    """The group's path is the host's, and the mount shows that very group at its top."""
    root = tree(
        {
            "proc/self/mountinfo": V1_MOUNTS,
            "proc/self/cgroup": V1_GROUPS,
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "1073741824\n",
            "sys/fs/cgroup/memory/memory.usage_in_bytes": "700000000\n",
            "sys/fs/cgroup/memory/memory.stat": (
                "cache 5\ntotal_inactive_file 200000000\nhierarchical_memory_limit 1073741824\n"
            ),
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "200000\n",
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
            "sys/fs/cgroup/pids/pids.max": "max\n",
            "sys/fs/cgroup/pids/pids.current": "7\n",
        }
    )

    expected = Limit(1073741824, 500_000_000, "/sys/fs/cgroup/memory/memory.limit_in_bytes")
    assert Limits(expected, None, 2.0) == read_limits(root)


def test_version_1_without_limits(tree) -> None:
    """The largest multiple of a page, and a quota of -1, are no limits."""
    root = tree(
        {
            "proc/self/mountinfo": V1_MOUNTS,
            "proc/self/cgroup": V1_GROUPS,
            "sys/fs/cgroup/memory/memory.limit_in_bytes": V1_NONE,
            "sys/fs/cgroup/memory/memory.usage_in_bytes": "700000000\n",
            "sys/fs/cgroup/memory/memory.stat": f"hierarchical_memory_limit {V1_NONE}",
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
        }
    )

    assert Limits() == read_limits(root)


def test_version_1_tells_of_a_limit_that_the_mount_does_not_show(tree) -> None:
    """hierarchical_memory_limit is the lowest of the groups above, which a container cannot open."""
    root = tree(
        {
            "proc/self/mountinfo": V1_MOUNTS,
            "proc/self/cgroup": V1_GROUPS,
            "sys/fs/cgroup/memory/memory.limit_in_bytes": V1_NONE,
            "sys/fs/cgroup/memory/memory.usage_in_bytes": "700000000\n",
            "sys/fs/cgroup/memory/memory.stat": "hierarchical_memory_limit 900000000\n",
        }
    )

    assert Limit(900_000_000, 700_000_000, "/sys/fs/cgroup/memory/memory.stat") == read_limits(root).memory


def test_nothing_to_read(tmp_path) -> None:
    """Without /proc, as on macOS, and without any control group, there is no limit."""
    assert Limits() == read_limits(tmp_path)


def test_the_limits_of_this_very_machine_can_be_read() -> None:
    """Whatever hierarchy the tests run in is read without an error, and leaves something to run in."""
    limits = read_limits()

    assert limits.memory is None or limits.memory.limit > 0
    assert limits.processes is None or limits.processes.used > 0
    assert limits.cpus is None or limits.cpus > 0


@pytest.mark.parametrize(
    ("group", "root", "expected"),
    [
        ("/", "/", ("/cg",)),
        ("/a/b", "/", ("/cg/a/b", "/cg/a", "/cg")),
        ("/docker/1/sub", "/docker/1", ("/cg/sub", "/cg")),
        # A path of the host without a counterpart in the mount, and one outside the namespace.
        ("/docker/1", "/kubepods/2", ("/cg",)),
        ("/../other", "/", ("/cg",)),
        ("/", "/../..", ("/cg",)),
    ],
)
def test_the_levels_of_a_group(group, root, expected) -> None:
    """From our own group up to the top of what is mounted, and never above it."""
    assert expected == levels(Mount("/cg", root, 2), group)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("max\n", None),
        ("1048576\n", 1048576),
        (V1_NONE, None),
        ("", None),
        (None, None),
        ("-1", None),
        ("0", 0),
    ],
)
def test_one_limit(text, expected) -> None:
    """A number of bytes or processes, or none."""
    assert expected == parse_limit(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("50000 100000\n", 0.5), ("max 100000\n", None), ("1 0\n", None), ("", None), (None, None)],
)
def test_a_quota_of_processors(text, expected) -> None:
    """Quota over period; a period of nothing is no quota."""
    assert expected == parse_cpu_max(text)


def test_mounts_with_blanks_and_torn_lines() -> None:
    """The kernel writes a blank as an octal number; other file systems and torn lines are passed over."""
    text = (
        "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n"
        "30 22 0:26 / /my\\040groups rw - cgroup2 cgroup2 rw\n"
        "31 22 0:27 / /torn - cgr\n"
        "\n"
    )

    assert (Mount("/my groups", "/", 2),) == parse_mounts(text)


def test_own_groups_may_hold_colons() -> None:
    """Everything behind the second colon is the path."""
    text = "4:cpu,cpuacct:/a\n0::/system.slice/crio:12:x.scope\n"

    assert {"cpu": "/a", "cpuacct": "/a", "": "/system.slice/crio:12:x.scope"} == parse_own_groups(text)
