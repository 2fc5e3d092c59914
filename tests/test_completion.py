"""What a shell completes, asked as bash asks it."""

import pytest
from click.shell_completion import BashComplete

from dsjax import cli


def completed(line, monkeypatch):
    words = line.split(" ")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
    asked = BashComplete(cli.main, {}, "dsjax", "_DSJAX_COMPLETE").complete()
    return [item.partition(",")[2] for item in asked.splitlines()]


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("dsjax best --fix hardware=h80", ["hardware=H800"]),
        ("dsjax best --axis hardware=H800,B20", ["hardware=H800,B200"]),
        ("dsjax best --axis pipeline=s", ["pipeline=sbo"]),
        ("dsjax best --axis batchi", ["batching="]),
        ("dsjax sweep --axis batching=ch", ["batching=chunked"]),
        ("dsjax sweep --limit max_ttft_p9", ["max_ttft_p90=", "max_ttft_p99="]),
        ("dsjax sweep --set nic.scale_out_b", ["nic.scale_out_bytes_per_s="]),
        ("dsjax solve --vary nic.scale_out_b", ["nic.scale_out_bytes_per_s"]),
        ("dsjax sweep --model deepseek-v3.", ["DeepSeek-V3.2"]),
        ("dsjax explain decode_gpu", ["decode_gpu_2025", "decode_gpu"]),
        ("dsjax best --objective tps_per_c", ["tps_per_chip"]),
        ("dsjax plot heat", ["heatmap"]),
        ("dsjax names lim", ["limits"]),
        ("dsjax catalog ni", ["nics"]),
        ("dsjax schema cat", ["catalog"]),
        ("dsjax count gpt-oss-1", ["gpt-oss-120b"]),
        ("dsjax plan --hardware H20,B20", ["H20,B200"]),
        ("dsjax plan --hardware an", ["any"]),
        ("dsjax plan --engine sgl", ["sglang", "sglang-deepep"]),
        ("dsjax plan --model deepseek-v3.", ["DeepSeek-V3.2"]),
        ("dsjax plan --precision fp8-k", ["fp8-kv8"]),
        ("dsjax best --fix nothing=", []),
    ],
    ids=lambda x: x if isinstance(x, str) else "",
)
def test_values(line, found, monkeypatch):
    assert {*found} <= {*completed(line, monkeypatch)} or found == []
    if not found:
        assert completed(line, monkeypatch) == []
    assert len(completed(line, monkeypatch)) <= max(len(found), 1) + 2
