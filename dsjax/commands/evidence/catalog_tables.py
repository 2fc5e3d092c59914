"""Tables of `dsjax catalog`: one line a row, the numbers that decide, in units that people use."""

from ...formats import rounded
from ..output import echo
from ..tables import marked, table

# Columns that are one number of a row: heading, field, factor; 0 is what the row lacks.
_CHIPS = (
    *((rate, f"{rate}_flops_per_s", 1e-12) for rate in ("bf16", "fp8", "int8", "fp4")),
    ("HBM TB/s", "hbm_bytes_per_s", 1e-12),
    ("HBM GB", "hbm_bytes", 1e-9),
    ("link GB/s", "scale_up_bytes_per_s", 1e-9),
    ("chips", "scale_up_domain", 1.0),
    ("W", "watts", 1.0),
    ("USD/h", "usd_per_hour", 1.0),
)
_NICS = (
    ("GB/s", "scale_out_bytes_per_s", 1e-9),
    ("reached", "scale_out_utilisation", 1.0),
    ("step us", "scale_out_step_s", 1e6),
    ("by dispatch", "exchange_utilisation", 1.0),
    ("start us", "exchange_start_s", 1e6),
)
_MODELS = (("layers", "num_hidden_layers", 1.0), ("hidden", "hidden_size", 1.0), ("heads", "num_attention_heads", 1.0))
_WIDTHS = (
    ("attention", "weight_bytes", 8.0),
    ("FFN", "dense_bytes", 8.0),
    ("experts", "expert_bytes", 8.0),
    ("head", "head_bytes", 8.0),
    ("cache", "kv_bytes", 8.0),
    ("sent", "dispatch_bytes", 8.0),
    ("sent back", "combine_bytes", 8.0),
)
_ENGINES = (
    ("step ms", "step_s", 1e3),
    ("draft ms", "draft_step_s", 1e3),
    ("request ms", "request_s", 1e3),
    ("layer of prompts ms", "prompt_layer_s", 1e3),
    ("kept GB", "memory_bytes", 1e-9),
)
_COLUMNS = {"hardware": _CHIPS, "nic": _NICS, "model": _MODELS, "precision": _WIDTHS, "engine": _ENGINES, "curve": ()}
_MEANING = {
    "hardware": (
        "bf16 to fp4: dense TFLOP/s; GB: what a process can have; link: in a scale-up domain of so many chips, one way",
        "kernels: the curve, and whether it is fitted to the chip, to a sibling, or assumed; ? nobody has verified it",
    ),
    "nic": ("per chip, one way; reached: share of it in transfers; ? nobody has verified it",),
    "model": (
        "parameters: in all, without draft modules; active: that a token is multiplied with; routed: experts, and how "
        "many of them a token has; stored: bits of the checkpoint's weights",
    ),
    "precision": (
        "bits of an element: weights, cache, what goes to experts and back; rates: of attention's products, of "
        "experts, of attention itself",
    ),
    "engine": ("host times of a step, of a draft token, of a prompt; kept: memory beside weights and cache",),
    "curve": ("kernels: of the chips that they are fitted to; siblings: of their family, with other rates",),
}
_FEW = 4  # chips of a curve that its line names
# Columns that are left out first where the terminal is narrow, in this order.
_LEAST = {
    "hardware": ("kernels", "link", "vendor", "int8", "W", "link GB/s", "chips"),
    "nic": ("source",),
    "model": ("heads", "hidden", "stored", "layers", "attention"),
    "precision": ("head", "sent back", "sent", "FFN", "rates"),
    "engine": ("curves", "kept GB", "layer of prompts ms"),
    "curve": ("siblings", "form"),
}


def show(record, rows, loaded, quiet):
    """Print the table of the rows of a record, and what its columns mean; `loaded` {record: rows} of the catalogs."""
    from ... import studies

    # Rows of studies lack fields, or are rows of dsjax too.
    rows = [row for row in rows if row["of"] not in studies.names()] or rows
    columns = {"": [row["row"] for row in rows]}
    prices, usual = _prices(rows) if record == "hardware" else ({}, None)
    if record == "hardware":
        columns["vendor"] = [row.get("vendor") or "-" for row in rows]
    columns |= _numbers(record, rows)
    if record == "hardware":
        columns["USD/h"] = marked(columns["USD/h"], [price not in (usual, None) for price in prices.values()])
    columns |= _MORE[record](rows, loaded)
    at, least = list(columns).index, [name for name in _LEAST[record] if name in columns]
    echo(table(list(columns), list(zip(*columns.values(), strict=True)), least=list(map(at, least)), kept=1))
    if quiet:
        return
    for line in _MEANING[record]:
        echo(f"  {line}")
    if usual:
        others = " / ".join(dict.fromkeys(text for text in prices.values() if text not in (usual, None)))
        echo(f"  USD/h: {usual}" + (f"; * other sources, not to be compared with it: {others}" if others else ""))


def _numbers(record, rows):
    """{heading: cells} of the columns that are one number of a row."""
    from ...catalog import sources

    found = {}
    for heading, field, factor in _COLUMNS[record]:
        texts = [rounded(factor * row[field]) if row.get(field) else "-" for row in rows]
        found[heading] = marked(texts, [field in sources.of_kind(row, "unverified") for row in rows], "?")
    return found


def _prices(rows):
    """({row: source of its price, or None}, source of most prices)."""
    from ...catalog import sources

    prices = {row["row"]: sources.price(row) for row in rows}
    return prices, sources.most(prices.values())


def _of_hardware(rows, loaded):
    from ...catalog import measured

    curves = loaded["curve"]
    basis = [measured.of_curve(curves.get(row["curve"], {}), row, row["row"]) for row in rows]
    return {
        "link": [_link(row) for row in rows],
        "kernels": [f"{row['curve']} ({of})" for row, of in zip(rows, basis, strict=True)],
    }


def _link(row):
    """What joins the chips of a scale-up domain."""
    if row["scale_up_domain"] == 1:
        return "-"
    if row["scale_up_torus"]:
        return f"{row['scale_up_torus']:.0f}D torus"
    return "mesh" if row["scale_up_peer_bytes_per_s"] else "switch"


def _of_nics(rows, loaded):
    return {"source": [row["source"] for row in rows]}


def _of_models(rows, loaded):
    from ...analysis import count

    counts = [count.parameters(row["row"], loaded["model"]) for row in rows]
    routed = [(row["n_routed_experts"], row.get("num_experts_per_tok", 0)) for row in rows]
    stored = [row.get("quantisation") for row in rows]
    return {
        "attention": [_attention(row) for row in rows],
        "routed": [f"{picked:g} of {of:g}" if of > 1.0 else "-" for of, picked in routed],
        "parameters 1e9": [rounded(whole / 1e9) for whole, _ in counts],
        "active 1e9": [rounded(active / 1e9) for _, active in counts],
        "stored": [f"{x['bits']} ({x['method']})" if x else "16" for x in stored],
    }


def _attention(row):
    """Kinds of attention that a model has, in a few words."""
    groups, heads = row.get("num_key_value_heads", 0), row["num_attention_heads"]
    latent = "MLA" if row.get("kv_lora_rank") else "MHA" if groups == heads else f"GQA {groups:g}"
    beside = (("index_topk", "picks"), ("sliding_layers", "windows"), ("linear_layers", "linear"))
    return ", ".join([latent, *(word for field, word in beside if row.get(field))])


def _of_precisions(rows, loaded):
    from ...specs.records import RATES

    fields = ("weight_rate", "expert_rate", "attention_rate")
    return {"rates": [" ".join(RATES[int(row[field])] for field in fields) for row in rows]}


def _of_engines(rows, loaded):
    return {"curves": [", ".join(row.get("curves", {}).values()) or "of the chip" for row in rows]}


def _of_curves(rows, loaded):
    named = {key: [row.get(key, []) for row in rows] for key in ("fitted", "siblings")}
    shown = {key: [_first(chips) for chips in of] for key, of in named.items()}
    return {"form": [row["form"] for row in rows], "fitted to": shown["fitted"], "siblings": shown["siblings"]}


def _first(chips):
    """Names of a few chips, and how many more there are."""
    more = f" and {len(chips) - _FEW} more" if len(chips) > _FEW else ""
    return f"{', '.join(chips[:_FEW])}{more}" if chips else "-"


# What else a line of a catalog has: f(rows, catalogs) -> {heading: cells}.
_MORE = {
    "hardware": _of_hardware,
    "nic": _of_nics,
    "model": _of_models,
    "precision": _of_precisions,
    "engine": _of_engines,
    "curve": _of_curves,
}
