// Values opened: JSON as a tree, texts, bytes as hex, headers as a table. `marks` maps a path to news or accepted.

const OPEN_LINES = 60;

/** Return a value as a block; `path` is its place in the message, as differences name it. */
function valueBlock(value, path, marks) {
  if (typeof value === "string") return el("pre", { class: `text${markOf(path, marks)}` }, value === "" ? "(empty)" : value);
  if (isBytes(value)) return el("pre", { class: "text" }, hex(value));
  if (isCut(value)) return el("pre", { class: "text" }, `${value.$cut}\n… ${value.length.toLocaleString("en")} characters in all`);
  if (value !== null && typeof value === "object") return el("div", { class: "json" }, node(null, plain(value), path, marks, lines(value) > OPEN_LINES ? 2 : 99));
  return el("pre", { class: `text${markOf(path, marks)}` }, JSON.stringify(value));
}

const isObject = (value) => value !== null && typeof value === "object" && !Array.isArray(value);
const isBytes = (value) => isObject(value) && "$bytes" in value;
const isCut = (value) => isObject(value) && "$cut" in value;
const plain = (value) => (isObject(value) && "$plain" in value ? value.$plain : value);

function markOf(path, marks) {
  const kind = marks && marks.get(path);
  return kind ? ` changed ${kind}` : "";
}

function lines(value) {
  if (value === null || typeof value !== "object" || isBytes(value)) return 1;
  return Object.values(value).reduce((sum, item) => sum + lines(item), 1);
}

function hex(value) {
  const raw = atob(value.$bytes);
  const rows = [];
  for (let at = 0; at < Math.min(raw.length, 512); at += 16) {
    const part = [...raw.slice(at, at + 16)].map((letter) => letter.charCodeAt(0));
    const digits = part.map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
    rows.push(`${at.toString(16).padStart(6, "0")}  ${digits.padEnd(47)}  ${part.map((byte) => (byte > 31 && byte < 127 ? String.fromCharCode(byte) : ".")).join("")}`);
  }
  return [...rows, `${value.length.toLocaleString("en")} bytes`].join("\n");
}

function node(key, value, path, marks, depth) {
  const label = key === null ? [] : [el("span", { class: "key" }, typeof key === "number" ? `${key}` : key), ": "];
  const mark = markOf(path, marks);
  value = plain(value);
  if (isObject(value) && "$more" in value) return el("div", { class: "leaf size" }, `… ${plural(value.$more, "more element")}`);
  if (value === null || typeof value !== "object" || isBytes(value) || isCut(value)) {
    return el("div", { class: `leaf${mark}` }, label, leaf(value));
  }
  const isList = Array.isArray(value);
  const entries = isList ? value.map((item, at) => [at, item]) : Object.entries(value);
  if (!entries.length) return el("div", { class: `leaf${mark}` }, label, isList ? "[]" : "{}");
  if (isList && entries.length <= 8 && value.every((item) => item === null || ["number", "boolean"].includes(typeof item) || (typeof item === "string" && item.length < 24))) {
    return el("div", { class: `leaf${mark}` }, label, "[", value.map((item, at) => [at ? ", " : "", leaf(item)]).flat(), "]");
  }
  const children = () => entries.map(([name, item]) => node(name, item, path ? `${path}.${name}` : `${name}`, marks, depth - 1));
  if (key === null) return el("div", { class: `items${mark}` }, children());
  const size = el("span", { class: "size" }, isList ? `[${entries.length}]` : `{${entries.length}}`);
  const body = el("div", {});
  const isOpen = depth > 0 || (marks && [...marks.keys()].some((place) => place.startsWith(`${path}.`)));
  const fold = el("details", { class: mark.trim() || null, open: isOpen }, el("summary", {}, label, size), body);
  const fill = () => {
    if (!body.childNodes.length) body.append(...children());
  };
  if (isOpen) fill();
  else fold.addEventListener("toggle", fill, { once: true });
  return fold;
}

function leaf(value) {
  if (isBytes(value)) return el("span", { class: "size" }, value.length <= 64 ? `bytes ${hex(value).split("\n")[0].slice(8, 55).trim()}` : plural(value.length, "byte"));
  if (isCut(value)) return el("span", { class: "string" }, `${value.$cut}… ${value.length} characters`);
  if (typeof value === "string") return el("span", { class: "string" }, JSON.stringify(value));
  return el("span", { class: typeof value === "number" ? "number" : "word" }, JSON.stringify(value));
}

/** A table of names and values; what is no plain value stands as a tree. */
function fieldTable(fields, path, marks) {
  return el(
    "table",
    { class: "table" },
    el(
      "tbody",
      {},
      Object.entries(fields).map(([name, value]) => {
        const place = path ? `${path}.${name}` : name;
        const shown = value !== null && typeof value === "object" ? valueBlock(value, place, marks) : String(value);
        return el("tr", { class: markOf(place, marks).trim() || null }, el("th", { scope: "row" }, name), el("td", {}, shown));
      }),
    ),
  );
}
