// All scenarios on all targets: what came of each, with how many messages on each hop, and filters.

const filter = { text: "", verdict: "", hop: "", differs: false };

/** Say whether a row is wanted. */
function isWanted(row) {
  if (filter.hop && row.hop !== filter.hop && !row.cells.some((cell) => cell && cell.hops[HOPS.indexOf(filter.hop)] > 0)) return false;
  if (filter.verdict && !row.cells.some((cell) => cell && cell.verdict === filter.verdict)) return false;
  if (filter.differs && !row.differences.some((item) => item && item[0] > 0)) return false;
  return filter.text.toLowerCase().split(/\s+/).every((part) => row.text.includes(part));
}

for (const row of index.rows) row.text = `${row.id} ${row.title} ${row.cells.map((cell) => (cell ? cell.brief : "")).join(" ")}`.toLowerCase();

const visibleIds = () => index.rows.filter(isWanted).map((row) => row.id);

/** The filters as a part of the address, and back. */
function filterQuery() {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(filter)) if (value) query.set(name, value === true ? "1" : value);
  return query.size ? `?${query}` : "";
}

function takeFilter(query) {
  filter.text = query.get("text") || "";
  filter.verdict = query.get("verdict") || "";
  filter.hop = query.get("hop") || "";
  filter.differs = query.has("differs");
}

function matrixPage(query) {
  takeFilter(query);
  document.title = index.title;
  const groups = el("div", {});
  const found = el("span", { class: "found" });
  const refresh = () => {
    history.replaceState(null, "", `#/${filterQuery()}`);
    const wanted = index.rows.filter(isWanted);
    groups.replaceChildren(...groupsOf(wanted));
    found.textContent = `${wanted.length.toLocaleString("en")} of ${plural(index.rows.length, "scenario")}`;
    announce(found.textContent);
  };
  const page = [
    el("h1", { tabindex: "-1" }, index.title),
    el("p", { class: "lead" }, leadText()),
    pathFigure(),
    el("ul", { class: "cards" }, index.columns.map(card)),
    index.problems.length ? el("div", { class: "notice failed" }, index.problems.map((problem) => el("p", {}, problem))) : null,
    filters(refresh, found),
    legendOfCounts(),
    groups,
  ];
  refresh();
  return page;
}

function leadText() {
  const targets = index.columns.length === 1 ? `on ${index.columns[0].name}` : `on ${index.columns.length} targets`;
  return `${plural(index.rows.length, "scenario")} ${targets}: what every program on the way of docker run asked the next one, and whether it was as it should be. Open a scenario to see each message.`;
}

/** The six hops, each with how many messages passed on it. The registry stands aside: the others don't know of it. */
function pathFigure(hops = index.hops) {
  const figure = draw("svg", { class: "path", viewBox: "0 0 1120 150", role: "img", "aria-label": `Messages by hop: ${HOPS.map((hop, at) => `${hop} ${hops[at]}`).join(", ")}` });
  const places = { docker: [60, 100], dockerd: [260, 100], registry: [385, 26], containerd: [460, 100], shim: [660, 100], runc: [860, 100], container: [1060, 100] };
  HOPS.forEach((hop, at) => {
    const [from, to] = ENDS[hop].map((lane) => places[LANES[lane]]);
    const aside = hop === "registry";
    const count = hops[at] ? hops[at].toLocaleString("en") : "not seen";
    const [x, y] = aside ? [385, 26] : [(from[0] + to[0]) / 2, 84];
    const way = aside ? `M${from[0]},${from[1]} C${from[0]},50 300,26 ${to[0]},${to[1]}` : `M${from[0]},${from[1]} H${to[0]}`;
    figure.append(...[
      draw("path", { d: way, fill: "none", stroke: hopColour(hop), "stroke-width": 5 }),
      aside ? null : draw("text", { class: "hop", x, y, style: { fill: hopColour(hop) } }, hop),
      aside ? draw("text", { class: "count aside", x: 252, y: 50, style: { "text-anchor": "end" } }, draw("tspan", { class: "hop", style: { fill: hopColour(hop), "text-anchor": "end" } }, hop), ` ${count}`) : draw("text", { class: "count", x, y: 124 }, count),
    ].filter(Boolean));
  });
  for (const [name, [x, y]] of Object.entries(places)) {
    const aside = name === "registry";
    figure.append(draw("circle", { cx: x, cy: y, r: 8, fill: "var(--paper)", stroke: "var(--ink)", "stroke-width": 2.5 }), draw("text", { class: "program", x: aside ? x + 16 : x, y: aside ? y + 5 : y + 34, style: { "text-anchor": aside ? "start" : "middle" } }, name));
  }
  return figure;
}

function card(column, number) {
  const total = Object.values(column.counts).reduce((sum, count) => sum + count, 0);
  const unseen = Object.entries(column.unseen);
  const differences = index.rows.reduce((sum, row) => sum + (row.differences[number] ? row.differences[number][0] : 0), 0);
  const compared = index.rows.some((row) => row.differences[number]);
  const makers = [...new Set(Object.values(column.programs))];
  return el(
    "li",
    { class: "card" },
    el("h2", {}, column.name),
    el("p", { class: "engine" }, `engine ${column.engine}`, makers.length > 1 ? `; ${Object.entries(column.programs).map(([role, maker]) => `${role} ${maker}`).join(", ")}` : ""),
    el("div", { class: "meter", "aria-hidden": "true" }, index.verdicts.filter((word) => column.counts[word]).map((word) => el("i", { class: wordClass(word), style: { flex: column.counts[word] } }))),
    tally(column.counts),
    el("p", { class: "engine" }, `${plural(total, "scenario")}, ${column.began.slice(0, 16).replace("T", " ")} UTC`),
    compared ? el("p", { class: differences ? "failed" : "engine" }, `${plural(differences, "difference")} to ${index.columns[0].name}, but for accepted ones`) : null,
    // Scenarios have stacks of their own: what one could not see, another could.
    ...[...byReason(unseen)].map(([reason, hops]) => el("p", { class: "engine" }, `${hops.join(", ")}: not seen in ${plural(hops.reduce((most, hop) => Math.max(most, column.unseenIn[hop]), 0), "scenario")} (${reason})`)),
  );
}

/** Hops by the reason why they were not seen. */
function byReason(unseen) {
  const found = new Map();
  for (const [hop, reason] of unseen) found.set(reason, [...(found.get(reason) || []), hop]);
  return found;
}

/** The targets' names above the columns, which stay in sight with the filters. */
function columnHeads() {
  if (index.columns.length < 2) return null;
  return el("div", { class: "heads", "aria-hidden": "true" }, el("span"), index.columns.map((column) => el("span", {}, column.name)));
}

function filters(refresh, found) {
  let waiting = 0;
  const search = el("input", {
    type: "search", id: "search", placeholder: "Find a scenario: words of its name, title or failure", "aria-label": "Find scenarios", autocomplete: "off", spellcheck: "false",
    input: (event) => {
      filter.text = event.target.value.trim();
      clearTimeout(waiting);
      waiting = setTimeout(refresh, 80);
    },
  });
  search.value = filter.text;
  const used = index.verdicts.filter((word) => index.columns.some((column) => column.counts[word]));
  const chips = el("div", { class: "chips", role: "group", "aria-label": "Verdict" });
  const paint = () => [...chips.children].forEach((chip) => chip.setAttribute("aria-pressed", String(chip.dataset.word === filter.verdict)));
  for (const word of ["", ...used]) {
    chips.append(el("button", { type: "button", class: "button", "data-word": word, click: () => { filter.verdict = word; paint(); refresh(); } }, word || "all"));
  }
  paint();
  const hops = el("select", { "aria-label": "Hop", change: (event) => { filter.hop = event.target.value; refresh(); } }, el("option", { value: "" }, "any hop"), HOPS.map((hop) => el("option", { value: hop, selected: hop === filter.hop }, `${hop} hop`)));
  const differs = index.rows.some((row) => row.differences.some(Boolean))
    ? el("button", { type: "button", class: "button", "aria-pressed": String(filter.differs), click: (event) => { filter.differs = !filter.differs; event.target.setAttribute("aria-pressed", String(filter.differs)); refresh(); } }, "differs")
    : null;
  return el("div", { class: "filters", role: "search", style: { "--columns": index.columns.length } }, search, chips, hops, differs, found, columnHeads());
}

function legendOfCounts() {
  return el("p", { class: "legend" }, "Messages on each hop: ", HOPS.map((hop) => el("b", { class: hopClass(hop) }, hop)));
}

/** Scenarios by folder. A group's rows are made when it is opened. */
function groupsOf(rows) {
  const byFolder = new Map();
  for (const row of rows) {
    const folder = row.id.split("[")[0].split("/").slice(0, -1).join("/") || "scenarios";
    byFolder.set(folder, [...(byFolder.get(folder) || []), row]);
  }
  const isFiltered = Boolean(filterQuery());
  return [...byFolder].map(([folder, members]) => {
    const isBad = members.some((row) => row.cells.some((cell) => cell && ["failed", "broken off"].includes(cell.verdict)));
    const isOpen = isBad || rows.length <= 60 || (isFiltered && rows.length <= 300) || folder === "walkthrough";
    const group = el(
      "details",
      { class: "group", open: isOpen, style: { "--columns": index.columns.length } },
      el("summary", {}, el("h2", {}, folder, el("small", {}, members.length)), index.columns.map((column, number) => el("span", { class: "sum" }, index.columns.length > 1 ? el("span", { class: "of" }, column.name) : null, tally(countsOf(members, number)), differingIn(members, number)))),
    );
    const fill = () => group.append(matrixTable(members));
    if (isOpen) fill();
    else group.addEventListener("toggle", fill, { once: true });
    return group;
  });
}

/** How many of a group's scenarios differ from the first column, but for what is accepted. */
function differingIn(rows, number) {
  const count = rows.filter((row) => row.differences[number] && row.differences[number][0]).length;
  return count ? el("span", { class: "failed differ" }, `${count.toLocaleString("en")} ${count === 1 ? "differs" : "differ"}`) : null;
}

function countsOf(rows, number) {
  const counts = {};
  for (const row of rows) if (row.cells[number]) counts[row.cells[number].verdict] = (counts[row.cells[number].verdict] || 0) + 1;
  return counts;
}

function matrixTable(rows) {
  return el(
    "table",
    { class: "matrix" },
    el("colgroup", {}, el("col"), index.columns.map(() => el("col", { class: "cell" }))),
    // For a screen reader: the eye has the heads that stay in sight.
    el("thead", { class: "unseen" }, el("tr", {}, el("th", { scope: "col" }, el("span", { class: "unseen" }, "Scenario")), index.columns.map((column) => el("th", { scope: "col" }, column.name)))),
    el("tbody", {}, rows.map(matrixRow)),
  );
}

function matrixRow(row) {
  const pair = row.differences.findIndex((item) => item && item[0] > 0);
  return el(
    "tr",
    {},
    el("th", { scope: "row" }, el("a", { class: "name", href: scenarioLink(row.id, pair > 0 ? `0,${pair}` : undefined) }, el("span", {}, row.title), el("small", { class: "mono" }, row.id.split("/").at(-1)))),
    row.cells.map((cell, number) => el("td", { "data-of": index.columns.length > 1 ? index.columns[number].name : null }, cell ? cellLine(row, cell, number) : el("span", { class: "soft" }, "not run"))),
  );
}

function cellLine(row, cell, number) {
  const counts = el("span", { class: "hops", role: "img", "aria-label": `messages: ${HOPS.map((hop, at) => `${hop} ${cell.hops[at]}`).join(", ")}` }, HOPS.map((hop, at) => el("i", { class: cell.hops[at] ? hopClass(hop) : "none" }, cell.hops[at] || "·")));
  const differences = row.differences[number];
  return [
    el("span", { class: "cellline" }, verdictMark(cell.verdict, { href: scenarioLink(row.id, `${number}`) }), counts, el("span", { class: "soft" }, duration(cell.seconds))),
    cell.brief ? el("span", { class: "brief" }, cell.brief) : null,
    differences && differences[0] ? el("a", { class: "differs", href: scenarioLink(row.id, `0,${number}`) }, el("span", { class: "news" }, plural(differences[0], "difference"))) : null,
  ].filter(Boolean);
}
