
"use strict";
// Everything that a name or a document says is text here: it reaches the page through textContent alone.

const read = (id) => JSON.parse(document.getElementById(id).textContent);
const $ = (id) => document.getElementById(id);
const about = read("about");
const rows = read("rows");
const evidence = read("evidence");

const STATUS = ["scored", "unknown", "failed"];
const NAME = 0, STATE = 1, TOP = 2, KNOWN = 3, COVERAGE = 4, WINDOWS = 5, REASON = 6, EXPERT = 7, PLACE = 8, LIKELY = 9;
const PAGE = 25;
const BARS = 12;
const DOTS = 2000;
const SVG = "http://www.w3.org/2000/svg";

const isProbability = about.measure === "probability";
const authorOf = (row) => (row[TOP].length ? row[TOP][0] : -1);
const shareOf = (row) => (row[TOP].length ? row[TOP][1] : -Infinity);
const secondOf = (row) => (row[TOP].length > 2 ? row[TOP][2] : -1);
const nameOf = (number) => (number < 0 || number === null ? "" : about.authors[number]);
const answerOf = (row) =>
  about.several ? row[LIKELY].map(nameOf).join("; ") : nameOf(authorOf(row));
const count = (number) => number.toLocaleString("en");
const percent = (share, digits = 1) => `${(100 * share).toFixed(digits)} %`;
const measure = (value) => (isProbability ? percent(value) : value.toPrecision(4));
const prefix = commonDirectory(rows.map((row) => row[NAME]));
const shortName = (row) => row[NAME].slice(prefix.length);
const documents = (number) => `${count(number)} ${number === 1 ? "document" : "documents"}`;

/** The directory, with its slash, that all paths have in common. */
function commonDirectory(paths) {
  let common = paths.length > 1 ? paths[0] : "";
  for (const path of paths) while (!path.startsWith(common)) common = common.slice(0, -1);
  return common.slice(0, common.lastIndexOf("/") + 1);
}

/** An element with attributes and children; texts become text nodes. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "click") element.addEventListener("click", value);
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

function draw(tag, attributes, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

// ---------------------------------------------------------------- summary

function figure(list, name, value, part = "") {
  const shown = make("dd", {}, value);
  if (part) shown.append(" ", make("span", { class: "part" }, part));
  list.append(make("div", {}, make("dt", {}, name), shown));
}

function showSummary() {
  const run = about.statistics;
  const total = Math.max(1, rows.length);
  $("made").textContent = `${documents(rows.length)}, model ${about.model}, ${about.made}`;
  figure($("summary"), "documents", count(rows.length));
  for (const [state, name] of STATUS.entries()) {
    const found = rows.reduce((sum, row) => sum + (row[STATE] === state), 0);
    figure($("summary"), name, count(found), found ? percent(found / total, 0) : "");
  }
  const named = new Set(rows.filter((row) => row[STATE] === 0).map(authorOf));
  figure($("summary"), `${about.noun}s named`, count(named.size), `of ${count(about.authors.length)}`);
  figure($("summary"), "documents / s", run.documents_per_second.toFixed(1));
}

// ---------------------------------------------------------------- the table

const columns = [
  { name: "Document", key: (row) => row[NAME] },
  { name: "Status", key: (row) => row[STATE], wide: true },
  { name: about.noun === "author" ? "Author" : "Label", key: answerOf },
  { name: isProbability ? "Probability" : "Value", key: shareOf, number: true },
  { name: "Runner-up", key: (row) => nameOf(secondOf(row)), wide: true },
  { name: "Reason", key: (row) => row[REASON], wide: true },
].filter((column) => column.name !== "Reason" || rows.some((row) => row[REASON]));
const collator = new Intl.Collator("en", { numeric: true });
const haystack = rows.map((row) => `${row[NAME]}\n${answerOf(row)}\n${row[REASON]}`.toLowerCase());
let order = rows.map((_, number) => number);
let chosen = order;
let page = 0;
let sorted = { column: -1, up: true };
let reason = null;

function sortBy(column) {
  const up = sorted.column === column ? !sorted.up : !columns[column].number;
  sorted = { column, up };
  const keys = rows.map(columns[column].key);
  const compare = typeof keys[0] === "string" ? collator.compare : (a, b) => (a < b ? -1 : a > b ? 1 : 0);
  order = rows.map((_, number) => number).sort((a, b) => (up ? 1 : -1) * compare(keys[a], keys[b]) || a - b);
  [...$("table").tHead.rows[0].cells].forEach((cell, number) => {
    if (number === column) cell.setAttribute("aria-sort", up ? "ascending" : "descending");
    else cell.removeAttribute("aria-sort");
  });
  filter();
}

function filter() {
  const words = $("search").value.toLowerCase();
  const state = $("status").value, author = $("author").value;
  const [low, high] = $("least").value ? $("least").value.split(",").map(Number) : [-Infinity, Infinity];
  chosen = order.filter((number) => {
    const row = rows[number];
    return (
      (!state || row[STATE] === Number(state)) &&
      (!author || (row[STATE] === 0 && authorOf(row) === Number(author))) &&
      (low === -Infinity || (shareOf(row) >= low && shareOf(row) < high)) &&
      (reason === null || row[REASON] === reason) &&
      (!words || haystack[number].includes(words))
    );
  });
  page = 0;
  showPage();
}

function tableRow(number) {
  const row = rows[number];
  const state = STATUS[row[STATE]];
  const unsure = state === "unknown" || (isProbability && state === "scored" && shareOf(row) < 0.5);
  const probability = make("td", { class: "number" });
  if (row[TOP].length) {
    if (isProbability) {
      probability.append(make("meter", { min: 0, max: 1, value: shareOf(row), "aria-hidden": "true" }));
    }
    probability.append(measure(shareOf(row)));
  }
  const answer = make("td", { class: "author" },
    state === "unknown" && row[TOP].length ? `(${answerOf(row)})` : answerOf(row));
  if (state !== "scored") answer.prepend(make("span", { class: `badge narrow-only ${state}` }, state), " ");
  const open = make("button", { class: "open", type: "button", title: row[NAME], "aria-haspopup": "dialog" }, shortName(row));
  return make(
    "tr", { class: unsure ? "unsure" : "", click: () => showDetails(number, open) },
    make("td", { class: "document" }, open),
    make("td", { class: "wide-only" }, make("span", { class: `badge ${state}` }, state)),
    answer,
    probability,
    make("td", { class: "author wide-only" }, nameOf(secondOf(row))),
    ...(columns.length > 5 ? [make("td", { class: "problem wide-only", title: row[REASON] }, row[REASON])] : []),
  );
}

function showPage() {
  const pages = Math.max(1, Math.ceil(chosen.length / PAGE));
  page = Math.min(Math.max(0, page), pages - 1);
  const visible = chosen.slice(page * PAGE, (page + 1) * PAGE);
  $("table").tBodies[0].replaceChildren(...visible.map(tableRow));
  const because = reason === null ? "" : `, with the reason "${reason}"`;
  const below = prefix ? ` in ${prefix}` : "";
  $("count").textContent = `${count(chosen.length)} of ${documents(rows.length)}${below}${because}`;
  $("page").textContent = `Page ${count(page + 1)} of ${count(pages)}`;
  $("previous").disabled = page === 0;
  $("next").disabled = page === pages - 1;
  $("pager").hidden = pages === 1;
}

function turn(step) {
  page += step;
  showPage();
  $("documents").scrollIntoView();
}

function setUpTable() {
  columns.forEach((column, number) => {
    const classes = `${column.number ? "number" : ""} ${column.wide ? "wide-only" : ""}`.trim();
    const sort = make("button", { type: "button", click: () => sortBy(number) }, column.name);
    $("table").tHead.rows[0].append(make("th", { scope: "col", class: classes }, sort));
  });
  $("noun-label").textContent = columns[2].name;
  $("least-label").hidden = !isProbability;
  const named = [...new Set(rows.filter((row) => row[STATE] === 0).map(authorOf))];
  named.sort((a, b) => collator.compare(nameOf(a), nameOf(b)));
  $("author").append(...named.map((number) => make("option", { value: number }, nameOf(number))));
  $("filters").addEventListener("input", filter);
  $("filters").addEventListener("submit", (event) => event.preventDefault());
  $("filters").addEventListener("reset", () => {
    reason = null;
    setTimeout(filter);
  });
  $("previous").addEventListener("click", () => turn(-1));
  $("next").addEventListener("click", () => turn(1));
  showPage();
}

/** Show the documents with these values of the filters, and go there. */
function show(values) {
  $("filters").reset();
  for (const [id, value] of Object.entries(values)) {
    if (id !== "reason") $(id).value = value;
  }
  setTimeout(() => {
    reason = values.reason ?? null;
    filter();
    $("documents").focus();
    $("documents").scrollIntoView();
  });
}

// ---------------------------------------------------------------- bars

/** A list of bars: `items` are [name, count, what a click shows or null]. The rest of a long list is behind a button. */
function showBars(list, items) {
  const most = Math.max(1, ...items.map((item) => item[1]));
  const bars = items.map(([name, value, values]) => {
    const fill = make("span", { class: "fill" });
    fill.style.width = `${(100 * value) / most}%`;
    const parts = [fill, make("span", { class: "name" }, name), make("span", { class: "value" }, count(value))];
    const bar = values
      ? make("button", { type: "button", click: () => show(values) }, ...parts)
      : make("div", { class: "row" }, ...parts);
    return make("li", {}, bar);
  });
  list.append(...bars.slice(0, BARS));
  if (bars.length > BARS) {
    const more = make("li", {}, make("button", { type: "button", click: () => {
      more.replaceWith(...bars.slice(BARS));
      bars[BARS].firstChild.focus();
    } }, `Show ${count(bars.length - BARS)} more`));
    list.append(more);
  }
}

function tally(keys) {
  const counts = new Map();
  for (const key of keys) counts.set(key, (counts.get(key) || 0) + 1);
  return [...counts].sort((a, b) => b[1] - a[1]);
}

function showOverviews() {
  const scored = rows.filter((row) => row[STATE] === 0);
  $("authors-title").textContent = `By ${about.noun}`;
  $("authors-note").textContent = scored.length
    ? `Choose ${about.noun === "author" ? "an author" : "a label"} to see the documents.`
    : "No document has an answer.";
  showBars($("authors"), tally(scored.map(authorOf)).map(([author, found]) => [nameOf(author), found, { author }]));
  if (isProbability) {
    const steps = [0.95, 0.8, 0.65, 0.5, 0.35, 0.2, 0];
    const names = ["95 to 100 %", "80 to 95 %", "65 to 80 %", "50 to 65 %", "35 to 50 %", "20 to 35 %", "0 to 20 %"];
    const counts = steps.map(() => 0);
    for (const row of rows) if (row[TOP].length) counts[steps.findIndex((step) => shareOf(row) >= step)] += 1;
    showBars($("confidence"), names.map((name, number) => [name, counts[number], null]));
  } else {
    $("confidence").closest("section").hidden = true;
  }
  const without = rows.filter((row) => row[STATE] !== 0);
  $("reasons-section").hidden = !without.length;
  const reasons = tally(without.map((row) => `${row[STATE]}${row[REASON]}`));
  showBars($("reasons"), reasons.map(([key, found]) => {
    const status = key[0], why = key.slice(1);
    return [`${STATUS[status]}: ${why || "no reason given"}`, found, { status, reason: why }];
  }));
}

// ---------------------------------------------------------------- map and tree

const documentsOf = new Map(tally(rows.filter((row) => row[STATE] === 0).map(authorOf)));

function range(values) {
  const low = Math.min(...values), high = Math.max(...values);
  return [low, Math.max(high, low + 1e-3)];
}

function showMap() {
  $("map-section").hidden = !about.map;
  if (!about.map) return;
  const width = Math.max(280, $("map").clientWidth), highest = Math.min(620, width * 1.1), edge = 34;
  const [left, right] = range(about.map.map((place) => place[0])), [low, high] = range(about.map.map((place) => place[1]));
  const scale = Math.min((width - 2 * edge) / (right - left), (highest - 2 * edge) / (high - low));
  const height = Math.round((high - low) * scale + 2 * edge);
  const x = (place) => width / 2 + (place[0] - (left + right) / 2) * scale;
  const y = (place) => height / 2 - (place[1] - (low + high) / 2) * scale;
  const placed = rows.map((_, number) => number).filter((number) => rows[number][PLACE]);
  const label = `Map of ${count(about.authors.length)} authors and ${documents(placed.length)}. The table above has the answers.`;
  const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label });
  const authors = about.map.map((_, number) => number);
  authors.sort((a, b) => (documentsOf.get(b) || 0) - (documentsOf.get(a) || 0) || a - b);
  for (const author of authors.toReversed()) {
    const classes = documentsOf.has(author) ? "author named" : "author";
    const title = draw("title", {}, `${nameOf(author)}: ${documents(documentsOf.get(author) || 0)}`);
    svg.append(draw("circle", { class: classes, cx: x(about.map[author]), cy: y(about.map[author]), r: 5 }, title));
  }
  const crowd = new Map();
  for (const number of placed.slice(0, DOTS)) {
    const row = rows[number];
    const over = x(row[PLACE]), down = y(row[PLACE]);
    const cell = `${Math.round(over / 5)} ${Math.round(down / 5)}`;
    const before = crowd.get(cell) || 0;
    crowd.set(cell, before + 1);
    // Documents at one place lie around it, so that their number shows.
    const away = 3.2 * Math.sqrt(before), angle = 2.4 * before;
    const title = draw("title", {}, `${row[NAME]}: ${answerOf(row)} ${measure(shareOf(row))}`);
    const dot = draw("circle", { class: `document ${STATUS[row[STATE]]}`, r: 3.5,
      cx: over + away * Math.cos(angle), cy: down + away * Math.sin(angle) }, title);
    dot.addEventListener("click", () => showDetails(number, null));
    svg.append(dot);
  }
  labelAuthors(svg, authors, x, y, width);
  if (placed.length > DOTS) {
    $("map").replaceChildren(svg, make("p", { class: "note" }, `The first ${count(DOTS)} documents are shown.`));
  } else $("map").replaceChildren(svg);
}

/** Names beside the authors' places, where there is room: first those with the most documents. */
function labelAuthors(svg, authors, x, y, width) {
  const taken = authors.map((author) => [x(about.map[author]) - 6, y(about.map[author]) + 5, 12]);
  for (const author of authors) {
    const name = nameOf(author).length > 24 ? `${nameOf(author).slice(0, 23)}…` : nameOf(author);
    const wide = 6.6 * name.length + 2, left = x(about.map[author]), top = y(about.map[author]);
    const places = [[left + 9, top + 4], [left - 9 - wide, top + 4], [left - wide / 2, top - 10], [left - wide / 2, top + 18]];
    const found = places.find(([a, b]) => a > 0 && a + wide < width &&
      !taken.some(([c, d, other]) => a < c + other && c < a + wide && Math.abs(b - d) < 13));
    if (!found) continue;
    taken.push([...found, wide]);
    svg.append(draw("text", { x: found[0], y: found[1], class: documentsOf.has(author) ? "bold" : "" }, name));
  }
}

function showTree() {
  $("tree-section").hidden = !about.tree;
  if (!about.tree) return;
  const authors = about.authors.length, step = 17;
  const children = new Map(about.tree.map(([left, right, height], number) => [authors + number, { left, right, height }]));
  const highest = Math.max(0.01, ...about.tree.map((join) => join[2]));
  const width = Math.max(280, $("tree").clientWidth), names = Math.min(170, width * 0.45), room = width - names - 12;
  const svg = draw("svg", { viewBox: `0 0 ${width} ${authors * step + 6}`, role: "img",
    "aria-label": `Tree of ${count(authors)} authors by the similarity of their profiles` });
  let leaves = 0;
  const visit = (group) => {
    const join = children.get(group);
    if (!join) {
      const top = step * (leaves += 1) - 5;
      const name = nameOf(group), most = Math.floor(names / 6.8);
      svg.append(draw("text", { x: room + 10, y: top + 4, class: documentsOf.has(group) ? "bold" : "" },
        name.length > most ? `${name.slice(0, most - 1)}…` : name, draw("title", {}, name)));
      return [room + 4, top];
    }
    const [ax, ay] = visit(join.left), [bx, by] = visit(join.right);
    const here = 4 + room * (1 - join.height / highest);
    svg.append(draw("path", { d: `M${ax} ${ay}H${here}V${by}H${bx}` }));
    return [here, (ay + by) / 2];
  };
  visit(authors + about.tree.length - 1);
  $("tree").replaceChildren(svg);
}

// ---------------------------------------------------------------- trust and speed

function showTrust() {
  const lines = [
    `The model knows ${count(about.authors.length)} ${about.noun}s. It cannot name anyone else: a text by another author gets the ` +
      "nearest of them, or is unknown.",
  ];
  const { accuracy, held_out } = about.held_out;
  if (accuracy !== undefined) {
    lines.push(`On ${documents(held_out)} that a first fit had not seen, the most probable author was right in ` +
      `${percent(accuracy)} of the cases. Other subjects, times and genres make answers worse than that.`);
  }
  if (isProbability) {
    lines.push("A probability of 80 % means: of many such answers, about 80 of 100 are right, if the documents are like those of " +
      "the training corpus.");
  }
  lines.push(
    "Short texts carry little evidence; style and subject are entangled. An answer is evidence, not proof.",
    `Of each document you see the figures; of the first ${count(about.explained)}, as far as they are not very long, also what ` +
      `speaks for the answer (${documents(Object.keys(evidence).length)} here).`,
  );
  if (about.statistics.adaptation) lines.push("The model was adapted to these documents: an answer depends on the others, too.");
  $("trust").append(...lines.map((line) => make("li", {}, line)));
}

function showSpeed() {
  const run = about.statistics;
  figure($("speed"), "duration", `${run.wall_seconds.toFixed(1)} s`);
  figure($("speed"), "documents / s", run.documents_per_second.toFixed(1));
  figure($("speed"), "tokens / s", count(Math.round(run.tokens_per_second)));
  figure($("speed"), "effort", run.effort);
  figure($("speed"), "inference", `${run.precision}, ${run.provider}`);
  figure($("speed"), "threads", `${run.workers} × ${run.threads}`);
  const kinds = Object.entries(run.latency_ms).filter(([, values]) => values.max > 0);
  if (!kinds.length) return;
  const names = Object.keys(kinds[0][1]);
  $("latency").tHead.append(make("tr", {}, make("th", { scope: "col" }, "Latency in ms, per"),
    ...names.map((name) => make("th", { scope: "col", class: "number" }, name))));
  $("latency").tBodies[0].append(...kinds.map(([kind, values]) => make("tr", {},
    make("th", { scope: "row" }, kind.replaceAll("_", " ")),
    ...names.map((name) => make("td", { class: "number" }, values[name].toFixed(1))))));
}

// ---------------------------------------------------------------- one document

let opener = null;

function showDetails(number, button) {
  const row = rows[number];
  opener = button;
  $("details-title").textContent = row[NAME];
  $("details-body").replaceChildren(...answerParts(row), ...evidenceParts(row, evidence[number]));
  $("details").showModal();
  $("details-body").parentElement.scrollTop = 0;
}

function answerParts(row) {
  const state = STATUS[row[STATE]];
  const answer = make("p", { class: "answer" }, make("span", { class: `badge ${state}` }, state), " ");
  if (state === "scored") answer.append(make("strong", {}, answerOf(row) || "no label"));
  if (row[REASON]) answer.append(row[REASON]);
  const parts = [answer];
  if (row[TOP].length) {
    const ranking = make("ol", { class: "bars" });
    const highest = isProbability ? 1 : Math.max(...row[TOP].filter((_, place) => place % 2).map(Math.abs), 1e-9);
    for (let place = 0; place < row[TOP].length; place += 2) {
      const value = row[TOP][place + 1];
      const fill = make("span", { class: "fill" });
      fill.style.width = `${(100 * Math.max(0, value)) / highest}%`;
      ranking.append(make("li", {}, make("div", { class: "row" }, fill,
        make("span", { class: "name" }, nameOf(row[TOP][place])), make("span", { class: "value" }, measure(value)))));
    }
    parts.push(make("h3", {}, isProbability ? "Most probable" : "Values"), ranking);
  }
  const facts = [["answered by", { both: "n-grams and encoder", ngrams: "n-grams", encoder: "encoder" }[row[EXPERT]]],
    ["known-author score", row[KNOWN]?.toFixed(3)],
    ["n-grams seen in training", row[COVERAGE] === null ? undefined : percent(row[COVERAGE])],
    ["windows of the encoder", row[WINDOWS] ? count(row[WINDOWS]) : undefined]].filter((fact) => fact[1]);
  if (facts.length) {
    const list = make("dl", { class: "facts" });
    for (const [name, value] of facts) list.append(make("dt", {}, name), make("dd", {}, value));
    parts.push(make("h3", {}, "Figures"), list);
  }
  return parts;
}

function evidenceParts(row, found) {
  if (!found) {
    if (row[STATE] === 2) return [];
    return [make("p", { class: "note" }, `The report explains the first ${count(about.explained)} documents. For this one: ` +
      "authorid explain FILE.")];
  }
  const [first, second] = found.authors.map(nameOf);
  const parts = [];
  if (found.odds) {
    const [total, ngrams, encoder] = found.odds.map((value) => value.toFixed(2));
    parts.push(make("h3", {}, `Why ${first} rather than ${second}`),
      make("p", { class: "note" }, `Log-odds ${total}: n-grams ${ngrams}, encoder ${encoder}. Above 0 speaks for ${first}.`));
  } else parts.push(make("h3", {}, `Why ${first}`));
  if (found.text) parts.push(...markedText(found, first, second));
  if (found.parts?.length) {
    parts.push(make("h3", {}, "Who wrote which part"), make("p", { class: "note" }, "By the n-grams alone."));
    parts.push(detailTable(["Words", "Author", "Probability"], found.parts.map(([from, to, author, share]) =>
      [`${count(from)} to ${count(to)}`, nameOf(author), percent(share)]), "Who wrote which part"));
  }
  if (found.ngrams.length) {
    parts.push(make("h3", {}, "Strongest n-grams"));
    parts.push(detailTable(["N-gram", "View", "Times", "Contribution"], found.ngrams.map(([ngram, view, times, value]) =>
      [make("code", {}, ngram), view, count(times), signed(value)]), "Strongest n-grams"));
  }
  if (found.passages?.length) {
    parts.push(make("h3", {}, "Strongest passages"));
    parts.push(detailTable(["Passage", "Contribution"], found.passages.map(([text, value]) => [text, signed(value)]),
      "Strongest passages"));
  }
  return parts;
}

const signed = (value) => `${value > 0 ? "+" : "−"}${Math.abs(value).toFixed(4)}`;

function markedText(found, first, second) {
  const text = make("p", { class: "text", tabindex: 0, role: "region", "aria-label": "The document with marks" });
  for (const [mark, words] of found.text) {
    const shown = words.trimEnd();
    text.append(mark ? make("mark", { class: `${mark > 0 ? "for" : "against"}-${Math.abs(mark)}` }, shown) : shown,
      words.slice(shown.length));
  }
  if (found.cut) text.append(" …");
  return [
    make("p", { class: "legend" }, make("mark", { class: "for-3" }, `speaks for ${first}`), "  ",
      make("mark", { class: "against-3" }, `speaks for ${second}`)),
    text,
  ];
}

function detailTable(names, lines, label) {
  const isNumber = (name) => ["Times", "Contribution", "Probability"].includes(name);
  const head = make("tr", {}, ...names.map((name) =>
    make("th", { scope: "col", class: isNumber(name) ? "number" : "" }, name)));
  const body = lines.map((line) => make("tr", {}, ...line.map((cell, place) =>
    make("td", { class: isNumber(names[place]) ? "number" : "" }, cell))));
  return make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": label },
    make("table", {}, make("thead", {}, head), make("tbody", {}, ...body)));
}

function setUpDetails() {
  $("close").addEventListener("click", () => $("details").close());
  $("details").addEventListener("click", (event) => {
    if (event.target === $("details")) $("details").close();
  });
  $("details").addEventListener("close", () => opener?.focus());
}

showSummary();
setUpTable();
setUpDetails();
showOverviews();
showMap();
showTree();
showTrust();
showSpeed();
let width = innerWidth;
addEventListener("resize", () => {
  if (innerWidth === width) return;
  width = innerWidth;
  showMap();
  showTree();
});
document.documentElement.dataset.ready = "true";
