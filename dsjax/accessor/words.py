"""An answer in the words of the command line."""

import contextlib
import io

from ..analysis import remedies
from ..results.handle import Results
from ..search import ranking
from ..space import limits, restoring
from .kinds import kind_of
from .tables import table

WIDTH = 200  # columns of a table that is not the command line's


def words(ds):
    """What the command line prints of an answer; of a sweep what `dsjax best` does."""
    kind = kind_of(ds)
    if kind in ("best", "pareto") and not ds.sizes["rank"]:
        return "\n".join([*heads(ds), "no feasible point", *remedies.nothing_feasible(space_of(ds))])
    if kind in ("best", "pareto", "count"):
        return "\n".join([*heads(ds), table(ds).to_string(float_format="{:,.4g}".format, line_width=WIDTH)])
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        _SHOW[kind](ds)
    return text.getvalue().rstrip("\n")


def heads(ds):
    """Lines before an answer: its title, and the limits in force."""
    lines = [ds.attrs.get("title") or ds.attrs.get("title_a", "")]
    return lines + ([limits.words(space_of(ds))] if "dsjax_spec" in ds.attrs else [])


def space_of(ds):
    """The space that an answer is of."""
    return restoring.space(ds.attrs["dsjax_spec"])


def _sweep(ds):
    from ..commands import ranked

    results = Results.of(ds).searchable()
    ranked.show(results.space, ranking.best(results), ranking.counted(results), "table", False)


def _explain(ds):
    from ..commands.answers import explain_tables

    explain_tables.show(ds, "table")


def _explain_server(ds):
    from ..commands.answers import explain_server_tables
    from ..commands.common import GridRequest

    explain_server_tables.show(ds, GridRequest(quiet=True), None)  # its next commands are of a grid


def _plan(ds):
    from ..commands.answers import plan_words

    plan_words.show(ds, "table", False)


def _fleets(ds):
    from ..commands.answers import recommend_tables

    recommend_tables.show(ds, "table", False)


def _of_space(name):
    """What shows an answer about a space."""

    def shown(ds):
        from ..commands.answers import sensitivity, solve, uncertainty
        from ..commands.search import histogram

        modules = {"sensitivity": sensitivity, "solve": solve, "uncertainty": uncertainty, "histogram": histogram}
        modules[name].show(space_of(ds), ds, "table", False)

    return shown


def _compare(ds):
    from ..commands.answers import compare

    compare.show(ds, "table", False)


_SHOW = {
    "sweep": _sweep,
    "explain": _explain,
    "explain server": _explain_server,
    "plan": _plan,
    "fleets": _fleets,
    "compare": _compare,
    **{name: _of_space(name) for name in ("sensitivity", "solve", "uncertainty", "histogram")},
}
