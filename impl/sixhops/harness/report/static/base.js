// What all parts share: elements, the index, the documents behind it, words and numbers.
// Nothing here or elsewhere makes markup from texts: what programs sent only ever becomes text nodes.

const HOPS = ["engine", "registry", "containerd", "shim", "runtime", "process"];
const LANES = ["docker", "dockerd", "registry", "containerd", "shim", "runc", "container"];
const ENDS = { engine: [0, 1], registry: [1, 2], containerd: [1, 3], shim: [3, 4], runtime: [4, 5], process: [5, 6] };
const SVG = "http://www.w3.org/2000/svg";

/** Make an element. Attributes that are functions listen; `null`, `undefined` and `false` are left out. */
function el(tag, attributes, ...children) {
  const element = document.createElement(tag);
  return filled(element, attributes, children);
}

/** The same for drawings. */
function draw(tag, attributes, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") element.addEventListener(name, value);
    else if (name === "style") for (const [key, item] of Object.entries(value)) element.style.setProperty(key, item);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

const index = JSON.parse(document.getElementById("index").textContent);
const rowsById = new Map(index.rows.map((row) => [row.id, row]));

/** The word for a verdict as a class: "broken off" has a space. */
const wordClass = (verdict) => verdict.split(" ")[0];
const plural = (count, noun) => `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;
const hopClass = (hop) => (HOPS.includes(hop) ? `${hop}-c` : "docker-c");
const hopColour = (hop) => (HOPS.includes(hop) ? `var(--${hop})` : "var(--soft)");

/** Seconds as a person reads them. */
function duration(seconds) {
  if (seconds >= 1) return `${seconds.toFixed(2)} s`;
  const milliseconds = seconds * 1000;
  return milliseconds >= 10 ? `${milliseconds.toFixed(0)} ms` : `${milliseconds.toFixed(1)} ms`;
}

/** Ids and digests by their first digits: what a person compares. */
function shortened(text) {
  return text.replace(/\b(sha256:)?([0-9a-f]{12})[0-9a-f]{52}\b/g, "$1$2…").replace(/^(GET|HEAD|POST|PUT|PATCH|DELETE) \/v1\.\d+\//, "$1 /");
}

const loaded = new Map();
const KEPT = 6;

/** Return the document of a scenario: {runs, diffs}. Documents lie compressed in the page, several to a chunk. */
async function documentOf(id) {
  const chunk = rowsById.get(id).chunk;
  if (!loaded.has(chunk)) {
    loaded.set(chunk, unpack(document.getElementById(`chunk-${chunk}`).textContent));
    for (const old of [...loaded.keys()].slice(0, -KEPT)) loaded.delete(old);
  }
  const documents = await loaded.get(chunk);
  return documents.find((item) => item.id === id);
}

async function unpack(text) {
  if (typeof DecompressionStream === "undefined") {
    throw new Error("this browser can't decompress (DecompressionStream is missing); a newer one can");
  }
  const raw = atob(text.trim());
  const bytes = new Uint8Array(raw.length);
  for (let at = 0; at < raw.length; at += 1) bytes[at] = raw.charCodeAt(at);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
}

/** Let keys reach what scrolls inside `root`: a block higher than its place has no other element that takes the focus. */
function makeReachable(root) {
  for (const block of root.querySelectorAll(".json, .text")) if (block.scrollHeight > block.clientHeight + 1) block.tabIndex = 0;
}

/** Tell what has changed to who listens rather than looks. */
function announce(text) {
  document.getElementById("status").textContent = text;
}

function verdictMark(verdict, attributes) {
  const tag = attributes && attributes.href ? "a" : "span";
  return el(tag, { ...attributes, class: `verdict ${wordClass(verdict)}` }, verdict);
}

function tally(counts) {
  return el(
    "span",
    { class: "tally" },
    index.verdicts.filter((word) => counts[word]).map((word) => el("span", { class: wordClass(word) }, el("b", {}, counts[word].toLocaleString("en")), ` ${word}`)),
  );
}
