"""Fill the tables of docs/speed.md from the records of one run of bench_scale.py.

    python benchmarks/bench_scale.py -o docs/speed.json && python benchmarks/speed_page.py

Between `<!-- table: NAME -->` and `<!-- end -->` of the page stands what this makes of docs/speed.json, no figure is
written by hand. `--check`: the exit code is 1 where the page differs.
"""

import argparse
import json
import re
import sys
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "docs"
BLOCK = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
RATES = {  # row of a run -> what the page calls it
    "grid loop 1e3 float64": "plain Python loop of the same formulas (study, float64)",
    "broadcast": "all variables of the study by NumPy, over named axes",
    "grid numpy 1e7 float32": "the same by NumPy on a flat grid",
    "grid dsjax long 1e7 float32": "all variables at their own dims, study, 1e7 points",
    "grid core 1e7 float32": "all variables at their own dims, core model, 1e7 points",
    "full rank": "14 variables of the study at every point",
    "stream study 1e10": "search that holds no grid, study, 1.0e10 points",
    "stream core 1e10": "search that holds no grid, core model, 6.7e9 points",
    "workers 1": "the same by one dask worker of one core",
    "workers 2": "the same by two dask workers of one core each",
    "gradients study": "ten elasticities at every point, study",
    "gradients core": "ten elasticities at every point, core model",
    "peer process": "`aiconfigurator` in process, tables loaded [configurations/s]",
    "peer sweep": "`aiconfigurator`, its sweep command [configurations/s]",
}


def rates(run):
    """Points per second of every row that has them."""
    found = {record["row"]: record for record in run["results"]}
    lines = ["| | points/s | wall s | CPU s | first call s | peak MB |", "|---|---|---|---|---|---|"]
    for row, text in RATES.items():
        record = found.get(row, {})
        if "points/s" in record:
            cells = [f"{record[key]:.3g}" if key in record else "" for key in ("wall", "cpu", "first", "peak")]
            lines.append(f"| {text} | {record['points/s']:.2g} | {' | '.join(cells)} |")
    return lines


def first(run):
    """The first answer to every question."""
    lines = ["| | question: wall s | CPU s | process: wall s | CPU s | peak MB |", "|---|---|---|---|---|---|"]
    for record in run["results"]:
        if record["row"].startswith("first "):
            keys = ("first", "first cpu", "wall", "cpu", "peak")
            cells = [f"{record[key]:.{0 if key == 'peak' else 2}f}" if key in record else "" for key in keys]
            name = record["row"].removeprefix("first ")
            name = f"{name.removeprefix('cold ')}, empty caches" if name.startswith("cold ") else name
            lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def compiling(run):
    """CPU seconds of the first call less a warm one: recording, lowering, compiling."""
    lines = ["| compiled program | CPU s |", "|---|---|"]
    for record in run["results"]:
        if record["row"].startswith("compile "):
            lines.append(f"| {record['row'].removeprefix('compile ')} | {record['cpu']:.2f} |")
    return lines


def machine(run):
    """What the run ran on."""
    about = run["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    loads = [record["load"] for record in run["results"]]
    return [
        f"{about['platform']}, {about['cores']} cores, Python {about['python']}, {versions}; "
        f"commit {about['commit'][:7]}; load when the rows began {min(loads):.1f} to {max(loads):.1f}."
    ]


TABLES = {"machine": machine, "first": first, "compiling": compiling, "rates": rates}


def filled(page, run, tables):
    """The page with its tables."""
    return BLOCK.sub(lambda match: match[1] + "\n".join(tables[match[2]](run)) + "\n" + match[3], page)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing")
    page = FOLDER / "speed.md"
    text = page.read_text(encoding="utf-8")
    wanted = filled(text, json.loads((FOLDER / "speed.json").read_text(encoding="utf-8")), TABLES)
    if parser.parse_args().check:
        sys.exit(int(wanted != text))
    page.write_text(wanted, encoding="utf-8")


if __name__ == "__main__":
    main()
