"""Commands about what the numbers rest on: measurements, published results, catalogs."""
