"""The TFLite interpreter that is installed here: LiteRT first, else tflite-runtime. Imported on first use."""

from __future__ import annotations

import importlib
import platform
import sys
from typing import Any, Protocol, cast

import numpy as np
import numpy.typing as npt

from edge.errors import BundleError, RuntimeMissingError

__all__ = ["Interpreter", "load_interpreter", "runtime_name"]

_MODULES = ("ai_edge_litert.interpreter", "tflite_runtime.interpreter")


class Interpreter(Protocol):
    """The part of the interpreter that both runtimes share and the pipeline uses."""

    def allocate_tensors(self) -> None: ...

    def get_input_details(self) -> list[dict[str, Any]]: ...

    def get_output_details(self) -> list[dict[str, Any]]: ...

    def set_tensor(self, index: int, value: npt.NDArray[Any]) -> None: ...

    def get_tensor(self, index: int) -> npt.NDArray[Any]: ...

    def invoke(self) -> None: ...


def load_interpreter(model: bytes, threads: int = 1) -> Interpreter:
    """An interpreter for a TFLite file, tensors allocated.

    Raises BundleError when the runtime cannot take the file, RuntimeMissingError when there is no runtime.
    """
    module = _runtime()
    try:
        interpreter = module.Interpreter(model_content=model, num_threads=threads)
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError, TypeError) as error:
        why = " ".join(str(error).split())[:200]
        message = f"model.tflite: {module.__name__.split('.')[0]} cannot load it ({why}); export it again"
        raise BundleError(message, member="model.tflite") from error
    return cast("Interpreter", interpreter)


def runtime_name() -> str:
    """The distribution in use, for info messages: ai_edge_litert or tflite_runtime."""
    return str(_runtime().__name__.split(".")[0])


def _runtime() -> Any:
    failures = []
    for name in _MODULES:
        try:
            module = importlib.import_module(name)
        except ImportError as error:
            failures.append(f"{name.split('.')[0]}: {error}")
            continue
        # pip lets numpy 2 in beside it; the failure would come later and say nothing of numpy.
        if name.startswith("tflite_runtime") and int(np.__version__.split(".")[0]) >= 2:
            failures.append(
                f"tflite_runtime needs numpy below 2, here is {np.__version__}: pip install 'numpy<2'"
            )
            continue
        return module
    what = advice(platform.machine(), sys.maxsize > 2**32, sys.version_info[:2])
    raise RuntimeMissingError(f"no TFLite runtime: {'; '.join(failures)}; {what}")


def advice(machine: str, is_64_bit: bool, python: tuple[int, int]) -> str:
    """What to do about it on this kind of machine, by the name its kernel gives it."""
    if machine.startswith("armv6"):
        return "there is none for ARMv6 (Pi 1, Zero): take a Pi 2 or later"
    if not is_64_bit and machine in ("armv7l", "armv8l", "aarch64"):
        if python >= (3, 12):
            return "on 32-bit ARM there is one up to CPython 3.11 only: use Debian 12's python3, or the 64-bit system"
        return "on 32-bit ARM install the Debian package for armhf, or tflite-runtime with numpy below 2"
    if machine not in ("x86_64", "AMD64", "aarch64", "arm64"):
        return f"there is none for {machine}; x86-64 and ARM have one"
    return "install ai-edge-litert or tflite-runtime"
