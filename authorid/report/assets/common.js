
"use strict";
// Everything that a name or a document says is text here: it reaches the page through textContent alone.

const read = (id) => JSON.parse(document.getElementById(id).textContent);
const $ = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";

const collator = new Intl.Collator("en", { numeric: true });
const count = (number) => number.toLocaleString("en");
const percent = (share, digits = 1) => `${(100 * share).toFixed(digits)} %`;
const documents = (number) => `${count(number)} ${number === 1 ? "document" : "documents"}`;

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

function figure(list, name, value, part = "") {
  const shown = make("dd", {}, value);
  if (part) shown.append(" ", make("span", { class: "part" }, part));
  list.append(make("div", {}, make("dt", {}, name), shown));
}

/** A table that scrolls where it is too wide; the columns in `numbers` are aligned as numbers. */
function smallTable(names, lines, label, numbers) {
  const isNumber = (name) => numbers.includes(name);
  const head = make("tr", {}, ...names.map((name) =>
    make("th", { scope: "col", class: isNumber(name) ? "number" : "" }, name)));
  const body = lines.map((line) => make("tr", {}, ...line.map((cell, place) =>
    make("td", { class: isNumber(names[place]) ? "number" : "" }, cell))));
  return make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": label },
    make("table", {}, make("thead", {}, head), make("tbody", {}, ...body)));
}
