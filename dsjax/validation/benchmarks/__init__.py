"""Result files of engines' benchmarks -> runs in the words of a file of systems; one module a format."""
