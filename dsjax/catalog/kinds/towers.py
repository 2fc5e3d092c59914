"""Configs that hold a text model and towers for pictures and sound: the text config, what is left out, and its size."""

import re

from ...errors import InputError
from ..reading import NOTHING

TEXTS = ("text_config", "language_config", "llm_config")
# Keys around a text config that say nothing of the text model: tokens, towers, and what joins them.
_AROUND = re.compile(
    r".*(token|image|video|audio|vision|visual|media_|speech|projector|placeholder|multimodal|mm_|vit_|spatial|tower|"
    r"talker|code2wav|merged_|position_id|bo[iav]_|eo[iav]_|understand|generat|min_dynamic|max_dynamic|downsample|pixel|"
    r"select_layer|ps_version|template|dynamic_|seconds|deepstack|anyres|freeze|tune_|lora|thumbnail|pad2|"
    r"resolution|_view|tile|system_prompt|num_frames|sound|grid).*"
)
_OF_TOWERS = re.compile(r"(image|video|audio|vision|visual|media|projector|mm)_")  # ... beside the keys of a text model
_TOWERS = re.compile(r"(vision|visual|audio|speech|image|vit|talker|code2wav).*_config|vision_config")


def opened(config, where):
    """(text config, remark, parameters of the towers that are counted)."""
    outer, thinker = config, config.get("thinker_config")
    if isinstance(thinker, dict):
        outer = {key: value for key, value in config.items() if key != "thinker_config"} | thinker
    for key, value in outer.items():
        if _TOWERS.fullmatch(key) and not isinstance(value, dict | None):
            raise InputError(f"{where}: {key}: a {type(value).__name__}; expected an object")
    key = next((key for key in TEXTS if outer.get(key) is not None), None)
    if key is None:
        towers = _named(outer)
        text = {k: v for k, v in outer.items() if k not in towers and not (towers and _OF_TOWERS.match(k))}
        return (text, *_said(outer, towers, text)) if towers else (config, "", 0)
    text = outer[key]
    if not isinstance(text, dict):
        raise InputError(f"{where}: {key}: a {type(text).__name__}; expected an object")
    around = {k: v for k, v in outer.items() if k != key and not _AROUND.match(k)}
    tied = around.pop("tie_word_embeddings", None)
    for k in sorted(around.keys() & text.keys() - NOTHING):
        if around[k] is not None and around[k] != text[k]:
            raise InputError(f"{where}: {k}: {str(around[k])[:60]}; expected {str(text[k])[:60]}, as {key} says")
    merged = around | text
    if tied is not None:
        merged["tie_word_embeddings"] = tied
    for own in ("architectures", "model_type"):
        merged[own] = text.get(own)
    if config.get("quantization_config") is not None:
        merged["quantization_config"] = config["quantization_config"]
    return merged, *_said(outer, _named(outer), text)


def _named(config):
    return [key for key, value in config.items() if _TOWERS.fullmatch(key) and isinstance(value, dict) and value]


def _said(config, towers, text):
    counted, names, missing = 0, [], []
    for key in towers:
        tower = config[key]
        if key in ("image_processor_config",):
            continue
        names.append(key.removesuffix("_config"))
        size = parameters(tower, config, text)
        counted += size or 0
        missing += [] if size else [names[-1]]
    if not names:
        return "", 0
    remark = f"left out of the time: {', '.join(names)}"
    return remark + (f" (parameters of {', '.join(missing)} not counted)" if missing else ""), counted


def parameters(tower, config, text):
    """Parameters of a tower and of what joins it to the text model; None where they are not known."""
    kind = str(tower.get("model_type"))
    by = next((count for begin, count in KINDS.items() if kind.startswith(begin)), None)
    if by is None and "vt_hidden_size" in tower:
        by = _kimi
    try:
        return None if by is None else by(_Sizes(tower), _Sizes(config), _Sizes(text))
    except (KeyError, TypeError, ValueError):
        return None


class _Sizes(dict):
    """An object of a config whose numbers are sizes."""

    def __getitem__(self, key):
        return self.size(key, super().__getitem__(key))

    def size(self, key, default):
        value = self.get(key, default)
        if type(value) is not int or not 0 < value < 2**31:
            raise ValueError(key)
        return value


def _block(hidden, wide):
    """Of a layer of a ViT: queries, keys, values and output, two products of an FFN, two norms, and biases of all."""
    return 4 * hidden * hidden + 2 * hidden * wide + 9 * hidden + wide


def _gated(hidden, wide):
    """Of a layer without biases, its FFN with a gate, and two norms."""
    return 4 * hidden * hidden + 3 * hidden * wide + 2 * hidden


def _qwen(tower, config, text):
    """Qwen3-VL, Qwen3.5: positions that are learned, and mergers, also of some layers inside."""
    hidden, out = tower["hidden_size"], tower["out_hidden_size"]
    patch = tower.size("in_channels", 3) * tower.size("temporal_patch_size", 2) * tower["patch_size"] ** 2
    merged = hidden * tower.size("spatial_merge_size", 2) ** 2
    joined = merged * merged + merged + merged * out + out
    inside = len(tower.get("deepstack_visual_indexes") or [])
    start = (patch + 1 + tower["num_position_embeddings"]) * hidden
    blocks = tower["depth"] * _block(hidden, tower["intermediate_size"])
    return start + blocks + joined + 2 * hidden + inside * (joined + 2 * merged)


def _kimi(tower, config, text):
    """MoonViT of Kimi K2.5; that of K3, with attention of a width of its own, is not counted."""
    if "qkv_hidden_size" in tower:
        raise KeyError("qkv_hidden_size")
    hidden, out = tower["vt_hidden_size"], tower["text_hidden_size"]
    rows, columns = tower.get("merge_kernel_size")
    merged = hidden * rows * columns
    start = (3 * tower["patch_size"] ** 2 + 1 + tower["init_pos_emb_height"] * tower["init_pos_emb_width"]) * hidden
    blocks = tower["vt_num_hidden_layers"] * _block(hidden, tower["vt_intermediate_size"])
    return start + blocks + 4 * hidden + merged * merged + merged + merged * out + out


def _llama4(tower, config, text):
    """The tower of Llama 4: positions and a class that are learned, an adapter of shuffled pixels, a projection."""
    hidden, wide, out = tower["hidden_size"], tower["intermediate_size"], tower["vision_output_dim"]
    positions = (tower["image_size"] // tower["patch_size"]) ** 2 + 1
    start = (tower.size("num_channels", 3) * tower["patch_size"] ** 2 + positions + 1) * hidden
    blocks = tower["num_hidden_layers"] * _block(hidden, wide)
    middle = tower["projector_input_dim"]
    adapter = wide * middle + middle * tower["projector_output_dim"]
    return start + blocks + 4 * hidden + adapter + out * text["hidden_size"]


def _gemma4(tower, config, text):
    """The tower of Gemma 4: positions of two dimensions, norms as in its text model, one projection."""
    hidden, n = tower["hidden_size"], tower["num_hidden_layers"]
    start = (3 * tower["patch_size"] ** 2 + 2 * tower["position_embedding_size"]) * hidden
    norms = 2 * hidden + 2 * tower["head_dim"]
    return start + n * (_gated(hidden, tower["intermediate_size"]) + norms) + hidden * text["hidden_size"]


def _glm5(tower, config, text):
    """The tower of GLM-5.3 Flash: a gated FFN with biases, a convolution that merges, a gated merger."""
    hidden, wide, out = tower["hidden_size"], tower["intermediate_size"], tower["out_hidden_size"]
    patch = tower.size("in_channels", 3) * tower.size("temporal_patch_size", 2) * tower["patch_size"] ** 2
    block = _gated(hidden, wide) + 5 * hidden + 2 * wide + 2 * (hidden // tower["num_heads"])
    merged = hidden * tower.size("spatial_merge_size", 2) ** 2 * out + out
    merger = out * out + 2 * out + 3 * out * tower["projection_intermediate_size"]
    return (patch + 2) * hidden + tower["depth"] * block + merged + merger


def _pixtral(tower, config, text):
    """Pixtral of Mistral 3: a merger of patches, two products."""
    hidden, out = tower["hidden_size"], text["hidden_size"]
    blocks = tower["num_hidden_layers"] * _gated(hidden, tower["intermediate_size"])
    start = tower.size("num_channels", 3) * tower["patch_size"] ** 2 * hidden + hidden
    merger = hidden + (hidden * config.size("spatial_merge_size", 2)) ** 2 + hidden * out + out * out
    return start + blocks + merger


def _siglip(tower, config, text):
    """SigLIP of Gemma 3: positions that are learned, biases, a projection and its norm."""
    if tower.get("vision_use_head") is not False:
        raise KeyError("vision_use_head")
    hidden, patch = tower["hidden_size"], tower["patch_size"]
    start = (tower.size("num_channels", 3) * patch**2 + 1 + (tower["image_size"] // patch) ** 2) * hidden
    blocks = tower["num_hidden_layers"] * _block(hidden, tower["intermediate_size"])
    return start + blocks + 2 * hidden + hidden * text["hidden_size"] + hidden


# By how the `model_type` of a tower begins.
KINDS = {"qwen3_vl": _qwen, "qwen3_5": _qwen, "llama4_vision": _llama4, "gemma4_vision": _gemma4, "glm5_next": _glm5}
KINDS |= {"qwen3_omni_moe_vision": _qwen, "pixtral": _pixtral, "siglip_vision": _siglip}
