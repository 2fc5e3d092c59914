"""Configs that hold a text model and towers for pictures and sound: the text config, what is left out, and its size."""

import re

from ...errors import InputError

TEXTS = ("text_config", "language_config", "llm_config")
# Keys around a text config that say nothing of the text model: tokens, towers, and what joins them.
_AROUND = re.compile(
    r".*(token|image|video|audio|vision|visual|media|speech|projector|placeholder|multimodal|mm_|vit_|spatial|tower|"
    r"talker|code2wav|position_id|bo[iav]_|eo[iav]_|understand|generat|min_dynamic|max_dynamic|downsample|pixel|"
    r"select_layer|ps_version|template|dynamic_).*"
)
_TOWERS = re.compile(r"(vision|visual|audio|speech|image|vit|talker|code2wav).*_config|vision_config")


def opened(config, where):
    """(text config, remark, parameters of the towers that are counted)."""
    outer, thinker = config, config.get("thinker_config")
    if isinstance(thinker, dict):
        outer = {key: value for key, value in config.items() if key != "thinker_config"} | thinker
    key = next((key for key in TEXTS if outer.get(key) is not None), None)
    if key is None:
        towers = _named(outer)
        text = {k: v for k, v in outer.items() if k not in towers and not (towers and _AROUND.match(k))}
        return (text, *_said(outer, towers, text)) if towers else (config, "", 0)
    text = outer[key]
    if not isinstance(text, dict):
        raise InputError(f"{where}: {key}: a {type(text).__name__}; expected an object")
    around = {k: v for k, v in outer.items() if k != key and not _AROUND.match(k)}
    tied = around.pop("tie_word_embeddings", None)
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
    kind = tower.get("model_type")
    by = next((count for names, count in KINDS if kind in names), None)
    if by is None and "vt_hidden_size" in tower:
        by = _kimi
    try:
        return None if by is None else by(tower, config, text)
    except (KeyError, TypeError, ValueError, ArithmeticError):
        return None


def _block(hidden, wide, bias=True):
    """A layer of a ViT: queries, keys, values, output, two products of an FFN, two norms."""
    products = 4 * hidden * hidden + 2 * hidden * wide
    return products + (4 * hidden + wide + hidden if bias else 0)


def _qwen(tower, config, text):
    """Qwen3-VL, Qwen3.5: ViT with norms of two vectors, learned positions, and mergers, also of its deep layers."""
    hidden, wide, depth = tower["hidden_size"], tower["intermediate_size"], tower["depth"]
    patch = tower.get("in_channels", 3) * tower.get("temporal_patch_size", 2) * tower["patch_size"] ** 2
    merged = hidden * tower.get("spatial_merge_size", 2) ** 2
    joined = merged * merged + merged + merged * tower["out_hidden_size"] + tower["out_hidden_size"]
    deep = len(tower.get("deepstack_visual_indexes") or [])
    start = patch * hidden + hidden + tower["num_position_embeddings"] * hidden
    mergers = joined + 2 * hidden + deep * (joined + 2 * merged)
    return start + depth * (_block(hidden, wide) + 4 * hidden) + mergers


def _kimi(tower, config, text):
    """MoonViT of Kimi K2.5."""
    if "qkv_hidden_size" in tower:
        return None
    hidden, wide, depth = tower["vt_hidden_size"], tower["vt_intermediate_size"], tower["vt_num_hidden_layers"]
    rows, columns = tower["merge_kernel_size"]
    merged, out = hidden * rows * columns, tower["text_hidden_size"]
    start = 3 * tower["patch_size"] ** 2 * hidden + hidden
    start += tower["init_pos_emb_height"] * tower["init_pos_emb_width"] * hidden
    joined = 2 * hidden + merged * merged + merged + merged * out + out
    return start + depth * (_block(hidden, wide) + 4 * hidden) + 2 * hidden + joined


KINDS = ((("qwen3_vl", "qwen3_vl_moe", "qwen3_5", "qwen3_5_moe", "qwen3_5_vision", "qwen3_vl_vision"), _qwen),)
