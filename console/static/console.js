// What pages need beyond htmx: charts, live parts, live tail, keys.
"use strict";

// colour resolves a class's colour, which may depend on the scheme.
function colour(name) {
  const probe = document.createElement("i");
  probe.className = name;
  probe.hidden = true;
  document.body.append(probe);
  const c = getComputedStyle(probe).color;
  probe.remove();
  return c;
}

// plain writes a number without an exponent: nobody reads 5e-7.
function plain(x, unit) {
  const text = x.toLocaleString("en", {maximumSignificantDigits: 3});
  return unit ? text + " " + unit : text;
}

// drawChart draws an element's data: {labels, series: [[x…], [y…], …], unit}.
function drawChart(box) {
  const data = JSON.parse(box.dataset.chart);
  if (!data.series[0].length) return;
  box.replaceChildren();
  const width = () => Math.max(240, box.clientWidth);
  const axis = {stroke: colour("axis"), grid: {stroke: colour("grid"), width: 1}, ticks: {stroke: colour("grid"), width: 1}, font: "12px system-ui"};
  const bars = uPlot.paths.bars({size: [0.7, 40]});
  const chart = new uPlot({
    width: width(), height: 210,
    cursor: {points: {size: 6}},
    scales: {y: {range: (u, lo, hi) => [0, hi > 0 ? hi * 1.08 : 1]}},
    axes: [axis, {...axis, size: data.unit ? 84 : 58, values: (u, v) => v.map(x => plain(x, data.unit))}],
    series: [{value: "{YYYY}-{MM}-{DD} {HH}:{mm}"}, ...data.labels.map((label, n) => ({
      label, value: (u, v) => v === null ? "–" : plain(v, data.unit), stroke: colour("series" + (n + 1)), width: data.bars ? 0 : 2, paths: data.bars ? bars : undefined,
      fill: data.bars ? colour("series" + (n + 1)) : undefined, points: {show: data.series[0].length < 3},
    }))],
  }, data.series, box);
  new ResizeObserver(() => chart.setSize({width: width(), height: 210})).observe(box);
}

// follow keeps a part of the page as the node sends it.
function follow(part) {
  const source = new EventSource(part.dataset.live);
  source.addEventListener("html", e => {
    part.innerHTML = e.data; // made by the node's templates, which escape
    htmx.process(part);
    part.querySelectorAll("[data-chart]").forEach(drawChart);
  });
  addEventListener("pagehide", () => source.close());
}

// wrong is what a line says that tells of a failure.
const wrong = /\b(ERROR|Task timed out|Traceback)\b/;

// tail appends log lines as they come, and keeps the last few thousand.
function tail(box) {
  const most = 3000;
  const source = new EventSource(box.dataset.tail);
  const state = document.getElementById("tail-state");
  source.onopen = () => { if (state) state.textContent = "Live"; };
  source.onerror = () => { if (state) state.textContent = "Reconnecting…"; };
  source.addEventListener("line", e => {
    const entry = JSON.parse(e.data);
    const atEnd = box.scrollTop + box.clientHeight >= box.scrollHeight - 30;
    const line = document.createElement("p");
    const at = Date.parse(entry.time);
    line.dataset.at = at;
    line.dataset.of = entry.function;
    if (entry.stream === "platform") line.className = "platform";
    if (wrong.test(entry.text)) line.className = "bad";
    const time = document.createElement("time");
    time.textContent = entry.time.slice(11, 23);
    const who = document.createElement("span");
    who.className = "who";
    who.textContent = entry.function;
    line.append(time, who, entry.text); // text, never markup
    let after = box.lastElementChild; // lines of several functions come mixed, the first ones most of all
    while (after && after.dataset.of !== entry.function && Number(after.dataset.at) > at) after = after.previousElementSibling;
    if (after) after.after(line); else box.prepend(line);
    while (box.childElementCount > most) box.firstElementChild.remove();
    if (atEnd && !paused) box.scrollTop = box.scrollHeight;
  });
  let paused = false;
  const button = document.getElementById("tail-pause");
  if (button) button.addEventListener("click", () => {
    paused = !paused;
    button.textContent = paused ? "Follow" : "Pause";
    if (!paused) box.scrollTop = box.scrollHeight;
  });
  addEventListener("pagehide", () => source.close());
}

function start() {
  const redraw = () => document.querySelectorAll("[data-chart]").forEach(drawChart);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  document.querySelectorAll("[data-chart]").forEach(drawChart);
  document.querySelectorAll("[data-live]").forEach(follow);
  document.querySelectorAll("[data-tail]").forEach(tail);
  document.querySelectorAll(".tail:not([data-tail]) p").forEach(p => { if (wrong.test(p.lastChild.textContent)) p.className = "bad"; });
  // A choice that fills a text: event templates, code of a runtime.
  document.addEventListener("change", e => {
    const fill = e.target.dataset && e.target.dataset.fill;
    if (!fill) return;
    const option = e.target.selectedOptions[0];
    if (option && option.dataset.text !== undefined) document.querySelector(fill).value = option.dataset.text;
  });
  document.addEventListener("submit", e => {
    const ask = e.target.dataset.ask;
    if (ask && !confirm(ask)) { e.preventDefault(); e.stopImmediatePropagation(); }
  }, true);
  document.addEventListener("htmx:afterSwap", e => e.target.querySelectorAll("[data-chart]").forEach(drawChart));
  keys();
}

function keys() {
  let armed = 0;
  document.addEventListener("keydown", e => {
    if (e.ctrlKey || e.metaKey || e.altKey) return;
    if (e.target.closest("input, textarea, select, [contenteditable]")) {
      if (e.key === "Tab" && e.target.matches("textarea.code") && !e.shiftKey && !e.target.dataset.left) {
        e.preventDefault();
        e.target.setRangeText("    ", e.target.selectionStart, e.target.selectionEnd, "end");
      }
      if (e.key === "Escape") { e.target.dataset.left = "1"; e.target.blur(); } // then Tab leaves it
      return;
    }
    if (armed && Date.now() - armed < 1500) {
      armed = 0;
      const link = document.querySelector(`nav a[data-key="${CSS.escape(e.key)}"]`);
      if (link) { e.preventDefault(); link.click(); }
      return;
    }
    if (e.key === "g") armed = Date.now();
    if (e.key === "/") { const s = document.querySelector("input[type=search]"); if (s) { e.preventDefault(); s.focus(); } }
    if (e.key === "?") { const d = document.getElementById("keys"); if (d) d.showModal(); }
  });
}

document.addEventListener("DOMContentLoaded", start);
