"""Less memory for activations: those not kept are computed again, block by block."""

from collections.abc import Callable, Sequence

import jax
from jax.extend.core import ClosedJaxpr, JaxprEqn, Literal, Var, jaxpr_as_fun

# Of the activations that the gradient needs, those that are kept. The names are given
# by `aemjax.models.layers`; "conv": outputs of convolutions; "block": inputs of blocks.
POLICIES = {
    "none": None,
    "conv": jax.checkpoint_policies.save_only_these_names("conv"),
    "block": jax.checkpoint_policies.nothing_saveable,
}


def rematerialize(function: Callable, name: str) -> Callable:
    """A function with the same values and gradient, of less memory.

    It is cut after each activation that is named "block", and each piece becomes a
    `jax.checkpoint` of its own. One around the whole would let the compiler compute all
    of it again before the first gradient, and hold as much as before.

    Args:
      function: of arrays, or trees of them.
      name: of POLICIES.
    """
    if name == "none":
        return function

    def in_pieces(*args):
        traced, result = jax.make_jaxpr(function, return_shape=True)(*args)
        jaxpr = traced.jaxpr
        values = dict(zip(jaxpr.constvars, traced.consts, strict=True))
        values |= zip(jaxpr.invars, jax.tree.leaves(args), strict=True)
        pieces = _cut(jaxpr.eqns)
        for number, piece in enumerate(pieces):
            later = [v for other in pieces[number + 1 :] for v in _read(other)]
            needed = {v for v in (*later, *jaxpr.outvars) if isinstance(v, Var)}
            outputs = [v for e in piece for v in e.outvars if v in needed]
            inputs = [v for v in dict.fromkeys(_read(piece)) if v in values]
            cut = jaxpr.replace(
                constvars=[],
                invars=inputs,
                outvars=outputs,
                eqns=piece,
                debug_info=jaxpr.debug_info.with_unknown_names(),
            )
            run = jaxpr_as_fun(ClosedJaxpr(cut, []))
            run = jax.checkpoint(run, policy=POLICIES[name])
            found = run(*(values[v] for v in inputs))
            values |= zip(outputs, found, strict=True)
        leaves = [v.val if isinstance(v, Literal) else values[v] for v in jaxpr.outvars]
        return jax.tree.unflatten(jax.tree.structure(result), leaves)

    return in_pieces


def _cut(equations: Sequence[JaxprEqn]) -> list[list[JaxprEqn]]:
    pieces = [[]]
    for equation in equations:
        pieces[-1].append(equation)
        if equation.primitive.name == "name" and equation.params["name"] == "block":
            pieces.append([])
    return pieces


def _read(equations: Sequence[JaxprEqn]) -> list[Var]:
    return [v for e in equations for v in e.invars if isinstance(v, Var)]
