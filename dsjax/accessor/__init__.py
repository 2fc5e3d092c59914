"""`Dataset.dsjax`: a Dataset that dsjax made, asked further questions, as a table, in words and in a notebook."""

from typing import TYPE_CHECKING, Any

from ..types import Amount, Named, Names, Path

if TYPE_CHECKING:
    import pandas
    import xarray as xr


class Accessor:
    """Questions of a Dataset of dsjax's: `ds.dsjax.best(by=["hardware"])` is `dsjax.best(ds, by=["hardware"])`.

    `print(ds.dsjax)` prints what the command line does, a notebook shows the answer as a table. Raises what the
    functions of the same names do.
    """

    def __init__(self, ds: "xr.Dataset") -> None:
        self._ds = ds

    def best(self, by: Names | None = None, top: int = 1, objective: str | None = None) -> "xr.Dataset":
        """The best feasible points, see `dsjax.best`."""
        from ..search.best import best

        return best(self._ds, by, top, objective)

    def pareto(self, x: str | None = None, y: str = "tps_per_chip", by: Names | None = None) -> "xr.Dataset":
        """The points that no other feasible point beats in both x and y, see `dsjax.pareto`."""
        from ..search.best import pareto

        return pareto(self._ds, x, y, by)

    def histogram(self, of: str | None = None, bins: int = 20) -> "xr.Dataset":
        """How a variable is spread over the feasible points, see `dsjax.histogram`."""
        from ..search.histogram import histogram

        return histogram(self._ds, of, bins)

    def explain(self, at: Named | None = None) -> "xr.Dataset":
        """One configuration in full, the best one that `at` leaves, see `dsjax.explain`."""
        from ..analysis.explain import explain

        return explain(self._ds, at)

    def sensitivity(
        self,
        of: str | None = None,
        wrt: Names | None = None,
        at: Named | str | None = "best",
        *,
        kinks: bool | None = None,
        envelope: bool = False,
    ) -> "xr.Dataset":
        """Elasticities d ln y / d ln x at a point, or of all (`at="grid"`), see `dsjax.sensitivity`."""
        from ..analysis.sensitivity import sensitivity

        return sensitivity(self._ds, of, wrt, at, kinks=kinks, envelope=envelope)

    def solve(self, vary: str, until: str | None = None, **how: Any) -> "xr.Dataset":
        """The value of one input at which the best configuration reaches a target, see `dsjax.solve`."""
        from ..analysis.solve import solve

        return solve(self._ds, vary, until, **how)

    def uncertainty(self, errors: dict[str, Amount], **how: Any) -> "xr.Dataset":
        """The best configurations where inputs are uncertain, see `dsjax.uncertainty`."""
        from ..analysis.uncertainty import uncertainty

        return uncertainty(self._ds, errors, **how)

    def plot(self, kind: str, path: Path | None = None, **how: Any) -> Any:
        """A picture of the results, see `dsjax.plot`."""
        from ..pictures import plot

        return plot(kind, self._ds, path, **how)

    def report(self, path: Path | None = None, **how: Any) -> Any:
        """One HTML page of the results, written to `path` where one is given, see `dsjax.report`."""
        import dsjax

        return dsjax.report(self._ds, path, **how)  # type: ignore[attr-defined, unused-ignore]

    def table(self) -> "pandas.DataFrame":
        """The answer as a pandas DataFrame: a row for each point, parameter, operator or stage.

        Columns have the headings and units of the command line (TPOT in ms, memory in GB) and hold numbers. Of a sweep
        the best points, one for each group of the grid.
        """
        from .tables import table

        return table(self._ds)

    def __repr__(self) -> str:
        from .words import words

        return words(self._ds)

    def _repr_html_(self) -> str:
        from .page import html

        return html(self._ds)
