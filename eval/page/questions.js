// Shows the questions that fit the filter, some at a time. What comes from data is only ever set as text.
"use strict";
const AT_ONCE = 50;
const { models, rows } = JSON.parse(document.getElementById("page").textContent);
const form = document.getElementById("filter"), list = document.getElementById("rows"), told = document.getElementById("told");
const back = document.getElementById("back"), on = document.getElementById("on");
const many = (count) => count.toLocaleString("en");
const isRight = (answer) => answer?.state === "right";
let fitting = rows, first = 0;

function element(name, children = [], properties = {}) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...[children].flat());
  return made;
}

function hasResult(row, result, model) {
  const [one, other] = [row.answers[0], row.answers[model === "" ? models.length - 1 : model]];
  if (result === "quoted") return row.quoting.length > 0;
  if (result === "changed") return new Set(row.answers.filter(Boolean).map(isRight)).size > 1;
  if (result === "gained") return other && one && !isRight(one) && isRight(other);
  if (result === "lost") return other && one && isRight(one) && !isRight(other);
  const answers = model === "" ? row.answers : [other];
  return answers.some((answer) => answer && (result === "" || answer.state === result));
}

function textOf(row) {
  const written = row.answers.filter(Boolean).flatMap((answer) => [answer.said, answer.why, ...answer.outputs]);
  return [row.id, row.group, row.question, row.prompt, row.gold, ...row.options.flat(), ...written].join("\n").toLowerCase();
}

function filter() {
  const { score, model, result, text } = Object.fromEntries(new FormData(form));
  const words = text.toLowerCase().trim();
  fitting = rows.filter((row) => (score === "" || row.score === score) && hasResult(row, result, model) && (words === "" || textOf(row).includes(words)));
  show(0);
}

function show(place) {
  first = place;
  const last = Math.min(first + AT_ONCE, fitting.length);
  list.replaceChildren(...fitting.slice(first, last).map(question));
  told.textContent = fitting.length ? `${many(first + 1)} to ${many(last)} of ${many(fitting.length)} questions` : "No question fits.";
  back.disabled = first === 0;
  on.disabled = last === fitting.length;
}

function question(row) {
  const states = row.answers.map((answer, place) => {
    const state = answer ? answer.state : "not asked";
    return element("span", models.length > 1 ? `${models[place]}: ${state}` : state, { className: `state ${state}` });
  });
  const title = row.question || row.prompt.slice(-120);
  const details = element("details", element("summary", [...states, title]));
  // What is in it is made when it is first opened.
  details.addEventListener("toggle", () => details.append(...body(row)), { once: true });
  return details;
}

function body(row) {
  const facts = [["score", row.score], ["question", row.id], ["group", row.group], ["seed", row.seed], ["rotation", row.rotation], ["shots", row.shots]];
  const made = [
    element("dl", facts.filter(([, value]) => value !== "").map(([name, value]) => element("div", [element("dt", name), element("dd", String(value))])), { className: "facts" }),
  ];
  if (row.quoting.length) made.push(quoting(row));
  made.push(element("h3", "Prompt"), element("pre", row.prompt));
  if (row.options.length) made.push(options(row));
  else made.push(element("h3", "Right answer"), element("pre", row.gold || "none"));
  row.answers.forEach((answer, place) => made.push(...(answer ? given(answer, models[place]) : [])));
  return made;
}

function quoting(row) {
  const documents = row.quoting.map(([name, url]) => url === null ? name : element("a", name, { href: url, rel: "noopener noreferrer" }));
  const listed = documents.flatMap((document, place) => place ? [", ", document] : [document]);
  return element("p", ["Quoted, or nearly so, by ", ...listed, ". gap trace shows a document."]);
}

function options(row) {
  const rated = row.answers.map((answer, place) => [answer, models[place]]).filter(([answer]) => answer?.rated.length);
  const head = ["option", "text", "", ...rated.map(([, model]) => model)].map((name, place) => element("th", name, { scope: "col", className: place < 3 ? "left" : "" }));
  const lines = row.options.map(([label, text], place) => element("tr", [
    element("th", label, { scope: "row" }),
    element("td", text, { className: "left breaks" }),
    element("td", label === row.gold ? "right answer" : "", { className: "left" }),
    ...rated.map(([answer]) => element("td", answer.rated[place] + (answer.said === label ? " ←" : ""))),
  ]));
  const caption = element("caption", rated.length ? "Options. An arrow marks each model's answer." : "Options");
  const table = element("table", [caption, element("thead", element("tr", head)), element("tbody", lines)]);
  return element("div", table, { className: "scroll", tabIndex: 0, role: "region", ariaLabel: "Options" });
}

function given(answer, model) {
  const said = answer.said ? `: ${answer.said}` : "";
  const made = [element("h3", [element("span", answer.state, { className: `state ${answer.state}` }), `${model}${said}`])];
  if (answer.why) made.push(element("p", answer.why));
  if (answer.prompt !== null) made.push(element("p", "Its prompt was another:"), element("pre", answer.prompt));
  return [...made, ...answer.outputs.map((output) => element("pre", output || "nothing"))];
}

function turn(place) {
  show(place);
  list.focus();
}

form.addEventListener("input", filter);
form.addEventListener("submit", (event) => event.preventDefault());
back.addEventListener("click", () => turn(Math.max(0, first - AT_ONCE)));
on.addEventListener("click", () => turn(first + AT_ONCE));
const asked = decodeURIComponent(location.hash.slice(1));
if ([...form.elements.score.options].some((option) => option.value === asked)) form.elements.score.value = asked;
filter();
