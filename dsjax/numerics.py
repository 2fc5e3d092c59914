"""Numerical methods that know nothing of the model."""


def arithmetic(a, b):
    """The mean of two numbers."""
    return 0.5 * (a + b)


def bisect(holds, yes, no, *, middle=arithmetic, width=0.0, relative=0.0):
    """(yes, no): two neighbours, `holds(yes)` and not `holds(no)`, between two numbers of which that is so.

    They are at most `width`, or `relative` times `no`, apart; or as near as floating-point numbers get. `middle(yes,
    no)` lies between: `arithmetic`, or a geometric mean where numbers differ by orders of magnitude.
    """
    while abs(no - yes) > max(width, relative * abs(no)):
        between = middle(yes, no)
        if between in (yes, no):
            break
        yes, no = (between, no) if holds(between) else (yes, between)
    return yes, no
