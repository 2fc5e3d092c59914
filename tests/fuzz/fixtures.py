"""What cases begin with, made once: files of results, stores, and folders of interrupted sweeps."""

import contextlib
import sys
from pathlib import Path

CORE = {"axes": {"hardware": ["H800", "H20"], "batch": [16, 32, 64]}, "constraints": {"min_tps_per_user": 20}}
CORE["fixed"] = {"precision": "fp8", "nic": "CX7", "tp": 1, "ep": 72, "mtp": 0, "pipeline": "naive", "context": 5120}
CORE["objective"] = {"maximize": "tps_per_chip", "by": ["hardware"]}
PREFILL = {"axes": {"hardware": ["H800", "H20"], "prompts": [16, 64], "isl": [1024, 4096]}, "phase": "prefill"}
PREFILL["fixed"] = {"precision": "fp8", "nic": "CX7", "tp": 4, "ep": 32, "pipeline": "naive", "osl": 128}
PREFILL["constraints"] = {"max_ttft": "5 s"}
SERVE = {"phase": "serve", "axes": {"hardware": ["H200", "H20"], "concurrency": [16, 64]}}
SERVE["fixed"] = {"precision": "fp8", "nic": "CX7", "tp": 8, "ep": 8, "isl": 4096, "osl": 1024, "pipeline": "naive"}
SERVE["constraints"] = {"min_tps_per_user": 10, "max_ttft": 20}
OPEN = SERVE | {"axes": {"hardware": ["H200"], "requests_per_s": [0.5, 2.0]}}
POOLS = {"phase": "disaggregated", "axes": {"requests_per_s": [0.5, 2.0]}, "fixed": {"isl": 4096, "osl": 512}}
POOLS["prefill"] = POOLS["decode"] = {"hardware": ["H200"], "tp": [8], "chips": 8, "nic": "CX7", "precision": "fp8"}
POOLS["constraints"] = {"max_ttft_p90": 2.0, "max_tpot_p90": 0.05}
STUDY = {"study": "decode_gpu_2025", "axes": {"batch": {"start": 16, "stop": 64, "step": 8}, "mtp": [0, 1]}}
STUDY["fixed"] = {"hardware": "H800", "nic": "CX7", "ep": 144, "precision": "kv1-w1", "pipeline": "naive"}
GRIDS = {"core": CORE, "prefill": PREFILL, "serve": SERVE, "open": OPEN, "pools": POOLS, "study": STUDY}


def make(folder):
    """Write everything into a folder."""
    import dsjax
    from dsjax.space import grid
    from dsjax.sweeps import outputs, sweep

    for name in ("core", "serve", "study"):
        dsjax.write_netcdf(dsjax.sweep(GRIDS[name]), folder / f"{name}.nc")
    dsjax.sweep(CORE, output=folder / "core.zarr")
    outputs.POINTS = 4
    evaluate = outputs.evaluate_slab
    for kind in ("nc", "zarr"):
        left = [2]

        def one(*args, left=left):
            left[0] -= 1
            if left[0] < 0:
                raise KeyboardInterrupt
            return evaluate(*args)

        outputs.evaluate_slab = one
        with contextlib.suppress(KeyboardInterrupt):
            sweep.write(grid.load(STUDY), folder / f"x.{kind}")


if __name__ == "__main__":
    make(Path(sys.argv[1]))
