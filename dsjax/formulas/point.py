"""All variables of one point: metrics, masks, times of the blocks."""

from . import constraints, metrics


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
    records = {r: vars(getattr(point, r)) for r in ("hardware", "nic", "model", "precision")}
    records["curve"] = vars(point.curve) if point.curve else {}  # of a study without curves
    named = {f"{record}_{k}": v for record, values in records.items() for k, v in values.items()}
    return named | vars(point.precision) | vars(point.workload) | vars(point.deployment)
