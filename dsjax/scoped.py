"""What holds inside of a block, for the thread and the task that entered it alone."""

import contextlib


@contextlib.contextmanager
def scoped(variable, value):
    """The context variable has this value inside, and what it had before after it."""
    token = variable.set(value)
    try:
        yield
    finally:
        variable.reset(token)
