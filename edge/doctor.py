"""The machine that an agent is to run on: clock, disk, runtime, processor, groups. Looks only, changes nothing."""

from __future__ import annotations

import ctypes
import grp
import os
import platform
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from edge.config import FileSink, SerialSource, Settings

if TYPE_CHECKING:
    from edge.bundle import Bundle
    from edge.pipeline.classify import Classifier

TIME_ERROR = 5  # adjtimex(2): the clock is not synchronised
_TIMEX_BYTES = 512  # struct timex has 208 on 64-bit Linux
LOW_DISK, NO_DISK = 1 << 30, 64 << 20
CERT_DAYS = 30.0
SERIAL_GROUP = "dialout"
# What makes int8 kernels quick, by the name that /proc/cpuinfo has for it; any one of a line.
_INT8 = {"x86_64": ("avx512_vnni", "avx_vnni", "avx2"), "aarch64": ("i8mm", "asimddp"), "armv7l": ("neon",)}


@dataclass(frozen=True)
class Finding:
    """One line: what was looked at, whether `run` can work, what was found, and what to do where it is not as it
    should be. `ok` with a `fix` is a warning.
    """

    part: str
    ok: bool
    says: str
    fix: str = ""

    @property
    def mark(self) -> str:
        """ok, warn or FAIL."""
        return "FAIL" if not self.ok else "warn" if self.fix else "ok"


def failed(part: str, error: Exception) -> Finding:
    """From an error whose message ends in what to do, after a semicolon, as ours do."""
    text = str(error) or type(error).__name__
    says, _, fix = text.partition("; ")
    return Finding(part, False, says, fix)


def machine(settings: Settings) -> Iterator[Finding]:
    """What concerns every agent on this machine."""
    yield runtime()
    yield processor(platform.machine(), cpu_flags())
    yield clock(clock_state())
    yield from disks(settings)
    if any(isinstance(source, SerialSource) for source in settings.source):
        yield serial_group(own_groups())


def runtime() -> Finding:
    """Which TFLite interpreter there is."""
    from edge.errors import RuntimeMissingError
    from edge.pipeline.runtime import runtime_name

    try:
        name = runtime_name()
    except RuntimeMissingError as error:
        return failed("runtime", error)
    return Finding("runtime", True, f"{name} {metadata.version(name.replace('_', '-'))}")


def cpu_flags() -> frozenset[str]:
    """Features of the first processor; empty where /proc does not tell."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        return frozenset()
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip().lower() in ("flags", "features"):
            return frozenset(value.split())
    return frozenset()


def cpu_name() -> str:
    """As the processor or the board calls itself."""
    try:
        return Path("/proc/device-tree/model").read_text("utf-8", "replace").strip("\0 \n")
    except OSError:
        pass
    try:
        for line in Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return value.strip()
    except OSError:
        pass
    return platform.machine()


def processor(kind: str, flags: frozenset[str]) -> Finding:
    """Whether int8 runs at its speed here."""
    wanted = _INT8.get(kind, ())
    has = [name for name in wanted if name in flags]
    says = f"{cpu_name()}, {os.cpu_count()} cores"
    if has or not flags:
        return Finding("cpu", True, says + (f", {has[0]} for int8" if has else ""))
    return Finding(
        "cpu",
        True,
        f"{says}, none of {', '.join(wanted) or 'the known int8 instructions'}",
        "int8 will be slow: measure with edge-agent bench, and give one stream for each window that it has time for",
    )


def clock_state() -> int:
    """adjtimex(2) asked for nothing but its answer: 0 to 4 is synchronised, 5 not, -1 unknown."""
    try:
        return int(ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES)))
    except (OSError, AttributeError):
        return -1


def clock(state: int) -> Finding:
    """Times in results and events are this machine's."""
    if state == TIME_ERROR:
        return Finding(
            "clock",
            True,
            "not synchronised: results and events will carry wrong times",
            "sudo timedatectl set-ntp true, or install chrony; a board without network needs a real-time clock",
        )
    return Finding(
        "clock", True, "synchronised" if state >= 0 else "this system does not say whether it is right"
    )


def disks(settings: Settings) -> Iterator[Finding]:
    """Room where the agent writes."""
    state = settings.node.state_dir or Path(os.environ.get("STATE_DIRECTORY") or Path.home())
    seen: set[int] = set()
    for folder in (state, *(sink.path.parent for sink in settings.sink if isinstance(sink, FileSink))):
        where = next((path for path in (folder, *folder.absolute().parents) if path.exists()), Path("/"))
        device = where.stat().st_dev
        if device in seen:
            continue
        seen.add(device)
        usage = shutil.disk_usage(where)
        says = f"{where}: {usage.free / 1e9:.1f} of {usage.total / 1e9:.1f} GB free"
        low = usage.free < LOW_DISK
        yield Finding(
            "disk", usage.free >= NO_DISK, says, "free some space, or write elsewhere" if low else ""
        )


def own_groups() -> set[str]:
    """Names of this process's groups."""
    names = set()
    for number in {os.getgid(), *os.getgroups()}:
        try:
            names.add(grp.getgrgid(number).gr_name)
        except KeyError:
            pass
    return names


def serial_group(groups: set[str], user: int | None = None) -> Finding:
    """Whether serial ports may be opened at all."""
    if (os.geteuid() if user is None else user) == 0 or SERIAL_GROUP in groups:
        return Finding("group", True, f"this user may open ports of group {SERIAL_GROUP}")
    return Finding(
        "group",
        True,
        f"this user is not in group {SERIAL_GROUP}, which owns serial ports on most systems",
        f"sudo usermod -aG {SERIAL_GROUP} $USER, then log in again",
    )


def certificate(not_after: str, now: float) -> Finding:
    """`not_after` as ssl gives it: how long the broker's certificate is good."""
    import ssl

    days = (ssl.cert_time_to_seconds(not_after) - now) / 86_400.0
    says = f"the broker's certificate is good for {days:.0f} more days"
    return Finding(
        "tls", True, says, "renew it: from that day on no agent connects" if days < CERT_DAYS else ""
    )


def throughput(bundle: Bundle, classifier: Classifier) -> Finding:
    """One golden window through the model: the median of seven, in the time that a stream has for one."""
    from edge.pipeline.model import Model
    from edge.pipeline.verdict import Judge

    model = Model(bundle, classifier, Judge(bundle.manifest))
    window = model.window(bundle.vectors.windows[0])
    took = []
    for _ in range(7):
        began = time.perf_counter()
        model.classify(window)
        took.append(time.perf_counter() - began)
    median_s = sorted(took)[len(took) // 2]
    spec = bundle.manifest.input
    hop_s = spec.hop_samples / spec.rate_hz
    says = f"one window in {median_s * 1000:.1f} ms, one is due every {hop_s:g} s a stream"
    fix = "" if median_s < 0.5 * hop_s else "take a smaller bundle, a longer hop or a quicker board"
    return Finding("speed", median_s < hop_s, says, fix)
