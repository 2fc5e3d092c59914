"""Pages in a real browser without a network: what they say, what they ask for, how they look."""

import contextlib
import shutil

import pytest

WANTED = "a Chromium (apt-get install chromium) and playwright (extra test)"
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# Texts that are too faint: [[contrast with what is behind, text], ...] of all that shows one of its own.
CONTRAST = """() => {
  const parse = (c) => { const m = c.match(/[\\d.]+/g).map(Number); return m.length > 3 ? m : [...m, 1]; };
  const linear = (x) => (x <= 0.03928 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4);
  const light = (c) => [0.2126, 0.7152, 0.0722].reduce((sum, part, i) => sum + part * linear(c[i] / 255), 0);
  const behind = (e) => {
    for (; e; e = e.parentElement) {
      const c = parse(getComputedStyle(e).backgroundColor);
      if (c[3] > 0) return c;
    }
    return [255, 255, 255, 1];
  };
  const faint = [];
  let seen = 0;
  for (const e of document.querySelectorAll("body *")) {
    if (["SCRIPT", "STYLE", "NOSCRIPT"].includes(e.tagName) || !e.getClientRects().length) continue;
    if (![...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim())) continue;
    const style = getComputedStyle(e), svg = e.namespaceURI.endsWith("svg");
    if (style.visibility === "hidden" || (svg && (style.fill === "none" || style.opacity === "0"))) continue;
    const [a, b] = [light(parse(svg ? style.fill : style.color)), light(behind(svg ? e.closest("div") : e))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    seen += 1;
    if (ratio < 4.5) faint.push([ratio, e.textContent.slice(0, 60)]);
  }
  return [seen, faint];
}"""


def chromium():
    """Path of a Chromium; the test is skipped where there is none."""
    path = next(filter(None, map(shutil.which, NAMES)), None)
    return path or pytest.skip(f"no Chromium on PATH; expected {WANTED}")


@contextlib.contextmanager
def browser():
    """A headless Chromium."""
    sync_api = pytest.importorskip("playwright.sync_api", reason=f"playwright is not installed; expected {WANTED}")
    path = chromium()
    with sync_api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield found
        found.close()


@contextlib.contextmanager
def opened(chrome, path, width=1200, scheme="light"):
    """A page that is drawn; whatever its console says, or it asks for beside itself, is an error."""
    context = chrome.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    said, asked = [], []
    context.route("**/*", lambda route: route.continue_() if route.request.url.startswith("file:") else route.abort())
    page = context.new_page()
    page.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(path.as_uri())
    page.wait_for_selector("html[data-drawn]", timeout=30_000)
    yield page
    assert not said, said
    assert asked == [path.as_uri()], asked
    context.close()


def hover(page, mark):
    """{title: text} of what hovering over a mark shows."""
    mark.scroll_into_view_if_needed()
    box = mark.bounding_box()
    page.mouse.move(0, 0)
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, steps=2)
    page.wait_for_selector("#vg-tooltip-element.visible")
    rows = page.query_selector_all("#vg-tooltip-element tr")
    return dict(tuple(cell.inner_text() for cell in row.query_selector_all("td")) for row in rows)


def table(page, caption):
    """(headings, rows of texts) of a table."""
    found = page.locator("table", has=page.locator("caption", has_text=caption)).first
    heads = found.locator("thead th").all_inner_texts()
    return [head.rstrip(" \u2195\u2191\u2193\n") for head in heads], [
        row.locator("td").all_text_contents() for row in found.locator("tbody tr").all()
    ]
