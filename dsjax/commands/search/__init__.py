"""Commands that search a design space: sweep, best, pareto, histogram."""
