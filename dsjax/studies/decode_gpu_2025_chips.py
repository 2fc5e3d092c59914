"""Chips as the 2025 GPU decode study describes them."""

from ..specs import fields, records


@fields.record
class Hardware(records.Chip):
    """An accelerator as the study describes it."""

    sms: float = fields.size("1", "streaming multiprocessors (cores)")
    clock_cycles_per_s: float = fields.rate("Hz", "core clock")
    exp2_per_cycle: float = fields.size("1", "exp2 per core and cycle")
    reduce_per_cycle: float = fields.size("1", "reduction steps per core and cycle")
    thread_all_reduce_s: float = fields.seconds("all-reduce between the cores of a chip, per sequence and layer")
    roofline_overlap: float = fields.fraction(
        "share of the smaller of compute and memory time hidden behind the larger"
    )
    softmax_overlap: float = fields.fraction(
        "GEMMs of attention that hide softmax: 0 none, 1 the second, 2 both", high=2.0
    )
    attention_128_rows: float = fields.share("share of peak of decode attention at 128 rows (heads x query tokens)")
    attention_256_rows: float = fields.share("share of peak of decode attention at 256 rows (heads x query tokens)")


@fields.record
class NetworkedHardware(Hardware):
    """With the scale-up network that the study leaves out."""

    scale_up_bytes_per_s: float = fields.rate("B/s", "bandwidth inside the scale-up domain, per chip, one way")
    scale_up_domain: float = fields.size("1", "chips of one scale-up domain")
    scale_up_utilisation: float = fields.share("share of the scale-up bandwidth that transfers reach")
