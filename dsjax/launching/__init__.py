"""Command lines that start a configuration under an engine: its flags are data (`data/launch`), its rules `engines`."""
