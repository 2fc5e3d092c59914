"""What a formula reads and what a result is called: records, kinds of field, variables."""
