"""Reader of one parsed config: every value is checked where it is read, and what nobody read is known in the end."""

import math
import re

from ..errors import InputError

MOST = 2**31 - 1  # of any size
MOST_LAYERS = 10_000

# Keys that change neither the shape of a model nor what it computes of it: how weights began, how training and
# sampling go, tokens, positions, names, and constants of norms, activations and routing that take no more time.
NOTHING = frozenset(
    """
    architectures model_type auto_map transformers_version torch_dtype dtype name_or_path use_cache use_mamba_kernels
    initializer_range initializer_factor init_std init_method embedding_initializer_range mup_width_multiplier
    emb_pdrop embd_pdrop resid_pdrop attn_pdrop dropout hidden_dropout attention_dropout residual_dropout
    embedding_dropout embedding_dropout_prob hidden_dropout_prob mlp_dropout ffn_dropout classifier_dropout
    token_classifier_dropout summary_first_dropout rms_norm_eps layer_norm_eps layer_norm_epsilon norm_eps
    norm_epsilon layernorm_epsilon hc_eps hidden_act hidden_activation mlp_hidden_act mamba_hidden_act hidden_act_moe
    linear_activation activation_function activation_situ_beta activation_situ_linear_beta swiglu_limit swiglu_limits
    swiglu_limits_shared swiglu_alpha swiglu_beta use_gemma_norm
    max_position_embeddings initial_context_length model_max_length max_seq_len seq_length max_sequence_length
    max_length min_length
    original_max_position_embeddings original_max_sequence_length max_model_len rope_theta rope_thetas rope_scaling
    rope_parameters rope_local_base_freq rope_type rope_interleave rope_interleaved rope_ratio rope_theta_full
    rotary_dim rotary_base rotary_emb_base rotary_percent partial_rotary_factor partial_rotary_factors rotary_pct
    compress_rope_theta swa_rope_theta global_rope_theta local_rope_theta indexer_rope_interleave use_rope
    yarn_only_types use_rope_layers no_rope_layers no_rope_layer_interval
    position_embedding_type mrope_section use_mrope use_interleaved_rope
    long_factor short_factor rope_for_sliding dual_chunk_attention_config interpolation_factor
    attn_temperature_tuning floor_scale attn_scale use_nope mla_use_nope use_alibi llama_4_scaling log_scaling
    scoring_func score_function norm_topk_prob routed_scaling_factor router_scaling_factor moe_router_scaling_factor
    router_aux_loss_coef router_z_loss_coef aux_loss_alpha seq_aux topk_method output_router_logits moe_router_dtype
    router_jitter_noise input_jitter_noise router_bias_update_rate route_scale route_norm moe_renormalize
    moe_router_activation_func use_grouped_topk moe_router_topk_scaling_factor moe_router_enable_expert_bias
    use_routing_bias use_moe_router_bias moe_router_use_sigmoid use_expert_bias enable_moe_fp32_combine
    moe_norm_min moe_router_activation moe_gate_act moe_capacity moe_group moe_use_aux_free moe_aux_loss_coeff
    expert_balance_loss_coef
    moe_gate multi_token_pred_lambda rope_percent max_window_layers
    moe_dropout_prob moe_shared_expert_overlap norm_expert_weight router_dtype norm_before_gate norm_after_topk
    need_fp32_gate load_balance_coeff load_balancing_strategy capacity_factor moe_layer_recompute
    moe_drop_tokens moe_router_capacity_bin_policy moe_random_routing_dropped_token moe_capacity_factor
    logits_scaling embedding_multiplier residual_multiplier attention_multiplier logit_scale embedding_scale
    lm_head_multiplier key_multiplier attention_out_multiplier attention_in_multiplier ssm_multipliers
    mlp_multipliers ssm_in_multiplier ssm_out_multiplier final_logit_softcapping attn_logit_softcapping
    query_pre_attn_scalar mla_scale_q_lora mla_scale_kv_lora attention_value_scale full_attn_alpha_factor
    full_attn_beta_factor linear_attn_alpha_factor linear_attn_beta_factor mlp_alpha_factor mlp_beta_factor
    layernorm_full_attention_alpha layernorm_full_attention_beta layernorm_linear_attention_alpha
    layernorm_linear_attention_beta layernorm_mlp_alpha layernorm_mlp_beta scale_depth scale_emb dim_model_base
    scale_attention_softmax_in_fp32 scale_attn_weights attention_softmax_in_fp32 softmax_in_fp32 fp32_lm_head
    clip_qkv expert_dtype hc_sinkhorn_iters gate_lower_bound linear_lower_bound safe_gate mamba_norm_before_gate
    index_kpool_always_select_tail index_share_for_mtp_iteration sparse_score_type sparse_init_block sparse_local_block
    time_step_min time_step_max time_step_limit time_step_floor time_step_rank time_step_scale mamba_dt_min mamba_dt_max
    mamba_dt_limit mamba_dt_init_floor rescale_prenorm_residual residual_in_fp32 num_logits_to_keep z_loss_coefficient
    use_mambapy use_associative_scan output_gate_type pretraining_tp pretraining_sequence_length ep_size tp_size
    lm_head_multiplier use_parallel_embedding mtp_use_dedicated_embeddings mtp_layer_types mtp_mlp_layer_types
    mtp_hybrid_override_pattern mtp_layers_block_type mtp_transformer_layers mtp_loss_scaling_factor
    num_experts_per_tok_train tokenizer_class prefix task_specific_params problem_type id2label label2id num_labels
    label_names finetuning_task torchscript pruned_heads return_dict return_dict_in_generate output_attentions
    output_hidden_states output_scores do_sample temperature top_k top_p typical_p num_beams num_beam_groups
    num_return_sequences diversity_penalty length_penalty repetition_penalty encoder_no_repeat_ngram_size
    no_repeat_ngram_size bad_words_ids begin_suppress_tokens suppress_tokens early_stopping
    exponential_decay_length_penalty forced_bos_token_id forced_eos_token_id decoder_start_token_id
    remove_invalid_values tf_legacy_loss use_bfloat16 chunk_size_feed_forward is_decoder is_encoder_decoder
    tie_encoder_decoder keys_to_ignore_at_inference use_return_dict attn_implementation attention_implementation
    _attn_implementation_autoset use_flash_attention use_flash_attn flash_attn_mode gradient_checkpointing
    use_bidirectional_attention base_model_tp_plan base_model_pp_plan base_model_ep_plan attention_method
    quantization_config compression_config unsloth_version unsloth_fixed license language zero_expert_type
    architecture cache_implementation hybrid_cache dtype_override train_dtype use_sdpa embedding_dtype
    num_ngram_speculative rms_norm_type sliding_window_pattern_name weight_decay seed vocab_size_per_layer_input
    """.split()
)
# ... and those that end so: tokens by name.
_OF_TOKENS = re.compile(r".*_token_(id|index|ids)$|(eod|eos|bos|pad|unk|sep|cls)_\w+$|ignore_index$")


class Reader:
    """Reader of one config; `names` {name here: keys that an architecture has for it}, `defaults` {name: value}."""

    def __init__(self, config, where, names=None, defaults=None, path=""):
        self.config, self.where, self.path = config, where, path
        self.names, self.defaults = names or {}, defaults or {}
        self.read, self.inside = set(), {}

    def key(self, name):
        """The key that a config has for a name: the first of those it could have."""
        keys = self.names.get(name, (name,))
        self.read.update(keys)
        given = [key for key in keys if self.config.get(key) is not None]
        for other in given[1:]:
            if self.config[other] != self.config[given[0]]:
                self.fail(other, f"{given[0]} {str(self.config[given[0]])[:40]}: the two say the same")
        return given[0] if given else next((key for key in keys if key in self.config), keys[0])

    def get(self, name, default=None):
        """The value of a name; what the architecture, or else the caller, says where it is missing or null."""
        key = self.key(name)
        value = self.config.get(key)
        if value is None and not (key in self.config and default is not None):
            value = self.defaults.get(name)
        return default if value is None else value

    def fail(self, name, expected):
        """InputError for the value of a name, or of a key."""
        key = name if name in self.config else self.key(name)
        value = repr(self.config.get(key))
        shown = value if len(value) <= 60 else value[:57] + "..."
        raise InputError(f"{self.where}: {self.path}{key}: {shown}; expected {expected}")

    def missing(self, name, expected):
        """InputError for a name that a config must have."""
        key = self.key(name)
        missing = "null" if key in self.config else "missing"
        raise InputError(f"{self.where}: {self.path}{key}: {missing}; expected {expected}")

    def whole(self, name, default=None, low=1):
        """A whole number of at least `low`; `default` where the key is missing or null."""
        value = self.get(name, default)
        if value is None:
            self.missing(name, f"a whole number of at least {low}")
        real = _real(value)
        if not real or value != int(value) or not low <= value <= MOST:
            most = f", at most {MOST:,}" if real and value > MOST else ""
            self.fail(name, f"a whole number of at least {low}{most}")
        return int(value)

    def flag(self, name, default=False):
        value = self.get(name, default)
        if not isinstance(value, bool):
            self.fail(name, "true or false")
        return int(value)

    def divided(self, name, value, by, what):
        """value / by, whole."""
        if value % by:
            self.fail(name, f"a multiple of {what} {by}")
        return value // by

    def sub(self, name):
        """Reader of an object inside the config; of an empty one where it is missing or null."""
        key = self.key(name)
        value = self.config.get(key)
        if value is not None and not isinstance(value, dict):
            self.fail(name, "an object")
        if key not in self.inside:
            self.inside[key] = Reader(value or {}, self.where, path=f"{self.path}{key}.")
        return self.inside[key]

    def listed(self, name, n, names, more=0):
        """A list of one of `names` for each of n layers, of MTP modules too where `more`; None where there is none."""
        found = self.get(name)
        if found is None:
            return None
        sizes = {n, n + more}
        if not isinstance(found, list) or len(found) not in sizes or any(_key(x) not in names for x in found):
            shown = " or ".join(str(name) for name in names)
            kind = "names" if all(isinstance(name, str) for name in names) else "entries"
            self.fail(name, f"a list of num_hidden_layers {n} {kind}, {shown}")
        return [_key(x) for x in found[:n]]

    def indices(self, name, n, first=0):
        """Layers that a list numbers, from `first` on, as a set that counts from 0; None where there is none."""
        found = self.get(name)
        if found is None:
            return None
        good = isinstance(found, list) and all(type(i) is int and first <= i < n + first for i in found)
        if not good or len(set(found)) != len(found):
            self.fail(name, f"a list of layers from {first} to {n - 1 + first}, each once")
        return {i - first for i in found}

    def finish(self, ignored=()):
        """InputError for the first key that nobody read and that may change the model."""
        for key, value in self.config.items():
            known = key in self.read or key in NOTHING or key in ignored or key.startswith("_") or not key
            if not (known or _neutral(value) or _OF_TOKENS.match(key)):
                self.fail(key, "no key that changes the model and is not understood")
        for reader in self.inside.values():
            reader.finish()


def _real(value):
    """Whether a value is a number, and finite."""
    return type(value) is int or (isinstance(value, float) and math.isfinite(value))


def _neutral(value):
    """Whether a value says that there is nothing, or that a factor is 1."""
    nothing = value is None or value is False or value in ("", [], {}) or value == 0
    return nothing or (isinstance(value, float) and value == 1.0)


def _key(value):
    """What a list of kinds may hold, comparable with names: true and 1 are different from 'true'."""
    return value if isinstance(value, str | int) and not isinstance(value, bool) else repr(value)
