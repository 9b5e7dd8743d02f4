"""``trainer.gradients`` on JAX, whose functions are pure: variables go in and their new values come out.

Which variables a function touches is found by an abstract run of it, so that callers write the same stateful code as
on TensorFlow. A value that a differentiated function assigns (batch statistics, random seeds) belongs to that
function's trace and is carried out of it as an auxiliary result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp
import keras
from keras.src.backend.common.stateless_scope import get_stateless_scope

fused_normalization = None  # XLA fuses Keras' own


def reduced() -> bool:
    return False


def in_full(x: Any) -> Any:
    return x  # only the product itself is of another precision here


def has_bfloat16() -> bool:
    """Whether the device multiplies bfloat16 faster than float32; XLA for CPUs does not."""
    return str(jax.default_backend()) != "cpu"


@contextmanager
def bfloat16() -> Iterator[None]:
    if not has_bfloat16():
        yield
        return
    with jax.default_matmul_precision("bfloat16"):
        yield


class _Scope(keras.StatelessScope):  # type: ignore[misc]
    """Reads and assignments of variables inside ``with``; what it does not hold, the scope around it may.

    ``sealed``: a variable that neither holds would be frozen into the compiled step as a constant; refuse it.
    """

    def __init__(
        self, mapping: list[tuple[Any, Any]], around: _Scope | None = None, sealed: bool = False
    ) -> None:
        super().__init__(initialize_variables=False)
        self.state_mapping = {id(variable): value for variable, value in mapping}
        self.seen: dict[int, Any] = {}
        self.assigned: dict[int, Any] = {}
        self._around, self._sealed = around, sealed

    def add_update(self, update: tuple[Any, Any]) -> None:
        self.seen[id(update[0])] = self.assigned[id(update[0])] = update[0]
        super().add_update(update)

    def get_current_value(self, variable: Any) -> Any:
        self.seen[id(variable)] = variable
        value = super().get_current_value(variable)
        if value is None and self._around is not None:
            return self._around.get_current_value(variable)
        if value is None and self._sealed:
            raise RuntimeError(f"variable {variable.path} was not there when the step was first compiled")
        return value

    def updates(self) -> list[tuple[Any, Any]]:
        return [(variable, self.state_mapping[key]) for key, variable in self.assigned.items()]


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    variables: list[Any] = []
    assigned: list[Any] = []

    def discover(*args: Any) -> Any:
        with _Scope([]) as scope:
            out = function(*args)
        variables[:], assigned[:] = scope.seen.values(), scope.assigned.values()
        return out

    def pure(values: list[Any], *args: Any) -> tuple[Any, list[Any]]:
        with _Scope(list(zip(variables, values, strict=True)), sealed=True) as scope:
            out = function(*args)
        return out, [scope.get_current_value(variable) for variable in assigned]

    step = jax.jit(pure)
    known = False

    def call(*args: Any) -> Any:
        nonlocal known
        if not known:
            jax.eval_shape(discover, *args)
            known = True
        out, values = step([variable.value for variable in variables], *args)
        for variable, value in zip(assigned, values, strict=True):
            variable.assign(value)
        return out

    return call


def input_gradient(function: Callable[[Any], Any], x: Any, *, has_aux: bool = False) -> tuple[Any, Any]:
    def total(x: Any) -> tuple[Any, Any]:
        out = function(x)
        return jnp.sum(out[0] if has_aux else out), out

    (_, out), gradient = _carrying(total)(x)
    return out, gradient


def train_step(model: Any, optimizer: Any, loss: Callable[[], tuple[Any, Any]]) -> Any:
    variables = model.trainable_variables

    def of(values: list[Any]) -> tuple[Any, Any]:
        return loss()

    (_, aux), gradients = _carrying(of, variables)([variable.value for variable in variables])
    optimizer.apply(gradients, variables)
    return aux


def _carrying(
    function: Callable[[Any], tuple[Any, Any]], variables: list[Any] | None = None
) -> Callable[..., Any]:
    """``jax.value_and_grad(function, has_aux=True)`` whose assignments reach the scope around it.

    ``variables``: those whose values are the argument.
    """
    assigned: list[Any] = []

    def inner(argument: Any) -> tuple[Any, Any]:
        mapping = [] if variables is None else list(zip(variables, argument, strict=True))
        with _Scope(mapping, around=get_stateless_scope()) as scope:
            value, aux = function(argument)
        updates = scope.updates()
        assigned[:] = [variable for variable, _ in updates]
        return value, (aux, [new for _, new in updates])

    def call(argument: Any) -> tuple[tuple[Any, Any], Any]:
        (value, (aux, values)), gradient = jax.value_and_grad(inner, has_aux=True)(argument)
        for variable, new in zip(assigned, values, strict=True):
            variable.assign(new)
        return (value, aux), gradient

    return call
