// One scenario: on one target, or on two side by side with what differs in colour.

async function scenarioPage(id, query) {
  const row = rowsById.get(id);
  if (!row) return [el("h1", { tabindex: "-1" }, "No such scenario"), el("p", { class: "lead" }, `This report has no ${id}.`)];
  const content = await documentOf(id);
  const ran = content.runs.map((run, at) => (run ? at : -1)).filter((at) => at >= 0);
  const chosen = (query.get("view") || "").split(",").map(Number).filter((at) => query.has("view") && ran.includes(at));
  const view = chosen.length ? chosen : [ran[0]];
  const isPair = view.length === 2 && Boolean(content.diffs[view[1]]);
  document.title = `${row.title} · ${index.title}`;
  const head = [
    el("p", { class: "eyebrow" }, el("a", { href: "#/" }, "Scenarios"), ` / ${id.split("/").slice(0, -1).join(" / ")}`),
    el("h1", { tabindex: "-1" }, row.title),
    el("p", { class: "facts" }, el("span", { class: "mono" }, id), el("span", { class: "mono" }, row.path)),
    views(id, content, view, ran),
  ];
  return [...head, ...(isPair ? pairPage(content, view) : singlePage(content.runs[view[0]], view[0]))];
}

const scenarioLink = (id, view) => `#/s/${encodeURIComponent(id)}${view === undefined ? "" : `?view=${view}`}`;

function views(id, content, view, ran) {
  const link = (name, value) => el("a", { class: "button", href: scenarioLink(id, value), "aria-current": String(view.join(",") === value) }, name);
  const list = visibleIds();
  const at = list.indexOf(id);
  const go = (step, name) => (list[at + step] && at >= 0 ? el("a", { class: "button", href: scenarioLink(list[at + step], view.join(",")), "data-pager": name }, name === "next" ? "Next ›" : "‹ Previous") : null);
  return el(
    "nav",
    { class: "views", "aria-label": "Targets" },
    ran.map((number) => link(index.columns[number].name, `${number}`)),
    ran.filter((number) => content.diffs[number]).map((number) => link(`${index.columns[0].name} | ${index.columns[number].name}`, `0,${number}`)),
    el("span", { class: "pager" }, go(-1, "previous"), go(1, "next")),
  );
}

function outcomeNotices(run) {
  const parts = [];
  if (run.verdict === "failed" || run.verdict === "broken off") parts.push(el("div", { class: "notice failed" }, el("strong", {}, "Failed. "), run.brief || "The run broke off."));
  for (const known of run.known) parts.push(el("div", { class: "notice known" }, el("strong", {}, "Known difference. "), `${known.step}: ${known.reason}`, known.ref ? ` (${known.ref})` : ""));
  if (run.skips.length) parts.push(el("div", { class: "notice" }, `Not judged: ${[...new Set(run.skips)].join("; ")}`));
  if (run.leftovers.length) parts.push(el("div", { class: "notice failed" }, `Left behind: ${run.leftovers.join(", ")}`));
  const unseen = Object.entries(run.unseen);
  if (unseen.length) parts.push(el("div", { class: "notice" }, unseen.map(([hop, reason]) => `${hop} hop not seen: ${reason}. `)));
  for (const [program, text] of Object.entries(run.logs)) parts.push(el("details", { class: "more" }, el("summary", {}, `What ${program} logged while the first failed step ran`), el("pre", { class: "text" }, text)));
  return parts;
}

function singlePage(run, number) {
  const column = index.columns[number];
  const list = el("ol", { class: "steps" });
  const goTo = (step) => list.querySelector(`[data-step="${step}"] h2`)?.focus();
  for (const step of run.steps) {
    list.append(el("li", { class: `step${verdictOf(step) === "failed" ? " bad" : ""}`, "data-step": step.step }, stepHead(step, verdictOf(step)), stepNotices(step), stepNote(step, null), framed(stepRows(run, step))));
  }
  return [
    el("p", { class: "facts" }, verdictMark(run.verdict), el("span", {}, `on ${column.name}, engine ${column.engine}`), el("span", {}, duration(run.seconds)), el("span", {}, run.began.replace("T", " ").replace("+00:00", " UTC"))),
    ...outcomeNotices(run),
    run.steps.length ? timeStrip(run, goTo) : null,
    legend(),
    el("div", { class: "picture" }, laneHeads(column.programs), list),
  ];
}

/** Rows with the lanes' lifelines behind them. */
function framed(list) {
  if (!list.childNodes.length) return null;
  list.prepend(el("li", { "aria-hidden": "true", role: "presentation" }, lifelines()));
  return list;
}

function legend() {
  return el("p", { class: "legend", "aria-hidden": "true" }, HOPS.map((hop) => el("b", { class: hopClass(hop) }, hop)));
}

function pairPage(content, [left, right]) {
  const [a, b] = [content.runs[left], content.runs[right]];
  const diff = content.diffs[right];
  const columns = [index.columns[left], index.columns[right]];
  const names = columns.map((column) => column.name);
  const news = diff.differences.filter((item) => item.accepted === null).length;
  const list = el("ol", { class: "steps" });
  const steps = [new Map(a.steps.map((step) => [step.step, step])), new Map(b.steps.map((step) => [step.step, step]))];
  for (const [first, second, pairs] of diff.pairs) list.append(pairStep([a, b], [steps[0].get(first), steps[1].get(second)], pairs, diff.differences, names));
  const whole = diff.differences.filter((item) => item.step < 0);
  return [
    el(
      "p",
      { class: "facts" },
      [a, b].map((run, at) => el("span", {}, `${names[at]}: `, verdictMark(run.verdict), ` ${duration(run.seconds)}, engine ${columns[at].engine}`)),
      el("span", { class: news ? "failed" : "" }, plural(news, "difference")),
      el("span", {}, `${diff.differences.length - news} accepted`),
    ),
    whole.length ? differenceTable(whole, names) : null,
    el(
      "p",
      { class: "legend" },
      el("span", { style: { background: "var(--a-paper)" } }, ` only on ${names[0]} `),
      el("span", { style: { background: "var(--b-paper)" } }, ` only on ${names[1]} `),
      el("span", { style: { background: "var(--failed-paper)" } }, " differs "),
      el("span", { style: { background: "var(--known-paper)" } }, " differs, and is accepted "),
    ),
    el("div", { class: "picture two" }, el("div", { class: "halves" }, columns.map((column) => el("div", { class: "lanes-head" }, el("p", { class: "mono" }, column.name), laneHeads(column.programs)))), list),
  ];
}

function pairStep(runs, steps, pairs, differences, names) {
  const step = steps[0] || steps[1];
  const mine = differences.filter((item) => item.step === step.step);
  const list = el("ol", { class: "rows" });
  const used = new Set();
  for (const pair of pairs) {
    const found = mine.filter((item) => item.at.some((at) => at !== null) && item.at[0] === pair[0] && item.at[1] === pair[1]);
    found.forEach((item) => used.add(item));
    list.append(pairRow(runs, steps, pair, found, names));
  }
  const rest = mine.filter((item) => !used.has(item));
  const marks = marksOf(rest);
  const verdicts = steps.map((item) => (item ? verdictOf(item) : "missing"));
  const note = steps.some((item) => item && item.note);
  return el(
    "li",
    { class: "step", "data-step": step.step },
    stepHead(step, null),
    el("div", { class: "halves" }, steps.map((item, at) => el("div", {}, item ? [verdictMark(verdicts[at]), ...stepNotices(item), ...item.failures.map(failureNotice)] : el("p", { class: "soft" }, "This step was not performed here.")))),
    note ? el("div", { class: "halves" }, steps.map((item) => (item ? stepNote(item, marks) || el("div") : el("div")))) : null,
    rest.length ? differenceTable(rest, names) : null,
    list.childNodes.length ? list : null,
  );
}

function marksOf(differences) {
  return new Map(differences.map((item) => [item.path, item.accepted === null ? "news" : "accepted"]));
}

function pairRow(runs, steps, pair, differences, names) {
  const news = differences.filter((item) => item.accepted === null).length;
  // What stands alone and is no difference is a look, or came a step sooner or later.
  const lonely = pair.includes(null) ? (differences.length ? (pair[0] === null ? "only-b" : "only-a") : "alone") : "";
  const kind = lonely || (news ? "differs-news" : differences.length ? "differs-accepted" : "");
  const messages = pair.map((number, at) => (number === null ? null : runs[at].messages[number]));
  const flag = news ? `✗ ${plural(news, "difference")}` : differences.length ? "≈ accepted" : null;
  const id = `message-${(ids += 1)}`;
  const item = el("li", { class: [kind, "call"].join(" "), "data-key": true, "data-found": news ? true : null });
  const rows = pair.map((number, at) => (number === null ? null : steps[at].rows.find((row) => row[1] === number && row[0] !== "answer") || steps[at].rows.find((row) => row[1] === number)));
  const shown = messages[0] || messages[1];
  const says = { "only-a": `, only on ${names[0]}`, "only-b": `, only on ${names[1]}`, alone: ", without a like in this step, which is no difference" }[kind] || (flag ? `, ${plural(differences.length, "difference")}, ${news} of them not accepted` : ", the same on both");
  const button = el(
    "button",
    { class: "message pair", type: "button", "aria-expanded": "false", "aria-controls": id, "aria-label": `${shown.hop} hop: ${rowText(["call"], shown)}${says}` },
    messages.map((message, at) => {
      if (!message) return el("span", { class: "nothing", "aria-hidden": "true" });
      const row = rows[at];
      return el("span", { class: `half${at && flag ? " flagged" : ""}`, "aria-hidden": "true" }, row ? arrow(["call", row[1], row[2], row[3], row[4], []], message, rowText(["call"], message)) : el("span", { class: "label" }, labelParts(rowText(["call"], message))), at && flag ? flagOf(flag, news ? "failed" : "known") : null);
    }),
  );
  let details = null;
  button.addEventListener("click", () => {
    const isOpen = button.getAttribute("aria-expanded") === "true";
    button.setAttribute("aria-expanded", String(!isOpen));
    if (!details) {
      const marks = marksOf(differences);
      details = el(
        "div",
        { class: "details", id, role: "group", "aria-label": shortened(shown.summary) },
        differences.length ? differenceTable(differences, names) : null,
        el("div", { class: "halves" }, messages.map((message, at) => el("section", {}, el("p", { class: "whose mono" }, names[at]), message ? messageDetails(message, marks) : el("p", { class: "soft" }, "Nothing like this was said here.")))),
      );
      item.append(details);
      makeReachable(details);
    } else details.hidden = isOpen;
  });
  item.append(button);
  return item;
}
