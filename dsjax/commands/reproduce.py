"""Commands that show what dsjax knows: reproduce, count, catalog."""

import sys

import click

from .common import OUTPUT_OPTIONS, compilation_cache, progress


@click.command()
@click.argument("study", required=False)
@click.option(
    "--corrected", is_flag=True, help="Instead, every row with the study's slips corrected, and what each contributes."
)
@OUTPUT_OPTIONS
def reproduce(study, corrected, form, quiet):
    """Published results against computed ones; exit code 1 if one is outside its tolerance.

    Row by row for one STUDY; one line each for all of them.

    \b
    dsjax reproduce
    dsjax reproduce decode_gpu_2025
    dsjax reproduce sg2260e --format csv > rows.csv
    dsjax reproduce decode_gpu_2025 --corrected
    """
    if corrected:
        from ..reproduction import corrections

        with progress("correcting", quiet), compilation_cache():
            found = corrections.corrected(*([] if study is None else [study]))
        corrections.show(found, form, quiet)
        return
    from .. import studies
    from ..reproduction import reproduce
    from . import ranked

    names = reproduce.studies_of_results() if study is None else [studies.get(study).name]
    with progress(f"reproducing {', '.join(names)}", quiet), compilation_cache():
        results = [reproduce.reproduce(name) for name in names]
    if study is None:
        ranked.summaries(results, form)
    else:
        ranked.reproduction(results[0], form, quiet)
    sys.exit(0 if all(map(reproduce.passed, results)) else 1)
