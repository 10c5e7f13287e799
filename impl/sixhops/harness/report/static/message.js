// An opened message: what it is, who said what with which headers and bodies, and where two runs differ.

const QUIET = new Set(["call", "service", "method", "path", "kind", "complete", "status", "reason", "message", "code", "target", "query", "command", "client", "namespace", "cancelled", "error", "exit", "duration", "deadline", "container", "id", "bundle", "cwd", "root", "pid", "pid_file", "console_socket", "stdin", "stdout", "stderr", "arguments", "flags", "global_flags", "descriptors", "topic", "timestamp"]);
const ASKED = ["request", "request_json", "request_body", "argv", "env", "config", "process", "resources", "event"];
const TITLES = {
  request: "Message", response: "Message", request_json: "Body", response_json: "Body", request_body: "Body", response_body: "Body",
  request_headers: "Headers", response_headers: "Headers", request_metadata: "Metadata", response_metadata: "Metadata", trailers: "Trailers",
  argv: "Arguments", env: "Environment", config: "config.json of the bundle", log: "Lines that it added to its log", event: "Event",
  process: "Process document", resources: "Resources document", upstream_stream_body: "What the client sent after the upgrade",
};

/** Return the opened form of a message; `marks`: path to how it differs from the other run's. */
function messageBody(message, marks) {
  return message.own ? ownBody(message, marks) : tappedBody(message, marks);
}

function block(title, value, path, marks) {
  if (path.endsWith("argv") && Array.isArray(value)) return [el("h4", {}, title), el("pre", { class: `text${markOf(path, marks)}` }, value.map(quoted).join(" "))];
  if (path === "env" && isObject(value)) return [el("h4", {}, title), fieldTable(value, path, marks)];
  return [el("h4", {}, title), valueBlock(value, path, marks)];
}

/** A word of a command line as a shell would have it. */
function quoted(text) {
  if (typeof text !== "string") return JSON.stringify(text);
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

function side(title, parts) {
  const shown = parts.flat();
  return shown.length ? el("section", {}, el("h3", {}, title), shown) : null;
}

const isEmpty = (value) => value === "" || value === null || (typeof value === "object" && !Object.keys(value).length);

function ownBody(message, marks) {
  const { headers = {}, body, method, target, body_length: length, ...sent } = message.sent;
  const { headers: answered = {}, status, reason, ...seen } = message.seen;
  const asked = [];
  if (method && target) asked.push(el("p", { class: "full" }, `${method} ${target}`));
  if (!isEmpty(headers)) asked.push(el("h4", {}, "Headers"), fieldTable(headers, "sent.headers", marks));
  if (body !== undefined && body !== "") asked.push(...block("Body", parsed(body), "sent.body", marks));
  for (const [name, value] of Object.entries(sent)) if (!isEmpty(value)) asked.push(...block(word(name), value, `sent.${name}`, marks));
  const told = [];
  const facts = {};
  if (status !== undefined) told.push(el("p", { class: `full${markOf("status", marks)}` }, `${status} ${reason || ""}`));
  if (!isEmpty(answered)) told.push(el("h4", {}, "Headers"), fieldTable(answered, "headers", marks));
  for (const [name, value] of Object.entries(seen)) {
    if (["number", "boolean"].includes(typeof value)) facts[name] = value;
    else if (value !== "" || (marks && marks.has(name))) told.push(...block(word(name), value, name, marks));
  }
  if (!isEmpty(facts)) told.push(el("h4", {}, "Besides"), fieldTable(facts, "", marks));
  return el("div", { class: "sides" }, side("Asked", asked), side("Answered", told));
}

/** A body that is JSON, as JSON. */
function parsed(body) {
  if (typeof body !== "string") return body;
  try {
    return JSON.parse(body);
  } catch {
    return body;
  }
}

const word = (name) => TITLES[name] || name.replaceAll("_", " ");

function tappedBody(message, marks) {
  const fields = message.fields;
  const facts = {};
  const asked = [];
  const told = [];
  for (const [name, value] of Object.entries(fields)) {
    if (QUIET.has(name)) {
      if (!isEmpty(value) && value !== false && !(name === "complete" && value === true)) facts[name] = value;
      continue;
    }
    const isAsked = name.startsWith("request") || name.startsWith("upstream") || ASKED.includes(name);
    const place = isAsked ? asked : told;
    if (isEmpty(value) && !(marks && marks.has(name))) continue;
    if (/_(headers|metadata)$|^trailers$/.test(name)) place.push(el("h4", {}, word(name)), fieldTable(value, name, marks));
    else if (/_(length|omitted|truncated)$/.test(name)) facts[name.replaceAll("_", " ")] = value;
    else place.push(...block(word(name), value, name, marks));
  }
  const isCommand = message.hop === "runtime" || "argv" in fields;
  return el(
    "div",
    {},
    el("div", { class: "sides" }, side(isCommand ? "Command" : "event" in fields ? "Event" : "Request", asked), side(isCommand ? "Result" : "Response", told)),
    el("details", { class: "more", open: !asked.length && !told.length }, el("summary", {}, "All the rest"), fieldTable(facts, "", marks)),
  );
}

/** Return what is worth knowing about a kind of message, from the table of explanations. */
function explanationOf(message) {
  const found = index.explanations.find((item) => item.hop === message.hop && item.pattern.test(message.summary));
  return found ? found.text : "";
}

for (const item of index.explanations) item.pattern = new RegExp(`^${item.call.split("*").map((part) => part.replace(/[.+?^${}()|[\]\\/]/g, "\\$&")).join(".*")}$`);

/** The differences of one message as a table. */
function differenceTable(differences, names) {
  return el(
    "table",
    { class: "table differences" },
    el("thead", {}, el("tr", {}, ["Where", names[0], names[1]].map((name) => el("th", { scope: "col" }, name)), el("th", { scope: "col" }, el("span", { class: "unseen" }, "Accepted because")))),
    el(
      "tbody",
      {},
      differences.map((item) =>
        el(
          "tr",
          {},
          el("th", { scope: "row" }, item.path || item.message || "the step", el("br"), el("span", { class: item.accepted === null ? "failed" : "known" }, KINDS[item.kind])),
          el("td", {}, item.kind === "added" ? "–" : brief(item.a)),
          el("td", {}, item.kind === "missing" ? "–" : brief(item.b)),
          el("td", { class: "soft" }, item.accepted === null ? "" : `accepted: ${item.accepted}`),
        ),
      ),
    ),
  );
}

const KINDS = { changed: "differs", missing: "only on the left", added: "only on the right", order: "in another order", identity: "another one than elsewhere", moved: "belongs to another step" };

function brief(value) {
  const text = typeof value === "string" ? value : JSON.stringify(value);
  return text === undefined ? "–" : text.length > 300 ? `${text.slice(0, 300)}… (${text.length} characters)` : text;
}
