
// The table of documents: sorted, filtered, a page at a time.

const columns = [
  { name: "Document", key: (row) => row[NAME] },
  { name: "Status", key: (row) => row[STATE], wide: true },
  { name: about.noun === "author" ? "Author" : "Label", key: answerOf },
  { name: isProbability ? "Probability" : "Value", key: shareOf, number: true },
  { name: "Runner-up", key: (row) => nameOf(secondOf(row)), wide: true },
  { name: "Reason", key: (row) => row[REASON], wide: true },
].filter((column) => column.name !== "Reason" || rows.some((row) => row[REASON]));
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
  $("search").addEventListener("input", filter);
  for (const id of ["status", "author", "least"]) $(id).addEventListener("change", filter);
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
