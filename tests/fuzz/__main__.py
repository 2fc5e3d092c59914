"""`python -m tests.fuzz --cases 20000 --seed 1`: damaged input by the thousand: prints counts and failing cases."""

import argparse
import contextlib
import itertools
import os
import signal
import sys
import tempfile
import time

from . import cases, running


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=2000, help="of all formats together")
    parser.add_argument("--from", type=int, default=0, dest="first", help="leave out so many of them, run before")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=600.0, help="stop after so long")
    parser.add_argument("--only", help="FORMAT, or FORMAT:INDEX to repeat one case")
    args = parser.parse_args()
    only, _, index = (args.only or "").partition(":")
    names = [only] if only else list(cases.FORMATS)
    jobs = [(only, int(index))] if index else itertools.islice(cases.jobs(args.cases, names), args.first, None)
    end, counts = time.monotonic() + 60 * args.minutes, {}
    for number in (signal.SIGINT, signal.SIGTERM):  # the counts are printed, also of a run in the background
        signal.signal(number, signal.default_int_handler)
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # where nothing waits for a disk
    folder = tempfile.TemporaryDirectory(dir=memory)
    with folder as place, running.Pool(place, args.seed) as pool, contextlib.suppress(KeyboardInterrupt):
        for name, number in jobs:
            if time.monotonic() > end:
                break
            found = pool.run(name, number)
            count = counts.setdefault(name, {"cases": 0, "faults": 0, "seconds": 0.0, 0: 0, 1: 0, 2: 0})
            count["cases"] += 1
            count["seconds"] += found["seconds"]
            count["faults"] += bool(found["fault"])
            if found["code"] in (0, 1, 2):
                count[found["code"]] += 1
            if found["fault"] or index:
                print(f"{name}:{number} --seed {args.seed}: {found['fault'] or found}", flush=True)
                print(f"    {found['command']}", flush=True)
    for name, count in counts.items():
        print(
            f"{name:12} {count['cases']:6} cases, exit 0: {count[0]}, 1: {count[1]}, 2: {count[2]}, "
            f"faults: {count['faults']}, {count['seconds']:.0f} s"
        )
    sys.exit(any(count["faults"] for count in counts.values()))


if __name__ == "__main__":
    main()
