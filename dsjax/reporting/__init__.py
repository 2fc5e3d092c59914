"""A space as a report: the question, the answer in words, pictures, every number behind it with its source."""
