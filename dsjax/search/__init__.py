"""Best points, Pareto fronts, histograms; held or streamed."""
