"""Commands that answer a question about a design space or a configuration."""
