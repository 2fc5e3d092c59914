"""A scalar function of one point, lifted over the named axes of a space: the only `jit` and `vmap`.

The leaves of a `Point` are scalars or vary along exactly one axis. One nested `vmap` per axis keeps every
intermediate, and every result, at the rank of the axes it depends on. Policies (pipeline, curve) are arguments of the
scalar function: each choice is lifted on its own and the results are stacked along the policy's axis. Compiled
programs are keyed by structure; numbers are operands.
"""

import dataclasses
import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core

from . import constraints, curves, factor, metrics, specs
from .space import unknown_variables


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a compiled program depends on besides shapes and dtypes."""

    function: object  # (study step, point, bounds, **policies) -> {name: scalar}
    step: object
    axes: tuple  # all axes, in the order of the dims
    treedef: object  # of the operands
    leaf_axes: tuple  # axis of every leaf, or None
    policies: tuple  # ((axis or None, choices, choices not in the space), ...), a choice is ((argument, function), ...)


def evaluate_point(step, point, bounds, **policies):
    """{variable: scalar} of one point: metrics, masks and `block_time/<block>`."""
    return of_step(step(point, **policies), point, bounds)


def of_step(step, point, bounds):
    """{variable: scalar} of one `metrics.Step`: metrics, masks and `block_time/<block>`."""
    values = metrics.of(step)
    values |= metrics.per_token(point.hardware, values["tps_per_chip"])
    readable = fields_by_name(point) | values
    masks = constraints.check(point, readable, step.masks, bounds)
    return values | masks | {f"block_time/{name}": time.total for name, time in step.blocks.items()}


def fields_by_name(point):
    """{coordinate name: value} of the records' fields, as grids and constraints call them."""
    named = {f"{r}_{k}": v for r in ("hardware", "nic", "model") for k, v in vars(getattr(point, r)).items()}
    return named | vars(point.precision) | vars(point.workload) | vars(point.deployment)


def plan(space, function=evaluate_point):
    """(`Plan`, operands as float64 / int32 NumPy leaves) of a space."""
    records, axes_of = {}, {}
    for record, cls in space.study.records.items():
        records[record], axes_of[record] = _record(space, record, cls, space.rows[record])
    for record, cls in (("workload", specs.Workload), ("deployment", specs.Deployment)):
        records[record], axes_of[record] = _record(space, record, cls, {})
    rows = [(name, row, curves.FORMS[row["form"]]) for name, row in space.rows.get("curve", {}).items()]
    knots = [_record(space, "curve", form.record, {name: row}) for name, row, form in rows]
    forms = [tuple((name, getattr(form, name)) for name in space.study.curve) for _, _, form in rows]
    if not rows:
        knots, forms = [((), ())], [()]  # the study has no curves
    bounds = jax.tree.map(np.float64, space.bounds)
    operands = (records, tuple(record for record, _ in knots), bounds)
    leaves, treedef = jax.tree.flatten(operands)
    tags = (axes_of, tuple(axes for _, axes in knots), jax.tree.map(lambda _: "", bounds))
    leaf_axes = tuple(tag or None for tag in jax.tree.leaves(tags))

    policies = []
    for axis, choices in space.study.policies.items():
        rows = {label: tuple(functions.items()) for label, functions in choices}
        chosen = space.axes.get(axis, (space.fixed.get(axis),))
        others = tuple(rows[label] for label in rows if label not in chosen and axis in space.axes)
        policies.append((axis if axis in space.axes else None, tuple(rows[label] for label in chosen), others))
    policies.append(("curve" if "curve" in space.axes else None, tuple(forms), ()))
    return Plan(function, space.study.step, tuple(space.axes), treedef, leaf_axes, tuple(policies)), leaves


# Derived from others, or not meant, where they are not given: 0 says so.
DERIVED = ("ep", "chips", "isl", "osl", "shared_tp")


def _record(space, record, cls, rows):
    """(record of arrays, record of axis names): a parameter's own axis or fixed value wins over the rows."""
    values, axes = {}, {}
    for field, meta in specs.fields(cls).items():
        name = field if record in ("workload", "deployment") else f"{record}_{field}"
        if name in space.axes:
            raw, axis = space.axes[name], name
        elif name in space.fixed:
            raw, axis = space.fixed[name], ""
        elif rows:
            raw = [row[field] for row in rows.values()]
            raw, axis = (raw, record) if record in space.axes and record != "curve" else (raw[0], "")
        else:
            raw, axis = 0 if field in DERIVED else 1, ""  # a field this study does not read
        values[field] = np.asarray(raw, np.int32 if meta["integer"] else np.float64)
        axes[field] = axis
    return cls(**values), cls(**axes)


def scalar_of(plan, choice, knots):
    """`function` of the flat operands at one choice of the policies."""

    def at(leaves):
        records, curve, bounds = jax.tree.unflatten(plan.treedef, leaves)
        point = specs.Point(**records, curve=curve[knots])
        return plan.function(plan.step, point, bounds, **dict(itertools.chain(*choice)))

    return at


@functools.lru_cache(maxsize=256)
def layout(plan, dtype="float64"):
    """{variable: (axes its formula can depend on, dtype)}, axes in the order of the plan, whatever the values and
    lengths.

    Read off the jaxpr of the scalar function. The functions of a policy are traced with a token in their results, so
    that whatever depends on the choice depends on the token; where a policy is an axis, the choices outside the
    space are traced too.
    """
    axes = (*plan.leaf_axes, *(axis for axis, _, _ in plan.policies))
    *rows, (_, forms, _) = plan.policies
    everything = itertools.product(*((*choices, *others) for _, choices, others in rows), enumerate(forms))
    found, order = {}, {}
    with precision(dtype):
        token = jax.ShapeDtypeStruct((), dtype)
        for *choice, (knots, form) in everything:

            def traced(leaves, tokens, choice=(*choice, form), knots=knots):
                marked = [[(name, _marked(f, t)) for name, f in c] for c, t in zip(choice, tokens, strict=True)]
                values = scalar_of(plan, marked, knots)(leaves)
                order.update(values)  # JAX sorts the keys of a dict
                return values

            tokens = (token,) * len(plan.policies)
            closed, shapes = jax.make_jaxpr(traced, return_shape=True)(operand_types(plan, dtype), tokens)
            for name, sources in zip(shapes, _sources(closed.jaxpr), strict=True):
                found.setdefault(name, set()).update(axes[i] for i in sources)
    return {name: (tuple(axis for axis in plan.axes if axis in found[name]), shapes[name].dtype) for name in order}


def operand_types(plan, dtype):
    """Scalar types of the flat operands: integers stay integers."""
    records, curve, bounds = jax.tree.unflatten(plan.treedef, range(plan.treedef.num_leaves))
    integers = set()
    for record in records.values():
        integers |= {getattr(record, name) for name, meta in specs.fields(type(record)).items() if meta["integer"]}
    return [jax.ShapeDtypeStruct((), "int32" if i in integers else dtype) for i in range(plan.treedef.num_leaves)]


def _marked(function, token):
    """`function` with a dependence on `token` in every leaf of its result, and nothing else changed."""

    def mark(leaf):
        leaf = leaf if hasattr(leaf, "dtype") else jnp.asarray(leaf, token.dtype)
        return jax.lax.optimization_barrier((leaf, token))[0]

    return lambda *args, **kwargs: jax.tree.map(mark, function(*args, **kwargs))


def _sources(jaxpr):
    """For each output of a jaxpr, the indices of the inputs it can depend on."""
    known = {var: {i} for i, var in enumerate(jaxpr.invars)}

    def of(atom):
        return set() if hasattr(atom, "val") else known.get(atom, set())

    for equation in jaxpr.eqns:
        if equation.primitive.name in (
            "jit",
            "pjit",
            "closed_call",
            "custom_jvp_call",
        ):  # loops may carry more: all of it
            inner = equation.params.get("jaxpr", equation.params.get("call_jaxpr")).jaxpr
            results = [set().union(*(of(equation.invars[i]) for i in sources)) for sources in _sources(inner)]
        else:
            everything = set().union(*map(of, equation.invars))
            results = [everything] * len(equation.outvars)
        known.update(zip(equation.outvars, results))
    return [of(var) for var in jaxpr.outvars]


@functools.lru_cache(maxsize=64)
def _compiled(plan, dtype, names, shapes):
    """Compiled: flat operands of these shapes -> {variable: array over its own dims}, for the variables in `names`."""
    over = {name: axes for name, (axes, _) in layout(plan, dtype).items()}
    lifted_axes = [axis for axis in plan.axes if axis in plan.leaf_axes]
    policies = [(axis, len(choices)) for axis, choices, _ in plan.policies]

    def lifted(choice, knots):
        scalar = scalar_of(plan, choice, knots)

        def wanted(leaves):
            values = scalar(leaves)
            return {name: values[name] for name in names}

        # Traced once as scalars: lifting the few primitives of a jaxpr is several times faster than lifting Python.
        closed, shapes = jax.make_jaxpr(wanted, return_shape=True)(operand_types(plan, dtype))

        def function(leaves):
            return dict(zip(shapes, core.jaxpr_as_fun(closed)(*leaves), strict=True))

        for axis in reversed(lifted_axes):
            in_axes = [0 if leaf == axis else None for leaf in plan.leaf_axes]
            out_axes = {name: 0 if axis in over[name] else None for name in names}
            function = jax.vmap(function, in_axes=(in_axes,), out_axes=out_axes)
        return function

    def run(leaves):
        results = {}
        for picks in itertools.product(*(range(n) for _, n in policies)):
            choice = [choices[i] for (_, choices, _), i in zip(plan.policies, picks, strict=True)]
            results[picks] = lifted(choice, picks[-1])(leaves)
        return {name: stacked(results, name, (), 0) for name in names}

    def stacked(results, name, picks, position):
        """Results of all choices as one array: the policy's axis at its place among the variable's dims."""
        if position == len(policies):
            return results[picks][name]
        axis, n = policies[position]
        if axis not in over[name]:
            return stacked(results, name, (*picks, 0), position + 1)
        later = [a for a, _ in policies[:position]]
        parts = [stacked(results, name, (*picks, i), position + 1) for i in range(n)]
        return jnp.stack(parts, axis=[a for a in over[name] if a not in later].index(axis))

    types = [t.update(shape=shape) for t, shape in zip(operand_types(plan, dtype), shapes, strict=True)]
    return factor.compiled(run, types)


def evaluate(space, dtype="float64", names=None, function=evaluate_point):
    """{variable: (dims, array)} over a space, each array only over the dims its variable can depend on.

    `dtype` "float64" or "float32"; `names` the variables wanted (all, without those that a number unknown at every
    point makes NaN); `function` another scalar function to lift, same signature as `evaluate_point`, defined once at
    module level so that its compiled program is found again.
    """
    how, leaves = plan(space, function)
    variables = layout(how, dtype)
    names = known(space, variables) if names is None else tuple(names)
    with precision(dtype):
        leaves = [leaf if leaf.dtype == np.int32 else leaf.astype(dtype) for leaf in leaves]
        shapes = tuple(leaf.shape for leaf in leaves)
        arrays = jax.device_get(_compiled(how, dtype, names, shapes)(leaves))
    return {name: (variables[name][0], arrays[name]) for name in names}


def known(space, names):
    """`names` without the variables that need a number which is unknown at every point of the space."""
    without = unknown_variables(space.axes, space.fixed, space.rows)
    return tuple(name for name in names if name not in without)


def nbytes(space, dtype="float64"):
    """{variable: bytes} of what `evaluate` returns, without evaluating."""
    how, _ = plan(space)
    sizes, variables = space.sizes, layout(how, dtype)
    return {
        name: math.prod(sizes[a] for a in variables[name][0]) * variables[name][1].itemsize
        for name in known(space, variables)
    }


def precision(dtype):
    """float64 is switched on for the call only: importing dsjax changes nothing of the user's JAX."""
    return jax.enable_x64(np.dtype(dtype) == np.float64)
