"""What kinds of layer a config describes, as fields of the record of a model."""
