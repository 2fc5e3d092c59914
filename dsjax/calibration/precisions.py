"""Precisions that kernels are measured at: their names, and the lines of a file that are of one."""

from ..errors import InputError, unknown
from ..options import option

# precision -> (rate, bytes of an element of a weight, of another one read, of one written); nvfp4 has a scale of one
# byte for 16 elements, mxfp4 for 32, int4 one of two bytes for 32
PRECISIONS = {
    "bf16": ("bf16", 2.0, 2.0, 2.0),
    "fp8": ("fp8", 1.0, 1.0, 2.0),
    "int8": ("int8", 1.0, 1.0, 2.0),
    "fp4": ("fp4", 0.5, 0.5, 2.0),
    "nvfp4": ("fp4", 0.5 + 1.0 / 16.0, 0.5 + 1.0 / 16.0, 2.0),
    "w8a16": ("bf16", 1.0, 2.0, 2.0),
    "int4-a16": ("bf16", 0.5 + 2.0 / 32.0, 2.0, 2.0),
    "mxfp4-a16": ("bf16", 0.5 + 1.0 / 32.0, 2.0, 2.0),
}
_SPELT = {"bfloat16": "bf16", "half": "bf16", "float16": "bf16", "fp8_block": "fp8", "float8": "fp8", "fp8_e4m3": "fp8"}
_SPELT |= {"int8_wo": "w8a16", "int4_wo": "int4-a16", "w4a16_mxfp4": "mxfp4-a16"}
_DTYPES = ("precision", "dtype", "gemm_dtype", "moe_dtype", "mla_dtype", "attn_dtype", "allreduce_dtype", "nccl_dtype")
_DEFAULT = {"dispatch": "fp8", "combine": "bf16", "all-reduce": "bf16"}  # usual of an exchange
COMPUTES_NOTHING = tuple(_DEFAULT)


def spelt(text):
    """A precision by dsjax's name for it."""
    return _SPELT.get(text, text)


def chosen(path, header, lines, asked):
    """(lines of the precision `asked`, what was chosen by which column); all and "" where no column says one.

    `asked` may be the file's own word for it: then lines of another word for the same precision do not count.
    """
    column = next((x for x in _DTYPES if x in header), None)
    if asked is None or column is None:
        return lines, ""
    words = {line[column] for _, line in lines}
    if asked not in words and spelt(asked) not in PRECISIONS:
        raise unknown("calibrate", "precision", asked, PRECISIONS)
    if not {spelt(word) for word in words} & PRECISIONS.keys():
        return lines, ""  # words that dsjax does not know: `asked` says what they mean
    wanted = {asked} if asked in words else {word for word in words if spelt(word) == spelt(asked)}
    if not wanted:
        several = ", ".join(sorted(words))
        raise InputError(f"{path}: column {column} has {several}; expected {asked}, the precision asked for")
    own = [(i, line) for i, line in lines if line[column] in wanted]
    if len(own) == len(lines):
        return lines, ""
    return own, f"{column} {', '.join(sorted(wanted))}: {len(own)} of {len(lines)} lines"


def measured(path, kind, labels, asked):
    """The precision by dsjax's name: `asked`, or what the file's own column says, or the usual one of an exchange."""
    if asked is not None:
        if spelt(asked) not in PRECISIONS:
            raise unknown("calibrate", "precision", asked, PRECISIONS)
        return spelt(asked)
    for column in _DTYPES:
        if column in labels:
            texts = {spelt(x) for x in labels[column]}
            if len(texts) > 1:
                several = ", ".join(sorted(texts))
                raise InputError(
                    f"{path}: column {column} has {several}; expected one ({option('precision')}, or "
                    f"{option('where', f'{column}=...')})"
                )
            if texts <= PRECISIONS.keys():
                return texts.pop()
    if kind in _DEFAULT:
        return _DEFAULT[kind]
    wanted = f"{option('precision')}, one of {', '.join(PRECISIONS)}"
    raise InputError(f"{path}: no column says the precision; expected {wanted}")
