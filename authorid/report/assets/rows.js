
// The rows of the page, and what is in each.

const about = read("about");
const rows = read("rows");
const evidence = read("evidence");

const STATUS = ["scored", "unknown", "failed"];
const NAME = 0, STATE = 1, TOP = 2, KNOWN = 3, COVERAGE = 4, WINDOWS = 5, REASON = 6, EXPERT = 7, PLACE = 8, LIKELY = 9;
const PAGE = 25;
const BARS = 12;
const DOTS = 2000;

const isProbability = about.measure === "probability";
const authorOf = (row) => (row[TOP].length ? row[TOP][0] : -1);
const shareOf = (row) => (row[TOP].length ? row[TOP][1] : -Infinity);
const secondOf = (row) => (row[TOP].length > 2 ? row[TOP][2] : -1);
const nameOf = (number) => (number < 0 || number === null ? "" : about.authors[number]);
const answerOf = (row) =>
  about.several ? row[LIKELY].map(nameOf).join("; ") : nameOf(authorOf(row));
const measure = (value) => (isProbability ? percent(value) : value.toPrecision(4));
const prefix = commonDirectory(rows.map((row) => row[NAME]));
const shortName = (row) => row[NAME].slice(prefix.length);

/** The directory, with its slash, that all paths have in common. */
function commonDirectory(paths) {
  let common = paths.length > 1 ? paths[0] : "";
  for (const path of paths) while (!path.startsWith(common)) common = common.slice(0, -1);
  return common.slice(0, common.lastIndexOf("/") + 1);
}
