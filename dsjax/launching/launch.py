"""The command lines that start a configuration: `dsjax launch` and `dsjax.launch`."""

import dataclasses
import re
from typing import Any

from .. import evaluation
from ..analysis import refusals
from ..arguments import typed
from ..errors import InputError, unknown
from ..search import point
from ..sweeps import sources
from ..types import Named, Source
from . import plan, tools
from .engines import ENGINES, common

# {placeholder: what it stands for, its value where there is a usual one}; addresses of instances are beside them
PLACEHOLDERS = {
    "MODEL": ("", None),
    "HOST": ("address to listen on", "0.0.0.0"),
    "PORT": ("port of an instance", None),
    "ROUTER_PORT": ("port of the router", "8080"),
    "RPC_PORT": ("port for groups on other nodes", "29550"),
    "INIT_PORT": ("port to begin with, of the first node", "5000"),
    "VLLM_SOURCE": ("folder of vLLM's source, which has the proxy", None),
}
_USED = re.compile(r"\$(?:\(\([0-9* ]*)?([A-Z][A-Z0-9_]*)")
MOST_INSTANCES = 1000
UNNAMED = "no vendor that is named"


@dataclasses.dataclass(frozen=True)
class Launch:
    """A configuration as an engine is started with it."""

    engine: str
    name: str  # of the software
    version: str  # that its flags were checked against
    checked: str  # where they were read
    title: str  # the configuration in a line
    point: dict  # {axis: value} of it
    refused: dict  # {constraint: why it refuses the point}
    unable: tuple  # why the engine cannot start it
    differs: tuple  # what the engine does otherwise
    placeholders: dict  # {name: (what is to be filled in, its usual value or None)}
    commands: tuple  # of `tools.Command`

    @property
    def script(self) -> str:
        """Shell text: what differs and what is to be filled in, then one command, or several to choose from by name."""
        named = ", ".join(f"{name}={value}" for name, value in self.point.items())
        said = [self.title, f"point: {named}", f"{self.name}, flags of {self.version}: {self.checked}"]
        said += [f"refused by dsjax: {name}: {why}" for name, why in self.refused.items()]
        said += [f"cannot be started: {text}" for text in self.unable] + [f"differs: {text}" for text in self.differs]
        head = ["#!/bin/sh", *(f"# {''.join(x if x.isprintable() else '?' for x in text)}" for text in said)]
        if not self.commands:
            return "\n".join(head) + "\n"
        usual = {name: (says, value) for name, (says, value) in self.placeholders.items() if value}
        head += [f': "${{{name}:={value}}}"  # {says}' for name, (says, value) in usual.items()]
        texts = {command.name: "\n".join([*self._wanted(command), command.text]) for command in self.commands}
        if len(texts) == 1:
            return "\n".join([*head, *texts.values()]) + "\n"
        names = " | ".join(texts)
        body = [f'case "${{1:?expected {names}}}" in', *(f"{name})\n{text}\n;;" for name, text in texts.items())]
        return "\n".join([*head, *body, f'*) echo "$1: expected {names}" >&2; exit 2 ;;', "esac"]) + "\n"

    def _wanted(self, command):
        """Lines that ask for what a command needs and nobody can guess."""
        wanted = [name for name, (_, usual) in self.placeholders.items() if not usual and name in used(command)]
        return [f': "${{{name}:?{self.placeholders[name][0]}}}"' for name in wanted]

    def as_dict(self) -> dict:
        """All of it as plain values."""
        found = dataclasses.asdict(self)
        found["placeholders"] = {k: {"meaning": says, "usual": usual} for k, (says, usual) in self.placeholders.items()}
        return found | {
            "commands": [
                {
                    "name": command.name,
                    "environment": command.environment,
                    "words": command.words,
                    "file": dict(zip(("name", "text"), command.file)) if command.file else None,
                }
                for command in self.commands
            ]
        }


@typed
def launch(
    source: Source = "default",
    at: Named | None = None,
    engine: str | None = None,
    per_host: int | None = None,
    instances: int = 1,
    **options: Any,
) -> Launch:
    """The command lines of vLLM, SGLang or TensorRT-LLM that start a configuration, as a `Launch`.

    `source`, `at`, `options`: the point, as `explain` takes them. `engine`: "vllm", "sglang", "tensorrt-llm"; None: the
    one of the point. `per_host`: chips of a host; None: those of the scale-up domain, 8 at most. `instances` that are
    alike, of a space without pools. Raises `InputError` for input that cannot be understood; what an engine cannot do
    is in the result: `unable` (then there are no commands) and `differs`.
    """
    check(engine, per_host, instances)
    asked = sources.ask(source, "launch", options, needs="space")
    study = asked.space.study
    if not study.requests and not study.general:
        raise InputError(f"launch: study {study.name}: has layouts of its own; expected a grid of the core model")
    if study.pools and instances > 1:
        raise InputError(f"launch: instances: {instances}: pools have instances of their own; expected none")
    one = point.point_of(asked.space, at, asked.swept)
    return of_point(one, asked.dtype, engine, per_host, instances, dict.fromkeys(asked.space.axes))


def check(engine, per_host, instances):
    """Refuse an engine that is not known, and numbers that are none."""
    if engine is not None and engine not in ENGINES:
        raise unknown("launch", "engine", engine, ENGINES)
    for name, value in (("per_host", per_host), ("instances", instances)):
        if value is not None and (type(value) is not int or not 1 <= value <= MOST_INSTANCES):
            raise InputError(f"launch: {name}: {value!r}; expected a whole number from 1 to {MOST_INSTANCES:,}")


def of_point(one, dtype, engine, per_host, instances, axes):
    """`Launch` of a space of one point; `axes`: names of those that were chosen from."""
    rows = [one.fixed[name] for name in _of_engines(one)]
    engine = _engine_of(rows) if engine is None else engine
    tool, rules = tools.read(engine), ENGINES[engine]
    values = {name: array.item() for name, (_, array) in evaluation.evaluate(one, dtype).items()}
    refused = {x.removeprefix("ok_"): values[x] for x in values if x.startswith("ok_") and not values[x]}
    refused = {name: refusals.why(one, values, name) for name in refused}
    pools = plan.pools(one, dtype, per_host, instances)
    unable = [*_unable(tool, pools, refused), *_all(rules.unable, pools)]
    hosts = () if per_host else _hosts(pools)
    differs = [*_other(tool, rows), *_foreign(tool, pools), *_all(rules.differs, pools), *hosts]
    commands = () if unable else tuple(_commands(tool, rules, pools))
    if pools[0].instances > 1 and commands and commands[-1].name != "router":
        differs.append(f"{tool.name} has no router over instances: expected one of your own in front of them")
    return Launch(
        engine=engine,
        name=tool.name,
        version=tool.version,
        checked=tool.checked,
        title=_title(one, pools),
        point={name: one.fixed[name] for name in axes},
        refused=refused,
        unable=tuple(unable),
        differs=tuple(differs),
        placeholders=_placeholders(tool, pools, commands),
        commands=commands,
    )


def _of_engines(one):
    return [name for name, kind in one.study.kinds.items() if kind == "engine"]


def _engine_of(rows):
    """The software that the rows of a point are."""
    found = dict.fromkeys(name for row in rows for name in ENGINES if row in tools.read(name).engines)
    if len(found) != 1 or not all(any(row in tools.read(name).engines for name in found) for row in rows):
        own = ", ".join(dict.fromkeys(rows))
        raise InputError(f"launch: engine: missing, and the point's is {own}; expected one of {', '.join(ENGINES)}")
    return next(iter(found))


def _unable(tool, pools, refused):
    if "chips" in refused:
        yield refused["chips"]
    for vendor in dict.fromkeys(pool.vendor for pool in pools):
        if tool.vendors and vendor not in tool.vendors:
            yield f"chips of {vendor or UNNAMED}: {tool.name} runs on those of {', '.join(tool.vendors)}"


def _other(tool, rows):
    for row in dict.fromkeys(row for row in rows if row not in tool.engines):
        yield f"engine = {row}: the point was computed with another engine than {tool.name}"


def _foreign(tool, pools):
    for vendor in dict.fromkeys(pool.vendor for pool in pools):
        if tool.read_for and vendor not in tool.read_for:
            read_for = ", ".join(tool.read_for)
            yield f"chips of {vendor or UNNAMED}: flags were read for those of {read_for}, a dispatch may have others"


def _hosts(pools):
    """That hosts of a larger domain are a guess."""
    for pool in pools:
        if pool.nodes > 1 and pool.domain > plan.HOST:
            yield f"hosts of {pool.hardware}: {plan.HOST} chips each, where nothing says it (--per-host)"


def _all(rule, pools):
    for pool in pools:
        yield from (f"{pool.role}: {text}" if pool.transfers else text for text in rule(pool))


def _commands(tool, rules, pools):
    for pool in pools:
        model = (common.model(pool),) if rules.positional else ()
        quantities = rules.quantities(pool)
        for i in range(pool.instances):
            name = f"{pool.role}-{i}" if pool.instances > 1 or pool.transfers else pool.role
            if rules.of_nodes is None:
                found = tools.command(tool, name, quantities, model)
                before = tool.several_nodes.format(nodes=pool.nodes, chips=pool.chips, per_node=pool.per_node)
                yield found._replace(program=(*before.split(), *found.program)) if pool.nodes > 1 else found
                continue
            for end, own in rules.of_nodes(pool, f"${pool.address}_{i}"):
                yield tools.command(tool, name + end, quantities | own, model)
    if router := rules.routed(pools, tool):
        yield router


def used(command):
    """Names of the placeholders of a command."""
    return set(_USED.findall(" ".join([command.text, *command.words])))


def _placeholders(tool, pools, commands):
    """{name: (meaning, usual value)} of those that the commands have, in the order of `PLACEHOLDERS`."""
    known = dict(PLACEHOLDERS)
    known["MODEL"] = (next((pool.model.says for pool in pools if pool.model.path is None), ""), None)
    known["PORT"] = (PLACEHOLDERS["PORT"][0], str(tool.port))
    for pool in pools:
        for i in range(pool.instances):
            which = f"{pool.role} {i}" if pool.instances > 1 or pool.transfers else "the instance"
            known[f"{pool.address}_{i}"] = (f"address of {which}{', its first node' * (pool.nodes > 1)}", None)
    known["NODE"] = (_of_node(pools), None)
    found = set().union(*map(used, commands))
    return {name: says for name, says in known.items() if name in found}


def _of_node(pools):
    """What numbers of nodes mean."""
    alike = len({pool.nodes for pool in pools}) == 1
    return "number of the node, 0 the first" + (f" of {pools[0].nodes}" if alike else "")


def _title(one, pools):
    """The configuration in a line."""
    each = []
    for pool in pools:
        sizes = {"tp": pool.tp, "dp": pool.dp, "pp": pool.pp}
        sizes |= {"ep": pool.ep, "moe_tp": pool.moe_tp} if pool.routed else {}
        sizes |= {"kv_split": pool.kv_split, "mtp": pool.mtp}
        text = " ".join(f"{name} {size}" for name, size in sizes.items() if size > 1 or name == "tp")
        many = f"{pool.instances} x " if pool.instances > 1 else ""
        each.append(f"{f'{pool.role} ' * pool.transfers}{many}{pool.chips} {pool.hardware}, {text}")
    return f"{one.fixed['model']} on " + "; ".join(each)
