"""What of its input each output of a block sees: read off the operations it is made of.

A block is traced, not run, and its convolutions, pools and padding are followed along
time. Where something else mixes what is heard at different times, such as a mean over the
clip, there is no such field.
"""

import dataclasses
from collections.abc import Callable, Sequence

import jax
from jax.extend import core

from aemjax.models import ops


@dataclasses.dataclass(frozen=True)
class Field:
    """Output i sees inputs i * stride + low to i * stride + high, both included.

    A place below 0 or past the end is padding, at the input or at a layer within.

    Attributes:
      axis: of the array, along which time runs.
    """

    stride: int = 1
    low: int = 0
    high: int = 0
    axis: int = 1

    @property
    def size(self) -> int:
        """How many inputs an output sees."""
        return self.high - self.low + 1

    @property
    def look_ahead(self) -> int:
        """How many inputs past the last of its own `stride` ones an output sees."""
        return max(0, self.high - self.stride + 1)

    def after(self, first: "Field") -> "Field":
        """That of this block on the outputs of another one, whose axis it keeps."""
        return dataclasses.replace(
            first,
            stride=self.stride * first.stride,
            low=self.low * first.stride + first.low,
            high=self.high * first.stride + first.high,
        )


def field_of(function: Callable, *args, name: str) -> Field:
    """The field of `function(x, *others)`, in which time is axis 1 of `x` and of the result.

    Args:
      args: arrays or their `jax.ShapeDtypeStruct`, `x` first.
      name: of the block, for messages.

    Raises:
      ValueError: if an operation is none that is known to see a bounded part of time.
    """
    with ops.plain_forms():
        # A function of its own, so that nothing traced before is taken for it.
        closed = jax.make_jaxpr(lambda *args: function(*args))(*args)
    fields = [None] * len(closed.jaxpr.invars)
    fields[0] = Field()
    try:
        (found,) = _outputs(closed.jaxpr, fields)
    except _Unknown as error:
        raise ValueError(
            f"{name} cannot be streamed: it is not known how much of a clip an output "
            f"sees through `{error}`; expected convolutions, pools and what acts on each "
            "frame by itself"
        ) from error
    if found is None or found.axis != 1:
        raise ValueError(f"{name} cannot be streamed: time is not axis 1 of its output")
    return found


class _Unknown(Exception):
    """Names an operation."""


# Fields of the inputs -> of the outputs; None: does not depend on time.
_Fields = Sequence[Field | None]

_ELEMENTWISE = frozenset(
    "abs add and clamp convert_element_type copy div eq erf exp expm1 ge gt integer_pow "
    "is_finite le log log1p logistic lt max min mul name ne neg not or pow rem round "
    "rsqrt select_n sign sqrt square stop_gradient sub tanh".split()
)

# Functions within, by the name that one or another version of JAX gives them.
_CALLS = frozenset(
    "checkpoint closed_call custom_jvp_call custom_vjp_call custom_vjp_call_jaxpr jit "
    "pjit remat2".split()
)
_CALLED = ("jaxpr", "call_jaxpr", "fun_jaxpr")


def _outputs(jaxpr: core.Jaxpr, fields: _Fields) -> _Fields:
    known = dict(zip(jaxpr.invars, fields, strict=True))

    def of(atom):
        return None if isinstance(atom, core.Literal) else known.get(atom)

    for equation in jaxpr.eqns:
        inputs = [of(atom) for atom in equation.invars]
        if any(inputs):
            outputs = _through(equation, inputs)
            known |= zip(equation.outvars, outputs, strict=True)
    return [of(atom) for atom in jaxpr.outvars]


def _through(equation: core.JaxprEqn, inputs: _Fields) -> _Fields:
    name, params = equation.primitive.name, equation.params
    if name in _CALLS:
        inner = next(params[key] for key in _CALLED if key in params)
        return _outputs(getattr(inner, "jaxpr", inner), inputs)
    if name in _ELEMENTWISE:
        return [_union(name, inputs)]
    if name not in _RULES or any(inputs[1:]):
        raise _Unknown(name)
    shapes = [atom.aval.shape for atom in equation.invars]
    shapes.append(equation.outvars[0].aval.shape)
    return [_RULES[name](inputs[0], params, shapes)]


def _union(name: str, inputs: _Fields) -> Field:
    first, *others = (field for field in inputs if field)
    if any((x.stride, x.axis) != (first.stride, first.axis) for x in others):
        raise _Unknown(name)
    low = min(field.low for field in (first, *others))
    high = max(field.high for field in (first, *others))
    return dataclasses.replace(first, low=low, high=high)


def _windowed(field: Field, size: int, stride: int, before: int) -> Field:
    return Field(stride, -before, size - 1 - before).after(field)


def _convolution(field: Field, params, shapes) -> Field:
    numbers = params["dimension_numbers"]
    if field.axis not in numbers.lhs_spec[2:]:
        raise _Unknown("conv_general_dilated")
    i = numbers.lhs_spec[2:].index(field.axis)
    if params["lhs_dilation"][i] != 1:
        raise _Unknown("conv_general_dilated")
    taps = shapes[1][numbers.rhs_spec[2 + i]]
    size = (taps - 1) * params["rhs_dilation"][i] + 1
    field = dataclasses.replace(field, axis=numbers.out_spec[2 + i])
    before, _ = params["padding"][i]
    return _windowed(field, size, params["window_strides"][i], int(before))


def _pool(field: Field, params, shapes) -> Field:
    i = field.axis
    if params["base_dilation"][i] != 1:
        raise _Unknown("reduce_window")
    size = (params["window_dimensions"][i] - 1) * params["window_dilation"][i] + 1
    before, _ = params["padding"][i]
    return _windowed(field, size, params["window_strides"][i], int(before))


def _pad(field: Field, params, shapes) -> Field:
    before, _, between = params["padding_config"][field.axis]
    if before < 0 or between:
        raise _Unknown("pad")
    return _windowed(field, 1, 1, int(before))


def _product(field: Field, params, shapes) -> Field:
    (contracted, _), (batch, _) = params["dimension_numbers"]
    free = [i for i in range(len(shapes[0])) if i not in (*contracted, *batch)]
    if field.axis not in free:
        raise _Unknown("dot_general")
    return dataclasses.replace(field, axis=len(batch) + free.index(field.axis))


def _reshape(field: Field, params, shapes) -> Field:
    kept = field.axis + 1
    if params["dimensions"] or shapes[0][:kept] != shapes[-1][:kept]:
        raise _Unknown("reshape")
    return field


def _broadcast(field: Field, params, shapes) -> Field:
    axis = params["broadcast_dimensions"][field.axis]
    if shapes[0][field.axis] != shapes[-1][axis]:
        raise _Unknown("broadcast_in_dim")
    return dataclasses.replace(field, axis=axis)


def _transpose(field: Field, params, shapes) -> Field:
    return dataclasses.replace(field, axis=params["permutation"].index(field.axis))


def _without(key: str) -> Callable:
    def rule(field, params, shapes):
        gone = [axis % len(shapes[0]) for axis in params[key]]
        if field.axis in gone:
            raise _Unknown("a sum or maximum over the whole clip")
        before = sum(axis < field.axis for axis in gone)
        return dataclasses.replace(field, axis=field.axis - before)

    return rule


_RULES = {
    "conv_general_dilated": _convolution,
    "reduce_window_max": _pool,
    "reduce_window_min": _pool,
    "reduce_window_sum": _pool,
    "pad": _pad,
    "dot_general": _product,
    "reshape": _reshape,
    "broadcast_in_dim": _broadcast,
    "transpose": _transpose,
    "squeeze": _without("dimensions"),
    "reduce_sum": _without("axes"),
    "reduce_max": _without("axes"),
    "reduce_min": _without("axes"),
}
