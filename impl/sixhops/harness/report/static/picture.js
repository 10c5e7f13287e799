// The picture of a run: lanes, and rows of messages between them in time order. A row is a button that opens its message.

const centre = (lane) => ((lane + 0.5) / LANES.length) * 100;

/** The heads of the lanes, with who made each program. */
function laneHeads(programs) {
  return el(
    "div",
    { class: "lanes", "aria-hidden": "true" },
    LANES.map((name) => el("span", {}, name, programs && programs[name] ? el("em", { class: "soft" }, programs[name]) : null)),
  );
}

const lifelines = () => el("div", { class: "life", "aria-hidden": "true" }, LANES.map(() => el("i")));

/** The drawing of one arrow. */
function arrow(row, message, text) {
  const [, , source, sink, , active] = row;
  const [from, to] = [Math.min(source, sink), Math.max(source, sink)];
  const label = el("span", { class: "label", style: { left: `${centre(from)}%`, "max-width": `calc(${101 - centre(from)}% - var(--room, 0px))` } }, labelParts(text));
  return el(
    "span",
    { class: "field", style: { "--hop": hopColour(message.hop) }, "aria-hidden": "true" },
    active.map((lane) => el("span", { class: "busy", style: { left: `${centre(lane)}%` } })),
    el("span", { class: `arrow ${sink > source ? "right" : "left"}`, style: { left: `${centre(from)}%`, width: `${centre(to) - centre(from)}%` } }),
    label,
  );
}

/** A label in two parts, of which the call is cut short where there is no room, and never what came of it. */
function labelParts(text) {
  const at = text.lastIndexOf(" → ");
  return at < 0 ? [el("span", { class: "said" }, text)] : [el("span", { class: "said" }, text.slice(0, at)), el("span", { class: "outcome" }, text.slice(at))];
}

/** What stands at the right of a row: a sign, and words where there is room for them. */
function flagOf(flag, kind) {
  const [sign, ...words] = flag.split(" ");
  return el("span", { class: `flag ${kind}`, "aria-hidden": "true" }, sign, el("span", { class: "words" }, ` ${words.join(" ")}`));
}

/** What a row says: the call on the way there, what came of it on the way back. */
function rowText(row, message) {
  const text = shortened(message.summary);
  const [call, outcome] = text.split(/ -> (?=[^>]*$)/);
  if (row[0] === "ask") return call;
  if (row[0] === "answer") return outcome === undefined ? text : `${outcome}  ← ${call}`;
  return outcome === undefined || outcome === "..." ? text.replace(" -> ...", "") : `${call} → ${outcome}`;
}

function rowName(row, message) {
  const [kind, , source, sink, at] = row;
  const took = kind === "event" || kind === "ask" ? "" : `, took ${duration(message.took)}`;
  const says = kind === "answer" ? "answers" : kind === "event" ? "tells" : "asks";
  return `${LANES[source]} ${says} ${LANES[sink]}: ${rowText(row, message)}${took}, ${message.hop} hop, at ${duration(at)}`;
}

let ids = 0;

/** A row as a list item: a button, and below it what it opens. `extra` are lines that always show; `open` makes the details. */
function messageRow(row, message, { mark = "", flag = null, extra = [], open, isKey = true }) {
  const id = `message-${(ids += 1)}`;
  const item = el("li", { class: [row[0], message.own ? "own" : "", mark].filter(Boolean).join(" "), "data-key": isKey ? true : null });
  const button = el(
    "button",
    { class: "message", type: "button", "aria-expanded": "false", "aria-controls": id, "aria-label": rowName(row, message) + (flag ? `. ${flag}` : "") },
    el("span", { class: "when", "aria-hidden": "true" }, duration(row[4])),
    arrow(row, message, rowText(row, message)),
    row[0] === "ask" || row[0] === "event" ? null : el("span", { class: "took", "aria-hidden": "true" }, duration(message.took)),
    flag ? flagOf(flag, mark.includes("known") ? "known" : "failed") : null,
  );
  let details = null;
  button.addEventListener("click", () => {
    const isOpen = button.getAttribute("aria-expanded") === "true";
    button.setAttribute("aria-expanded", String(!isOpen));
    if (isOpen) details.hidden = true;
    else if (details) details.hidden = false;
    else {
      details = el("div", { class: "details", id, role: "group", "aria-label": shortened(message.summary) }, open());
      item.append(details);
      makeReachable(details);
    }
  });
  item.append(button, ...extra);
  return item;
}

function messageDetails(message, marks) {
  const says = explanationOf(message);
  return [says ? el("p", { class: "says" }, says) : null, el("p", { class: "full" }, message.summary), messageBody(message, marks)].filter(Boolean);
}

/** An expectation that did not hold, in the judge's words. */
function failureNotice(failure) {
  const kind = failure.known ? "known" : "failed";
  return el(
    "div",
    { class: `notice ${kind}`, "data-found": true, tabindex: "-1" },
    el("strong", {}, failure.known ? `Known difference on the ${failure.hop} hop: ${failure.known}` : `Expectation on the ${failure.hop} hop did not hold`),
    el("pre", {}, failure.text),
  );
}

/** A row for a message that was expected and never came. */
function ghostRow(failure) {
  const ends = ENDS[failure.facet] || [0, 1];
  const row = ["call", 0, ends[0], ends[1], 0, []];
  const name = `expected ${failure.facet} message: not here`;
  const item = el("li", { class: `ghost${failure.known ? " known" : ""}` });
  item.append(el("div", { class: "message" }, arrow(row, { hop: failure.facet }, name)), failureNotice(failure));
  return item;
}

/** The rows of one step of one run. `explain`: say below each kind of message what it is, once. */
function stepRows(run, step, explain) {
  const list = el("ol", { class: "rows" });
  const about = new Map();
  for (const failure of step.failures) {
    if (failure.message === null) continue;
    about.set(failure.message, [...(about.get(failure.message) || []), failure]);
  }
  for (const row of step.rows) {
    const message = run.messages[row[1]];
    // Of a call with an answer of its own, it is the answer that is judged.
    const failures = row[0] === "ask" ? [] : about.get(row[1]) || [];
    const isKnown = failures.length > 0 && failures.every((failure) => failure.known);
    const text = explain ? explain(message) : "";
    list.append(
      messageRow(row, message, {
        mark: failures.length ? `marked${isKnown ? " known" : ""}` : "",
        flag: failures.length ? (isKnown ? "≈ known difference" : `✗ ${plural(failures.length, "expectation")} did not hold`) : null,
        extra: [...(text ? [el("p", { class: "why" }, text)] : []), ...failures.map(failureNotice)],
        open: () => messageDetails(message, null),
      }),
    );
  }
  const drawn = new Set(step.rows.map((row) => row[1]));
  for (const failure of step.failures) {
    if (failure.message === null && ENDS[failure.facet]) list.append(ghostRow(failure));
    else if (failure.message === null || !drawn.has(failure.message)) list.append(el("li", {}, failureNotice(failure)));
  }
  return list;
}

/** What a step without a call of its own did and saw: a snapshot of processes, a file, a fault. */
function stepNote(step, marks) {
  if (!step.note) return null;
  const { sent, seen } = step.note;
  if (Array.isArray(seen.processes)) {
    return el(
      "div",
      { class: "note" },
      processTree(seen.processes),
      el("details", { class: "more", open: Boolean(marks && marks.size) }, el("summary", {}, "All that the kernel says of them"), valueBlock(seen.processes, "processes", marks)),
    );
  }
  const facts = [sent, seen].some((part) => !isEmpty(part));
  return facts ? el("div", { class: "note" }, fieldTable(flat(sent), "sent", marks), fieldTable(flat(seen), "", marks)) : null;
}

const flat = (fields) => Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== null));

/** Processes as the tree that they are; whose parent is not among them stands at the top, with its parent's name. */
function processTree(processes) {
  const all = processes.filter((process) => "pid" in process);
  if (!all.length) return el("p", { class: "soft" }, "No process like this: it has gone.");
  const pids = new Set(all.map((process) => process.pid));
  const branch = (process) => {
    const below = all.filter((other) => other.ppid === process.pid && other !== process);
    return el("li", {}, processLine(process), below.length ? el("ul", {}, below.map(branch)) : null);
  };
  const parents = new Map();
  for (const process of all.filter((item) => !pids.has(item.ppid))) {
    const name = `${process.parent || "outside"} (${process.ppid})`;
    parents.set(name, [...(parents.get(name) || []), process]);
  }
  return el(
    "ul",
    { class: "tree", "aria-label": "Process tree" },
    [...parents].map(([name, children]) => el("li", {}, el("span", { class: "process outside" }, name), el("ul", {}, children.map(branch)))),
  );
}

function processLine(process) {
  const own = (process.nspid || []).length > 1 ? ` (${process.nspid.at(-1)} inside)` : "";
  return el(
    "span",
    { class: "process" },
    el("span", { class: "comm" }, process.comm),
    el("span", { class: "pid" }, `pid ${process.pid}${own}, uid ${process.uid}${process.seccomp ? ", seccomp" : ""}${process.no_new_privs ? ", no new privileges" : ""}`),
    el("span", { class: "argv" }, shortened((process.argv || []).join(" "))),
  );
}

function stepHead(step, verdict, heading = "h2") {
  const words = [];
  if (step.attempts) words.push(plural(step.attempts, "attempt"));
  if (step.open) words.push("goes on in the background");
  words.push(duration(step.took));
  return el(
    "header",
    {},
    el("span", { class: "number" }, `${step.step + 1}`),
    el(heading, { tabindex: "-1" }, shortened(step.name)),
    el("span", { class: "soft" }, words.join(", ")),
    verdict ? verdictMark(verdict) : null,
  );
}

const verdictOf = (step) => (step.failures.length && step.failures.every((failure) => failure.known) ? "known" : step.verdict);

function stepNotices(step) {
  return [
    step.error ? el("div", { class: "notice failed" }, `It could not be performed to its end: ${step.error}`) : null,
    ...Object.entries(step.skipped || {}).map(([facet, reason]) => el("div", { class: "notice" }, `${facet} was not judged: ${reason}`)),
  ];
}

/** All hops over time, to scale: one band a hop, one bar a message. The rows below say the same to who can't see it. */
function timeStrip(run, goTo) {
  const messages = run.messages.filter((message) => HOPS.includes(message.hop));
  const ends = [...messages.map((message) => message.at + message.took), ...run.steps.map((step) => step.at + step.took)];
  const start = Math.min(...run.steps.map((step) => step.at), ...messages.map((message) => message.at));
  const length = Math.max(...ends, start + 0.001) - start;
  const x = (moment) => ((moment - start) / length) * 1000;
  const strip = draw("svg", { class: "strip", viewBox: "0 0 1000 92", preserveAspectRatio: "none", role: "img", "aria-label": `${plural(messages.length, "message")} in ${duration(length)}, hop by hop` });
  run.steps.forEach((step, at) => {
    const band = draw("rect", { x: x(step.at), y: 0, width: Math.max(1, x(step.at + step.took) - x(step.at)), height: 92, fill: "var(--ink)", "fill-opacity": at % 2 ? 0.02 : 0.06, click: () => goTo(step.step) });
    band.append(draw("title", {}, `${step.step + 1}. ${step.name}`));
    strip.append(band);
  });
  for (const message of messages) {
    const bar = draw("rect", { x: x(message.at), y: 8 + HOPS.indexOf(message.hop) * 13, width: Math.max(2, (message.took / length) * 1000), height: 9, rx: 1.5, fill: hopColour(message.hop), "fill-opacity": 0.75 });
    bar.append(draw("title", {}, `${message.hop}: ${shortened(message.summary)}, ${duration(message.took)}`));
    strip.append(bar);
  }
  return strip;
}
