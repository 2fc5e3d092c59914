"""A Hugging Face `config.json` -> a row of the models: sizes read by name, checked against each other.

What an architecture calls things, and what all models of it have, is a row of `ARCHITECTURES`; keys that no field
needs are not read. A config that contradicts itself, or of an architecture that is not there, is an `InputError`.
"""

import dataclasses
import json
import math
from pathlib import Path

from ..errors import InputError, unknown
from ..specs import fields, records
from . import checkpoints, per_layer

LARGEST = 4_000_000  # bytes; those of real models have a few thousand
MOST = 2**31 - 1  # of any size
MOST_LAYERS = 10_000


@dataclasses.dataclass(frozen=True)
class Architecture:
    """How the configs of one architecture name what a model record holds."""

    latent: bool = False  # MLA; else grouped queries
    experts: str = ""  # key of the number of routed experts; "" where every layer is dense
    expert_width: str = "moe_intermediate_size"
    dense_layers: str = ""  # key of the number of first layers without experts
    every: str = ""  # key of how many layers there are to each one with experts
    windows: bool = False  # layers may have a sliding window
    sparse: bool = False  # an indexer picks the positions that attention reads
    qkv_bias: bool = True  # `attention_bias` puts one on queries, keys and values
    o_bias: bool = True  # ... and on the output projection
    mlp_bias: bool = False  # router and experts have biases
    fixed: dict = dataclasses.field(default_factory=dict)  # {field: number} of every model of it


_DEEPSEEK = Architecture(
    latent=True, experts="n_routed_experts", dense_layers="first_k_dense_replace", every="moe_layer_freq"
)
ARCHITECTURES = {
    "DeepseekV3ForCausalLM": _DEEPSEEK,
    "DeepseekV32ForCausalLM": dataclasses.replace(_DEEPSEEK, sparse=True),
    "GlmMoeDsaForCausalLM": dataclasses.replace(_DEEPSEEK, sparse=True),
    "Glm4MoeForCausalLM": Architecture(experts="n_routed_experts", dense_layers="first_k_dense_replace", o_bias=False),
    "Qwen3MoeForCausalLM": Architecture(
        experts="num_experts", every="decoder_sparse_step", windows=True, fixed={"qk_norm": 1}
    ),
    "Qwen3ForCausalLM": Architecture(windows=True, fixed={"qk_norm": 1}),
    "GptOssForCausalLM": Architecture(
        experts="num_local_experts",
        expert_width="intermediate_size",
        windows=True,
        mlp_bias=True,
        fixed={"attention_sinks": 1},
    ),
    "MixtralForCausalLM": Architecture(experts="num_local_experts", expert_width="intermediate_size", windows=True),
    "LlamaForCausalLM": Architecture(),
}
# What a config without `architectures` is, by its `model_type`.
TYPES = {
    "deepseek_v3": "DeepseekV3ForCausalLM",
    "kimi_k2": "DeepseekV3ForCausalLM",
    "deepseek_v32": "DeepseekV32ForCausalLM",
    "glm_moe_dsa": "GlmMoeDsaForCausalLM",
    "glm4_moe": "Glm4MoeForCausalLM",
    "qwen3_moe": "Qwen3MoeForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
    "gpt_oss": "GptOssForCausalLM",
    "mixtral": "MixtralForCausalLM",
    "llama": "LlamaForCausalLM",
}


def path_of(name):
    """The path of a config that `name` means: a *.json, or a folder with a config.json; else None."""
    if not isinstance(name, str):
        return None
    path = Path(name)
    if path.suffix == ".json":
        return path
    return path / "config.json" if (path / "config.json").is_file() else None


def read(path):
    """The row of the model whose `config.json` is at `path`."""
    path = Path(path)
    try:
        if path.stat().st_size > LARGEST:
            size = path.stat().st_size
            raise InputError(f"{path}: {size:,} bytes; expected a config.json of at most {LARGEST:,} bytes")
        config = json.loads(path.read_bytes().decode("utf-8-sig"), object_pairs_hook=_unique(path))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); expected a Hugging Face config.json") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: byte {error.start} is not UTF-8; expected a config.json in UTF-8") from None
    except InputError:
        raise
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not valid JSON ({error}); expected a Hugging Face config.json") from None
    return row(config, str(path), checkpoints.file_beside(path))


def row(config, where, beside=None):
    """{field of `records.Model`: number} of a parsed config, with its `quantisation` and where they come from.

    `beside`: (path, what it holds) of a `hf_quant_config.json`, None where there is none.
    """
    if not isinstance(config, dict):
        raise InputError(f"{where}: a {type(config).__name__}; expected an object of a Hugging Face config.json")
    name = architecture_of(config, where)
    numbers = _Reader(config, where).numbers(ARCHITECTURES[name])
    source = config.get("_source")
    found = numbers | {"source": source if isinstance(source, str) and source.strip() else f"{where}, {name}"}
    if stored := checkpoints.of(config, where, numbers, beside):
        found["quantisation"] = stored
        found["source"] += f"; weights stored in {stored['method']}, {stored['bits']} bit"
    return found | {key: config[f"_{key}"] for key in ("kind", "sources", "unverified") if f"_{key}" in config}


def architecture_of(config, where):
    """The name of its architecture; one that is not in `ARCHITECTURES` is refused."""
    given = config.get("architectures")
    if given is None:
        given = TYPES.get(str(config.get("model_type")), config.get("model_type"))
        if given not in ARCHITECTURES:
            raise unknown(f"{where}: model_type", "architecture", given, TYPES)
        return given
    names = given if isinstance(given, list) else [given]
    if len(names) != 1 or not isinstance(names[0], str):
        raise InputError(f"{where}: architectures: {str(given)[:80]}; expected a list of one name")
    if names[0] not in ARCHITECTURES:
        raise unknown(f"{where}: architectures", "architecture", names[0], ARCHITECTURES)
    kind = config.get("model_type")
    if TYPES.get(str(kind), names[0]) != names[0]:
        raise InputError(f"{where}: model_type: {kind!r} beside {names[0]}; expected that of the same architecture")
    return names[0]


class _Reader:
    """Reader of one config; every number is checked where it is read."""

    def __init__(self, config, where):
        self.config, self.where = config, where

    def fail(self, key, expected):
        value = repr(self.config.get(key))
        raise InputError(
            f"{self.where}: {key}: {value if len(value) <= 60 else value[:57] + '...'}; expected {expected}"
        )

    def whole(self, key, default=None, low=1):
        """A whole number of at least `low`; `default` where the key is missing or null."""
        value = self.config.get(key)
        if value is None:
            if default is None:
                missing = "null" if key in self.config else "missing"
                raise InputError(f"{self.where}: {key}: {missing}; expected a whole number of at least {low}")
            return default
        real = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if not real or value != int(value) or not low <= value <= MOST:
            self.fail(
                key, f"a whole number of at least {low}" + (f", at most {MOST:,}" if real and value > MOST else "")
            )
        return int(value)

    def flag(self, key, default=False):
        value = self.config.get(key)
        if value is None:
            return int(default)
        if not isinstance(value, bool):
            self.fail(key, "true or false")
        return int(value)

    def numbers(self, kind):
        """{field: number} of every field of `records.Model`."""
        found = {key: self.whole(key) for key in ("hidden_size", "num_hidden_layers", "num_attention_heads")}
        if found["num_hidden_layers"] > MOST_LAYERS:
            self.fail("num_hidden_layers", f"at most {MOST_LAYERS:,}")
        found |= {"vocab_size": self.whole("vocab_size"), "intermediate_size": self.whole("intermediate_size")}
        found["tie_word_embeddings"] = self.flag("tie_word_embeddings")
        found["num_nextn_predict_layers"] = self.whole("num_nextn_predict_layers", 0, low=0)
        found |= self.latent() if kind.latent else self.grouped(found)
        found |= self.experts(kind, found) | self.positions(kind, found) | self.extras(kind) | kind.fixed
        known = fields.fields_of(records.Model)
        found = fields.completed(known, found)
        return {name: found[name] for name in known}

    def latent(self):
        """Attention of a config with MLA."""
        if self.flag("attention_bias"):
            self.fail("attention_bias", "false with latent attention")
        sizes = ("kv_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim", "num_attention_heads")
        found = {key: self.whole(key) for key in sizes}
        heads = found["num_attention_heads"]
        if self.whole("num_key_value_heads", heads) != heads:
            self.fail("num_key_value_heads", f"the {heads} query heads: latent attention has no fewer")
        return found | {"q_lora_rank": self.whole("q_lora_rank", 0, low=0), "num_key_value_heads": heads}

    def grouped(self, found):
        """Attention of a config with grouped queries, of one group (MQA) up to as many as heads (MHA)."""
        heads, hidden = found["num_attention_heads"], found["hidden_size"]
        kv_heads = self.whole("num_key_value_heads", heads)
        if heads % kv_heads:
            self.fail("num_key_value_heads", f"a divisor of num_attention_heads {heads}")
        if self.config.get("head_dim") is None and hidden % heads:
            self.fail("num_attention_heads", f"a divisor of hidden_size {hidden}, or a head_dim beside it")
        width = self.whole("head_dim", hidden // heads)
        return {
            "num_key_value_heads": kv_heads,
            "q_lora_rank": 0,
            "kv_lora_rank": 0,
            "qk_nope_head_dim": width,
            "qk_rope_head_dim": 0,
            "v_head_dim": width,
        }

    def experts(self, kind, found):
        """Experts, and how many layers have them."""
        n, width = found["num_hidden_layers"], found["intermediate_size"]
        none = {"n_routed_experts": 1, "n_shared_experts": 0, "num_experts_per_tok": 1}
        if not kind.experts:
            return none | {"first_k_dense_replace": n, "moe_intermediate_size": width}
        experts, chosen = self.whole(kind.experts), self.whole("num_experts_per_tok")
        if chosen > experts:
            self.fail("num_experts_per_tok", f"at most {kind.experts} {experts}")
        return {
            "n_routed_experts": experts,
            "n_shared_experts": self.whole("n_shared_experts", 0, low=0),
            "num_experts_per_tok": chosen,
            "moe_intermediate_size": self.whole(kind.expert_width),
            "first_k_dense_replace": per_layer.dense_layers(self, kind, n),
        } | self.groups(kind, experts, chosen)

    def groups(self, kind, experts, chosen):
        """Groups of experts of node-limited routing; one group, or all of them, is no limit."""
        groups, reach = self.whole("n_group", 1), self.whole("topk_group", 1)
        if experts % groups:
            self.fail("n_group", f"a divisor of {kind.experts} {experts}")
        if reach > groups:
            self.fail("topk_group", f"at most n_group {groups}")
        if chosen > experts // groups * reach:
            self.fail("topk_group", f"groups with num_experts_per_tok {chosen} experts at least")
        return {"n_group": groups, "topk_group": reach} if reach < groups else {}

    def positions(self, kind, found):
        """Sliding windows, and the indexer of sparse attention."""
        if kind.sparse:
            return per_layer.indexer(self, found["num_hidden_layers"])
        window = self.whole("sliding_window", 0, low=0) if kind.windows else 0
        if not window or not self.flag("use_sliding_window", default=True):
            return {}
        sliding = per_layer.sliding_layers(self, found["num_hidden_layers"])
        return {"sliding_window": window, "sliding_layers": sliding} if sliding else {}

    def extras(self, kind):
        """Biases, and norms of queries and keys."""
        bias = self.flag("attention_bias")
        return {
            "qkv_bias": int(bias and kind.qkv_bias),
            "o_bias": int(bias and kind.o_bias),
            "mlp_bias": int(kind.mlp_bias or self.flag("mlp_bias")),
            "qk_norm": self.flag("use_qk_norm"),
        }


def _unique(path):
    def pairs(items):
        found = dict(items)
        if len(found) < len(items):
            keys = [key for key, _ in items]
            twice = next(key for key in keys if keys.count(key) > 1)
            raise InputError(f"{path}: {twice}: there twice; expected every key once")
        return found

    return pairs
