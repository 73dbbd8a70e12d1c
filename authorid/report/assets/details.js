
// One document: its answer, and what speaks for it.

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
    parts.push(smallTable(["Words", "Author", "Probability"], found.parts.map(([from, to, author, share]) =>
      [`${count(from)} to ${count(to)}`, nameOf(author), percent(share)]), "Who wrote which part", ["Probability"]));
  }
  if (found.ngrams.length) {
    parts.push(make("h3", {}, "Strongest n-grams"));
    parts.push(smallTable(["N-gram", "View", "Times", "Contribution"], found.ngrams.map(([ngram, view, times, value]) =>
      [make("code", {}, ngram), view, count(times), signed(value)]), "Strongest n-grams", ["Times", "Contribution"]));
  }
  if (found.passages?.length) {
    parts.push(make("h3", {}, "Strongest passages"));
    parts.push(smallTable(["Passage", "Contribution"], found.passages.map(([text, value]) => [text, signed(value)]),
      "Strongest passages", ["Contribution"]));
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

function setUpDetails() {
  $("close").addEventListener("click", () => $("details").close());
  $("details").addEventListener("click", (event) => {
    if (event.target === $("details")) $("details").close();
  });
  $("details").addEventListener("close", () => opener?.focus());
}
