"""Metrics of the engine as Prometheus reads them (text format 0.0.4): what is counted, and how it is written.

Names, help and labels are dockerd 20.10's; its `go_*`, `etcd_*` and `swarm_*` are those of what it is built of, and are not
here. There is one set of them in a process, as in dockerd, so they are values of this module. They belong to the event
loop's thread, but for the logs', which are counted in any.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import resource
import time
from bisect import bisect_left
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = [
    "CONTAINER_ACTIONS",
    "EVENTS",
    "HEALTH_CHECKS",
    "HEALTH_CHECKS_FAILED",
    "HOST_FUNCTIONS",
    "LOG_PARTIAL",
    "LOG_READ_FAILURES",
    "LOG_WRITE_FAILURES",
    "NETWORK_ACTIONS",
    "Counter",
    "Histogram",
    "Sample",
    "labels",
    "process_samples",
    "text",
]

#: The upper bounds of a histogram's buckets, in seconds: Prometheus' defaults.
BOUNDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


@dataclass(frozen=True, slots=True)
class Sample:
    """One metric at one moment: its values by what stands behind its name (`_sum{...}`, `{...}`, "")."""

    name: str
    kind: str
    help: str
    values: Sequence[tuple[str, float]]


@dataclass(slots=True)
class Counter:
    """A number that only grows."""

    name: str
    help: str
    value: int = 0

    def add(self) -> None:
        """Count one more."""
        self.value += 1

    def sample(self) -> Sample:
        """Return what it is now."""
        return Sample(self.name, "counter", self.help, [("", self.value)])


@dataclass(slots=True)
class Histogram:
    """How long things took, by the value of one label."""

    name: str
    help: str
    label: str
    _buckets: dict[str, list[int]] = field(default_factory=dict)
    _sums: dict[str, float] = field(default_factory=dict)

    def observe(self, value: str, seconds: float) -> None:
        """Note one."""
        buckets = self._buckets.setdefault(value, [0] * (len(BOUNDS) + 1))
        buckets[bisect_left(BOUNDS, seconds)] += 1
        self._sums[value] = self._sums.get(value, 0.0) + seconds

    @contextlib.contextmanager
    def timed(self, value: str) -> Iterator[None]:
        """Note how long the block takes; one that fails is not noted."""
        began = time.monotonic()
        yield
        self.observe(value, time.monotonic() - began)

    def sample(self) -> Sample:
        """Return what it is now."""
        values: list[tuple[str, float]] = []
        for value, buckets in sorted(self._buckets.items()):
            label = f'{self.label}="{value}"'
            for bound, count in zip((*BOUNDS, "+Inf"), itertools.accumulate(buckets), strict=True):
                values.append((f'_bucket{{{label},le="{bound}"}}', count))
            values.append((f"_sum{{{label}}}", self._sums[value]))
            values.append((f"_count{{{label}}}", sum(buckets)))
        return Sample(self.name, "histogram", self.help, values)


CONTAINER_ACTIONS: Final = Histogram(
    "engine_daemon_container_actions_seconds",
    "The number of seconds it takes to process each container action",
    "action",
)
for _action in ("changes", "commit", "create", "delete", "start"):
    CONTAINER_ACTIONS.observe(_action, 0)  # so that each is there from the start, as dockerd has it
NETWORK_ACTIONS: Final = Histogram(
    "engine_daemon_network_actions_seconds",
    "The number of seconds it takes to process each network action",
    "action",
)
HOST_FUNCTIONS: Final = Histogram(
    "engine_daemon_host_info_functions_seconds",
    "The number of seconds it takes to call functions gathering info about the host",
    "function",
)
EVENTS: Final = Counter("engine_daemon_events_total", "The number of events logged")
HEALTH_CHECKS: Final = Counter("engine_daemon_health_checks_total", "The total number of health checks")
HEALTH_CHECKS_FAILED: Final = Counter(
    "engine_daemon_health_checks_failed_total", "The total number of failed health checks"
)
LOG_PARTIAL: Final = Counter(
    "logger_log_entries_size_greater_than_buffer_total",
    "Number of log entries which are larger than the log buffer",
)
LOG_READ_FAILURES: Final = Counter(
    "logger_log_read_operations_failed_total", "Number of log reads from container stdio that failed"
)
LOG_WRITE_FAILURES: Final = Counter(
    "logger_log_write_operations_failed_total", "Number of log write operations that failed"
)
#: Where builds may fail: dockerd tells of each, and so does an engine without a builder, where none ever has.
_BUILDS: Final = Sample(
    "builder_builds_failed_total",
    "counter",
    "Number of failed image builds",
    [
        (f'{{reason="{reason}"}}', 0)
        for reason in (
            "build_canceled",
            "build_target_not_reachable_error",
            "command_not_supported_error",
            "dockerfile_empty_error",
            "dockerfile_syntax_error",
            "error_processing_commands_error",
            "missing_onbuild_arguments_error",
            "unknown_instruction_error",
        )
    ],
)
_TRIGGERED: Final = Sample(
    "builder_builds_triggered_total", "counter", "Number of triggered image builds", [("", 0)]
)
_HISTOGRAMS: Final = (CONTAINER_ACTIONS, NETWORK_ACTIONS, HOST_FUNCTIONS)
_COUNTERS: Final = (
    EVENTS,
    HEALTH_CHECKS,
    HEALTH_CHECKS_FAILED,
    LOG_PARTIAL,
    LOG_READ_FAILURES,
    LOG_WRITE_FAILURES,
)


def text(more: Sequence[Sample] = ()) -> str:
    """Return all metrics and `more` as text, in the order of their names; those without a value are left out."""
    samples = [*(one.sample() for one in (*_HISTOGRAMS, *_COUNTERS)), _BUILDS, _TRIGGERED, *more]
    lines: list[str] = []
    for sample in sorted(samples, key=lambda sample: sample.name):
        if sample.values:
            lines += [f"# HELP {sample.name} {sample.help}", f"# TYPE {sample.name} {sample.kind}"]
            lines += [f"{sample.name}{behind} {_number(value)}" for behind, value in sample.values]
    return "\n".join(lines) + "\n"


def labels(values: Mapping[str, str]) -> str:
    """Return labels as they stand behind a name."""
    marks = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})
    return "{" + ",".join(f'{name}="{value.translate(marks)}"' for name, value in values.items()) + "}"


def process_samples() -> list[Sample]:
    """Return what Prometheus' clients tell of their process: processor, memory, descriptors, start (proc(5))."""
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    tick = os.sysconf("SC_CLK_TCK")
    started = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + int(fields[19]) / tick
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    found = (
        ("cpu_seconds_total", "Total user and system CPU time spent in seconds.", sum(map(int, fields[11:13])) / tick),
        ("max_fds", "Maximum number of open file descriptors.", resource.getrlimit(resource.RLIMIT_NOFILE)[0]),
        ("open_fds", "Number of open file descriptors.", sum(1 for _ in Path("/proc/self/fd").iterdir())),
        ("resident_memory_bytes", "Resident memory size in bytes.", int(fields[21]) * resource.getpagesize()),
        ("start_time_seconds", "Start time of the process since unix epoch in seconds.", round(started, 2)),
        ("virtual_memory_bytes", "Virtual memory size in bytes.", int(fields[20])),
        (
            "virtual_memory_max_bytes",
            "Maximum amount of virtual memory available in bytes.",
            2**64 if limit == resource.RLIM_INFINITY else limit,
        ),
    )  # fmt: skip
    return [
        Sample(f"process_{name}", "counter" if name.endswith("_total") else "gauge", words, [("", value)])
        for name, words, value in found
    ]


def _number(value: float) -> str:
    """Return a number as Go's 'g' format with the shortest digits."""
    number = Decimal(repr(float(value))).normalize()
    power = number.adjusted()
    if not number or -5 < power < 6:
        return f"{number:f}"
    digits = "".join(map(str, number.as_tuple().digits))
    rest = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{'-' if value < 0 else ''}{digits[0]}{rest}e{power:+03d}"
