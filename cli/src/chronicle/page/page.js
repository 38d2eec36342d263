
"use strict";
// Draws the build that the element #data holds. Text is put in as text: nothing here makes markup of it.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const page = document.getElementById("page");
  const steps = new Map(data.steps.map((step) => [step.number, step]));
  const total = Math.max(data.total, 0.001);

  // ── elements and words ────────────────────────────────────────────────
  function el(name, attributes = {}, ...children) {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
      if (value === null || value === undefined || value === false) continue;
      if (key === "on") for (const [event, handler] of Object.entries(value)) element.addEventListener(event, handler);
      else if (key === "style") for (const [property, text] of Object.entries(value)) element.style[property] = text;
      else element.setAttribute(key, value);
    }
    element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
    return element;
  }
  function time(ms) {
    if (ms === null || ms === undefined) return "–";
    if (ms < 1) return ms.toFixed(2) + " ms";
    if (ms < 1000) return Math.round(ms) + " ms";
    if (ms < 60000) return (ms / 1000).toFixed(ms < 10000 ? 2 : 1) + " s";
    const seconds = Math.round(ms / 1000);
    return Math.floor(seconds / 60) + " min " + (seconds % 60) + " s";
  }
  function size(bytes) {
    if (bytes === null || bytes === undefined) return "–";
    const units = ["B", "kB", "MB", "GB", "TB"];
    let unit = 0;
    while (bytes >= 999.995 && unit < units.length - 1) { bytes /= 1000; unit += 1; }
    return (unit === 0 ? bytes : bytes.toFixed(2)) + " " + units[unit];
  }
  const count = (number, one, many) => number + " " + (number === 1 ? one : many || one + "s");
  const took = (step) => (step.begin === null ? null : (step.end === null ? data.total : step.end) - step.begin);
  const percent = (part) => (100 * part) + "%";
  const sum = (list) => list.reduce((all, one) => all + one, 0);
  const section = (title, ...children) => el("section", {}, el("h2", {}, title), ...children);

  // ── head ──────────────────────────────────────────────────────────────
  function head() {
    const started = new Date(data.started);
    return el("header", {},
      el("h1", {}, data.subject),
      el("span", { class: "badge " + data.outcome }, data.outcome),
      el("p", {}, "started ", el("time", { datetime: data.started }, started.toLocaleString()), " · ", data.writer,
        data.image ? [" · ", el("code", {}, data.image.digest)] : null));
  }
  function tiles() {
    const of = (...verdicts) => data.steps.filter((step) => verdicts.includes(step.verdict));
    const made = of("made"), cached = of("cached"), work = made.length + cached.length + of("failed", "cancelled").length;
    const fresh = made.filter((step) => step.layer);
    const tile = (value, what) => el("div", { class: "tile" }, el("b", {}, value), el("span", {}, what));
    const slowest = [...data.steps].sort((a, b) => (took(b) || 0) - (took(a) || 0))[0];
    return el("div", { class: "tiles" },
      tile(time(data.total), "total time"),
      tile(cached.length + " / " + work, "steps from the cache"),
      tile(count(made.length, "step"), "made, " + time(sum(made.map((step) => took(step) || 0))) + " of work"),
      tile(size(sum(fresh.map((step) => step.layer.size))), "in new layers"),
      data.transfers.length ? tile(size(sum(data.transfers.map((moved) => moved.moved))), "pulled and pushed") : null,
      data.image ? tile(size(sum(data.image.layers.map((layer) => layer.size))), "image, " + count(data.image.layers.length, "layer")) : null,
      slowest && took(slowest) ? tile(time(took(slowest)), "longest: step " + slowest.number) : null);
  }
  function spoken(output) {
    if (!output.lines.length) return null;
    const lines = output.lines.map((line) => [el("i", {}, (line.after / 1000).toFixed(3)), line.text + "\n"]);
    const before = output.dropped ? el("i", {}, "… " + count(output.dropped, "line") + " before\n") : null;
    return el("pre", {}, before, ...lines.flat());
  }
  function failures() {
    if (!data.error && data.outcome === "built") return null;
    const failed = data.steps.filter((step) => step.verdict === "failed");
    const parts = failed.map((step) => [
      el("h3", {}, "Step " + step.number + (step.line ? ", line " + step.line : "") + ": ", el("code", {}, step.title)),
      step.error ? el("p", {}, step.error) : null, spoken(step.output)]);
    return el("section", { class: "wrong", id: "failure" }, el("h2", {}, data.outcome === "interrupted" ? "Interrupted" : "Failed"),
      data.error && !failed.length ? el("pre", {}, data.error) : null, ...parts.flat());
  }
  function warnings() {
    if (!data.warnings.length) return null;
    return el("section", { class: "warned" }, el("h2", {}, count(data.warnings.length, "warning")),
      ...data.warnings.map((warning) => el("pre", {}, warning)));
  }

  // ── timeline ──────────────────────────────────────────────────────────
  const LANE = 26;
  const bars = new Map();
  const lanes = el("div", { class: "lanes", role: "group", "aria-label": "timeline" });
  const arrows = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const detail = el("div", { class: "detail", "aria-live": "polite" });
  let chosen = null;

  function marks() {
    const rough = total / 6, power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= rough);
    const list = [];
    for (let at = 0; at <= total; at += step) list.push(at);
    return list;
  }
  function bar(begin, end, lane, title, classes, key, pick) {
    const share = (end - begin) / total, thin = share < 0.04;
    return el("button", {
      type: "button", class: "bar " + classes + (thin ? " thin" : ""), title: title + " · " + time(end - begin), "aria-label": title + ", " + time(end - begin),
      style: { left: percent(begin / total), width: percent(share), top: (lane * LANE + 2) + "px" },
      on: { mouseenter: () => light(pick), mouseleave: () => light(chosen), focus: () => light(pick), blur: () => light(chosen), click: () => choose(pick) },
    }, key > 0 ? el("span", { class: "key", style: { width: percent(key) } }) : null, el("span", { class: "name" }, thin ? "" : title));
  }
  function timeline() {
    const drawn = data.steps.filter((step) => step.lane !== null);
    if (!drawn.length && !data.transfers.length) return null;
    const ticks = marks();
    const height = 1 + Math.max(...drawn.map((step) => step.lane), ...data.transfers.map((moved) => moved.lane));
    lanes.style.height = (height * LANE) + "px";
    lanes.append(...ticks.slice(1).map((at) => el("div", { class: "tick", style: { left: percent(at / total) } })));
    for (const moved of data.transfers) {
      const end = moved.end === null ? data.total : moved.end;
      lanes.append(bar(moved.begin, end, moved.lane, moved.title, moved.done ? "base" : "failed", 0, { moved }));
    }
    for (const step of drawn) {
      const end = step.begin + took(step);
      const key = step.make === null ? 0 : (step.make - step.begin) / Math.max(end - step.begin, 0.001);
      const element = bar(step.begin, end, step.lane, step.title, step.verdict + (step.critical ? " critical" : ""), key, { step });
      bars.set(step.number, element);
      lanes.append(element);
    }
    arrows.setAttribute("class", "arrows");
    arrows.setAttribute("viewBox", "0 0 1000 " + (height * LANE));
    arrows.setAttribute("preserveAspectRatio", "none");
    lanes.append(arrows);
    const axis = el("div", { class: "axis", "aria-hidden": "true" }, ...ticks.map((at) =>
      el("span", { class: at / total > 0.95 ? "last" : null, style: { left: percent(at / total) } }, at === 0 ? "0" : time(at))));
    const legend = el("div", { class: "legend" },
      ...[["made", "made"], ["cached", "from the cache"], ["base", "base, pull or push"], ["failed", "failed"], ["cancelled", "given up"], ["critical", "the build waited for it (critical path)"]]
        .filter(([name]) => name === "critical" || name === "base" || data.steps.some((step) => step.verdict === name))
        .map(([name, words]) => el("span", { class: "key" }, el("i", { class: name }), words)),
      data.steps.some((step) => step.make !== null) ? "striped: reading what it is made of" : null);
    light(null);
    return section("Timeline", legend, el("div", { class: "chart" }, axis, lanes), detail);
  }
  function light(pick) {
    const step = pick && pick.step;
    const near = step ? data.steps.filter((other) => step.inputs.includes(other.number) || other.inputs.includes(step.number)) : [];
    lanes.classList.toggle("lit", Boolean(step));
    for (const [number, element] of bars) {
      element.classList.toggle("chosen", Boolean(step) && number === step.number);
      element.classList.toggle("near", near.some((other) => other.number === number));
    }
    for (const row of document.querySelectorAll("tr[data-step]")) row.classList.toggle("chosen", Boolean(step) && row.dataset.step === String(step.number));
    arrows.replaceChildren(...(step ? near.filter((other) => other.lane !== null && step.lane !== null).map((other) =>
      step.inputs.includes(other.number) ? arrow(other, step) : arrow(step, other)) : []));
    const hint = "Point at a bar, or choose one, to see what it needed, what needed it, and what it said.";
    const told = step ? ofStep(step) : pick ? ofTransfer(pick.moved) : [el("p", { class: "faint" }, hint)];
    detail.replaceChildren(...told.filter(Boolean));
  }
  function choose(pick) {
    const same = chosen && ((pick.step && chosen.step === pick.step) || (pick.moved && chosen.moved === pick.moved));
    chosen = same ? null : pick;
    light(chosen);
  }
  function arrow(from, to) {
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    const x1 = 1000 * (from.begin + took(from)) / total, x2 = 1000 * to.begin / total;
    const y1 = from.lane * LANE + LANE / 2, y2 = to.lane * LANE + LANE / 2;
    const bend = Math.max(8, (x2 - x1) / 2);
    path.setAttribute("d", "M" + x1 + " " + y1 + " C" + (x1 + bend) + " " + y1 + " " + (x2 - bend) + " " + y2 + " " + x2 + " " + y2);
    return path;
  }
  const fact = (name, ...value) => el("span", {}, name + " ", el("b", {}, ...value));
  function ofStep(step) {
    const needs = step.inputs.map((number) => "#" + number).join(", ");
    const needed = data.steps.filter((other) => other.inputs.includes(step.number)).map((other) => "#" + other.number).join(", ");
    return [
      el("h3", {}, "#" + step.number + " ", el("code", {}, step.title)),
      el("div", { class: "facts" }, fact("verdict", step.verdict), fact("took", time(took(step))),
        step.make === null ? null : fact("of which reading", time(step.make - step.begin)),
        step.begin === null ? null : fact("began at", time(step.begin)), step.line ? fact("line", step.line) : null,
        needs ? fact("needs", needs) : null, needed ? fact("needed by", needed) : null,
        step.layer ? fact("layer", size(step.layer.size)) : null,
        step.layer && step.layer.content ? fact("holds", count(step.layer.content.entries, "entry", "entries") + ", " + size(step.layer.content.bytes)) : null),
      step.layer ? el("div", { class: "faint mono" }, step.layer.digest) : null,
      step.why ? el("pre", { class: "why" }, step.why) : null,
      step.error ? el("p", {}, step.error) : null, spoken(step.output)];
  }
  function ofTransfer(moved) {
    return [el("h3", {}, el("code", {}, moved.title)),
      el("div", { class: "facts" }, fact("took", time((moved.end === null ? data.total : moved.end) - moved.begin)),
        fact("blobs", moved.blobs), fact("of", size(moved.bytes)), fact("moved", size(moved.moved)), moved.done ? null : fact("it", "did not arrive"))];
  }

  // ── tables ────────────────────────────────────────────────────────────
  function table(columns, rows, attributes) {
    const body = el("tbody");
    const fill = (list) => body.replaceChildren(...list.map((row) =>
      el("tr", attributes(row), ...columns.map((column) => el("td", { class: column.kind }, column.cell(row))))));
    const heads = columns.map((column) => {
      const cell = el("th", { class: column.kind, scope: "col" });
      const button = el("button", { type: "button", on: { click: () => {
        const down = cell.getAttribute("aria-sort") !== "descending" && column.kind === "number" || cell.getAttribute("aria-sort") === "ascending";
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        cell.setAttribute("aria-sort", down ? "descending" : "ascending");
        const order = (a, b) => { const x = column.value(a), y = column.value(b); return x < y ? -1 : x > y ? 1 : 0; };
        fill([...rows].sort((a, b) => (down ? -order(a, b) : order(a, b))));
      } } }, column.name);
      cell.append(button);
      return cell;
    });
    fill(rows);
    return el("div", { class: "scroll" }, el("table", {}, el("thead", {}, el("tr", {}, ...heads)), body));
  }
  const meter = (text, part, colour) => [text, el("div", { class: "meter" }, el("i", { class: colour || "made",  style: { width: percent(Math.min(part, 1)) } }))];
  function stepTable() {
    if (!data.steps.length) return null;
    const longest = Math.max(...data.steps.map((step) => took(step) || 0), 0.001);
    const largest = Math.max(...data.steps.map((step) => (step.layer ? step.layer.size : 0)), 1);
    const entries = (step) => (step.layer && step.layer.content ? step.layer.content.entries : null);
    const columns = [
      { name: "#", kind: "number", value: (step) => step.number, cell: (step) => step.number },
      { name: "Step", kind: "name", value: (step) => step.title, cell: (step) => [el("code", {}, step.title), step.why ? el("div", { class: "faint why" }, step.why) : null] },
      { name: "Line", kind: "number", value: (step) => step.line || 0, cell: (step) => step.line || "–" },
      { name: "Verdict", kind: "", value: (step) => step.verdict, cell: (step) => el("span", { class: "verdict " + step.verdict }, step.verdict) },
      { name: "Time", kind: "number", value: (step) => took(step) || 0, cell: (step) => (took(step) === null ? "–" : meter(time(took(step)), took(step) / longest, step.verdict)) },
      { name: "Layer", kind: "number", value: (step) => (step.layer ? step.layer.size : 0), cell: (step) => (step.layer ? meter(size(step.layer.size), step.layer.size / largest, step.verdict) : "–") },
      { name: "Entries", kind: "number", value: (step) => entries(step) || 0, cell: (step) => (entries(step) === null ? "–" : entries(step).toLocaleString("en")) },
    ];
    return section("Steps", table(columns, data.steps, (step) => ({ "data-step": step.number, on: { click: () => {
      choose({ step });
      detail.scrollIntoView({ block: "nearest" });
    } } })));
  }
  function layerTable() {
    if (!data.image || !data.image.layers.length) return null;
    const layers = data.image.layers.map((layer, at) => ({ ...layer, at: at + 1 }));
    const all = Math.max(sum(layers.map((layer) => layer.size)), 1);
    const columns = [
      { name: "#", kind: "number", value: (layer) => layer.at, cell: (layer) => layer.at },
      { name: "Made by", kind: "name", value: (layer) => layer.createdBy || "", cell: (layer) => [el("code", {}, layer.createdBy || "(the base image does not say)"), el("div", { class: "faint mono" }, layer.digest)] },
      { name: "From", kind: "", value: (layer) => layer.step || 0, cell: (layer) => (layer.step ? "step " + layer.step : "base") },
      { name: "Size", kind: "number", value: (layer) => layer.size, cell: (layer) => meter(size(layer.size), layer.size / all, layer.step ? "made" : "base") },
      { name: "Files", kind: "number", value: (layer) => (layer.content ? layer.content.bytes : 0), cell: (layer) => (layer.content ? size(layer.content.bytes) : "–") },
      { name: "Entries", kind: "number", value: (layer) => (layer.content ? layer.content.entries : 0), cell: (layer) => (layer.content ? layer.content.entries.toLocaleString("en") : "–") },
    ];
    return section("Layers of the image",
      el("div", { class: "stack" }, ...layers.map((layer) =>
        el("i", { class: layer.step ? "own" : null, title: (layer.createdBy || "base") + " · " + size(layer.size), style: { flexGrow: String(layer.size / all), flexBasis: "0" } }))),
      table(columns, layers, (layer) => (layer.step ? { "data-step": layer.step, on: { click: () => choose({ step: steps.get(layer.step) }) } } : {})));
  }
  function image() {
    if (!data.image) return null;
    const config = data.image.config || {};
    const words = (list) => (list ? list.map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : JSON.stringify(word))).join(" ") : null);
    const keys = (map) => (map && Object.keys(map).length ? Object.keys(map).join(", ") : null);
    const lines = (list) => (list && list.length ? list.map((line) => el("div", {}, el("code", {}, line))) : null);
    const pairs = [
      ["Digest", el("code", {}, data.image.digest)], ["Config", el("code", {}, data.image.configDigest)],
      ["Names", data.names.join(", ")], ["Platform", data.image.platform], ["Created", data.image.created],
      ["User", config.User], ["Working directory", config.WorkingDir], ["Entrypoint", words(config.Entrypoint)], ["Command", words(config.Cmd)],
      ["Ports", keys(config.ExposedPorts)], ["Volumes", keys(config.Volumes)], ["Stop signal", config.StopSignal],
      ["Environment", lines(config.Env)], ["Labels", lines(config.Labels && Object.entries(config.Labels).map(([name, value]) => name + "=" + value))],
    ];
    return section("Image", el("dl", {}, ...pairs.filter(([, value]) => value && value.length !== 0).flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)])));
  }

  const parts = [head(), tiles(), failures(), warnings(), timeline(), stepTable(), layerTable(), image(),
    el("footer", {}, "Times are wall clock. Sizes are in powers of ten; a layer's is that of its bytes as they are stored: compressed, unless only other stages read it.")];
  page.append(...parts.filter(Boolean));
  document.documentElement.dataset.drawn = String(data.steps.length);
})();
