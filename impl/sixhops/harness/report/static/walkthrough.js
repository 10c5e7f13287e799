// What docker run does, told along a run that happened: a chapter a step, a sentence a kind of message.

async function walkthroughPage() {
  const { id, chapters, intro, outro } = index.walkthrough;
  const content = await documentOf(id);
  const number = content.runs.findIndex(Boolean);
  const run = content.runs[number];
  const column = index.columns[number];
  document.title = `What docker run does · ${index.title}`;
  const told = new Set();
  const explain = (message) => {
    const text = message.own ? "" : explanationOf(message);
    if (!text || told.has(text)) return "";
    told.add(text);
    return text;
  };
  const parts = run.steps.map((step) => {
    const chapter = chapters.find((item) => item.step === step.name) || { title: step.name, text: [] };
    return el(
      "section",
      { class: "chapter", "data-step": step.step },
      el("h2", { tabindex: "-1" }, el("span", {}, `${step.step + 1}`), chapter.title),
      chapter.text.map((text) => el("p", { class: "prose" }, text)),
      el("div", { class: "picture" }, laneHeads(null), stepNotices(step), stepNote(step, null), framed(stepRows(run, step, explain))),
    );
  });
  const tree = await treeChapter(run.steps.length);
  return [
    el(
      "article",
      { class: "article" },
      el("p", { class: "eyebrow" }, `As it happened on ${column.name}, engine ${column.engine}, in ${duration(run.seconds)}`),
      el("h1", { tabindex: "-1" }, "What docker run does"),
      intro.map((text) => el("p", { class: "lead" }, text)),
      // Of this run alone; what looks at processes is no message.
      pathFigure(HOPS.map((hop) => run.messages.filter((message) => message.hop === hop).length + (hop === "process" ? run.steps.filter((step) => step.kind === "processes").length : 0))),
      timeStrip(run, (step) => document.querySelector(`[data-step="${step}"] h2`)?.focus()),
      legend(),
      parts,
      tree,
      el("section", { class: "chapter" }, outro.map((text) => el("p", { class: "prose" }, text)), el("p", {}, el("a", { class: "button", href: scenarioLink(id) }, "The same run as a scenario"))),
    ),
  ];
}

/** The processes of a running container, from the scenario that looks at them. */
async function treeChapter(after) {
  const { tree } = index.walkthrough;
  if (!tree) return null;
  const content = await documentOf(tree.id);
  const run = content.runs.find(Boolean);
  const shots = run.steps.filter((step) => step.note && Array.isArray(step.note.seen.processes));
  return el(
    "section",
    { class: "chapter" },
    el("h2", {}, el("span", {}, `${after + 1}`), tree.title),
    tree.text.map((text) => el("p", { class: "prose" }, text)),
    shots.map((step) => el("div", { class: "picture" }, stepHead(step, null, "h3"), stepNote(step, null))),
    el("p", {}, el("a", { class: "button", href: scenarioLink(tree.id) }, "The whole scenario")),
  );
}
