"""A page as HTML: one file that fetches nothing."""

import base64
import functools
import hashlib
import json
from pathlib import Path

from .. import __version__
from ..errors import InputError
from ..results import files
from . import vega
from .parts import Chart, Facts, Section, Table, Words
from .text import plain

SUFFIX = ".html"
HERE = Path(__file__).parent


def check(path, force=False):
    """Refuse what no page could be written to, and say what is missing."""
    if Path(path).suffix.lower() != SUFFIX:
        raise InputError(f"{path}: suffix {Path(path).suffix!r}; expected a path ending in {SUFFIX}")
    files.check_output(path, force)
    vega.check()
    _template()


def write(page, path, force=False):
    """Write a page under a temporary name and rename it; its text."""
    check(path, force)
    text = html(page)
    files.write_text(path, text, force)
    return text


def html(page):
    """A `Page` as HTML. Only the two scripts of the page run: the policy names them by what they are."""
    charts: list = []
    runs = _read("page.js")
    library = vega.script() if any(isinstance(x, Chart) for s in page.sections for x in s.parts) else ""
    policy = (
        f"default-src 'none'; script-src {' '.join(_hashed(x) for x in (library, runs) if x)}; "
        "style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
    )

    def chart(specs):
        """Keep specifications for the script; their numbers."""
        charts.extend(map(vega.written, specs))
        return range(len(charts) - len(specs), len(charts))

    return _template().render(
        page=page,
        policy=policy,
        style=_read("page.css"),
        library=library,
        runs=runs,
        chart=chart,
        data=lambda: json.dumps(charts, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c"),
        kinds={cls.__name__: cls for cls in (Words, Facts, Table, Chart, Section)},
        version=__version__,
    )


@functools.cache
def _template():
    try:
        import jinja2
        import markupsafe
    except ImportError:
        raise InputError("HTML: Jinja2 is not installed; expected the extra: pip install 'dsjax[report]'") from None
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda x: x if isinstance(x, markupsafe.Markup) or not isinstance(x, str) else plain(x),
    )
    environment.tests["of"] = lambda part, kind: type(part).__name__ == kind
    return environment.get_template("page.html.jinja")


def _read(name):
    return (HERE / name).read_text(encoding="utf-8")


def _hashed(script):
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
