
// The page of an evaluation.

const about = read("about");
const found = about.evaluation;
const MOST_IN_MATRIX = 60;

function showSummary() {
  const list = $("summary");
  const [low, high] = found.accuracy_interval;
  $("made").textContent = `${documents(found.documents)}, model ${about.model}, ${about.made}`;
  figure(list, "accuracy", percent(found.accuracy), `${percent(low)} to ${percent(high)}`);
  figure(list, "macro-F1", found.macro_f1.toFixed(3));
  figure(list, "majority", percent(found.majority_rate), "always the most frequent");
  figure(list, "among the first 3", percent(found.top_3));
  figure(list, "calibration error", percent(found.ece));
  if (found.unknown_authors) {
    figure(list, "unknown authors, AUROC", found.unknown_authors.auroc.toFixed(3),
      documents(found.unknown_authors.documents));
  }
}

// A diagram whose axes go from 0 to 1 and from 0 to `top`; `inside` adds what it shows, with functions for places.
function diagram(box, label, names, top, inside) {
  const width = Math.max(280, box.clientWidth), height = Math.round(width * 0.7), left = 64, low = height - 40;
  const x = (value) => left + value * (width - left - 24);
  const y = (value) => low - (value / top) * (low - 12);
  const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label });
  for (let step = 0; step <= 4; step += 1) {
    const share = step / 4;
    svg.append(draw("line", { x1: x(0), x2: x(1), y1: y(share * top), y2: y(share * top) }),
      draw("text", { x: left - 6, y: y(share * top) + 4, "text-anchor": "end" }, percent(share * top, top < 0.2 ? 1 : 0)),
      draw("text", { x: x(share), y: low + 17, "text-anchor": "middle" }, percent(share, 0)));
  }
  svg.append(draw("text", { x: x(0.5), y: height - 6, "text-anchor": "middle" }, names[0]),
    draw("text", { x: 12, y: y(top / 2), "text-anchor": "middle", transform: `rotate(-90 12 ${y(top / 2)})` }, names[1]));
  inside(svg, x, y);
  box.replaceChildren(svg);
}

function showDiagrams() {
  const most = Math.max(...found.reliability.map((bin) => bin.documents));
  const bins = found.reliability.map((bin) => `${percent(bin.confidence, 0)}: ${percent(bin.accuracy, 0)}`).join(", ");
  diagram($("reliability"), `Share of right answers by mean probability. ${bins}`, ["probability", "right"], 1, (svg, x, y) => {
    svg.append(draw("path", { class: "dashed", d: `M${x(0)} ${y(0)}L${x(1)} ${y(1)}` }));
    for (const bin of found.reliability) {
      const title = `${documents(bin.documents)}: probability ${percent(bin.confidence)}, right ${percent(bin.accuracy)}`;
      svg.append(draw("circle", { class: "document scored", cx: x(bin.confidence), cy: y(bin.accuracy),
        r: 3 + 8 * Math.sqrt(bin.documents / most) }, draw("title", {}, title)));
    }
  });
  const steps = found.risk_coverage;
  const highest = Math.max(...steps.map((step) => step.error));
  const top = [0.04, 0.1, 0.2, 0.4, 0.6, 1].find((limit) => highest <= limit);
  const shares = steps.map((step) => `${percent(step.coverage, 0)}: ${percent(step.error)}`).join(", ");
  diagram($("risk"), `Share of wrong answers by share of documents answered. ${shares}`, ["documents answered", "wrong"], top,
    (svg, x, y) => {
      const points = steps.map((step) => `${x(step.coverage)} ${y(step.error)}`);
      svg.append(draw("path", { class: "curve", d: `M${points.join("L")}` }));
      for (const step of steps) {
        const title = `${percent(step.coverage, 0)} answered, from a probability of ${percent(step.probability)}: ` +
          `${percent(step.error)} wrong`;
        svg.append(draw("circle", { class: "document scored", cx: x(step.coverage), cy: y(step.error), r: 4 },
          draw("title", {}, title)));
      }
    });
}

function showConfusion() {
  const wrong = found.documents - Math.round(found.accuracy * found.documents);
  $("confusion-note").textContent = `${documents(wrong)} with a wrong answer. The most frequent confusions:`;
  if (found.worst_pairs.length) {
    $("pairs").append(smallTable([about.noun, "attributed to", "documents", "share"], found.worst_pairs.map((pair) =>
      [pair.author, pair.attributed_to, count(pair.documents), percent(pair.share, 0)]), "Most frequent confusions",
      ["documents", "share"]));
  }
  const names = found.per_author.map((row) => row.author);
  if (names.length > MOST_IN_MATRIX) return;
  const head = make("tr", {}, make("th", { scope: "col" }, "written by \\ attributed to"),
    ...names.map((name, number) => make("th", { scope: "col", class: "number", title: name, "aria-label": name }, count(number + 1))));
  const body = found.confusion.map((line, number) => {
    const total = Math.max(1, line.reduce((sum, value) => sum + value, 0));
    return make("tr", {}, make("th", { scope: "row" }, `${number + 1} ${names[number]}`), ...line.map((value, column) => {
      const level = value ? 1 + Math.min(2, Math.floor((3 * value) / total)) : 0;
      const kind = level ? `${column === number ? "for" : "against"}-${level}` : "";
      return make("td", { class: `number ${kind}`, title: `${names[number]} → ${names[column]}: ${count(value)}` },
        value ? count(value) : "");
    }));
  });
  $("confusion").append(make("h3", {}, "All counts"),
    make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Confusion matrix" },
      make("table", { class: "matrix" }, make("thead", {}, head), make("tbody", {}, ...body))));
}

function showTables() {
  $("authors-title").textContent = `By ${about.noun}`;
  const authors = found.per_author.filter((row) => row.support).sort((a, b) => a.f1 - b.f1 || collator.compare(a.author, b.author));
  $("authors").append(smallTable([about.noun, "precision", "recall", "F1", "documents"], authors.map((row) =>
    [row.author, percent(row.precision), percent(row.recall), row.f1.toFixed(3), count(row.support)]), "Figures by author",
    ["precision", "recall", "F1", "documents"]));
  $("length").append(smallTable(["characters from", "documents", "accuracy"], found.by_length.map((row) =>
    [count(row.from), count(row.documents), percent(row.accuracy)]), "Accuracy by length",
    ["characters from", "documents", "accuracy"]));
  $("ablation-section").hidden = !found.ablation.length;
  $("ablation").append(smallTable(["models", "effort", "accuracy", "documents / s"], found.ablation.map((row) =>
    [row.models, row.effort, percent(row.accuracy), row.documents_per_second.toFixed(0)]), "Accuracy by model and effort",
    ["accuracy", "documents / s"]));
}

showSummary();
showDiagrams();
showConfusion();
showTables();
let width = innerWidth;
addEventListener("resize", () => {
  if (innerWidth !== width) showDiagrams();
  width = innerWidth;
});
document.documentElement.dataset.ready = "true";
