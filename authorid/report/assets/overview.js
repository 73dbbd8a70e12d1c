
// What is around the table: figures, bars, the map, the tree, and how far to trust all of it.

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
  figure($("summary"), `${about.noun}s`, count(named.size), `of ${count(about.authors.length)}`);
  figure($("summary"), "documents / s", run.documents_per_second.toFixed(1));
}

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

const documentsOf = new Map(tally(rows.filter((row) => row[STATE] === 0).map(authorOf)));

function range(values) {
  const low = Math.min(...values), high = Math.max(...values);
  return [low, Math.max(high, low + 1e-3)];
}

function showMap() {
  $("map-section").hidden = !about.map;
  if (!about.map) return;
  const width = Math.max(280, $("map").clientWidth), highest = Math.min(620, width * 1.1, 200 + 25 * about.map.length), edge = 34;
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

function showTrust() {
  const lines = [
    ...about.warnings.map((warning) => `Warning: ${warning}.`),
    `The model knows ${count(about.authors.length)} ${about.noun}s. It cannot name anyone else: a text by another author gets the ` +
      "nearest of them, or is unknown.",
  ];
  const { accuracy, held_out } = about.held_out;
  if (accuracy !== undefined) {
    lines.push(`On ${documents(held_out)} that a first fit had not seen, the most probable author was right in ` +
      `${percent(accuracy)} of the cases. Other subjects, times and genres make answers worse than that.`);
    if (held_out < 100) lines.push("These are few documents: this share, and all probabilities, are rough.");
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
  if (run.tokens_per_second) figure($("speed"), "tokens / s", count(Math.round(run.tokens_per_second)));
  figure($("speed"), "effort", run.effort);
  figure($("speed"), "inference", `${run.precision}, ${run.provider}`);
  figure($("speed"), "threads", `${run.workers} × ${run.threads}`);
  const meanings = { service: "document, work alone", document: "document, with queues", batch: "batch of the encoder" };
  const kinds = Object.entries(run.latency_ms).filter(([, values]) => values.max > 0);
  if (!kinds.length) return;
  const names = Object.keys(kinds[0][1]);
  $("latency").tHead.append(make("tr", {}, make("th", { scope: "col" }, "Latency in ms, per"),
    ...names.map((name) => make("th", { scope: "col", class: "number" }, name))));
  $("latency").tBodies[0].append(...kinds.map(([kind, values]) => make("tr", {},
    make("th", { scope: "row" }, meanings[kind] ?? kind),
    ...names.map((name) => make("td", { class: "number" }, values[name].toFixed(1))))));
}
