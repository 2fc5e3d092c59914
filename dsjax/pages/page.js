"use strict";
// Charts: specifications as Python made them, colours of the page's scheme, drawn again where that changes.
const charts = JSON.parse(document.getElementById("charts").textContent);
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const coloured = (x, key) =>
  typeof x === "string" && x.startsWith("var:") && ["color", "fill", "stroke", "value", "range"].includes(key) ? css(x.slice(4))
    : Array.isArray(x) ? x.map((y) => coloured(y, key))
      : x && typeof x === "object" ? Object.fromEntries(Object.entries(x).map(([k, y]) => [k, k === "datasets" ? y : coloured(y, k)]))
        : x;
const column = (x) => (Array.isArray(x) ? x : x.at.map((i) => x.values[i]));
const rows = (columns) => {
  const names = Object.keys(columns), all = names.map((name) => column(columns[name]));
  return (all[0] || []).map((_, i) => Object.fromEntries(names.map((name, j) => [name, all[j][i]])));
};
const unpacked = (spec) =>
  ({ ...spec, datasets: Object.fromEntries(Object.entries(spec.datasets).map(([name, columns]) => [name, rows(columns)])) });
const config = (narrow) => ({
  background: null, font: getComputedStyle(document.body).fontFamily,
  axis: { labelColor: css("--ink"), titleColor: css("--ink"), gridColor: css("--line"), domainColor: css("--grey"), tickColor: css("--grey"),
    labelFontSize: 12, titleFontSize: 12, titleFontWeight: "normal", labelLimit: narrow ? 165 : 260, titleLimit: narrow ? 300 : 800, labelOverlap: true, labelSeparation: 8 },
  legend: { orient: "bottom", direction: narrow ? "vertical" : "horizontal", columns: narrow ? 1 : 4, labelColor: css("--ink"), titleColor: css("--soft"),
    labelFontSize: 12, titleFontSize: 12, titleFontWeight: "normal", titleLimit: 400, symbolOpacity: 1, labelLimit: narrow ? 300 : 420,
    layout: { bottom: { direction: narrow ? "vertical" : "horizontal", anchor: "start", margin: narrow ? 8 : 24 } }, gradientLength: narrow ? 180 : 300, gradientDirection: "horizontal" },
  view: { stroke: null }, text: { color: css("--ink"), fontSize: 12 },
});
const specs = charts.map(unpacked), views = [];
async function draw(i) {
  const at = document.querySelector(`[data-chart="${i}"]`);
  const options = { actions: false, renderer: "svg", ast: true, config: config(at.clientWidth < 620), defaultStyle: false,
    tooltip: { theme: "dsjax", disableDefaultStyle: true, maxDepth: 0 } };
  if (views[i]) views[i].finalize();
  views[i] = await vegaEmbed(at, coloured(specs[i]), options);
}
async function all() {
  for (let i = 0; i < specs.length; i++) await draw(i);
  document.documentElement.dataset.drawn = specs.length;
}
let narrow = window.innerWidth < 660;
if (specs.length) {
  all();
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", all);
  window.addEventListener("resize", () => {
    if (narrow !== (window.innerWidth < 660)) { narrow = !narrow; all(); }
  });
}
// Tables that are wider than the page are dense, or cards: a line for every column, after its name.
const boxes = [...document.querySelectorAll(".scroll")].filter((box) => box.querySelector("table.sorts"));
const fit = () => {
  for (const box of boxes) {
    const wide = () => box.clientWidth > 0 && box.scrollWidth > box.clientWidth + 1;
    box.classList.remove("cards", "dense");
    if (!wide()) continue;
    box.classList.add("dense");
    if (!wide()) continue;
    box.classList.remove("dense");
    const table = box.querySelector("table"), heads = [...table.tHead.rows[0].cells].map((cell) => cell.textContent);
    for (const row of table.tBodies[0].rows)
      for (const cell of row.cells) {
        cell.dataset.head = heads[cell.cellIndex];
        cell.classList.toggle("named", cell.dataset.head !== "");
      }
    box.classList.add("cards");
  }
};
fit();
window.addEventListener("resize", fit);
for (const details of document.querySelectorAll("details")) details.addEventListener("toggle", fit);
// Tables: a heading sorts its column, by number where there is one; what has none comes last.
for (const button of document.querySelectorAll("table.sorts th button")) {
  button.addEventListener("click", () => {
    const head = button.parentElement, table = head.closest("table"), body = table.tBodies[0], place = head.cellIndex;
    const up = head.getAttribute("aria-sort") !== "ascending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const key = (row) => { const cell = row.cells[place]; return "sort" in cell.dataset ? parseFloat(cell.dataset.sort) : cell.textContent; };
    const order = (a, b) => {
      const [x, y] = [key(a), key(b)], gone = (v) => Number.isNaN(v) || v === "" || v === "-";
      if (gone(x) || gone(y)) return gone(x) - gone(y);
      const by = typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y), "en", { numeric: true });
      return up ? by : -by;
    };
    body.append(...[...body.rows].sort(order));
  });
}
