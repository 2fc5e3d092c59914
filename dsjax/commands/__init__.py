"""The commands of `dsjax`, by what a user wants: results, answers about them, published figures."""
