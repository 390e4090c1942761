// As much of a browser's DOM as eval/page/questions.js uses: `node dom.js SCRIPT < {data, filter, clicks, hash}` prints what it shows.
"use strict";
const fs = require("fs");
const vm = require("vm");
const { data, filter, clicks = [], hash = "" } = JSON.parse(fs.readFileSync(0, "utf-8"));

class Element {
  constructor(name) { Object.assign(this, { name, children: [], listeners: {}, className: "" }); }
  append(...children) { this.children.push(...children); }
  replaceChildren(...children) { this.children = children; }
  addEventListener(name, run) { this.listeners[name] = run; }
  focus() {}
  get textContent() { return this.own ?? this.children.map((child) => child.textContent ?? String(child)).join(" "); }
  set textContent(text) { this.own = text; }
}

const names = ["page", "filter", "rows", "told", "back", "on"];
const byId = Object.fromEntries(names.map((name) => [name, new Element(name)]));
byId.page.textContent = JSON.stringify(data);
const scores = ["", ...new Set(data.rows.map((row) => row.score))];
byId.filter.elements = { score: { options: scores.map((value) => ({ value })), value: "" } };
const fields = { score: "", model: "", result: "", text: "", ...filter };
class FormData { *[Symbol.iterator]() { yield* Object.entries({ ...fields, score: fields.score || byId.filter.elements.score.value }); } }

const document = { getElementById: (id) => byId[id], createElement: (name) => new Element(name) };
vm.runInNewContext(fs.readFileSync(process.argv[2], "utf-8"), { document, FormData, location: { hash } });
for (const name of clicks) byId[name].listeners.click();
const rows = byId.rows.children.map((details) => {
  const states = details.children[0].children.filter((child) => child.className?.startsWith("state")).map((child) => child.textContent);
  details.listeners.toggle();
  return { states, body: details.textContent };
});
console.log(JSON.stringify({ rows, told: byId.told.textContent }));
